//! A rate limit: a token bucket that may go into debt. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// Amount of the rate that may pass together after a pause.
const BURST: Duration = Duration::from_secs(1);

/// A rate and its remaining tokens. Messages are not divided: one that passes while tokens are left
/// takes all that it needs, and the next one waits until the debt is paid.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Bucket {
    /// Creates a full bucket.
    pub(super) fn new(per_second: u64, now: Instant) -> Self {
        let per_second = per_second as f64;
        Self { per_second, left: per_second * BURST.as_secs_f64(), at: now }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let full = self.per_second * BURST.as_secs_f64();
        self.left = (self.left + passed * self.per_second).min(full);
        self.at = self.at.max(now);
    }

    /// Returns how long the next message has to wait; `None` if it may pass.
    pub(super) fn wait(&mut self, now: Instant) -> Option<Duration> {
        self.refill(now);
        // Timers have a resolution of milliseconds.
        let millis = (-self.left / self.per_second * 1e3).ceil();
        (self.left < 0.0).then(|| Duration::from_millis((millis as u64).max(1)))
    }

    /// Takes tokens for a message that has passed.
    pub(super) fn charge(&mut self, cost: u64, now: Instant) {
        self.refill(now);
        self.left -= cost as f64;
    }

    /// Returns true if it equals a new bucket.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.left >= self.per_second * BURST.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_over_a_minute_is_the_rate_whatever_the_sizes_are() {
        for cost in [1, 70, 950, 12_000] {
            let (began, mut now) = (Instant::now(), Instant::now());
            let (mut bucket, mut passed) = (Bucket::new(1_000, began), 0);
            while now < began + Duration::from_secs(60) {
                match bucket.wait(now) {
                    Some(wait) => now += wait,
                    None => {
                        bucket.charge(cost, now);
                        passed += cost;
                    }
                }
            }
            let most = 61_000 + cost;
            assert!((58_000..=most).contains(&passed), "{cost}: {passed}");
        }
    }

    #[test]
    fn a_pause_gives_a_second_of_the_rate_and_no_more() {
        let now = Instant::now();
        let mut bucket = Bucket::new(100, now);
        assert!(bucket.is_full(now));
        let later = now + Duration::from_secs(3600);
        bucket.charge(100, later);
        assert_eq!(bucket.wait(later), None);
        bucket.charge(50, later);
        assert_eq!(bucket.wait(later), Some(Duration::from_millis(500)));
        assert!(!bucket.is_full(later));
        // Another thread may pass an earlier time.
        assert_eq!(bucket.wait(now), Some(Duration::from_millis(500)));
    }
}
