//! Sources.

pub mod avro;
#[cfg(test)]
pub(crate) mod channels;
mod command_errors;
mod datagrams;
pub mod decoding;
pub mod exec;
mod gathered;
pub mod grpc;
pub mod http;
pub mod journald;
pub mod listening;
pub mod messages;
mod multiline;
#[cfg(test)]
mod narrow;
pub mod netcat;
pub mod netcat_udp;
pub mod one_channel;
#[cfg(test)]
mod opening;
pub mod put;
pub mod repeats;
#[cfg(test)]
mod running;
pub mod sequence;
pub mod spool_dir;
pub mod storing;
pub mod stress;
pub mod syslog;
pub mod tail_dir;
pub mod tenants;
pub mod thrift;
#[cfg(test)]
mod tls_between;
pub mod under_way;
pub mod until_stored;
mod waits;

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
