//! Where events enter.

pub mod grpc;
pub mod tail_dir;

use pipeline::component::entry;
use pipeline::{Entry, Source};

/// Every source.
pub static ALL: &[Entry<dyn Source>] = &[entry::<grpc::Config>(), entry::<tail_dir::Config>()];

/// The sources of an edge.
pub static EDGE: &[Entry<dyn Source>] = &[entry::<tail_dir::Config>()];
