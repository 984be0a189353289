//! Sources.

pub mod avro;
pub mod exec;
pub mod grpc;
pub mod http;
pub mod journald;
pub mod netcat;
pub mod netcat_udp;
#[cfg(test)]
mod opening;
pub mod sequence;
pub mod spool_dir;
pub mod stress;
pub mod syslog;
pub mod tail_dir;
pub mod thrift;
#[cfg(test)]
mod tls_between;

use pipeline::component::entry;
use pipeline::{Entry, Source};

/// All sources.
pub static ALL: &[Entry<dyn Source>] = &[
    entry::<avro::Config>(),
    entry::<exec::Config>(),
    entry::<grpc::Config>(),
    entry::<http::Config>(),
    entry::<journald::Config>(),
    entry::<netcat::Config>(),
    entry::<netcat_udp::Config>(),
    entry::<sequence::Config>(),
    entry::<spool_dir::Config>(),
    entry::<stress::Config>(),
    entry::<syslog::Config>(),
    entry::<tail_dir::Config>(),
    entry::<thrift::Config>(),
];
