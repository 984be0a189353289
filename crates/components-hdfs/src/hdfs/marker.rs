//! Markers: an empty file in each directory that is complete, such as Hadoop's `_SUCCESS`.
//!
//! ```text
//!  the time in the path is over ─late_after─► no event is routed there any more
//!     ─margin─► the stage is read ─all that was there is gone─► marker
//! ```
//!
//! An event is late by the clock of the collector that routes it, and then goes below `late_path`.
//! So from a moment on no file for a directory is begun, and what was begun before is on the stage,
//! which all collectors of the dataset share, until it is published or deleted. Once all that was
//! there is gone, and that includes committed files that wait for a directory, nothing can come any
//! more. The stage does not say which directory a file is for, so the marker waits for all of it.
//!
//! Which directories there are is in the notes of the ledger. Every step may be done again, by any
//! collector: after a kill, what has a note is marked by the next opening.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ledger::{Ledger, LedgerError, NoteKind, NotedPlace};
use metrics::{Counter, FloatGauge};
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::due::Due;
use super::merging::unmerged;
use super::writer::{Settings, now};

/// Pause between two looks at the notes at most; it is shorter where the margin is.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// When a directory is complete, and what says so.
#[derive(Debug)]
pub(super) struct Marker {
    /// Name of the file.
    pub(super) name: String,
    /// Time from the end of what the path shows until the stage is read.
    pub(super) after: Duration,
    /// What `after` has more than `late_after`: for clocks that differ, and for the time from
    /// routing a batch to the beginning of its file.
    pub(super) margin: Duration,
    /// Markers that were made.
    pub(super) made: Counter,
    /// Directories that have none yet.
    pub(super) due: FloatGauge,
}

/// A directory that has a note.
#[derive(Debug)]
struct Unmarked {
    place: NotedPlace,
    /// What was on the stage when its time was over.
    staged: Option<Arc<BTreeSet<String>>>,
}

impl From<NotedPlace> for Unmarked {
    fn from(place: NotedPlace) -> Self {
        Self { place, staged: None }
    }
}

impl AsRef<NotedPlace> for Unmarked {
    fn as_ref(&self) -> &NotedPlace {
        &self.place
    }
}

/// The task that marks, of one opening.
pub(super) struct Marking {
    pub(super) settings: Arc<Settings>,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    due: Due<Unmarked>,
}

impl Marking {
    /// Of this ledger.
    pub(super) fn new(settings: Arc<Settings>, ledger: Arc<Mutex<Ledger>>) -> Self {
        Self { settings, ledger, due: Due::new(NoteKind::Marker) }
    }

    /// Looks again and again, until it is aborted.
    pub(super) async fn run(mut self) {
        let settings = self.settings.clone();
        let Some(marker) = &settings.marker else { return };
        loop {
            let turn = self.turn(marker).await;
            self.due.ended(&turn, "directories are not marked yet");
            sleep(PAUSE_MAX.min(marker.margin)).await;
        }
    }

    /// Marks what is complete. The ledger is held for one call at a time: commits come first.
    async fn turn(&mut self, marker: &Marker) -> Result<(), LedgerError> {
        self.due.read(&self.ledger).await?;
        let after = i64::try_from(marker.after.as_millis()).unwrap_or(i64::MAX);
        let end = now(&self.settings.env).saturating_sub(after);
        let is_over = |due: &Unmarked| self.settings.rules.is_over(due.place.at, end);
        if self.due.iter().any(is_over) {
            self.mark(marker, end).await?;
        }
        marker.due.set(self.due.directories() as f64);
        Ok(())
    }

    /// Marks those whose time was over at `end`, in milliseconds since 1970.
    async fn mark(&mut self, marker: &Marker, end: i64) -> Result<(), LedgerError> {
        let staged = Arc::new(self.ledger.lock().await.staged_files().await?);
        // A job that begins by a marker finds the files that it has listed.
        let unmerged = match &self.settings.compact {
            Some(_) => unmerged(&self.ledger).await?,
            None => BTreeSet::new(),
        };
        for all in self.due.lists() {
            let mut waiting = Vec::new();
            for mut due in std::mem::take(all) {
                if !self.settings.rules.is_over(due.place.at, end) {
                    waiting.push(due);
                    continue;
                }
                let before = due.staged.get_or_insert_with(|| staged.clone());
                if !before.is_disjoint(&staged) || unmerged.contains(&due.place.directory) {
                    waiting.push(due);
                    continue;
                }
                let ledger = self.ledger.lock().await;
                let directory = &due.place.directory;
                // A roll that failed after its note leaves none: its events are elsewhere.
                let marked = match ledger.has_files(directory).await {
                    Ok(true) => ledger.mark(directory, &marker.name).await,
                    Ok(false) => Ok(false),
                    Err(error) => Err(error),
                };
                match marked {
                    Ok(true) => {
                        marker.made.inc();
                        tracing::info!(directory, marker = marker.name, "directory is complete");
                    }
                    Ok(false) => {}
                    Err(error) => {
                        tracing::debug!(directory, %error, "directory is not marked yet");
                        waiting.push(due);
                    }
                }
            }
            *all = waiting;
        }
        self.due.remove_done(&self.ledger).await
    }
}
