//! The dead letters: a durable channel of the agent's own, for events that can never be delivered.
//!
//! ```text
//!   sink says Refused ─► label ─► letter on disk ─► the batch may leave its channel
//!   interceptor rejects ─┘              │        ─► the rest of the batch may be stored
//!                  `aqueduct dlq` ◄─────┴── list, show, put back (replay), drop
//! ```
//!
//! # Invariants
//!
//! 1. A letter is on disk before its events leave their channel. A crash in between brings the
//!    batch again, and the sink refuses it again: the letter is known by its key and not stored
//!    twice.
//! 2. Nothing but an operator takes a letter out, unless the setting `overflow` says otherwise.
//! 3. The directory is made by the first letter. An agent without one pays nothing.

mod label;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use channel::durable::inspect::Inspection;
use channel::durable::{Encryption, IndexKind, Overflow};
use metrics::{Metrics, SinkReason, SourceReason};
use pipeline::env::{resolved, unix_millis};
use pipeline::units::{ByteSize, Period};
use pipeline::{
    Batch, BuildContext, Channel, ChannelError, Component, Env, Envelope, Epoch, KeySet, Letter,
    Origin, Reject, Settings, SettingsError,
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use tokio::sync::OnceCell;
use tokio::time::{Duration, Instant, timeout};
use tracing::{info, warn};

use crate::under_way::UnderWay;

pub use label::Label;
pub(crate) use label::Sender;

/// The consumer of the channel of the dead letters.
pub const OPERATOR: &str = "operator";

/// Less than this has no room for a large batch.
const CAPACITY_MIN: ByteSize = ByteSize::mib(8);

/// Bytes of a segment: letters are few.
const SEGMENT: ByteSize = ByteSize::mib(4);

/// A letter that waits for room so long is spoken of.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the dead letters of an agent are.
pub fn directory(data_dir: &Path) -> PathBuf {
    data_dir.join("dead-letters")
}

/// Settings of the dead letters: the table `[dead_letters]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// How much they may occupy on disk.
    capacity: ByteSize,
    /// What happens when they are full: what can never be delivered waits in its channel, or
    /// letters are lost, and counted.
    overflow: Overflow,
    /// Seals what is on disk with a key. Not sealed unless set.
    encryption: Option<Encryption>,
}

impl Default for Config {
    fn default() -> Self {
        let (capacity, overflow) = (ByteSize::mib(256), Overflow::Block);
        Self { capacity, overflow, encryption: None }
    }
}

impl Config {
    /// What the table says.
    ///
    /// # Errors
    /// A setting is wrong.
    pub(crate) fn read(table: &Settings) -> Result<Self, SettingsError> {
        let config: Self = table.read()?;
        if config.capacity < CAPACITY_MIN {
            let problem = format!("it must be at least \"{CAPACITY_MIN}\"");
            return Err(table.invalid("capacity", &problem));
        }
        if let Some(encryption) = &config.encryption {
            let valid = encryption.validate();
            valid.map_err(|error| table.invalid(&error.setting, &error.problem))?;
        }
        Ok(config)
    }

    fn build(&self, data_dir: &Path, env: &Env, metrics: &Metrics) -> Box<dyn Channel> {
        let config = channel::durable::Config {
            capacity: self.capacity,
            overflow: self.overflow,
            encryption: self.encryption.clone(),
            ..settings()
        };
        let cx = BuildContext { metrics: metrics.clone(), ..context(data_dir, env) };
        config.build(&cx).expect("what was read is valid")
    }
}

/// The schema of the table `[dead_letters]`.
pub fn schema(generator: &mut SchemaGenerator) -> Schema {
    Config::json_schema(generator)
}

/// Settings of the channel of dead letters, as far as they are not the agent's to choose.
pub fn settings() -> channel::durable::Config {
    channel::durable::Config {
        capacity: ByteSize::mib(256),
        segment_bytes: SEGMENT,
        tail_memory: ByteSize(0),
        pool: 0,
        pool_idle_max: Period(Duration::ZERO),
        index: IndexKind::None,
        ..channel::durable::Config::default()
    }
}

/// What the channel of dead letters of the agent in `data_dir` is built with.
pub fn context(data_dir: &Path, env: &Env) -> BuildContext {
    let directory = directory(&resolved(&*env.disk, data_dir));
    BuildContext::alone("dead-letters", &directory, env.clone())
}

/// Hands every letter that was found in a channel's files, oldest first, to `each`, until it
/// answers `false`; what has no label is passed over. The agent may run.
///
/// # Errors
/// The disk could not be read.
pub fn inspected(
    inspection: &Inspection,
    mut each: impl FnMut(Label, Batch) -> bool,
) -> Result<(), ChannelError> {
    inspection.export(|_, batch| match Label::take_off(batch) {
        Some((label, events)) => each(label, events),
        None => true,
    })
}

/// Every letter of an open channel, oldest first, with its label; what has none is passed over.
/// They are all ready again when this returns.
///
/// # Errors
/// The disk could not be read.
pub async fn letters(
    channel: &dyn Channel,
    mut each: impl FnMut(Label, Batch),
) -> Result<(), ChannelError> {
    let mut take = channel.begin_take(OPERATOR);
    let mut left = channel.status().events;
    while left > 0 {
        let taken = take.take().await?;
        left = left.saturating_sub(taken.batch.len() as u64);
        if let Some((label, events)) = Label::take_off(taken.batch) {
            each(label, events);
        }
    }
    Ok(())
}

/// The dead letters of a running agent.
pub(crate) struct DeadLetters {
    config: Config,
    data_dir: PathBuf,
    env: Env,
    metrics: Metrics,
    open: OnceCell<Arc<dyn Channel>>,
    /// One letter is stored at a time: the same one is not stored twice meanwhile.
    turn: tokio::sync::Mutex<()>,
    /// Letters that wait for room.
    waits: UnderWay,
    known: Mutex<Known>,
}

/// What happens to a letter for which there is no room.
#[derive(Debug, Clone, Copy)]
enum Full {
    Waits,
    Fails,
}

/// What the letters are.
#[derive(Debug, Default)]
struct Known {
    keys: BTreeSet<String>,
    identities: KeySet,
}

impl Known {
    fn add(&mut self, label: &Label) {
        if let Some(identity) = label.identity {
            self.identities.insert(identity);
        }
        if !label.key.is_empty() {
            self.keys.insert(label.key.clone());
        }
    }
}

impl DeadLetters {
    /// Those of the agent in `data_dir`; opens nothing.
    pub(crate) fn new(config: Config, data_dir: &Path, env: &Env, metrics: &Metrics) -> Self {
        Self {
            config,
            data_dir: data_dir.to_owned(),
            env: env.clone(),
            metrics: metrics.clone(),
            open: OnceCell::new(),
            turn: tokio::sync::Mutex::default(),
            waits: UnderWay::default(),
            known: Mutex::default(),
        }
    }

    /// Opens the letters of earlier lives, if there are any.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub(crate) async fn open_existing(&self) -> Result<(), ChannelError> {
        if self.env.disk.stat(&directory(&self.data_dir)).is_err() {
            return Ok(());
        }
        let channel = match self.channel().await {
            // It was never made, so it holds nothing. The first letter opens it.
            Err(ChannelError::NoRoom { .. }) => return Ok(()),
            channel => channel?,
        };
        let events = channel.status().events;
        if events > 0 {
            info!(events, "there are dead letters; `aqueduct dlq list` shows them");
        }
        Ok(())
    }

    /// The channel, opened by the first that asks.
    async fn channel(&self) -> Result<&Arc<dyn Channel>, ChannelError> {
        let open = || async {
            let channel = self.config.build(&self.data_dir, &self.env, &self.metrics);
            let channel: Arc<dyn Channel> = Arc::from(channel);
            channel.open().await?;
            channel.register(&[OPERATOR.into()]).await?;
            letters(&*channel, |label, _| self.known().add(&label)).await?;
            Ok(channel)
        };
        self.open.get_or_try_init(open).await
    }

    /// The channel, if there was ever a letter.
    pub(crate) fn opened(&self) -> Option<&Arc<dyn Channel>> {
        self.open.get()
    }

    /// How many batches are among the letters, whole or in part: they are settled only when an
    /// operator has put them back or dropped them.
    pub(crate) fn batches(&self) -> u64 {
        self.known().identities.count()
    }

    /// The same batches by name.
    pub(crate) fn identities(&self) -> KeySet {
        self.known().identities.clone()
    }

    /// Where they are on disk, and what they are sealed with.
    pub(crate) fn place(&self) -> (PathBuf, Option<Encryption>) {
        (directory(&self.data_dir), self.config.encryption.clone())
    }

    /// The lowest epoch of `origin` of which a batch is among the letters.
    pub(crate) fn lowest(&self, origin: Origin) -> Option<Epoch> {
        self.known().identities.lowest_epoch(origin)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is made whole, so a panic elsewhere does no harm here.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a letter; `Ok` = it is on disk. Waits while there is no room.
    ///
    /// # Errors
    /// It is not stored: the disk refused, the agent is stopping, or it can never fit.
    pub(crate) async fn store(
        &self,
        letter: &Letter,
        from: Sender<'_>,
    ) -> Result<(), ChannelError> {
        let label = Label::new(letter, from, unix_millis(self.env.clock.now()));
        let Some(events) = self.put(&label, letter.events.clone(), Full::Waits).await? else {
            return Ok(());
        };
        let reason = SinkReason { sink: label.sink, reason: label.reason };
        self.metrics.dead_letters.get_or_create(&reason).inc_by(events);
        Ok(())
    }

    /// Stores what an interceptor of a source rejected of a batch; `Ok` = it is on disk. A client
    /// may wait for the answer, so it does not wait for room for longer than 5 s.
    ///
    /// # Errors
    /// It is not stored: the disk refused, the agent is stopping, or there is no room.
    pub(crate) async fn store_rejected(
        &self,
        (source, interceptor): (&str, &str),
        envelope: &Envelope,
        reject: Reject,
    ) -> Result<(), ChannelError> {
        let now = unix_millis(self.env.clock.now());
        let label = Label::rejected((source, interceptor), envelope, &reject, now);
        let stored = self.put(&label, reject.events.into(), Full::Fails).await?;
        if let Some(events) = stored {
            let label = SourceReason { source: source.to_owned(), reason: reject.reason };
            self.metrics.source_dead_letters.get_or_create(&label).inc_by(events);
        }
        Ok(())
    }

    /// Stores events under this label; how many, or `None` if the letter is there already.
    async fn put(
        &self,
        label: &Label,
        events: Batch,
        full: Full,
    ) -> Result<Option<u64>, ChannelError> {
        let channel = self.channel().await?;
        let _turn = self.turn.lock().await;
        if self.known().keys.contains(&label.key) {
            return Ok(None);
        }
        let batch = label.put_on(events);
        let events = batch.len() as u64;
        let begun = channel.begin_put(batch.size());
        tokio::pin!(begun);
        let waits = self.waits.begin(Instant::now());
        let mut put = match timeout(PATIENCE, &mut begun).await {
            Ok(begun) => begun?,
            Err(_) => {
                warn!(
                    capacity = %self.config.capacity,
                    "the dead letters are full: look after them with `aqueduct dlq`, or raise \
                     `dead_letters.capacity`; what can never be delivered waits in its channel, \
                     and batches with rejected events wait at their source",
                );
                match full {
                    Full::Waits => begun.await?,
                    Full::Fails => {
                        return Err(ChannelError::Full { channel: "dead-letters".into() });
                    }
                }
            }
        };
        drop(waits);
        put.put(batch);
        put.commit().await?;
        self.known().add(label);
        Ok(Some(events))
    }

    /// Whether a letter waits for room, and those of interceptors behind it.
    pub(crate) fn wait_for_room(&self) -> bool {
        self.waits.still_since().is_some()
    }

    /// Lets go of the directory.
    ///
    /// # Errors
    /// The disk refused; what was stored is safe all the same.
    pub(crate) async fn close(&self) -> Result<(), ChannelError> {
        match self.open.get() {
            Some(channel) => channel.close().await,
            None => Ok(()),
        }
    }
}
