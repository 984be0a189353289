//! Seeds about what collectors say of themselves: that they cannot store, and how large a batch
//! they take. Drawn from dice of their own, so that other seeds are as they were.

use std::time::Duration;

use super::Scenario;
use crate::dice::Dice;
use crate::fault_kind::FaultKind;

/// A collector says that it cannot store 15 s after its first failure and a look each second, its
/// senders give back what it holds 5 s later, and another one stores that.
const TURNED_AFTER: Duration = Duration::from_secs(15 + 1 + 5);

/// What comes to that: a roll of the first collector and one of the second, and the way.
const SLACK: Duration = Duration::from_secs(6);

/// Bytes that a collector takes which takes no large batches: more than any single event has.
const SMALL_BYTES: (u64, u64) = (400, 1_000);

impl Scenario {
    /// At times one of the two, where the seed is about nothing else.
    pub(super) fn with_hops(self, seed: u64) -> Self {
        let dice = Dice::new(seed, "hops");
        match dice.below(4) {
            0 => self.about_one_refused(&dice),
            1 | 2 if self.relays == 0 => self.with_limits(&dice),
            _ => self,
        }
    }

    /// The store refuses one collector, and nothing else goes wrong: no event waits long at an
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
            // Else what is given back waits for many small files.
            merges: None,
            ..self.hurried(dice, 2..=3, faults)
        }
    }

    /// Whether collectors name limits that differ.
    pub(crate) fn has_limits(&self) -> bool {
        self.message_max.iter().any(Option::is_some)
    }

    /// Some collectors take small batches alone; one takes all.
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
