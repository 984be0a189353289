//! `hdfs`: files in a store, each event in them exactly once.
//!
//! ```text
//!  batches ─► staged files ─close, check─► entry of the commit ledger ─rename─► visible files
//!             below <prefix>/_aqueduct/<sink>/                         <prefix>/<path>/…
//! ```
//!
//! A roll collects batches until it is large, old or idle enough. Its files, one for each path that
//! its events have, become visible together through one entry of the dataset's commit ledger, which
//! names the batches in them. A batch that the ledger holds already, by whichever collector, is
//! delivered and not written again. A directory that refuses its file holds up that file alone. A
//! roll that fails gives its batches back to the channel; what it staged is cleared away when the
//! sink is opened again.
//!
//! The store is any that [`storage`] knows: `hdfs://` and `file://` behave the same.

mod bucket;
mod config;
mod decision;
mod error;
mod held;
mod identity;
mod named;
pub mod place;
mod roll;
mod staged;
mod visible;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ledger::{Author, Dataset, FileNames, Known, Ledger, Memory, Options, Token, Turns};
use pipeline::metrics::{Gauge, SinkLabel};
use pipeline::{
    BuildContext, BuildError, Component, FloorBoard, FlumeKey, Guarantee, Identity, Reach,
    Settlement, Sink, SinkError, Taken, Unit,
};
use storage::{CreateOptions, FileSystem, FsError, StoreUrl};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};

use bucket::{Template, confined};
use components::format::Format;
pub use config::Config;
use config::Promise;
use decision::Decision;
pub use error::HdfsSinkError;
use held::Held;
use named::NamedLedger;
use roll::Limits;
use staged::{Books, Stage};
use visible::Visible;
use writer::{Command, Settings, Writer};

/// Bytes of batches that wait for the writer at most.
const QUEUE_BYTES: u32 = 16 << 20;
/// What a batch counts for in the queue at least, so that small ones are bounded too.
const BATCH_BYTES_MIN: u64 = 1 << 10;
/// Bytes of a file at most, unless the settings say otherwise; and what a block keeps free.
const SIZE_MAX: u64 = 127 << 20;
const BLOCK_RESERVE: u64 = 1 << 20;
/// Entries of the commit ledger after which it is made into one checkpoint.
const COMPACT_AFTER: u64 = 1_000;
/// How long letting go may take to clear the stage.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

impl Component for Config {
    const KIND: &'static str = "hdfs";
    const FLUME: &'static [FlumeKey] = &[
        FlumeKey::new("hdfs.path", "url", Unit::Text),
        FlumeKey::new("hdfs.rollInterval", "roll.age_max", Unit::Seconds),
        FlumeKey::new("hdfs.rollSize", "roll.size_max", Unit::Bytes),
        FlumeKey::new("hdfs.rollCount", "roll.count_max", Unit::Count),
        FlumeKey::new("hdfs.idleTimeout", "roll.idle_max", Unit::Seconds),
        FlumeKey::new("hdfs.maxOpenFiles", "buckets_max", Unit::Count),
        FlumeKey::new("serializer", "encoder", Unit::Text),
    ];
    type Role = dyn Sink;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Sink>, BuildError> {
        let url = StoreUrl::parse(&self.url);
        let url = url.map_err(|error| BuildError::invalid("url", error))?;
        let env = cx.env.clone();
        let connect = url.clone();
        Ok(Box::new(self.sink(&url, cx, Box::new(move || connect.connect(&env)))?))
    }
}

/// Makes the store anew: a client that has lost its footing is not used again.
type Connect = Box<dyn Fn() -> Result<Arc<dyn FileSystem>, FsError> + Send + Sync>;

impl Config {
    fn sink(
        self,
        url: &StoreUrl,
        cx: &BuildContext,
        connect: Connect,
    ) -> Result<HdfsSink, BuildError> {
        let format = Format::new(&self.encoder, &self.codec, cx)?;
        let template =
            Template::parse(url.path()).map_err(|problem| BuildError::invalid("url", problem))?;
        let positive = |setting: &str, value: Option<u64>| match value {
            Some(0) => Err(BuildError::invalid(setting, "it must be more than 0")),
            _ => Ok(()),
        };
        positive("roll.size_max", self.roll.size_max.map(|size| size.0))?;
        positive("roll.count_max", self.roll.count_max)?;
        positive("replication", self.replication.map(u64::from))?;
        positive("buckets_max", Some(self.buckets_max as u64))?;
        if self.block_size.is_some_and(|size| size.0 <= BLOCK_RESERVE) {
            return Err(BuildError::invalid("block_size", "it must be more than 1MiB"));
        }
        let sink = confined(Some(&cx.name));
        let extension = format.extension();
        let stem = format!("{}-{sink}", confined(Some(&cx.env.host)));
        let names = FileNames { stem, extension };
        if self.sweep_after.0 < self.roll.age_max.0 {
            let problem = "files lie unchanged for `roll.age_max` at least; it must not be less";
            return Err(BuildError::invalid("sweep_after", problem));
        }
        let sweep_after = self.sweep_after.0;
        let keeping = Options { names, compact_after: COMPACT_AFTER, sweep_after };
        let limits = Limits {
            size_max: self.roll.size_max.map_or(0, |size| size.0),
            count_max: self.roll.count_max,
            age_max: self.roll.age_max.0,
            idle_max: self.roll.idle_max.0,
        };
        let dataset = place::dataset(url, &cx.name);
        let (dataset, dataset_name) =
            dataset.map_err(|problem| BuildError::invalid("url", problem))?;
        let decision = Decision::of(&self.url, &cx.name, &cx.directory);
        let settings = Settings {
            env: cx.env.clone(),
            template,
            format: Arc::new(format),
            limits,
            buckets_max: self.buckets_max,
        };
        let options = CreateOptions {
            block_size: self.block_size.map(|size| size.0),
            replication: self.replication,
        };
        let label = SinkLabel { sink: cx.name.to_string() };
        Ok(HdfsSink {
            settings: Arc::new(settings),
            connect,
            dataset,
            named_ledger: Arc::new(NamedLedger::new(cx, &dataset_name)),
            dataset_name,
            decision: Arc::new(decision),
            keeping,
            promise: self.guarantee,
            options,
            directory: cx.directory.clone(),
            held: Arc::default(),
            visible: Arc::new(Visible::new(cx)),
            floors: cx.floors.clone(),
            unpublished: cx.metrics.sink_unpublished.get_or_create(&label).clone(),
            known: Known::default(),
            turns: Turns::default(),
            session: None,
        })
    }
}

#[cfg(feature = "testkit")]
impl Config {
    /// Builds the sink over a store of the caller's making, whatever scheme the URL has. Its ledger
    /// is made into one checkpoint after so many entries.
    ///
    /// # Errors
    /// As for a store of its own.
    pub fn build_over(
        self,
        cx: &BuildContext,
        connect: impl Fn() -> Arc<dyn FileSystem> + Send + Sync + 'static,
        compact_after: u64,
    ) -> Result<Box<dyn Sink>, BuildError> {
        let url = StoreUrl::parse(&self.url);
        let url = url.map_err(|error| BuildError::invalid("url", error))?;
        let mut sink = self.sink(&url, cx, Box::new(move || Ok(connect())))?;
        sink.keeping.compact_after = compact_after;
        Ok(Box::new(sink))
    }
}

/// A sink into a store.
pub(crate) struct HdfsSink {
    settings: Arc<Settings>,
    connect: Connect,
    dataset: Dataset,
    /// The dataset in its store, for people and for comparison.
    dataset_name: String,
    /// What an operator is pointed to where the ledger was changed from outside.
    decision: Arc<Decision>,
    /// The ledger as it is named upstream.
    named_ledger: Arc<NamedLedger>,
    keeping: Options,
    promise: Promise,
    options: CreateOptions,
    directory: PathBuf,
    held: Arc<Held>,
    /// What is said of its files.
    visible: Arc<Visible>,
    /// What the senders behind the channel have declared empty.
    floors: FloorBoard,
    /// Committed files that their directories refuse.
    unpublished: Gauge,
    /// What the last opening has read of the ledger.
    known: Known,
    /// Which opening may write what is remembered of it.
    turns: Turns,
    session: Option<Session>,
}

/// One opening.
struct Session {
    commands: mpsc::UnboundedSender<Command>,
    room: Arc<Semaphore>,
    writer: JoinHandle<()>,
    ledger: Arc<Mutex<Ledger>>,
}

impl HdfsSink {
    /// Ends the opening before, if there was one; its ledger as far as it was read.
    async fn halt(&mut self) -> Option<Ledger> {
        let session = self.session.take()?;
        session.writer.abort();
        // Whether it had ended by itself, or was aborted here, does not matter any more.
        drop(session.writer.await);
        // A commit that was aborted lets go of the ledger at its next step.
        drop(session.ledger.lock().await);
        Arc::into_inner(session.ledger).map(Mutex::into_inner)
    }

    async fn opened(&mut self) -> Result<(), HdfsSinkError> {
        if let Some(ledger) = self.halt().await {
            self.known = ledger.into_known();
        }
        self.held.give_back();
        let fs = (self.connect)()?;
        let incarnation = Token(self.settings.env.entropy.bytes16());
        let collector = identity::collector(&self.settings.env, &self.directory).await?;
        let author = Author { collector, incarnation };
        // A failed opening has taken nothing in that is not read again by the next one.
        let known = self.known.clone();
        let (dataset, keeping) = (self.dataset.clone(), self.keeping.clone());
        let recorded = self.promise == Promise::ExactlyOnce;
        let memory = match recorded {
            true => self.memory().await?,
            // Nothing is left out by the ledger, whatever it says.
            false => Memory::none(),
        };
        let began = Instant::now();
        let ledger = Ledger::open(fs.clone(), dataset.clone(), author, keeping, known, memory);
        let ledger = ledger.await.map_err(|error| self.decision.wanted(error))?;
        let retry = ledger.publish_due();
        self.unpublished.set(ledger.waiting_files() as i64);
        self.held.know(ledger.view().settled().clone());
        self.floors.know_closed(&ledger.view().settled().floors);
        if recorded {
            self.named_ledger.is(&ledger, began);
        }
        let stage = Stage { fs, dataset, author, options: self.options, recorded };
        let limits = self.limits(&stage).await?;
        let ledger = Arc::new(Mutex::new(ledger));
        let (commands, queue) = mpsc::unbounded_channel();
        let writer = Writer {
            settings: self.settings.clone(),
            limits,
            books: Books {
                stage,
                ledger: ledger.clone(),
                floors: self.floors.clone(),
                held: self.held.clone(),
                visible: self.visible.clone(),
                unpublished: self.unpublished.clone(),
                decision: self.decision.clone(),
                named_ledger: self.named_ledger.clone(),
            },
            settles_early: self.promise == Promise::BestEffort,
            open: None,
            finishing: JoinSet::new(),
            retry,
        };
        let room = Arc::new(Semaphore::new(QUEUE_BYTES as usize));
        let writer = self.settings.env.blocking.behind().spawn(writer.run(queue));
        self.visible.opened(&self.dataset_name, self.settings.limits.age_max);
        self.session = Some(Session { commands, room, writer, ledger });
        Ok(())
    }

    /// The name that a batch is committed under. One that was born here in a life that the ledger has
    /// closed gets another one: a copy of this agent's directory has closed it.
    async fn named(&self, key: Identity) -> Identity {
        let key = self.floors.offered(key);
        self.floors.put(key);
        if !self.floors.is_own(key) || !self.held.is_closed(key) {
            return key;
        }
        let floors = self.floors.clone();
        match self.settings.env.offload(move || floors.renamed_as_closed(key)).await {
            Ok(_) => self.floors.offered(key),
            Err(error) => {
                tracing::warn!(%key, %error, "a closed epoch could not be left");
                key
            }
        }
    }

    /// What this collector remembers of the ledger.
    async fn memory(&self) -> Result<Memory, HdfsSinkError> {
        let (env, directory) = (&self.settings.env, &self.directory);
        let memory = Memory::load(env, directory, &self.dataset_name, &self.turns).await;
        memory.map_err(|source| HdfsSinkError::Memory {
            path: Memory::path(directory, &self.dataset_name).display().to_string(),
            source,
        })
    }

    /// The limits of a roll; a file stays within one block, so that one sync covers it. A file is
    /// made to learn the size of a block, which also shows that the store can be written to.
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
    async fn open(&mut self) -> Result<(), SinkError> {
        let opened = self.opened().await;
        if opened.is_err() {
            self.named_ledger.is_none();
        }
        Ok(opened?)
    }

    async fn write(&mut self, mut taken: Taken) -> Result<(), SinkError> {
        if let Some(key) = taken.batch.identity {
            taken.batch.identity = Some(self.named(key).await);
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
            // A writer that has failed has given everything back already.
            drop(session.commands.send(Command::Flush));
        }
    }

    async fn close(&mut self) {
        if let Some(mut ledger) = self.halt().await {
            match timeout(LEAVE_LIMIT, ledger.leave()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "the stage is left to the next opening"),
                Err(_) => tracing::debug!("the stage is left to the next opening"),
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

    fn reach(&self) -> Reach {
        match self.promise {
            Promise::ExactlyOnce => Reach::Dataset(self.dataset_name.clone()),
            Promise::AtLeastOnce | Promise::BestEffort => Reach::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
