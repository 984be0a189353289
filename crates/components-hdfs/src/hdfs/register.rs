//! Registers new partitions of a Hive table.
//!
//! ```text
//!  note of a roll's new directories ─► entry won, files visible ─► partition added ─► note removed
//!  <prefix>/_aqueduct/<sink>/partitions/<roll>                       └ retried with back-off
//! ```
//!
//! The note is in the store before the entry that makes files of its directories visible, so after
//! any crash, every directory with files has a note. [`Backlog`] decides what is due from the notes
//! of all collectors. Adding an existing partition does nothing, so any collector may repeat it.
//! The data path does not wait for it: while the metastore is down, only notes accumulate in the
//! store.

mod backlog;

use std::sync::Arc;
use std::time::Duration;

use ledger::{Ledger, LedgerError, NoteKind};
use support::backoff::jittered;
use support::causes::chain;
use support::failure_log::FailureLog;
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::settings::{Registration, Settings};
use super::troubles::Troubles;
use crate::hive::{MetastoreError, Partition};
use backlog::Backlog;

/// Name of the task among the problems of the sink.
const TASK: &str = "hive";
/// Pause between reads of the notes of other collectors.
const PAUSE: Duration = Duration::from_secs(30);
/// Pause after a failure: the first one, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Partitions per call.
const CALL_MAX: usize = 100;

/// Why partitions are not registered yet.
#[derive(Debug, Error)]
enum RegisterError {
    /// The store failed.
    #[error(
        "cannot read from the commit ledger which directories are not partitions of the Hive table \
         yet"
    )]
    Store(#[from] LedgerError),
    /// The metastore is unreachable, or rejects the call.
    #[error(transparent)]
    Metastore(#[from] MetastoreError),
}

/// The registration task of one opening.
pub(super) struct Registering {
    settings: Arc<Settings>,
    ledger: Arc<Mutex<Ledger>>,
    troubles: Troubles,
    backlog: Backlog,
}

impl Registering {
    /// Creates the task for this ledger.
    pub(super) fn new(
        settings: Arc<Settings>,
        ledger: Arc<Mutex<Ledger>>,
        troubles: Troubles,
    ) -> Self {
        Self { settings, ledger, troubles, backlog: Backlog::default() }
    }

    /// Works periodically until it is aborted.
    pub(super) async fn run(mut self) {
        let settings = self.settings.clone();
        let Some(registration) = &settings.registration else { return };
        let mut failures = FailureLog::default();
        loop {
            let turned = self.turn(registration).await;
            let due = self.backlog.ready().count();
            registration.due.set(due as f64);
            let now = Instant::now();
            match turned {
                Ok(()) => {
                    self.troubles.set(TASK, None);
                    if let Some((failures, _)) = failures.over(now) {
                        let table = &registration.table;
                        tracing::info!(table, failures, "partitions are registered again");
                    }
                    drop(timeout(PAUSE, registration.news.notified()).await);
                }
                Err(error) => {
                    registration.failed.inc();
                    failures.count(now);
                    let text = chain(&error);
                    let left =
                        format!("cannot register partitions of table {}", registration.table);
                    self.troubles.set(TASK, Some(format!("{left}: {text}")));
                    if let Some((failures, _)) = failures.should_log(now, &text) {
                        tracing::warn!(
                            error = text,
                            due,
                            failures,
                            "{left}, so Hive does not show their rows yet; no event is lost; \
                             retrying; fix the cause in `error`"
                        );
                    }
                    let (first, longest) = RETRY;
                    let random = settings.env.entropy.next_u64();
                    sleep(jittered(first, longest, failures.failures(), random)).await;
                }
            }
        }
    }

    /// Works once more before the agent stops, up to a time limit.
    pub(super) async fn last(mut self, limit: Duration) {
        let settings = self.settings.clone();
        let Some(registration) = &settings.registration else { return };
        match timeout(limit, self.turn(registration)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error = chain(&error);
                tracing::debug!(
                    error,
                    "cannot register partitions before the agent stops; the next start \
                     registers them"
                );
            }
            Err(_) => tracing::debug!(
                "cannot register partitions before the agent stops; the next start registers them"
            ),
        }
    }

    /// Registers directories with files. Locks the ledger for one call at a time, so that commits
    /// come first.
    async fn turn(&mut self, registration: &Registration) -> Result<(), RegisterError> {
        let kind = NoteKind::Partition;
        let notes = self.ledger.lock().await.notes(kind).await?;
        for note in self.backlog.sees(notes) {
            let places = self.ledger.lock().await.noted(kind, &note).await?;
            self.backlog.takes(note, places.into_iter().map(|place| place.directory));
        }
        self.scan().await?;
        let registered = self.register(registration).await;
        for note in self.backlog.done() {
            self.ledger.lock().await.remove_note(kind, &note).await?;
            self.backlog.forget(&note);
        }
        registered
    }

    /// Finds out which directories have files.
    async fn scan(&mut self) -> Result<(), RegisterError> {
        let unknown = self.backlog.unknown();
        if unknown.is_empty() {
            return Ok(());
        }
        // List the stage before the directories: a file found in neither does not exist.
        let staged = Arc::new(self.ledger.lock().await.staged_files().await?);
        for directory in unknown {
            let has_files = self.ledger.lock().await.has_files(&directory).await?;
            self.backlog.looked(&directory, has_files, &staged);
        }
        Ok(())
    }

    async fn register(&mut self, registration: &Registration) -> Result<(), RegisterError> {
        let mut ready = Vec::new();
        let mut none = Vec::new();
        for directory in self.backlog.ready() {
            match registration.keys.partition(directory) {
                Some(partition) => ready.push(partition),
                // The settings have changed since it was noted.
                None => none.push(directory.to_owned()),
            }
        }
        none.iter().for_each(|directory| self.backlog.registered(directory));
        let mut refused = Ok(());
        for partitions in ready.chunks(CALL_MAX) {
            match registration.registry.add(partitions).await {
                Ok(()) => self.added(registration, partitions),
                Err(MetastoreError::InvalidObject { .. } | MetastoreError::Failed { .. })
                    if partitions.len() > 1 =>
                {
                    // A rejected partition must not block the others.
                    for one in partitions {
                        match registration.registry.add(std::slice::from_ref(one)).await {
                            Ok(()) => self.added(registration, std::slice::from_ref(one)),
                            Err(error) => refused = Err(error.into()),
                        }
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        refused
    }

    fn added(&mut self, registration: &Registration, partitions: &[Partition]) {
        registration.added.inc_by(partitions.len() as u64);
        for Partition { directory, .. } in partitions {
            tracing::info!(table = registration.table, directory, "partition registered");
            self.backlog.registered(directory);
        }
    }
}
