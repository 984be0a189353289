//! What the entries read so far add up to. Pure: entries go in, answers come out.

use std::collections::BTreeSet;

use pipeline::{Identity, KeySet};

use super::dataset::Author;
use super::entry::{Entry, Kind};

/// What the entries of a ledger say, up to [`View::next`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    generation: u64,
    first: u64,
    next: u64,
    settled: KeySet,
    fenced: BTreeSet<Author>,
    sealed: bool,
}

impl View {
    /// The view of generation `generation` before its first entry was read.
    pub fn new(generation: u64) -> Self {
        Self { generation, ..Self::default() }
    }

    /// The view of a generation that begins with a checkpoint.
    pub(super) fn resumed(
        generation: u64,
        first: u64,
        settled: KeySet,
        fenced: BTreeSet<Author>,
    ) -> Self {
        Self { generation, first, next: first, settled, fenced, sealed: false }
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

    /// Takes the next entry in.
    ///
    /// # Panics
    /// If it is not the next one: entries are read in order and without gaps.
    pub fn absorb(&mut self, entry: &Entry) {
        match &entry.kind {
            Kind::Commit { keys, .. } => self.absorb_commit(entry.index, keys),
            Kind::Fence(author) => {
                self.advance(entry.index);
                self.fenced.insert(*author);
            }
            Kind::Seal => {
                self.advance(entry.index);
                self.sealed = true;
            }
        }
    }

    /// Takes in that entry `index`, the next one, commits `keys`.
    ///
    /// # Panics
    /// If it is not the next one.
    pub fn absorb_commit(&mut self, index: u64, keys: &KeySet) {
        self.advance(index);
        self.settled.insert_all(keys);
    }

    fn advance(&mut self, index: u64) {
        assert_eq!(index, self.next, "entries are read in order and without gaps");
        self.next += 1;
    }

    /// Whether this batch is delivered.
    pub fn is_settled(&self, key: Identity) -> bool {
        self.settled.contains(key)
    }

    /// Those of `keys` that are delivered.
    pub fn settled_of(&self, keys: &KeySet) -> KeySet {
        keys.intersection(&self.settled)
    }

    /// Every batch that is delivered.
    pub fn settled(&self) -> &KeySet {
        &self.settled
    }

    /// Whether this author was taken for dead and may commit nothing any more.
    pub fn is_fenced(&self, author: Author) -> bool {
        self.fenced.contains(&author)
    }

    /// Every author that was taken for dead.
    pub fn fenced(&self) -> impl Iterator<Item = &Author> {
        self.fenced.iter()
    }

    /// Whether nothing follows in this generation.
    pub fn is_sealed(&self) -> bool {
        self.sealed
    }
}
