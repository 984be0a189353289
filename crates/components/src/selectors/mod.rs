//! Channel selectors: choose the channels of each event.

mod free;
pub mod load_balancing;
pub mod multiplexing;
pub mod priority;
pub mod replicating;

use std::collections::BTreeSet;

use pipeline::component::entry;
use pipeline::{ChannelSelector, Entry};

/// All selectors.
pub static ALL: &[Entry<dyn ChannelSelector>] = &[
    entry::<load_balancing::Config>(),
    entry::<multiplexing::Config>(),
    entry::<priority::Config>(),
    entry::<replicating::Config>(),
];

/// Returns the datasets downstream of several channels, each once, as text for a routing.
fn behind<'a>(channels: impl Iterator<Item = &'a Vec<String>>) -> String {
    let names: BTreeSet<&str> = channels.flatten().map(String::as_str).collect();
    if names.is_empty() {
        return "nothing".to_owned();
    }
    names.into_iter().collect::<Vec<_>>().join(" and ")
}
