//! Changes that are notified: which file to read, and when to look around, without waiting for the
//! clock. What is not told is found by the surveys that go on all the same.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pipeline::env::{Change, Watch};
use tokio::time::Instant;

use super::file::{File, Stage};
use super::followed::Followed;
use super::schedule::Pauses;
use super::tailer::Tailer;

/// Longest pause between two surveys while every change is notified.
const WATCHED_PAUSE: Duration = Duration::from_secs(5);

/// What tells of changes, and where.
pub(super) struct Watched {
    /// Nothing, where there is no such thing.
    watch: Option<Arc<dyn Watch>>,
    /// Directories that the last survey looked into; `true` = for files.
    directories: BTreeMap<PathBuf, bool>,
}

impl Watched {
    /// Nothing was surveyed yet.
    pub(super) fn new(watch: Option<Arc<dyn Watch>>) -> Self {
        Self { watch, directories: BTreeMap::new() }
    }

    /// A survey looked into these.
    pub(super) fn surveyed(&mut self, directories: BTreeMap<PathBuf, bool>) {
        self.directories = directories;
    }

    /// Adds the directories that the files lie in: a link leads elsewhere.
    fn add_places(&mut self, files: &Followed) {
        let mut seen = OsStr::new("");
        for (_, file) in files.iter() {
            let Some(directory) = file.place.parent() else { continue };
            // Of the files of one directory, most stand one behind the other.
            if directory.as_os_str() == seen {
                continue;
            }
            seen = directory.as_os_str();
            if self.directories.get(directory) != Some(&true) {
                self.directories.insert(directory.to_owned(), true);
            }
        }
    }
}

impl Tailer {
    /// Takes note of a change: a file that is followed is read, anything else is looked at.
    pub(super) fn on_change(&mut self, change: &Change, now: Instant) {
        match change {
            Change::Content(path) => match self.files.at_place(path) {
                Some(id) => self.queue(id),
                None if self.would_find(path) => self.schedule.when_allowed(now),
                None => {}
            },
            Change::Moved { from, to, .. } => self.note_move(from, to),
            Change::Name(_) | Change::Uncounted => self.schedule.when_allowed(now),
        }
    }

    /// Whether a survey would find a file that lies there.
    pub(super) fn would_find(&self, path: &Path) -> bool {
        self.options.patterns.iter().any(|pattern| pattern.matches(path)) && !self.is_excluded(path)
    }

    /// After a survey: has the directories watched in which something may change, and says how
    /// soon the next survey has to come.
    pub(super) fn rearm_watches(&mut self) -> Pauses {
        let (poll_min, poll_max) = (self.options.poll_min, self.options.poll_max);
        let polling = Pauses { busy: poll_min, longest: poll_max, told: false };
        let Some(watch) = self.watched.watch.clone() else { return polling };
        self.files.note_places();
        self.watched.add_places(&self.files);
        match watch.look_at(&self.watched.directories) {
            // Between the survey and this moment something may have changed there.
            Ok(sight) if sight.new => Pauses { longest: poll_min, ..polling },
            Ok(sight) if sight.blind || !self.is_calm() => polling,
            Ok(_) => Pauses { busy: poll_max, longest: poll_max.max(WATCHED_PAUSE), told: true },
            Err(error) => {
                tracing::warn!(source = %self.source, %error,
                    "changes are not told here; looking for them all the time");
                self.watched.watch = None;
                polling
            }
        }
    }

    /// Whether nothing is to be decided that only time tells.
    fn is_calm(&self) -> bool {
        let calm = |file: &File| match file.stage {
            Stage::Here => file.problem.is_none(),
            Stage::Unnamed { .. } => true,
            Stage::Away { .. } | Stage::Lost { .. } | Stage::Leaving => false,
        };
        self.seen.is_calm() && self.files.iter().all(|(_, file)| calm(file))
    }
}
