//! The balance of all events: received ones are delivered, held, dropped for a reason, or among the
//! dead letters.
//!
//! ```text
//!   held at start + accepted + copied + put again + replayed
//!       = delivered + dead letters + dead letters of the next agents + held + resent
//!         + dropped by reason + difference
//! ```
//!
//! The terms are counted at different places: received events by the intake of each source, leaving
//! ones by the groups, held ones by the channels. Therefore the difference shows events that no
//! place has counted. While events move it is some batches, because a snapshot is not atomic;
//! otherwise it is 0.
//!
//! If several groups take from one channel, an event has left it when all of them have delivered
//! it. Of the groups that had most to deliver when the channel was opened, the one that has
//! delivered least counts.
//!
//! Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use support::meter::{Meter, Volume};
use support::mutant;
use tokio::time::{Duration, Instant};

use super::State;

/// The reason of events that a reload has left on disk: the channel was closed, and still has them.
const LEFT_BEHIND: &str = "left_in_closed_channel";

/// The balance of an agent's events since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conservation {
    /// Events that the channels held when the agent started.
    pub held_at_start_events: u64,
    /// Events that the sources have accepted, before interceptors.
    pub accepted_events: u64,
    /// Further copies of events that go to more than one channel.
    pub copied_events: u64,
    /// Events put into channels that lacked them, after a batch was stored in others only.
    pub put_again_events: u64,
    /// Events that an operator has put back from the dead letters.
    #[serde(default)]
    pub replayed_events: u64,
    /// Events that the sinks have delivered.
    pub delivered_events: u64,
    /// Events that became dead letters.
    pub dead_letter_events: u64,
    /// Events that were delivered to the next agents, and became dead letters there or beyond.
    #[serde(default)]
    pub downstream_dead_letter_events: u64,
    /// Events in the channels.
    pub held_events: u64,
    /// Events that are nowhere, by reason.
    pub dropped_events: BTreeMap<String, u64>,
    /// Events that were resent after the channels had stored them.
    #[serde(default)]
    pub resent_events: u64,
    /// Received events, minus those that are accounted for.
    pub difference_events: i64,
}

impl Conservation {
    /// With the difference between both sides.
    pub fn balanced(mut self) -> Self {
        let came = self.held_at_start_events
            + self.accepted_events
            + self.copied_events
            + self.put_again_events
            + self.replayed_events;
        let dropped: u64 = self.dropped_events.values().sum();
        let letters = self.dead_letter_events + self.downstream_dead_letter_events;
        let left = self.delivered_events + letters;
        let known = left + self.held_events + dropped + self.resent_events;
        let signed = |value| i64::try_from(value).unwrap_or(i64::MAX);
        self.difference_events = signed(came) - signed(known);
        self
    }

    /// Adds the events of a channel when it was opened, and those that have left it by the group
    /// that has delivered least.
    pub fn add_channel(&mut self, held_at_start: u64, passed: PassedEvents) {
        self.held_at_start_events += held_at_start;
        self.delivered_events += passed.delivered;
        self.dead_letter_events += passed.dead_letters;
        self.downstream_dead_letter_events += passed.downstream;
    }

    /// Adds events that stay on disk in a channel that is closed.
    pub fn add_left_behind(&mut self, events: u64) {
        if events > 0 {
            *self.dropped_events.entry(LEFT_BEHIND.to_owned()).or_default() += events;
        }
    }

    /// Adds events that were dropped; a reason without events is not listed.
    pub fn add_dropped(&mut self, dropped: &BTreeMap<String, u64>) {
        for (reason, events) in dropped.iter().filter(|(_, events)| **events > 0) {
            *self.dropped_events.entry(reason.clone()).or_default() += events;
        }
    }
}

/// Events that have left a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PassedEvents {
    /// Delivered.
    pub delivered: u64,
    /// Among the dead letters of this agent.
    pub dead_letters: u64,
    /// Events delivered to downstream agents that are among their dead letters or further
    /// downstream.
    pub downstream: u64,
}

/// One batch on its way from a source into the channels, in events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchFlow {
    /// As the source has handed it over.
    pub given: Volume,
    /// Events after the interceptors.
    pub kept: u64,
    /// Rejected events: they are among the dead letters.
    pub rejected: u64,
    /// Put into channels, each copy counted.
    pub stored: u64,
    /// Not put into optional channels, which had no room.
    pub optional_full: u64,
    /// Not put into optional channels, which failed.
    pub optional_failed: u64,
}

/// Sources resend a batch within this time.
const RESENT_WITHIN: Duration = Duration::from_secs(120);

/// The failure of the last batch.
#[derive(Debug, Clone)]
struct Refusal {
    /// The first one since a batch was accepted.
    began: Instant,
    last: Instant,
    error: String,
}

/// Totals of a source: accepted events, and events that did not reach a channel.
#[derive(Debug, Clone)]
pub struct SourceFlow {
    /// Accepted events.
    pub accepted: Meter,
    /// Batches of it.
    pub batches: u64,
    /// Batches that were handed over and not accepted, each try counted.
    pub failed_batches: u64,
    /// Their events.
    pub failed_events: u64,
    /// Why the last batch is not stored; `None`: it is.
    refusal: Option<Refusal>,
    copied: u64,
    put_again: u64,
    filtered: u64,
    rejected: u64,
    not_selected: u64,
    optional_full: u64,
    optional_failed: u64,
}

impl SourceFlow {
    /// Creates empty totals.
    pub fn new(began: Instant) -> Self {
        Self {
            accepted: Meter::new(began),
            batches: 0,
            failed_batches: 0,
            failed_events: 0,
            refusal: None,
            copied: 0,
            put_again: 0,
            filtered: 0,
            rejected: 0,
            not_selected: 0,
            optional_full: 0,
            optional_failed: 0,
        }
    }

    /// Records an accepted batch: it is in every required channel.
    pub fn accepted(&mut self, now: Instant, passage: BatchFlow) {
        let BatchFlow { given, kept, rejected, stored, optional_full, optional_failed } = passage;
        self.refusal = None;
        self.accepted.add(now, given);
        self.batches += u64::from(given.events > 0);
        let left = kept + rejected;
        self.filtered += given.events.saturating_sub(left);
        self.copied += left.saturating_sub(given.events);
        self.rejected += if mutant!("rejected_not_counted") { 0 } else { rejected };
        let selected = stored + optional_full + optional_failed;
        self.not_selected += kept.saturating_sub(selected);
        self.copied += selected.saturating_sub(kept);
        self.optional_full += optional_full;
        self.optional_failed += optional_failed;
    }

    /// Records a batch that is not in every required channel; its source resends it.
    pub fn failed(&mut self, given: Volume) {
        self.failed_batches += 1;
        self.failed_events += given.events;
    }

    /// Records why a batch is not in every required channel.
    pub fn refused(&mut self, now: Instant, error: String) {
        let began = self.refusal.as_ref().map_or(now, |it| it.began);
        self.refusal = Some(Refusal { began, last: now, error });
    }

    /// The state of a source whose last batch is not stored; `None`: it is, or nothing has resent
    /// it for so long that its sender is gone.
    pub fn failing(&self, now: Instant) -> Option<State> {
        let Refusal { began, last, error } = self.refusal.as_ref()?;
        let is_resent = now.saturating_duration_since(*last) < RESENT_WITHIN;
        is_resent.then(|| State::Failing {
            since_seconds_ago: now.saturating_duration_since(*began).as_secs_f64(),
            last_error: error.clone(),
            retry_in_seconds: None,
            needs_operator: false,
        })
    }

    /// The batch is not accepted, or was before: some channels have stored it now.
    pub fn not_accepted(&mut self, stored: u64) {
        self.put_again += stored;
    }

    /// These events were counted as put again, and belong to a batch that is accepted now.
    pub fn accepted_later(&mut self, stored: u64) {
        self.put_again = self.put_again.saturating_sub(stored);
    }

    /// Events that are in no channel, by reason.
    pub fn dropped(&self) -> BTreeMap<String, u64> {
        let all = [
            ("filtered_by_interceptor", self.filtered),
            ("rejected_by_interceptor", self.rejected),
            ("not_selected", self.not_selected),
            ("optional_channel_full", self.optional_full),
            ("optional_channel_failed", self.optional_failed),
        ];
        all.into_iter().map(|(reason, events)| (reason.to_owned(), events)).collect()
    }

    /// Adds the totals of this source.
    pub fn add_to(&self, sum: &mut Conservation) {
        sum.accepted_events += self.accepted.total().events;
        sum.copied_events += self.copied;
        sum.put_again_events += self.put_again;
        sum.add_dropped(&self.dropped());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(events: u64) -> Volume {
        Volume { events, bytes: events * 10 }
    }

    #[tokio::test(start_paused = true)]
    async fn source_fails_from_a_refused_batch_until_one_is_accepted_or_none_is_resent() {
        let mut source = SourceFlow::new(Instant::now());
        let failing = |source: &SourceFlow| match source.failing(Instant::now())? {
            State::Failing { since_seconds_ago, last_error, .. } => {
                Some((since_seconds_ago, last_error))
            }
            state => panic!("{state:?}"),
        };
        assert_eq!(failing(&source), None);
        for error in ["first", "second"] {
            source.refused(Instant::now(), error.to_owned());
            tokio::time::advance(Duration::from_secs(10)).await;
        }
        assert_eq!(failing(&source), Some((20.0, "second".to_owned())));
        source.accepted(Instant::now(), BatchFlow::default());
        assert_eq!(failing(&source), None);
        source.refused(Instant::now(), "third".to_owned());
        tokio::time::advance(RESENT_WITHIN).await;
        assert_eq!(failing(&source), None);
    }

    #[test]
    fn batch_is_accounted_for_on_every_way() {
        let mut source = SourceFlow::new(Instant::now());
        let now = Instant::now();
        let passages = [
            // Into one channel.
            BatchFlow { given: given(10), kept: 10, stored: 10, ..BatchFlow::default() },
            // Three are filtered, the others go to two channels.
            BatchFlow { given: given(10), kept: 7, stored: 14, ..BatchFlow::default() },
            // Five are selected for no channel.
            BatchFlow { given: given(10), kept: 10, stored: 5, ..BatchFlow::default() },
            // Two optional channels: one has no room, the other fails.
            BatchFlow {
                given: given(4),
                kept: 4,
                rejected: 0,
                stored: 4,
                optional_full: 4,
                optional_failed: 3,
            },
        ];
        passages.iter().for_each(|passage| source.accepted(now, *passage));
        source.not_accepted(6);
        let mut sum = Conservation { held_at_start_events: 100, ..Conservation::default() };
        source.add_to(&mut sum);
        assert_eq!(sum.accepted_events, 34);
        let dropped: Vec<(&str, u64)> =
            sum.dropped_events.iter().map(|(reason, events)| (&**reason, *events)).collect();
        let expected = [
            ("filtered_by_interceptor", 3),
            ("not_selected", 5),
            ("optional_channel_failed", 3),
            ("optional_channel_full", 4),
        ];
        assert_eq!(dropped, expected);
        let stored: u64 = passages.iter().map(|passage| passage.stored).sum::<u64>() + 6;
        sum.held_events = 100 + stored - 20;
        sum.delivered_events = 15;
        (sum.dead_letter_events, sum.downstream_dead_letter_events) = (3, 4);
        sum.replayed_events = 2;
        assert_eq!(sum.clone().balanced().difference_events, 0);
        sum.delivered_events = 14;
        assert_eq!(sum.clone().balanced().difference_events, 1, "one event is missing");
        sum.delivered_events = 17;
        assert_eq!(sum.balanced().difference_events, -2, "two are there too often");
    }
}
