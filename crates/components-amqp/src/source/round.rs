//! What is put at once: events, and the messages that are accepted then.

use kit::messages::{Event, Gathered, Weighed};
use pipeline::Batch;

use super::receiving::Delivery;
use crate::message::{JmsHeader, Received, event_of};

/// A message that belongs into a round.
pub(super) struct Message {
    pub(super) delivery: Delivery,
    event: Weighed,
}

impl Message {
    /// Makes the event of a message.
    ///
    /// # Errors
    /// There is none: what is wrong with it.
    pub(super) fn new(
        delivery: Delivery,
        message: Received,
        wanted: &[JmsHeader],
    ) -> Result<Self, (Delivery, String)> {
        let event = event_of(message, wanted)
            .map_err(|what| format!("its body is {what}, not text or bytes"));
        match event.and_then(Event::weighed) {
            Ok(event) => Ok(Self { delivery, event }),
            Err(problem) => Err((delivery, problem)),
        }
    }
}

/// Messages that are put together.
#[derive(Default)]
pub(super) struct Round {
    events: Gathered,
    /// What is accepted when the events are stored, in the order in which they came.
    pub(super) deliveries: Vec<Delivery>,
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
        self.deliveries.push(message.delivery);
    }

    /// Its events; what is accepted stays.
    pub(super) fn batch(&mut self) -> Batch {
        self.events.batch()
    }
}
