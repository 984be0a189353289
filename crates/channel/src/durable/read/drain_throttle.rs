//! Throttles the draining of a backlog while producers are active, to leave disk and processor to
//! new events.
//!
//! ```text
//!   credit   0          32 MiB           512 MiB    draining may take now: 64 MiB a second
//!     pauses │  gentle  │   full speed   │          and, for each consumer that drains, four times
//!                                                   the bytes of puts
//! ```
//!
//! | | reads of a backlog | removal of files |
//! |---|---|---|
//! | no put for a second | 1,280 KiB, two at a time | whole files |
//! | active puts | the same | step by step |
//! | … and the credit is used up | 256 KiB, one at a time, as the credit grows | step by step |
//!
//! A write of a put waits for an earlier read of the backlog on the disk, and writing the files of
//! a store takes cores from the intake. The throttle lets a long backlog shrink at least three
//! times as fast as new events arrive, if disk and sink can, at little cost to them; a short
//! backlog is drained before the cost shows. A consumer that is slower than the producers has full
//! credit and is never throttled.
//!
//! Pure: the time is a parameter.

use std::time::Duration;

use tokio::time::Instant;

/// Time after the last put when producers count as idle.
const CALM: Duration = Duration::from_secs(1);
/// A backlog is drained this many times as fast as new events arrive …
const DRAIN_FACTOR: i64 = 4;
/// … plus this rate.
const DRAIN_BYTES_PER_SEC: u32 = 64 << 20;
/// Maximum unused credit: a second or two of a good disk.
const CREDIT_BYTES_MAX: i64 = 512 << 20;
/// Below this it is used up.
const CREDIT_BYTES_MIN: i64 = 32 << 20;
/// Debt beyond this is forgotten.
const DEBT_BYTES_MAX: i64 = 32 << 20;
/// The longest pause before producers are checked again.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// How hard reads may use the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadIntensity {
    /// As fast as it can.
    Full,
    /// At little cost to writes.
    Gentle,
}

impl ReadIntensity {
    /// Bytes per read, unless one frame is larger.
    pub(crate) fn stretch_bytes(self) -> u64 {
        match self {
            // Larger reads do not make a disk faster.
            Self::Full => 1280 << 10,
            Self::Gentle => 256 << 10,
        }
    }

    /// Concurrent reads.
    pub(crate) fn reads_max(self) -> usize {
        match self {
            // While one is verified the disk serves the other.
            Self::Full => 2,
            Self::Gentle => 1,
        }
    }
}

/// Credit of the consumers that drain, and the time of the last put.
#[derive(Debug, Default)]
pub(crate) struct DrainThrottle {
    put_at: Option<Instant>,
    /// The credit at that time; below zero after taking too much.
    credit_bytes: i64,
    counted_at: Option<Instant>,
}

impl DrainThrottle {
    /// Adds the credit for the time since; at first the maximum.
    fn count(&mut self, now: Instant) {
        let brought = |then| {
            let nanos = now.duration_since(then).as_nanos();
            i64::try_from(nanos * u128::from(DRAIN_BYTES_PER_SEC) / 1_000_000_000)
        };
        let brought = self.counted_at.replace(now).and_then(|then| brought(then).ok());
        self.add(brought.unwrap_or(CREDIT_BYTES_MAX));
    }

    fn add(&mut self, bytes: i64) {
        self.credit_bytes = self.credit_bytes.saturating_add(bytes).min(CREDIT_BYTES_MAX);
    }

    /// Records a put while this many consumers drain a backlog.
    pub(crate) fn put(&mut self, now: Instant, bytes: usize, draining: usize) {
        self.put_at = Some(now);
        self.add((bytes as i64).saturating_mul(DRAIN_FACTOR * draining as i64));
    }

    /// Records that a consumer took this much of a backlog.
    pub(crate) fn taken(&mut self, now: Instant, bytes: usize) {
        self.count(now);
        let least = if self.is_busy(now) { -DEBT_BYTES_MAX } else { 0 };
        self.credit_bytes = (self.credit_bytes - bytes as i64).max(least);
    }

    /// Returns how long a draining consumer must wait before its next take, if it must.
    pub(crate) fn pause(&mut self, now: Instant) -> Option<Duration> {
        self.count(now);
        if !self.is_busy(now) || self.credit_bytes >= 0 {
            return None;
        }
        let micros = -self.credit_bytes * 1_000_000 / i64::from(DRAIN_BYTES_PER_SEC);
        Some(Duration::from_micros(micros.unsigned_abs() + 1).min(PAUSE_MAX))
    }

    /// Returns `true` if producers are active.
    pub(crate) fn is_busy(&self, now: Instant) -> bool {
        self.put_at.is_some_and(|at| now.duration_since(at) < CALM)
    }

    /// Returns the intensity of the next read of a backlog.
    pub(crate) fn intensity(&self, now: Instant) -> ReadIntensity {
        match self.is_busy(now) && self.credit_bytes < CREDIT_BYTES_MIN {
            true => ReadIntensity::Gentle,
            false => ReadIntensity::Full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn the_throttle_stops_a_second_after_the_last_put() {
        let (began, moment) = (Instant::now(), Duration::from_millis(10));
        let mut throttle = DrainThrottle::default();
        assert!(!throttle.is_busy(began));
        throttle.put(began, 1, 1);
        assert!(throttle.is_busy(began + CALM - moment));
        assert_eq!(throttle.intensity(began + CALM - moment), ReadIntensity::Gentle);
        assert!(!throttle.is_busy(began + CALM));
        assert_eq!(throttle.intensity(began + CALM), ReadIntensity::Full);
        throttle.put(began + CALM * 9, 1, 1);
        assert!(throttle.is_busy(began + CALM * 10 - moment));
    }

    /// Drains as fast as permitted for a second, with a put of this size each 10 ms; returns the
    /// drained bytes.
    fn drained(throttle: &mut DrainThrottle, from: Instant, put: usize, draining: usize) -> usize {
        let (mut now, mut taken) = (from, 0);
        for _ in 0..100 {
            throttle.put(now, put, draining);
            let next = now + Duration::from_millis(10);
            while now < next {
                match throttle.pause(now) {
                    Some(pause) => now += pause,
                    None => {
                        throttle.taken(now, MIB / 16);
                        taken += MIB / 16;
                    }
                }
            }
            now = next;
        }
        taken
    }

    fn is_about(found: usize, expected: usize) -> bool {
        (expected * 98 / 100..expected * 102 / 100).contains(&found)
    }

    #[test]
    fn drains_a_long_backlog_at_four_times_the_rate_of_puts_plus_64_mib() {
        let mut throttle = DrainThrottle::default();
        let began = Instant::now();
        let taken = drained(&mut throttle, began, MIB, 1);
        assert!(is_about(taken, (512 + 400 + 64) * MIB), "{taken} bytes at first");
        let taken = drained(&mut throttle, began + CALM, MIB, 1);
        assert!(is_about(taken, (400 + 64) * MIB), "{taken} bytes");
        let taken = drained(&mut throttle, began + CALM * 2, 1, 1);
        assert!(is_about(taken, 64 * MIB), "{taken} bytes");
        let taken = drained(&mut throttle, began + CALM * 3, MIB, 2);
        assert!(is_about(taken, (800 + 64) * MIB), "{taken} bytes by two");
    }

    #[test]
    fn nobody_who_drains_waits_where_nobody_puts() {
        let mut throttle = DrainThrottle::default();
        let now = Instant::now();
        for _ in 0..1_000 {
            assert_eq!(throttle.pause(now), None);
            throttle.taken(now, MIB);
        }
        throttle.put(now, 1, 1);
        assert_eq!(throttle.pause(now), None, "what was taken before is not held against it");
        throttle.taken(now, 8 * MIB);
        assert_eq!(throttle.pause(now), Some(PAUSE_MAX));
        assert_eq!(throttle.pause(now + CALM), None);
    }

    #[test]
    fn a_consumer_slower_than_the_puts_is_not_throttled() {
        let mut throttle = DrainThrottle::default();
        let now = Instant::now();
        throttle.put(now, MIB, 1);
        assert_eq!(throttle.intensity(now), ReadIntensity::Gentle);
        for _ in 0..100 {
            throttle.put(now, 16 * MIB, 1);
            assert_eq!(throttle.intensity(now), ReadIntensity::Full);
            throttle.taken(now, 16 * MIB);
        }
        for _ in 0..30 {
            assert_eq!(throttle.intensity(now), ReadIntensity::Full, "it is over soon");
            throttle.taken(now, 16 * MIB);
        }
        assert_eq!(throttle.intensity(now), ReadIntensity::Gentle);
    }
}
