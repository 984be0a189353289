//! The ledger of a dataset as one author has it open: rolls go in, and are committed or not.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use pipeline::{Floors, KeySet};
use storage::{CreateOptions, FileSystem, FsError};
use support::mutant;
use tracing::debug;

use super::dataset::{Dataset, Token, WriterId};
use super::entry::{Entry, Share, StagedFile};
use super::error::LedgerError;
use super::idle::Watch;
use super::memory::Memory;
use super::refusals::Refusals;
use super::view::{Totals, View};
use super::work::{Work, stopped};
use crate::committer::{Attempt, AttemptKind, Verdict};

/// How often an unanswered call is checked before the commit is given up.
pub(super) const CHECKS_MAX: u32 = 5;
/// First pause between two looks; doubles.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// Names of published files: `<host>-<sink>-<ledger index>-<n>.<extension>`.
#[derive(Debug, Clone)]
pub struct FileNames {
    /// Host and sink, fit for a file name.
    pub stem: String,
    /// Without the dot.
    pub extension: String,
}

/// Settings of a ledger.
#[derive(Debug, Clone)]
pub struct Options {
    /// Names of published files.
    pub names: FileNames,
    /// Number of entries from which a generation is turned into a checkpoint.
    pub compact_after: u64,
    /// How long the stage of another collector must be unchanged before it is cleaned up.
    pub sweep_after: Duration,
}

/// A process's knowledge of a ledger, kept from one opening to the next.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The sum of the entries read so far.
    pub(super) view: View,
    /// The attempt that won the last of them, in this generation.
    pub(super) last: Option<Token>,
    /// The ledger that contains them.
    pub(super) identity: Option<Token>,
    /// Committed files that this process knows of and has not seen published.
    pub(super) unpublished: Vec<StagedFile>,
    /// The refusals that some of them wait for, and the next attempt.
    pub(super) refusals: Refusals,
    /// Epochs that their origins declared empty.
    pub(super) declared: Floors,
    /// Other collectors that may be dead.
    pub(super) watch: Watch,
}

/// Staged files that are to become visible together or not at all.
#[derive(Debug)]
pub struct Roll {
    /// Names the roll; new for each.
    pub token: Token,
    /// The batches in the files.
    pub keys: KeySet,
    /// The files.
    pub files: Vec<RollFile>,
}

/// One staged file of a roll.
#[derive(Debug, Clone)]
pub struct RollFile {
    /// Path of the staged file, below the dataset's own directory.
    pub temp: String,
    /// The directory of the published file, below the prefix; empty for the prefix itself.
    pub directory: String,
    /// Bytes.
    pub len: u64,
    /// CRC32C of its content.
    pub crc: u32,
    /// Events in it.
    pub events: u64,
    /// Its events by origin, in order; empty if they were not counted.
    pub shares: Vec<Share>,
}

/// The result of a roll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// It won this entry: its batches are delivered. Its files are published, except those that
    /// their directories refuse; those wait.
    Published(u64),
    /// Other entries contain all of its batches; its files are deleted.
    ByAnother,
    /// Other entries contain these of its batches; its files are deleted. The caller must roll the
    /// rest again.
    Overlap(KeySet),
}

/// The ledger of one dataset, as one author sees it.
pub struct Ledger {
    pub(super) fs: Arc<dyn FileSystem>,
    pub(super) dataset: Dataset,
    pub(super) author: WriterId,
    pub(super) known: Known,
    pub(super) options: Options,
    /// Tokens made so far.
    pub(super) minted: u64,
    /// The memory of its collector.
    pub(super) memory: Memory,
    /// The number that names it.
    pub(super) identity: Token,
    /// The ledgers that it was rebuilt from.
    pub(super) follows: Vec<Token>,
    /// Entries that are not remembered yet.
    pub(super) fresh: Vec<Entry>,
    /// Views of the ledgers that this one was rebuilt from, until it was read.
    pub(super) elders: Vec<View>,
    /// Waiting files that no entry names, by their path on the stage.
    pub(super) unrecorded: BTreeSet<String>,
}

impl Ledger {
    /// Creates a ledger without reading anything beyond `known`.
    pub(super) fn unread(
        fs: Arc<dyn FileSystem>,
        dataset: Dataset,
        author: WriterId,
        options: Options,
        known: Known,
    ) -> Self {
        let (memory, identity) = (Memory::none(), Token::default());
        let (follows, fresh, elders, unrecorded) = Default::default();
        Self {
            fs,
            dataset,
            author,
            known,
            options,
            minted: 0,
            memory,
            identity,
            follows,
            fresh,
            elders,
            unrecorded,
        }
    }

    /// The number that names this ledger, through all its generations.
    pub fn identity(&self) -> Token {
        self.identity
    }

    /// The ledgers that this one was rebuilt from.
    pub fn follows(&self) -> &[Token] {
        &self.follows
    }

    /// Returns the sum of the entries read so far.
    pub fn view(&self) -> &View {
        &self.known.view
    }

    /// Returns the knowledge for the next opening, so that entries need not be read again.
    pub fn into_known(mut self) -> Known {
        self.give_up_unrecorded();
        self.known
    }

    /// Declares these epochs empty: their origins report each of their batches as committed. The
    /// next compaction forgets them.
    pub fn close_epochs(&mut self, floors: &Floors) {
        self.known.declared.raise_all(floors);
    }

    /// Commits a roll and publishes its files. Whatever fails, no batch becomes visible twice. The
    /// caller must call [`Ledger::compact`] from time to time, and [`Ledger::publish_waiting`] at
    /// the time of [`Ledger::publish_due`].
    ///
    /// `closing` makes the files durable and checks their lengths. It runs while the entry is
    /// prepared; the entry is renamed only after both have succeeded.
    ///
    /// # Errors
    /// The roll is not published. It may still be committed; reopening the ledger detects that and
    /// finishes it, or deletes the files.
    pub async fn commit(
        &mut self,
        roll: Roll,
        closing: impl Future<Output = Result<(), LedgerError>> + Send,
    ) -> Result<Committed, LedgerError> {
        self.room_to_wait().await?;
        let volume = Totals::from_staged(&self.targets(&roll, ""));
        let kind = AttemptKind::Commit { keys: roll.keys.clone(), volume };
        let attempt = Attempt { author: self.author, token: roll.token, kind };
        let mut work = Work::new(attempt, &roll, Some(closing.boxed()));
        self.read_ahead().await;
        let verdict = self.advance(&mut work).await?;
        work.closed().await?;
        let prepared = work.into_prepared();
        let committed = match verdict {
            Verdict::Won(index) => {
                debug!(index, files = roll.files.len(), "wrote an entry of the commit ledger");
                let files = self.targets(&roll, &index.to_string());
                self.publish_won(files).await?;
                Committed::Published(index)
            }
            Verdict::Settled => Committed::ByAnother,
            Verdict::Overlap(known) => Committed::Overlap(known),
            verdict => return Err(stopped(&verdict, prepared)),
        };
        if !matches!(committed, Committed::Published(_)) {
            self.discard(&roll.files, prepared.as_deref()).await;
        }
        self.remember().await;
        Ok(committed)
    }

    /// The files of a roll with the names that they get under `number`.
    pub fn targets(&self, roll: &Roll, number: &str) -> Vec<StagedFile> {
        let FileNames { stem, extension } = &self.options.names;
        let target = |(n, file): (usize, &RollFile)| {
            let name = format!("{stem}-{number}-{n}.{extension}");
            let target = match file.directory.as_str() {
                "" => name,
                directory => format!("{directory}/{name}"),
            };
            let RollFile { temp, directory: _, len, crc, events, shares } = file.clone();
            StagedFile { temp, target, len, crc, events, shares }
        };
        roll.files.iter().enumerate().map(target).collect()
    }

    /// Deletes staged files that must not be published. With a prepared entry that is certain only
    /// once this very call has removed it: a rename still in progress then finds nothing, and a
    /// writer that does not recognise its own entry does no harm.
    pub(super) async fn discard(&self, files: &[RollFile], prepared: Option<&str>) {
        if let Some(prepared) = prepared
            && !matches!(self.fs.delete(prepared).await, Ok(true))
            && !mutant!("own_entry_unknown")
        {
            return;
        }
        for file in files {
            if let Err(error) = self.fs.delete(&self.dataset.staged(&file.temp)).await {
                debug!(file = file.temp, %error,
                    "cannot delete a staged file; the next start deletes it");
            }
        }
    }
}

/// A file that was closed must show every byte that was written to it.
///
/// # Errors
/// It does not, or the store failed.
pub async fn check_length(
    fs: &dyn FileSystem,
    path: &str,
    expected: u64,
) -> Result<(), LedgerError> {
    let actual = fs.stat(path).await?.len;
    if actual == expected {
        return Ok(());
    }
    Err(LedgerError::Length { path: path.into(), actual, expected })
}

/// Writes a small file and checks that it is complete.
pub(super) async fn write_file(
    fs: &dyn FileSystem,
    path: &str,
    content: Bytes,
) -> Result<(), LedgerError> {
    let len = content.len() as u64;
    let mut writer = fs.create(path, CreateOptions::default()).await?;
    writer.write(content).await?;
    writer.close().await?;
    check_length(fs, path, len).await
}

/// Reads the entry in the file `path`, which must have `index`, if the file exists.
pub(super) async fn read_entry(
    fs: Arc<dyn FileSystem>,
    path: String,
    index: u64,
) -> Result<Option<Entry>, LedgerError> {
    match fs.read(&path).await {
        Ok(bytes) => Entry::decode(bytes, index)
            .map(Some)
            .map_err(|source| LedgerError::Entry { path, source }),
        Err(FsError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
