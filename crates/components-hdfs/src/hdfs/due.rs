//! Work of a task for the directories that have a note; used for markers and merges. Any collector
//! may do it, and all steps are idempotent.

use std::collections::{BTreeMap, BTreeSet};

use ledger::{Ledger, LedgerError, NoteKind, NotedPlace};
use tokio::sync::Mutex;

/// Directories with remaining work, by the name of their note.
pub(super) struct Due<T> {
    kind: NoteKind,
    notes: BTreeMap<String, Vec<T>>,
    /// Whether the last turn failed.
    failed: bool,
}

impl<T: From<NotedPlace> + AsRef<NotedPlace>> Due<T> {
    /// Creates an empty list.
    pub(super) fn new(kind: NoteKind) -> Self {
        Self { kind, notes: BTreeMap::new(), failed: false }
    }

    /// Reads new notes, and drops those that another collector has removed.
    pub(super) async fn read(&mut self, ledger: &Mutex<Ledger>) -> Result<(), LedgerError> {
        let notes: BTreeSet<String> =
            ledger.lock().await.notes(self.kind).await?.into_iter().collect();
        self.notes.retain(|note, _| notes.contains(note));
        for note in notes {
            if !self.notes.contains_key(&note) {
                let places = ledger.lock().await.noted(self.kind, &note).await?;
                self.notes.insert(note, places.into_iter().map(T::from).collect());
            }
        }
        Ok(())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.notes.values().flatten()
    }

    /// Iterates over the work of each note. Removed items are done.
    pub(super) fn lists(&mut self) -> impl Iterator<Item = &mut Vec<T>> {
        self.notes.values_mut()
    }

    /// Removes the notes without remaining work.
    pub(super) async fn remove_done(&mut self, ledger: &Mutex<Ledger>) -> Result<(), LedgerError> {
        let done = self.notes.iter().filter(|(_, due)| due.is_empty());
        let done: Vec<String> = done.map(|(note, _)| note.clone()).collect();
        for note in done {
            ledger.lock().await.remove_note(self.kind, &note).await?;
            self.notes.remove(&note);
        }
        Ok(())
    }

    /// Returns the number of directories.
    pub(super) fn directories(&self) -> usize {
        let all = self.iter().map(|due| due.as_ref().directory.as_str());
        all.collect::<BTreeSet<_>>().len()
    }

    /// Logs a failed turn with `left`: the first one of a series as a warning.
    pub(super) fn ended(&mut self, turn: &Result<(), LedgerError>, left: &str) {
        match turn {
            Ok(()) => {}
            Err(error) if self.failed => tracing::debug!(%error, "{left}"),
            Err(error) => {
                let error = error as &dyn std::error::Error;
                tracing::warn!(
                    error,
                    "{left}; no event is lost; retrying; fix the cause in `error`"
                );
            }
        }
        self.failed = turn.is_err();
    }
}
