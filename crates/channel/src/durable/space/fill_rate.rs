//! Estimates the time until the channel is full, at its recent rate.
//!
//! The size of a channel falls by whole segments and rises by groups. Therefore the rate is
//! measured over a window of some minutes: the current size minus the size at the beginning of the
//! window.
//!
//! Pure: the time is a parameter.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Length of the window.
const WINDOW: Duration = Duration::from_secs(300);
/// Minimum time between two samples: there are at most sixty.
const STEP: Duration = Duration::from_secs(5);

/// Recent sizes.
#[derive(Debug, Default)]
pub(crate) struct FillRate {
    samples: VecDeque<(Instant, u64)>,
}

impl FillRate {
    /// `bytes` are occupied `now`.
    pub(crate) fn note(&mut self, now: Instant, bytes: u64) {
        if self.samples.back().is_some_and(|(last, _)| now.duration_since(*last) < STEP) {
            return;
        }
        self.samples.push_back((now, bytes));
        // Keep the sample at the beginning of the window.
        while self.samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.samples.pop_front();
        }
    }

    /// Returns the time until `capacity` bytes are occupied, starting at `bytes` now; `None` if the
    /// channel does not fill, or the rate is not known yet.
    pub(crate) fn until_full(&self, now: Instant, bytes: u64, capacity: u64) -> Option<Duration> {
        if bytes >= capacity {
            return Some(Duration::ZERO);
        }
        let (since, before) = self.samples.front()?;
        let elapsed = now.duration_since(*since);
        let risen = bytes.checked_sub(*before).filter(|risen| *risen > 0)?;
        let left = (capacity - bytes) as f64 / risen as f64;
        let is_known = elapsed >= STEP;
        is_known.then(|| Duration::try_from_secs_f64(elapsed.as_secs_f64() * left).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_channel_that_fills_evenly_is_full_when_the_rest_is_filled_as_fast() {
        let (began, mut rate) = (Instant::now(), FillRate::default());
        let at = |second| began + Duration::from_secs(second);
        assert_eq!(rate.until_full(at(0), 0, 100 * MIB), None, "nothing is known");
        for second in 0..=60 {
            rate.note(at(second), second * MIB);
        }
        assert_eq!(rate.until_full(at(60), 60 * MIB, 100 * MIB), Some(Duration::from_secs(40)));
        assert_eq!(rate.until_full(at(60), 100 * MIB, 100 * MIB), Some(Duration::ZERO));
    }

    #[test]
    fn one_that_drains_or_rests_is_never_full() {
        let (began, mut rate) = (Instant::now(), FillRate::default());
        let at = |second| began + Duration::from_secs(second);
        for second in 0..1_000 {
            rate.note(at(second), (2_000 - second) * MIB);
        }
        assert_eq!(rate.until_full(at(1_000), 1_000 * MIB, 4_000 * MIB), None);
        for second in 1_000..2_000 {
            rate.note(at(second), 1_000 * MIB);
        }
        assert_eq!(rate.until_full(at(2_000), 1_000 * MIB, 4_000 * MIB), None);
    }

    #[test]
    fn only_the_last_minutes_count_and_memory_is_bounded() {
        let (began, mut rate) = (Instant::now(), FillRate::default());
        let at = |second| began + Duration::from_secs(second);
        for second in 0..10_000 {
            // It drained for a long time, and has been filling for eight minutes.
            let bytes = if second < 9_500 { 20_000 - second } else { second };
            rate.note(at(second), bytes);
        }
        assert!(rate.samples.len() <= 62);
        let left = rate.until_full(at(9_999), 9_999, 10_299);
        assert!(left.is_some_and(|left| left.as_secs().abs_diff(300) < 5), "{left:?}");
    }
}
