//! What the events of a file look like as bytes.

use pipeline::{Entry, Serializer};

/// All of them.
pub static ALL: &[Entry<dyn Serializer>] = &[];
