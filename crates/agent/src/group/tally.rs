//! How the events of a group are counted on their way: sent, stored, committed.
//!
//! A batch is sent each time it is handed to a sink. It is *stored* once, however often it is sent,
//! and *committed* when it leaves the channel: then by the sink that had said so. Events that go to
//! the dead letters are neither.
//!
//! Pure: it holds numbers only, for each batch that was sent and is still in the channel.

use std::collections::BTreeMap;

use pipeline::{IntervalSet, Ticket};

/// A batch that was sent and has not left the channel.
#[derive(Debug, Clone, Copy)]
struct Counted {
    /// Its events, without those that were refused.
    events: u64,
    /// Whether it is counted as stored.
    stored: bool,
    /// The member that has committed it.
    by: Option<usize>,
}

/// What each batch counts for.
#[derive(Debug, Default)]
pub(super) struct Tally {
    batches: BTreeMap<Ticket, Counted>,
}

impl Tally {
    /// The batch is handed to a sink.
    pub(super) fn sent(&mut self, ticket: Ticket, events: u64) {
        let fresh = Counted { events, stored: false, by: None };
        let counted = self.batches.entry(ticket).or_insert(fresh);
        // Events that were refused before come again with the batch.
        counted.events = events;
    }

    /// So many events of the batch can never be delivered.
    pub(super) fn refused(&mut self, ticket: Ticket, events: u64) {
        if let Some(counted) = self.batches.get_mut(&ticket) {
            counted.events = counted.events.saturating_sub(events);
        }
    }

    /// These are stored; answers the events that were not before.
    pub(super) fn stored(&mut self, tickets: &IntervalSet) -> u64 {
        let mut fresh = 0;
        self.each(tickets, |counted| {
            if !counted.stored {
                counted.stored = true;
                fresh += counted.events;
            }
        });
        fresh
    }

    /// These are committed by `member`; answers the events that were not stored before.
    pub(super) fn committed(&mut self, tickets: &IntervalSet, member: usize) -> u64 {
        self.each(tickets, |counted| counted.by = Some(member));
        self.stored(tickets)
    }

    /// These leave the channel; answers the events that each member has committed.
    pub(super) fn left(&mut self, tickets: &IntervalSet) -> BTreeMap<usize, u64> {
        let mut left = BTreeMap::new();
        for run in tickets.runs() {
            let gone: Vec<Ticket> = self.batches.range(run.clone()).map(|(it, _)| *it).collect();
            for ticket in gone {
                if let Some(Counted { events, by: Some(member), .. }) = self.batches.remove(&ticket)
                {
                    *left.entry(member).or_default() += events;
                }
            }
        }
        left
    }

    fn each(&mut self, tickets: &IntervalSet, mut change: impl FnMut(&mut Counted)) {
        for run in tickets.runs() {
            self.batches.range_mut(run.clone()).for_each(|(_, counted)| change(counted));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(ticket: Ticket) -> IntervalSet {
        IntervalSet::from(ticket..ticket + 1)
    }

    #[test]
    fn what_is_sent_twice_is_stored_and_committed_once() {
        let mut tally = Tally::default();
        tally.sent(1, 10);
        tally.sent(2, 20);
        assert_eq!(tally.stored(&IntervalSet::from(1..3)), 30);
        tally.sent(1, 10);
        assert_eq!(tally.stored(&one(1)), 0, "it was counted before it was sent again");
        assert_eq!(tally.committed(&IntervalSet::from(1..3), 7), 0);
        assert_eq!(tally.left(&IntervalSet::from(0..9)), BTreeMap::from([(7, 30)]));
        assert_eq!(tally.left(&IntervalSet::from(0..9)), BTreeMap::new());
        assert!(tally.batches.is_empty());
    }

    #[test]
    fn a_sink_that_commits_at_once_has_stored_too() {
        let mut tally = Tally::default();
        tally.sent(1, 10);
        assert_eq!(tally.committed(&one(1), 0), 10);
        assert_eq!(tally.left(&one(1)), BTreeMap::from([(0, 10)]));
    }

    #[test]
    fn events_among_the_dead_letters_are_neither_stored_nor_committed() {
        let mut tally = Tally::default();
        tally.sent(1, 10);
        tally.refused(1, 4);
        assert_eq!(tally.committed(&one(1), 0), 6);
        assert_eq!(tally.left(&one(1)), BTreeMap::from([(0, 6)]));
        tally.sent(2, 10);
        tally.refused(2, 10);
        assert_eq!(tally.left(&one(2)), BTreeMap::new(), "no sink has committed it");
        assert!(tally.batches.is_empty());
    }
}
