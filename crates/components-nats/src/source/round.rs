//! What is put at once: events, and what is said of them to the server afterwards.

use std::collections::BTreeSet;

use components::decoders::{HEADER_NAMES_MAX, check_names};
use peers::limits::{Cut, EVENT_OVERHEAD_BYTES};
use pipeline::{Batch, BatchBuilder};

use crate::message::{Event, Place, Property, event_of};
use crate::protocol;

/// Bytes of bodies and headers from which on a round is full.
pub(super) const ROUND_BYTES: u64 = 1 << 20;

/// A message that belongs into a round.
pub(super) struct Message {
    place: Place,
    /// Where it is acknowledged.
    reply: String,
    /// Sequences before it that the stream has deleted.
    deleted: u64,
    event: Event,
    bytes: u64,
}

impl Message {
    /// Makes the event of a message.
    ///
    /// # Errors
    /// There is none: what is wrong with it.
    pub(super) fn new(
        mut message: protocol::Message,
        (stream, place): (&str, Place),
        deleted: u64,
        wanted: &[Property],
    ) -> Result<Self, String> {
        let reply = message.reply.take().unwrap_or_default();
        let event = event_of(message, (stream, &place), wanted)?;
        let names = event.headers.iter().map(|(name, _)| &**name);
        check_names(names).map_err(|error| error.to_string())?;
        let headers = event.headers.iter().map(|(_, value)| value.len() as u64 + 4).sum::<u64>();
        let bytes = event.body.len() as u64 + headers + EVENT_OVERHEAD_BYTES;
        Ok(Self { place, reply, deleted, event, bytes })
    }
}

/// Messages that are put together.
#[derive(Default)]
pub(super) struct Round {
    events: BatchBuilder,
    bytes: u64,
    /// Where each message is acknowledged.
    pub(super) replies: Vec<String>,
    /// Names of headers: each is a column of the batch.
    names: BTreeSet<String>,
    /// Sequences between them that the stream has deleted.
    pub(super) deleted: u64,
    /// The last message.
    pub(super) last: Option<Place>,
}

impl Round {
    /// Whether there is nothing to put.
    pub(super) fn is_empty(&self) -> bool {
        self.replies.is_empty()
    }

    /// Messages in it, also after its events were taken.
    pub(super) fn len(&self) -> usize {
        self.replies.len()
    }

    /// Whether the message belongs into this round, not into the next one.
    pub(super) fn has_room_for(&self, message: &Message, batch_bytes: Option<u64>) -> bool {
        if self.is_empty() {
            return true;
        }
        let cut = batch_bytes.map(Cut::within);
        let most = cut.as_ref().map_or(ROUND_BYTES, |cut| cut.body_bytes.min(ROUND_BYTES));
        let events = cut.as_ref().map_or(u64::MAX, |cut| cut.events);
        let names = message.event.headers.iter().filter(|(name, _)| !self.names.contains(name));
        (self.len() as u64) < events
            && self.bytes + message.bytes <= most
            && self.names.len() + names.count() <= HEADER_NAMES_MAX
    }

    /// Adds a message.
    pub(super) fn push(&mut self, message: Message) {
        let Message { place, reply, deleted, event, bytes } = message;
        let headers: Vec<(&str, &str)> =
            event.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        self.events.push(&event.body, &headers);
        self.names.extend(event.headers.into_iter().map(|(name, _)| name));
        self.bytes += bytes;
        self.replies.push(reply);
        self.deleted += deleted;
        self.last = Some(place);
    }

    /// Its events; what is said of them stays.
    pub(super) fn batch(&mut self) -> Batch {
        std::mem::take(&mut self.events).finish()
    }
}
