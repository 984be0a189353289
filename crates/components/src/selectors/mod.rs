//! What decides which channel gets which events.

pub mod multiplexing;
pub mod replicating;

use pipeline::component::entry;
use pipeline::{ChannelSelector, Entry};

/// All of them.
pub static ALL: &[Entry<dyn ChannelSelector>] =
    &[entry::<multiplexing::Config>(), entry::<replicating::Config>()];
