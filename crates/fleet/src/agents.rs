//! The state of an agent, from its reports. Pure.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::gate::{Before, Counts, Level, Point};
use crate::history::Gathered;
use crate::topology::{Destination, Links, Receiver};

/// Observations that are kept of each agent.
const POINTS_MAX: usize = 32;

/// With fewer observations under its text, an agent is judged as it was when it had this text
/// before.
const POINTS_MIN: usize = 8;

/// A configuration that an agent could not apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its hash, in hexadecimal.
    pub hash: String,
    /// Why.
    pub error: String,
}

/// One report, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Names the agent, in hexadecimal.
    pub uid: String,
    /// The name that its certificate or token proves.
    pub identity: Option<String>,
    /// Number of the message: one more than the one before.
    pub sequence: u64,
    /// The name that it reports.
    pub name: String,
    /// Version of its program.
    pub version: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Counts, if it is an agent of Aqueduct that accepts configurations.
    pub counts: Option<Counts>,
    /// Age of the oldest event in its channels, in seconds, if there is one and it is reported.
    pub oldest_seconds: Option<u32>,
    /// The worst finding.
    pub level: Level,
    /// The same in words.
    pub verdict: String,
    /// When its process has started, in milliseconds since 1970.
    pub started_ms: u64,
    /// Pause between its reports.
    pub poll_ms: u64,
    /// Hash of its configuration, if that is from the server.
    pub in_force: Option<String>,
    /// The last configuration that it has refused.
    pub failure: Option<Failure>,
    /// Its sinks.
    pub destinations: Vec<Destination>,
    /// Its sources for other agents.
    pub receivers: Vec<Receiver>,
}

/// An agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// The name that its certificate or token has proved first. Others cannot use its uid.
    pub identity: Option<String>,
    /// The name that it reports.
    pub name: String,
    /// Version of its program.
    pub version: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// True if it accepts configurations of this server. Others are only shown.
    pub managed: bool,
    /// The worst finding in words.
    pub verdict: String,
    /// Time of its last report.
    pub last_seen_ms: u64,
    /// Pause between its reports.
    pub poll_ms: u64,
    /// Hash of its configuration, if that is from the server.
    pub in_force: Option<String>,
    /// The last configuration that it has refused.
    pub failure: Option<Failure>,
    /// Number of its last message.
    sequence: u64,
    /// Its last observations under the text in force, the oldest first.
    points: VecDeque<Point>,
    /// An earlier text, and the agent with it: after a roll-back the next roll-out compares with
    /// that, not with the failed text or with the moments after it.
    #[serde(default)]
    earlier: Option<(Option<String>, Before)>,
    /// Age of the oldest event in its channels, in seconds.
    #[serde(default)]
    pub oldest_seconds: Option<u32>,
    /// Its sinks, and its sources for other agents.
    #[serde(default)]
    pub(crate) links: Links,
    /// Its reports since the last sample of its history.
    #[serde(skip)]
    pub(crate) gathered: Gathered,
}

impl Agent {
    /// Adds a report.
    pub(crate) fn update(&mut self, now_ms: u64, report: Report) {
        if report.in_force != self.in_force && !self.points.is_empty() {
            let is_back = self.earlier.as_ref().is_some_and(|it| it.0 == report.in_force);
            if !is_back {
                self.earlier = Some((self.in_force.clone(), self.before()));
            }
            self.points.clear();
        }
        if let Some(counts) = report.counts {
            let found = (report.level, report.oldest_seconds);
            self.gathered.add((now_ms, report.started_ms), counts, found);
        }
        // Before the push: the queue never gets a capacity above the maximum.
        if self.points.len() >= POINTS_MAX {
            self.points.pop_front();
        }
        self.points.push_back(Point {
            at_ms: now_ms,
            started_ms: report.started_ms,
            level: report.level,
            counts: report.counts.unwrap_or_default(),
        });
        self.sequence = report.sequence;
        self.managed = report.counts.is_some();
        self.oldest_seconds = report.oldest_seconds;
        self.links.update(now_ms, (report.destinations, report.receivers));
        self.identity = self.identity.take().or(report.identity);
        (self.last_seen_ms, self.poll_ms) = (now_ms, report.poll_ms);
        (self.name, self.version, self.verdict) = (report.name, report.version, report.verdict);
        (self.labels, self.in_force, self.failure) =
            (report.labels, report.in_force, report.failure);
    }

    /// Notes a message without content: nothing has changed since the one before. Returns `false`
    /// if that one was lost, or if the agent must always send all.
    pub(crate) fn heartbeat(&mut self, now_ms: u64, sequence: u64) -> bool {
        let is_next = !self.managed && sequence == self.sequence.wrapping_add(1);
        if is_next {
            (self.sequence, self.last_seen_ms) = (sequence, now_ms);
        }
        is_next
    }

    /// The agent as it is with the text in force.
    pub(crate) fn before(&self) -> Before {
        let now = Before::new(self.points.iter().copied());
        match &self.earlier {
            Some((text, earlier)) if *text == self.in_force && self.points.len() < POINTS_MIN => {
                Before { level: now.level, ..*earlier }
            }
            _ => now,
        }
    }

    /// The last observation.
    pub fn last(&self) -> Point {
        self.points.back().copied().unwrap_or_default()
    }

    /// Returns `true` if it has not reported for three polls and the time that a report may take.
    pub fn is_silent(&self, now_ms: u64) -> bool {
        self.is_silent_since(now_ms, 0)
    }

    /// Returns `true` if it has not reported yet to a server that has started at `since_ms`, but
    /// still may.
    pub(crate) fn is_awaited(&self, now_ms: u64, since_ms: u64) -> bool {
        self.last_seen_ms < since_ms && !self.is_silent_since(now_ms, since_ms)
    }

    /// Like [`is_silent`](Self::is_silent), for a server that receives reports since `since_ms`.
    pub(crate) fn is_silent_since(&self, now_ms: u64, since_ms: u64) -> bool {
        now_ms.saturating_sub(self.last_seen_ms.max(since_ms)) > 3 * self.poll_ms + 10_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reports once a second, with this text: 100 more events, some of them dropped.
    fn report(agent: &mut Agent, text: &str, (seconds, dropped): (u64, u64)) {
        for _ in 0..seconds {
            let (at, mut counts) = (agent.last_seen_ms + 1_000, agent.last().counts);
            counts.accepted += 100;
            counts.dropped += dropped;
            counts.delivered += 100 - dropped;
            let report = Report {
                counts: Some(counts),
                in_force: Some(text.to_owned()),
                ..Report::default()
            };
            agent.update(at, report);
        }
    }

    #[test]
    fn after_a_failed_text_the_time_before_it_counts() {
        let mut agent = Agent::default();
        report(&mut agent, "good", (30, 0));
        let before = agent.before();
        assert!(before.has_traffic && before.lost_share == 0.0 && before.rate == 100.0);
        report(&mut agent, "bad", (5, 100));
        assert!(agent.before().lost_share > 0.9);
        // Soon after it, and after another one.
        report(&mut agent, "good", (2, 50));
        assert_eq!(agent.before(), before);
        report(&mut agent, "worse", (5, 100));
        report(&mut agent, "good", (1, 0));
        assert_eq!(agent.before(), before);
        // Later the agent is compared with itself as it is now.
        report(&mut agent, "good", (POINTS_MIN as u64, 50));
        assert!(agent.before().lost_share > 0.4);
    }
}
