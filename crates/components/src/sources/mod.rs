//! Where events enter.

#[cfg(test)]
pub(crate) mod channels;
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
pub mod thrift;

use pipeline::component::entry;
use pipeline::{Entry, Source};

/// Every source.
pub static ALL: &[Entry<dyn Source>] = &[
    entry::<grpc::Config>(),
    entry::<http::Config>(),
    entry::<sequence::Config>(),
    entry::<syslog::Config>(),
    entry::<tail_dir::Config>(),
    entry::<thrift::Config>(),
];
