//! Tracks which batches of a channel each consumer can take, holds, or has acknowledged.
//!
//! ```text
//!   put ──► READY ──take──► HELD ──commit──► acked: done for this consumer
//!             ▲               │
//!             └───rollback────┘   also after a crash: a batch that is not acked is READY again
//! ```
//!
//! Pure bookkeeping over [`IntervalSet`]s: a backlog of any size costs one run of 16 bytes while it
//! is processed in order. It has no clock, no lock and no `async`.
//!
//! # Invariants
//!
//! 1. For each consumer a ticket below `next` is in exactly one state: acked, held, rolled back
//!    (`again`), or untouched (at or above `cursor`, and not acked).
//! 2. `again` and `held` are below `cursor`, so the lowest ready ticket is the first one of
//!    `again`, or else the first one from `cursor` on that is not acked.
//! 3. No ticket is assigned twice, not even after a restart: `next` never decreases.

use std::sync::Arc;

use pipeline::{Backlog, IntervalSet, Ticket};

/// Tickets of one channel and the state of each consumer.
#[derive(Debug, Clone, Default)]
pub(crate) struct InFlight {
    consumers: Vec<Consumer>,
    next: Ticket,
}

#[derive(Debug, Clone)]
struct Consumer {
    name: Arc<str>,
    acked: IntervalSet,
    held: IntervalSet,
    again: IntervalSet,
    cursor: Ticket,
}

impl Consumer {
    fn new(name: Arc<str>, acked: IntervalSet) -> Self {
        let (held, again) = (IntervalSet::EMPTY, IntervalSet::EMPTY);
        Self { name, acked, held, again, cursor: 0 }
    }
}

/// Returns the end of the run of `set` that contains `ticket`.
fn run_end(set: &IntervalSet, ticket: Ticket) -> Option<Ticket> {
    let runs = set.runs();
    let after = runs.partition_point(|run| run.start <= ticket);
    let run = &runs[after.checked_sub(1)?];
    (ticket < run.end).then_some(run.end)
}

impl InFlight {
    /// Restores the state of a dead process: nothing is held.
    pub(crate) fn restore(
        next: Ticket,
        acked: impl IntoIterator<Item = (Arc<str>, IntervalSet)>,
    ) -> Self {
        let consumers = acked.into_iter().map(|(name, acked)| Consumer::new(name, acked));
        Self { consumers: consumers.collect(), next }
    }

    /// The ticket that the next batch gets.
    pub(crate) fn next(&self) -> Ticket {
        self.next
    }

    /// Returns each consumer and its commits.
    pub(crate) fn acked(&self) -> impl Iterator<Item = (&Arc<str>, &IntervalSet)> {
        self.consumers.iter().map(|consumer| (&consumer.name, &consumer.acked))
    }

    /// Sets the consumers to `names`. A new one gets all batches that some old one has not
    /// committed, and all batches that were put while there was no consumer.
    pub(crate) fn register(&mut self, names: &[Arc<str>]) {
        let everywhere = self.acked_by_all(None);
        let old = std::mem::take(&mut self.consumers);
        for name in names {
            let known = old.iter().find(|consumer| consumer.name == *name).cloned();
            let consumer = known.unwrap_or_else(|| Consumer::new(name.clone(), everywhere.clone()));
            self.consumers.push(consumer);
        }
    }

    /// Returns `true` if the consumer is registered.
    pub(crate) fn knows(&self, consumer: &str) -> bool {
        self.consumers.iter().any(|known| &*known.name == consumer)
    }

    /// Returns the backlog of a consumer.
    pub(crate) fn backlog(&self, consumer: &str) -> Backlog {
        let known = self.consumers.iter().find(|known| &*known.name == consumer);
        known.map_or_else(Backlog::default, |known| {
            let held = known.held.count();
            Backlog { ready: self.next - known.acked.count() - held, held }
        })
    }

    /// Gives `count` tickets to batches that are in the channel now.
    pub(crate) fn put(&mut self, count: u64) -> Ticket {
        let first = self.next;
        self.next += count;
        first
    }

    /// Marks tickets from the next one up to `ticket` as lost and never assigned; `None` if there
    /// are no such tickets.
    pub(crate) fn skip_to(&mut self, ticket: Ticket) -> Option<IntervalSet> {
        let lost = (ticket > self.next).then(|| IntervalSet::from(self.next..ticket))?;
        self.next = ticket;
        self.strike(&lost);
        Some(lost)
    }

    /// Hands out the oldest ready ticket of a consumer.
    pub(crate) fn take(&mut self, consumer: &str) -> Option<Ticket> {
        let next = self.next;
        let consumer = self.get_mut(consumer)?;
        if let Some(ticket) = consumer.again.first() {
            consumer.again.remove(ticket);
            consumer.held.insert(ticket);
            return Some(ticket);
        }
        while let Some(end) = run_end(&consumer.acked, consumer.cursor) {
            consumer.cursor = end;
        }
        if consumer.cursor >= next {
            return None;
        }
        let ticket = consumer.cursor;
        consumer.cursor += 1;
        consumer.held.insert(ticket);
        Some(ticket)
    }

    /// Settles tickets that the consumer holds. Returns the tickets that it has acknowledged by
    /// that, and those that every consumer has acknowledged now.
    pub(crate) fn commit(
        &mut self,
        consumer: &str,
        tickets: &IntervalSet,
    ) -> (IntervalSet, IntervalSet) {
        let Some(at) = self.consumers.iter().position(|c| &*c.name == consumer) else {
            return (IntervalSet::EMPTY, IntervalSet::EMPTY);
        };
        let mine = &mut self.consumers[at];
        let acked = tickets.intersection(&mine.held);
        mine.held.remove_all(&acked);
        mine.acked.insert_all(&acked);
        let mut settled = acked.clone();
        for (other, consumer) in self.consumers.iter().enumerate() {
            if other != at {
                settled = settled.intersection(&consumer.acked);
            }
        }
        (acked, settled)
    }

    /// Makes held tickets ready again.
    pub(crate) fn rollback(&mut self, consumer: &str, tickets: &IntervalSet) {
        if let Some(consumer) = self.get_mut(consumer) {
            let back = tickets.intersection(&consumer.held);
            consumer.held.remove_all(&back);
            consumer.again.insert_all(&back);
        }
    }

    /// Removes tickets that will never be offered again because they are acknowledged or lost.
    pub(crate) fn strike(&mut self, tickets: &IntervalSet) {
        for consumer in &mut self.consumers {
            consumer.acked.insert_all(tickets);
            consumer.held.remove_all(tickets);
            consumer.again.remove_all(tickets);
        }
    }

    /// Notes an acknowledgement that was found in the log.
    pub(crate) fn replay(&mut self, consumer: &str, tickets: &IntervalSet) {
        if let Some(consumer) = self.get_mut(consumer) {
            consumer.acked.insert_all(tickets);
        }
    }

    /// Returns `true` if every consumer has acknowledged all of `first..end`.
    pub(crate) fn all_acked(&self, first: Ticket, end: Ticket) -> bool {
        let acked = |c: &Consumer| run_end(&c.acked, first).is_some_and(|run_end| run_end >= end);
        first == end || (!self.consumers.is_empty() && self.consumers.iter().all(acked))
    }

    /// Returns `true` if some consumer holds, has rolled back, or will soon take one of
    /// `first..end`.
    pub(crate) fn is_near(&self, first: Ticket, end: Ticket) -> bool {
        let touches = |set: &IntervalSet| {
            let after = set.runs().partition_point(|run| run.end <= first);
            set.runs().get(after).is_some_and(|run| run.start < end)
        };
        self.consumers
            .iter()
            .any(|c| touches(&c.held) || touches(&c.again) || (first..end).contains(&c.cursor))
    }

    /// Returns the lowest ticket that some consumer was not offered yet; 0 without consumers.
    pub(crate) fn lowest_cursor(&self) -> Ticket {
        self.consumers.iter().map(|consumer| consumer.cursor).min().unwrap_or(0)
    }

    /// The oldest ticket that some consumer has not acknowledged.
    pub(crate) fn oldest_unsettled(&self) -> Option<Ticket> {
        let first = |c: &Consumer| run_end(&c.acked, 0).unwrap_or(0);
        let oldest = self.consumers.iter().map(first).min().unwrap_or(0);
        (oldest < self.next).then_some(oldest)
    }

    /// Returns every ticket that some consumer holds.
    pub(crate) fn held(&self) -> IntervalSet {
        let mut held = IntervalSet::EMPTY;
        for consumer in &self.consumers {
            held.insert_all(&consumer.held);
        }
        held
    }

    /// Returns the tickets that every consumer has acknowledged; empty without consumers.
    pub(crate) fn acked_by_all(&self, below: Option<Ticket>) -> IntervalSet {
        let mut sets = self.consumers.iter().map(|consumer| &consumer.acked);
        let Some(first) = sets.next() else { return IntervalSet::EMPTY };
        let mut all = sets.fold(first.clone(), |all, set| all.intersection(set));
        if let Some(below) = below {
            all.remove_range(below..u64::MAX);
        }
        all
    }

    fn get_mut(&mut self, name: &str) -> Option<&mut Consumer> {
        self.consumers.iter_mut().find(|consumer| &*consumer.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> InFlight {
        let names = ["a", "b"].map(|name| (Arc::from(name), IntervalSet::EMPTY));
        InFlight::restore(0, names)
    }

    #[test]
    fn a_rolled_back_ticket_comes_before_newer_ones() {
        let mut tickets = two();
        tickets.put(4);
        assert_eq!([tickets.take("a"), tickets.take("a"), tickets.take("a")], [0, 1, 2].map(Some));
        tickets.rollback("a", &IntervalSet::from(0..2));
        assert_eq!([tickets.take("a"), tickets.take("a"), tickets.take("a")], [0, 1, 3].map(Some));
        assert_eq!(tickets.take("a"), None);
    }

    #[test]
    fn settled_is_what_every_consumer_has_committed() {
        let mut tickets = two();
        tickets.put(2);
        for consumer in ["a", "b"] {
            assert_eq!(tickets.take(consumer), Some(0));
            assert_eq!(tickets.take(consumer), Some(1));
        }
        let both = IntervalSet::from(0..2);
        assert_eq!(tickets.commit("a", &both), (both.clone(), IntervalSet::EMPTY));
        let one = IntervalSet::from(1..2);
        assert_eq!(tickets.commit("b", &one), (one.clone(), one));
        assert!(!tickets.all_acked(0, 2));
        assert_eq!(tickets.oldest_unsettled(), Some(0));
    }

    #[test]
    fn a_ticket_that_is_not_held_is_passed_over() {
        let mut tickets = two();
        tickets.put(2);
        let nothing = (IntervalSet::EMPTY, IntervalSet::EMPTY);
        assert_eq!(tickets.commit("a", &IntervalSet::from(0..2)), nothing);
        tickets.rollback("a", &IntervalSet::from(0..2));
        assert_eq!(tickets.take("a"), Some(0));
    }

    #[test]
    fn a_new_consumer_gets_what_was_still_wanted() {
        let mut tickets = two();
        tickets.put(3);
        for consumer in ["a", "b"] {
            tickets.take(consumer);
            tickets.commit(consumer, &IntervalSet::from(0..1));
        }
        tickets.register(&[Arc::from("c")]);
        assert_eq!([tickets.take("c"), tickets.take("c")], [Some(1), Some(2)]);
    }

    #[test]
    fn acknowledgements_of_a_dead_process_are_skipped() {
        let acked: IntervalSet = [0, 1, 3].into_iter().collect();
        let mut tickets = InFlight::restore(5, [(Arc::from("a"), acked)]);
        assert_eq!(
            [tickets.take("a"), tickets.take("a"), tickets.take("a")],
            [Some(2), Some(4), None]
        );
    }
}
