//! The page of Flume's HTTP monitoring (`flume.monitoring.type=http`): one JSON object with an
//! object of counters for each source, channel and sink. Every value is text.
//!
//! ```text
//!   {"CHANNEL.main":{"ChannelFillPercentage":"0.2","ChannelSize":"12", … "Type":"CHANNEL"}, … }
//! ```
//!
//! The page has a counter only if the agent counts the same thing; the table in
//! `docs/flume-metrics.md` explains each one. Pure: computed from a snapshot and the metrics.

use std::collections::BTreeMap;

use metrics::{Metrics, SinkLabel, SinkReason, SourceLabel};
use pipeline::ErrorClass;

use agent::status::{ChannelStatus, GroupStatus, MemberStatus, Snapshot, SourceStatus, State};

/// Classes of sink failures that the batch does not cause.
const NOT_OF_A_BATCH: &[ErrorClass] =
    &[ErrorClass::Transient, ErrorClass::Indeterminate, ErrorClass::Blocked];

/// Counters of one component, by Flume's names.
type Counters = BTreeMap<&'static str, String>;

/// The page, as JSON. `started_ms`: when the agent has started, in milliseconds since 1970.
pub(super) fn page(snapshot: &Snapshot, metrics: &Metrics, started_ms: u64) -> String {
    let page = Page { snapshot, metrics, started_ms };
    let sources =
        snapshot.sources.iter().map(|it| (format!("SOURCE.{}", it.name), page.source(it)));
    let channels = snapshot.channels.iter();
    let channels = channels.map(|it| (format!("CHANNEL.{}", it.name), page.channel(it)));
    let sinks = snapshot.groups.iter().flat_map(|group| &group.members);
    let sinks = sinks.filter(|it| it.state != State::Absent);
    let sinks = sinks.map(|it| (format!("SINK.{}", it.sink), page.sink(it)));
    let all: BTreeMap<String, Counters> = sources.chain(channels).chain(sinks).collect();
    serde_json::to_string(&all).expect("names and numbers are JSON")
}

struct Page<'a> {
    snapshot: &'a Snapshot,
    metrics: &'a Metrics,
    started_ms: u64,
}

impl Page<'_> {
    /// Returns the counters of every component. The stop time of an ended component is unknown.
    fn component(&self, kind: &str, ended: bool) -> Counters {
        let mut counters = Counters::from([("Type", kind.to_owned())]);
        counters.insert("StartTime", self.started_ms.to_string());
        if !ended {
            counters.insert("StopTime", "0".to_owned());
        }
        counters
    }

    fn source(&self, source: &SourceStatus) -> Counters {
        let ended = matches!(source.state, State::Stopped | State::Held { .. });
        let mut counters = self.component("SOURCE", ended);
        let events = source.accepted.events_total;
        let batches = source.accepted_batches;
        counters.extend(numbers([
            ("EventReceivedCount", events + source.failed_events),
            ("EventAcceptedCount", events),
            ("AppendBatchReceivedCount", batches + source.failed_batches),
            ("AppendBatchAcceptedCount", batches),
            ("ChannelWriteFail", source.failed_batches),
        ]));
        let label = SourceLabel { source: source.name.clone() };
        if let Some(open) = self.metrics.source_connections.get(&label) {
            counters.insert("OpenConnectionCount", open.get().to_string());
        }
        counters
    }

    fn channel(&self, channel: &ChannelStatus) -> Counters {
        let mut counters = self.component("CHANNEL", false);
        let stored = channel.stored.events_total;
        counters.extend(numbers([
            ("ChannelSize", channel.depth_events),
            ("EventPutAttemptCount", stored + channel.failed_events),
            ("EventPutSuccessCount", stored),
        ]));
        let percentage = 100.0 * channel.fill_ratio;
        counters.insert("ChannelFillPercentage", format!("{percentage:?}"));
        // An event has left a channel when the last of its groups is done with it.
        let groups = self.snapshot.groups.iter().filter(|group| group.channel == channel.name);
        if let Some(slowest) = groups.min_by_key(|group| left(group)) {
            let sent = slowest.members.iter().map(|member| self.sent(&member.sink)).sum::<u64>();
            counters.extend(numbers([
                ("EventTakeAttemptCount", sent),
                ("EventTakeSuccessCount", left(slowest)),
            ]));
        }
        // An agent with a channel that does not open does not run.
        if channel.kind == "durable" {
            counters.insert("Open", "true".to_owned());
            counters
                .extend(numbers([("Closed", 0), ("EventPutErrorCount", channel.failed_events)]));
        }
        counters
    }

    fn sink(&self, member: &MemberStatus) -> Counters {
        let mut counters = self.component("SINK", member.state == State::Stopped);
        let failures = |class: &ErrorClass| {
            let label = SinkReason { sink: member.sink.clone(), reason: class.to_string() };
            self.metrics.sink_failures.get(&label).map_or(0, |counter| counter.get())
        };
        let connection = NOT_OF_A_BATCH.iter().map(failures).sum();
        counters.extend(numbers([
            ("BatchCompleteCount", member.delivered_batches),
            ("ConnectionFailedCount", connection),
            ("EventDrainAttemptCount", self.sent(&member.sink)),
            ("EventDrainSuccessCount", member.delivered_events),
            ("EventWriteFail", connection + failures(&ErrorClass::Poison)),
        ]));
        counters
    }

    /// Returns the events sent to the sink, including resent ones.
    fn sent(&self, sink: &str) -> u64 {
        let label = SinkLabel { sink: sink.to_owned() };
        self.metrics.sink_sent.get(&label).map_or(0, |counter| counter.get())
    }
}

/// Events that have left the channel of this group.
fn left(group: &GroupStatus) -> u64 {
    group.delivered.events_total + group.dead_letter_events
}

fn numbers<const N: usize>(
    counters: [(&'static str, u64); N],
) -> impl Iterator<Item = (&'static str, String)> {
    counters.into_iter().map(|(name, number)| (name, number.to_string()))
}
