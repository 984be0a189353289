//! Sinks.

pub mod avro;
pub mod discard;
pub mod file_roll;
pub mod http;
pub mod logger;
pub mod thrift;

use pipeline::component::entry;
use pipeline::{Entry, Sink};

/// All sinks.
pub static ALL: &[Entry<dyn Sink>] = &[
    entry::<avro::Config>(),
    entry::<discard::Config>(),
    entry::<file_roll::Config>(),
    entry::<http::Config>(),
    entry::<logger::Config>(),
    entry::<thrift::Config>(),
];
