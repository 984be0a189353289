//! What a topology takes over from one that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use peers::FloorBoard;
use pipeline::{Channel, Traces};

use crate::boards::Boards;

/// What a topology takes over from one that runs.
#[derive(Default)]
pub(crate) struct Kept {
    /// What the agent knows of its own epochs: of the agent's channels, and of those that follow.
    pub(crate) floors: Option<FloorBoard>,
    /// Channels that stay, with what is known along them.
    pub(crate) channels: BTreeMap<Arc<str>, (Arc<dyn Channel>, Boards)>,
    /// Names of the sources that stay.
    pub(crate) sources: BTreeSet<Arc<str>>,
    /// Names of the groups that stay.
    pub(crate) groups: BTreeSet<Arc<str>>,
    /// Where the agent records the steps of sampled batches.
    pub(crate) traces: Traces,
}

impl Kept {
    pub(super) fn floors(&self) -> FloorBoard {
        self.floors.clone().unwrap_or_default()
    }
}
