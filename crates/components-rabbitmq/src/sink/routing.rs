//! The routing key of an event, built from its headers: `logs.%{site}`.

use formats::template::{Piece, Template};
use pipeline::EventRef;

use crate::broker::NAME_BYTES_MAX;

/// A routing key with placeholders for headers.
#[derive(Debug)]
pub(super) struct RoutingKey(Template);

impl RoutingKey {
    /// Parses a routing key.
    ///
    /// # Errors
    /// Fails if it is invalid.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let template = Template::new(text)?;
        let fixed = |piece: &Piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Header(_) => 0,
        };
        match template.pieces().iter().map(fixed).sum() {
            0..=NAME_BYTES_MAX => Ok(Self(template)),
            many => Err(format!("has {many} bytes; AMQP allows at most {NAME_BYTES_MAX}")),
        }
    }

    /// Returns true if it contains a header of the event.
    pub(super) fn is_chosen_by_event(&self) -> bool {
        self.0.has_headers()
    }

    /// Returns the routing key of an event.
    ///
    /// # Errors
    /// Fails if a header is missing, or the key is too long.
    pub(super) fn fill(&self, event: EventRef<'_>) -> Result<String, String> {
        let missing = |name| {
            format!(
                "the event has no header `{name}`, which `routing_key` uses; set it with an \
                 interceptor, or change `routing_key`"
            )
        };
        let key = self.0.with(|name| event.header(name).ok_or_else(|| missing(name)))?;
        match key.len() {
            0..=NAME_BYTES_MAX => Ok(key),
            many => Err(format!(
                "the routing key of the event has {many} bytes; AMQP allows at most \
                 {NAME_BYTES_MAX}; change `routing_key`"
            )),
        }
    }
}
