//! Batches that are still in memory: the newest ones, for consumers that keep up.

use std::collections::VecDeque;

use pipeline::{Batch, Ticket};

/// The newest batches, up to a budget of bytes.
pub(crate) struct Tail {
    first: Ticket,
    slots: VecDeque<Batch>,
    bytes: u64,
    budget_bytes: u64,
}

impl Tail {
    /// Room for `budget_bytes` of batches.
    pub(crate) fn new(budget_bytes: u64) -> Self {
        Self { first: 0, slots: VecDeque::new(), bytes: 0, budget_bytes }
    }

    /// Adds the batch with this ticket, the highest so far; drops the oldest ones if necessary.
    pub(crate) fn push(&mut self, ticket: Ticket, batch: Batch) {
        if ticket != self.first + self.slots.len() as u64 {
            self.slots.clear();
            self.bytes = 0;
        }
        if self.slots.is_empty() {
            self.first = ticket;
        }
        self.bytes += batch.encoded_len() as u64;
        self.slots.push_back(batch);
        while self.bytes > self.budget_bytes {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(oldest) = self.slots.pop_front() {
            self.bytes -= oldest.encoded_len() as u64;
            self.first += 1;
        }
    }

    /// Returns the batch with this ticket, if it is still here.
    pub(crate) fn get(&self, ticket: Ticket) -> Option<Batch> {
        let at = usize::try_from(ticket.checked_sub(self.first)?).ok()?;
        self.slots.get(at).cloned()
    }

    /// Returns `true` if the batch with this ticket is still here.
    pub(crate) fn holds(&self, ticket: Ticket) -> bool {
        ticket >= self.first && ticket - self.first < self.slots.len() as u64
    }

    /// Forgets batches below `ticket`: every consumer has had them.
    pub(crate) fn forget_below(&mut self, ticket: Ticket) {
        while !self.slots.is_empty() && self.first < ticket {
            self.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(byte: u8) -> Batch {
        Batch::of([[byte; 2]])
    }

    fn said(batch: Option<Batch>) -> Option<u8> {
        batch.map(|batch| batch.iter().next().unwrap().body()[0])
    }

    #[test]
    fn the_newest_stay_within_the_budget() {
        let mut tail = Tail::new(3 * batch(0).encoded_len() as u64);
        (5..10).for_each(|n| tail.push(n, batch(n as u8)));
        assert!(tail.get(6).is_none() && !tail.holds(6) && tail.holds(7) && !tail.holds(10));
        assert_eq!(said(tail.get(7)), Some(7));
        tail.forget_below(9);
        assert!(tail.get(8).is_none() && tail.get(9).is_some() && tail.get(10).is_none());
        tail.push(20, batch(1));
        assert!(tail.get(9).is_none() && tail.get(20).is_some());
    }
}
