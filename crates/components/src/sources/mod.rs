//! Where events enter.

use pipeline::{Entry, Source};

/// Every source.
pub static ALL: &[Entry<dyn Source>] = &[];

/// The sources of an edge.
pub static EDGE: &[Entry<dyn Source>] = &[];
