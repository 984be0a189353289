//! The routing key of an event, made of its headers: `logs.%{site}`.

use formats::template::{Piece, Template};
use pipeline::EventRef;

use crate::broker::NAME_BYTES_MAX;

/// A routing key with the names of headers in it.
#[derive(Debug)]
pub(super) struct RoutingKey(Template);

impl RoutingKey {
    /// Reads one.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let template = Template::new(text)?;
        let fixed = |piece: &Piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Header(_) => 0,
        };
        match template.pieces().iter().map(fixed).sum() {
            0..=NAME_BYTES_MAX => Ok(Self(template)),
            many => Err(format!("has {many} bytes; AMQP takes {NAME_BYTES_MAX} at most")),
        }
    }

    /// Returns true if a header of the event stands in it.
    pub(super) fn is_chosen_by_event(&self) -> bool {
        self.0.has_headers()
    }

    /// That of an event.
    ///
    /// # Errors
    /// A header is missing, or it is too long.
    pub(super) fn of(&self, event: EventRef<'_>) -> Result<String, String> {
        let missing = |name| format!("there is no header `{name}`, which `routing_key` names");
        let key = self.0.with(|name| event.header(name).ok_or_else(|| missing(name)))?;
        match key.len() {
            0..=NAME_BYTES_MAX => Ok(key),
            many => Err(format!("its routing key has {many} bytes, over {NAME_BYTES_MAX}")),
        }
    }
}
