//! What decides which sink of a group is next.

use pipeline::{Entry, SinkProcessor};

/// All of them.
pub static ALL: &[Entry<dyn SinkProcessor>] = &[];
