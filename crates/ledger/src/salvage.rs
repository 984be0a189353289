//! Reads as much of a ledger as possible: each part separately, with its problems.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use pipeline::Floors;
use storage::{FileSystem, FsError};

use super::checkpoint;
use super::dataset::{Dataset, Token, WriterId};
use super::entry::{Entry, Kind};
use super::error::LedgerError;
use super::memory::Remembered;
use super::merge::Merges;
use super::recall::{Name, read_name};
use super::store::read_entry;
use super::view::{Settled, Totals, View};

/// The readable part of one ledger, from the store or from a memory.
#[derive(Debug, Default)]
pub(super) struct Salvage {
    /// True if anything of it exists.
    pub(super) is_there: bool,
    pub(super) name: Option<Name>,
    /// The newest generation, whether or not it can be read.
    pub(super) generation: u64,
    /// The contents of its checkpoint, and the checkpoint itself.
    pub(super) begin: View,
    pub(super) checkpoint: Bytes,
    /// Its entries that can be read, in order; there may be holes between them.
    pub(super) entries: Vec<Entry>,
    /// Its problems, one sentence each.
    pub(super) problems: Vec<String>,
}

impl Salvage {
    /// Reads the ledger in the store.
    pub(super) async fn read(
        fs: &Arc<dyn FileSystem>,
        dataset: &Dataset,
    ) -> Result<Self, LedgerError> {
        let mut found = Self::default();
        let names = match fs.list(&dataset.ledger()).await {
            Ok(names) => names,
            Err(FsError::NotFound { .. }) => {
                found.problems.push(format!("the directory {} does not exist", dataset.ledger()));
                return Ok(found);
            }
            Err(error) => return Err(error.into()),
        };
        found.is_there = true;
        match read_name(&**fs, dataset).await {
            Ok(name) => found.name = name,
            Err(error @ LedgerError::Entry { .. }) => found.problems.push(error.to_string()),
            Err(error) => return Err(error),
        }
        let number = |name: &str| name.strip_prefix('g')?.parse::<u64>().ok();
        let newest = names.iter().filter_map(|listed| number(&listed.name)).max();
        // In an object store the first generation exists once its first entry does.
        let Some(newest) = newest.or((!fs.is_tree()).then_some(0)) else {
            found.problems.push(format!("{} has no directory g0, g1, …", dataset.ledger()));
            return Ok(found);
        };
        found.generation = newest;
        found.begin = View::new(newest);
        found.read_checkpoint(fs, dataset).await?;
        found.read_entries(fs, dataset).await?;
        Ok(found)
    }

    async fn read_checkpoint(
        &mut self,
        fs: &Arc<dyn FileSystem>,
        dataset: &Dataset,
    ) -> Result<(), LedgerError> {
        if self.generation == 0 {
            return Ok(());
        }
        let path = dataset.checkpoint(self.generation);
        match fs.read(&path).await {
            Ok(bytes) => match checkpoint::decode(bytes.clone(), self.generation) {
                Ok(view) => (self.begin, self.checkpoint) = (view, bytes),
                Err(error) => self.problems.push(format!("cannot read {path}: {error}")),
            },
            Err(FsError::NotFound { .. }) => self.problems.push(format!("{path} is missing")),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn read_entries(
        &mut self,
        fs: &Arc<dyn FileSystem>,
        dataset: &Dataset,
    ) -> Result<(), LedgerError> {
        let listed = match fs.list(&dataset.generation(self.generation)).await {
            Err(FsError::NotFound { .. }) if !fs.is_tree() => Vec::new(),
            listed => listed?,
        };
        let indices = listed.iter().filter_map(|listed| listed.name.parse::<u64>().ok());
        let mut expected = self.begin.first();
        for index in indices {
            if index != expected && !self.checkpoint_is_lost() {
                self.problems
                    .push(format!("the commit records {expected} to {} are missing", index - 1));
            }
            expected = index + 1;
            let path = dataset.entry(self.generation, index);
            match read_entry(fs.clone(), path.clone(), index).await {
                Ok(Some(entry)) => self.entries.push(entry),
                Ok(None) => self.problems.push(format!("{path} is missing")),
                Err(LedgerError::Entry { source, .. }) => {
                    self.problems.push(format!("cannot read {path}: {source}"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns `true` if the checkpoint cannot be read, so that the first index is not known.
    fn checkpoint_is_lost(&self) -> bool {
        self.generation > 0 && self.checkpoint.is_empty()
    }

    /// Does the same for a collector's memory.
    pub(super) fn from_memory(remembered: Remembered) -> Self {
        let Remembered { identity, view, checkpoint, entries, .. } = remembered;
        let generation = view.generation();
        let begin = checkpoint::decode(checkpoint.clone(), generation);
        Self {
            is_there: true,
            name: Some(Name::new(identity)),
            generation,
            begin: begin.unwrap_or_else(|_| View::new(generation)),
            checkpoint,
            entries,
            problems: Vec::new(),
        }
    }

    /// The number that names it.
    pub(super) fn identity(&self) -> Option<Token> {
        self.name.as_ref().map(|name| name.identity)
    }

    /// Index of the first entry that is certainly not in it.
    pub(super) fn next(&self) -> u64 {
        self.entries.last().map_or(self.begin.first(), |entry| entry.index + 1)
    }

    /// Returns the sum of its readable entries.
    pub(super) fn view(&self) -> View {
        let mut sum = Sum::default();
        sum.add_checkpoint(&self.begin);
        self.entries.iter().for_each(|entry| sum.add(entry));
        sum.view(self.generation, self.next())
    }
}

/// The sum of several ledgers.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub(super) settled: Settled,
    /// The part of `settled` that checkpoints name: their totals include it.
    counted: Settled,
    fenced: BTreeSet<WriterId>,
    totals: Totals,
    merges: Merges,
}

impl Sum {
    /// Adds the checkpoint of a ledger; all checkpoints must be added before the first entry.
    pub(super) fn add_checkpoint(&mut self, begin: &View) {
        for settled in [&mut self.settled, &mut self.counted] {
            settled.keys.insert_all(&begin.settled().keys);
            settled.floors.raise_all(&begin.settled().floors);
        }
        self.fenced.extend(begin.fenced());
        self.merges.open.extend(begin.merges().open.clone());
        self.merges.sources = self.merges.sources.max(begin.merged_files());
        // Of two copies of one ledger, the longer one includes the other.
        if begin.totals().files > self.totals.files {
            self.totals = begin.totals();
        }
    }

    /// Adds one entry.
    pub(super) fn add(&mut self, entry: &Entry) {
        match &entry.kind {
            Kind::Commit { keys, files } => {
                // A ledger that was rebuilt of this entry before has counted it.
                let mut news = keys.clone();
                news.remove_all(&self.counted.keys);
                news.remove_all(&self.counted.floors.closed_of(keys));
                if keys.is_empty() || !news.is_empty() {
                    self.totals = self.totals + Totals::from_staged(files);
                }
                self.settled.keys.insert_all(keys);
            }
            Kind::Fence(author) => drop(self.fenced.insert(*author)),
            Kind::Seal => {}
            Kind::Merge(merge) => self.merges.add(entry.index, merge),
        }
    }

    /// Returns a view at entry `next` of `generation`.
    pub(super) fn view(self, generation: u64, next: u64) -> View {
        let mut settled = self.settled;
        settled.close(&Floors::default());
        View::resumed((generation, next), settled, self.fenced, self.totals, self.merges)
    }
}
