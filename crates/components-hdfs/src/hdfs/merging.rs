//! The task that merges the small files of directories whose time is over.
//!
//! ```text
//!  the time in the path is over ─after─► files of less than half the limit, in the order of the
//!     ledger ─► one of up to the limit (`ledger::merge`) ─► … ─► note removed ─► marker, if any
//! ```
//!
//! Which directories there are is in the notes of the ledger, as for markers: what has a note is
//! merged by any collector, after a kill by the next opening. Each goes through the directories in
//! an order of its own, so that two seldom copy the same files; if they do, the ledger lets one
//! win. A directory is marked as complete after it was merged, and one that is marked is not
//! merged: a job that begins by the marker finds the files that it has listed.
//!
//! Where the store refuses to put files together (a snapshot holds one, an encryption zone), they
//! stay as they are, and their directory is not waited for. What was begun is tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ledger::{Ledger, LedgerError, MergeLimits, MergeOutcome, NoteKind, NotedPlace};
use metrics::{Counter, FloatGauge};
use storage::CreateOptions;
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::writer::{Settings, now};

/// Pause between two looks at the notes at most; it is shorter where `after` is.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Tries of one directory, while the store answers otherwise: a file of it cannot be read.
const TRIES_MAX: u32 = 20;

/// When the files of a directory are merged, and what counts it.
#[derive(Debug)]
pub(super) struct Compact {
    /// Time from the end of what the path shows.
    pub(super) after: Duration,
    /// Merges that were made.
    pub(super) merges: Counter,
    /// Files that became one by them.
    pub(super) files: Counter,
    /// Their bytes.
    pub(super) bytes: Counter,
    /// Directories that the store refuses to merge.
    pub(super) given_up: Counter,
    /// Directories that are not merged yet.
    pub(super) due: FloatGauge,
}

/// What became of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// Nothing is left to merge.
    Merged,
    /// The store refuses it.
    GivenUp,
    /// Another collector was faster; there may be more.
    Later,
}

/// The task of one opening.
pub(super) struct Merging {
    pub(super) settings: Arc<Settings>,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    /// Bytes of a file at most.
    pub(super) size_max: u64,
    /// How files are laid out.
    pub(super) options: CreateOptions,
    /// By the name of the note.
    pub(super) due: BTreeMap<String, Vec<NotedPlace>>,
    /// Tries of a directory that have failed.
    pub(super) failures: BTreeMap<String, u32>,
}

/// The directories, of all collectors, whose files are to be merged still.
pub(super) async fn unmerged(ledger: &Mutex<Ledger>) -> Result<BTreeSet<String>, LedgerError> {
    let mut directories = BTreeSet::new();
    let notes = ledger.lock().await.notes(NoteKind::Merge).await?;
    for note in notes {
        let places = ledger.lock().await.noted(NoteKind::Merge, &note).await?;
        directories.extend(places.into_iter().map(|place| place.directory));
    }
    Ok(directories)
}

impl Merging {
    /// Looks again and again, until it is aborted.
    pub(super) async fn run(mut self) {
        let settings = self.settings.clone();
        let Some(compact) = &settings.compact else { return };
        let mut failed = false;
        loop {
            match self.turn(compact).await {
                Ok(()) => failed = false,
                Err(error) if failed => tracing::debug!(%error, "files are not merged yet"),
                Err(error) => {
                    failed = true;
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "files are not merged yet; it is tried again");
                }
            }
            sleep(PAUSE_MAX.min(compact.after)).await;
        }
    }

    /// Merges what is due. The ledger is held for one step at a time: commits come first.
    async fn turn(&mut self, compact: &Compact) -> Result<(), LedgerError> {
        // What the store has refused before may be possible now.
        self.ledger.lock().await.finish_merges().await?;
        let notes: BTreeSet<String> =
            self.ledger.lock().await.notes(NoteKind::Merge).await?.into_iter().collect();
        // Others may have done it.
        self.due.retain(|note, _| notes.contains(note));
        for note in notes {
            if !self.due.contains_key(&note) {
                let places = self.ledger.lock().await.noted(NoteKind::Merge, &note).await?;
                self.due.insert(note, places);
            }
        }
        let after = i64::try_from(compact.after.as_millis()).unwrap_or(i64::MAX);
        let end = now(&self.settings.env).saturating_sub(after);
        let rules = &self.settings.rules;
        let over = self.due.values().flatten().filter(|place| rules.is_over(place.at, end));
        let over: BTreeSet<String> = over.map(|place| place.directory.clone()).collect();
        let mut over: Vec<_> =
            over.into_iter().map(|it| (self.settings.env.entropy.next_u64(), it)).collect();
        over.sort_unstable();
        for (_, directory) in over {
            let done = match self.directory(compact, &directory).await {
                Ok(done) => done,
                Err(error) => {
                    let failures = self.failures.entry(directory.clone()).or_default();
                    *failures += 1;
                    tracing::debug!(directory, %error, "files of a directory are not merged yet");
                    if *failures < TRIES_MAX { Done::Later } else { Done::GivenUp }
                }
            };
            if done == Done::GivenUp {
                compact.given_up.inc();
                tracing::warn!(directory, "the small files of a directory stay as they are");
            }
            if done != Done::Later {
                self.failures.remove(&directory);
                self.due.values_mut().for_each(|due| due.retain(|it| it.directory != directory));
            }
        }
        let done: Vec<String> =
            self.due.extract_if(.., |_, due| due.is_empty()).map(|(note, _)| note).collect();
        for note in done {
            self.ledger.lock().await.remove_note(NoteKind::Merge, &note).await?;
        }
        let left = self.due.values().flatten().map(|place| &place.directory);
        compact.due.set(left.collect::<BTreeSet<_>>().len() as f64);
        Ok(())
    }

    /// Merges files of one directory until nothing is left to merge.
    async fn directory(&self, compact: &Compact, directory: &str) -> Result<Done, LedgerError> {
        let unless = self.settings.marker.as_ref().map(|marker| marker.name.as_str());
        let limits = MergeLimits { size_max: self.size_max, unless, options: self.options };
        loop {
            let Some(base) = self.ledger.lock().await.merge_base(directory).await? else {
                return Ok(Done::GivenUp);
            };
            let Some(draft) = base.draft(limits).await? else { return Ok(Done::Merged) };
            match self.ledger.lock().await.merge(draft).await? {
                MergeOutcome::Won { files, bytes } => {
                    compact.merges.inc();
                    compact.files.inc_by(files);
                    compact.bytes.inc_by(bytes);
                }
                MergeOutcome::Stale => return Ok(Done::Later),
            }
        }
    }
}
