//! What is put at once: events, and what is said of them to the server afterwards.

use kit::messages::{Gathered, Weighed};
use pipeline::Batch;

use crate::message::{Place, Property, event_of};
use crate::protocol;

/// A message that belongs into a round.
pub(super) struct Message {
    place: Place,
    /// Where it is acknowledged.
    reply: String,
    /// Sequences before it that the stream has deleted.
    deleted: u64,
    event: Weighed,
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
        let event = event_of(message, (stream, &place), wanted)?.weighed()?;
        Ok(Self { place, reply, deleted, event })
    }
}

/// Messages that are put together.
#[derive(Default)]
pub(super) struct Round {
    events: Gathered,
    /// Where each message is acknowledged.
    pub(super) replies: Vec<String>,
    /// Sequences between them that the stream has deleted.
    pub(super) deleted: u64,
    /// The last message.
    pub(super) last: Option<Place>,
}

impl Round {
    /// Whether there is nothing to put.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Messages in it, also after its events were taken.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether the message belongs into this round, not into the next one.
    pub(super) fn has_room_for(&self, message: &Message, batch_bytes: Option<u64>) -> bool {
        self.events.has_room_for(&message.event, batch_bytes)
    }

    /// Adds a message.
    pub(super) fn push(&mut self, message: Message) {
        let Message { place, reply, deleted, event } = message;
        self.events.push(event);
        self.replies.push(reply);
        self.deleted += deleted;
        self.last = Some(place);
    }

    /// Its events; what is said of them stays.
    pub(super) fn batch(&mut self) -> Batch {
        self.events.batch()
    }
}
