//! The loop around [`Committer`]: executes the steps that the pure part requests.

use pipeline::{Classify, ErrorClass, KeySet};
use storage::FsError;
use support::mutant;
use tokio::time::sleep;
use tokio::try_join;
use tracing::debug;

use super::dataset::{Dataset, PREPARED, Token};
use super::entry::{Entry, Kind};
use super::error::LedgerError;
use super::store::{CHECKS_MAX, Ledger, PAUSE, Roll, read_entry, write_file};
use super::sweep::READ_AT_ONCE;
use super::work::{Work, stopped};
use crate::committer::{Attempt, AttemptKind, Committer, Outcome, Step, Verdict};

impl Ledger {
    /// Appends an entry that is not a commit, unless the ledger already has an equivalent one.
    pub(super) async fn append(&mut self, kind: AttemptKind) -> Result<Verdict, LedgerError> {
        let token = self.mint();
        let attempt = Attempt { author: self.author, token, kind };
        let no_files = Roll { token, keys: KeySet::default(), files: Vec::new() };
        let mut work = Work::new(attempt, &no_files, None);
        let verdict = self.advance(&mut work).await?;
        let prepared = work.into_prepared();
        match verdict {
            Verdict::Won(_) => {}
            Verdict::Settled => self.discard(&[], prepared.as_deref()).await,
            verdict => return Err(stopped(&verdict, prepared)),
        }
        Ok(verdict)
    }

    /// A token for an attempt of this author: none of another author begins like it.
    pub(super) fn mint(&mut self) -> Token {
        self.minted += 1;
        let number = u128::from(self.minted);
        Token((u128::from_be_bytes(self.author.incarnation.0) ^ number).to_be_bytes())
    }

    /// Reads entries that others have appended since, several at a time. Errors are ignored here:
    /// the attempt that follows runs into them again.
    pub(super) async fn read_ahead(&mut self) {
        let mut at_once = 1;
        loop {
            let next = self.view().next();
            let Ok(entries) = self.read_range(next..next + at_once).await else { return };
            if !entries.is_empty() {
                debug!(first = next, entries = entries.len(), "read the commit ledger");
            }
            for entry in &entries {
                if self.note_own(entry).await.is_err() || self.take_in(entry).is_err() {
                    return;
                }
            }
            if (entries.len() as u64) < at_once {
                return;
            }
            at_once = READ_AT_ONCE as u64;
        }
    }

    /// Notes the files of an entry that this author won unnoticed, for example by an attempt that
    /// was given up. No other collector publishes them, and once the entry is in the view, no later
    /// opening looks at it again.
    async fn note_own(&mut self, entry: &Entry) -> Result<(), LedgerError> {
        if entry.author == self.author {
            let staged = self.staged_by(self.author).await?;
            self.note_files(entry.clone(), &staged);
        }
        Ok(())
    }

    /// Runs an attempt to its end, across generations if necessary.
    pub(super) async fn advance(&mut self, work: &mut Work<'_>) -> Result<Verdict, LedgerError> {
        if !mutant!("empty_ledger_begun_anew") {
            self.still_there().await?;
        }
        loop {
            match self.try_once(work).await? {
                Verdict::Sealed => self.succeed().await?,
                verdict => return Ok(verdict),
            }
        }
    }

    /// Executes the committer's steps until it is done.
    async fn try_once(&mut self, work: &mut Work<'_>) -> Result<Verdict, LedgerError> {
        let mut committer = Committer::new(work.attempt.clone(), &self.known.view);
        // The entry that the next outcome may add to the view.
        let (mut silent, mut coming) = (0, None);
        loop {
            let outcome = match committer.step(&self.known.view) {
                Step::Done(verdict) => return Ok(verdict),
                Step::Prepare(index) => {
                    if let Some(lost) = work.prepared.take() {
                        // Its index belongs to another author permanently; the next start removes
                        // leftovers.
                        drop(self.fs.delete(&lost).await);
                    }
                    let entry = self.entry(work, index);
                    coming = Some(entry.clone());
                    let (path, ()) = try_join!(self.prepare(entry), work.closed())?;
                    work.prepared = Some(path);
                    Outcome::Prepared
                }
                Step::Win(index) => {
                    let from = work.prepared.as_deref();
                    let from = from.expect("an entry is prepared before it wins");
                    let to = self.dataset.entry(self.known.view.generation(), index);
                    if mutant!("no_cas") {
                        drop(self.fs.delete(&to).await);
                    }
                    let mut renamed = self.fs.rename(from, &to).await;
                    if mutant!("parents_made") && renamed.as_ref().is_err_and(FsError::is_not_found)
                    {
                        drop(self.fs.mkdirs(storage::split(&to).0).await);
                        renamed = self.fs.rename(from, &to).await;
                    }
                    match renamed {
                        Ok(()) => Outcome::Won,
                        Err(FsError::AlreadyExists { .. }) => Outcome::Taken,
                        Err(FsError::NotFound { .. }) => Outcome::Missing,
                        Err(error) if error.class() == ErrorClass::Indeterminate => {
                            silent += 1;
                            if silent > CHECKS_MAX {
                                return Err(error.into());
                            }
                            sleep(PAUSE * 2_u32.pow(silent)).await;
                            Outcome::Unknown
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
                Step::Reload => {
                    let newest = self.newest().await?;
                    self.hold_generation_against(&newest)?;
                    Outcome::Reloaded(Box::new(newest))
                }
                Step::Read(index) => match self.read_patiently(index).await? {
                    Some(entry) => {
                        self.hold_against(&entry)?;
                        self.note_own(&entry).await?;
                        coming = Some(entry.clone());
                        Outcome::Entry(Box::new(entry))
                    }
                    None => Outcome::NoEntry,
                },
            };
            let before = (self.view().generation(), self.view().next());
            committer.on(outcome, &mut self.known.view);
            self.followed(before, &coming);
        }
    }

    /// Records the additions of an outcome to the view, which was at `before`.
    fn followed(&mut self, before: (u64, u64), coming: &Option<Entry>) {
        let (generation, next) = (self.view().generation(), self.view().next());
        if generation != before.0 {
            self.turned_over();
        } else if let Some(entry) = coming.as_ref().filter(|entry| entry.index + 1 == next)
            && next > before.1
        {
            self.took_in(entry);
        }
    }

    /// Returns the entry to write if the attempt wins `index`.
    fn entry(&self, work: &Work<'_>, index: u64) -> Entry {
        let attempt = &work.attempt;
        let kind = match &attempt.kind {
            AttemptKind::Commit { keys, .. } => {
                let files = self.targets(work.roll, &index.to_string());
                Kind::Commit { keys: keys.clone(), files }
            }
            AttemptKind::Fence(author) => Kind::Fence(*author),
            AttemptKind::Seal(_) => Kind::Seal,
            AttemptKind::Merge { merge, .. } => Kind::Merge(merge.clone()),
        };
        Entry { index, author: attempt.author, attempt: attempt.token, kind }
    }

    /// Writes an entry to the stage; its path.
    async fn prepare(&self, entry: Entry) -> Result<String, LedgerError> {
        let desk = Dataset::desk(self.author);
        let name = format!("{desk}/{}.{}{PREPARED}", entry.attempt, entry.index);
        let path = self.dataset.staged(&name);
        write_file(&*self.fs, &path, entry.encode()).await?;
        Ok(path)
    }

    /// Returns the entry at `index`, if it exists. Retries when the store does not answer.
    pub(super) async fn read_patiently(&self, index: u64) -> Result<Option<Entry>, LedgerError> {
        for attempt in 0.. {
            match self.read(index).await {
                Err(LedgerError::Store(error))
                    if error.class() == ErrorClass::Indeterminate && attempt < CHECKS_MAX =>
                {
                    debug!(index, %error,
                        "no response from the store; reading the ledger entry again");
                    sleep(PAUSE * 2_u32.pow(attempt)).await;
                }
                result => return result,
            }
        }
        unreachable!("the last attempt returns")
    }

    /// Returns the entry at `index`, if it exists.
    pub(super) async fn read(&self, index: u64) -> Result<Option<Entry>, LedgerError> {
        let path = self.dataset.entry(self.known.view.generation(), index);
        read_entry(self.fs.clone(), path, index).await
    }
}
