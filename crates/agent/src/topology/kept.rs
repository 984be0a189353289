//! The parts that a topology takes over from a running one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use peers::FloorBoard;
use pipeline::{Channel, Traces};

use crate::boards::Boards;

/// The parts that a topology takes over from a running one.
#[derive(Default)]
pub struct KeptParts {
    /// Floors of the agent's own epochs, for its channels and their successors.
    pub floors: Option<FloorBoard>,
    /// Channels that stay, with the values shared along them.
    pub channels: BTreeMap<Arc<str>, (Arc<dyn Channel>, Boards)>,
    /// Names of the sources that stay.
    pub sources: BTreeSet<Arc<str>>,
    /// Names of the groups that stay.
    pub groups: BTreeSet<Arc<str>>,
    /// Records steps of sampled batches.
    pub traces: Traces,
}

impl KeptParts {
    pub(super) fn floors(&self) -> FloorBoard {
        self.floors.clone().unwrap_or_default()
    }
}
