//! All metrics of an agent, by type: components get typed handles to their metrics.
//!
//! They are `prometheus-client` families; [`Format`] selects one of the two text formats.
//! `docs/metrics.md` explains each metric to operators, and a test compares it with the table here.

mod scope;
mod seconds;
mod security;
pub mod start;
pub mod tenants;
mod text;

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::TypedMetric;
pub use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub use scope::{MetricError, MetricForm, MetricSpec, Scope};
pub use seconds::{Distribution, Seconds};
pub use security::{ADMIN_REASONS, AdminReason, CertificateLabel};
use tenants::{TenantLabel, TenantNames, TenantReason};
pub use text::Format;

/// Label of a source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceLabel {
    /// Its name in the configuration.
    pub source: String,
}

/// Label of a tailed file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FileLabel {
    /// Name of the source that tails it.
    pub source: String,
    /// Its path.
    pub file: Text,
}

/// A label value that may contain any character: `"`, `\` and line ends are escaped in the output.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Text(pub String);

impl EncodeLabelValue for Text {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '"' => encoder.write_str("\\\""),
            '\\' => encoder.write_str("\\\\"),
            '\n' => encoder.write_str("\\n"),
            other => encoder.write_char(other),
        })
    }
}

/// Label of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ChannelLabel {
    /// Its name in the configuration.
    pub channel: String,
}

/// Label of a sink.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SinkLabel {
    /// Its name in the configuration.
    pub sink: String,
}

/// Label of a sink group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct GroupLabel {
    /// Its name in the configuration.
    pub group: String,
}

/// Label of a source or a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PartLabel {
    /// Its place in the configuration: `sources.in`.
    pub part: String,
}

/// Label of the program that runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct VersionLabel {
    /// Its version.
    pub version: &'static str,
}

/// Label of input that a source treated in a documented, special way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceReason {
    /// Its name in the configuration.
    pub source: String,
    /// The reason, in snake case.
    pub reason: &'static str,
}

/// Label of a failure at a sink.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SinkReason {
    /// Its name in the configuration.
    pub sink: String,
    /// The reason, in snake case.
    pub reason: String,
}

/// Label of the state of something at a sink.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SinkState {
    /// Its name in the configuration.
    pub sink: String,
    /// The state, in snake case.
    pub state: &'static str,
}

/// Label of an incident in a channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ChannelReason {
    /// Its name in the configuration.
    pub channel: String,
    /// The reason, in snake case.
    pub reason: &'static str,
}

/// A number that may have a fraction.
pub type FloatGauge = Gauge<f64, AtomicU64>;

/// A counter that may have a fraction.
pub type FloatCounter = Counter<f64, AtomicU64>;

/// Registers a metric. The text format of a counter adds `_total` to its name.
macro_rules! register {
    ($registry:expr, $name:literal, $help:expr, $metric:expr) => {
        $registry.register($name, $help.trim().trim_end_matches('.'), $metric.clone());
    };
}

macro_rules! metrics {
    (
        $($(#[doc = $help:literal])+ $field:ident: $name:literal, $label:ty => $kind:ty;)+
        alone: $($(#[doc = $text:literal])+ $alone:ident: $title:literal => $number:ty;)+
        process: $($(#[doc = $about:literal])+ $part:ident: $called:literal => $measure:ty;)+
    ) => {
        /// All metrics of one agent. Cheap to clone.
        #[derive(Clone)]
        pub struct Metrics {
            registry: Arc<Registry>,
            scopes: scope::ScopeTable,
            tenants: TenantNames,
            $($(#[doc = $help])+ pub $field: Family<$label, $kind>,)+
            $($(#[doc = $text])+ pub $alone: $number,)+
            $($(#[doc = $about])+ pub $part: $measure,)+
        }

        impl Metrics {
            /// Every metric as `(name, type)`, as OpenMetrics names them: a counter without
            /// `_total`.
            pub fn catalogue() -> Vec<(String, &'static str)> {
                let mut all = Vec::new();
                $(all.push(($called.to_owned(), <$measure>::TYPE.as_str()));)+
                $(all.push((format!("aqueduct_{}", $name), <$kind>::TYPE.as_str()));)+
                $(all.push((format!("aqueduct_{}", $title), <$number>::TYPE.as_str()));)+
                all
            }
        }

        impl Default for Metrics {
            fn default() -> Self {
                let mut all = Registry::default();
                $(
                    let $part = <$measure>::default();
                    register!(all, $called, concat!($($about),+), $part);
                )+
                let ours = all.sub_registry_with_prefix("aqueduct");
                $(
                    let $field = Family::<$label, $kind>::default();
                    register!(ours, $name, concat!($($help),+), $field);
                )+
                $(
                    let $alone = <$number>::default();
                    register!(ours, $title, concat!($($text),+), $alone);
                )+
                Self {
                    registry: Arc::new(all),
                    scopes: scope::ScopeTable::default(),
                    tenants: TenantNames::default(),
                    $($field,)+
                    $($alone,)+
                    $($part,)+
                }
            }
        }
    };
}

metrics! {
    /// Events accepted into the channels.
    source_events: "source_events", SourceLabel => Counter;
    /// Bytes of bodies accepted into the channels.
    source_bytes: "source_bytes", SourceLabel => Counter;
    /// Input that a source treated in a documented, special way, by reason.
    source_anomalies: "source_anomalies", SourceReason => Counter;
    /// Events that interceptors of a source moved to the dead letters, by reason.
    source_dead_letters: "source_dead_letter_events", SourceReason => Counter;
    /// Whether the source is open: 1, or 0 before and while it fails.
    source_up: "source_up", SourceLabel => Gauge;
    /// Start of the failure of a source in seconds since 1970; 0 while it works.
    source_failing_since: "source_failing_since_seconds", SourceLabel => FloatGauge;
    /// Starts of the source after a failure.
    source_restarts: "source_restarts", SourceLabel => Counter;
    /// Senders that are connected to the source.
    source_connections: "source_connections", SourceLabel => Gauge;
    /// Connections of a tenant of the source.
    tenant_connections: "tenant_connections", TenantLabel => Gauge;
    /// Events that a tenant has sent, including resent and rejected ones.
    tenant_events: "tenant_events", TenantLabel => Counter;
    /// Bytes of batches that a tenant has sent, before compression.
    tenant_bytes: "tenant_bytes", TenantLabel => Counter;
    /// Number of times that a tenant was throttled, by limit.
    tenant_limited: "tenant_limited", TenantReason => Counter;
    /// Files that a source follows.
    source_files: "source_files", SourceLabel => Gauge;
    /// Bytes in the files of a source that its channels have not accepted.
    source_lag: "source_lag_bytes", SourceLabel => Gauge;
    /// Bytes of one file that the channels have not accepted; only with `metrics_per_file`.
    tail_lag: "tail_lag_bytes", FileLabel => Gauge;
    /// Events that at least one sink has not committed.
    channel_events: "channel_events", ChannelLabel => Gauge;
    /// Bytes of the capacity that the channel uses.
    channel_bytes: "channel_bytes", ChannelLabel => Gauge;
    /// Bytes at which the channel stops accepting events: its capacity or the room on the disk,
    /// less the reserve.
    channel_capacity: "channel_capacity_bytes", ChannelLabel => Gauge;
    /// Bytes that the channel keeps free for its own files.
    channel_reserve: "channel_reserve_bytes", ChannelLabel => Gauge;
    /// Whether the channel or its disk is full and rejects events: 1 or 0.
    channel_intake_stopped: "channel_intake_stopped", ChannelLabel => Gauge;
    /// Seconds until the channel is full at the rate of the last minutes; +Inf if it does not fill
    /// up.
    channel_until_full: "channel_until_full_seconds", ChannelLabel => FloatGauge;
    /// Events that are sent or stored at the next hop, and not committed.
    channel_in_flight: "channel_in_flight_events", ChannelLabel => Gauge;
    /// Age of the oldest event that at least one sink has not committed.
    channel_oldest: "channel_oldest_uncommitted_seconds", ChannelLabel => FloatGauge;
    /// Faults that the channel has handled, by reason.
    channel_anomalies: "channel_anomalies", ChannelReason => Counter;
    /// Events passed to the sink, including resent ones.
    sink_sent: "sink_sent_events", SinkLabel => Counter;
    /// Bytes of bodies passed to the sink, including resent ones.
    sink_sent_bytes: "sink_sent_bytes", SinkLabel => Counter;
    /// Events that the next hop has stored, each counted once.
    sink_stored: "sink_stored_events", SinkLabel => Counter;
    /// Events that the sink has committed and that have left the channel.
    sink_committed: "sink_committed_events", SinkLabel => Counter;
    /// Time from passing a batch to the sink until the next hop has stored it.
    sink_stored_after: "sink_stored_seconds", SinkLabel => Seconds;
    /// Time from passing a batch to the sink until it has left the channel.
    sink_committed_after: "sink_committed_seconds", SinkLabel => Seconds;
    /// Files that the sink has made visible in its store.
    sink_files: "sink_visible_files", SinkLabel => Counter;
    /// Time at which the sink last made a file visible, in seconds since 1970; 0 before the first.
    sink_last_file: "sink_last_visible_file_timestamp_seconds", SinkLabel => FloatGauge;
    /// Events that can never be delivered.
    sink_refused: "sink_refused_events", SinkLabel => Counter;
    /// Events moved to the dead letters, by reason.
    dead_letters: "dead_letter_events", SinkReason => Counter;
    /// Whether the sink gets no batches because its routing differs from the rest of its group.
    sink_routing_mismatch: "sink_routing_mismatch", SinkLabel => Gauge;
    /// Whether the downstream agent reports a commit ledger that is different or shorter than
    /// before.
    sink_ledger_changed: "sink_ledger_changed", SinkLabel => Gauge;
    /// Lookups of a discovered sink in DNS, by result.
    discovery_lookups: "discovery_lookups", SinkState => Counter;
    /// Addresses of a discovered sink: present, leaving, or waiting.
    discovery_addresses: "discovery_addresses", SinkState => Gauge;
    /// Whether the sink works: 1, or 0 before it is open and while it fails.
    sink_up: "sink_up", SinkLabel => Gauge;
    /// Start of the failure of a sink in seconds since 1970; 0 while it works.
    sink_failing_since: "sink_failing_since_seconds", SinkLabel => FloatGauge;
    /// Whether the downstream agent reports that it cannot store its events: 1 or 0.
    sink_unable: "sink_unable", SinkLabel => Gauge;
    /// Events of batches that wait because no working member of the group accepts their size.
    group_held_events: "group_held_back_events", GroupLabel => Gauge;
    /// Bytes of batches that wait because no working member of the group accepts their size.
    group_held_bytes: "group_held_back_bytes", GroupLabel => Gauge;
    /// Time in seconds since 1970 at which the last sink of the group stopped delivering; 0 while
    /// one delivers.
    group_unable_since: "group_unable_since_seconds", GroupLabel => FloatGauge;
    /// Time in seconds since 1970 at which an operator stopped a source or a group; missing for
    /// running parts.
    part_held_since: "part_held_since_seconds", PartLabel => FloatGauge;
    /// Committed files that are not visible yet because their directory rejects them.
    sink_unpublished: "sink_unpublished_files", SinkLabel => Gauge;
    /// Bytes of state that this agent keeps about the unsettled batches and the Hello of its
    /// senders.
    source_remembered: "source_remembered_bytes", SourceLabel => Gauge;
    /// Limit of the state that this agent keeps about its senders.
    source_remembered_max: "source_remembered_max_bytes", SourceLabel => Gauge;
    /// Bytes of messages that have arrived in part or wait to be processed.
    source_gathered: "source_gathered_bytes", SourceLabel => Gauge;
    /// Limit of the bytes of messages that have arrived in part or wait to be processed.
    source_gathered_max: "source_gathered_max_bytes", SourceLabel => Gauge;
    /// Failures of the sink by class.
    sink_failures: "sink_failures", SinkReason => Counter;
    /// Requests and connections that the admin address has rejected, by reason.
    admin_refusals: "admin_refusals", AdminReason => Counter;
    /// Expiry of a certificate of the agent in seconds since 1970.
    certificate_expires: "certificate_expires_timestamp_seconds", CertificateLabel => FloatGauge;
    /// Version of the program; the value is always 1.
    build_info: "build_info", VersionLabel => Gauge;
    alone:
    /// Log lines that were dropped because standard error is closed or not read.
    log_dropped: "log_lines_dropped" => Counter;
    /// Spans of sampled batches that were exported.
    trace_spans: "trace_spans_exported" => Counter;
    /// Spans of sampled batches that were dropped because the receiver was unreachable, slow, or
    /// rejected them.
    trace_spans_dropped: "trace_spans_dropped" => Counter;
    /// Batches with events among the dead letters.
    dead_letter_batches: "dead_letter_batches" => Gauge;
    process:
    /// Start time of the process in seconds since 1970.
    process_start_time: "process_start_time_seconds" => FloatGauge;
    /// Processor time that the process has used in seconds.
    process_cpu: "process_cpu_seconds" => FloatCounter;
    /// Memory of the process that is in RAM in bytes.
    process_resident: "process_resident_memory_bytes" => Gauge;
    /// Open file descriptors of the process.
    process_open_fds: "process_open_fds" => Gauge;
    /// Largest number of open file descriptors of the process.
    process_max_fds: "process_max_fds" => Gauge;
}

impl Metrics {
    /// Counts inputs of a source that were handled in a documented, special way.
    pub fn count_anomaly(&self, source: &str, reason: &'static str, times: u64) {
        let label = SourceReason { source: source.to_owned(), reason };
        self.source_anomalies.get_or_create(&label).inc_by(times);
    }

    /// In the text form that every reader knows.
    pub fn text(&self) -> String {
        self.text_in(Format::Plain)
    }

    /// In the text form that a reader asked for.
    pub fn text_in(&self, format: Format) -> String {
        let mut text = String::new();
        let whole = encode_registry(&mut text, &self.registry)
            .and_then(|()| self.scopes.show(|registry| encode_registry(&mut text, registry)))
            .and_then(|()| encode_eof(&mut text));
        whole.expect("a string takes every write");
        match format {
            Format::OpenMetrics => text,
            Format::Plain => text::plain(&text),
        }
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_counts_with_unit_and_label() {
        let metrics = Metrics::default();
        let label = SourceLabel { source: "in".into() };
        metrics.source_events.get_or_create(&label).inc_by(7);
        for format in [Format::Plain, Format::OpenMetrics] {
            let text = metrics.text_in(format);
            assert!(text.contains("\naqueduct_source_events_total{source=\"in\"} 7\n"), "{text}");
        }
    }

    #[test]
    fn a_file_may_have_any_name() {
        let metrics = Metrics::default();
        let file = Text("/a\n\"b\"\\c".into());
        metrics.tail_lag.get_or_create(&FileLabel { source: "in".into(), file }).set(3);
        let line = "aqueduct_tail_lag_bytes{source=\"in\",file=\"/a\\n\\\"b\\\"\\\\c\"} 3\n";
        assert!(metrics.text().contains(line));
    }
}
