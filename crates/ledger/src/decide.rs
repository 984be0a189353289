//! Decisions of an operator about a ledger that was changed from outside.
//!
//! | decision | what it does | repeats | losses |
//! |---|---|---|---|
//! | adopt | accepts the ledger as it is now; a missing one starts empty | batches that only the lost part named are stored again if a channel still has them | none |
//! | rebuild | makes a new generation from the store and the collector's memory | no batch that either names | none |
//!
//! Both continue the numbering of entries after all known ones, so that no file name is reused.
//! Neither deletes anything: a replaced ledger is moved aside.

use std::path::PathBuf;
use std::sync::Arc;

use pipeline::{Env, Floors};
use storage::{FileSystem, FsError};
use thiserror::Error;

use super::checkpoint;
use super::dataset::{Dataset, Token, WriterId};
use super::entry::{Entry, Kind};
use super::error::LedgerError;
use super::memory::{Memory, Remembered, Turns};
use super::merge::Holders;
use super::recall::{Name, read_name};
use super::salvage::{Salvage, Sum};
use super::store::write_file;
use super::view::View;
use super::visible::{Published, last_published, published_behind};

/// Why a decision was not carried out.
#[derive(Debug, Error)]
pub enum DecisionError {
    /// The store failed.
    #[error("cannot read or write the commit ledger; check the file system or bucket")]
    Ledger(#[from] LedgerError),
    /// The data directory failed.
    #[error(
        "cannot read or write {path}, the local copy of the commit ledger; check the disk and the \
         permissions of the data directory"
    )]
    Memory {
        /// The file.
        path: String,
        /// The error of the disk.
        #[source]
        source: std::io::Error,
    },
    /// The decision cannot do what it is meant for.
    #[error("{0}")]
    Refused(String),
}

impl From<FsError> for DecisionError {
    fn from(error: FsError) -> Self {
        Self::Ledger(error.into())
    }
}

/// One ledger and one collector that remembers it, for an operator.
pub struct Operator {
    /// The store.
    pub fs: Arc<dyn FileSystem>,
    /// The dataset.
    pub dataset: Dataset,
    /// The dataset as the sink calls it.
    pub name: String,
    /// The environment with the collector's memory.
    pub env: Env,
    /// The data directory of the sink on the collector.
    pub directory: PathBuf,
}

/// The known state of a ledger in the store or in a memory.
#[derive(Debug)]
pub struct KnownState {
    /// Its identity; `None` if it has no identity or does not exist.
    pub identity: Option<Token>,
    /// The sum of its readable entries.
    pub view: View,
    /// Its problems, one sentence each.
    pub problems: Vec<String>,
}

/// The result of a decision.
#[derive(Debug)]
pub struct Decided {
    /// The ledger as it is now.
    pub standing: KnownState,
    /// Notes on the way, one sentence each.
    pub notes: Vec<String>,
}

impl Operator {
    /// Returns the state of the ledger in the store. Changes nothing.
    ///
    /// # Errors
    /// The store failed.
    pub async fn stored(&self) -> Result<KnownState, DecisionError> {
        let mut found = Salvage::read(&self.fs, &self.dataset).await?;
        let next = found.next();
        if let Some(file) = published_behind(&*self.fs, &self.dataset, next).await? {
            let Published { path, index } = file;
            found.problems.push(format!(
                "{path} was published by commit record {index}, but the next commit record would \
                 be {next}"
            ));
        }
        Ok(known_state(&found))
    }

    /// Returns the collector's memory of the ledger, if any. Changes nothing.
    ///
    /// # Errors
    /// The data directory cannot be read.
    pub fn remembered(&self) -> Result<Option<KnownState>, DecisionError> {
        Ok(self.recalled()?.map(|remembered| known_state(&Salvage::from_memory(remembered))))
    }

    fn recalled(&self) -> Result<Option<Remembered>, DecisionError> {
        let path = Memory::path(&self.directory, &self.name);
        let read = Remembered::read(&self.env, &path);
        let read = read.map_err(|source| {
            let path = path.display().to_string();
            DecisionError::Memory { path, source }
        })?;
        Ok(read.filter(|found| found.dataset == self.name))
    }

    /// Accepts the ledger in the store. The collector must not run.
    ///
    /// # Errors
    /// The ledger cannot be read to its end (then use `rebuild`), or the store or the disk failed.
    pub async fn adopt(&self) -> Result<Decided, DecisionError> {
        let (stored, known) = (Salvage::read(&self.fs, &self.dataset).await?, self.recalled()?);
        let known = known.map(Salvage::from_memory);
        let is_bare = stored.entries.is_empty() && stored.checkpoint.is_empty();
        if !stored.problems.is_empty() && !is_bare {
            let problems = stored.problems.join("; ");
            return Err(DecisionError::Refused(format!(
                "cannot adopt an incomplete ledger ({problems}); run `aqueduct ledger rebuild` \
                 with the same --store, --sink and --data-dir, on the collector that stored last: \
                 it combines the readable commit records with the local copy in --data-dir"
            )));
        }
        let visible = last_published(&*self.fs, &self.dataset).await?;
        let known_next = known.as_ref().map_or(0, Salvage::next);
        let next = known_next.max(visible.map_or(0, |file| file.index + 1));
        let mut notes = Vec::new();
        if stored.problems.is_empty() && stored.next() >= next {
            return self.take(stored, notes).await;
        }
        // An index that was used before may have taken a file name.
        let mut sum = Sum::default();
        sum.add_checkpoint(&stored.begin);
        let merged = Holders::of(&stored.entries);
        for entry in &stored.entries {
            self.publish(entry, &merged, &mut notes).await?;
            sum.add(entry);
        }
        let generation = known.as_ref().map_or(0, |known| known.generation);
        let generation = generation.max(stored.generation);
        // Others that remember more are asked too.
        let name = Name::new(Token(self.env.entropy.bytes16()));
        let next = next.max(stored.next());
        if is_bare {
            notes.push(format!(
                "the ledger has no batches; new commit records are numbered from {next}"
            ));
        }
        self.install(sum.view(generation, next), &name, &mut notes).await?;
        self.take(Salvage::read(&self.fs, &self.dataset).await?, notes).await
    }

    /// Makes a complete ledger from the store and the collector's memory. The collector must not
    /// run, and no other one may be storing.
    ///
    /// # Errors
    /// Neither has any contents; or the store or the disk failed.
    pub async fn rebuild(&self) -> Result<Decided, DecisionError> {
        let (stored, known) = (Salvage::read(&self.fs, &self.dataset).await?, self.recalled()?);
        let known = known.map(Salvage::from_memory);
        let sources: Vec<&Salvage> = known.iter().chain([&stored]).collect();
        let is_empty =
            |source: &&Salvage| source.entries.is_empty() && source.checkpoint.is_empty();
        let visible = last_published(&*self.fs, &self.dataset).await?;
        let was_empty = known.is_some() && visible.is_none();
        if sources.iter().all(is_empty) && !was_empty {
            let directory = self.directory.display();
            return Err(DecisionError::Refused(format!(
                "nothing to rebuild from: neither the ledger in the store nor its copy in \
                 {directory} has a batch; use the data directory of another collector that has \
                 stored into this dataset, or start with an empty ledger: run `aqueduct ledger \
                 adopt` with the same --store, --sink and --data-dir"
            )));
        }
        let mut notes = stored.problems.clone();
        let mut sum = Sum::default();
        sources.iter().for_each(|source| sum.add_checkpoint(&source.begin));
        let entries = distinct(&sources);
        let merged = Holders::of(entries.iter().copied());
        for entry in entries {
            if self.publish(entry, &merged, &mut notes).await? {
                sum.add(entry);
            }
        }
        let generation = sources.iter().map(|source| source.generation).max().unwrap_or(0);
        let mut next = sources.iter().map(|source| source.next()).max().unwrap_or(0);
        if let Some(Published { path, index }) = visible.filter(|file| file.index >= next) {
            notes.push(format!(
                "{path} was published by commit record {index}, which neither the store nor this \
                 data directory has; its events are stored twice if a channel still has them: to \
                 prevent this, run `aqueduct ledger rebuild` with the --data-dir of the collector \
                 that stored it"
            ));
            // An index that was used before may have taken a file name.
            next = index + 1;
        }
        let mut name = Name::new(Token(self.env.entropy.bytes16()));
        for source in sources.iter().filter_map(|source| source.name.as_ref()) {
            name.follows.extend(source.follows.iter().chain([&source.identity]));
        }
        name.follows.sort_unstable();
        name.follows.dedup();
        self.install(sum.view(generation, next), &name, &mut notes).await?;
        self.take(Salvage::read(&self.fs, &self.dataset).await?, notes).await
    }

    /// Publishes the staged files of an entry; returns whether any of its files is in the store.
    async fn publish(
        &self,
        entry: &Entry,
        merged: &Holders,
        notes: &mut Vec<String>,
    ) -> Result<bool, DecisionError> {
        let Kind::Commit { keys, files } = &entry.kind else { return Ok(true) };
        let mut there = files.is_empty();
        for file in files {
            let (from, to) =
                (self.dataset.staged(&file.temp), self.dataset.published(&file.target));
            if self.exists(&to).await? {
                there = true;
                continue;
            }
            if self.exists(&from).await? {
                self.fs.mkdirs(storage::split(&to).0).await?;
                self.fs.rename(&from, &to).await?;
                there = true;
                continue;
            }
            if self.is_held(merged, &file.target).await? {
                there = true;
                continue;
            }
            notes.push(format!("{to}, named by commit record {}, does not exist", entry.index));
        }
        if !there {
            let count = keys.count();
            notes.push(format!(
                "none of the data files that commit record {} lists exists in the store, so its \
                 {count} batches count as not committed: they are stored again if their senders \
                 still have them, otherwise their events are lost",
                entry.index
            ));
        }
        Ok(there)
    }

    /// Returns whether a file was merged into an existing one.
    async fn is_held(&self, merged: &Holders, target: &str) -> Result<bool, DecisionError> {
        for holder in merged.of_file(target) {
            if self.exists(&self.dataset.published(holder)).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn exists(&self, path: &str) -> Result<bool, DecisionError> {
        match self.fs.stat(path).await {
            Ok(_) => Ok(true),
            Err(FsError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Installs a ledger whose first generation equals `view`; moves the existing one aside.
    async fn install(
        &self,
        mut view: View,
        name: &Name,
        notes: &mut Vec<String>,
    ) -> Result<(), DecisionError> {
        if !self.fs.is_tree() {
            let ledger = self.dataset.ledger();
            return Err(DecisionError::Refused(format!(
                "an object store cannot replace a ledger atomically: restore the object versions \
                 below {ledger}, or store below another prefix"
            )));
        }
        let [collector, incarnation] = [(); 2].map(|()| Token(self.env.entropy.bytes16()));
        let desk = self.dataset.staged(&Dataset::desk(WriterId { collector, incarnation }));
        // Called as the file in it: see `FileSystem::rename`.
        let (prepared, place) = (format!("{desk}/identity"), self.dataset.ledger());
        let index = view.next();
        view.absorb_seal(index);
        let begin = format!("{prepared}/g{}", view.generation() + 1);
        self.fs.mkdirs(&begin).await?;
        let content = checkpoint::encode(&view, &Floors::default(), None);
        write_file(&*self.fs, &format!("{begin}/checkpoint"), content).await?;
        write_file(&*self.fs, &format!("{prepared}/identity"), name.encode()).await?;
        if self.exists(&place).await? {
            let aside = self.dataset.staged(&format!("replaced-{incarnation}"));
            self.fs.rename(&place, &aside).await?;
            notes.push(format!("the previous ledger is now in {aside}"));
        }
        self.fs.rename(&prepared, &place).await?;
        self.fs.delete(&desk).await?;
        Ok(())
    }

    /// Remembers the ledger that was read.
    async fn take(
        &self,
        mut stored: Salvage,
        notes: Vec<String>,
    ) -> Result<Decided, DecisionError> {
        let name = match stored.name.take() {
            Some(name) => name,
            None => self.name_it().await?,
        };
        let identity = name.identity;
        stored.name = Some(name);
        let standing = known_state(&stored);
        let path = Memory::path(&self.directory, &self.name).display().to_string();
        let failed = move |source| DecisionError::Memory { path: path.clone(), source };
        let memory = Memory::load(&self.env, &self.directory, &self.name, &Turns::default()).await;
        let mut memory = memory.map_err(&failed)?;
        let Salvage { begin, checkpoint, entries, .. } = stored;
        memory.replace(identity, begin, checkpoint, entries).await.map_err(failed)?;
        Ok(Decided { standing, notes })
    }

    /// Gives the ledger an identity, unless another collector already has.
    async fn name_it(&self) -> Result<Name, DecisionError> {
        let [collector, incarnation] = [(); 2].map(|()| Token(self.env.entropy.bytes16()));
        let desk = self.dataset.staged(&Dataset::desk(WriterId { collector, incarnation }));
        let (draft, name) =
            (format!("{desk}/identity"), Name::new(Token(self.env.entropy.bytes16())));
        self.fs.mkdirs(&desk).await?;
        write_file(&*self.fs, &draft, name.encode()).await?;
        let renamed = self.fs.rename(&draft, &self.dataset.identity()).await;
        self.fs.delete(&desk).await?;
        match renamed {
            Ok(()) => Ok(name),
            Err(error @ FsError::AlreadyExists { .. }) => {
                Ok(read_name(&*self.fs, &self.dataset).await?.ok_or(error)?)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The entries of all sources, each once.
fn distinct<'a>(sources: &[&'a Salvage]) -> Vec<&'a Entry> {
    let mut seen = std::collections::BTreeSet::new();
    let all = sources.iter().flat_map(|source| &source.entries);
    all.filter(|entry| seen.insert(entry.attempt)).collect()
}

fn known_state(found: &Salvage) -> KnownState {
    let (identity, view) = (found.identity(), found.view());
    KnownState { identity, view, problems: found.problems.clone() }
}
