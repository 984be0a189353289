//! Turns change notifications into reads and surveys, without waiting for the clock. Regular
//! surveys find changes that the system does not report.

use std::path::Path;
use std::time::Duration;

use pipeline::env::Change;
use tokio::time::Instant;

use super::file::{File, Stage};
use super::schedule::Pauses;
use super::tailer::Tailer;

/// Longest pause between two surveys while every change is notified.
const WATCHED_PAUSE: Duration = Duration::from_secs(5);

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
