//! Settings of a sink that do not change between openings, for its writer and for its tasks.

use std::sync::Arc;
use std::time::Duration;

use complete::Expected;
use formats::format::Format;
use ledger::{Ledger, LedgerError, NoteKind, NotedPlace};
use metrics::{Counter, FloatGauge};
use peers::ProgressBoard;
use pipeline::Env;
use pipeline::env::unix_millis;
use tokio::sync::Notify;

use super::announce::Recipient;
use super::append::Target;
use super::bucket::Rules;
use super::noted::Noted;
use super::roll::Limits;
use crate::hive::{Keys, Registry};

/// Settings that do not change between openings.
pub(super) struct Settings {
    pub(super) env: Env,
    pub(super) rules: Rules,
    /// Number of late events.
    pub(super) late: Counter,
    /// Number of events of batches with too many directories.
    pub(super) overflow: Counter,
    pub(super) format: Arc<Format>,
    pub(super) limits: Limits,
    pub(super) buckets_max: usize,
    /// The marker of complete directories.
    pub(super) marker: Option<Marker>,
    /// When a directory gets a receipt.
    pub(super) complete: Option<Complete>,
    /// When to merge small files.
    pub(super) compact: Option<Compact>,
    /// Where to register partitions.
    pub(super) registration: Option<Registration>,
    /// The table to append to.
    pub(super) target: Option<Target>,
}

impl Settings {
    /// Returns the tasks for directories whose period is over. A marker follows the merge, so the
    /// merge note comes first.
    pub(super) fn kinds_of_notes(&self) -> Vec<NoteKind> {
        let merge = self.compact.as_ref().map(|_| NoteKind::Merge);
        let marker = self.marker.as_ref().map(|_| NoteKind::Marker);
        let receipt = self.complete.as_ref().map(|_| NoteKind::Receipt);
        merge.into_iter().chain(marker).chain(receipt).collect()
    }
}

/// When a directory gets a receipt, and its metrics.
pub(super) struct Complete {
    pub(super) expected: Expected,
    /// The largest difference of times that a report must exceed, in milliseconds.
    pub(super) grace: i64,
    /// Name of the empty file in directories with a receipt.
    pub(super) marker: Option<String>,
    /// Systems that get the receipts.
    pub(super) recipients: Vec<Recipient>,
    /// Reports of edges that reach this sink through its channel.
    pub(super) progress: ProgressBoard,
    /// Number of receipts.
    pub(super) receipts: Counter,
    /// Number of late files.
    pub(super) late: Counter,
    /// Number of directories that wait for edges.
    pub(super) due: FloatGauge,
    /// For how long the oldest of them has been held back, in seconds.
    pub(super) held_seconds: FloatGauge,
    /// Number of edges that hold it back.
    pub(super) holders: FloatGauge,
}

impl Complete {
    /// Notes that other systems will get a receipt, or the record of the late files of an entry.
    ///
    /// # Errors
    /// The store failed.
    pub(super) async fn note(
        &self,
        settings: &Settings,
        ledger: &Ledger,
        of: (&str, Option<u64>),
    ) -> Result<(), LedgerError> {
        for recipient in &self.recipients {
            recipient.note(settings, ledger, of).await?;
        }
        Ok(())
    }

    /// Signals to other systems that a receipt or a record was written.
    pub(super) fn written(&self) {
        self.recipients.iter().for_each(Recipient::written);
    }
}

/// When a directory is complete, and its marker.
#[derive(Debug)]
pub(super) struct Marker {
    /// Name of the marker file.
    pub(super) name: String,
    /// Time from the end of the path's period until the stage is listed.
    pub(super) after: Duration,
    /// The part of `after` beyond `late_after`, for clock differences and for the time from routing
    /// a batch to the start of its file.
    pub(super) margin: Duration,
    /// Number of created markers.
    pub(super) made: Counter,
    /// Number of directories without a marker.
    pub(super) due: FloatGauge,
}

/// When to merge a directory, and its metrics.
#[derive(Debug)]
pub(super) struct Compact {
    /// Time from the end of the path's period.
    pub(super) after: Duration,
    /// Number of merges.
    pub(super) merges: Counter,
    /// Number of merged files.
    pub(super) files: Counter,
    /// Size of the merged files.
    pub(super) bytes: Counter,
    /// Directories that the store refuses to merge.
    pub(super) given_up: Counter,
    /// Directories that are not merged yet.
    pub(super) due: FloatGauge,
}

/// The registration settings.
pub(super) struct Registration {
    /// Database and name of the table.
    pub(super) table: String,
    pub(super) keys: Keys,
    pub(super) registry: Arc<dyn Registry>,
    /// Partitions that were added, or already existed.
    pub(super) added: Counter,
    /// Failed attempts.
    pub(super) failed: Counter,
    /// Directories with files that are not registered yet.
    pub(super) due: FloatGauge,
    /// Directories with a note.
    pub(super) noted: Noted,
    /// Signals possible work.
    pub(super) news: Notify,
}

impl Registration {
    /// Returns the directories that are partitions and have no note yet.
    pub(super) fn new_ones<'d>(
        &self,
        directories: impl Iterator<Item = &'d String>,
    ) -> Vec<NotedPlace> {
        let places = directories.filter(|directory| self.keys.partition(directory).is_some());
        // The time of a partition does not matter here.
        let places = places.map(|it| NotedPlace { directory: it.clone(), at: 0 });
        self.noted.new_ones(places, |_| false)
    }

    /// Adds directories with a note and a file.
    pub(super) fn committed(&self, places: Vec<NotedPlace>) {
        if !places.is_empty() {
            self.noted.add(places);
            self.news.notify_one();
        }
    }
}

/// Returns the host's time in milliseconds since 1970.
pub(super) fn now(env: &Env) -> i64 {
    i64::try_from(unix_millis(env.clock.now())).unwrap_or(i64::MAX)
}
