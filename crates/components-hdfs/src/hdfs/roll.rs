//! Decides when a roll ends. Pure: takes times and sizes, returns a decision.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use support::backoff::spread;
use tokio::time::Instant;

/// Limits of a roll; the first one reached ends it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Maximum size of a file. A larger batch gets its own file.
    pub(super) size_max: u64,
    /// Maximum events of a file; the batch that reaches it is the last one.
    pub(super) count_max: Option<u64>,
    /// Time since the first batch.
    pub(super) age_max: Duration,
    /// Time since the last batch.
    pub(super) idle_max: Duration,
    /// A boundary of the clock.
    pub(super) on: Option<Boundary>,
}

/// Fill level of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fill {
    /// Written bytes.
    pub(super) bytes: u64,
    /// Bytes that its encoder holds back.
    pub(super) held: u64,
    /// Events.
    pub(super) events: u64,
}

/// The timers of a roll.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    /// When it ends.
    over: Instant,
    /// When it is old enough to end with another one.
    ripe: Instant,
    /// When it ends without further batches.
    idle: Instant,
    /// When the last batch arrived.
    touched: Instant,
}

/// Fraction of the age or idle time after which a roll ends together with another one: a single
/// ledger entry then serves both.
const RIPE: f64 = 0.75;

impl Limits {
    /// Returns whether `more` bytes fit into a file with this fill level.
    pub(super) fn fits(&self, fill: Fill, more: u64) -> bool {
        fill.events == 0 || fill.bytes + fill.held + more <= self.size_max
    }

    /// Returns whether a file must be closed.
    pub(super) fn is_full(&self, fill: Fill) -> bool {
        fill.bytes + fill.held >= self.size_max
            || self.count_max.is_some_and(|max| fill.events >= max)
    }

    /// Starts a roll at `now`; `boundary` is the time until the next clock boundary, if used.
    /// `random` varies the age by ±20 %, so that collectors that start together do not always
    /// commit together.
    pub(super) fn begin(&self, now: Instant, random: u64, boundary: Option<Duration>) -> Life {
        let age = spread(self.age_max, 0.2, random);
        let over = now + boundary.map_or(age, |boundary| boundary.min(age));
        let ripe = now + self.age_max.mul_f64(RIPE);
        Life { over, ripe, idle: now + self.idle_max, touched: now }
    }
}

/// A boundary of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Boundary {
    /// Each full hour of the time zone.
    Hour,
    /// Each midnight of the time zone.
    Day,
}

impl Boundary {
    /// Returns the time from `now`, in milliseconds since 1970, until the next boundary in this
    /// zone.
    pub(super) fn after(self, now: i64, zone: &TimeZone) -> Duration {
        let at = Timestamp::from_millisecond(now).unwrap_or_default();
        let zoned = at.to_zoned(zone.clone());
        let next = match self {
            Self::Hour => {
                let hour = i64::from(zone.to_offset(at).seconds()) * 1_000 + now;
                // Clocks change at full quarter-hours, so the boundary has the same offset, or is
                // the change itself.
                return Duration::from_millis(
                    3_600_000 - hour.rem_euclid(3_600_000).unsigned_abs(),
                );
            }
            Self::Day => zoned.tomorrow().and_then(|day| day.start_of_day()),
        };
        // At the end of the time range there is no next day.
        let until = next.map_or(i64::MAX, |day| day.timestamp().as_millisecond()) - now;
        Duration::from_millis(until.max(1).unsigned_abs())
    }
}

impl Life {
    /// Records a batch.
    pub(super) fn touch(&mut self, now: Instant, limits: &Limits) {
        self.idle = now + limits.idle_max;
        self.touched = now;
    }

    /// Returns when the roll ends without further batches.
    pub(super) fn end(&self) -> Instant {
        self.over.min(self.idle)
    }

    /// Returns when the last batch arrived.
    pub(super) fn touched(&self) -> Instant {
        self.touched
    }

    /// Returns whether it ends together with another one at `now`.
    pub(super) fn is_ripe(&self, now: Instant, limits: &Limits) -> bool {
        let quiet = limits.idle_max.mul_f64(RIPE);
        now >= self.end() || now >= self.ripe || now >= self.touched + quiet
    }

    /// Joins two rolls, which end when the older one would.
    pub(super) fn join(&mut self, other: &Self) {
        self.over = self.over.min(other.over);
        self.ripe = self.ripe.min(other.ripe);
        self.idle = self.idle.max(other.idle);
        self.touched = self.touched.max(other.touched);
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
        on: None,
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
        let mut life = LIMITS.begin(start, u64::MAX / 2, None);
        assert_eq!(life.end(), start + LIMITS.idle_max);
        let late = start + Duration::from_secs(299);
        life.touch(late, &LIMITS);
        assert_eq!(life.end(), start + LIMITS.age_max);
    }

    #[tokio::test(start_paused = true)]
    async fn ages_are_spread_by_a_fifth() {
        let start = Instant::now();
        let ages = [0, u64::MAX / 2, u64::MAX].map(|random| {
            let mut life = LIMITS.begin(start, random, None);
            life.touch(start + LIMITS.age_max * 2, &LIMITS);
            life.end() - start
        });
        assert!(ages.iter().all(|age| (240..=360).contains(&age.as_secs())), "{ages:?}");
        assert!(ages[2] - ages[0] > Duration::from_secs(119));
    }

    #[tokio::test(start_paused = true)]
    async fn joined_rolls_end_with_the_older_one() {
        let start = Instant::now();
        let mut old = LIMITS.begin(start, u64::MAX / 2, None);
        let later = start + Duration::from_secs(40);
        let young = LIMITS.begin(later, u64::MAX / 2, None);
        old.join(&young);
        assert_eq!(old.end(), later + LIMITS.idle_max);
        old.touch(start + LIMITS.age_max, &LIMITS);
        assert_eq!(old.end(), start + LIMITS.age_max);
        for (seconds, is_ripe) in [(0, false), (44, false), (45, true), (60, true)] {
            let now = later + Duration::from_secs(seconds);
            assert_eq!(young.is_ripe(now, &LIMITS), is_ripe, "{seconds}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_roll_ends_when_the_clock_of_its_zone_passes_the_boundary() {
        let until = |boundary: Boundary, at: &str, zone: &str| {
            let at: Timestamp = at.parse().unwrap();
            let zone = TimeZone::get(zone).unwrap();
            boundary.after(at.as_millisecond(), &zone).as_secs()
        };
        let at = "2026-10-24T22:59:30Z";
        assert_eq!(until(Boundary::Hour, at, "UTC"), 30);
        assert_eq!(until(Boundary::Hour, at, "Asia/Kolkata"), 30 * 60 + 30);
        assert_eq!(until(Boundary::Day, at, "UTC"), 3_600 + 30);
        // The day on which the clocks go back has 25 hours.
        assert_eq!(until(Boundary::Day, "2026-10-24T22:00:00Z", "Europe/Berlin"), 25 * 3_600);
        assert_eq!(until(Boundary::Day, "2026-10-24T21:59:59Z", "Europe/Berlin"), 1);
        let start = Instant::now();
        let life = LIMITS.begin(start, 0, Some(Duration::from_secs(30)));
        assert_eq!(life.end(), start + Duration::from_secs(30));
    }
}
