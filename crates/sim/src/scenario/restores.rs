//! Seeds in which a data directory is restored from an earlier copy while its agent is down.

use super::{Input, Reads, Scenario};
use crate::dice::Dice;
use crate::fault_kind::FaultKind;

impl Scenario {
    /// Restores directories of edges or of collectors.
    pub(super) fn about_restores(self, dice: &Dice) -> Self {
        if dice.chance(500) { self.of_an_edge(dice) } else { self.of_collectors(dice) }
    }

    /// Restores the first edge once. Events read since the backup are read again and may be stored
    /// twice; all others once. Nothing takes the edge down later, and no generation starts: an
    /// operator would have to decide about events in doubt, as with copies.
    fn of_an_edge(mut self, dice: &Dice) -> Self {
        let faults = vec![(FaultKind::EdgeRestored, 6_000), (FaultKind::StoreSlow, 6_000)];
        // A sender without storage cannot resend the events of the lost directory.
        if self.edges[0].reads == Reads::Client {
            self.edges[0] = Input { reads: Reads::Numbers, ..self.edges[0] };
        }
        let hurried = self.hurried(dice, 2..=3, faults);
        Self { compact_after: 1_000_000, sweep_millis: 60_000, ..hurried }
    }

    /// Restores collectors repeatedly, among other faults. Edges still have the lost events, and
    /// the ledger knows the delivered ones, so everything is stored once.
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
