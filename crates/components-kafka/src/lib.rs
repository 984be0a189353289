//! The components that bring the client of Kafka with them: the source and the sink `kafka`. What
//! both have of the client is in `client`, its token for OAuth in `token`.

mod client;
pub mod sink;
pub mod source;
mod token;

use pipeline::component::entry;
use pipeline::{Entry, Group, Sink, Source};

/// Every source.
static SOURCES: &[Entry<dyn Source>] = &[entry::<source::Config>()];

/// Every sink.
static SINKS: &[Entry<dyn Sink>] = &[entry::<sink::Config>()];

/// All of them, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("kafka"),
    sources: SOURCES,
    sinks: SINKS,
    ..Group::EMPTY
};
