//! What decides which channel gets which events.

use pipeline::{ChannelSelector, Entry};

/// All of them.
pub static ALL: &[Entry<dyn ChannelSelector>] = &[];
