//! Where events enter.

pub mod avro;
#[cfg(test)]
mod channels;
pub mod grpc;
pub mod http;
mod listening;
#[cfg(test)]
mod narrow;
#[cfg(test)]
mod opening;
pub mod sequence;
mod storing;
pub mod syslog;
pub mod tail_dir;

use pipeline::component::entry;
use pipeline::{Entry, Source};

/// Every source.
pub static ALL: &[Entry<dyn Source>] = &[
    entry::<avro::Config>(),
    entry::<grpc::Config>(),
    entry::<http::Config>(),
    entry::<sequence::Config>(),
    entry::<syslog::Config>(),
    entry::<tail_dir::Config>(),
];
