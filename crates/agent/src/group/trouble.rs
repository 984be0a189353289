//! How long a sink has been failing, and when that is said: at first, when it fails otherwise than
//! before, and now and then while it goes on. Not with each try, of which there is one every few
//! seconds; but whoever looks at the log of the last hour finds why nothing is delivered.

use std::time::Duration;

use tokio::time::Instant;

/// Least time between two words about the same failure.
const SAME_AFTER: Duration = Duration::from_secs(10 * 60);
/// Least time between two words about different ones, which may take turns.
const OTHER_AFTER: Duration = Duration::from_secs(60);

/// The failures of a sink since it last worked.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    failures: u32,
    began: Option<Instant>,
    /// When it was said last, and what.
    said: Option<(Instant, String)>,
}

impl Trouble {
    /// How often it failed.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// It failed once more.
    pub(super) fn count(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.began.get_or_insert(now);
    }

    /// How long it has been failing.
    pub(super) fn lasts(&self, now: Instant) -> Duration {
        self.began.map_or(Duration::ZERO, |began| now.duration_since(began))
    }

    /// Whether this failure is to be said now; if so, it counts as said.
    pub(super) fn is_to_be_said(&mut self, now: Instant, error: &str) -> bool {
        let is_due = self.said.as_ref().is_none_or(|(at, said)| {
            let pause = if said == error { SAME_AFTER } else { OTHER_AFTER };
            now.duration_since(*at) >= pause
        });
        if is_due {
            self.said = Some((now, error.to_owned()));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_failure_is_said_every_ten_minutes_and_another_one_after_a_minute() {
        let began = Instant::now();
        let mut trouble = Trouble::default();
        let mut said = Vec::new();
        for second in (0..3_000).step_by(5) {
            let now = began + Duration::from_secs(second);
            let error = if second < 1_000 { "refused" } else { "no space" };
            trouble.count(now);
            if trouble.is_to_be_said(now, error) {
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
        assert_eq!(trouble.failures(), 600);
        assert_eq!(trouble.lasts(began + Duration::from_secs(3_000)).as_secs(), 3_000);
    }

    #[test]
    fn failures_that_take_turns_are_said_once_a_minute() {
        let began = Instant::now();
        let mut trouble = Trouble::default();
        let said = (0..600).filter(|second| {
            let error = if second % 2 == 0 { "refused" } else { "no space" };
            trouble.is_to_be_said(began + Duration::from_secs(*second), error)
        });
        assert_eq!(said.count(), 10);
    }
}
