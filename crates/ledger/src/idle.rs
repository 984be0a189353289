//! Finds starts of other collectors that may be dead: their stage has not changed for a long time.
//! Pure: takes listings, returns suspects.
//!
//! Correctness does not depend on the guess. A collector that is fenced wrongly takes a new
//! incarnation and writes its uncommitted batches again; the time only limits how often this
//! happens. It is measured on this process's own clock, so no two clocks are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::dataset::WriterId;

/// The contents of other collectors' stages, and since when they have them.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    seen: BTreeMap<WriterId, Sighting>,
    looked: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Sighting {
    files: BTreeSet<String>,
    since: Instant,
}

/// Number of checks within the time after which a stage counts as abandoned.
const CHECKS: u32 = 4;

impl Watch {
    /// Returns `true` if a check is due.
    pub(super) fn is_due(&self, now: Instant, quiet: Duration) -> bool {
        self.looked.is_none_or(|looked| now.duration_since(looked) >= quiet / CHECKS)
    }

    /// Records the contents of the stages at `now`; returns starts whose non-empty stage has not
    /// changed for `quiet`. File names are enough: a live start creates, renames and deletes files.
    pub(super) fn observe(
        &mut self,
        stages: BTreeMap<WriterId, BTreeSet<String>>,
        now: Instant,
        quiet: Duration,
    ) -> Vec<WriterId> {
        self.looked = Some(now);
        let mut before = std::mem::take(&mut self.seen);
        for (author, files) in stages {
            let same = before.remove(&author).filter(|sighting| sighting.files == files);
            self.seen.insert(author, same.unwrap_or(Sighting { files, since: now }));
        }
        let suspects = self.seen.iter().filter(|(_, sighting)| {
            !sighting.files.is_empty() && now.duration_since(sighting.since) >= quiet
        });
        suspects.map(|(author, _)| *author).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Token;
    use super::*;

    const QUIET: Duration = Duration::from_secs(100);

    fn stages(of: &[(u8, &[&str])]) -> BTreeMap<WriterId, BTreeSet<String>> {
        let stage = |(n, files): &(u8, &[&str])| {
            (author(*n), files.iter().map(|name| (*name).to_owned()).collect())
        };
        of.iter().map(stage).collect()
    }

    fn author(n: u8) -> WriterId {
        WriterId { collector: Token([n; 16]), incarnation: Token([n; 16]) }
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_stage_that_holds_the_same_files_for_long_is_suspected() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let at = |secs| start + Duration::from_secs(secs);
        assert!(watch.is_due(start, QUIET));
        let first = stages(&[(1, &["a"]), (2, &["a"]), (3, &[])]);
        assert!(watch.observe(first, at(0), QUIET).is_empty());
        assert!(!watch.is_due(at(24), QUIET) && watch.is_due(at(25), QUIET));
        let changed = stages(&[(1, &["a"]), (2, &["b"]), (3, &[])]);
        assert!(watch.observe(changed.clone(), at(99), QUIET).is_empty());
        assert_eq!(watch.observe(changed.clone(), at(100), QUIET), [author(1)]);
        assert_eq!(watch.observe(changed, at(199), QUIET), [author(1), author(2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_came_back_is_watched_anew() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let one = || stages(&[(1, &["a"])]);
        watch.observe(one(), start, QUIET);
        watch.observe(stages(&[]), start + QUIET / 2, QUIET);
        assert!(watch.observe(one(), start + QUIET, QUIET).is_empty());
    }
}
