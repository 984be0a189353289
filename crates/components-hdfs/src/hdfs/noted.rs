//! The directories that this process has noted in the store, so that one note serves many rolls.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ledger::{Ledger, LedgerError, NoteKind, NotedPlace, Token};

/// As many directories are kept in mind; one more than that is noted again, which does no harm.
const KEPT_MAX: usize = 16_384;

/// Directories with a note and a file.
#[derive(Debug, Default)]
pub(super) struct Noted {
    directories: Mutex<BTreeSet<String>>,
}

impl Noted {
    /// Of these the ones that have to be noted, each once.
    pub(super) fn new_ones(&self, places: impl Iterator<Item = NotedPlace>) -> Vec<NotedPlace> {
        let known = self.directories();
        let mut places: Vec<_> = places.filter(|place| !known.contains(&place.directory)).collect();
        places.sort();
        places.dedup_by(|one, other| one.directory == other.directory);
        places
    }

    /// These are noted, and have a file.
    pub(super) fn add(&self, places: Vec<NotedPlace>) {
        let mut known = self.directories();
        if known.len() + places.len() > KEPT_MAX {
            known.clear();
        }
        known.extend(places.into_iter().map(|place| place.directory));
    }

    fn directories(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // Each change is one assignment.
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The new directories of a roll, for what is done later for their readers.
pub(super) struct Notes {
    /// Those of which the path shows a time, and what is done once it is over.
    pub(super) timed: Vec<NotedPlace>,
    pub(super) kinds: Vec<NoteKind>,
    pub(super) partitions: Vec<NotedPlace>,
}

impl Notes {
    /// Before the entry, so that no directory has files without a note.
    pub(super) async fn put(&self, ledger: &Ledger, roll: Token) -> Result<(), LedgerError> {
        let timed = self.kinds.iter().map(|kind| (*kind, &self.timed));
        let kinds = timed.chain([(NoteKind::Partition, &self.partitions)]);
        for (kind, places) in kinds.filter(|(_, places)| !places.is_empty()) {
            ledger.note(kind, roll, places).await?;
        }
        Ok(())
    }
}
