//! The loop around [`Committer`]: it does what the pure part asks for, and publishes what was won.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use pipeline::{Class, Classify, KeySet, mutant};
use storage::{CreateOptions, FileSystem, FsError};
use tokio::time::sleep;
use tokio::try_join;
use tracing::debug;

use super::dataset::{Author, Dataset, PREPARED, Token};
use super::entry::{Entry, Kind, StagedFile};
use super::error::LedgerError;
use super::view::View;
use crate::committer::{Attempt, Committer, Outcome, Step, Verdict};

/// Files of one commit that are published at the same time.
const PUBLISHED_AT_ONCE: usize = 8;
/// How often a call that got no answer is looked into before the commit is given up.
pub(super) const PATIENCE: u32 = 5;
/// First pause between two looks; doubles.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// What published files are called: `<host>-<sink>-<ledger index>-<n>.<extension>`.
#[derive(Debug, Clone)]
pub struct FileNames {
    /// Host and sink, fit for a file name.
    pub stem: String,
    /// Without the dot.
    pub extension: String,
}

/// How a ledger is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// What published files are called.
    pub names: FileNames,
    /// Entries of a generation from which on it is made into one checkpoint.
    pub compact_after: u64,
}

/// Staged files that are to become visible together or not at all.
#[derive(Debug)]
pub struct Roll {
    /// Names the roll; new for each.
    pub token: Token,
    /// The batches that the files hold.
    pub keys: KeySet,
    /// The files.
    pub files: Vec<RollFile>,
}

/// One staged file of a roll.
#[derive(Debug)]
pub struct RollFile {
    /// Where it is staged, below the dataset's own directory.
    pub temp: String,
    /// The directory that it is published in, below the prefix; empty for the prefix itself.
    pub directory: String,
    /// Bytes.
    pub len: u64,
    /// CRC32C of its content.
    pub crc: u32,
    /// Events in it.
    pub events: u64,
}

/// What became of a roll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// It is this entry, and its files are published.
    Published(u64),
    /// Other entries hold all of its batches; its files are deleted.
    Elsewhere,
    /// Other entries hold these of its batches; its files are deleted, the rest is to be rolled
    /// anew.
    Overlap(KeySet),
}

/// The ledger of one dataset, as one author sees it.
pub struct Ledger {
    pub(super) fs: Arc<dyn FileSystem>,
    pub(super) dataset: Dataset,
    pub(super) author: Author,
    pub(super) view: View,
    /// Committed files that this process knows of and has not seen published.
    pub(super) unpublished: Vec<StagedFile>,
    pub(super) options: Options,
}

impl Ledger {
    /// The ledger as it is before anything was read.
    pub(super) fn unread(
        fs: Arc<dyn FileSystem>,
        dataset: Dataset,
        author: Author,
        options: Options,
        view: View,
        unpublished: Vec<StagedFile>,
    ) -> Self {
        Self { fs, dataset, author, view, unpublished, options }
    }

    /// What the entries read so far say.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// What is kept when the store is opened anew: the entries need not be read again.
    pub fn into_known(self) -> (View, Vec<StagedFile>) {
        (self.view, self.unpublished)
    }

    /// Commits a roll and publishes its files. Whatever goes wrong, no batch becomes visible twice.
    /// [`Ledger::compact`] is due from time to time.
    ///
    /// `closing` makes the files durable and finds them to be of the right length. It goes on while
    /// the entry is prepared; the entry is renamed in only after both have ended well.
    ///
    /// # Errors
    /// The roll is not published. It may be committed all the same; opening the ledger anew finds
    /// that out and finishes it, or deletes the files.
    pub async fn commit(
        &mut self,
        roll: Roll,
        closing: impl Future<Output = Result<(), LedgerError>> + Send,
    ) -> Result<Committed, LedgerError> {
        let mut prepared = None;
        let mut closing = Some(closing.boxed());
        let (verdict, files) = loop {
            match self.advance(&roll, &mut closing, &mut prepared).await? {
                (Verdict::Sealed, _) => self.succeed().await?,
                ended => break ended,
            }
        };
        closed(closing.take()).await?;
        let committed = match verdict {
            Verdict::Won(index) => {
                self.unpublished.extend(files);
                self.publish_all().await?;
                Committed::Published(index)
            }
            Verdict::Settled => Committed::Elsewhere,
            Verdict::Overlap(known) => Committed::Overlap(known),
            Verdict::Fenced => return Err(LedgerError::Fenced),
            Verdict::Withdrawn | Verdict::Sealed => {
                return Err(LedgerError::Withdrawn { path: prepared.unwrap_or_default() });
            }
        };
        if !matches!(committed, Committed::Published(_)) {
            self.discard(&roll.files, prepared.as_deref()).await;
        }
        Ok(committed)
    }

    /// Publishes a roll without an entry: its batches may become visible again when they are given
    /// back and rolled anew.
    ///
    /// # Errors
    /// Not all of its files are published.
    pub async fn publish_unrecorded(&mut self, roll: &Roll) -> Result<(), LedgerError> {
        self.unpublished.extend(self.targets(roll, &roll.token.to_string()));
        self.publish_all().await
    }

    /// Does what the committer asks for until it is done. `closing` is what has to end before an
    /// entry may win; `prepared` is the entry that may be on its way into the ledger.
    async fn advance(
        &mut self,
        roll: &Roll,
        closing: &mut Option<Closing<'_>>,
        prepared: &mut Option<String>,
    ) -> Result<(Verdict, Vec<StagedFile>), LedgerError> {
        let attempt = Attempt { author: self.author, token: roll.token, keys: roll.keys.clone() };
        let mut committer = Committer::new(attempt, &self.view);
        let (mut files, mut silent) = (Vec::new(), 0);
        loop {
            let outcome = match committer.step(&self.view) {
                Step::Done(verdict) => return Ok((verdict, files)),
                Step::Prepare(index) => {
                    if let Some(lost) = prepared.take() {
                        // Its index is another's for good; a leftover is swept at the next start.
                        drop(self.fs.delete(&lost).await);
                    }
                    files = self.targets(roll, &index.to_string());
                    let preparing = self.prepare(roll, index, files.clone());
                    let (path, ()) = try_join!(preparing, closed(closing.take()))?;
                    *prepared = Some(path);
                    Outcome::Prepared
                }
                Step::Win(index) => {
                    let from = prepared.as_deref().expect("an entry is prepared before it wins");
                    let to = self.dataset.entry(self.view.generation(), index);
                    if mutant!("no_cas") {
                        drop(self.fs.delete(&to).await);
                    }
                    match self.fs.rename(from, &to).await {
                        Ok(()) => Outcome::Won,
                        Err(FsError::AlreadyExists { .. }) => Outcome::Taken,
                        Err(FsError::NotFound { .. }) => Outcome::Missing,
                        Err(error) if error.class() == Class::Indeterminate => {
                            silent += 1;
                            if silent > PATIENCE {
                                return Err(error.into());
                            }
                            sleep(PAUSE * 2_u32.pow(silent)).await;
                            Outcome::Unknown
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
                Step::Reload => Outcome::Reloaded(Box::new(self.newest().await?)),
                Step::Read(index) => match self.read_patiently(index).await? {
                    Some(entry) => Outcome::Entry(Box::new(entry)),
                    None => Outcome::NoEntry,
                },
            };
            committer.on(outcome, &mut self.view);
        }
    }

    /// The files of a roll with the names that they get under `number`.
    fn targets(&self, roll: &Roll, number: &str) -> Vec<StagedFile> {
        let FileNames { stem, extension } = &self.options.names;
        let target = |(n, file): (usize, &RollFile)| {
            let name = format!("{stem}-{number}-{n}.{extension}");
            let target = match file.directory.as_str() {
                "" => name,
                directory => format!("{directory}/{name}"),
            };
            let RollFile { temp, len, crc, events, .. } = file;
            StagedFile { temp: temp.clone(), target, len: *len, crc: *crc, events: *events }
        };
        roll.files.iter().enumerate().map(target).collect()
    }

    /// Writes the entry of a roll for `index`; the path of the prepared entry.
    async fn prepare(
        &self,
        roll: &Roll,
        index: u64,
        files: Vec<StagedFile>,
    ) -> Result<String, LedgerError> {
        let kind = Kind::Commit { keys: roll.keys.clone(), files };
        self.prepare_entry(Entry { index, author: self.author, attempt: roll.token, kind }).await
    }

    /// Writes an entry to the stage; its path.
    pub(super) async fn prepare_entry(&self, entry: Entry) -> Result<String, LedgerError> {
        let desk = Dataset::desk(self.author);
        let name = format!("{desk}/{}.{}{PREPARED}", entry.attempt, entry.index);
        let path = self.dataset.staged(&name);
        write_file(&*self.fs, &path, entry.encode()).await?;
        Ok(path)
    }

    /// The entry at `index`, if there is one. Looks again when the store gives no answer.
    async fn read_patiently(&self, index: u64) -> Result<Option<Entry>, LedgerError> {
        for attempt in 0.. {
            match self.read(index).await {
                Err(LedgerError::Store(error))
                    if error.class() == Class::Indeterminate && attempt < PATIENCE =>
                {
                    debug!(index, %error, "looking again for an entry of the ledger");
                    sleep(PAUSE * 2_u32.pow(attempt)).await;
                }
                result => return result,
            }
        }
        unreachable!("the last attempt returns")
    }

    /// The entry at `index`, if there is one.
    pub(super) async fn read(&self, index: u64) -> Result<Option<Entry>, LedgerError> {
        let path = self.dataset.entry(self.view.generation(), index);
        read_entry(self.fs.clone(), path, index).await
    }

    /// Publishes every committed file that this process knows of.
    pub(super) async fn publish_all(&mut self) -> Result<(), LedgerError> {
        let all = if mutant!("one_file_published") { 1 } else { usize::MAX };
        let publishing: Vec<_> = (self.unpublished.iter().take(all))
            .map(|file| {
                let from = self.dataset.staged(&file.temp);
                publish(self.fs.clone(), from, self.dataset.published(&file.target))
            })
            .collect();
        let mut publishing = stream::iter(publishing).buffer_unordered(PUBLISHED_AT_ONCE);
        while publishing.try_next().await?.is_some() {}
        self.unpublished.clear();
        Ok(())
    }

    /// Deletes staged files that are not to be published. With a prepared entry that is certain
    /// only once this very call has removed it: a rename still under way then finds nothing.
    async fn discard(&self, files: &[RollFile], prepared: Option<&str>) {
        if let Some(prepared) = prepared
            && !matches!(self.fs.delete(prepared).await, Ok(true))
        {
            return;
        }
        for file in files {
            if let Err(error) = self.fs.delete(&self.dataset.staged(&file.temp)).await {
                debug!(file = file.temp, %error, "a staged file is left to the next opening");
            }
        }
    }
}

/// The files of a roll on their way to being whole.
type Closing<'a> = BoxFuture<'a, Result<(), LedgerError>>;

/// Waits until the files are whole, unless they were found to be before.
async fn closed(closing: Option<Closing<'_>>) -> Result<(), LedgerError> {
    match closing {
        Some(closing) => closing.await,
        None => Ok(()),
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

/// Writes a small file and looks whether it is whole.
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

/// The entry in the file `path`, which is that of `index`, if there is one.
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

/// Renames one committed file to its final name. Others may do the same at the same time, and any
/// number of times: what lies where decides, not what a rename answered.
async fn publish(fs: Arc<dyn FileSystem>, from: String, to: String) -> Result<(), LedgerError> {
    for attempt in 0.. {
        let Err(error) = fs.rename(&from, &to).await else { return Ok(()) };
        // In this order: whoever moves the file between the two looks moves it to `to`.
        let staged = exists(&*fs, &from).await?;
        let published = exists(&*fs, &to).await?;
        match (staged, published) {
            (false, true) => return Ok(()),
            (false, false) => return Err(LedgerError::Vanished { path: to }),
            (true, true) => return Err(LedgerError::Occupied { path: to, staged: from }),
            (true, false) if attempt == PATIENCE => return Err(error.into()),
            (true, false) if error.is_not_found() => fs.mkdirs(storage::split(&to).0).await?,
            (true, false) => sleep(PAUSE * 2_u32.pow(attempt)).await,
        }
    }
    unreachable!("the last attempt returns")
}

async fn exists(fs: &dyn FileSystem, path: &str) -> Result<bool, LedgerError> {
    match fs.stat(path).await {
        Ok(_) => Ok(true),
        Err(FsError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
