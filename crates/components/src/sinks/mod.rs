//! Where events leave.

pub mod discard;
pub mod grpc;
pub mod hdfs;
pub mod logger;

use pipeline::component::entry;
use pipeline::{Entry, Sink};

/// Every sink.
pub static ALL: &[Entry<dyn Sink>] = &[
    entry::<discard::Config>(),
    entry::<grpc::Config>(),
    entry::<hdfs::Config>(),
    entry::<logger::Config>(),
];

/// The sinks of an edge.
pub static EDGE: &[Entry<dyn Sink>] =
    &[entry::<discard::Config>(), entry::<grpc::Config>(), entry::<logger::Config>()];
