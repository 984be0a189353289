//! What a task has left to do for the directories that have a note: markers and merges have this in
//! common. Any collector may do it, and every step may be done again.

use std::collections::{BTreeMap, BTreeSet};

use ledger::{Ledger, LedgerError, NoteKind, NotedPlace};
use tokio::sync::Mutex;

/// Directories of which something is left to do, by the name of their note.
pub(super) struct Due<T> {
    kind: NoteKind,
    notes: BTreeMap<String, Vec<T>>,
    /// Whether the last turn has failed.
    failed: bool,
}

impl<T: From<NotedPlace> + AsRef<NotedPlace>> Due<T> {
    /// Nothing is read yet.
    pub(super) fn new(kind: NoteKind) -> Self {
        Self { kind, notes: BTreeMap::new(), failed: false }
    }

    /// Takes in new notes, and forgets those that another collector has removed.
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

    /// Those of each note; what is taken out is done.
    pub(super) fn lists(&mut self) -> impl Iterator<Item = &mut Vec<T>> {
        self.notes.values_mut()
    }

    /// Removes the notes of which nothing is left.
    pub(super) async fn remove_done(&mut self, ledger: &Mutex<Ledger>) -> Result<(), LedgerError> {
        let done = self.notes.iter().filter(|(_, due)| due.is_empty());
        let done: Vec<String> = done.map(|(note, _)| note.clone()).collect();
        for note in done {
            ledger.lock().await.remove_note(self.kind, &note).await?;
            self.notes.remove(&note);
        }
        Ok(())
    }

    /// How many directories there are.
    pub(super) fn directories(&self) -> usize {
        let all = self.iter().map(|due| due.as_ref().directory.as_str());
        all.collect::<BTreeSet<_>>().len()
    }

    /// Logs a turn that has failed, `left` with it: only the first of a row as a warning.
    pub(super) fn ended(&mut self, turn: &Result<(), LedgerError>, left: &str) {
        match turn {
            Ok(()) => {}
            Err(error) if self.failed => tracing::debug!(%error, "{left}"),
            Err(error) => {
                let error = error as &dyn std::error::Error;
                tracing::warn!(error, "{left}; it is tried again");
            }
        }
        self.failed = turn.is_err();
    }
}
