//! Batches that were read from the disk, or are being read, before a consumer asks for them:
//! stretches of neighbours, shared by all consumers.
//!
//! ```text
//!   a consumer took 17      read already          being read             not yet
//!         ▼
//!   │ 15 16 17 18 19 │ 20 21 22 23 24 25 │ 26 27 28 29 30 31 │ 32 …
//! ```
//!
//! Pure bookkeeping: no lock, no I/O.
//!
//! # Invariants
//!
//! 1. Stretches do not overlap.
//! 2. A stretch is kept while a consumer waits for a batch of it, while it contains a consumer's
//!    last batch, or while it is one of the [`AHEAD_MAX`] after such a stretch: the number of
//!    consumers bounds the memory, for any backlog.
//! 3. One read is planned at a time, so that no two threads read the same.

use std::ops::Range;
use std::sync::Arc;

use pipeline::{Batch, DecodeError, Ticket};

use super::drain_throttle::ReadIntensity;

/// Stretches that are read ahead of a consumer.
const AHEAD_MAX: usize = 3;

/// A batch as it was read; or the error that its layout is unknown.
pub(crate) type ReadBatch = Result<Batch, DecodeError>;

/// Neighbours that were read in one go.
struct ReadRange {
    tickets: Range<Ticket>,
    /// For each ticket its batch, if that is sound. `None` while it is being read.
    batches: Option<Vec<Option<ReadBatch>>>,
}

/// Stretches in memory and on their way there.
#[derive(Default)]
pub(crate) struct ReadAhead {
    stretches: Vec<ReadRange>,
    /// The last ticket of each consumer that reads from the disk.
    places: Vec<(Arc<str>, Ticket)>,
    /// Tickets that are waited for.
    wanted: Vec<Ticket>,
    /// A thread is choosing the next read.
    planning: bool,
}

/// The state of a batch.
#[expect(clippy::large_enum_variant, reason = "most often it is here, and a box would cost more")]
pub(crate) enum Find {
    /// Here.
    Here(ReadBatch),
    /// It is being read, or will be soon; check again after the next signal.
    Coming,
    /// It is not being read.
    Absent,
}

impl ReadAhead {
    fn at(&self, ticket: Ticket) -> Option<usize> {
        self.stretches.iter().position(|stretch| stretch.tickets.contains(&ticket))
    }

    /// Looks for the batch with this ticket.
    pub(crate) fn find(&self, ticket: Ticket) -> Find {
        let missing = if self.planning { Find::Coming } else { Find::Absent };
        let Some(at) = self.at(ticket) else { return missing };
        let stretch = &self.stretches[at];
        let Some(batches) = &stretch.batches else { return Find::Coming };
        let batch = batches.get((ticket - stretch.tickets.start) as usize);
        batch.and_then(Clone::clone).map_or(missing, Find::Here)
    }

    /// Records that a consumer has taken this ticket, whose batch is not in the tail.
    pub(crate) fn arrive(&mut self, consumer: &Arc<str>, ticket: Ticket) {
        match self.places.iter_mut().find(|(name, _)| name == consumer) {
            Some((_, place)) => *place = ticket,
            None => self.places.push((consumer.clone(), ticket)),
        }
        self.evict();
    }

    /// Records that a consumer does not read from the disk any more.
    pub(crate) fn leave(&mut self, consumer: &str) {
        let before = self.places.len();
        self.places.retain(|(name, _)| &**name != consumer);
        if self.places.len() < before {
            self.evict();
        }
    }

    /// Returns `true` if the consumer reads from the disk.
    pub(crate) fn is_drained_by(&self, consumer: &str) -> bool {
        self.places.iter().any(|(name, _)| &**name == consumer)
    }

    /// Returns the number of consumers that read from the disk.
    pub(crate) fn consumers(&self) -> usize {
        self.places.len()
    }

    /// This ticket is waited for, until [`ReadAhead::release`].
    pub(crate) fn wait_for(&mut self, ticket: Ticket) {
        self.wanted.push(ticket);
    }

    /// Records that a consumer no longer waits for this ticket.
    pub(crate) fn release(&mut self, ticket: Ticket) {
        if let Some(at) = self.wanted.iter().position(|wanted| *wanted == ticket) {
            self.wanted.swap_remove(at);
        }
    }

    /// Returns the start of the next read: after the batches that exist or are being read, for a
    /// consumer that does not have enough of them. `is_stored` returns whether a ticket can be
    /// read.
    pub(crate) fn next_read(
        &self,
        intensity: ReadIntensity,
        is_stored: impl Fn(Ticket) -> bool,
    ) -> Option<Ticket> {
        let reads = self.stretches.iter().filter(|stretch| stretch.batches.is_none()).count();
        if self.planning || reads >= intensity.reads_max() {
            return None;
        }
        let next = |(_, ticket): &(Arc<str>, Ticket)| self.next_for(*ticket);
        self.places.iter().filter_map(next).find(|next| is_stored(*next))
    }

    fn next_for(&self, ticket: Ticket) -> Option<Ticket> {
        let mut next = self.stretches[self.at(ticket)?].tickets.end;
        for _ in 0..AHEAD_MAX {
            match self.at(next) {
                Some(at) => next = self.stretches[at].tickets.end,
                None => return Some(next),
            }
        }
        None
    }

    /// Starts planning a read; returns `false` if another thread is already planning.
    pub(crate) fn plan(&mut self) -> bool {
        !std::mem::replace(&mut self.planning, true)
    }

    /// Sets the planned read: these tickets, perhaps none, are being read.
    pub(crate) fn announce(&mut self, tickets: Range<Ticket>) {
        self.planning = false;
        let overlaps =
            |s: &ReadRange| s.tickets.start < tickets.end && tickets.start < s.tickets.end;
        self.stretches.retain(|stretch| !overlaps(stretch));
        if !tickets.is_empty() {
            self.stretches.push(ReadRange { tickets, batches: None });
        }
    }

    /// Records the result of reading `tickets`; empty if they could not be read.
    pub(crate) fn fill(
        &mut self,
        tickets: &Range<Ticket>,
        batches: Option<Vec<Option<ReadBatch>>>,
    ) {
        let Some(at) = self.stretches.iter().position(|stretch| stretch.tickets == *tickets) else {
            return;
        };
        match batches {
            Some(batches) => self.stretches[at].batches = Some(batches),
            None => drop(self.stretches.swap_remove(at)),
        }
    }

    /// Drops stretches that no consumer is near.
    fn evict(&mut self) {
        let mut kept = vec![false; self.stretches.len()];
        let places = self.places.iter().map(|(_, ticket)| ticket).chain(&self.wanted);
        for ticket in places {
            let mut at = self.at(*ticket);
            for _ in 0..=AHEAD_MAX {
                let Some(here) = at else { break };
                kept[here] = true;
                at = self.at(self.stretches[here].tickets.end);
            }
        }
        let mut kept = kept.into_iter();
        self.stretches.retain(|_| kept.next().unwrap_or(false));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(count: u64) -> Option<Vec<Option<ReadBatch>>> {
        Some(vec![Some(Ok(Batch::of(["x"]))); count as usize])
    }

    fn read(ahead: &mut ReadAhead, tickets: Range<Ticket>) {
        assert!(ahead.plan());
        ahead.announce(tickets.clone());
        ahead.fill(&tickets, batches(tickets.end - tickets.start));
    }

    fn is_here(ahead: &ReadAhead, ticket: Ticket) -> bool {
        matches!(ahead.find(ticket), Find::Here(_))
    }

    #[test]
    fn three_stretches_before_a_consumer_are_enough_and_two_reads_at_a_time() {
        let (mut ahead, consumer) = (ReadAhead::default(), Arc::from("a"));
        ahead.wait_for(0);
        read(&mut ahead, 0..5);
        ahead.arrive(&consumer, 0);
        ahead.release(0);
        assert_eq!(ahead.next_read(ReadIntensity::Full, |_| true), Some(5));
        assert_eq!(ahead.next_read(ReadIntensity::Full, |_| false), None);
        read(&mut ahead, 5..6);
        assert_eq!(ahead.next_read(ReadIntensity::Full, |_| true), Some(6));
        assert!(ahead.plan() && !ahead.plan());
        assert_eq!(
            ahead.next_read(ReadIntensity::Full, |_| true),
            None,
            "a consumer is about to read"
        );
        assert!(matches!(ahead.find(6), Find::Coming));
        ahead.announce(6..9);
        assert_eq!(ahead.next_read(ReadIntensity::Gentle, |_| true), None, "one read is under way");
        assert_eq!(ahead.next_read(ReadIntensity::Full, |_| true), Some(9));
        assert!(ahead.plan());
        ahead.announce(9..11);
        assert_eq!(ahead.next_read(ReadIntensity::Full, |_| true), None, "enough is on its way");
        ahead.arrive(&consumer, 5);
        assert_eq!(ahead.next_read(ReadIntensity::Full, |_| true), None, "two reads are under way");
        assert!(!is_here(&ahead, 4) && is_here(&ahead, 5));
        assert!(matches!(ahead.find(8), Find::Coming));
        ahead.fill(&(9..11), batches(2));
        assert_eq!(ahead.next_read(ReadIntensity::Full, |_| true), Some(11));
        ahead.fill(&(6..9), None);
        assert!(matches!(ahead.find(8), Find::Absent), "it could not be read");
    }

    #[test]
    fn a_read_serves_the_consumer_behind_it() {
        let mut ahead = ReadAhead::default();
        let (fast, slow) = (Arc::from("fast"), Arc::from("slow"));
        for first in [0, 5, 10] {
            read(&mut ahead, first..first + 5);
            ahead.arrive(&slow, 1);
            ahead.arrive(&fast, first);
        }
        assert!(is_here(&ahead, 2) && is_here(&ahead, 12));
        ahead.leave("slow");
        assert!(!is_here(&ahead, 2) && is_here(&ahead, 12));
        ahead.leave("fast");
        assert!(!is_here(&ahead, 12), "no consumer reads from the disk any more");
    }

    #[test]
    fn keeps_blocks_that_a_consumer_waits_for() {
        let (mut ahead, consumer) = (ReadAhead::default(), Arc::from("a"));
        ahead.wait_for(1);
        read(&mut ahead, 0..5);
        ahead.arrive(&consumer, 70);
        assert!(is_here(&ahead, 1));
        ahead.release(1);
        ahead.arrive(&consumer, 71);
        assert!(!is_here(&ahead, 1));
    }
}
