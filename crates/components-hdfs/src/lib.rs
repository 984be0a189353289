//! The components that bring a store with them.

pub mod hdfs;
mod hive;

use pipeline::component::entry;
use pipeline::{Entry, Group, Sink};

/// Every sink.
static SINKS: &[Entry<dyn Sink>] = &[entry::<hdfs::Config>()];

/// All of them, for the catalogue of a program.
pub static GROUP: Group =
    Group { package: env!("CARGO_PKG_NAME"), feature: Some("hdfs"), sinks: SINKS, ..Group::EMPTY };
