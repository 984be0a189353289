//! Committed files that are not visible yet, because their directories refuse them, and the batches
//! that are delivered only once they are.
//!
//! With a ledger entry a batch is delivered by the entry, and its files follow. Without one,
//! nothing but this process knows where a staged file belongs, so its batches stay in the channel
//! until it is visible. Those of the other directories are delivered meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ledger::StagedFile;
use pipeline::IntervalSet;

/// The files, by where they are staged.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    files: Mutex<BTreeMap<String, Pending>>,
}

#[derive(Debug)]
struct Pending {
    file: StagedFile,
    /// The batches that wait for it.
    tickets: IntervalSet,
}

impl Waiting {
    /// These files are committed, with the batches that wait for each.
    pub(super) fn add(&self, files: impl Iterator<Item = (StagedFile, IntervalSet)>) {
        let pending =
            |(file, tickets): (StagedFile, _)| (file.temp.clone(), Pending { file, tickets });
        self.files().extend(files.map(pending));
    }

    /// Takes out the files that are not among these; and the batches that wait for none any more.
    pub(super) fn take_visible<'a>(
        &self,
        waiting: impl Iterator<Item = &'a str>,
    ) -> (Vec<StagedFile>, IntervalSet) {
        let waiting: BTreeSet<&str> = waiting.collect();
        let (mut visible, mut delivered) = (Vec::new(), IntervalSet::EMPTY);
        let mut files = self.files();
        files.retain(|temp, Pending { file, tickets }| {
            let waits = waiting.contains(temp.as_str());
            if !waits {
                visible.push(file.clone());
                delivered.insert_all(tickets);
            }
            waits
        });
        (visible, without(delivered, &files))
    }

    /// Of these batches those that wait for no file.
    pub(super) fn without(&self, tickets: IntervalSet) -> IntervalSet {
        without(tickets, &self.files())
    }

    /// Takes out the files that batches wait for; answers those batches.
    pub(super) fn give_up(&self) -> IntervalSet {
        let mut given_up = IntervalSet::EMPTY;
        self.files().retain(|_, Pending { tickets, .. }| {
            given_up.insert_all(tickets);
            tickets.is_empty()
        });
        given_up
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Pending>> {
        // Nothing is left half done under the lock, so a panic elsewhere does no harm here.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn without(mut tickets: IntervalSet, files: &BTreeMap<String, Pending>) -> IntervalSet {
    for pending in files.values() {
        tickets.remove_all(&pending.tickets);
    }
    tickets
}
