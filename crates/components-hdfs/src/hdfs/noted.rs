//! The directories that this process has noted in the store, so that one note serves many rolls.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ledger::{Ledger, LedgerError, NoteKind, NotedPlace, Token};

/// Maximum number of remembered directories. Further ones are noted repeatedly, which is harmless.
const KEPT_MAX: usize = 16_384;

/// Directories with a note and a file.
#[derive(Debug, Default)]
pub(super) struct Noted {
    directories: Mutex<BTreeSet<String>>,
}

impl Noted {
    /// Returns the directories that still need a note, or need one `again`, without duplicates.
    pub(super) fn new_ones(
        &self,
        places: impl Iterator<Item = NotedPlace>,
        again: impl Fn(&NotedPlace) -> bool,
    ) -> Vec<NotedPlace> {
        let known = self.directories();
        let is_due = |place: &NotedPlace| !known.contains(&place.directory) || again(place);
        let mut places: Vec<_> = places.filter(is_due).collect();
        places.sort();
        places.dedup_by(|one, other| one.directory == other.directory);
        places
    }

    /// Adds directories with a note and a file.
    pub(super) fn add(&self, places: Vec<NotedPlace>) {
        let mut known = self.directories();
        if known.len() + places.len() > KEPT_MAX {
            known.clear();
        }
        known.extend(places.into_iter().map(|place| place.directory));
    }

    fn directories(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // Poisoning is harmless: each change is one assignment.
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes for the new directories of a roll, for the reader tasks.
pub(super) struct Notes {
    /// Directories whose path contains a time, for work after its period.
    pub(super) timed: Vec<NotedPlace>,
    pub(super) kinds: Vec<NoteKind>,
    pub(super) partitions: Vec<NotedPlace>,
}

impl Notes {
    /// Writes the notes before the entry, so that no directory has files without a note.
    pub(super) async fn put(&self, ledger: &Ledger, roll: Token) -> Result<(), LedgerError> {
        let timed = self.kinds.iter().map(|kind| (*kind, &self.timed));
        let kinds = timed.chain([(NoteKind::Partition, &self.partitions)]);
        for (kind, places) in kinds.filter(|(_, places)| !places.is_empty()) {
            ledger.note(kind, roll, places).await?;
        }
        Ok(())
    }
}
