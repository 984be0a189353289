//! Pauses between attempts: they double up to a limit, with jitter, so that many that failed
//! together do not retry together.

use std::time::Duration;

/// Returns the pause before the next attempt.
///
/// `failures` counts consecutive failed attempts, from 1. The pause doubles from `base` up to
/// `limit`; `random` (any 64 bits) selects a value between half of it and all of it.
pub fn jittered(base: Duration, limit: Duration, failures: u32, random: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    let full = base.saturating_mul(1 << doublings).min(limit);
    let half = full / 2;
    half + half.mul_f64(random as f64 / u64::MAX as f64)
}

/// Returns a common period with jitter: within `share` of itself, selected by `random` (any 64
/// bits), so that users of the period do not act at the same time.
pub fn spread(period: Duration, share: f64, random: u64) -> Duration {
    period.mul_f64(1.0 - share + 2.0 * share * random as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_stay_within_half_of_it() {
        let (base, limit) = (Duration::from_millis(100), Duration::from_secs(1));
        for (failures, full_ms) in [(1, 100), (2, 200), (3, 400), (5, 1000), (4_000_000, 1000)] {
            let full = Duration::from_millis(full_ms);
            assert_eq!(jittered(base, limit, failures, 0), full / 2);
            assert_eq!(jittered(base, limit, failures, u64::MAX), full);
        }
    }

    #[test]
    fn a_spread_period_stays_within_its_share() {
        let period = Duration::from_secs(10);
        let [least, middle, most] = [0, u64::MAX / 2, u64::MAX].map(|r| spread(period, 0.2, r));
        assert_eq!([least, most], [Duration::from_secs(8), Duration::from_secs(12)]);
        assert!(middle.abs_diff(period) < Duration::from_micros(1), "{middle:?}");
    }
}
