//! Turns change notifications into reads and surveys, without waiting for the clock. Regular
//! surveys find changes that the system does not report.

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

/// The notifications, and the directories that they cover.
pub(super) struct Watched {
    /// `None` if the system has no notifications.
    watch: Option<Arc<dyn Watch>>,
    /// Directories that the last survey looked into; `true` = for files.
    directories: BTreeMap<PathBuf, bool>,
}

impl Watched {
    /// Creates the state before the first survey.
    pub(super) fn new(watch: Option<Arc<dyn Watch>>) -> Self {
        Self { watch, directories: BTreeMap::new() }
    }

    /// Sets the directories that a survey looked into.
    pub(super) fn surveyed(&mut self, directories: BTreeMap<PathBuf, bool>) {
        self.directories = directories;
    }

    /// Adds the directories that contain the files; they differ for links.
    fn add_places(&mut self, files: &Followed) {
        let mut seen = OsStr::new("");
        for (_, file) in files.iter() {
            let Some(directory) = file.place.parent() else { continue };
            // Files of one directory mostly follow one another.
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
    /// Handles a change: reads a followed file, or schedules a survey.
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

    /// Returns true if a survey would find a file at this path.
    pub(super) fn would_find(&self, path: &Path) -> bool {
        self.options.patterns.iter().any(|pattern| pattern.matches(path)) && !self.is_excluded(path)
    }

    /// After a survey: watches the directories that can change, and returns the pauses until the
    /// next survey.
    pub(super) fn rearm_watches(&mut self) -> Pauses {
        let (poll_min, poll_max) = (self.options.poll_min, self.options.poll_max);
        let polling = Pauses { busy: poll_min, longest: poll_max, told: false };
        let Some(watch) = self.watched.watch.clone() else { return polling };
        self.files.note_places();
        self.watched.add_places(&self.files);
        match watch.set_directories(&self.watched.directories) {
            // Something may have changed between the survey and this moment.
            Ok(sight) if sight.new => Pauses { longest: poll_min, ..polling },
            Ok(sight) if sight.blind || !self.is_calm() => polling,
            Ok(_) => Pauses { busy: poll_max, longest: poll_max.max(WATCHED_PAUSE), told: true },
            Err(error) => {
                tracing::warn!(source = %self.source, %error,
                    "file change notifications failed; polling the files instead; no event is \
                     lost, no action needed");
                self.watched.watch = None;
                polling
            }
        }
    }

    /// Returns true if no decision waits for time to pass.
    fn is_calm(&self) -> bool {
        let calm = |file: &File| match file.stage {
            Stage::Here => file.problem.is_none(),
            Stage::Unnamed { .. } => true,
            Stage::Away { .. } | Stage::Lost { .. } | Stage::Leaving => false,
        };
        self.seen.is_calm() && self.files.iter().all(|(_, file)| calm(file))
    }
}
