//! Audits a ledger: reads it to its end without changing anything.
//!
//! | question | answered by |
//! |---|---|
//! | is a batch committed? | the checkpoint and the entries after it |
//! | is it committed twice? | two entries that name it |
//! | are committed files visible? | each file of each entry, looked up by name and length |
//! | was a file merged into another one? | the merges among the entries |
//! | do the files have the written content? | [`Audit::examine`], which reads them |
//!
//! The files of older generations were published before the checkpoint was made. The ledger no
//! longer names them; only their sums are known.

mod contents;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::{StreamExt, TryStreamExt, stream};
use pipeline::KeySet;
use storage::{FileSystem, FsError};

use super::dataset::{Dataset, Token, WriterId};
use super::entry::{Entry, Kind, StagedFile};
use super::error::LedgerError;
use super::merge::Holders;
use super::notes::NoteKind;
use super::recall::read_name;
use super::store::{FileNames, Known, Ledger, Options};
use super::view::View;

pub use contents::{Contents, VisibleFile, VisibleFiles, is_lines};
pub(super) use contents::{index_of, place_of};

/// Files that are looked up at the same time.
const LOOKED_UP_AT_ONCE: usize = 16;

/// The contents of a ledger when it was read.
#[derive(Debug)]
pub struct Audit {
    /// The sum of its entries.
    pub view: View,
    /// Batches that two entries of the newest generation name, or one of them and its checkpoint.
    pub repeated: KeySet,
    /// Files of the newest generation's entries, and the state of each in the store.
    pub files: Vec<(StagedFile, Place)>,
    /// The entry of each of these files, in the same order.
    indices: Vec<u64>,
    /// The events of each older entry whose files the checkpoint carries for a table, and the first
    /// entry from which it does.
    carried: (u64, BTreeMap<u64, u64>),
    /// Whether files of this ledger are appended to a table.
    pub has_table: bool,
    /// Files of these that were merged into another one, and that file.
    pub moved: BTreeMap<String, String>,
    /// The batches that each entry of the newest generation names, and which of the files are its
    /// own.
    pub commits: Vec<(KeySet, Range<usize>)>,
    /// The beginning of its newest generation, when everything in older ones was committed; `None`
    /// for the first one, or if the store keeps no times.
    pub begun: Option<SystemTime>,
    /// Directories with files that are noted for a table of Hive, and not registered there yet; in
    /// order.
    pub unregistered: Vec<String>,
    /// The identity of the ledger; `None` for a ledger of an older program.
    pub identity: Option<Token>,
    /// Merges of the newest generation.
    pub(super) holders: Holders,
}

/// The state of a committed file in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It, or the file into which it was merged, is visible with the right length.
    Visible,
    /// It is visible with another length.
    WrongLength(u64),
    /// It is still staged; the next opening of the ledger publishes it.
    Staged,
    /// It does not exist. Contains the time of its commit, if the store keeps times of files.
    Gone(Option<SystemTime>),
}

impl Audit {
    /// Reads the ledger of `dataset`, and looks up each of its files.
    ///
    /// # Errors
    /// There is no ledger, it is damaged, or the store failed.
    pub async fn read(fs: Arc<dyn FileSystem>, dataset: Dataset) -> Result<Self, LedgerError> {
        let mut ledger = reader(fs.clone(), dataset.clone());
        loop {
            ledger.known.view = ledger.newest().await?;
            let generation = ledger.view().generation();
            let audit = ledger.audit().await?;
            // A generation that was deleted in the meantime looks as if it ended early.
            if ledger.newest().await?.generation() == generation
                && !audit.is_overtaken(fs.clone(), dataset.clone()).await?
            {
                return Ok(audit);
            }
        }
    }

    /// Returns `true` if files were merged since the ledger was read, so that checked files may be
    /// elsewhere now.
    ///
    /// # Errors
    /// The store failed.
    pub async fn is_overtaken(
        &self,
        fs: Arc<dyn FileSystem>,
        dataset: Dataset,
    ) -> Result<bool, LedgerError> {
        let mut ledger = reader(fs, dataset);
        let newest = ledger.newest().await?;
        if newest.generation() != self.view.generation() {
            return Ok(newest.merged_files() != self.view.merged_files());
        }
        ledger.known.view = self.view.clone();
        let is_merge = |entry: &Entry| matches!(entry.kind, Kind::Merge(_));
        Ok(ledger.unread_entries().await?.iter().any(is_merge))
    }

    /// Returns the files of the newest generation's entries, with the entry of each, and the state
    /// of each in the store.
    pub fn files_by_entry(&self) -> impl Iterator<Item = (u64, &StagedFile, Place)> {
        let files = self.indices.iter().zip(&self.files);
        files.map(|(index, (file, place))| (*index, file, *place))
    }

    /// Returns the number of commits from this entry on.
    pub fn commits_from(&self, entry: u64) -> u64 {
        let carried = self.carried.1.range(entry..).map(|(index, _)| *index);
        let listed = self.indices.iter().copied().filter(|index| *index >= entry);
        carried.chain(listed).collect::<BTreeSet<u64>>().len() as u64
    }

    /// Returns the events of the entries in this range; `None` if the ledger does not list some of
    /// these entries any more.
    pub fn events(&self, entries: Range<u64>) -> Option<u64> {
        let (first, carried) = &self.carried;
        if entries.is_empty() {
            return Some(0);
        }
        if entries.start < *first {
            // Only the sum of all forgotten entries is known.
            let later = self.events(entries.end..self.view.next())?;
            return (entries.start == 0).then(|| self.view.totals().events.saturating_sub(later));
        }
        let carried: u64 = carried.range(entries.clone()).map(|(_, events)| events).sum();
        let listed = self.files_by_entry().filter(|(index, ..)| entries.contains(index));
        Some(carried + listed.map(|(_, file, _)| file.events).sum::<u64>())
    }

    /// Returns `true` if no batch is repeated, and every file is visible or staged.
    pub fn is_sound(&self) -> bool {
        let fine = |place: &Place| matches!(place, Place::Visible | Place::Staged);
        self.repeated.is_empty() && self.files.iter().all(|(_, place)| fine(place))
    }
}

/// A ledger that is only read. It has no author: nothing is written.
pub(super) fn reader(fs: Arc<dyn FileSystem>, dataset: Dataset) -> Ledger {
    let none = WriterId { collector: Token([0; 16]), incarnation: Token([0; 16]) };
    let names = FileNames { stem: String::new(), extension: String::new() };
    let options = Options { names, compact_after: u64::MAX, sweep_after: Duration::MAX };
    Ledger::unread(fs, dataset, none, options, Known::default())
}

impl Ledger {
    /// Reads the entries after the known ones, to the end.
    async fn audit(&mut self) -> Result<Audit, LedgerError> {
        let (mut repeated, mut files) = (KeySet::default(), Vec::new());
        let (mut commits, mut holders) = (Vec::new(), Holders::default());
        for entry in self.unread_entries().await? {
            if let Kind::Commit { keys, files: more } = &entry.kind {
                repeated.insert_all(&self.view().settled_of(keys));
                let first = files.len();
                files.extend(more.iter().map(|file| (entry.index, file.clone())));
                commits.push((keys.clone(), first..files.len()));
            }
            holders.add(&entry);
            self.known.view.absorb(&entry);
        }
        let (ledger, merged) = (&*self, &holders);
        let indices = files.iter().map(|(index, _)| *index).collect();
        let looked_up = files.into_iter().map(|(index, file)| async move {
            let mut place = ledger.place(index, &file).await?;
            let mut holder = None;
            if !matches!(place, Place::Visible | Place::Staged) {
                holder = ledger.holder(merged, &file.target).await?;
                place = if holder.is_some() { Place::Visible } else { place };
            }
            Ok::<_, LedgerError>((file, place, holder))
        });
        let looked_up = stream::iter(looked_up).buffered(LOOKED_UP_AT_ONCE);
        let looked_up: Vec<_> = looked_up.try_collect().await?;
        let (mut files, mut moved) = (Vec::new(), BTreeMap::new());
        for (file, place, holder) in looked_up {
            if let Some(holder) = holder.filter(|holder| *holder != file.target) {
                moved.insert(file.target.clone(), holder);
            }
            files.push((file, place));
        }
        let generation = self.view().generation();
        let begun = match generation {
            0 => None,
            generation => self.time_of(&self.dataset.checkpoint(generation)).await?,
        };
        let name = read_name(&*self.fs, &self.dataset).await?;
        let identity = name.map(|name| name.identity);
        let (view, unregistered) = (self.view().clone(), self.unregistered().await?);
        let events = |files: &[StagedFile]| files.iter().map(|file| file.events).sum();
        let carried = view.carried();
        let of_entries = carried.commits.iter().map(|(index, files)| (*index, events(files)));
        let carried = (carried.from, of_entries.collect());
        Ok(Audit {
            view,
            repeated,
            files,
            indices,
            carried,
            has_table: self.table_record().await?.is_some(),
            moved,
            commits,
            begun,
            unregistered,
            identity,
            holders,
        })
    }

    /// The visible file that `target` became part of, if it did.
    async fn holder(&self, merged: &Holders, target: &str) -> Result<Option<String>, LedgerError> {
        // The target of a merge still has its own name.
        for holder in [target].into_iter().chain(merged.of_file(target)) {
            match self.fs.stat(&self.dataset.published(holder)).await {
                Ok(stat) if merged.whole(holder, stat.len).is_some() => {
                    return Ok(Some(holder.to_owned()));
                }
                Ok(_) | Err(FsError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Returns the partitions in notes that have files.
    async fn unregistered(&self) -> Result<Vec<String>, LedgerError> {
        let mut noted = BTreeSet::new();
        for note in self.notes(NoteKind::Partition).await? {
            let places = self.noted(NoteKind::Partition, &note).await?;
            noted.extend(places.into_iter().map(|place| place.directory));
        }
        let mut unregistered = Vec::new();
        for directory in noted {
            if self.has_files(&directory).await? {
                unregistered.push(directory);
            }
        }
        Ok(unregistered)
    }

    async fn time_of(&self, path: &str) -> Result<Option<SystemTime>, LedgerError> {
        match self.fs.stat(path).await {
            Ok(stat) => Ok(stat.modified),
            Err(FsError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn place(&self, index: u64, file: &StagedFile) -> Result<Place, LedgerError> {
        // In this order: a file that moves between the two lookups is found by the second one.
        let mut refused = None;
        for path in [
            self.dataset.published(&file.target),
            self.dataset.staged(&file.temp),
            self.dataset.published(&file.target),
        ] {
            match self.fs.stat(&path).await {
                Ok(stat) if path == self.dataset.staged(&file.temp) => {
                    return Ok(if stat.len == file.len {
                        Place::Staged
                    } else {
                        Place::WrongLength(stat.len)
                    });
                }
                Ok(stat) if stat.len == file.len => return Ok(Place::Visible),
                Ok(stat) => return Ok(Place::WrongLength(stat.len)),
                Err(FsError::NotFound { .. }) => {}
                // A directory that refuses the file may refuse the look, too: it may be staged.
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) => Err(error.into()),
            None => {
                let entry = self.dataset.entry(self.view().generation(), index);
                Ok(Place::Gone(self.time_of(&entry).await?))
            }
        }
    }
}
