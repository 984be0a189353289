//! What is put at once: events, and the last message that is acknowledged then.

use kit::messages::{Gathered, Weighed};
use pipeline::Batch;

use crate::message::{Property, Received, event_of};

/// A message that belongs into a round.
pub(super) struct Message {
    tag: u64,
    event: Weighed,
}

impl Message {
    /// Makes the event of a message.
    ///
    /// # Errors
    /// There is none: what is wrong with it.
    pub(super) fn new(tag: u64, message: Received, wanted: &[Property]) -> Result<Self, String> {
        Ok(Self { tag, event: event_of(message, wanted).weighed()? })
    }
}

/// Messages that are put together.
#[derive(Default)]
pub(super) struct Round {
    events: Gathered,
    /// What is acknowledged when the events are stored, with all before it.
    pub(super) last_tag: u64,
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
        self.events.push(message.event);
        self.last_tag = message.tag;
    }

    /// Its events; what is acknowledged stays.
    pub(super) fn batch(&mut self) -> Batch {
        self.events.batch()
    }
}
