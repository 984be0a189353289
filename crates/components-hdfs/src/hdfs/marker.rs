//! Markers: an empty file in each complete directory, such as Hadoop's `_SUCCESS`.
//!
//! ```text
//!  the time in the path is over ─late_after─► no event is routed there any more
//!     ─margin─► the stage is listed ─all listed files are gone─► marker
//! ```
//!
//! An event is late by the clock of the collector that routes it, and then goes below `late_path`.
//! So from some moment on, no new file for a directory is started. Files started earlier are on the
//! stage, which all collectors of the dataset share, until they are published or deleted. When all
//! of them are gone, including committed files that wait for a directory, the directory is
//! complete. The stage does not tell the directory of a file, so the marker waits for all files.
//!
//! The notes of the ledger list the directories. All steps are idempotent, for any collector: after
//! a kill, the next opening marks the directories with a note.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ledger::{Ledger, LedgerError, NoteKind, NotedPlace};
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::due::Due;
use super::merging::unmerged;
use super::settings::{Marker, Settings, now};

/// Maximum pause between reads of the notes; a shorter margin shortens it.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A directory with a note.
#[derive(Debug)]
struct Unmarked {
    place: NotedPlace,
    /// The files on the stage when its period was over.
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

/// The marker task of one opening.
pub(super) struct Marking {
    pub(super) settings: Arc<Settings>,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    due: Due<Unmarked>,
}

impl Marking {
    /// Creates the task for this ledger.
    pub(super) fn new(settings: Arc<Settings>, ledger: Arc<Mutex<Ledger>>) -> Self {
        Self { settings, ledger, due: Due::new(NoteKind::Marker) }
    }

    /// Works periodically until it is aborted.
    pub(super) async fn run(mut self) {
        let settings = self.settings.clone();
        let Some(marker) = &settings.marker else { return };
        loop {
            let turn = self.turn(marker).await;
            self.due.ended(&turn, "cannot write the success markers of complete directories");
            sleep(PAUSE_MAX.min(marker.margin)).await;
        }
    }

    /// Marks complete directories. Locks the ledger for one call at a time, so that commits come
    /// first.
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

    /// Marks the directories whose period was over at `end`, in milliseconds since 1970.
    async fn mark(&mut self, marker: &Marker, end: i64) -> Result<(), LedgerError> {
        let staged = Arc::new(self.ledger.lock().await.staged_files().await?);
        // A job that starts at a marker must not see its listed files disappear.
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
                // Skip directories without files: their roll failed after the note, and its events
                // are elsewhere.
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
                        tracing::debug!(directory, %error, "cannot mark the complete directory");
                        waiting.push(due);
                    }
                }
            }
            *all = waiting;
        }
        self.due.remove_done(&self.ledger).await
    }
}
