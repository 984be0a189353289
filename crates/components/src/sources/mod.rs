//! Sources.

pub mod avro;
pub mod exec;
pub mod http;
pub mod journald;
pub mod netcat;
pub mod netcat_udp;
#[cfg(test)]
mod opening;
pub mod sequence;
pub mod stress;
pub mod syslog;
pub mod thrift;
#[cfg(test)]
mod tls_between;

use pipeline::component::entry;
use pipeline::{Entry, Source};

/// All sources.
pub static ALL: &[Entry<dyn Source>] = &[
    entry::<avro::Config>(),
    entry::<exec::Config>(),
    entry::<http::Config>(),
    entry::<journald::Config>(),
    entry::<netcat::Config>(),
    entry::<netcat_udp::Config>(),
    entry::<sequence::Config>(),
    entry::<stress::Config>(),
    entry::<syslog::Config>(),
    entry::<thrift::Config>(),
];
