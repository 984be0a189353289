//! Seeds in which a data directory goes back to an earlier copy while its agent is down.

use super::{Input, Reads, Scenario};
use crate::dice::Dice;
use crate::fault_kind::FaultKind;

impl Scenario {
    /// Directories of edges, or of collectors, that come back from a backup.
    pub(super) fn about_restores(self, dice: &Dice) -> Self {
        if dice.chance(500) { self.of_an_edge(dice) } else { self.of_collectors(dice) }
    }

    /// The first edge is put back once. What it has read since the backup is read again, and may be
    /// there twice; all else is there once. Nothing takes it down later, and no generation comes
    /// in: of what is in doubt then, an operator would have to decide, as with copies.
    fn of_an_edge(mut self, dice: &Dice) -> Self {
        let faults = vec![(FaultKind::EdgeRestored, 6_000), (FaultKind::StoreSlow, 6_000)];
        // A sender that keeps nothing cannot send again what the lost directory had.
        if self.edges[0].reads == Reads::Client {
            self.edges[0] = Input { reads: Reads::Numbers, ..self.edges[0] };
        }
        let hurried = self.hurried(dice, 2..=3, faults);
        Self { compact_after: 1_000_000, sweep_millis: 60_000, ..hurried }
    }

    /// Collectors are put back again and again, among other faults: edges have what the lost
    /// directories had, and the ledger has what was delivered. Everything is there once.
    fn of_collectors(self, dice: &Dice) -> Self {
        let faults = vec![
            (FaultKind::CollectorRestored, 3_000),
            (FaultKind::Kill, 8_000),
            (FaultKind::Restart, 8_000),
            (FaultKind::Reset, 4_000),
            (FaultKind::OneWay, 4_000),
            (FaultKind::StoreCut, 6_000),
        ];
        self.hurried(dice, 2..=3, faults)
    }
}
