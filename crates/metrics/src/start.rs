//! Counters that exist, at 0, before anything is counted, so that an alert on their increase
//! notices the first failure too.
//!
//! The tables here have the values of `reason` that a component counts, by its type.
//! `docs/metrics.md` explains them, and a test compares both with the sources.

use crate::{ChannelReason, Metrics, SinkLabel, SinkReason, SourceLabel, SourceReason};

/// `reason` of `aqueduct_source_anomalies_total`, by type of source; `*` = each.
pub const SOURCE_REASONS: &[(&str, &[&str])] = &[
    ("*", &["optional_channel_full", "optional_channel_failed"]),
    ("amqp", &["message_rejected", "message_repeated"]),
    (
        "avro",
        &[
            "address_refused",
            "call_failed",
            "call_malformed",
            "call_too_large",
            "call_too_slow",
            "call_unknown",
            "memory_full",
            "repeated_events",
            "tenant_connections",
            "tenant_message",
            "tenant_rate",
            "tls_failed",
        ],
    ),
    ("exec", &["command_failed", "event_divided", "framing_lost", "line_cut", "lines_refused"]),
    ("http", &["tenant_connections", "tenant_message", "tenant_rate", "tls_failed"]),
    ("http_poll", &["cursor_too_long", "event_repeated"]),
    ("fluent_forward", &["event_divided", "message_refused", "repeated_events", "tls_failed"]),
    (
        "http_stream",
        &["cursor_too_long", "event_cut", "event_repeated", "event_unfinished", "not_json"],
    ),
    (
        "journald",
        &[
            "cursor_gone",
            "journalctl_failed",
            "journalctl_warned",
            "message_cut",
            "output_malformed",
        ],
    ),
    (
        "kafka",
        &["not_flume_event", "offsets_not_written", "position_out_of_range", "revoked_unstored"],
    ),
    ("lumberjack", &["event_divided", "message_refused", "repeated_events", "tls_failed"]),
    (
        "mqtt",
        &[
            "message_known",
            "message_put_off",
            "message_repeated",
            "qos_lowered",
            "retained_dropped",
            "session_lost",
        ],
    ),
    (
        "nats",
        &[
            "message_rejected",
            "message_repeated",
            "messages_deleted",
            "stream_replaced",
            "stream_rewound",
        ],
    ),
    (
        "netcat",
        &[
            "event_divided",
            "framing_lost",
            "line_cut",
            "line_too_long",
            "lines_refused",
            "tls_failed",
        ],
    ),
    ("netcat_udp", &["datagrams_dropped", "lines_refused", "receive_buffer_full"]),
    (
        "otlp",
        &["record_too_large", "tenant_connections", "tenant_message", "tenant_rate", "tls_failed"],
    ),
    ("rabbitmq", &["message_rejected", "message_repeated"]),
    (
        "spool_dir",
        &[
            "event_divided",
            "file_set_aside",
            "line_cut",
            "name_taken",
            "not_finished",
            "unreadable",
            "vanished_unread",
        ],
    ),
    ("sql", &["window_cut"]),
    ("sql_changes", &["changes_lost", "schema_changed", "snapshot_repeated"]),
    (
        "syslog",
        &[
            "message_cut",
            "message_unparsed",
            "messages_refused",
            "datagrams_dropped",
            "framing_lost",
            "receive_buffer_full",
            "tenant_connections",
            "tenant_message",
            "tenant_rate",
            "tls_failed",
        ],
    ),
    (
        "tail_dir",
        &[
            "truncated",
            "unreadable",
            "line_cut",
            "event_divided",
            "late_line",
            "copy_held_back",
            "vanished_read",
            "vanished_unread",
            "compressed_passed_over",
            "link_leads_out",
        ],
    ),
    (
        "thrift",
        &["repeated_events", "tenant_connections", "tenant_message", "tenant_rate", "tls_failed"],
    ),
    (
        "grpc",
        &[
            "foreign_origin",
            "put_of_closed_epoch",
            "put_of_other_content",
            "put_too_large",
            "put_damaged",
            "put_malformed",
            "refused_by_channel",
            "tenant_backlog",
            "tenant_connections",
            "tenant_message",
            "tenant_rate",
            "tls_failed",
            "unauthenticated",
        ],
    ),
];

/// `reason` of `aqueduct_channel_anomalies_total`, by type of channel.
pub const CHANNEL_REASONS: &[(&str, &[&str])] = &[
    ("durable", DURABLE),
    ("kafka", REMOTE),
    ("memory", &["duplicate_event"]),
    ("spill", DURABLE),
];

const REMOTE: &[&str] =
    &["duplicate_event", "unknown_outcome", "lost_to_another_owner", "lost_its_log", "lost_batch"];

const DURABLE: &[&str] = &[
    "torn_tail_bytes",
    "damaged_place",
    "damaged_batch",
    "lost_batch",
    "duplicate_batch",
    "duplicate_event",
    "dropped_oldest_event",
    "dropped_newest_event",
    "disk_full",
    "segment_given_up",
    "keys_not_read",
    "mended_batch",
    "given_up_events",
    "renamed_life",
];

/// `reason` of `aqueduct_source_dead_letter_events_total`, by type of interceptor.
pub const REJECT_REASONS: &[(&str, &[&str])] =
    &[("event_time", &["no_time"]), ("parse", &["not_parsed"]), ("regex_filter", &["filtered"])];

/// `reason` of `aqueduct_dead_letter_events_total`, by type of sink.
pub const LETTER_REASONS: &[(&str, &[&str])] = &[
    ("http", &["refused", "unwritable_event"]),
    ("grpc", &["too_large", "malformed", "epoch_closed", "other_content", "refused"]),
    (
        "elasticsearch",
        &["unwritable_event", "no_time", "too_large", "refused", "unknown_destination"],
    ),
    ("files", &["no_piece", "unusable_name", "damaged_piece", "other_file"]),
    ("hbase", &["unwritable_event", "refused"]),
    ("hdfs", &["unwritable_event", "no_time", "epoch_closed"]),
    ("amqp", &["invalid_address", "not_text", "too_large", "refused", "unknown_destination"]),
    (
        "kafka",
        &["too_large", "unknown_partition", "refused", "epoch_closed", "unknown_destination"],
    ),
    ("mqtt", &["invalid_topic", "invalid_property", "too_large", "refused", "unknown_destination"]),
    ("nats", &["invalid_address", "too_large", "unwritable_event", "unknown_destination"]),
    ("otlp", &["not_otlp", "partly_rejected", "refused"]),
    ("rabbitmq", &["invalid_address", "too_large", "unroutable", "unknown_destination"]),
    ("solr", &["unwritable_event", "no_time", "too_large", "refused", "unknown_destination"]),
    ("sql", &["unwritable_event", "refused", "epoch_closed"]),
];

/// `reason` of `aqueduct_sink_failures_total`: the classes of errors that a sink may have.
pub const FAILURE_CLASSES: [&str; 4] = ["transient", "indeterminate", "poison", "blocked"];

fn reasons(table: &'static [(&str, &[&str])], kind: &str) -> impl Iterator<Item = &'static str> {
    let of_kind = move |(of, _): &&(&str, &[&str])| *of == "*" || *of == kind;
    let rows: Vec<&[&str]> = table.iter().filter(of_kind).map(|(_, reasons)| *reasons).collect();
    rows.into_iter().flatten().copied()
}

impl Metrics {
    /// Creates the counters of a source of this type.
    pub fn begin_source(&self, source: &str, kind: &str) {
        let label = SourceLabel { source: source.to_owned() };
        drop(self.source_events.get_or_create(&label));
        drop(self.source_bytes.get_or_create(&label));
        drop(self.source_restarts.get_or_create(&label));
        for reason in reasons(SOURCE_REASONS, kind) {
            let label = SourceReason { source: source.to_owned(), reason };
            drop(self.source_anomalies.get_or_create(&label));
        }
    }

    /// Creates the dead-letter counters of an interceptor of this type.
    pub fn begin_interceptor(&self, source: &str, kind: &str) {
        for reason in reasons(REJECT_REASONS, kind) {
            let label = SourceReason { source: source.to_owned(), reason };
            drop(self.source_dead_letters.get_or_create(&label));
        }
    }

    /// Creates the counters of a channel of this type.
    pub fn begin_channel(&self, channel: &str, kind: &str) {
        for reason in reasons(CHANNEL_REASONS, kind) {
            let label = ChannelReason { channel: channel.to_owned(), reason };
            drop(self.channel_anomalies.get_or_create(&label));
        }
    }

    /// Creates the counters of a sink of this type.
    pub fn begin_sink(&self, sink: &str, kind: &str) {
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
        for reason in reasons(LETTER_REASONS, kind) {
            let label = SinkReason { sink: sink.to_owned(), reason: reason.to_owned() };
            drop(self.dead_letters.get_or_create(&label));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_happened_yet_is_shown_as_zero() {
        let metrics = Metrics::default();
        metrics.begin_source("in", "tail_dir");
        metrics.begin_interceptor("in", "regex_filter");
        metrics.begin_channel("main", "durable");
        metrics.begin_sink("out", "hdfs");
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
        assert!(!text.contains("put_too_large"), "of another type of source");
    }
}
