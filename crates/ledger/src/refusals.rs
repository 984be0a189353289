//! Directories that refuse committed files, and when the next attempt is due. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

/// Pauses between two attempts for waiting files: the first, which doubles, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Directories that refuse files, and the time of the next attempt.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusals {
    /// Directories that refused at the last attempt, below the prefix.
    pub(super) directories: BTreeSet<String>,
    /// Tries in a row after which some file still waited.
    pub(super) tries: u32,
    /// When the next one is due; `None` while nothing waits.
    pub(super) due: Option<Instant>,
    /// The error of the last refusal, for the operator.
    pub(super) cause: String,
}

impl Refusals {
    /// Schedules the next attempt after these refusals, given the previous schedule.
    pub(super) fn wait(&mut self, before: Self, now: Instant) {
        let was_due = before.due.is_none_or(|due| due <= now);
        if !was_due {
            self.directories.extend(before.directories);
        }
        self.tries = before.tries + u32::from(was_due);
        let pause = RETRY.0.saturating_mul(1 << self.tries.saturating_sub(1).min(5)).min(RETRY.1);
        self.due = before.due.filter(|_| !was_due).or(Some(now + pause));
    }
}
