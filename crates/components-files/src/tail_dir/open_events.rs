//! Schedules reads of files with an unfinished event, if lines are joined.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::file::{File, FileId};
use super::followed::Followed;

/// Files with an unfinished event, by the time of their next read.
pub(super) struct OpenEvents {
    /// How long a file must be quiet before its last event counts as ended.
    timeout: Duration,
    due: BTreeSet<(Instant, FileId)>,
    /// Files that are in `due`.
    noted: BTreeSet<FileId>,
}

impl OpenEvents {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, due: BTreeSet::new(), noted: BTreeSet::new() }
    }

    /// Records whether the last event of a file may have further lines.
    pub(super) fn note(&mut self, id: FileId, file: &mut File, is_open: bool) {
        file.has_open_event = is_open;
        if is_open && self.noted.insert(id) {
            self.due.insert((file.quiet_since + self.timeout, id));
        }
    }

    /// Returns when the next file is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the files that have been quiet for long enough. Unreadable files become due again.
    pub(super) fn take_due(&mut self, files: &Followed, now: Instant) -> Vec<FileId> {
        let mut quiet = Vec::new();
        while let Some((at, id)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, id));
            let Some(file) = files.get(id).filter(|file| file.has_open_event) else {
                self.noted.remove(&id);
                continue;
            };
            let ends = file.quiet_since + self.timeout;
            if ends <= now {
                quiet.push(id);
            }
            self.due.insert((if ends <= now { now + self.timeout } else { ends }, id));
        }
        quiet
    }
}
