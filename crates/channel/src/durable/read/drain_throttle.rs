//! Who puts is spared: as long as somebody does, a backlog is drained at a pace that leaves disk and
//! processor to new events.
//!
//! ```text
//!   credit   0          32 MiB           512 MiB      what draining may take now: 64 MiB a second and,
//!     pauses │  gentle  │   full speed   │            for each consumer that drains, four times what
//!                                                     is put
//! ```
//!
//! | | reads of a backlog | given back to the disk |
//! |---|---|---|
//! | nobody has put for a second | 1,280 KiB, two at a time | whole files |
//! | somebody puts | the same | step by step |
//! | … and the credit is used up | 256 KiB, one at a time, as the credit grows | step by step |
//!
//! A write of a put that meets a read of the backlog waits for it, and who writes files of a store
//! takes cores from who takes events in. So a long backlog shrinks at least three times as fast as
//! new events come, if disk and sink can, and they hardly notice; a short one is gone before anybody
//! would. Who cannot keep up with what is put has all the credit there is, and is not held back.
//!
//! Pure: it is told the time.

use std::time::Duration;

use tokio::time::Instant;

/// When nobody has put for so long, nobody has to be spared.
const CALM: Duration = Duration::from_secs(1);
/// A backlog is drained so many times as fast as new events come …
const DRAIN_FACTOR: i64 = 4;
/// … and so much faster than that.
const DRAIN_BYTES_PER_SEC: u32 = 64 << 20;
/// What was not taken may be taken later, up to this: a second or two of a good disk.
const CREDIT_BYTES_MAX: i64 = 512 << 20;
/// Below this it is used up.
const CREDIT_BYTES_MIN: i64 = 32 << 20;
/// More that was taken too much is not held against anybody.
const DEBT_BYTES_MAX: i64 = 32 << 20;
/// Nobody waits longer without looking whether somebody still puts.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// How hard reads use the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gait {
    /// As fast as it can.
    Full,
    /// So that writes hardly notice.
    Gentle,
}

impl Gait {
    /// Bytes read at once, unless one frame is larger.
    pub(crate) fn stretch_bytes(self) -> u64 {
        match self {
            // More of them do not make a disk faster.
            Self::Full => 1280 << 10,
            Self::Gentle => 256 << 10,
        }
    }

    /// Reads at a time.
    pub(crate) fn reads_max(self) -> usize {
        match self {
            // While one is verified the disk has the other to do.
            Self::Full => 2,
            Self::Gentle => 1,
        }
    }
}

/// What is known of those who put, and of those who drain.
#[derive(Debug, Default)]
pub(crate) struct Sparing {
    put_at: Option<Instant>,
    /// What draining may take, as of then. Below zero what it has taken too much.
    credit_bytes: i64,
    counted_at: Option<Instant>,
}

impl Sparing {
    /// Adds what the time since has brought; at first all that there may be.
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

    /// Something was put, while so many consumers drained a backlog.
    pub(crate) fn put(&mut self, now: Instant, bytes: usize, draining: usize) {
        self.put_at = Some(now);
        self.add((bytes as i64).saturating_mul(DRAIN_FACTOR * draining as i64));
    }

    /// A consumer took so much of a backlog.
    pub(crate) fn taken(&mut self, now: Instant, bytes: usize) {
        self.count(now);
        let least = if self.somebody_puts(now) { -DEBT_BYTES_MAX } else { 0 };
        self.credit_bytes = (self.credit_bytes - bytes as i64).max(least);
    }

    /// How long a consumer that drains waits before it takes more; nothing if it may.
    pub(crate) fn pause(&mut self, now: Instant) -> Option<Duration> {
        self.count(now);
        if !self.somebody_puts(now) || self.credit_bytes >= 0 {
            return None;
        }
        let micros = -self.credit_bytes * 1_000_000 / i64::from(DRAIN_BYTES_PER_SEC);
        Some(Duration::from_micros(micros.unsigned_abs() + 1).min(PAUSE_MAX))
    }

    /// Whether there is somebody to be spared.
    pub(crate) fn somebody_puts(&self, now: Instant) -> bool {
        self.put_at.is_some_and(|at| now.duration_since(at) < CALM)
    }

    /// How the next read of a backlog goes.
    pub(crate) fn gait(&self, now: Instant) -> Gait {
        match self.somebody_puts(now) && self.credit_bytes < CREDIT_BYTES_MIN {
            true => Gait::Gentle,
            false => Gait::Full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn nobody_is_spared_a_second_after_the_last_put_and_everybody_with_the_next() {
        let (began, moment) = (Instant::now(), Duration::from_millis(10));
        let mut sparing = Sparing::default();
        assert!(!sparing.somebody_puts(began));
        sparing.put(began, 1, 1);
        assert!(sparing.somebody_puts(began + CALM - moment));
        assert_eq!(sparing.gait(began + CALM - moment), Gait::Gentle);
        assert!(!sparing.somebody_puts(began + CALM));
        assert_eq!(sparing.gait(began + CALM), Gait::Full);
        sparing.put(began + CALM * 9, 1, 1);
        assert!(sparing.somebody_puts(began + CALM * 10 - moment));
    }

    /// Drains as fast as it may for a second in which so much is put each 10 ms; answers how much it
    /// took.
    fn drained(sparing: &mut Sparing, from: Instant, put: usize, draining: usize) -> usize {
        let (mut now, mut taken) = (from, 0);
        for _ in 0..100 {
            sparing.put(now, put, draining);
            let next = now + Duration::from_millis(10);
            while now < next {
                match sparing.pause(now) {
                    Some(pause) => now += pause,
                    None => {
                        sparing.taken(now, MIB / 16);
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
    fn a_long_backlog_is_drained_four_times_as_fast_as_new_events_come_and_64_mib_a_second_faster()
    {
        let mut sparing = Sparing::default();
        let began = Instant::now();
        let taken = drained(&mut sparing, began, MIB, 1);
        assert!(is_about(taken, (512 + 400 + 64) * MIB), "{taken} bytes at first");
        let taken = drained(&mut sparing, began + CALM, MIB, 1);
        assert!(is_about(taken, (400 + 64) * MIB), "{taken} bytes");
        let taken = drained(&mut sparing, began + CALM * 2, 1, 1);
        assert!(is_about(taken, 64 * MIB), "{taken} bytes");
        let taken = drained(&mut sparing, began + CALM * 3, MIB, 2);
        assert!(is_about(taken, (800 + 64) * MIB), "{taken} bytes by two");
    }

    #[test]
    fn nobody_who_drains_waits_where_nobody_puts() {
        let mut sparing = Sparing::default();
        let now = Instant::now();
        for _ in 0..1_000 {
            assert_eq!(sparing.pause(now), None);
            sparing.taken(now, MIB);
        }
        sparing.put(now, 1, 1);
        assert_eq!(sparing.pause(now), None, "what was taken before is not held against it");
        sparing.taken(now, 8 * MIB);
        assert_eq!(sparing.pause(now), Some(PAUSE_MAX));
        assert_eq!(sparing.pause(now + CALM), None);
    }

    #[test]
    fn who_cannot_keep_up_with_what_is_put_reads_as_fast_as_the_disk_can() {
        let mut sparing = Sparing::default();
        let now = Instant::now();
        sparing.put(now, MIB, 1);
        assert_eq!(sparing.gait(now), Gait::Gentle);
        for _ in 0..100 {
            sparing.put(now, 16 * MIB, 1);
            assert_eq!(sparing.gait(now), Gait::Full);
            sparing.taken(now, 16 * MIB);
        }
        for _ in 0..30 {
            assert_eq!(sparing.gait(now), Gait::Full, "it is over soon");
            sparing.taken(now, 16 * MIB);
        }
        assert_eq!(sparing.gait(now), Gait::Gentle);
    }
}
