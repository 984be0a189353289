//! State of the log lines about files and patterns: what was logged, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::glob::PassedOver;

/// Maximum number of lines of one kind per minute.
pub(super) const LINES_MAX: u32 = 10;
pub(super) const MINUTE: Duration = Duration::from_secs(60);
/// Delay until a pattern without files is reported, and the pauses between further reports.
pub(super) const UNMATCHED_AFTER: [Duration; 4] = [
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(60 * 60),
];

/// Counts log lines of one kind.
#[derive(Debug, Default)]
pub(super) struct Quota {
    pub(super) since: Option<Instant>,
    pub(super) said: u32,
    pub(super) unsaid: u64,
    /// True if the number of suppressed lines was logged in this minute.
    pub(super) is_summed: bool,
}

impl Quota {
    /// Returns true if another line may be logged; counts it otherwise.
    pub(super) fn may_say(&mut self, now: Instant) -> bool {
        let is_over = |since: Instant| now.duration_since(since) >= MINUTE;
        if self.since.is_none_or(is_over) {
            (self.since, self.said, self.is_summed) = (Some(now), 0, false);
        }
        let may = self.said < LINES_MAX;
        if may {
            self.said += 1;
        } else {
            self.unsaid += 1;
        }
        may
    }

    /// Takes the number of suppressed lines, at most once per minute.
    pub(super) fn rest(&mut self, now: Instant) -> Option<u64> {
        let is_over = self.since.is_some_and(|since| now.duration_since(since) >= MINUTE);
        if self.unsaid == 0 || (self.is_summed && !is_over) {
            return None;
        }
        (self.since, self.is_summed) = (Some(now), true);
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// A pattern that no file has matched yet.
#[derive(Debug)]
pub(super) struct Unmatched {
    pub(super) matched: bool,
    /// Time of the next report, and number of reports.
    pub(super) next: Instant,
    pub(super) reports: usize,
}

/// State of the log lines.
pub(super) struct Report {
    pub(super) followed: Quota,
    pub(super) missing: Quota,
    pub(super) linked: Quota,
    /// Time of the last line about the limit of open files.
    pub(super) out_of_files: Option<Instant>,
    /// Matching names that are not followed, as of the last survey.
    pub(super) passed_over: BTreeMap<PathBuf, PassedOver>,
    pub(super) has_said_compressed: bool,
    /// Links to directories that the walk followed.
    pub(super) links: BTreeSet<PathBuf>,
    pub(super) patterns: Vec<Unmatched>,
    pub(super) began: Instant,
}

/// Reason why a file is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The file is new.
    New,
    /// Flume read the file.
    ReadByFlume,
    /// An earlier run read it, or it reappeared.
    Known,
    /// It was renamed.
    Renamed,
    /// It contains the content of another file that was truncated or removed.
    Copied,
}

impl Report {
    pub(super) fn new(patterns: usize, now: Instant) -> Self {
        let unmatched = || Unmatched { matched: false, next: now + UNMATCHED_AFTER[0], reports: 0 };
        Self {
            followed: Quota::default(),
            missing: Quota::default(),
            linked: Quota::default(),
            out_of_files: None,
            passed_over: BTreeMap::new(),
            has_said_compressed: false,
            links: BTreeSet::new(),
            patterns: (0..patterns).map(|_| unmatched()).collect(),
            began: now,
        }
    }

    /// Iterates over the indexes of patterns that no file ever matched.
    pub(super) fn unmatched(&self) -> impl Iterator<Item = usize> {
        let patterns = self.patterns.iter().enumerate();
        patterns.filter(|(_, pattern)| !pattern.matched).map(|(index, _)| index)
    }

    /// Returns for each pattern whether a file ever matched it.
    pub(super) fn patterns(&mut self) -> impl Iterator<Item = &mut bool> {
        self.patterns.iter_mut().map(|pattern| &mut pattern.matched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_a_few_lines_a_minute_and_then_the_number_of_others() {
        let now = Instant::now();
        let mut quota = Quota::default();
        let said = (0..5_000).filter(|_| quota.may_say(now)).count();
        assert_eq!((said, quota.rest(now)), (10, Some(4_990)));
        assert!(!quota.may_say(now + MINUTE / 2));
        assert_eq!(quota.rest(now + MINUTE / 2), None, "once a minute");
        assert_eq!(quota.rest(now + MINUTE), Some(1));
        assert!(quota.may_say(now + MINUTE * 2 + MINUTE));
        assert_eq!(quota.rest(now + MINUTE * 9), None, "all was said");
    }
}
