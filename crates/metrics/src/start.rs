//! Counters that exist, at 0, before anything is counted, so that an alert on their increase
//! notices the first failure too.
//!
//! A component names the values of `reason` that it counts with. `docs/metrics.md` explains them.

use crate::{ChannelReason, Metrics, SinkLabel, SinkReason, SourceLabel, SourceReason};

/// `reason` of `aqueduct_source_anomalies_total` that every source has.
pub const SOURCE_ANOMALIES: [&str; 2] = ["optional_channel_full", "optional_channel_failed"];

/// `reason` of `aqueduct_sink_failures_total`: the classes of errors that a sink may have.
pub const FAILURE_CLASSES: [&str; 4] = ["transient", "indeterminate", "poison", "blocked"];

impl Metrics {
    /// Creates the counters of a source with these anomalies.
    pub fn begin_source(&self, source: &str, anomalies: &[&'static str]) {
        let label = SourceLabel { source: source.to_owned() };
        drop(self.source_events.get_or_create(&label));
        drop(self.source_bytes.get_or_create(&label));
        drop(self.source_restarts.get_or_create(&label));
        for reason in SOURCE_ANOMALIES.iter().chain(anomalies).copied() {
            let label = SourceReason { source: source.to_owned(), reason };
            drop(self.source_anomalies.get_or_create(&label));
        }
    }

    /// Creates the counters of dead letters of an interceptor with these reasons.
    pub fn begin_interceptor(&self, source: &str, letters: &[&'static str]) {
        for reason in letters.iter().copied() {
            let label = SourceReason { source: source.to_owned(), reason };
            drop(self.source_dead_letters.get_or_create(&label));
        }
    }

    /// Creates the counters of a channel with these anomalies.
    pub fn begin_channel(&self, channel: &str, anomalies: &[&'static str]) {
        for reason in anomalies.iter().copied() {
            let label = ChannelReason { channel: channel.to_owned(), reason };
            drop(self.channel_anomalies.get_or_create(&label));
        }
    }

    /// Creates the counters of a sink with these reasons of dead letters.
    pub fn begin_sink(&self, sink: &str, letters: &[&'static str]) {
        let label = SinkLabel { sink: sink.to_owned() };
        for counter in
            [&self.sink_sent, &self.sink_stored, &self.sink_committed, &self.sink_refused]
        {
            drop(counter.get_or_create(&label));
        }
        drop(self.sink_sent_bytes.get_or_create(&label));
        drop(self.sink_stored_after.get_or_create(&label));
        drop(self.sink_committed_after.get_or_create(&label));
        for class in FAILURE_CLASSES {
            let label = SinkReason { sink: sink.to_owned(), reason: class.to_owned() };
            drop(self.sink_failures.get_or_create(&label));
        }
        for reason in letters {
            let label = SinkReason { sink: sink.to_owned(), reason: (*reason).to_owned() };
            drop(self.dead_letters.get_or_create(&label));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_zero_before_the_first_event() {
        let metrics = Metrics::default();
        metrics.begin_source("in", &["truncated"]);
        metrics.begin_interceptor("in", &["filtered"]);
        metrics.begin_channel("main", &["disk_full"]);
        metrics.begin_sink("out", &["unwritable_event"]);
        let text = metrics.text();
        for line in [
            "aqueduct_source_events_total{source=\"in\"} 0\n",
            "aqueduct_source_anomalies_total{source=\"in\",reason=\"truncated\"} 0\n",
            "aqueduct_source_dead_letter_events_total{source=\"in\",reason=\"filtered\"} 0\n",
            "aqueduct_source_anomalies_total{source=\"in\",reason=\"optional_channel_full\"} 0\n",
            "aqueduct_channel_anomalies_total{channel=\"main\",reason=\"disk_full\"} 0\n",
            "aqueduct_sink_sent_events_total{sink=\"out\"} 0\n",
            "aqueduct_sink_failures_total{sink=\"out\",reason=\"transient\"} 0\n",
            "aqueduct_dead_letter_events_total{sink=\"out\",reason=\"unwritable_event\"} 0\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
