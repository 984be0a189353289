//! The history of about 24 hours, of each agent and of the fleet: samples in steps of five minutes.
//!
//! ```text
//!   reports ─► Gathered of each agent ─► Samples, once a minute ─► Store: history.db
//!                                          └─► sum: the fleet          │
//!                page, GET /history ◄── Track ◄────────────────────────┘
//! ```
//!
//! A step is a number: milliseconds since 1970, divided by [`STEP_MS`]. The samples of the current
//! step are stored once a minute, so that a killed server loses at most a minute. Pure, except for
//! the store.

mod store;
#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::gate::{Counts, Level};
use crate::state::Fleet;
pub(crate) use store::{FLEET, Store};

/// Length of a step.
pub const STEP_MS: u64 = 300_000;

/// Steps in 24 hours.
pub(crate) const STEPS: u64 = 24 * 3_600_000 / STEP_MS;

/// Time between two copies of the current step.
const COPY_MS: u64 = 60_000;

/// An agent in a step, or the sum of all agents.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
    /// Accepted events per second; `None` without two reports of the same process.
    pub accepted: Option<f32>,
    /// Delivered events per second.
    pub delivered: Option<f32>,
    /// Events in the channels at the end.
    pub held: f32,
    /// Age of the oldest event in the channels at the end, in seconds; `None` if they are empty, or
    /// if the agent does not report it.
    pub oldest_seconds: Option<u32>,
    /// The worst finding.
    pub level: Level,
}

/// The samples of a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    /// Number of the step.
    pub step: u64,
    /// Of agents that have reported in it, by uid.
    pub agents: Vec<(String, Sample)>,
}

/// Samples of an agent with the numbers of their steps, the oldest first.
pub(crate) type Track = Vec<(u64, Sample)>;

impl Samples {
    /// The whole fleet.
    pub fn sum(&self) -> Sample {
        let rate = |of: fn(&Sample) -> Option<f32>| {
            let known: Vec<f32> = self.agents.iter().filter_map(|(_, it)| of(it)).collect();
            let sum: f64 = known.iter().copied().map(f64::from).sum();
            (!known.is_empty()).then_some(sum as f32)
        };
        let all = || self.agents.iter().map(|(_, it)| it);
        Sample {
            accepted: rate(|it| it.accepted),
            delivered: rate(|it| it.delivered),
            held: all().map(|it| f64::from(it.held)).sum::<f64>() as f32,
            oldest_seconds: all().filter_map(|it| it.oldest_seconds).max(),
            level: all().map(|it| it.level).max().unwrap_or_default(),
        }
    }
}

/// The counts of a report.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Reported {
    at_ms: u64,
    started_ms: u64,
    counts: Counts,
}

/// Reports of an agent in the current step.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Gathered {
    /// The last report, also of an earlier step.
    last: Option<Reported>,
    /// Time between the reports of this step and the ones before them.
    covered_ms: u64,
    accepted: u64,
    delivered: u64,
    level: Level,
    oldest_seconds: Option<u32>,
    /// True if the agent has reported in this step.
    is_seen: bool,
}

impl Gathered {
    /// Adds a report of the process that has started at `started_ms`.
    pub(crate) fn add(
        &mut self,
        (at_ms, started_ms): (u64, u64),
        counts: Counts,
        (level, oldest_seconds): (Level, Option<u32>),
    ) {
        // Counts begin at 0 when a process starts.
        if let Some(last) = self.last.filter(|it| it.started_ms == started_ms) {
            self.covered_ms += at_ms.saturating_sub(last.at_ms);
            self.accepted += counts.accepted.saturating_sub(last.counts.accepted);
            self.delivered += counts.delivered.saturating_sub(last.counts.delivered);
        }
        self.last = Some(Reported { at_ms, started_ms, counts });
        self.level = self.level.max(level);
        self.oldest_seconds = oldest_seconds;
        self.is_seen = true;
    }

    /// Returns the sample of this step so far; `None` without a report.
    fn sample(&self) -> Option<Sample> {
        let last = self.last.filter(|_| self.is_seen)?;
        let per_second = |events: u64| {
            (self.covered_ms > 0).then(|| (events as f64 * 1e3 / self.covered_ms as f64) as f32)
        };
        Some(Sample {
            accepted: per_second(self.accepted),
            delivered: per_second(self.delivered),
            held: last.counts.held as f32,
            oldest_seconds: self.oldest_seconds,
            level: self.level,
        })
    }

    /// Begins the next step.
    fn restart(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
    }
}

/// Decides when samples are stored.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Steps {
    /// The current step; `None` before the first call.
    step: Option<u64>,
    stored_ms: u64,
}

impl Fleet {
    /// Returns samples that should be stored now: once a minute those of the current step, and at
    /// its end for the last time. Call it every second.
    pub fn samples(&mut self, now_ms: u64) -> Option<Samples> {
        let now = now_ms / STEP_MS;
        let Steps { step, stored_ms } = self.steps;
        let Some(step) = step else {
            self.steps = Steps { step: Some(now), stored_ms: now_ms };
            return None;
        };
        let is_over = now != step;
        // Also after the clock was set back.
        if !is_over && (stored_ms..stored_ms + COPY_MS).contains(&now_ms) {
            return None;
        }
        self.steps = Steps { step: Some(now), stored_ms: now_ms };
        let mut agents = Vec::new();
        for (uid, agent) in self.agents_mut() {
            agents.extend(agent.gathered.sample().map(|it| (uid.clone(), it)));
            if is_over {
                agent.gathered.restart();
            }
        }
        (!agents.is_empty()).then_some(Samples { step, agents })
    }
}

/// The history of an agent or of the fleet as JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HistoryView {
    /// The name of the agent; `null` for the fleet.
    pub agent: Option<String>,
    /// Its uid.
    pub uid: Option<String>,
    /// Length of a step.
    pub step_seconds: u64,
    /// The steps with a report, the oldest first.
    pub points: Vec<PointView>,
}

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PointView {
    /// When it begins, in seconds since 1970.
    pub at_unix_seconds: u64,
    /// Accepted events per second.
    pub accepted_per_second: Option<f32>,
    /// Delivered events per second.
    pub delivered_per_second: Option<f32>,
    /// Events in the channels.
    pub held_events: u64,
    /// Age of the oldest event in the channels.
    pub oldest_event_seconds: Option<u32>,
    /// The worst finding.
    pub level: Level,
}

impl HistoryView {
    /// Of an agent with this uid and name, or of the fleet.
    pub(crate) fn new(of: Option<(String, String)>, track: &Track) -> Self {
        let (uid, agent) = of.unzip();
        let points = track.iter().map(|(step, sample)| PointView {
            at_unix_seconds: step * STEP_MS / 1_000,
            accepted_per_second: sample.accepted,
            delivered_per_second: sample.delivered,
            held_events: sample.held as u64,
            oldest_event_seconds: sample.oldest_seconds,
            level: sample.level,
        });
        let (step_seconds, points) = (STEP_MS / 1_000, points.collect());
        Self { agent, uid, step_seconds, points }
    }
}
