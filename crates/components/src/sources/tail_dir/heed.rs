//! Changes that are told: which file to read, and when to look around, without waiting for the
//! clock. What is not told is found by the surveys that go on all the same.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use pipeline::env::Change;
use tokio::time::Instant;

use super::file::{File, Stage};
use super::tailer::Tailer;

/// Longest pause between two surveys while every change is told.
const WATCHED_PAUSE: Duration = Duration::from_secs(5);

/// Pauses between two surveys.
pub(super) struct Pauses {
    /// After one that found something to read.
    pub(super) busy: Duration,
    /// The longest.
    pub(super) longest: Duration,
    /// Whether every change is told.
    pub(super) told: bool,
}

impl Tailer {
    /// Takes note of a change: a file that is followed is read, anything else is looked at.
    pub(super) fn heed(&mut self, change: &Change, now: Instant) {
        match change {
            Change::Content(path) => match self.by_place.get(path) {
                Some(id) => self.queue(*id),
                None if self.would_find(path) => self.survey_when_allowed(now),
                None => {}
            },
            Change::Moved { from, to, .. } => self.note_move(from, to),
            Change::Name(_) | Change::Uncounted => self.survey_when_allowed(now),
        }
    }

    fn survey_when_allowed(&mut self, now: Instant) {
        self.next_survey = self.next_survey.min(self.earliest_survey.max(now));
    }

    /// Whether a survey would find a file that lies there.
    pub(super) fn would_find(&self, path: &Path) -> bool {
        self.options.patterns.iter().any(|pattern| pattern.matches(path)) && !self.is_excluded(path)
    }

    /// After a survey: has the directories watched in which something may change, and says how
    /// soon the next survey has to come.
    pub(super) fn look_on(&mut self) -> Pauses {
        let (poll_min, poll_max) = (self.options.poll_min, self.options.poll_max);
        let polling = Pauses { busy: poll_min, longest: poll_max, told: false };
        let Some(watch) = &self.watch else { return polling };
        if std::mem::take(&mut self.places_changed) {
            self.by_place = self.files.iter().map(|(id, file)| (file.place.clone(), *id)).collect();
        }
        let mut seen = OsStr::new("");
        for file in self.files.values() {
            let Some(directory) = file.place.parent() else { continue };
            // Of the files of one directory, most stand one behind the other.
            if directory.as_os_str() == seen {
                continue;
            }
            seen = directory.as_os_str();
            // A link leads elsewhere.
            if self.directories.get(directory) != Some(&true) {
                self.directories.insert(directory.to_owned(), true);
            }
        }
        match watch.look_at(&self.directories) {
            // Between the survey and this moment something may have changed there.
            Ok(sight) if sight.new => Pauses { longest: poll_min, ..polling },
            Ok(sight) if sight.blind || !self.is_calm() => polling,
            Ok(_) => Pauses { busy: poll_max, longest: poll_max.max(WATCHED_PAUSE), told: true },
            Err(error) => {
                tracing::warn!(source = %self.source, %error,
                    "changes are not told here; looking for them all the time");
                self.watch = None;
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
        self.held.is_empty() && self.problems.is_empty() && self.files.values().all(calm)
    }
}
