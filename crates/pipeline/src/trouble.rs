//! How long something has been failing that is tried again and again, and when that is said: at first,
//! when it fails otherwise than before, and now and then while it goes on. Not with each try, of which
//! there is one every few seconds; but whoever looks at the log of the last hour finds why nothing
//! moves.
//!
//! Pure: it is told the time.

use std::time::Duration;

use tokio::time::Instant;

/// Least time between two words about the same failure.
const SAME_AFTER: Duration = Duration::from_secs(10 * 60);
/// Least time between two words about different ones, which may take turns.
const OTHER_AFTER: Duration = Duration::from_secs(60);

/// The failures since it last worked.
#[derive(Debug, Default)]
pub struct Trouble {
    failures: u32,
    began: Option<Instant>,
    /// When it was said last, and what.
    said: Option<(Instant, String)>,
}

impl Trouble {
    /// How often it failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// When the first of them was; `None` while it works.
    pub fn began(&self) -> Option<Instant> {
        self.began
    }

    /// It failed once more.
    pub fn count(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.began.get_or_insert(now);
    }

    /// How often it failed and how long it has been failing, if that is to be said now of `error`; then
    /// it counts as said.
    pub fn to_say(&mut self, now: Instant, error: &str) -> Option<(u32, Duration)> {
        let is_due = self.said.as_ref().is_none_or(|(at, said)| {
            let pause = if said == error { SAME_AFTER } else { OTHER_AFTER };
            now.duration_since(*at) >= pause
        });
        is_due.then(|| {
            self.said = Some((now, error.to_owned()));
            (self.failures, self.lasts(now))
        })
    }

    /// It works: how often it had failed, and for how long; nothing if it had not.
    pub fn over(&mut self, now: Instant) -> Option<(u32, Duration)> {
        let before = std::mem::take(self);
        (before.failures > 0).then(|| (before.failures, before.lasts(now)))
    }

    fn lasts(&self, now: Instant) -> Duration {
        self.began.map_or(Duration::ZERO, |began| now.duration_since(began))
    }
}

/// A duration as a number in a log line, in seconds to the millisecond; nothing where it is zero, as
/// at the first report of a failure.
pub fn seconds(duration: Duration) -> Option<f64> {
    let millis = duration.as_millis();
    (millis > 0).then_some(millis as f64 / 1_000.0)
}

/// A duration as a number in a log line, in whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_none_where_it_is_zero() {
        assert_eq!(seconds(Duration::ZERO), None);
        assert_eq!(seconds(Duration::from_micros(108_012_345)), Some(108.012));
    }

    #[test]
    fn the_same_failure_is_said_every_ten_minutes_and_another_one_after_a_minute() {
        let began = Instant::now();
        let mut trouble = Trouble::default();
        let mut said = Vec::new();
        for second in (0..3_000).step_by(5) {
            let now = began + Duration::from_secs(second);
            let error = if second < 1_000 { "refused" } else { "no space" };
            trouble.count(now);
            if let Some((failures, lasts)) = trouble.to_say(now, error) {
                assert_eq!((u64::from(failures), lasts.as_secs()), (second / 5 + 1, second));
                said.push((second, error));
            }
        }
        let expected = [
            (0, "refused"),
            (600, "refused"),
            (1_000, "no space"),
            (1_600, "no space"),
            (2_200, "no space"),
            (2_800, "no space"),
        ];
        assert_eq!(said, expected);
        let (end, lasted) = (began + Duration::from_secs(3_000), Duration::from_secs(3_000));
        assert_eq!(trouble.over(end), Some((600, lasted)));
        assert_eq!(trouble.over(end), None, "it worked before");
        assert!(trouble.to_say(end, "no space").is_some(), "a new trouble");
    }

    #[test]
    fn failures_that_take_turns_are_said_once_a_minute() {
        let began = Instant::now();
        let mut trouble = Trouble::default();
        let said = (0..600).filter(|second| {
            let error = if second % 2 == 0 { "refused" } else { "no space" };
            trouble.to_say(began + Duration::from_secs(*second), error).is_some()
        });
        assert_eq!(said.count(), 10);
    }
}
