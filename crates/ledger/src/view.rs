//! The sum of the entries read so far. Pure: takes entries, answers queries.

use std::collections::BTreeSet;
use std::ops::{Add, Sub};

use pipeline::{Epoch, Floors, Identity, KeySet, Origin};
use support::mutant;

use super::carried::Carried;
use super::dataset::WriterId;
use super::entry::{Entry, Kind, StagedFile};
use super::merge::{Merge, Merges};

/// The contents of a ledger's entries, up to [`View::next`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    generation: u64,
    first: u64,
    next: u64,
    settled: Settled,
    fenced: BTreeSet<WriterId>,
    totals: Totals,
    merges: Merges,
    sealed: bool,
    carried: Carried,
}

/// The batches that a ledger knows as delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Batches that entries name.
    pub keys: KeySet,
    /// All of the epochs below: their entries are forgotten.
    pub floors: Floors,
}

impl Settled {
    /// Returns `true` if this batch is delivered.
    pub fn contains(&self, key: Identity) -> bool {
        self.is_closed(key) || self.keys.contains(key)
    }

    /// Returns `true` if this batch is of a closed epoch: a new arrival of it is a stray copy.
    pub fn is_closed(&self, key: Identity) -> bool {
        self.floors.is_closed(key)
    }

    /// Closes epochs: their batches need not be named any more. Ignores origins without a committed
    /// batch here, because there is nothing to forget of them.
    pub(super) fn close(&mut self, floors: &Floors) {
        let before = mutant!("floor_not_made").then(|| self.floors.clone());
        let committed: BTreeSet<Origin> = self.keys.iter().map(|(origin, ..)| origin).collect();
        for (origin, epoch) in floors.iter() {
            if committed.contains(&origin) || self.floors.of(origin) > Epoch(0) {
                self.floors.raise(origin, epoch);
            }
        }
        let closed = self.floors.closed_of(&self.keys);
        self.keys.remove_all(&closed);
        if let Some(before) = before {
            self.floors = before;
        }
    }
}

/// Sums over every file that was ever committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Events in them.
    pub events: u64,
}

impl Totals {
    /// The sums over the files of one entry.
    pub fn from_staged(files: &[StagedFile]) -> Self {
        files.iter().fold(Self::default(), |sum, file| {
            sum + Self { files: 1, bytes: file.len, events: file.events }
        })
    }
}

impl Sub for Totals {
    type Output = Self;

    fn sub(self, less: Self) -> Self {
        Self {
            files: self.files - less.files,
            bytes: self.bytes - less.bytes,
            events: self.events - less.events,
        }
    }
}

impl Add for Totals {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self {
            files: self.files + more.files,
            bytes: self.bytes + more.bytes,
            events: self.events + more.events,
        }
    }
}

impl View {
    /// The view of generation `generation` before its first entry was read.
    pub fn new(generation: u64) -> Self {
        Self { generation, ..Self::default() }
    }

    /// The view of a generation that begins, at entry `first`, with a checkpoint.
    pub(super) fn resumed(
        (generation, first): (u64, u64),
        settled: Settled,
        fenced: BTreeSet<WriterId>,
        totals: Totals,
        merges: Merges,
    ) -> Self {
        let carried = Carried { from: first, ..Carried::default() };
        let (next, sealed) = (first, false);
        Self { generation, first, next, settled, fenced, totals, merges, sealed, carried }
    }

    /// Adds the files of earlier entries that a table lacks.
    pub(super) fn carry(&mut self, carried: Carried) {
        self.carried = carried;
    }

    /// Returns the files of earlier entries that a table lacks.
    pub(super) fn carried(&self) -> &Carried {
        &self.carried
    }

    /// The generation that the entries are of.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Index of the first entry not read yet.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Index of the first entry of this generation.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Entries of this generation that were read.
    pub fn entries(&self) -> u64 {
        self.next - self.first
    }

    /// Adds the next entry.
    ///
    /// # Panics
    /// If it is not the next one: entries are read in order and without gaps.
    pub fn absorb(&mut self, entry: &Entry) {
        match &entry.kind {
            Kind::Commit { keys, files } => {
                self.absorb_commit(entry.index, keys, Totals::from_staged(files));
            }
            Kind::Fence(author) => self.absorb_fence(entry.index, *author),
            Kind::Seal => self.absorb_seal(entry.index),
            Kind::Merge(merge) => self.absorb_merge(entry.index, merge),
        }
    }

    /// Records that entry `index`, the next one, commits `keys` in files of this `volume`.
    ///
    /// # Panics
    /// If it is not the next one.
    pub fn absorb_commit(&mut self, index: u64, keys: &KeySet, volume: Totals) {
        self.advance(index);
        self.settled.keys.insert_all(keys);
        self.totals = self.totals + volume;
    }

    /// Takes in that entry `index`, the next one, fences `author`.
    pub(crate) fn absorb_fence(&mut self, index: u64, author: WriterId) {
        self.advance(index);
        self.fenced.insert(author);
    }

    /// Takes in that entry `index`, the next one, ends the generation.
    pub(crate) fn absorb_seal(&mut self, index: u64) {
        self.advance(index);
        self.sealed = true;
    }

    /// Takes in that entry `index`, the next one, merges files.
    pub(crate) fn absorb_merge(&mut self, index: u64, merge: &Merge) {
        self.advance(index);
        self.merges.add(index, merge);
    }

    /// The merges that may not be over.
    pub fn open_merges(&self) -> impl Iterator<Item = &Merge> {
        self.merges.open.values()
    }

    /// Files that became part of another one.
    pub fn merged_files(&self) -> u64 {
        self.merges.sources
    }

    pub(super) fn merges(&self) -> &Merges {
        &self.merges
    }

    /// Marks the merge with this copy as complete.
    pub(super) fn merge_is_over(&mut self, copy: &str) {
        self.merges.open.remove(copy);
    }

    /// Opens a merge without an entry, for a planted bug.
    pub(super) fn begin_merge(&mut self, merge: &Merge) {
        self.merges.open.insert(merge.copy.clone(), merge.clone());
    }

    fn advance(&mut self, index: u64) {
        assert_eq!(index, self.next, "entries are read in order and without gaps");
        self.next += 1;
    }

    /// Returns `true` if this batch is delivered.
    pub fn is_settled(&self, key: Identity) -> bool {
        self.settled.contains(key)
    }

    /// Returns the `keys` that are delivered.
    pub fn settled_of(&self, keys: &KeySet) -> KeySet {
        let mut delivered = keys.intersection(&self.settled.keys);
        if !mutant!("floor_not_looked_at") {
            delivered.insert_all(&self.settled.floors.closed_of(keys));
        }
        delivered
    }

    /// Every batch that is delivered.
    pub fn settled(&self) -> &Settled {
        &self.settled
    }

    /// Sums over all that was committed.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Returns `true` if this author was fenced and may not commit any more.
    pub fn is_fenced(&self, author: WriterId) -> bool {
        self.fenced.contains(&author)
    }

    /// Every author that was taken for dead.
    pub fn fenced(&self) -> impl Iterator<Item = &WriterId> {
        self.fenced.iter()
    }

    /// Returns `true` if the generation is sealed.
    pub fn is_sealed(&self) -> bool {
        self.sealed
    }
}
