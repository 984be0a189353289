//! Batches that are still in memory: the newest ones, for consumers that keep up, and what was
//! read ahead for those that do not.

use std::collections::VecDeque;

use bytes::Bytes;
use pipeline::{Batch, DecodeError, Identity, Ticket};

/// A batch as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct StoredBatch {
    /// Who it is.
    pub(crate) identity: Option<Identity>,
    /// Its encoding.
    pub(crate) bytes: Bytes,
}

impl StoredBatch {
    /// The batch. Its positions stay behind: they are the channel's.
    pub(crate) fn open(self) -> Result<Batch, DecodeError> {
        let mut batch = Batch::decode(self.bytes)?;
        batch.identity = self.identity;
        Ok(batch)
    }
}

/// The newest batches, up to a budget of bytes.
pub(crate) struct Tail {
    first: Ticket,
    slots: VecDeque<StoredBatch>,
    bytes: u64,
    budget_bytes: u64,
}

impl Tail {
    /// Room for `budget_bytes` of batches.
    pub(crate) fn new(budget_bytes: u64) -> Self {
        Self { first: 0, slots: VecDeque::new(), bytes: 0, budget_bytes }
    }

    /// Keeps the batch with this ticket, which is the highest so far; the oldest ones go for it.
    pub(crate) fn push(&mut self, ticket: Ticket, batch: StoredBatch) {
        if ticket != self.first + self.slots.len() as u64 {
            self.slots.clear();
            self.bytes = 0;
        }
        if self.slots.is_empty() {
            self.first = ticket;
        }
        self.bytes += batch.bytes.len() as u64;
        self.slots.push_back(batch);
        while self.bytes > self.budget_bytes {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(oldest) = self.slots.pop_front() {
            self.bytes -= oldest.bytes.len() as u64;
            self.first += 1;
        }
    }

    /// The batch with this ticket, if it is still here.
    pub(crate) fn get(&self, ticket: Ticket) -> Option<StoredBatch> {
        let at = usize::try_from(ticket.checked_sub(self.first)?).ok()?;
        self.slots.get(at).cloned()
    }

    /// Forgets batches below `ticket`: every consumer has had them.
    pub(crate) fn forget_below(&mut self, ticket: Ticket) {
        while !self.slots.is_empty() && self.first < ticket {
            self.pop();
        }
    }
}

/// What was read from the disk beyond the batch that was asked for.
#[derive(Default)]
pub(crate) struct Ahead {
    batches: VecDeque<(Ticket, StoredBatch)>,
}

impl Ahead {
    /// Keeps what was read, in the place of what was there.
    pub(crate) fn fill(&mut self, batches: impl IntoIterator<Item = (Ticket, StoredBatch)>) {
        self.batches = batches.into_iter().collect();
    }

    /// The batch with this ticket; older ones are forgotten.
    pub(crate) fn take(&mut self, ticket: Ticket) -> Option<StoredBatch> {
        while self.batches.front().is_some_and(|(first, _)| *first < ticket) {
            self.batches.pop_front();
        }
        self.batches.pop_front_if(|(first, _)| *first == ticket).map(|(_, batch)| batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(byte: u8) -> StoredBatch {
        StoredBatch { identity: None, bytes: Bytes::copy_from_slice(&[byte; 10]) }
    }

    #[test]
    fn the_newest_stay_within_the_budget() {
        let mut tail = Tail::new(30);
        (5..10).for_each(|n| tail.push(n, batch(n as u8)));
        assert!(tail.get(6).is_none());
        assert_eq!(tail.get(7).unwrap().bytes[0], 7);
        tail.forget_below(9);
        assert!(tail.get(8).is_none() && tail.get(9).is_some() && tail.get(10).is_none());
        tail.push(20, batch(1));
        assert!(tail.get(9).is_none() && tail.get(20).is_some());
    }

    #[test]
    fn what_was_read_ahead_is_given_once() {
        let mut ahead = Ahead::default();
        ahead.fill([(3, batch(3)), (4, batch(4)), (6, batch(6))]);
        assert!(ahead.take(2).is_none());
        assert_eq!(ahead.take(4).unwrap().bytes[0], 4);
        assert!(ahead.take(4).is_none() && ahead.take(3).is_none());
        assert!(ahead.take(6).is_some());
    }
}
