//! Sources for existing log shippers: Fluent Bit and Fluentd, Filebeat and other Beats.
//!
//! ```text
//!   client       stream of a client: received bytes, memory, storing while it waits
//!   settings     settings that both sources share
//!   record       converts a record of fields to an event (pure)
//!   fluent       the source `fluent_forward`: Fluentd's forward protocol
//!   lumberjack   the source `lumberjack`: the protocol of Beats and Logstash
//! ```

mod client;
pub mod fluent;
pub mod lumberjack;
mod record;
mod settings;
#[cfg(test)]
mod testing;

use pipeline::component::entry;
use pipeline::{Entry, Group, Source};

static SOURCES: &[Entry<dyn Source>] = &[entry::<fluent::Config>(), entry::<lumberjack::Config>()];

/// All components, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("shippers"),
    sources: SOURCES,
    ..Group::EMPTY
};
