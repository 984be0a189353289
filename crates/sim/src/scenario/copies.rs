//! Seeds in which an edge gets a copy: a machine cloned while it is off, or a directory restored
//! from a backup while the original continues.

use super::configuration::agent;
use super::{Input, Reads, Scenario};
use crate::dice::Dice;
use crate::fault_kind::FaultKind;

impl Scenario {
    /// An edge and its copy, which close each other's epochs. Nothing else takes them down, and no
    /// generation starts: an operator would have to decide about events in doubt.
    pub(super) fn about_clones(self, dice: &Dice) -> Self {
        let faults = vec![(FaultKind::Clone, 6_000), (FaultKind::StoreSlow, 6_000)];
        let hurried = self.hurried(dice, 2..=3, faults);
        Self { clones: true, compact_after: 1_000_000, sweep_millis: 60_000, ..hurried }
    }

    /// Returns the additional input of the copy.
    pub(crate) fn of_the_copy() -> Input {
        Input { reads: Reads::Numbers, events: 500, pause_millis: 0 }
    }

    /// Returns the configuration of the copy.
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
