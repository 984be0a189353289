//! `hdfs`: writes events to files in a store, exactly once.
//!
//! ```text
//!  batches ─► staged files ─close, check─► entry of the commit ledger ─rename─► visible files
//!             below <prefix>/_aqueduct/<sink>/                         <prefix>/<path>/…
//! ```
//!
//! A roll collects batches until it is large, old or idle enough. It has one file for each path of
//! its events. One entry of the dataset's commit ledger names its batches and makes its files
//! visible together. Paths that share no batch are in separate rolls ([`rolls`]). A batch that is
//! already in the ledger, from any collector, is delivered and not written again. A directory that
//! rejects its file delays only that file. If a roll fails, its batches return to the channel, and
//! its staged files are deleted when the sink opens again.
//!
//! The stores of [`store`] behave the same: `hdfs://`, `webhdfs://`, `file://`, `s3://`, `gs://`
//! and `abfss://`.

pub(crate) mod access;
mod announce;
mod append;
mod bucket;
mod build;
pub mod completeness;
mod config;
mod content;
mod decision;
mod due;
mod edges;
mod error;
mod held;
pub(crate) mod identity;
mod marker;
mod measures;
mod merging;
mod named;
mod noted;
mod open_file;
#[cfg(feature = "testkit")]
pub mod paths;
pub mod place;
pub(crate) mod probe;
pub mod publish;
mod receipt_audit;
mod receipt_content;
mod receipt_settings;
mod receipts;
mod register;
mod roll;
mod rolls;
mod rounds;
mod settings;
#[cfg(any(test, feature = "testkit"))]
pub mod sizes;
mod staged;
pub mod store;
mod table;
mod tasks;
mod traced;
mod troubles;
mod visible;
mod waiting;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ledger::{Dataset, Known, Ledger, Memory, Options, Token, Turns, WriterId};
use metrics::{Gauge, MetricSpec};
use peers::FloorBoard;
use pipeline::{
    BuildContext, BuildError, Component, DedupeScope, Guarantee, Identity, Settlement, Sink,
    SinkBoard, SinkError, Taken, Traces,
};
use storage::{CreateOptions, FileSystem, FsError, StoreUrl};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

pub use config::Config;
use config::Promise;
use content::Cores;
use decision::RepairHint;
pub use error::HdfsSinkError;
use held::Held;
use named::NamedLedger;
use noted::Noted;
use roll::Limits;
use rolls::Rolls;
use settings::Settings;
use staged::{CommitContext, Stage};
use visible::Visible;
use writer::{Command, Writer};

/// Maximum bytes of batches waiting for the writer.
const QUEUE_BYTES: u32 = 16 << 20;
/// Minimum size that a batch counts for in the queue, which limits small ones, too.
const BATCH_BYTES_MIN: u64 = 1 << 10;
/// Default maximum size of a file; and the bytes that a block keeps free.
const SIZE_MAX: u64 = 127 << 20;
const BLOCK_RESERVE: u64 = 1 << 20;
/// Timeout for clearing the stage on close.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

impl Component for Config {
    const KIND: &'static str = "hdfs";
    const LETTERS: &[&str] = &["unwritable_event", "no_time", "epoch_closed"];
    const METRICS: &'static [MetricSpec] = measures::METRICS;
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        let url = StoreUrl::parse(&self.url);
        let url = url.map_err(|error| BuildError::invalid("url", error))?;
        let env = cx.env.clone();
        let (access, at) = (self.access(&url, cx)?, url.clone());
        self.compact_fits(&url)?;
        let connect = Box::new(move || store::open(&at, &access, &env));
        Ok(Box::new(self.sink(&url, cx, connect)?))
    }
}

/// Creates a new client of the store after a failure.
type Connect = Box<dyn Fn() -> Result<Arc<dyn FileSystem>, FsError> + Send + Sync>;

/// A sink that writes to a store.
pub(crate) struct HdfsSink {
    settings: Arc<Settings>,
    connect: Connect,
    dataset: Dataset,
    /// The dataset in its store, for messages and comparisons.
    dataset_name: String,
    /// Tells an operator what to do after an outside change of the ledger.
    decision: Arc<RepairHint>,
    /// The ledger as announced upstream.
    named_ledger: Arc<NamedLedger>,
    keeping: Options,
    promise: Promise,
    options: CreateOptions,
    directory: PathBuf,
    held: Arc<Held>,
    /// Reports its visible files.
    visible: Arc<Visible>,
    /// Epochs that the senders of the channel have declared empty.
    floors: FloorBoard,
    /// Committed files rejected by their directories.
    unpublished: Gauge,
    /// What the last opening read from the ledger.
    known: Known,
    /// Decides which opening may write the memory of the ledger.
    turns: Turns,
    /// Directories with a note.
    noted: Arc<Noted>,
    session: Option<Session>,
    /// Records steps of sampled batches.
    traces: Traces,
}

/// State of one opening.
struct Session {
    commands: mpsc::UnboundedSender<Command>,
    room: Arc<Semaphore>,
    writer: JoinHandle<()>,
    /// Tasks for readers: markers, receipts, partitions of a table, merges, appends to a table.
    tasks: Vec<AbortOnDropHandle<()>>,
    ledger: Arc<Mutex<Ledger>>,
    /// The store and the author of its files.
    place: (Arc<dyn FileSystem>, WriterId),
}

impl HdfsSink {
    /// Stops the previous opening, if any. Returns its ledger as far as it was read.
    async fn halt(&mut self) -> Option<Ledger> {
        let session = self.session.take()?;
        session.writer.abort();
        // Ignore the result: it ended by itself or was aborted.
        drop(session.writer.await);
        for task in session.tasks {
            task.abort();
            drop(task.await);
        }
        // An aborted commit releases the ledger at its next step.
        drop(session.ledger.lock().await);
        Arc::into_inner(session.ledger).map(Mutex::into_inner)
    }

    async fn opened(&mut self) -> Result<(), HdfsSinkError> {
        if let Some(ledger) = self.halt().await {
            self.known = ledger.into_known();
        }
        self.held.release();
        let fs = (self.connect)()?;
        let incarnation = Token(self.settings.env.entropy.bytes16());
        let collector = identity::collector(&self.settings.env, &self.directory).await?;
        let author = WriterId { collector, incarnation };
        // If this opening fails, the next one reads everything again.
        let known = self.known.clone();
        let (dataset, keeping) = (self.dataset.clone(), self.keeping.clone());
        let recorded = self.promise == Promise::ExactlyOnce;
        let memory = match recorded {
            true => self.memory().await?,
            // Without exactly-once, the ledger excludes nothing.
            false => Memory::none(),
        };
        let began = Instant::now();
        let ledger = Ledger::open(fs.clone(), dataset.clone(), author, keeping, known, memory);
        let ledger = ledger.await.map_err(|error| self.decision.add_hint(error))?;
        self.claim_table(&ledger, &fs).await?;
        let retry = ledger.publish_due();
        self.unpublished.set(ledger.waiting_files() as i64);
        self.held.record_ledger(ledger.view().settled().clone());
        self.floors.close(&ledger.view().settled().floors);
        if recorded {
            self.named_ledger.is(&ledger, began);
        }
        let Settings { marker, complete, registration, .. } = &*self.settings;
        let has_notes = marker.is_some() || complete.is_some() || registration.is_some();
        let shows = has_notes && !fs.is_tree();
        let (options, cores) = (self.options, Cores::from_env(&self.settings.env));
        let stage = Stage { fs, dataset, author, options, recorded, cores, shows };
        let limits = self.limits(&stage).await?;
        let (size_max, place) = (limits.size_max, (stage.fs.clone(), author));
        let ledger = Arc::new(Mutex::new(ledger));
        let (commands, queue) = mpsc::unbounded_channel();
        let writer = Writer {
            settings: self.settings.clone(),
            limits,
            context: CommitContext {
                stage,
                ledger: ledger.clone(),
                floors: self.floors.clone(),
                held: self.held.clone(),
                waiting: Arc::default(),
                visible: self.visible.clone(),
                unpublished: self.unpublished.clone(),
                decision: self.decision.clone(),
                named_ledger: self.named_ledger.clone(),
                noted: self.noted.clone(),
                settings: self.settings.clone(),
                traces: self.traces.clone(),
            },
            settles_early: self.promise == Promise::BestEffort,
            rolls: Rolls::default(),
            finishing: JoinSet::new(),
            retry,
            gives_up: false,
        };
        let room = Arc::new(Semaphore::new(QUEUE_BYTES as usize));
        let writer = self.settings.env.blocking.behind().spawn(writer.run(queue));
        let tasks = self.tasks(&ledger, size_max, &place);
        self.visible.opened(&self.dataset_name, self.settings.limits.age_max);
        self.session = Some(Session { commands, room, writer, tasks, ledger, place });
        Ok(())
    }

    /// Returns the identity under which a batch is committed.
    async fn named(&self, key: Identity) -> Identity {
        let key = self.floors.offered(key);
        self.floors.put(key);
        match self.held.is_closed(key) {
            true => self.floors.rename_closed(&self.settings.env, key).await,
            false => key,
        }
    }

    /// Reads what this collector remembers of the ledger.
    async fn memory(&self) -> Result<Memory, HdfsSinkError> {
        let (env, directory) = (&self.settings.env, &self.directory);
        let memory = Memory::load(env, directory, &self.dataset_name, &self.turns).await;
        memory.map_err(|source| HdfsSinkError::Memory {
            path: Memory::path(directory, &self.dataset_name).display().to_string(),
            source,
        })
    }

    /// Returns the limits of a roll. A file fits into one block, so that one sync covers it.
    /// Creates a file to find out the block size, which also proves that the store is writable.
    async fn limits(&self, stage: &Stage) -> Result<Limits, FsError> {
        let path = stage.dataset.staged(&format!("{}/probe", Dataset::desk(stage.author)));
        stage.fs.create(&path, stage.options).await?.close().await?;
        let block = stage.fs.stat(&path).await?.block_size;
        stage.fs.delete(&path).await?;
        let mut limits = self.settings.limits;
        if limits.size_max == 0 {
            let fitting = block.map_or(SIZE_MAX, |block| block.saturating_sub(BLOCK_RESERVE));
            limits.size_max = fitting.clamp(1, SIZE_MAX);
        }
        Ok(limits)
    }
}

#[async_trait]
impl Sink for HdfsSink {
    async fn probe(&mut self) -> Result<Option<String>, SinkError> {
        let fs = (self.connect)().map_err(HdfsSinkError::from)?;
        let number = self.settings.env.entropy.next_u64();
        let merges = self.settings.compact.is_some();
        let reached = probe::probe(&*fs, self.dataset.prefix(), number, merges).await;
        let place = reached.map_err(HdfsSinkError::from)?;
        Ok(Some(format!("{}: {place} accepts files", self.dataset_name)))
    }

    async fn open(&mut self) -> Result<(), SinkError> {
        let opened = self.opened().await;
        if opened.is_err() {
            self.named_ledger.is_none();
        }
        Ok(opened?)
    }

    async fn write(&mut self, mut taken: Taken) -> Result<(), SinkError> {
        if let Some(key) = taken.batch.envelope.identity {
            taken.batch.envelope.identity = Some(self.named(key).await);
        }
        let Some(session) = &self.session else { return Err(HdfsSinkError::NotOpen.into()) };
        let bytes = taken.batch.encoded_len() as u64;
        let ticket = taken.ticket;
        self.held.take(ticket, bytes);
        if self.held.settle_known(ticket, &taken.batch) {
            return Ok(());
        }
        let room = bytes.clamp(BATCH_BYTES_MIN, u64::from(QUEUE_BYTES)) as u32;
        let room = session.room.clone().acquire_many_owned(room);
        let room = room.await.expect("the room of the queue is never closed");
        if session.commands.send(Command::Write(Box::new(taken), room)).is_err() {
            self.held.forget(ticket);
            return Err(HdfsSinkError::NotOpen.into());
        }
        Ok(())
    }

    async fn settled(&mut self) -> Settlement {
        self.held.settled().await
    }

    fn flush(&mut self) {
        if let Some(session) = &self.session {
            // If this fails, the writer has failed and already returned its batches.
            drop(session.commands.send(Command::Flush));
        }
    }

    async fn close(&mut self) {
        if let Some(session) = &self.session {
            self.registering(&session.ledger).last(LEAVE_LIMIT).await;
            self.appending(&session.ledger, &session.place).last(LEAVE_LIMIT).await;
        }
        if let Some(mut ledger) = self.halt().await {
            match timeout(LEAVE_LIMIT, ledger.leave()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%error,
                        "cannot delete the staging directory; the next start deletes it");
                }
                Err(_) => tracing::debug!(
                    "cannot delete the staging directory; the next start deletes it"
                ),
            }
            self.known = ledger.into_known();
        }
        self.named_ledger.is_none();
        self.held.clear();
    }

    fn unacknowledged_bytes(&self) -> u64 {
        self.held.bytes()
    }

    fn guarantee(&self) -> Guarantee {
        match self.promise {
            Promise::ExactlyOnce => Guarantee::ExactlyOnce,
            Promise::AtLeastOnce => Guarantee::AtLeastOnce,
            Promise::BestEffort => Guarantee::BestEffort,
        }
    }

    fn status(&self) -> Option<&SinkBoard> {
        Some(self.visible.board())
    }

    fn dedupe_scope(&self) -> DedupeScope {
        match self.promise {
            Promise::ExactlyOnce => DedupeScope::Dataset(self.dataset_name.clone()),
            Promise::AtLeastOnce | Promise::BestEffort => DedupeScope::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
