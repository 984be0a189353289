//! Sends receipts, and records of late files, to other systems.
//!
//! ```text
//!  note ─► receipt or record durable ─► sent ─► note removed
//!  <prefix>/_aqueduct/<sink>/lineage/<hash>        └ retried with back-off
//!                            properties/<hash>
//! ```
//!
//! The note is in the store before the receipt, so a receipt whose writer dies is still sent, by
//! any collector. Each system accepts a repetition. One system that is down, or that rejects one
//! receipt, delays no file, no receipt, and no other receipt or system.

mod http;
mod open_lineage;
pub(super) mod partitions;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use complete::{Announcement, LateRecord, RECEIPT, Receipt, late_name};
use ledger::{Ledger, LedgerError, NoteKind, NotedPlace, Token};
use metrics::{Counter, FloatGauge};
use support::backoff::jittered;
use support::causes::chain;
use support::failure_log::FailureLog;
use thiserror::Error;
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, sleep, timeout};
use web::Failure;
use xxhash_rust::xxh3::xxh3_128;

use super::settings::Settings;
use super::troubles::Troubles;
use crate::hive::MetastoreError;
pub(super) use open_lineage::OpenLineageConfig;

/// Pause between reads of the notes of other collectors.
const PAUSE: Duration = Duration::from_secs(30);
/// Pause after a failure: the first one, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Maximum pause that a server may ask for.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// Receipts that a system may reject in a turn before the turn ends.
const REJECTED_MAX: usize = 8;
/// In a note, instead of the entry of a record: it is about the receipt.
const OF_RECEIPT: i64 = -1;

/// Why a receipt was not sent.
#[derive(Debug, Error)]
pub(super) enum AnnounceError {
    /// The store failed.
    #[error("cannot read from the store which receipts are not sent yet")]
    Store(#[from] LedgerError),
    /// The server is unreachable, or rejects the event.
    #[error(transparent)]
    Server(#[from] Failure),
    /// The metastore is unreachable, or rejects the call.
    #[error(transparent)]
    Metastore(#[from] MetastoreError),
}

impl AnnounceError {
    /// Returns whether the system may accept another receipt.
    fn is_of_receipt(&self) -> bool {
        match self {
            Self::Server(Failure::Status { .. }) => true,
            Self::Store(_) | Self::Server(_) => false,
            // Every metastore would reject it.
            Self::Metastore(error) => !error.is_of_one(),
        }
    }

    /// Returns the pause that the server asks for.
    fn wait(&self) -> Duration {
        match self {
            Self::Server(Failure::Status { wait: Some(wait), .. }) => (*wait).min(WAIT_MAX),
            Self::Store(_) | Self::Server(_) | Self::Metastore(_) => Duration::ZERO,
        }
    }
}

/// A system that gets receipts.
#[async_trait]
pub(super) trait Announcer: Send + Sync {
    /// Returns whether it gets the receipt of this directory.
    fn covers(&self, settings: &Settings, directory: &str) -> bool;

    /// Sends a receipt or a record. A repetition must do no harm.
    ///
    /// # Errors
    /// The system is unreachable, or rejects it.
    async fn announce(
        &self,
        settings: &Settings,
        announcement: &Announcement,
    ) -> Result<(), AnnounceError>;
}

/// A system that gets receipts, and its metrics.
pub(super) struct Recipient {
    kind: NoteKind,
    /// Its name in messages.
    name: String,
    pub(super) to: Arc<dyn Announcer>,
    /// Number of sent receipts and records.
    sent: Counter,
    /// Failed attempts.
    failed: Counter,
    /// Receipts and records that are not sent yet.
    due: FloatGauge,
    /// Signals a new receipt.
    news: Notify,
}

#[cfg(test)]
impl Recipient {
    /// Creates the recipient of a test.
    pub(super) fn of_test(to: Arc<dyn Announcer>) -> Self {
        Self {
            kind: NoteKind::Lineage,
            name: "the server".to_owned(),
            to,
            sent: Counter::default(),
            failed: Counter::default(),
            due: FloatGauge::default(),
            news: Notify::default(),
        }
    }

    /// Returns the number of receipts and records that are not sent yet.
    pub(super) fn due(&self) -> f64 {
        self.due.get()
    }
}

impl Recipient {
    /// Notes that a receipt will be written into this directory, or the record of the late files of
    /// an entry.
    ///
    /// # Errors
    /// The store failed.
    pub(super) async fn note(
        &self,
        settings: &Settings,
        ledger: &Ledger,
        (directory, entry): (&str, Option<u64>),
    ) -> Result<(), LedgerError> {
        if !self.to.covers(settings, directory) {
            return Ok(());
        }
        let at = entry.map_or(OF_RECEIPT, |entry| i64::try_from(entry).unwrap_or(i64::MAX));
        let token = Token(xxh3_128(format!("{at} {directory}").as_bytes()).to_be_bytes());
        let place = NotedPlace { directory: directory.to_owned(), at };
        ledger.note(self.kind, token, &[place]).await
    }

    /// Signals that a receipt or a record was written.
    pub(super) fn written(&self) {
        self.news.notify_one();
    }
}

/// The object of a note.
enum Found {
    /// It exists.
    Ready(Box<Announcement>),
    /// It does not exist yet, or cannot be read.
    Waits,
    /// It was deleted with the files.
    Gone,
}

/// The task for one recipient of one opening.
pub(super) struct Announcing {
    settings: Arc<Settings>,
    ledger: Arc<Mutex<Ledger>>,
    troubles: Troubles,
    /// Index of the recipient.
    at: usize,
    /// The last note whose receipt was rejected: the next turn starts after it.
    rejected: Option<String>,
}

impl Announcing {
    /// Creates the task for the recipient with this index.
    pub(super) fn new(
        settings: Arc<Settings>,
        ledger: Arc<Mutex<Ledger>>,
        troubles: Troubles,
        at: usize,
    ) -> Self {
        Self { settings, ledger, troubles, at, rejected: None }
    }

    /// Works periodically until it is aborted.
    pub(super) async fn run(mut self) {
        let settings = self.settings.clone();
        let recipients = settings.complete.as_ref().map_or(&[][..], |it| &it.recipients);
        let Some(recipient) = recipients.get(self.at) else { return };
        let (mut failures, name) = (FailureLog::default(), &recipient.name);
        loop {
            let turned = self.turn(recipient).await;
            let now = Instant::now();
            let error = match turned {
                Ok(()) => {
                    self.troubles.set(name, None);
                    if let Some((failures, _)) = failures.over(now) {
                        tracing::info!(failures, "receipts are sent again to {name}");
                    }
                    drop(timeout(PAUSE, recipient.news.notified()).await);
                    continue;
                }
                Err(error) => error,
            };
            failures.count(now);
            let text = chain(&error);
            let left = format!("cannot send receipts to {name}");
            self.troubles.set(name, Some(format!("{left}: {text}")));
            if let Some((failures, _)) = failures.should_log(now, &text) {
                tracing::warn!(
                    error = text,
                    failures,
                    "{left}; no event and no receipt is lost; retrying; fix the cause in `error`"
                );
            }
            let random = settings.env.entropy.next_u64();
            let pause = jittered(RETRY.0, RETRY.1, failures.failures(), random).max(error.wait());
            if error.is_of_receipt() {
                // New receipts need not wait for rejected ones.
                drop(timeout(pause, recipient.news.notified()).await);
            } else {
                sleep(pause).await;
            }
        }
    }

    /// Sends the receipts with a note. Locks the ledger for one call at a time, so that commits
    /// come first.
    async fn turn(&mut self, recipient: &Recipient) -> Result<(), AnnounceError> {
        let kind = recipient.kind;
        let mut notes = self.ledger.lock().await.notes(kind).await?;
        notes.sort();
        if let Some(rejected) = &self.rejected {
            let after = notes.partition_point(|note| note <= rejected);
            notes.rotate_left(after);
        }
        let (mut left, mut refused, mut rejections) = (notes.len(), Ok(()), 0);
        recipient.due.set(left as f64);
        for note in notes {
            let places = self.ledger.lock().await.noted(kind, &note).await?;
            match self.send(recipient, &places).await {
                Ok(true) => {
                    self.ledger.lock().await.remove_note(kind, &note).await?;
                    left -= 1;
                    recipient.due.set(left as f64);
                }
                Ok(false) => {}
                Err(error) => {
                    recipient.failed.inc();
                    rejections += 1;
                    self.rejected = Some(note);
                    if !error.is_of_receipt() || rejections == REJECTED_MAX {
                        return Err(error);
                    }
                    refused = Err(error);
                }
            }
        }
        refused
    }

    /// Sends the receipts of a note; returns whether the note is done.
    async fn send(
        &self,
        recipient: &Recipient,
        places: &[NotedPlace],
    ) -> Result<bool, AnnounceError> {
        let mut is_done = true;
        for NotedPlace { directory, at } in places {
            let entry = u64::try_from(*at).ok();
            let mut sent = None;
            loop {
                match self.find(directory, entry).await? {
                    Found::Gone => break,
                    Found::Waits => {
                        is_done = false;
                        break;
                    }
                    // Records that another collector has sent in between would be overwritten.
                    Found::Ready(found) if sent.as_ref() == Some(&found) => break,
                    Found::Ready(found) => {
                        recipient.to.announce(&self.settings, &found).await?;
                        recipient.sent.inc();
                        tracing::debug!(directory, "receipt sent to {}", recipient.name);
                        sent = Some(found);
                    }
                }
            }
        }
        Ok(is_done)
    }

    /// Reads the receipt of a directory, or the record of this entry.
    async fn find(&self, directory: &str, entry: Option<u64>) -> Result<Found, LedgerError> {
        let names = self.ledger.lock().await.names_in(directory).await?;
        let name = entry.map_or_else(|| RECEIPT.to_owned(), late_name);
        if !names.contains(&name) {
            let ledger = self.ledger.lock().await;
            let has_files = names.iter().filter_map(|name| ledger.entry_of(name));
            let has_files = has_files.into_iter().any(|of| entry.is_none_or(|entry| entry == of));
            return Ok(if has_files { Found::Waits } else { Found::Gone });
        }
        let Some(receipt) = self.read(directory, RECEIPT).await? else { return Ok(Found::Waits) };
        let Some(receipt) = Receipt::parse(&receipt) else { return Ok(Found::Waits) };
        let mut late = Vec::new();
        for name in names.iter().filter(|name| name.starts_with("_late-")) {
            let record = self.read(directory, name).await?;
            late.extend(record.and_then(|it| serde_json::from_slice::<LateRecord>(&it).ok()));
        }
        late.sort_by_key(|record| record.entry);
        Ok(Found::Ready(Box::new(Announcement { receipt, late, entry })))
    }

    async fn read(&self, directory: &str, name: &str) -> Result<Option<bytes::Bytes>, LedgerError> {
        self.ledger.lock().await.read_sidecar(directory, name).await
    }
}
