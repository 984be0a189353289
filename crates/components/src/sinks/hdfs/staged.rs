//! A roll being written: its files, one for each directory, and the batches in them.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;

use bytes::Bytes;
use delivery::ledger::{
    Author, Committed, Dataset, Ledger, LedgerError, Roll, RollFile, Token, check_length,
};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use pipeline::{FloorBoard, Identity, IntervalSet, KeySet, Outcome, Ticket};
use storage::{CreateOptions, FileSystem, FileWriter, FsError};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::decision::Decision;
use super::error::HdfsSinkError;
use super::held::Held;
use super::roll::{Fill, Life, Limits};

/// Files of one roll that are closed at the same time.
const CLOSED_AT_ONCE: usize = 32;

/// Where and how files are staged.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) fs: Arc<dyn FileSystem>,
    pub(super) dataset: Dataset,
    pub(super) author: Author,
    pub(super) options: CreateOptions,
    /// Whether rolls are entries of the commit ledger.
    pub(super) recorded: bool,
}

/// What a roll is finished with.
#[derive(Clone)]
pub(super) struct Books {
    pub(super) stage: Stage,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) floors: FloorBoard,
    pub(super) held: Arc<Held>,
    pub(super) decision: Arc<Decision>,
}

impl Books {
    /// Why a file could not be staged. Where its directory is missing, the ledger may be too.
    pub(super) async fn cause(&self, error: FsError) -> HdfsSinkError {
        if error.is_not_found()
            && self.stage.recorded
            && let Err(changed) = self.ledger.lock().await.still_there().await
        {
            return self.decision.wanted(changed);
        }
        error.into()
    }
}

/// Part of a batch that goes into one directory, ready to be written.
pub(super) struct Part {
    pub(super) directory: String,
    pub(super) bytes: Bytes,
    pub(super) events: u64,
}

/// A roll being written.
pub(super) struct OpenRoll {
    token: Token,
    keys: KeySet,
    batches: Vec<(Ticket, Option<Identity>)>,
    files: BTreeMap<String, OpenFile>,
    pub(super) life: Life,
}

struct OpenFile {
    temp: String,
    writer: Box<dyn FileWriter>,
    fill: Fill,
    crc: u32,
}

impl OpenRoll {
    pub(super) fn new(token: Token, life: Life) -> Self {
        let (keys, batches, files) = (KeySet::default(), Vec::new(), BTreeMap::new());
        Self { token, keys, batches, files, life }
    }

    /// Whether these parts fit into its files, and the files they need into the number allowed.
    pub(super) fn has_room(&self, parts: &[Part], limits: &Limits) -> bool {
        parts.iter().all(|part| {
            let file = self.files.get(&part.directory);
            file.is_none_or(|file| limits.fits(file.fill, part.bytes.len() as u64))
        })
    }

    /// Whether it has a file in `directory`.
    pub(super) fn has_file(&self, directory: &str) -> bool {
        self.files.contains_key(directory)
    }

    /// Number of its files.
    pub(super) fn file_count(&self) -> usize {
        self.files.len()
    }

    /// Adds a batch; says whether its events are still to be written. A batch that is in the roll
    /// already shares its fate and is not written twice.
    pub(super) fn add(&mut self, ticket: Ticket, key: Option<Identity>) -> bool {
        self.batches.push((ticket, key));
        key.is_none_or(|key| self.keys.insert(key))
    }

    /// Writes one part; says how much its file holds then.
    pub(super) async fn write(&mut self, part: Part, stage: &Stage) -> Result<Fill, FsError> {
        let file = match self.files.get_mut(&part.directory) {
            Some(file) => file,
            None => {
                let number = self.files.len();
                let temp = format!("{}/{}.{number}", Dataset::desk(stage.author), self.token);
                let path = stage.dataset.staged(&temp);
                let writer = stage.fs.create(&path, stage.options).await?;
                let file = OpenFile { temp, writer, fill: Fill::default(), crc: 0 };
                self.files.entry(part.directory).or_insert(file)
            }
        };
        file.crc = crc32c::crc32c_append(file.crc, &part.bytes);
        file.fill.bytes += part.bytes.len() as u64;
        file.fill.events += part.events;
        file.writer.write(part.bytes).await?;
        Ok(file.fill)
    }

    /// Its tickets, when it comes to nothing.
    pub(super) fn tickets(&self) -> IntervalSet {
        self.batches.iter().map(|(ticket, _)| *ticket).collect()
    }

    /// Closes the files, commits them, publishes them, and settles the batches.
    pub(super) async fn finish(self, books: Books) {
        let (tickets, batches) = (self.tickets(), self.batches.clone());
        let Books { stage, ledger, floors, held, decision } = books;
        match self.commit(&stage, &ledger, &held, &decision).await {
            Ok(None | Some(Committed::Published(_))) => held.settle(tickets, Outcome::Delivered),
            Ok(Some(Committed::Elsewhere | Committed::Overlap(_))) => {
                held.settle_by_the_ledger(&batches);
            }
            Err(error) => return held.settle(tickets, Outcome::Again(Some(error.into()))),
        }
        let mut ledger = ledger.lock().await;
        ledger.close_epochs(&floors.declared());
        // What was begun is finished by the next commit, of whichever collector.
        if let Err(error) = ledger.compact().await {
            tracing::debug!(%error, "the commit ledger is not compacted yet");
        }
        if let Err(error) = ledger.sweep(Instant::now()).await {
            tracing::debug!(%error, "what others left behind is not cleared away yet");
        }
    }

    /// What became of it; `None`: published, and not recorded.
    async fn commit(
        self,
        stage: &Stage,
        ledger: &Mutex<Ledger>,
        held: &Held,
        decision: &Decision,
    ) -> Result<Option<Committed>, HdfsSinkError> {
        let files = self.files.iter().map(|(directory, file)| file.described(directory)).collect();
        let roll = Roll { token: self.token, keys: self.keys, files };
        // A task of its own: it does not wait for the ledger, which may still be another roll's.
        let closing = tokio::spawn(close(self.files.into_values().collect(), stage.clone()));
        let closing = AbortOnDropHandle::new(closing)
            .map(|ended| ended.unwrap_or_else(|ended| resume_unwind(ended.into_panic())));
        let mut ledger = ledger.lock().await;
        if !stage.recorded {
            closing.await?;
            ledger.publish_unrecorded(&roll).await?;
            return Ok(None);
        }
        let committed = ledger.commit(roll, closing).await;
        let committed = committed.map_err(|error| decision.wanted(error))?;
        held.know(ledger.view().settled().clone());
        Ok(Some(committed))
    }
}

/// Makes all files durable and whole.
async fn close(files: Vec<OpenFile>, stage: Stage) -> Result<(), LedgerError> {
    let closing = files.into_iter().map(|file| file.close(&stage));
    stream::iter(closing).buffer_unordered(CLOSED_AT_ONCE).try_collect().await
}

impl OpenFile {
    /// What the ledger says about it, once it is closed.
    fn described(&self, directory: &str) -> RollFile {
        let Fill { bytes, events } = self.fill;
        let (temp, directory) = (self.temp.clone(), directory.to_owned());
        RollFile { temp, directory, len: bytes, crc: self.crc, events }
    }

    /// Makes the file durable and whole, and looks whether it is.
    async fn close(self, stage: &Stage) -> Result<(), LedgerError> {
        self.writer.close().await?;
        check_length(&*stage.fs, &stage.dataset.staged(&self.temp), self.fill.bytes).await
    }
}
