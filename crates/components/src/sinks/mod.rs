//! Where events leave.

use pipeline::{Entry, Sink};

/// Every sink.
pub static ALL: &[Entry<dyn Sink>] = &[];

/// The sinks of an edge.
pub static EDGE: &[Entry<dyn Sink>] = &[];
