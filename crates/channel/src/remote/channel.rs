//! The [`Channel`] that an agent sees.

use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pipeline::{
    Account, Backlog, BatchSize, BuildContext, Channel, ChannelError, ChannelStatus, Epoch,
    Guarantee, IntervalSet, KeySet, Origin, PutTransaction, TakeTransaction,
};
use support::notice;
use tokio::sync::{Notify, broadcast, oneshot};
use tokio::time::{Instant, timeout_at};

use super::core::{Core, Signals};
use super::frames::OVERHEAD;
use super::limits::Limits;
use super::log::{Log, LogError};
use super::opening::{self, Opened};
use super::request::Request;
use crate::transactions::{Put, Take};

/// Maximum time from a commit to a STATE that contains it.
pub(super) const STATE_EVERY: Duration = Duration::from_secs(10);
/// Identities announced and not yet received by a listener.
const ANNOUNCED_MAX: usize = 1024;
/// Lengths in a frame have 32 bits.
const PUT_MAX: u64 = 1 << 30;

/// The way to a log. Its calls block.
pub trait LogConnector: Send + Sync {
    /// Connects to the log; creates it if configured and missing.
    ///
    /// # Errors
    /// The log does not exist, or cannot be used.
    fn connect(&self) -> Result<Arc<dyn Log>, LogError>;

    /// Tests the connection, and describes the log. Creates nothing.
    ///
    /// # Errors
    /// As [`LogConnector::connect`].
    fn probe(&self) -> Result<String, LogError>;
}

/// To a log that is always there.
impl<F: Fn() -> Arc<dyn Log> + Send + Sync> LogConnector for F {
    fn connect(&self) -> Result<Arc<dyn Log>, LogError> {
        Ok(self())
    }

    fn probe(&self) -> Result<String, LogError> {
        Ok(self().name().to_owned())
    }
}

/// A channel over a log, open or not.
pub struct Remote {
    cx: BuildContext,
    limits: Limits,
    way: Arc<dyn LogConnector>,
    core: OnceLock<Arc<Core>>,
    /// Puts wait in the order of their arrival.
    turn: tokio::sync::Mutex<()>,
    dirty: Arc<Notify>,
}

impl Remote {
    /// A channel that is not open.
    pub fn new(cx: &BuildContext, limits: Limits, way: Arc<dyn LogConnector>) -> Self {
        Self {
            cx: cx.clone(),
            limits,
            way,
            core: OnceLock::new(),
            turn: tokio::sync::Mutex::default(),
            dirty: Arc::default(),
        }
    }

    fn core(&self) -> &Arc<Core> {
        self.core.get().expect("a channel is opened before all else")
    }

    fn refused(&self, error: LogError) -> ChannelError {
        let (channel, path) = (self.cx.name.to_string(), "its log".to_owned());
        match error {
            LogError::Unusable(problem) => ChannelError::Unusable { channel, path, problem },
            LogError::Failed(_) => {
                ChannelError::Remote { channel, place: path, source: Box::new(error) }
            }
        }
    }
}

/// Writes a STATE when no put causes one; ends with the channel.
async fn keep_state(core: Weak<Core>, dirty: Arc<Notify>) {
    loop {
        dirty.notified().await;
        let due = Instant::now() + STATE_EVERY;
        loop {
            let Some(strong) = core.upgrade() else { return };
            let is_urgent = strong.state().is_urgent(&strong.limits);
            if is_urgent || Instant::now() >= due {
                strong.flush();
                break;
            }
            drop(strong);
            // Check in either case.
            let _ = timeout_at(due, dirty.notified()).await;
        }
    }
}

#[async_trait]
impl Channel for Remote {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn batch_max(&self) -> u64 {
        PUT_MAX.min(self.limits.capacity_bytes / 2) - OVERHEAD
    }

    async fn open(&self) -> Result<(), ChannelError> {
        let (way, cx, limits) = (self.way.clone(), self.cx.clone(), self.limits);
        let opened = self.cx.env.offload(move || {
            let log = way.connect()?;
            let opened = opening::open(&log, &cx, &limits)?;
            Ok((log, opened))
        });
        let (log, opened) = opened.await.map_err(|error| self.refused(error))?;
        let Opened { state, origin, epoch, lost } = opened;
        let core = Arc::new(Core {
            name: self.cx.name.clone(),
            env: self.cx.env.clone(),
            metrics: self.cx.metrics.clone(),
            limits,
            origin,
            epoch,
            log,
            state: Mutex::new(state),
            signals: Signals { dirty: self.dirty.clone(), ..Signals::default() },
            settled: broadcast::channel(ANNOUNCED_MAX).0,
            reading: Mutex::default(),
        });
        if lost > 0 {
            core.incident("lost_batch", lost);
        }
        tokio::spawn(keep_state(Arc::downgrade(&core), self.dirty.clone()));
        assert!(self.core.set(core).is_ok(), "a channel is opened once");
        Ok(())
    }

    async fn probe(&self) -> Result<Option<String>, ChannelError> {
        let way = self.way.clone();
        let tried = self.cx.env.offload(move || way.probe()).await;
        tried.map(Some).map_err(|error| self.refused(error))
    }

    async fn register(&self, consumers: &[Arc<str>]) -> Result<(), ChannelError> {
        let core = self.core();
        let (reply, answer) = oneshot::channel();
        core.submit(Request::Register { names: consumers.to_vec(), reply });
        match answer.await {
            Ok(registered) => registered.map_err(|failure| core.put_error(&failure)),
            Err(_) => Err(core.closed_error()),
        }
    }

    fn backlog(&self, consumer: &str) -> Backlog {
        self.core().state().in_flight.backlog(consumer)
    }

    async fn begin_put(&self, size: BatchSize) -> Result<Box<dyn PutTransaction>, ChannelError> {
        let core = self.core();
        let size = BatchSize { bytes: size.bytes + OVERHEAD, ..size };
        let Limits { capacity_bytes, capacity_events, .. } = self.limits;
        if size.bytes > PUT_MAX.min(capacity_bytes / 2) || size.events > capacity_events {
            let (channel, size_bytes) = (core.name.to_string(), size.bytes);
            return Err(ChannelError::TooLarge { channel, size_bytes, capacity_bytes });
        }
        let _turn = self.turn.lock().await;
        notice::until(&core.signals.room, || {
            let mut state = core.state();
            if state.closed {
                return Some(Err(core.closed_error()));
            }
            if state.reserve(size, &core.limits) {
                return Some(Ok(Box::new(Put::new(core.clone(), size)) as Box<dyn PutTransaction>));
            }
            core.signals.dirty.notify_one();
            None
        })
        .await
    }

    fn begin_take(&self, consumer: &str) -> Box<dyn TakeTransaction> {
        Box::new(Take::new(self.core().clone(), Arc::from(consumer)))
    }

    fn positions(&self, source: &str) -> Vec<(Bytes, Bytes)> {
        self.core().state().positions.of_source(source)
    }

    fn stores_in_turn(&self) -> bool {
        true
    }

    fn stored(&self, origin: Origin, epoch: Epoch) -> IntervalSet {
        self.core().state().window.stored(origin, epoch)
    }

    fn settled(&self, origin: Origin, epoch: Epoch) -> IntervalSet {
        self.core().state().window.settled(origin, epoch)
    }

    fn own_epoch(&self) -> Option<(Origin, Epoch)> {
        let core = self.core();
        Some((core.origin, core.epoch))
    }

    fn account(&self) -> Option<Account> {
        let core = self.core();
        let account = core.state().window.account(&core.name, core.origin);
        Some(Account { held_events: core.status().events, ..account })
    }

    fn lowest_unsettled(&self, origin: Origin) -> Option<Epoch> {
        self.core().state().window.lowest_pending(origin)
    }

    fn watch_settled(&self) -> broadcast::Receiver<Arc<KeySet>> {
        self.core().settled.subscribe()
    }

    fn status(&self) -> ChannelStatus {
        self.core().status()
    }

    fn is_full(&self) -> bool {
        let core = self.core();
        core.state().stops_intake(&core.limits)
    }

    async fn close(&self) -> Result<(), ChannelError> {
        let core = self.core();
        core.stop(false);
        // The final STATE contains the commits.
        core.flush();
        notice::until(&core.signals.rested, || core.state().hand_off.is_at_rest().then_some(()))
            .await;
        let state = core.state();
        if !state.unsaved || state.lost {
            return Ok(());
        }
        let problem = "cannot store the progress of the sinks; no event is lost; the next start \
                       delivers some batches again, which exactly-once sinks drop and others store \
                       twice";
        let error = LogError::Failed(std::io::Error::other(problem));
        Err(core.log_error(&Arc::new(error)))
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // Wakes the task that writes the STATE, so that it ends.
        drop(self.core.take());
        self.dirty.notify_one();
    }
}
