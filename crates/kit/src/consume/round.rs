//! Messages that are stored together, with their acknowledgements.

use std::collections::BTreeSet;

use pipeline::Batch;

use super::{Arrived, Content};
use crate::messages::{Gathered, Weighed};

/// A message that waits for room in the next round.
pub(super) struct Message<A> {
    pub(super) ack: A,
    /// `None` for a mark.
    event: Option<Weighed>,
}

impl<A> Message<A> {
    /// Checks the content of a delivery.
    ///
    /// # Errors
    /// It cannot become an event: the name of the message and the cause.
    pub(super) fn new(arrived: Arrived<A>) -> Result<Self, (A, String)> {
        let ack = arrived.ack;
        let event = match arrived.content {
            Content::Event(event) => event.weighed(),
            Content::Unusable(problem) => Err(problem),
            Content::Mark => return Ok(Self { ack, event: None }),
        };
        match event {
            Ok(event) => Ok(Self { ack, event: Some(event) }),
            Err(problem) => Err((ack, problem)),
        }
    }
}

/// A round that fills.
pub(super) struct Filling<A> {
    events: Gathered,
    acks: Vec<A>,
    marks: BTreeSet<usize>,
}

impl<A> Default for Filling<A> {
    fn default() -> Self {
        Self { events: Gathered::default(), acks: Vec::new(), marks: BTreeSet::new() }
    }
}

impl<A> Filling<A> {
    pub(super) fn len(&self) -> usize {
        self.acks.len()
    }

    /// Whether the message belongs to this round, not to the next one.
    pub(super) fn has_room_for(
        &self,
        message: &Message<A>,
        round_max: usize,
        batch_bytes: Option<u64>,
    ) -> bool {
        let fits = |event| self.events.has_room_for(event, batch_bytes);
        self.acks.len() < round_max && message.event.as_ref().is_none_or(fits)
    }

    pub(super) fn push(&mut self, message: Message<A>) {
        match message.event {
            Some(event) => self.events.push(event),
            None => drop(self.marks.insert(self.acks.len())),
        }
        self.acks.push(message.ack);
    }

    /// Ends the round.
    pub(super) fn finish(mut self) -> Round<A> {
        Round { batch: self.events.batch(), acks: self.acks, marks: self.marks }
    }

    pub(super) fn into_acks(self) -> Vec<A> {
        self.acks
    }
}

/// A round that is complete.
pub(super) struct Round<A> {
    pub(super) batch: Batch,
    pub(super) acks: Vec<A>,
    /// Indexes of acknowledgements without an event.
    marks: BTreeSet<usize>,
}

impl<A> Round<A> {
    /// A round that stores positions only.
    pub(super) fn of_positions() -> Self {
        Filling::default().finish()
    }

    /// One round for each of its messages, in order.
    pub(super) fn split(self) -> Vec<Self> {
        let part_of: Vec<usize> = (0..self.batch.len()).collect();
        let mut events = self.batch.split(&part_of).into_iter().map(Batch::from);
        let parts = self.acks.into_iter().enumerate().map(|(at, ack)| {
            let is_mark = self.marks.contains(&at);
            let batch = if is_mark { None } else { events.next() };
            let marks = if is_mark { BTreeSet::from([0]) } else { BTreeSet::new() };
            Self { batch: batch.unwrap_or_default(), acks: vec![ack], marks }
        });
        parts.collect()
    }
}
