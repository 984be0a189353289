//! Committed files that are not visible yet because their directories reject them, and the batches
//! that depend on them.
//!
//! With a ledger entry, the entry delivers a batch, and its files follow. Without one, only this
//! process knows the target of a staged file, so its batches stay in the channel until it is
//! visible. Batches of other directories are delivered in the meantime.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ledger::StagedFile;
use pipeline::IntervalSet;

/// The files, by their staged path.
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
    /// Adds committed files, with the batches that wait for each.
    pub(super) fn add(&self, files: impl Iterator<Item = (StagedFile, IntervalSet)>) {
        let pending =
            |(file, tickets): (StagedFile, _)| (file.temp.clone(), Pending { file, tickets });
        self.files().extend(files.map(pending));
    }

    /// Removes the files that are not among these. Returns the batches that no longer wait for any
    /// file.
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

    /// Returns these batches without those that wait for a file.
    pub(super) fn without(&self, tickets: IntervalSet) -> IntervalSet {
        without(tickets, &self.files())
    }

    /// Removes the files that batches wait for. Returns those batches.
    pub(super) fn give_up(&self) -> IntervalSet {
        let mut given_up = IntervalSet::EMPTY;
        self.files().retain(|_, Pending { tickets, .. }| {
            given_up.insert_all(tickets);
            tickets.is_empty()
        });
        given_up
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Pending>> {
        // Poisoning is harmless: no critical section leaves partial state.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn without(mut tickets: IntervalSet, files: &BTreeMap<String, Pending>) -> IntervalSet {
    for pending in files.values() {
        tickets.remove_all(&pending.tickets);
    }
    tickets
}
