//! Random choices that follow from a seed.

use std::time::Duration;

use channel::testkit::SimEntropy;
use pipeline::env::Entropy;

/// Random choices that follow from a seed.
#[derive(Debug)]
pub(crate) struct Dice(SimEntropy);

impl Dice {
    /// Choices of `seed` for one purpose: different purposes do not disturb each other.
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        Self(SimEntropy::new(xxhash_rust::xxh3::xxh3_64_with_seed(purpose.as_bytes(), seed)))
    }

    /// 64 bits.
    pub(crate) fn bits(&self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `end`, which is more than 0.
    pub(crate) fn below(&self, end: u64) -> u64 {
        self.bits() % end
    }

    /// A number from `low` up to and with `high`.
    pub(crate) fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Yes, in `per_mille` of a thousand cases.
    pub(crate) fn chance(&self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// A time of so many milliseconds; short ones are likelier than long ones.
    pub(crate) fn millis(&self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, self.between(low, high)))
    }

    /// One of `choices`, of which there is at least one.
    pub(crate) fn pick<'a, T>(&self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }
}
