//! Publishing: committed files get their final names. Any collector may do it, any number of times.
//!
//! ```text
//!  entry won ─► rename ──────────────► visible
//!                 └─ refused ─► waits ─ again after 1, 2, 4 … 30 s ─► visible
//! ```
//!
//! A file that its directory refuses (no permission, a quota, a file instead of a directory)
//! **waits** on the stage. Its entry is in the ledger, so its batches are delivered, and any
//! collector that opens the ledger retries. It blocks no other file and no other roll.
//!
//! A file of a roll without an entry waits too, but only this opening knows it. Its batches are
//! delivered once it is visible. If the opening ends before, they are rolled again.
//!
//! # Rules
//!
//! 1. A generation is not sealed while a file of it waits: all files in a checkpoint are visible.
//! 2. The stage of a waiting file is not deleted, neither by its own start nor by any other.
//! 3. The number of waiting files is bounded: at [`WAITING_MAX`], no further roll is committed.

use std::collections::BTreeSet;
use std::mem::take;
use std::sync::Arc;

use futures::{StreamExt, stream};
use pipeline::{Classify, ErrorClass};
use storage::{FileSystem, FsError};
use support::causes::chain;
use support::mutant;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::entry::StagedFile;
use super::error::LedgerError;
use super::refusals::Refusals;
use super::store::{CHECKS_MAX, Ledger, PAUSE, Roll};

/// Files of one commit that are published at the same time.
const PUBLISHED_AT_ONCE: usize = 32;
/// Maximum number of files that wait for their directories, some 300 bytes each.
const WAITING_MAX: usize = 4_096;

/// Logged once for a directory, when it begins to refuse files.
const REFUSED: &str = "cannot publish committed files to the directory; retrying at least every 30 \
                       s while other directories continue; make it writable for this user, or \
                       remove the file in its place";

/// A file that was refused, and why.
type Refused = (StagedFile, FsError);

impl Ledger {
    /// Tries to publish every committed file that this process knows of. Those that are refused
    /// wait.
    ///
    /// # Errors
    /// A file is nowhere, or a foreign one has its name.
    pub(super) async fn publish_all(&mut self) -> Result<(), LedgerError> {
        let files = take(&mut self.known.unpublished);
        self.publish_these(files).await
    }

    /// Publishes the files of a won roll; retries other waiting files when due.
    pub(super) async fn publish_won(&mut self, files: Vec<StagedFile>) -> Result<(), LedgerError> {
        if self.known.refusals.due.is_none_or(|due| due <= Instant::now()) {
            self.known.unpublished.extend(files);
            return self.publish_all().await;
        }
        self.publish_these(files).await
    }

    /// Retries waiting files if an attempt is due; [`Ledger::publish_due`] returns its time.
    ///
    /// # Errors
    /// As for [`Ledger::commit`].
    pub async fn publish_waiting(&mut self, now: Instant) -> Result<(), LedgerError> {
        match self.known.refusals.due {
            Some(due) if due <= now => self.publish_all().await,
            _ => Ok(()),
        }
    }

    /// Returns the time of the next attempt; `None` while no file waits.
    pub fn publish_due(&self) -> Option<Instant> {
        self.known.refusals.due
    }

    /// Returns the number of committed files that their directories have refused so far.
    pub fn waiting_files(&self) -> usize {
        self.known.unpublished.len()
    }

    /// Returns the paths of waiting files on the stage, below the dataset's own directory.
    pub fn waiting(&self) -> impl Iterator<Item = &str> {
        self.known.unpublished.iter().map(|file| file.temp.as_str())
    }

    /// A directory below the prefix that refuses files, while one does.
    pub fn refusing_directory(&self) -> Option<&str> {
        self.known.refusals.directories.first().map(String::as_str)
    }

    /// Returns `true` if this directory of the stage contains a waiting file and must stay.
    pub(super) fn awaits(&self, directory: &str) -> bool {
        let below =
            |path: String| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
        self.known.unpublished.iter().any(|file| below(self.dataset.staged(&file.temp)))
    }

    /// Checks that no file waits; the error is the refusal.
    pub(super) fn all_published(&self) -> Result<(), LedgerError> {
        if self.known.unpublished.is_empty() { Ok(()) } else { Err(self.refused()) }
    }

    /// Checks that one more roll may be committed: not too many files wait.
    pub(super) async fn room_to_wait(&mut self) -> Result<(), LedgerError> {
        if self.waiting_files() < WAITING_MAX {
            return Ok(());
        }
        self.publish_waiting(Instant::now()).await?;
        if self.waiting_files() < WAITING_MAX { Ok(()) } else { Err(self.refused()) }
    }

    /// Publishes a roll that no entry names. Refused files wait as in any roll, but only while this
    /// opening lasts, because no other opening knows them.
    ///
    /// # Errors
    /// Not all of its files are published, and they do not all wait.
    pub async fn publish_unrecorded(&mut self, roll: &Roll) -> Result<(), LedgerError> {
        self.room_to_wait().await?;
        let files = self.targets(roll, &roll.token.to_string());
        self.unrecorded.extend(files.iter().map(|file| file.temp.clone()));
        self.publish_won(files).await?;
        let waiting: BTreeSet<&str> = self.waiting().collect();
        let still = |temp: &String| waiting.contains(temp.as_str());
        let unrecorded = self.unrecorded.iter().filter(|temp| still(temp)).cloned().collect();
        self.unrecorded = unrecorded;
        Ok(())
    }

    /// Gives up waiting files that no entry names: their batches are rolled again.
    pub fn give_up_unrecorded(&mut self) {
        let unrecorded = take(&mut self.unrecorded);
        self.known.unpublished.retain(|file| !unrecorded.contains(&file.temp));
        if self.known.unpublished.is_empty() {
            self.known.refusals = Refusals::default();
        }
    }

    fn refused(&self) -> LedgerError {
        LedgerError::Refused {
            files: self.waiting_files(),
            path: self.refusing_directory().unwrap_or_default().to_owned(),
            cause: self.known.refusals.cause.clone(),
        }
    }

    /// Publishes these files. Refused files wait after those that waited before. If this future is
    /// dropped, all of them wait.
    async fn publish_these(&mut self, files: Vec<StagedFile>) -> Result<(), LedgerError> {
        let waited = self.known.unpublished.len();
        // Before any await: the entry is in the view, and no opening reads it again.
        self.known.unpublished.extend(files.iter().cloned());
        // Before the renames, so that the memory names every visible file, in case the ledger is
        // lost.
        self.remember().await;
        let all = if mutant!("one_file_published") { 1 } else { usize::MAX };
        let (mut now, mut later, mut asked) = (Vec::new(), Vec::new(), BTreeSet::new());
        for file in files.into_iter().take(all) {
            let directory = parent(&file.target);
            let refuses = self.known.refusals.directories.contains(directory);
            // In a directory that refused files, try only one of them.
            let to =
                if refuses && !asked.insert(directory.to_owned()) { &mut later } else { &mut now };
            to.push(file);
        }
        let mut refused = self.try_these(now).await?;
        let refuse: BTreeSet<String> =
            refused.iter().map(|(file, _)| parent(&file.target).to_owned()).collect();
        let (still, now): (Vec<_>, Vec<_>) =
            later.into_iter().partition(|file| refuse.contains(parent(&file.target)));
        refused.extend(self.try_these(now).await?);
        self.known.unpublished.truncate(waited);
        self.note_refused(refused, still);
        Ok(())
    }

    /// Tries to publish these files; returns those that were refused.
    async fn try_these(&self, files: Vec<StagedFile>) -> Result<Vec<Refused>, LedgerError> {
        let trying: Vec<_> = files
            .into_iter()
            .map(|file| {
                let from = self.dataset.staged(&file.temp);
                let to = self.dataset.published(&file.target);
                // A directory that just refused is not worth a pause that blocks everything else.
                let refuses = self.known.refusals.directories.contains(parent(&file.target));
                let patience = if refuses { 0 } else { CHECKS_MAX };
                let fs = self.fs.clone();
                async move { (publish(fs, from, to, patience).await, file) }
            })
            .collect();
        let mut tried = stream::iter(trying).buffer_unordered(PUBLISHED_AT_ONCE);
        let (mut refused, mut worst) = (Vec::new(), Ok(()));
        while let Some((published, file)) = tried.next().await {
            match published {
                Ok(()) => {}
                Err(LedgerError::Store(error)) => refused.push((file, error)),
                // Others have published it, and merged it since.
                Err(LedgerError::Vanished { .. }) if self.is_merged(&file.target).await? => {}
                // A file is missing, or its name is taken: publish the others first.
                Err(error) => worst = Err(error),
            }
        }
        worst.map(|()| refused)
    }

    /// Adds refused files to the waiting ones; `untried` are in directories that refused other
    /// files.
    fn note_refused(&mut self, refused: Vec<Refused>, untried: Vec<StagedFile>) {
        let before = take(&mut self.known.refusals);
        let now = &mut self.known.refusals;
        for (file, error) in &refused {
            let (directory, error) = (parent(&file.target), chain(error));
            now.cause.clone_from(&error);
            if now.directories.insert(directory.to_owned())
                && !before.directories.contains(directory)
            {
                let (below, place) = (&file.target, self.dataset.published(directory));
                warn!(directory = place, file = below, %error, "{REFUSED}");
            }
        }
        let waiting = &mut self.known.unpublished;
        let mut known: BTreeSet<String> = waiting.iter().map(|file| file.temp.clone()).collect();
        let waits = refused.into_iter().map(|(file, _)| file).chain(untried);
        waiting.extend(waits.filter(|file| known.insert(file.temp.clone())));
        if waiting.is_empty() {
            if before.due.is_some() {
                info!("all waiting files are published");
            }
        } else if now.directories.is_empty() {
            // No waiting file was tried.
            *now = before;
        } else {
            now.wait(before, Instant::now());
        }
    }
}

/// The directory of a target, below the prefix; empty for the prefix itself.
fn parent(target: &str) -> &str {
    target.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// Renames one committed file to its final name, with retries for temporary failures.
async fn publish(
    fs: Arc<dyn FileSystem>,
    from: String,
    to: String,
    patience: u32,
) -> Result<(), LedgerError> {
    for attempt in 0.. {
        match publish_by_one_try(&*fs, &from, &to).await {
            Err(LedgerError::Store(error))
                if attempt < patience && error.class() != ErrorClass::Fatal =>
            {
                sleep(PAUSE * 2_u32.pow(attempt)).await;
            }
            published => return published,
        }
    }
    unreachable!("the last attempt returns")
}

/// Others may do the same at the same time, and any number of times. The files that exist decide,
/// not the answer of a rename.
async fn publish_by_one_try(fs: &dyn FileSystem, from: &str, to: &str) -> Result<(), LedgerError> {
    for made in [false, true] {
        let Err(error) = fs.rename(from, to).await else { return Ok(()) };
        // In this order: a move between the two looks moves it to `to`.
        let staged = exists(fs, from).await?;
        let published = exists(fs, to).await?;
        match (staged, published) {
            (false, true) => return Ok(()),
            (false, false) => return Err(LedgerError::Vanished { path: to.into() }),
            // Both names exist if an object store has copied and its answer was lost: the next
            // attempt decides.
            (true, true) if !fs.is_tree() && !error.is_already_exists() => {
                return Err(error.into());
            }
            (true, true) => {
                return Err(LedgerError::Occupied { path: to.into(), staged: from.into() });
            }
            (true, false) if error.is_not_found() && !made => {
                fs.mkdirs(storage::split(to).0).await?;
            }
            (true, false) => return Err(error.into()),
        }
    }
    unreachable!("the second rename returns")
}

async fn exists(fs: &dyn FileSystem, path: &str) -> Result<bool, LedgerError> {
    match fs.stat(path).await {
        Ok(_) => Ok(true),
        Err(FsError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
