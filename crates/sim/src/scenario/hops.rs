//! Seeds about announcements of collectors: that they cannot store, and their batch size limit.
//! Drawn from separate dice, so that other seeds do not change.

use std::time::Duration;

use super::Scenario;
use crate::dice::Dice;
use crate::fault_kind::FaultKind;

/// A collector announces that it cannot store after 15 s of failures, checked each second. Its
/// senders withdraw its batches 5 s later, and another collector stores them.
const TURNED_AFTER: Duration = Duration::from_secs(15 + 1 + 5);

/// Additional time: the roll before the failure and the one of the other collector, each up to 3 s
/// with a slow store and a new generation of the ledger; a last success within the first second of
/// the failure; and the network.
const SLACK: Duration = Duration::from_secs(8);

/// Batch size limit of a restricted collector: larger than any single event.
const SMALL_BYTES: (u64, u64) = (400, 1_000);

impl Scenario {
    /// Adds one of the two to some seeds without a focus.
    pub(super) fn with_hops(self, seed: u64) -> Self {
        let dice = Dice::new(seed, "hops");
        match dice.below(4) {
            0 => self.about_one_refused(&dice),
            1 | 2 if self.relays == 0 => self.with_limits(&dice),
            _ => self,
        }
    }

    /// The store rejects one collector, and there are no other faults: no event may wait long at an
    /// edge.
    fn about_one_refused(self, dice: &Dice) -> Self {
        let faults = vec![(FaultKind::StoreRefusesOne, 8_000)];
        let group = match dice.below(3) {
            0 => "type = \"failover\"",
            1 => "type = \"load_balance\"",
            _ => "type = \"load_balance\"\nsticky = false",
        };
        Self {
            group: group.to_owned(),
            sweep_millis: 60_000,
            roll_events: 1_000,
            oldest_max: Some(TURNED_AFTER + SLACK),
            // Otherwise the withdrawn batches wait for many small files.
            merges: None,
            ..self.hurried(dice, 2..=3, faults)
        }
    }

    /// Returns whether collectors announce different limits.
    pub(crate) fn has_limits(&self) -> bool {
        self.message_max.iter().any(Option::is_some)
    }

    /// Some collectors accept only small batches; one accepts all.
    fn with_limits(self, dice: &Dice) -> Self {
        let large = dice.below(self.collectors as u64) as usize;
        let limit = |at: usize| {
            let bytes = dice.between(SMALL_BYTES.0, SMALL_BYTES.1);
            (at != large && dice.chance(700)).then_some(bytes)
        };
        let message_max = (0..self.collectors).map(limit).collect();
        Self { message_max, ..self }
    }
}
