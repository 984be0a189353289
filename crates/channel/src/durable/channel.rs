//! The [`Channel`] that an agent sees.

use std::io;
use std::sync::{Arc, OnceLock, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pipeline::{
    Account, Backlog, Batch, BatchSize, BuildContext, Channel, ChannelError, ChannelStatus, Epoch,
    Guarantee, Identity, IntervalSet, KeySet, Origin, PutTransaction, TakeTransaction,
};
use support::mutant;
use tokio::sync::{Notify, broadcast, oneshot};
use tokio::time::timeout;

use super::Config;
use super::commit::request::Request;
use super::core::Core;
use super::log::{keys, trimming};
use super::space::capacity::{self, PUT_MAX, PUT_OVERHEAD};
use crate::durable::commit::put::Put;
use crate::durable::recovery::opening::Opening;
use crate::durable::space::when_full::Overflow;
use crate::transactions::Take;

/// How long commits of takes may wait for a put to carry them to the disk.
const ACK_DELAY: Duration = Duration::from_millis(10);
/// Pause between attempts on a disk that is full or fails.
const DISK_DELAY: Duration = Duration::from_millis(200);
/// Pause between checks of a waiting put whether to log the stop.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// Attempts to write the last commits when the channel closes.
const FLUSH_ATTEMPTS: u32 = 3;
/// A durable channel, open or not.
pub(crate) struct Durable {
    config: Config,
    cx: BuildContext,
    core: OnceLock<Arc<Core>>,
    /// Puts wait in the order of their arrival.
    turn: tokio::sync::Mutex<()>,
    dirty: Arc<Notify>,
}

impl Durable {
    /// A channel that is not open.
    pub(crate) fn new(config: Config, cx: &BuildContext) -> Self {
        Self {
            config,
            cx: cx.clone(),
            core: OnceLock::new(),
            turn: tokio::sync::Mutex::default(),
            dirty: Arc::default(),
        }
    }

    /// Opens the directory.
    async fn opened(&self) -> Result<Arc<Core>, ChannelError> {
        let (config, cx, dirty) = (self.config.clone(), self.cx.clone(), self.dirty.clone());
        let opening = Opening { config, cx, dirty };
        let opened = self.cx.env.offload(move || opening.run()).await;
        opened.map_err(|error| capacity::no_room(error, &self.cx.env, &self.cx.directory))
    }

    /// Returns the encryption settings.
    pub(crate) fn encryption(&self) -> Option<&keys::Encryption> {
        self.config.encryption.as_ref()
    }

    /// Returns the open channel.
    pub(crate) fn core(&self) -> &Arc<Core> {
        self.core.get().expect("a channel is opened before all else")
    }
}

/// Writes commits that no put carries, and checks a full disk again; ends with the channel.
async fn flush(core: Weak<Core>, dirty: Arc<Notify>) {
    loop {
        dirty.notified().await;
        loop {
            let Some(strong) = core.upgrade() else { return };
            let (starved, stuck, news) = {
                let state = strong.state();
                (
                    state.is_starved(&strong.limits),
                    !state.in_doubt.is_empty(),
                    state.has_unwritten(),
                )
            };
            drop(strong);
            if !starved && !news {
                break;
            }
            tokio::time::sleep(if starved || stuck { DISK_DELAY } else { ACK_DELAY }).await;
            let Some(strong) = core.upgrade() else { return };
            if starved {
                let core = strong.clone();
                strong.env.offload(move || core.check_room()).await;
            }
            let waits = {
                let mut state = strong.state();
                state.unwritten.flush = !state.defers_commits();
                !state.unwritten.flush && !state.space.renew
            };
            if !waits {
                strong.lead();
            }
        }
    }
}

#[async_trait]
impl Channel for Durable {
    fn guarantee(&self) -> Guarantee {
        match self.config.overflow {
            Overflow::Block => Guarantee::ExactlyOnce,
            Overflow::DropNewest | Overflow::DropOldest => Guarantee::BestEffort,
        }
    }

    fn batch_max(&self) -> u64 {
        self.config.batch_max()
    }

    fn warnings(&self) -> Vec<String> {
        capacity::warnings(self.config.capacity, &self.cx)
    }

    async fn open(&self) -> Result<(), ChannelError> {
        let core = self.opened().await?;
        tokio::spawn(flush(Arc::downgrade(&core), self.dirty.clone()));
        tokio::spawn(trimming::run(Arc::downgrade(&core), core.files.emptied.clone()));
        if let Some(encryption) = self.config.encryption.clone() {
            tokio::spawn(keys::reload(encryption, Arc::downgrade(&core)));
        }
        assert!(self.core.set(core).is_ok(), "a channel is opened once");
        Ok(())
    }

    async fn register(&self, consumers: &[Arc<str>]) -> Result<(), ChannelError> {
        let core = self.core();
        let (reply, answer) = oneshot::channel();
        core.submit(Request::Register { names: consumers.to_vec(), reply }, false);
        match answer.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(core.put_error(&why)),
            Err(_) => Err(core.closed_error()),
        }
    }

    fn backlog(&self, consumer: &str) -> Backlog {
        self.core().state().tickets.in_flight.backlog(consumer)
    }

    async fn begin_put(&self, size: BatchSize) -> Result<Box<dyn PutTransaction>, ChannelError> {
        let core = self.core();
        let capacity_bytes = core.limits.capacity_bytes;
        let most = capacity_bytes - core.files.reserve_bytes(capacity_bytes);
        let size = BatchSize { bytes: size.bytes + PUT_OVERHEAD, ..size };
        // Keep some room for the data in the current segment.
        if size.bytes > PUT_MAX.min(most / 2) || size.events > core.limits.capacity_events {
            let channel = core.name.to_string();
            return Err(ChannelError::TooLarge { channel, size_bytes: size.bytes, capacity_bytes });
        }
        let _turn = self.turn.lock().await;
        loop {
            let room = core.signals.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            {
                let mut state = core.state();
                if state.closed {
                    return Err(core.closed_error());
                }
                let fits = state.reserve(size, &core.limits);
                core.watch_intake(&mut state);
                if fits {
                    return Ok(Box::new(Put::new(core.clone(), size)));
                }
                if core.limits.overflow == Overflow::DropNewest && state.fits_disk(size.bytes) {
                    return Ok(Box::new(Put::dropping(core.clone())));
                }
                if state.is_starved(&core.limits) {
                    core.signals.dirty.notify_one();
                }
            }
            if core.limits.overflow == Overflow::DropOldest {
                let strong = core.clone();
                let dropped = core.env.offload(move || strong.drop_oldest()).await;
                if dropped.map_err(|error| core.disk_error(error))? {
                    continue;
                }
            }
            // A long stop is logged even if nothing happens.
            let _ = timeout(CHECK_INTERVAL, room).await;
        }
    }

    async fn replay(&self, batch: Batch, consumer: &str) -> Result<(), ChannelError> {
        self.back(batch, consumer).await
    }

    async fn uncommitted(&self, consumer: &str, keys: &KeySet) -> Result<KeySet, ChannelError> {
        self.waiting(consumer, keys).await
    }

    fn begin_take(&self, consumer: &str) -> Box<dyn TakeTransaction> {
        Box::new(Take::new(self.core().clone(), Arc::from(consumer)))
    }

    fn positions(&self, source: &str) -> Vec<(Bytes, Bytes)> {
        self.core().state().tickets.positions.of_source(source)
    }

    fn stores_in_turn(&self) -> bool {
        true
    }

    fn stored(&self, origin: Origin, epoch: Epoch) -> IntervalSet {
        let core = self.core();
        let state = core.state();
        // Without dedupe, senders do not learn which batches they need not resend.
        match core.limits.dedupe {
            true => state.tickets.window.stored(origin, epoch),
            false => state.tickets.window.settled(origin, epoch),
        }
    }

    fn settled(&self, origin: Origin, epoch: Epoch) -> IntervalSet {
        self.core().state().tickets.window.settled(origin, epoch)
    }

    fn own_epoch(&self) -> Option<(Origin, Epoch)> {
        let core = self.core();
        // An epoch that is not on disk must not be announced: see `space/full_disk.rs`.
        let durable = core.state().durable_epoch;
        let epoch = if mutant!("epoch_named_too_early") { core.owner.epoch } else { durable };
        Some((core.owner.origin, epoch))
    }

    fn renamed(&self, key: Identity) -> Option<Identity> {
        self.core().names().of(key)
    }

    fn rename(&self, kept: &IntervalSet) -> Result<(), ChannelError> {
        let core = self.core();
        core.rename(kept).map_err(|error| core.disk_error(error))
    }

    fn account(&self) -> Option<Account> {
        let core = self.core();
        let state = core.state();
        let mut account = state.tickets.window.account(&core.name, core.owner.origin);
        account.held_events = state.tickets.events;
        Some(core.names().account(account, state.tickets.window.all()))
    }

    fn lowest_unsettled(&self, origin: Origin) -> Option<Epoch> {
        let core = self.core();
        let state = core.state();
        let own = state.tickets.window.lowest_pending(origin);
        let named = core.names().lowest(origin, state.tickets.window.pending());
        own.into_iter().chain(named).min()
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
        core.state().closed = true;
        core.signals.room.notify_waiters();
        core.signals.ready.notify_waiters();
        let mut attempts = 0;
        loop {
            let rested = core.signals.rested.notified();
            tokio::pin!(rested);
            rested.as_mut().enable();
            {
                let mut state = core.state();
                let idle = state.hand_off.is_at_rest();
                if idle && !state.has_unwritten() {
                    break;
                }
                if idle && attempts == FLUSH_ATTEMPTS {
                    // Puts that wait for an answer get none.
                    state.in_doubt.clear();
                    return Err(core.disk_error(io::Error::other(
                        "cannot store the progress of the sinks; no event is lost; the next start \
                         delivers some batches again, which exactly-once sinks drop and others \
                         store twice",
                    )));
                }
                attempts += u32::from(idle);
                state.unwritten.flush = true;
            }
            core.lead();
            rested.await;
        }
        core.background.rest().await;
        let ending = core.clone();
        core.env
            .offload(move || {
                while ending.files.release_surplus(u64::MAX, true) {}
                ending.write_end();
                ending.store.flush();
            })
            .await;
        core.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(())
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        let Some(core) = self.core.take() else { return };
        let emptied = core.files.emptied.clone();
        drop(core);
        // They notice that the channel is gone.
        self.dirty.notify_one();
        emptied.notify_one();
    }
}
