//! Dead letters: a separate durable channel of the agent, for events that can never be delivered.
//!
//! ```text
//!   sink reports Refused ─► label ─► letter on disk ─► the batch may leave its channel
//!   interceptor rejects ───┘             │          ─► the rest of the batch may be stored
//!  `aqueduct dlq`, the live page ◄───────┴── list, show, replay, drop
//! ```
//!
//! # Invariants
//!
//! 1. A letter is on disk before its events leave their channel. After a crash in between, the
//!    batch is resent and the sink refuses it again: the letter is recognised by its key and not
//!    stored twice.
//! 2. Only an operator removes a letter, unless the setting `overflow` allows more.
//! 3. The first letter creates the directory. An agent without letters has no cost.
//! 4. An operator's replay removes a letter after its events are in their channel again, and no
//!    letter is stored in between: an event that is refused again immediately makes a new letter.

mod config;
mod known;
mod label;
pub mod operations;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use channel::durable::Encryption;
use channel::durable::inspect::Inspection;
use metrics::{Metrics, SinkReason, SourceReason};
use peers::DeadLettered;
use pipeline::env::unix_millis;
use pipeline::{
    Batch, Channel, ChannelError, Env, Envelope, Epoch, Identity, KeySet, Letter, LetterCounts,
    Origin, Reject,
};
use tokio::sync::OnceCell;
use tokio::time::{Duration, Instant, timeout};
use tracing::{info, warn};

use crate::under_way::StepsInProgress;

pub use config::Config;
pub use config::{context, schema, settings};
use known::Known;
pub use label::Label;
pub use label::Sender;

/// The consumer of the channel of the dead letters.
pub const OPERATOR: &str = "operator";

/// A letter that waits for room this long is logged.
const LOG_AFTER: Duration = Duration::from_secs(5);

/// Returns the directory of an agent's dead letters.
pub fn directory(data_dir: &Path) -> PathBuf {
    data_dir.join("dead-letters")
}

/// Passes every letter in a channel's files, oldest first, to `each`, until it returns `false`;
/// skips letters without a label. The agent may run.
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

/// Returns every letter of an open channel, oldest first, with its label; skips letters without a
/// label. All of them are ready again when this returns.
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
pub struct DeadLetters {
    config: Config,
    data_dir: PathBuf,
    env: Env,
    metrics: Metrics,
    open: OnceCell<Arc<dyn Channel>>,
    /// Serialises the storing of letters, so that no letter is stored twice.
    turn: tokio::sync::Mutex<()>,
    /// Held by the one replay or drop that an operator has asked for.
    acting: tokio::sync::Mutex<()>,
    /// Letters that wait for room.
    waits: StepsInProgress,
    known: Mutex<Known>,
    /// Events that were put back into channels.
    replayed: AtomicU64,
}

/// The handling of a letter for which there is no room.
#[derive(Debug, Clone, Copy)]
enum Full {
    Waits,
    Fails,
}

impl DeadLetters {
    /// Creates the dead letters of the agent in `data_dir`; opens nothing.
    pub fn new(config: Config, data_dir: &Path, env: &Env, metrics: &Metrics) -> Self {
        Self {
            config,
            data_dir: data_dir.to_owned(),
            env: env.clone(),
            metrics: metrics.clone(),
            open: OnceCell::new(),
            turn: tokio::sync::Mutex::default(),
            acting: tokio::sync::Mutex::default(),
            waits: StepsInProgress::default(),
            known: Mutex::default(),
            replayed: AtomicU64::new(0),
        }
    }

    /// Opens the letters of earlier lives, if there are any.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub async fn open_existing(&self) -> Result<(), ChannelError> {
        if self.env.disk.stat(&directory(&self.data_dir)).is_err() {
            return Ok(());
        }
        let channel = match self.channel().await {
            // It was never created, so it is empty. The first letter opens it.
            Err(ChannelError::NoRoom { .. }) => return Ok(()),
            channel => channel?,
        };
        let events = channel.status().events;
        if events > 0 {
            let data_dir = self.data_dir.display();
            info!(events, "there are dead letters; list them with `aqueduct dlq list {data_dir}`");
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
            let found = |label: Label, events: Batch| {
                self.known().found(&label, events.len() as u64);
            };
            letters(&*channel, found).await?;
            Ok(channel)
        };
        self.open.get_or_try_init(open).await
    }

    /// The channel, if there was ever a letter.
    pub fn opened(&self) -> Option<&Arc<dyn Channel>> {
        self.open.get()
    }

    /// Returns how many batches have letters, complete or partial: they are settled only when an
    /// operator replays or drops them.
    pub fn batches(&self) -> u64 {
        self.known().identities().count()
    }

    /// Returns the number of events in letters, by their channel; the empty name is for events that
    /// interceptors rejected.
    pub fn by_channel(&self) -> BTreeMap<String, LetterCounts> {
        self.known().by_channel()
    }

    /// The origin of the channel of the letters, once there was one.
    pub fn origin(&self) -> Option<Origin> {
        self.opened()?.own_epoch().map(|(origin, _)| origin)
    }

    /// The next agents have reported letters of a batch that `group` took from `channel`.
    pub fn reported(&self, channel: &str, group: &str, letters: DeadLettered) {
        self.known().reported(channel, group, letters);
    }

    /// Returns the events of a batch that became letters after it left `channel`, here or at
    /// downstream agents; without a name, events that interceptors rejected.
    pub fn events_of(&self, channel: &str, batch: Identity) -> u64 {
        self.known().events_of(channel, batch)
    }

    /// Returns batches with known letters, here or downstream; `None` if there are no letters.
    pub fn with_letters(&self) -> Option<KeySet> {
        let known = self.known();
        (!known.is_empty()).then(|| known.batches())
    }

    /// Events that an operator has put back into channels since the agent has started.
    pub fn replayed_events(&self) -> u64 {
        self.replayed.load(Ordering::Relaxed)
    }

    /// Returns the directory and the encryption.
    pub fn place(&self) -> (PathBuf, Option<Encryption>) {
        (directory(&self.data_dir), self.config.encryption.clone())
    }

    /// Returns the lowest epoch of `origin` with a batch among the letters.
    pub fn lowest(&self, origin: Origin) -> Option<Epoch> {
        self.known().identities().lowest_epoch(origin)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is complete, so a panic elsewhere does no harm here.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a letter; `Ok` = it is on disk. Waits while there is no room.
    ///
    /// # Errors
    /// It is not stored: the disk failed, the agent is stopping, or it can never fit.
    pub async fn store(&self, letter: &Letter, from: Sender<'_>) -> Result<(), ChannelError> {
        let label = Label::new(letter, from, unix_millis(self.env.clock.now()));
        let Some(events) = self.put(&label, letter.events.clone(), Full::Waits).await? else {
            return Ok(());
        };
        let reason = SinkReason { sink: label.sink, reason: label.reason };
        self.metrics.dead_letters.get_or_create(&reason).inc_by(events);
        Ok(())
    }

    /// Stores the events of a batch that an interceptor rejected; `Ok` = they are on disk. Waits at
    /// most 5 s for room, because a client may be waiting for the answer.
    ///
    /// # Errors
    /// They are not stored: the disk failed, the agent is stopping, or there is no room.
    pub async fn store_rejected(
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

    /// Stores events with this label; returns their number, or `None` if the letter already exists.
    async fn put(
        &self,
        label: &Label,
        events: Batch,
        full: Full,
    ) -> Result<Option<u64>, ChannelError> {
        let channel = self.channel().await?;
        let _turn = self.turn.lock().await;
        if self.known().confirm(label) {
            return Ok(None);
        }
        let batch = label.apply_to(events);
        let events = batch.len() as u64;
        let begun = channel.begin_put(batch.size());
        tokio::pin!(begun);
        let waits = self.waits.begin(Instant::now());
        let mut put = match timeout(LOG_AFTER, &mut begun).await {
            Ok(begun) => begun?,
            Err(_) => {
                warn!(
                    capacity = %self.config.capacity,
                    "the dead letters are full: run `aqueduct dlq replay ADDRESS` or `aqueduct \
                     dlq drop ADDRESS --yes` (ADDRESS is `agent.admin`), or raise \
                     `dead_letters.capacity`; until then undeliverable batches wait in their \
                     channel, and batches with rejected events at their source",
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
        self.known().written(label, events);
        Ok(Some(events))
    }

    /// Returns `true` if a letter waits for room, so that letters of interceptors wait too.
    pub fn wait_for_room(&self) -> bool {
        self.waits.stalled_since().is_some()
    }

    /// Closes the channel and releases the directory.
    ///
    /// # Errors
    /// The disk failed; stored letters are still safe.
    pub async fn close(&self) -> Result<(), ChannelError> {
        match self.open.get() {
            Some(channel) => channel.close().await,
            None => Ok(()),
        }
    }
}
