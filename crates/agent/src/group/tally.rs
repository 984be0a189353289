//! Counts the events of a group by step: sent, stored, committed.
//!
//! A batch is sent each time it is passed to a sink. It is *stored* once, however often it is sent,
//! and *committed* when it leaves the channel, by the sink that reported it. Events that go to the
//! dead letters are neither. Events that became dead letters at downstream agents were stored
//! there, and are not committed.
//!
//! The tally is pure: it has only numbers, for each batch that was sent and is still in the
//! channel.

use std::collections::BTreeMap;

use metrics::{Counter, Metrics, SinkLabel, SinkReason};
use pipeline::{ErrorClass, IntervalSet, Ticket};
use support::meter::Volume;
use support::mutant;
use tokio::time::{Duration, Instant};

use super::Group;
use crate::tap::Point;

/// A batch that was sent and has not left the channel.
#[derive(Debug, Clone, Copy)]
struct Counted {
    /// As it was sent.
    whole: Volume,
    /// Its events, without refused ones.
    events: u64,
    /// When it was sent last.
    since: Instant,
    /// True if it is counted as stored.
    stored: bool,
    /// The member that has committed it.
    by: Option<usize>,
    /// Events that became dead letters at the next agents.
    downstream: u64,
}

/// A batch that has reached the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Passed {
    /// Its events, without refused ones.
    pub(super) events: u64,
    /// Time since it was sent last.
    pub(super) took: Duration,
}

/// A batch that has left the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Removed {
    /// The member that has committed it; `None` if all of it went to the dead letters.
    pub(super) by: Option<usize>,
    /// The committed events.
    pub(super) passed: Passed,
    /// Bytes of bodies that were committed.
    pub(super) bytes: u64,
    /// Events that went to the dead letters.
    pub(super) refused: u64,
    /// Events that became dead letters at the next agents.
    pub(super) downstream: u64,
}

/// The counts of each batch.
#[derive(Debug, Default)]
pub(super) struct Tally {
    batches: BTreeMap<Ticket, Counted>,
}

impl Tally {
    /// The batch is handed to a sink.
    pub(super) fn sent(&mut self, ticket: Ticket, whole: Volume, now: Instant) {
        let (events, downstream) = (whole.events, 0);
        let fresh = Counted { whole, events, since: now, stored: false, by: None, downstream };
        let counted = self.batches.entry(ticket).or_insert(fresh);
        // Events that were refused before are resent with the batch.
        (counted.events, counted.since) = (whole.events, now);
    }

    /// Returns how many batches were sent and are still in the channel, and their events.
    pub(super) fn in_flight(&self) -> (u64, u64) {
        let events = self.batches.values().map(|counted| counted.whole.events).sum();
        (self.batches.len() as u64, events)
    }

    /// So many events of the batch can never be delivered.
    pub(super) fn refused(&mut self, ticket: Ticket, events: u64) {
        if let Some(counted) = self.batches.get_mut(&ticket) {
            counted.events = counted.events.saturating_sub(events);
        }
    }

    /// So many events of the batch became dead letters at the next agents.
    pub(super) fn refused_downstream(&mut self, ticket: Ticket, events: u64) {
        if let Some(counted) = self.batches.get_mut(&ticket) {
            counted.downstream = events;
        }
    }

    /// Marks tickets as stored; returns those that were not before.
    pub(super) fn stored(&mut self, tickets: &IntervalSet, now: Instant) -> Vec<Passed> {
        let mut fresh = Vec::new();
        self.each(tickets, |counted| {
            if !counted.stored {
                counted.stored = true;
                fresh.push(counted.passed(now));
            }
        });
        fresh
    }

    /// Marks tickets as committed by `member`; returns those that were not stored before.
    pub(super) fn committed(
        &mut self,
        tickets: &IntervalSet,
        member: usize,
        now: Instant,
    ) -> Vec<Passed> {
        self.each(tickets, |counted| counted.by = Some(member));
        self.stored(tickets, now)
    }

    /// Removes tickets that leave the channel; returns the result of each.
    pub(super) fn left(&mut self, tickets: &IntervalSet, now: Instant) -> Vec<Removed> {
        let mut left = Vec::new();
        for run in tickets.runs() {
            let gone: Vec<Ticket> = self.batches.range(run.clone()).map(|(it, _)| *it).collect();
            let gone = gone.iter().filter_map(|ticket| self.batches.remove(ticket));
            left.extend(gone.map(|counted| counted.left(now)));
        }
        left
    }

    fn each(&mut self, tickets: &IntervalSet, mut change: impl FnMut(&mut Counted)) {
        for run in tickets.runs() {
            self.batches.range_mut(run.clone()).for_each(|(_, counted)| change(counted));
        }
    }
}

impl Counted {
    fn passed(&self, now: Instant) -> Passed {
        Passed { events: self.events, took: now.duration_since(self.since) }
    }

    fn left(&self, now: Instant) -> Removed {
        let mut passed = self.passed(now);
        if self.by.is_none() {
            passed.events = 0;
        }
        let Volume { events, bytes } = self.whole;
        let refused = events - passed.events;
        if mutant!("split_counted_twice") && self.by.is_some() {
            passed.events = events;
        }
        let downstream = self.downstream.min(passed.events);
        passed.events -= downstream;
        let bytes = bytes.checked_mul(passed.events).map_or(bytes, |all| all / events.max(1));
        Removed { by: self.by, passed, bytes, refused, downstream }
    }
}

/// Counts the batches passed to a sink, for metrics and the tap.
pub(super) struct Sent {
    /// Events.
    pub(super) events: Counter,
    /// Bytes of their bodies.
    pub(super) bytes: Counter,
    /// The tap: the members of a group are its parts.
    pub(super) tap: Point,
}

impl Sent {
    /// The counters of the sink `name`.
    pub(super) fn new(name: &str, metrics: &Metrics, tap: Point) -> Self {
        let label = SinkLabel { sink: name.to_owned() };
        let events = metrics.sink_sent.get_or_create(&label).clone();
        let bytes = metrics.sink_sent_bytes.get_or_create(&label).clone();
        Self { events, bytes, tap }
    }
}

impl Group {
    /// The next hop has stored these.
    pub(super) fn count_stored(&self, label: &SinkLabel, fresh: &[Passed]) {
        let events = fresh.iter().map(|passed| passed.events).sum();
        self.metrics.sink_stored.get_or_create(label).inc_by(events);
        let after = self.metrics.sink_stored_after.get_or_create(label);
        fresh.iter().for_each(|passed| after.observe(passed.took));
    }

    /// Records the dead letters that the next agent has reported for these batches, which it has
    /// committed.
    pub(super) fn note_downstream(&mut self, index: usize, tickets: &IntervalSet) {
        let Some(hop) = self.members[index].handle.next_hop() else { return };
        for letters in hop.take_dead_letters(tickets) {
            self.tally.refused_downstream(letters.ticket, letters.events);
            self.dead_letter_writes.reported(letters);
        }
    }

    /// Handles delivered batches: they leave the channel, now or once their letters are on disk.
    pub(super) fn leave_when_letters_are_stored(&mut self, tickets: IntervalSet) {
        let leaving = self.dead_letter_writes.mark_delivered(tickets);
        self.leave(&leaving);
    }

    /// Removes batches from the channel.
    pub(super) fn leave(&mut self, tickets: &IntervalSet) {
        let now = Instant::now();
        for left in self.tally.left(tickets, now) {
            self.outflow.left(now, left);
            let Removed { by: Some(index), passed: Passed { events, took }, .. } = left else {
                continue;
            };
            let label = SinkLabel { sink: self.members[index].handle.name().to_string() };
            self.metrics.sink_committed.get_or_create(&label).inc_by(events);
            self.metrics.sink_committed_after.get_or_create(&label).observe(took);
        }
        self.held.left(tickets);
        self.traced_batches.left(tickets);
        self.take.commit(tickets);
    }

    /// A member has failed.
    pub(super) fn count_failure(&self, index: usize, class: ErrorClass) {
        let sink = self.members[index].handle.name().to_string();
        let label = SinkReason { sink, reason: class.to_string() };
        self.metrics.sink_failures.get_or_create(&label).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(ticket: Ticket) -> IntervalSet {
        IntervalSet::from(ticket..ticket + 1)
    }

    fn whole(events: u64) -> Volume {
        Volume { events, bytes: events * 100 }
    }

    /// A result by which member 7 has committed this many events.
    fn left(events: u64, of: u64, seconds: u64) -> Removed {
        let (by, passed) = (Some(7), passed(events, seconds));
        Removed { by, passed, bytes: events * 100, refused: of - events, downstream: 0 }
    }

    fn passed(events: u64, seconds: u64) -> Passed {
        Passed { events, took: Duration::from_secs(seconds) }
    }

    #[test]
    fn batch_sent_twice_is_stored_and_committed_once() {
        let (mut tally, began) = (Tally::default(), Instant::now());
        let at = |second| began + Duration::from_secs(second);
        tally.sent(1, whole(10), began);
        tally.sent(2, whole(20), at(1));
        let both = IntervalSet::from(1..3);
        assert_eq!(tally.stored(&both, at(3)), [passed(10, 3), passed(20, 2)]);
        tally.sent(1, whole(10), at(4));
        assert_eq!(tally.stored(&one(1), at(5)), [], "it was counted before it was sent again");
        assert_eq!(tally.committed(&both, 7, at(6)), []);
        assert_eq!(tally.in_flight(), (2, 30));
        let gone = tally.left(&IntervalSet::from(0..9), at(7));
        assert_eq!(gone, [left(10, 10, 3), left(20, 20, 6)]);
        assert!(tally.batches.is_empty());
    }

    #[test]
    fn sink_that_commits_immediately_counts_as_stored() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        tally.sent(1, whole(10), now);
        assert_eq!(tally.committed(&one(1), 7, now), [passed(10, 0)]);
        assert_eq!(tally.left(&one(1), now), [left(10, 10, 0)]);
    }

    #[test]
    fn events_among_the_dead_letters_are_neither_stored_nor_committed() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        tally.sent(1, whole(10), now);
        tally.refused(1, 4);
        assert_eq!(tally.committed(&one(1), 7, now), [passed(6, 0)]);
        assert_eq!(tally.left(&one(1), now), [left(6, 10, 0)]);
        tally.sent(2, whole(10), now);
        tally.refused(2, 10);
        let (by, bytes, refused) = (None, 0, 10);
        let gone = Removed { by, passed: passed(0, 0), bytes, refused, downstream: 0 };
        assert_eq!(tally.left(&one(2), now), [gone], "no sink has committed it");
        assert!(tally.batches.is_empty());
    }

    #[test]
    fn dead_letters_of_the_next_agents_are_stored_and_not_committed() {
        let (mut tally, now) = (Tally::default(), Instant::now());
        tally.sent(1, whole(10), now);
        tally.refused(1, 2);
        assert_eq!(tally.stored(&one(1), now), [passed(8, 0)]);
        tally.refused_downstream(1, 3);
        assert_eq!(tally.committed(&one(1), 7, now), []);
        assert_eq!(
            tally.left(&one(1), now),
            [Removed { downstream: 3, refused: 2, ..left(5, 8, 0) }]
        );
        // More than there can be.
        tally.sent(2, whole(4), now);
        tally.refused_downstream(2, 9);
        tally.committed(&one(2), 7, now);
        assert_eq!(tally.left(&one(2), now), [Removed { downstream: 4, ..left(0, 0, 0) }]);
    }
}
