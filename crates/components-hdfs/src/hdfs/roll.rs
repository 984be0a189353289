//! When a roll is over. Pure: times and sizes go in, a decision comes out.

use std::time::Duration;

use support::backoff::spread;
use tokio::time::Instant;

/// When a roll is over: whichever of these comes first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of one file. One batch that is larger than that gets a file of its own.
    pub(super) size_max: u64,
    /// Events of one file; the batch that reaches it is the last one.
    pub(super) count_max: Option<u64>,
    /// Time since the first batch.
    pub(super) age_max: Duration,
    /// Time since the last batch.
    pub(super) idle_max: Duration,
}

/// How much is in one file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fill {
    /// Bytes that were written.
    pub(super) bytes: u64,
    /// Bytes that its encoder holds back.
    pub(super) held: u64,
    /// Events.
    pub(super) events: u64,
}

/// The clock of one roll.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    over: Instant,
    idle: Instant,
}

impl Limits {
    /// Whether `more` bytes fit into a file that holds `fill`.
    pub(super) fn fits(&self, fill: Fill, more: u64) -> bool {
        fill.events == 0 || fill.bytes + fill.held + more <= self.size_max
    }

    /// Whether a file is to be closed now.
    pub(super) fn is_full(&self, fill: Fill) -> bool {
        fill.bytes + fill.held >= self.size_max
            || self.count_max.is_some_and(|max| fill.events >= max)
    }

    /// A roll that begins `now`. Its age is spread by ±20 %, by `random`, so that many collectors
    /// that start together do not commit together for ever.
    pub(super) fn begin(&self, now: Instant, random: u64) -> Life {
        Life { over: now + spread(self.age_max, 0.2, random), idle: now + self.idle_max }
    }
}

impl Life {
    /// A batch came.
    pub(super) fn touch(&mut self, now: Instant, limits: &Limits) {
        self.idle = now + limits.idle_max;
    }

    /// When the roll is over if nothing comes any more.
    pub(super) fn end(&self) -> Instant {
        self.over.min(self.idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        size_max: 100,
        count_max: Some(10),
        age_max: Duration::from_secs(300),
        idle_max: Duration::from_secs(60),
    };

    #[test]
    fn a_file_never_grows_over_its_limit_but_by_one_batch_alone() {
        let fill = |bytes, events| Fill { bytes, held: 0, events };
        let held = |bytes, held| Fill { bytes, held, events: 1 };
        assert!(LIMITS.fits(fill(40, 1), 60));
        assert!(!LIMITS.fits(fill(40, 1), 61));
        assert!(LIMITS.fits(fill(0, 0), 1_000));
        assert!(LIMITS.is_full(fill(100, 1)) && LIMITS.is_full(fill(1, 10)));
        assert!(!LIMITS.is_full(fill(99, 9)));
        assert!(LIMITS.fits(held(0, 40), 60) && !LIMITS.fits(held(0, 40), 61));
        assert!(LIMITS.is_full(held(60, 40)) && !LIMITS.is_full(held(60, 39)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_roll_ends_by_idleness_and_a_busy_one_by_age() {
        let start = Instant::now();
        let mut life = LIMITS.begin(start, u64::MAX / 2);
        assert_eq!(life.end(), start + LIMITS.idle_max);
        let late = start + Duration::from_secs(299);
        life.touch(late, &LIMITS);
        assert_eq!(life.end(), start + LIMITS.age_max);
    }

    #[tokio::test(start_paused = true)]
    async fn ages_are_spread_by_a_fifth() {
        let start = Instant::now();
        let ages = [0, u64::MAX / 2, u64::MAX].map(|random| {
            let mut life = LIMITS.begin(start, random);
            life.touch(start + LIMITS.age_max * 2, &LIMITS);
            life.end() - start
        });
        assert!(ages.iter().all(|age| (240..=360).contains(&age.as_secs())), "{ages:?}");
        assert!(ages[2] - ages[0] > Duration::from_secs(119));
    }
}
