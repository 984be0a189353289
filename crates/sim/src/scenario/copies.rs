//! Seeds in which an edge gets a copy: a machine that is cloned while it is off, or a directory
//! that comes back from a backup while the first one lives on.

use super::configuration::agent;
use super::{Input, Reads, Scenario};
use crate::dice::Dice;
use crate::fault_kind::FaultKind;

impl Scenario {
    /// An edge and its copy, that close each other's lives. Nothing else takes them down, and no
    /// generation comes in: of what is in doubt then, an operator would have to decide.
    pub(super) fn about_clones(self, dice: &Dice) -> Self {
        let faults = vec![(FaultKind::Clone, 6_000), (FaultKind::StoreSlow, 6_000)];
        let hurried = self.hurried(dice, 2..=3, faults);
        Self { clones: true, compact_after: 1_000_000, sweep_millis: 60_000, ..hurried }
    }

    /// What the copy of an edge makes, besides what it finds on its disk.
    pub(crate) fn of_the_copy() -> Input {
        Input { reads: Reads::Numbers, events: 500, pause_millis: 0 }
    }

    /// The configuration of the copy of an edge.
    pub(crate) fn copy(&self) -> String {
        let (count, size) = (Self::of_the_copy().events, self.body_bytes);
        format!(
            "{}[sources.own]\ntype = \"sequence\"\ncount = {count}\nrate = 20\n\
             batch_events = 7\nsize = \"{size}B\"\n{}interceptors = [{{ type = \"host\" }}]\n{}",
            agent("copy-0"),
            self.selector("lane", "1"),
            self.ways(),
        )
    }
}
