//! `/dead-letters`: the number of letters for each reason, and the newest ones as text.
//!
//! The numbers of letters, of events, of headers and of body bytes are bounded. The letters are
//! read from the disk like in `aqueduct dlq show`, in a blocking thread; none is removed.

use std::collections::{BTreeMap, VecDeque};

use channel::durable::inspect::Inspection;
use pipeline::{Batch, ChannelError, Env};
use serde::Serialize;

use agent::dead_letters::{DeadLetters, Label, inspected};
use agent::status::ShownEvent;

/// Maximum number of letters.
const LETTERS_MAX: usize = 50;

/// Default number of letters.
const LETTERS: usize = 10;

/// Events of a letter that are shown.
const EVENTS_MAX: usize = 5;

/// The dead letters.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Found {
    letters: u64,
    events: u64,
    by_reason: BTreeMap<String, Count>,
    /// The newest first.
    newest: VecDeque<Shown>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Count {
    letters: u64,
    events: u64,
}

/// A letter, with the first of its events.
#[derive(Debug, PartialEq, Serialize)]
struct Shown {
    #[serde(flatten)]
    label: Label,
    events_total: u64,
    events: Vec<ShownEvent>,
}

/// Returns the number of letters that the query asks for.
pub(super) fn newest(query: &str) -> usize {
    super::query::newest(query, LETTERS, LETTERS_MAX)
}

/// Reads all letters of a running agent; the newest `most` are shown.
///
/// # Errors
/// The disk could not be read.
pub(super) async fn read(
    letters: &DeadLetters,
    env: &Env,
    most: usize,
) -> Result<Found, ChannelError> {
    if letters.opened().is_none() {
        return Ok(Found::default());
    }
    let ((directory, encryption), world) = (letters.place(), env.clone());
    env.offload(move || {
        let inspection = Inspection::inspect(&world, &directory, encryption.as_ref())?;
        let mut found = Found::default();
        inspected(&inspection, |label, events| {
            found.add(label, &events, most);
            true
        })?;
        Ok(found)
    })
    .await
}

impl Found {
    fn add(&mut self, label: Label, events: &Batch, most: usize) {
        let total = events.len() as u64;
        self.letters += 1;
        self.events += total;
        let count = self.by_reason.entry(label.reason.clone()).or_default();
        count.letters += 1;
        count.events += total;
        let shown = events.iter().take(EVENTS_MAX);
        let events = shown.map(|event| ShownEvent::new(event.body(), event.headers())).collect();
        self.newest.push_front(Shown { label, events_total: total, events });
        self.newest.truncate(most);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use metrics::Metrics;
    use pipeline::{BatchBuilder, Envelope, Letter, Reject, Settings};

    use super::*;
    use agent::dead_letters::{Config, Sender};

    #[test]
    fn the_number_of_letters_is_bounded() {
        for (query, expected) in
            [("", 10), ("newest=3", 3), ("a=1&newest=0", 0), ("newest=9999", 50), ("newest=x", 10)]
        {
            assert_eq!(newest(query), expected, "{query}");
        }
    }

    #[tokio::test]
    async fn all_letters_are_counted_and_the_newest_shown() {
        let folder = tempfile::tempdir().unwrap();
        let (env, metrics) = (env::real(), Metrics::default());
        let config = Config::read(&Settings::empty()).unwrap();
        let letters = Arc::new(DeadLetters::new(config, folder.path(), &env, &metrics));
        assert_eq!(read(&letters, &env, 10).await.unwrap(), Found::default());
        for number in 0..12 {
            let mut builder = BatchBuilder::default();
            builder.push(format!("body {number}").as_bytes(), &[("n", "1")]);
            builder.push(b"other", &[]);
            let events = Batch::from(builder.finish().events);
            if number % 3 == 0 {
                let reject =
                    Reject { events: events.events, reason: "filtered", detail: "no".into() };
                let envelope = Envelope::default();
                letters.store_rejected(("in", "cel"), &envelope, reject).await.unwrap();
            } else {
                let letter = Letter {
                    ticket: number,
                    events,
                    whole: true,
                    reason: "too_large",
                    detail: "is large".into(),
                };
                let from = Sender { channel: "main", group: "g", sink: "s" };
                letters.store(&letter, from).await.unwrap();
            }
        }
        let found = read(&letters, &env, 3).await.unwrap();
        assert_eq!((found.letters, found.events), (12, 24));
        let reasons: Vec<_> =
            found.by_reason.iter().map(|(name, it)| (&**name, it.letters, it.events)).collect();
        assert_eq!(reasons, [("filtered", 4, 8), ("too_large", 8, 16)]);
        let bodies: Vec<_> = found.newest.iter().map(|it| it.events[0].text.clone()).collect();
        assert_eq!(bodies, ["body 11", "body 10", "body 9"].map(|it| Some(it.to_owned())));
        assert_eq!(found.newest[2].label.source, "in");
        letters.close().await.unwrap();
    }
}
