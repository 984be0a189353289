//! A message becomes an event. Pure.

use std::collections::BTreeSet;

use kit::messages::Event;

use super::config::Headers;
use crate::packets::Publish;

/// The event of a message.
///
/// # Errors
/// Its topic is not text.
pub(super) fn from_publish(message: &Publish, to: &Headers) -> Result<Event, String> {
    let topic = std::str::from_utf8(&message.topic);
    let topic = topic.map_err(|_| "the topic is not UTF-8".to_owned())?;
    let mut headers = vec![(to.topic.as_str(), topic)];
    for pattern in &to.patterns {
        if pattern.headers(topic, &mut headers) {
            break;
        }
    }
    if let Some(properties) = &message.properties {
        for (name, value) in &properties.user_properties {
            if to.properties.iter().any(|wanted| wanted == name) {
                headers.push((name, value));
            }
        }
        if let (Some(name), Some(value)) = (&to.content_type, &properties.content_type) {
            headers.push((name, value));
        }
    }
    if message.dup
        && let Some(name) = &to.repeat
    {
        headers.push((name, "true"));
    }
    // A header has one value: of two the first counts, and the topic is before all others.
    let mut names = BTreeSet::new();
    headers.retain(|(name, _)| names.insert(*name));
    let owned = headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(Event { headers: owned.collect(), body: message.payload.clone() })
}
