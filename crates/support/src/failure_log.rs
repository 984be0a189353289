//! Decides when repeated failures are logged: the first failure, each new cause, and a repetition
//! every ten minutes. Retries every few seconds therefore do not fill the log, and the log of the
//! last hour shows why nothing moves.
//!
//! Pure: the time is a parameter.

use std::time::Duration;

use tokio::time::Instant;

/// Minimum time between two log lines about the same failure.
const SAME_AFTER: Duration = Duration::from_secs(10 * 60);
/// Minimum time between two log lines about different, already logged failures that alternate.
const OTHER_AFTER: Duration = Duration::from_secs(60);
/// Number of distinguished causes of one failure. A new one is logged immediately. Further ones,
/// for an error whose text always differs, are logged as if they were known.
const CAUSES_MAX: usize = 8;

/// Digits of a number that may name a cause, as an error code or a status does.
const CODE_DIGITS_MAX: usize = 3;

/// The failures since it last worked.
#[derive(Debug, Default)]
pub struct FailureLog {
    failures: u32,
    began: Option<Instant>,
    /// Time of the last log line.
    said_at: Option<Instant>,
    /// The [`stable`] causes that were logged, without repetition; the last one at the end.
    said: Vec<String>,
}

impl FailureLog {
    /// Returns the number of failures.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The time of the first failure; `None` while it works.
    pub fn began(&self) -> Option<Instant> {
        self.began
    }

    /// Counts one more failure.
    pub fn count(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.began.get_or_insert(now);
    }

    /// Returns how often it failed and for how long, if `error` must be logged now; then it counts
    /// as logged. Two errors have the same cause if they differ only in parts that vary between
    /// attempts: names of temporary files, addresses, times.
    pub fn should_log(&mut self, now: Instant, error: &str) -> Option<(u32, Duration)> {
        let cause = stable(error);
        let is_due = self.said_at.is_none_or(|at| now.duration_since(at) >= self.pause(&cause));
        is_due.then(|| {
            self.said_at = Some(now);
            self.said.retain(|said| *said != cause);
            if self.said.len() == CAUSES_MAX {
                self.said.remove(0);
            }
            self.said.push(cause);
            (self.failures, self.lasts(now))
        })
    }

    /// Returns the pause after the last line before this cause is logged.
    fn pause(&self, cause: &str) -> Duration {
        if self.said.last().is_some_and(|said| said == cause) {
            SAME_AFTER
        } else if self.said.len() < CAUSES_MAX && !self.said.iter().any(|said| said == cause) {
            Duration::ZERO
        } else {
            OTHER_AFTER
        }
    }

    /// Ends the failure; returns how often it had failed, and for how long, if at all.
    pub fn over(&mut self, now: Instant) -> Option<(u32, Duration)> {
        let before = std::mem::take(self);
        (before.failures > 0).then(|| (before.failures, before.lasts(now)))
    }

    fn lasts(&self, now: Instant) -> Duration {
        self.began.map_or(Duration::ZERO, |began| now.duration_since(began))
    }
}

/// Removes parts of the text that vary between attempts: each word with a digit is replaced, except
/// a number as short as an error code. A word includes its dots, hyphens and underscores.
fn stable(error: &str) -> String {
    let is_inner = |c: char| c.is_alphanumeric() || "._-".contains(c);
    let is_code = |word: &str| {
        word.len() <= CODE_DIGITS_MAX && word.bytes().all(|byte| byte.is_ascii_digit())
    };
    let mut text = String::with_capacity(error.len());
    let mut rest = error;
    while let Some(first) = rest.chars().next() {
        let end = match is_inner(first) {
            true => rest.find(|c| !is_inner(c)).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        let (word, after) = rest.split_at(end);
        let varies = word.contains(|c: char| c.is_ascii_digit()) && !is_code(word);
        text.push_str(if varies { "#" } else { word });
        rest = after;
    }
    text
}

/// Formats a duration for a log line, in seconds to the millisecond; `None` for zero, as in the
/// first report of a failure.
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
    fn same_failure_is_logged_every_ten_minutes_and_another_after_one() {
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
    fn new_cause_is_logged_immediately_and_alternating_ones_once_a_minute() {
        let began = Instant::now();
        let mut trouble = FailureLog::default();
        let said = (0..600).filter(|second| {
            let error = if second % 2 == 0 { "refused" } else { "no space" };
            trouble.should_log(began + Duration::from_secs(*second), error).is_some()
        });
        assert_eq!(said.take(4).collect::<Vec<_>>(), [0, 1, 62, 123]);
    }

    #[test]
    fn errors_that_differ_only_in_names_and_numbers_are_one_cause() {
        let began = Instant::now();
        let mut trouble = FailureLog::default();
        let logged = (0..1_200).filter(|second| {
            let now = began + Duration::from_secs(*second);
            let id = format!("{:016x}-{second}", second.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let error = format!(
                "cannot write /data/_aqueduct/staged/{id}.part: no space left on device (os error \
                 28); retrying in {}ms",
                second % 7
            );
            trouble.should_log(now, &error).is_some()
        });
        assert_eq!(logged.collect::<Vec<_>>(), [0, 600]);
        assert_ne!(stable("status 404"), stable("status 503"));
        assert_eq!(stable("no route to 10.0.0.1:4141"), stable("no route to 10.0.0.2:4142"));
    }

    #[test]
    fn error_with_varying_text_is_logged_a_few_times_then_once_a_minute() {
        let began = Instant::now();
        let mut trouble = FailureLog::default();
        let said = (0..600).filter(|second| {
            let now = began + Duration::from_secs(*second);
            let word = char::from_u32(0x4e00 + *second as u32).expect("a letter");
            trouble.should_log(now, &format!("no file {word}")).is_some()
        });
        let said: Vec<u64> = said.collect();
        assert_eq!(said[..CAUSES_MAX], [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(said[CAUSES_MAX..], [67, 127, 187, 247, 307, 367, 427, 487, 547]);
    }
}
