//! Every number that an agent shows, by type: components are handed what they count with.
//!
//! Kept as `prometheus-client` families, so that the text form is that crate's affair.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

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
    pub file: String,
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

/// No label: there is one for the whole agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AgentLabel {}

/// Label of something that went wrong, or was treated as documented, at a source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceReason {
    /// Its name in the configuration.
    pub source: String,
    /// What it was, in snake case.
    pub reason: &'static str,
}

/// Label of a failure at a sink.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SinkReason {
    /// Its name in the configuration.
    pub sink: String,
    /// What it was, in snake case.
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

/// Label of what happened in a channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ChannelReason {
    /// Its name in the configuration.
    pub channel: String,
    /// What it was, in snake case.
    pub reason: &'static str,
}

/// A number that may have a fraction.
pub type FloatGauge = Gauge<f64, AtomicU64>;

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $field:ident: $name:literal, $label:ty => $kind:ty;)+) => {
        /// All metrics of one agent. Cheap to clone.
        #[derive(Clone)]
        pub struct Metrics {
            registry: Arc<Registry>,
            $($(#[doc = $help])+ pub $field: Family<$label, $kind>,)+
        }

        impl Default for Metrics {
            fn default() -> Self {
                let mut registry = Registry::with_prefix("aqueduct");
                $(
                    let $field = Family::<$label, $kind>::default();
                    registry.register($name, concat!($($help),+).trim().trim_end_matches('.'), $field.clone());
                )+
                Self { registry: Arc::new(registry), $($field,)+ }
            }
        }
    };
}

metrics! {
    /// Events accepted into the channels.
    source_events: "source_events", SourceLabel => Counter;
    /// Bytes of bodies accepted into the channels.
    source_bytes: "source_bytes", SourceLabel => Counter;
    /// Input that was odd, by reason, and treated as documented.
    source_oddities: "source_oddities", SourceReason => Counter;
    /// Bytes of a tailed file not yet accepted into the channels.
    tail_lag: "tail_lag_bytes", FileLabel => Gauge;
    /// Events that some consumer has not committed.
    channel_events: "channel_events", ChannelLabel => Gauge;
    /// Bytes that the channel occupies of its capacity.
    channel_bytes: "channel_bytes", ChannelLabel => Gauge;
    /// Bytes at which the intake of the channel stops: its capacity, or what the disk allows, without
    /// the reserve.
    channel_capacity: "channel_capacity_bytes", ChannelLabel => Gauge;
    /// Bytes that the channel keeps free beyond that for its own files.
    channel_reserve: "channel_reserve_bytes", ChannelLabel => Gauge;
    /// Whether the channel takes nothing in, because it or its disk is full: 1 or 0.
    channel_intake_stopped: "channel_intake_stopped", ChannelLabel => Gauge;
    /// Seconds until the channel is full if it goes on filling as in the last minutes; +Inf if it does
    /// not fill.
    channel_until_full: "channel_until_full_seconds", ChannelLabel => FloatGauge;
    /// Events taken or parked and not yet committed.
    channel_unsettled: "channel_unsettled_events", ChannelLabel => Gauge;
    /// Age of the oldest event that some consumer has not committed.
    channel_oldest: "channel_oldest_uncommitted_seconds", ChannelLabel => FloatGauge;
    /// What the channel met and mended, by reason.
    channel_incidents: "channel_incidents", ChannelReason => Counter;
    /// Events delivered.
    sink_events: "sink_events", SinkLabel => Counter;
    /// Events refused for good.
    sink_refused: "sink_refused_events", SinkLabel => Counter;
    /// Events put into the dead letters, by reason.
    dead_letters: "dead_letter_events", SinkReason => Counter;
    /// Batches of which events are among the dead letters now.
    dead_letter_batches: "dead_letter_batches", AgentLabel => Gauge;
    /// Whether it gets no batch because it routes otherwise than the others of its group.
    sink_barred: "sink_barred", SinkLabel => Gauge;
    /// Lookups of a discovered sink, by what came of them.
    discovery_lookups: "discovery_lookups", SinkState => Counter;
    /// Addresses of a discovered sink: present, leaving, or waiting for a seat.
    discovery_members: "discovery_members", SinkState => Gauge;
    /// Failures by reason.
    sink_failures: "sink_failures", SinkReason => Counter;
}

impl Metrics {
    /// The text form that Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a string takes every write");
        text
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
    fn what_is_counted_is_shown_with_unit_and_label() {
        let metrics = Metrics::default();
        let label = SourceLabel { source: "in".into() };
        metrics.source_events.get_or_create(&label).inc_by(7);
        assert!(metrics.text().contains("aqueduct_source_events_total{source=\"in\"} 7\n"));
    }
}
