//! Opens a ledger: creates or reads it, publishes committed files that are still staged, and
//! deletes uncommitted files that earlier starts of this collector staged.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use storage::{FileSystem, FsError, Listed};
use support::mutant;
use tracing::{debug, info};

use super::change::Change;
use super::dataset::{Dataset, PREPARED, Token, WriterId};
use super::entry::{Entry, Kind};
use super::error::LedgerError;
use super::memory::Memory;
use super::merge::COPY;
use super::recall::{Name, new_identity};
use super::store::{Known, Ledger, Options, read_entry, write_file};

/// Entries that are read at the same time.
pub(super) const READ_AT_ONCE: usize = 16;

impl Ledger {
    /// Opens the ledger for `author`, which must be new. Creates it at the first opening of all,
    /// reads it to its end (from `known` on, if this process read it before), compares it with
    /// `memory`, finishes the renames of committed files, and deletes leftovers of other starts of
    /// this collector.
    ///
    /// # Errors
    /// The store failed, or the ledger is damaged, or it differs from the remembered one. Nothing
    /// is lost; open it again.
    pub async fn open(
        fs: Arc<dyn FileSystem>,
        dataset: Dataset,
        author: WriterId,
        options: Options,
        known: Known,
        memory: Memory,
    ) -> Result<Self, LedgerError> {
        let mut ledger = Self::unread(fs, dataset, author, options, known);
        ledger.memory = memory;
        ledger.found().await?;
        ledger.identify().await?;
        let staged = ledger.staged_files().await?;
        let orphans = ledger.orphans().await?;
        // A dead start whose prepared entries are deleted can commit nothing more, not even by a
        // rename in progress. The ledger is therefore final after that; in an object store once the
        // start is fenced, below.
        for orphan in &orphans {
            ledger.withdraw(&ledger.desk(*orphan)).await?;
        }
        // Files that are no longer staged were published, or removed from outside.
        ledger.known.unpublished.retain(|file| staged.contains(&file.temp));
        ledger.catch_up(&staged).await?;
        if let Some(file) = ledger.unrecorded(ledger.view().next()).await? {
            // Others may have committed in the meantime: a file is visible only after its commit.
            ledger.catch_up(&staged).await?;
            if file.index >= ledger.view().next() {
                return Err(ledger.lacks(file));
            }
        }
        ledger.hold_end_against()?;
        ledger.still_there().await?;
        let is_remembered = ledger.memory.mark.is_some();
        ledger.remember().await;
        if !is_remembered && ledger.memory.is_kept() {
            ledger.taken_on();
        }
        if !ledger.known.unpublished.is_empty() {
            info!(
                files = ledger.known.unpublished.len(),
                "publishing files that were committed before the start"
            );
            ledger.publish_all().await?;
        }
        // The files are whole without that: their merges are left to the next opening.
        if let Err(error) = ledger.finish_merges().await {
            debug!(%error, "cannot complete merges of small files; retrying later");
        }
        for orphan in orphans {
            let desk = ledger.desk(orphan);
            if !ledger.fs.is_tree() && !mutant!("bucket_not_fenced") {
                // There, a commit in progress can still succeed although its prepared entry is
                // deleted. After a fence its index is taken.
                ledger.fence(orphan).await?;
            } else if !ledger.awaits(&desk) {
                ledger.fs.delete(&desk).await?;
            }
        }
        Ok(ledger)
    }

    /// Logs which ledger a collector without a memory uses from now on.
    fn taken_on(&self) {
        let (ledger, identity, view) = (self.dataset.ledger(), self.identity, self.view());
        let (entries, batches) = (view.next(), view.settled().keys.count());
        if entries == 0 {
            info!(ledger, %identity, "using a new, empty commit ledger");
            return;
        }
        info!(
            ledger, %identity, entries, batches,
            "using the existing commit ledger, which this data directory does not know yet; if it \
             may be an older copy, run `aqueduct ledger show --store URL --sink NAME --data-dir \
             DATA_DIR` on a collector that has used it before",
        );
    }

    /// Leaves the store: afterwards nothing that this author prepared can be committed. Publishes
    /// its committed files and deletes its staged ones. If a directory refuses some files, the next
    /// opening publishes them. No roll may be in progress.
    ///
    /// # Errors
    /// The store failed; the next opening finishes the work.
    pub async fn leave(&mut self) -> Result<(), LedgerError> {
        self.give_up_unrecorded();
        let desk = self.desk(self.author);
        let staged = self.staged_files().await?;
        self.withdraw(&desk).await?;
        self.catch_up(&staged).await?;
        self.publish_all().await?;
        // In an object store an interrupted commit may still arrive: its files stay until the next
        // opening has fenced this start.
        let clears = self.fs.is_tree() || mutant!("stage_of_a_bucket_cleared");
        if clears && !self.awaits(&desk) {
            self.fs.delete(&desk).await?;
        }
        Ok(())
    }

    /// The directory of the staged files of `author`.
    pub(super) fn desk(&self, author: WriterId) -> String {
        self.dataset.staged(&Dataset::desk(author))
    }

    /// Creates the ledger, unless it exists or existed. It is prepared elsewhere and renamed as a
    /// whole, so that no reader sees one without a generation or an identity. Of several founders
    /// one wins: the directory has the name of the file in it, for stores that would move it into
    /// an existing one.
    async fn found(&mut self) -> Result<(), LedgerError> {
        let (fs, dataset) = (self.fs.clone(), self.dataset.clone());
        let desk = self.desk(self.author);
        if is_there(&*fs, &dataset).await? {
            fs.mkdirs(&desk).await?;
            if mutant!("ledger_made_anew") {
                fs.mkdirs(&dataset.generation(0)).await?;
            }
            return Ok(());
        }
        if let Some(mark) = &self.memory.mark
            && !mutant!("empty_ledger_begun_anew")
        {
            let (generation, entries) = (mark.generation, mark.next());
            return Err(self.changed(Change::Missing { generation, entries }));
        }
        // A collector that started in the meantime may have published: then the ledger is not
        // missing.
        if let Some(file) = self.unrecorded(0).await?
            && !is_there(&*fs, &dataset).await?
        {
            return Err(self.changed(Change::Unrecorded { file: file.path }));
        }
        if !fs.is_tree() {
            // One object makes it: its identity. Its only generation is the first one.
            return self.name_it().await.map(drop);
        }
        let prepared = format!("{desk}/identity");
        fs.mkdirs(&format!("{prepared}/g0")).await?;
        let identity = Name::new(new_identity(self.author)).encode();
        write_file(&*fs, &format!("{prepared}/identity"), identity).await?;
        match fs.rename(&prepared, &dataset.ledger()).await {
            Ok(()) => Ok(()),
            Err(FsError::AlreadyExists { .. }) => {
                fs.delete(&prepared).await?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the newest generation to its end, and notes the committed files that are still staged.
    pub(super) async fn catch_up(&mut self, staged: &BTreeSet<String>) -> Result<(), LedgerError> {
        loop {
            let newest = self.newest().await?;
            if newest.generation() != self.known.view.generation() {
                // Everything in older ones was published before this one existed.
                self.take_over(newest)?;
                self.known.unpublished.clear();
            }
            self.read_on(staged).await?;
            // A generation that was deleted in the meantime looks as if it ended early.
            if self.newest().await?.generation() == self.known.view.generation() {
                return Ok(());
            }
        }
    }

    async fn read_on(&mut self, staged: &BTreeSet<String>) -> Result<(), LedgerError> {
        for entry in self.unread_entries().await? {
            self.take_in(&entry)?;
            self.note_files(entry, staged);
        }
        Ok(())
    }

    /// Reads the entries after the known ones, to the end of the generation.
    pub(super) async fn unread_entries(&self) -> Result<Vec<Entry>, LedgerError> {
        let directory = self.dataset.generation(self.view().generation());
        let names = self.list(&directory).await?;
        let next = self.view().next();
        let end = names.iter().filter_map(|listed| listed.name.parse::<u64>().ok()).max();
        let end = end.map_or(next, |last| last + 1);
        let mut entries = self.read_whole(next..end).await?;
        while let Some(entry) = self.read(next + entries.len() as u64).await? {
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Reads the entries of a range that the ledger has had. Returns fewer if the generation was
    /// deleted in the meantime.
    ///
    /// # Errors
    /// One is missing: the ledger was changed from outside.
    pub(super) async fn read_whole(&self, range: Range<u64>) -> Result<Vec<Entry>, LedgerError> {
        let entries = self.read_range(range.clone()).await?;
        let (index, generation) = (range.start + entries.len() as u64, self.view().generation());
        // A generation that was deleted in the meantime has no holes: there is a newer one.
        if index < range.end && self.newest().await?.generation() == generation {
            return Err(self.changed(Change::Hole { generation, index, last: range.end - 1 }));
        }
        Ok(entries)
    }

    /// The entries of a range, up to the first that is missing.
    pub(super) async fn read_range(&self, range: Range<u64>) -> Result<Vec<Entry>, LedgerError> {
        let generation = self.known.view.generation();
        let reads: Vec<_> = range
            .map(|index| read_entry(self.fs.clone(), self.dataset.entry(generation, index), index))
            .collect();
        let mut reads = stream::iter(reads).buffered(READ_AT_ONCE);
        let mut entries = Vec::new();
        while let Some(Some(entry)) = reads.try_next().await? {
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Notes the files of an entry that are committed and still staged.
    pub(super) fn note_files(&mut self, entry: Entry, staged: &BTreeSet<String>) {
        if let Kind::Commit { files, .. } = entry.kind {
            self.known
                .unpublished
                .extend(files.into_iter().filter(|file| staged.contains(&file.temp)));
        }
    }

    /// Returns every staged file of all collectors, below the dataset's own directory: files that
    /// are not published yet or never will be.
    ///
    /// # Errors
    /// The store failed.
    pub async fn staged_files(&self) -> Result<BTreeSet<String>, LedgerError> {
        let mut files = BTreeSet::new();
        for author in self.authors().await? {
            files.extend(self.staged_by(author).await?);
        }
        Ok(files)
    }

    /// All that have a part of the stage.
    pub(super) async fn authors(&self) -> Result<Vec<WriterId>, LedgerError> {
        let mut authors = Vec::new();
        for collector in tokens(self.list(&self.dataset.stage()).await?) {
            let path = format!("{}/{collector}", self.dataset.stage());
            let incarnations = tokens(self.list(&path).await?);
            authors.extend(incarnations.map(|incarnation| WriterId { collector, incarnation }));
        }
        Ok(authors)
    }

    /// The staged files of one author, below the dataset's own directory.
    pub(super) async fn staged_by(
        &self,
        author: WriterId,
    ) -> Result<BTreeSet<String>, LedgerError> {
        let desk = Dataset::desk(author);
        let names = self.list(&self.dataset.staged(&desk)).await?;
        // The copy of merged files is of no batch, and may go at any time.
        let is_of_a_batch = |listed: &Listed| !listed.directory && !listed.name.ends_with(COPY);
        let files = names.into_iter().filter(is_of_a_batch);
        Ok(files.map(|listed| format!("{desk}/{}", listed.name)).collect())
    }

    /// Returns the other starts of this collector that left files.
    async fn orphans(&self) -> Result<Vec<WriterId>, LedgerError> {
        let WriterId { collector, incarnation } = self.author;
        let mut orphans = self.authors().await?;
        orphans.retain(|author| author.collector == collector && author.incarnation != incarnation);
        Ok(orphans)
    }

    /// Deletes the prepared entries of a dead start.
    async fn withdraw(&self, orphan: &str) -> Result<(), LedgerError> {
        for listed in self.list(orphan).await? {
            if listed.name.ends_with(PREPARED) {
                self.fs.delete(&format!("{orphan}/{}", listed.name)).await?;
            }
        }
        Ok(())
    }

    /// Lists names in a directory from which others may delete.
    pub(super) async fn list(&self, directory: &str) -> Result<Vec<Listed>, LedgerError> {
        match self.fs.list(directory).await {
            Ok(names) => Ok(names),
            Err(FsError::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns the directories named like a collector or one of its starts; others are not touched.
fn tokens(names: Vec<Listed>) -> impl Iterator<Item = Token> {
    let directories = names.into_iter().filter(|listed| listed.directory);
    directories.filter_map(|listed| Token::parse(&listed.name))
}

async fn is_there(fs: &dyn FileSystem, dataset: &Dataset) -> Result<bool, LedgerError> {
    match fs.stat(&dataset.ledger()).await {
        Ok(_) => Ok(true),
        Err(FsError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
