//! How long something has been failing that is tried again and again, and when that is said: at
//! first, at once when it fails for a new cause, and now and then while it goes on. Not with each
//! try, of which there is one every few seconds; but the log of the last hour shows why nothing
//! moves.
//!
//! Pure: it is given the time.

use std::time::Duration;

use tokio::time::Instant;

/// Least time between two words about the same failure.
const SAME_AFTER: Duration = Duration::from_secs(10 * 60);
/// Least time between two words about different ones that were said before and take turns.
const OTHER_AFTER: Duration = Duration::from_secs(60);
/// Causes of one trouble that are distinguished. A new one is said at once; further ones, of an
/// error that has another text each time, as if they were known.
const CAUSES_MAX: usize = 8;

/// The failures since it last worked.
#[derive(Debug, Default)]
pub struct FailureLog {
    failures: u32,
    began: Option<Instant>,
    /// When it was said last.
    said_at: Option<Instant>,
    /// What was said, without repetition; the last one at the end.
    said: Vec<String>,
}

impl FailureLog {
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

    /// How often it failed and how long it has been failing, if that is to be said now of `error`;
    /// then it counts as said.
    pub fn should_log(&mut self, now: Instant, error: &str) -> Option<(u32, Duration)> {
        let is_due = self.said_at.is_none_or(|at| now.duration_since(at) >= self.pause(error));
        is_due.then(|| {
            self.said_at = Some(now);
            self.said.retain(|said| said != error);
            if self.said.len() == CAUSES_MAX {
                self.said.remove(0);
            }
            self.said.push(error.to_owned());
            (self.failures, self.lasts(now))
        })
    }

    /// How long after the last word this is to be said.
    fn pause(&self, error: &str) -> Duration {
        if self.said.last().is_some_and(|said| said == error) {
            SAME_AFTER
        } else if self.said.len() < CAUSES_MAX && !self.said.iter().any(|said| said == error) {
            Duration::ZERO
        } else {
            OTHER_AFTER
        }
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

/// A duration as a number in a log line, in seconds to the millisecond; nothing where it is zero,
/// as at the first report of a failure.
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
        let mut trouble = FailureLog::default();
        let mut said = Vec::new();
        for second in (0..3_000).step_by(5) {
            let now = began + Duration::from_secs(second);
            let error = if second < 1_000 { "refused" } else { "no space" };
            trouble.count(now);
            if let Some((failures, lasts)) = trouble.should_log(now, error) {
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
        assert!(trouble.should_log(end, "no space").is_some(), "a new trouble");
    }

    #[test]
    fn a_new_cause_is_said_at_once_and_causes_that_take_turns_once_a_minute() {
        let began = Instant::now();
        let mut trouble = FailureLog::default();
        let said = (0..600).filter(|second| {
            let error = if second % 2 == 0 { "refused" } else { "no space" };
            trouble.should_log(began + Duration::from_secs(*second), error).is_some()
        });
        assert_eq!(said.take(4).collect::<Vec<_>>(), [0, 1, 62, 123]);
    }

    #[test]
    fn an_error_that_has_another_text_each_time_is_said_a_few_times_and_then_once_a_minute() {
        let began = Instant::now();
        let mut trouble = FailureLog::default();
        let said = (0..600).filter(|second| {
            let now = began + Duration::from_secs(*second);
            trouble.should_log(now, &format!("no file {second}")).is_some()
        });
        let said: Vec<u64> = said.collect();
        assert_eq!(said[..CAUSES_MAX], [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(said[CAUSES_MAX..], [67, 127, 187, 247, 307, 367, 427, 487, 547]);
    }
}
