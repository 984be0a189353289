//! Sources for log shippers that run already: Fluent Bit and Fluentd, Filebeat and its relatives.
//!
//! ```text
//!   client       the stream of a client: what came of it, its memory, storing while it waits
//!   server       what both sources are but for their protocol
//!   record       a record of fields ─► an event (pure)
//!   fluent       the source `fluent_forward`: Fluentd's forward protocol
//!   lumberjack   the source `lumberjack`: the protocol of Beats and Logstash
//! ```

mod client;
pub mod fluent;
pub mod lumberjack;
mod record;
mod server;
#[cfg(test)]
mod testing;

use pipeline::component::entry;
use pipeline::{Entry, Group, Source};

static SOURCES: &[Entry<dyn Source>] = &[entry::<fluent::Config>(), entry::<lumberjack::Config>()];

/// All of them, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("shippers"),
    sources: SOURCES,
    ..Group::EMPTY
};
