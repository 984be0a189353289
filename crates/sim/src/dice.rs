//! Deterministic random choices.

use std::time::Duration;

use channel::testkit::SimEntropy;
use pipeline::env::Entropy;

/// Random choices determined by a seed.
#[derive(Debug)]
pub(crate) struct Dice(SimEntropy);

impl Dice {
    /// Creates the choices of `seed` for one purpose. Different purposes are independent.
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        Self(SimEntropy::new(xxhash_rust::xxh3::xxh3_64_with_seed(purpose.as_bytes(), seed)))
    }

    /// Returns 64 random bits.
    pub(crate) fn bits(&self) -> u64 {
        self.0.next_u64()
    }

    /// Returns a number below `end`, which must be greater than 0.
    pub(crate) fn below(&self, end: u64) -> u64 {
        self.bits() % end
    }

    /// Returns a number from `low` to `high`, inclusive.
    pub(crate) fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Returns true with a probability of `per_mille` / 1000.
    pub(crate) fn chance(&self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// Returns a duration in milliseconds; short ones are more likely.
    pub(crate) fn millis(&self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, self.between(low, high)))
    }

    /// Picks one of `choices`, which must not be empty.
    pub(crate) fn pick<'a, T>(&self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }
}
