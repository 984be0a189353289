//! The state of a group for queries, and its counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::SinkLabel;
use pipeline::{Outage, SinkStatus};
use support::meter::{Meter, Volume};
use support::mutant;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Group;
use super::tally::Removed;
use crate::status::{PassedEvents, State};

/// A query about the state of a group.
pub(crate) type Question = oneshot::Sender<GroupView>;

/// The state of a group.
#[derive(Debug)]
pub struct GroupView {
    /// Its state.
    pub(crate) state: State,
    /// Totals of batches that have left the channel, by destination.
    pub(crate) outflow: Outflow,
    /// Batches that were sent and have not left the channel.
    pub(crate) in_flight_batches: u64,
    /// Their events.
    pub(crate) in_flight_events: u64,
    /// Its members.
    pub(crate) members: Vec<MemberPart>,
}

/// A member of a group, as the group knows it.
#[derive(Debug)]
pub(crate) struct MemberPart {
    /// Name of the sink.
    pub(crate) name: Arc<str>,
    /// Its state.
    pub(crate) state: State,
    /// Until when the processor passes it over.
    pub(crate) penalty_ends: Option<Instant>,
    /// Batches in its hand.
    pub(crate) in_hand: u64,
    /// Bytes that it has taken over and not stored anywhere.
    pub(crate) unacknowledged_bytes: u64,
    /// Events that it has refused.
    pub(crate) refused_events: u64,
    /// The status of the sink.
    pub(crate) sink: SinkStatus,
    /// Why its downstream agent cannot store, as that agent reports.
    pub(crate) unable: Option<Outage>,
    /// Incarnation of the downstream agent's source.
    pub(crate) incarnation: Option<u64>,
}

/// Totals of batches that have left the channel of a group since it started.
#[derive(Debug, Clone)]
pub(crate) struct Outflow {
    /// Delivered events.
    pub(crate) delivered: Meter,
    /// Events that went to the dead letters.
    pub(crate) dead_letter_events: u64,
    /// When events that became dead letters at the next agents left the channel last.
    pub(crate) last_downstream: Option<Instant>,
    /// Deliveries of each member.
    pub(crate) by_member: Vec<OutflowPart>,
    /// The same since the agent has started, over restarts of the group.
    pub(crate) passed: Arc<Passed>,
}

/// Totals of events that have left a channel by one of its consumers since the channel was opened.
/// A restarted group continues them; a new one begins with the events that had left the channel
/// before.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    delivered_events: AtomicU64,
    dead_letter_events: AtomicU64,
    downstream_events: AtomicU64,
}

impl Passed {
    /// Starts at the totals of another consumer.
    pub(crate) fn starting_at(other: &Self) -> Self {
        let PassedEvents { delivered, dead_letters, downstream } = other.read();
        Self {
            delivered_events: delivered.into(),
            dead_letter_events: dead_letters.into(),
            downstream_events: downstream.into(),
        }
    }

    /// The events that have left the channel.
    pub(crate) fn read(&self) -> PassedEvents {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        PassedEvents {
            delivered: load(&self.delivered_events),
            dead_letters: load(&self.dead_letter_events),
            downstream: load(&self.downstream_events),
        }
    }

    /// All of them together.
    pub(crate) fn events(&self) -> u64 {
        let PassedEvents { delivered, dead_letters, downstream } = self.read();
        delivered + dead_letters + downstream
    }
}

/// Deliveries of one member.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OutflowPart {
    /// Batches with events that left the channel.
    pub(crate) batches: u64,
    /// These events.
    pub(crate) events: u64,
    /// The time of the last one.
    pub(crate) last: Option<Instant>,
}

impl Outflow {
    /// Creates empty totals for this many members.
    pub(super) fn new(members: usize, began: Instant, passed: Arc<Passed>) -> Self {
        let by_member = vec![OutflowPart::default(); members];
        let (delivered, last_downstream) = (Meter::new(began), None);
        Self { delivered, dead_letter_events: 0, last_downstream, by_member, passed }
    }

    /// A batch has left the channel.
    pub(super) fn left(&mut self, now: Instant, left: Removed) {
        self.dead_letter_events += left.refused;
        let events = left.passed.events;
        self.passed.delivered_events.fetch_add(events, Ordering::Relaxed);
        if !mutant!("letters_not_counted") {
            self.passed.dead_letter_events.fetch_add(left.refused, Ordering::Relaxed);
        }
        self.passed.downstream_events.fetch_add(left.downstream, Ordering::Relaxed);
        if left.downstream > 0 {
            self.last_downstream = Some(now);
        }
        self.delivered.add(now, Volume { events, bytes: left.bytes });
        if let Some(by) = left.by {
            let part = &mut self.by_member[by];
            part.batches += u64::from(events > 0);
            part.events += events;
            part.last = Some(now);
        }
    }
}

impl Group {
    /// Answers a query about its state.
    pub(super) fn answer(&self, question: Question) {
        let now = Instant::now();
        let (in_flight_batches, in_flight_events) = self.tally.in_flight();
        let members = self.members.iter().enumerate().map(|(index, member)| MemberPart {
            name: member.handle.name().clone(),
            state: member.component_health.status(),
            penalty_ends: self.processor.penalty_ends(index).filter(|ends| *ends > now),
            in_hand: member.in_hand.len() as u64,
            unacknowledged_bytes: member.handle.unacknowledged_bytes(),
            refused_events: self.refused_by(index),
            sink: member.board.as_ref().map(pipeline::SinkBoard::read).unwrap_or_default(),
            unable: member.handle.outage(),
            incarnation: member.handle.incarnation(),
        });
        let members = members.collect();
        let (state, outflow) = (self.state(now), self.outflow.clone());
        let view = GroupView { state, outflow, in_flight_batches, in_flight_events, members };
        // The question may have timed out.
        drop(question.send(view));
    }

    fn refused_by(&self, index: usize) -> u64 {
        let label = SinkLabel { sink: self.members[index].handle.name().to_string() };
        // A free place for a discovered sink has no such counter.
        self.metrics.sink_refused.get(&label).map_or(0, |counter| counter.get())
    }

    /// Failing while it cannot read its channel; waiting while no member accepts the next batch.
    fn state(&self, now: Instant) -> State {
        let ago = |since: Instant| now.saturating_duration_since(since).as_secs_f64();
        if let (Some(since), Some(until)) = (self.failure_log.began(), self.refuse_reads_until) {
            return State::Failing {
                since_seconds_ago: ago(since),
                last_error: self.read_error.clone(),
                retry_in_seconds: Some(until.saturating_duration_since(now).as_secs_f64()),
                needs_operator: false,
            };
        }
        match self.outlet.outage_of(&self.name) {
            Some(outage) => State::Waiting {
                waits_for: match &outage.agent.address {
                    Some(address) => format!("{address} to store events: {}", outage.cause),
                    None => format!("a sink that works: {}", outage.cause),
                },
                since_seconds_ago: ago(outage.since),
            },
            None => State::Running,
        }
    }
}
