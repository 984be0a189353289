//! The components that bring the client of Kafka with them: the source `kafka`.

mod client;
pub mod source;

use pipeline::component::entry;
use pipeline::{Entry, Group, Source};

/// Every source.
static SOURCES: &[Entry<dyn Source>] = &[entry::<source::Config>()];

/// All of them, for the catalogue of a program.
pub static GROUP: Group = Group {
    package: env!("CARGO_PKG_NAME"),
    feature: Some("kafka"),
    sources: SOURCES,
    ..Group::EMPTY
};
