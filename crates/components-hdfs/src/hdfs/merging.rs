//! Merges the small files of directories whose period is over.
//!
//! ```text
//!  the time in the path is over ─after─► files of less than half the limit, in ledger order
//!     ─► one of up to the limit (`ledger::merge`) ─► … ─► note removed ─► marker, if any
//! ```
//!
//! The notes of the ledger list the directories, as for markers: any collector merges directories
//! with a note, and after a kill the next opening does. Each collector uses a random order, so that
//! two rarely copy the same files; if they do, the ledger accepts one merge. A directory is marked
//! after its merge, and a marked directory is never merged, so that a job that starts at the marker
//! finds all listed files.
//!
//! If the store refuses to concatenate files (because of a snapshot, an encryption zone, or a
//! network disk), they stay unchanged, and the directory is skipped. Started merges are retried.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ledger::{Ledger, LedgerError, MergeLimits, MergeOutcome, NoteKind, NotedPlace};
use pipeline::{Classify, ErrorClass};
use storage::CreateOptions;
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::due::Due;
use super::settings::{Compact, Settings, now};

/// Maximum pause between reads of the notes; a shorter `after` shortens it.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Maximum attempts for a directory with an unreadable file, while the store responds otherwise.
const TRIES_MAX: u32 = 20;

/// Result for a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// Nothing is left to merge.
    Merged,
    /// The store refuses it.
    GivenUp,
    /// Another collector was faster; there may be more.
    Later,
}

/// A directory with a note.
struct Unmerged(NotedPlace);

impl From<NotedPlace> for Unmerged {
    fn from(place: NotedPlace) -> Self {
        Self(place)
    }
}

impl AsRef<NotedPlace> for Unmerged {
    fn as_ref(&self) -> &NotedPlace {
        &self.0
    }
}

/// The merge task of one opening.
pub(super) struct Merging {
    settings: Arc<Settings>,
    ledger: Arc<Mutex<Ledger>>,
    /// Maximum size of a file.
    size_max: u64,
    /// Layout of the files.
    options: CreateOptions,
    due: Due<Unmerged>,
    /// Whether the store can concatenate files, once known.
    is_possible: Option<bool>,
    /// Failed attempts per directory.
    failures: BTreeMap<String, u32>,
}

/// Returns the directories of all collectors that still have files to merge.
pub(super) async fn unmerged(ledger: &Mutex<Ledger>) -> Result<BTreeSet<String>, LedgerError> {
    let mut due = Due::<Unmerged>::new(NoteKind::Merge);
    due.read(ledger).await?;
    Ok(due.iter().map(|Unmerged(place)| place.directory.clone()).collect())
}

impl Merging {
    /// Creates the task for this ledger, with files of up to `size_max` bytes.
    pub(super) fn new(
        settings: Arc<Settings>,
        ledger: Arc<Mutex<Ledger>>,
        size_max: u64,
        options: CreateOptions,
    ) -> Self {
        let (due, failures) = (Due::new(NoteKind::Merge), BTreeMap::new());
        Self { settings, ledger, size_max, options, due, is_possible: None, failures }
    }

    /// Works periodically until it is aborted.
    pub(super) async fn run(mut self) {
        let settings = self.settings.clone();
        let Some(compact) = &settings.compact else { return };
        loop {
            let turn = self.turn(compact).await;
            self.due.ended(&turn, "cannot merge small files");
            sleep(PAUSE_MAX.min(compact.after)).await;
        }
    }

    /// Merges due directories. Locks the ledger for one step at a time, so that commits come first.
    async fn turn(&mut self, compact: &Compact) -> Result<(), LedgerError> {
        // A merge that the store refused earlier may be possible now.
        self.ledger.lock().await.finish_merges().await?;
        self.is_possible = Some(self.possible().await?);
        self.due.read(&self.ledger).await?;
        let after = i64::try_from(compact.after.as_millis()).unwrap_or(i64::MAX);
        let end = now(&self.settings.env).saturating_sub(after);
        let rules = &self.settings.rules;
        let over = self.due.iter().filter(|Unmerged(place)| rules.is_over(place.at, end));
        let over: BTreeSet<String> = over.map(|Unmerged(place)| place.directory.clone()).collect();
        let mut over: Vec<_> =
            over.into_iter().map(|it| (self.settings.env.entropy.next_u64(), it)).collect();
        over.sort_unstable();
        for (_, directory) in over {
            let done = match self.directory(compact, &directory).await {
                Ok(done) => done,
                Err(error) => {
                    let failures = self.failures.entry(directory.clone()).or_default();
                    *failures += 1;
                    tracing::debug!(directory, %error,
                        "cannot merge the small files of a directory; no event is lost; retrying; \
                         fix the cause in `error`");
                    if *failures < TRIES_MAX { Done::Later } else { Done::GivenUp }
                }
            };
            if done == Done::GivenUp {
                compact.given_up.inc();
                tracing::warn!(
                    directory,
                    "gave up merging the small files of a directory; they stay as they are; no \
                     event is lost, no action needed"
                );
            }
            if done != Done::Later {
                self.failures.remove(&directory);
                for due in self.due.lists() {
                    due.retain(|Unmerged(place)| place.directory != directory);
                }
            }
        }
        self.due.remove_done(&self.ledger).await?;
        compact.due.set(self.due.directories() as f64);
        Ok(())
    }

    /// Returns whether the store can concatenate files. Asks once.
    async fn possible(&self) -> Result<bool, LedgerError> {
        if let Some(is_possible) = self.is_possible {
            return Ok(is_possible);
        }
        match self.ledger.lock().await.can_merge().await {
            Ok(()) => Ok(true),
            Err(error) if error.class() == ErrorClass::Blocked => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    error,
                    "`compact` has no effect, because the file system cannot concatenate files; \
                     files stay small; remove `compact`"
                );
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Merges files of one directory until nothing is left to merge.
    async fn directory(&self, compact: &Compact, directory: &str) -> Result<Done, LedgerError> {
        let unless = self.settings.marker.as_ref().map(|marker| marker.name.as_str());
        if self.is_possible == Some(false) {
            return Ok(Done::GivenUp);
        }
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
