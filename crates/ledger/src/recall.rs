//! Compares a ledger with its collector's memory of it: when it is opened, before each commit, and
//! whenever the generation changes.
//!
//! # Rules (the simulator shows what the first prevents)
//!
//! 1. If a ledger is remembered, a missing one is never created again.
//! 2. A ledger must continue after the entries that were read from it, and know all that it knew. A
//!    shorter or another ledger is refused.
//! 3. An entry that is missing before another one is a hole, never the end.
//! 4. If files exist that entries have published, a ledger with these entries must exist. This is
//!    checked if nothing is remembered, so that a collector without a memory does not continue an
//!    older copy.

use bytes::Bytes;
use prost::Message;
use storage::{FileSystem, FsError};
use support::mutant;
use tracing::warn;

use super::change::Change;
use super::dataset::{Dataset, Token, WriterId};
use super::entry::{Entry, bytes_of, token_of};
use super::error::LedgerError;
use super::frame::{self, EntryError};
use super::store::{Ledger, write_file};
use super::view::View;
use super::visible::{Published, published_behind};

const MAGIC: &[u8; 8] = b"AQIDENTY";

#[derive(Clone, PartialEq, Message)]
struct Body {
    #[prost(bytes = "bytes", tag = "1")]
    identity: Bytes,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    follows: Vec<Bytes>,
}

/// The identity of a ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) identity: Token,
    /// The ledgers that it was rebuilt from: a collector that remembers one of them may continue
    /// with it.
    pub(super) follows: Vec<Token>,
}

impl Name {
    /// Creates the name of a ledger without predecessors.
    pub(super) fn new(identity: Token) -> Self {
        Self { identity, follows: Vec::new() }
    }

    pub(super) fn encode(&self) -> Bytes {
        let follows = self.follows.iter().map(|token| bytes_of(*token)).collect();
        frame::wrap(MAGIC, &Body { identity: bytes_of(self.identity), follows })
    }

    fn decode(framed: Bytes) -> Result<Self, EntryError> {
        let body: Body = frame::unwrap(MAGIC, framed)?;
        let follows = body.follows.iter().map(|token| token_of(token)).collect::<Result<_, _>>()?;
        Ok(Self { identity: token_of(&body.identity)?, follows })
    }
}

/// The name of the ledger of `dataset`, if it has one.
pub(super) async fn read_name(
    fs: &dyn FileSystem,
    dataset: &Dataset,
) -> Result<Option<Name>, LedgerError> {
    let path = dataset.identity();
    match fs.read(&path).await {
        Ok(framed) => match Name::decode(framed) {
            Ok(name) => Ok(Some(name)),
            Err(source) => Err(LedgerError::Entry { path, source }),
        },
        Err(FsError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The number that names a new ledger.
pub(super) fn new_identity(author: WriterId) -> Token {
    // An incarnation is random, new for each opening, and founds at most one ledger.
    Token(u128::from_be_bytes(author.incarnation.0).rotate_left(64).to_be_bytes())
}

impl Ledger {
    /// Returns an error with this change.
    pub(super) fn changed(&self, change: Change) -> LedgerError {
        LedgerError::Changed { path: self.dataset.ledger(), change }
    }

    /// Checks the identity of the ledger. Creates one if neither the ledger nor the memory has one.
    pub(super) async fn identify(&mut self) -> Result<(), LedgerError> {
        let expected = self.memory.mark.as_ref().map(|mark| mark.identity);
        let found = match (read_name(&*self.fs, &self.dataset).await?, expected) {
            (None, Some(expected)) if !mutant!("empty_ledger_begun_anew") => {
                let path = self.dataset.identity();
                return Err(self.changed(Change::Nameless { expected, path }));
            }
            (None, _) => self.name_it().await?,
            (Some(found), _) => found,
        };
        let Name { identity, follows } = found;
        if let Some(expected) = expected.filter(|expected| *expected != identity) {
            if mutant!("empty_ledger_begun_anew") {
                self.memory.view = None;
                self.known.view = View::default();
            } else if !follows.contains(&expected) {
                return Err(self.changed(Change::Other { expected, found: identity }));
            }
            self.memory.mark = None;
            self.elders.extend(self.memory.view.take());
        }
        if self.known.identity.is_some_and(|known| known != identity) {
            self.elders.push(std::mem::take(&mut self.known.view));
            self.known.last = None;
        }
        self.known.identity = Some(identity);
        (self.identity, self.follows) = (identity, follows);
        Ok(())
    }

    /// Gives a ledger of an earlier program its identity; of several that do so one wins.
    pub(super) async fn name_it(&self) -> Result<Name, LedgerError> {
        let draft = self.dataset.staged(&format!("{}/identity", Dataset::desk(self.author)));
        self.fs.delete(&draft).await?;
        let name = Name::new(new_identity(self.author));
        write_file(&*self.fs, &draft, name.encode()).await?;
        match self.fs.rename(&draft, &self.dataset.identity()).await {
            Ok(()) => Ok(name),
            Err(FsError::AlreadyExists { .. }) => {
                self.fs.delete(&draft).await?;
                let found = read_name(&*self.fs, &self.dataset).await?;
                let path = self.dataset.identity();
                found.ok_or(LedgerError::Entry { path, source: EntryError::Foreign })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes in the next entry, unless another one was read in its place before.
    pub(super) fn take_in(&mut self, entry: &Entry) -> Result<(), LedgerError> {
        self.hold_against(entry)?;
        self.known.view.absorb(entry);
        self.took_in(entry);
        Ok(())
    }

    /// Checks that an entry equals the one that was read at its index before, if any.
    pub(super) fn hold_against(&self, entry: &Entry) -> Result<(), LedgerError> {
        let generation = self.known.view.generation();
        let mark = self.memory.mark.as_ref();
        match mark.and_then(|mark| mark.attempt(generation, entry.index)) {
            Some(attempt) if attempt != entry.attempt => {
                Err(self.changed(Change::Differs { generation, index: entry.index }))
            }
            _ => Ok(()),
        }
    }

    /// An entry is in the view now.
    pub(super) fn took_in(&mut self, entry: &Entry) {
        self.known.last = Some(entry.attempt);
        if self.memory.is_kept() && entry.index >= self.memory.news(self.identity, &self.known.view)
        {
            self.fresh.push(entry.clone());
        }
    }

    /// Goes on with a newer generation, which must know all that was known before.
    pub(super) fn take_over(&mut self, newest: View) -> Result<(), LedgerError> {
        self.hold_generation_against(&newest)?;
        self.known.view = newest;
        self.turned_over();
        Ok(())
    }

    /// The view is at the beginning of another generation.
    pub(super) fn turned_over(&mut self) {
        self.known.last = None;
        self.fresh.clear();
    }

    /// Checks that a generation contains everything that is known.
    pub(super) fn hold_generation_against(&self, newest: &View) -> Result<(), LedgerError> {
        for before in self.memory.view.iter().chain([&self.known.view]) {
            let generation = newest.generation();
            if generation == before.generation() {
                if newest.first() != before.first() {
                    return Err(self.changed(Change::Differs { generation, index: before.first() }));
                }
            } else if generation < before.generation() || newest.first() < before.next() {
                return Err(self.changed(shorter(before, newest)));
            } else {
                self.knows_all_of(before, newest)?;
            }
        }
        Ok(())
    }

    fn knows_all_of(&self, before: &View, now: &View) -> Result<(), LedgerError> {
        let known = &before.settled().keys;
        let mut forgotten = known.clone();
        forgotten.remove_all(&now.settled_of(known));
        if forgotten.is_empty() {
            return Ok(());
        }
        let (generation, batches) = (now.generation(), forgotten.count());
        Err(self.changed(Change::Forgets { generation, batches }))
    }

    /// Checks that the ledger, read to its end, is as long as it was and contains as much.
    pub(super) fn hold_end_against(&mut self) -> Result<(), LedgerError> {
        let view = &self.known.view;
        if let Some(before) = self.memory.view.take() {
            if (view.generation(), view.next()) < (before.generation(), before.next()) {
                return Err(self.changed(shorter(&before, view)));
            }
            self.knows_all_of(&before, view)?;
        }
        for elder in std::mem::take(&mut self.elders) {
            if view.next() < elder.next() {
                return Err(self.changed(shorter(&elder, view)));
            }
            self.knows_all_of(&elder, view)?;
        }
        Ok(())
    }

    /// Checks that the entry that was read last still exists at its index. If a program empties or
    /// replaces the ledger of a running collector, this check stops the collector before its next
    /// commit.
    ///
    /// # Errors
    /// The entry is missing or different, or the store failed.
    pub async fn still_there(&self) -> Result<(), LedgerError> {
        let view = &self.known.view;
        let Some(last) = self.known.last else {
            // No entry of this generation was read yet: the generation itself must exist.
            let newest = self.newest().await.map_err(|error| self.or_missing(error))?;
            let is_same = newest.generation() == view.generation() && !view.is_sealed();
            if is_same && newest.settled() != view.settled() {
                let (generation, index) = (view.generation(), view.first());
                return Err(self.changed(Change::Differs { generation, index }));
            }
            return self.hold_generation_against(&newest);
        };
        let index = view.next() - 1;
        match self.read_patiently(index).await? {
            Some(entry) if entry.attempt == last => Ok(()),
            Some(_) => {
                let generation = view.generation();
                Err(self.changed(Change::Differs { generation, index }))
            }
            None => {
                let newest = self.newest().await.map_err(|error| self.or_missing(error))?;
                if newest.generation() > view.generation() {
                    return self.hold_generation_against(&newest);
                }
                Err(self.changed(shorter(view, &newest)))
            }
        }
    }

    /// Maps the error if the ledger of a collector that has read it no longer exists.
    fn or_missing(&self, error: LedgerError) -> LedgerError {
        match error {
            LedgerError::Store(error) if error.is_not_found() => {
                let (generation, entries) = (self.known.view.generation(), self.known.view.next());
                self.changed(Change::Missing { generation, entries })
            }
            error => error,
        }
    }

    /// Remembers the entries read and written since. A failing disk is logged and stops nothing: a
    /// memory that lags behind detects fewer changes.
    pub(super) async fn remember(&mut self) {
        if !self.memory.is_kept() {
            return;
        }
        if let Err(problem) = self.remembered().await {
            warn!(
                ledger = self.dataset.ledger(),
                problem,
                "cannot write the local copy of the commit ledger to the data directory; changes \
                 of the ledger from outside may go unnoticed; retrying; check the disk"
            );
        }
    }

    async fn remembered(&mut self) -> Result<(), String> {
        let told = |error: LedgerError| error.to_string();
        let view = &self.known.view;
        let (from, next) = (self.memory.news(self.identity, view), view.next());
        let is_new = self.memory.mark.as_ref().is_none_or(|mark| {
            (mark.identity, mark.generation) != (self.identity, view.generation())
        });
        let mut entries = std::mem::take(&mut self.fresh);
        entries.retain(|entry| entry.index >= from);
        if entries.len() as u64 != next.saturating_sub(from) {
            entries = self.read_range(from..next).await.map_err(told)?;
        }
        if !is_new {
            if entries.is_empty() {
                return Ok(());
            }
            return self.memory.extend(entries).await.map_err(|error| error.to_string());
        }
        let view = self.known.view.clone();
        let checkpoint = match view.generation() {
            0 => Bytes::new(),
            generation => match self.fs.read(&self.dataset.checkpoint(generation)).await {
                Ok(checkpoint) => checkpoint,
                // There is a newer one, which the next commit finds.
                Err(FsError::NotFound { .. }) => return Ok(()),
                Err(error) => return Err(error.to_string()),
            },
        };
        let replaced = self.memory.replace(self.identity, view, checkpoint, entries).await;
        replaced.map_err(|error| error.to_string())
    }

    /// If nothing is remembered: returns a visible file that entry `next` or a later one has
    /// published. A ledger that ends at `next` is then neither new nor complete.
    pub(super) async fn unrecorded(&self, next: u64) -> Result<Option<Published>, LedgerError> {
        if self.memory.mark.is_some() || !self.memory.is_kept() {
            return Ok(None);
        }
        published_behind(&*self.fs, &self.dataset, next).await
    }

    /// Returns an error for a file that the ledger, read to its end, does not name.
    pub(super) fn lacks(&self, Published { path: file, index }: Published) -> LedgerError {
        self.changed(match self.view().next() {
            0 => Change::Unrecorded { file },
            entries => Change::Behind { entries, file, index },
        })
    }
}

fn shorter(before: &View, found: &View) -> Change {
    Change::Shorter {
        expected: before.next(),
        expected_generation: before.generation(),
        found: found.next(),
        generation: found.generation(),
    }
}
