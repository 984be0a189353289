//! The [`Channel`] that an agent sees.

mod put_back;
mod saving;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use metrics::{ChannelReason, Counter};
use pipeline::{
    Backlog, Batch, BatchSize, BuildContext, Channel, ChannelError, ChannelStatus, Env, Epoch,
    Guarantee, Identity, IntervalSet, KeySet, Origin, OriginName, PutTransaction, Sequence,
    SourcePosition, TakeTransaction, Ticket,
};
use support::notice;
use tokio::sync::{Notify, broadcast};
use tokio::time::Instant;

use super::positions_file;
use crate::dedupe::Window;
use crate::durable::no_room;
use crate::in_flight::InFlight;
use crate::positions::Positions;
use crate::reservations::Reservations;
use crate::transactions::{Put, Take};
use saving::keep_positions;

/// Minimum time between writes of the positions.
const POSITIONS_DELAY: Duration = Duration::from_millis(250);
/// Identities announced and not yet received by a listener.
const ANNOUNCED_MAX: usize = 1024;
/// The one life of an origin that is new at every start.
const EPOCH: Epoch = Epoch(1);

pub(super) struct Held {
    pub(super) batch: Batch,
    size: BatchSize,
    since: Instant,
}

pub(super) struct State {
    pub(super) in_flight: InFlight,
    window: Window,
    pub(super) held: BTreeMap<Ticket, Held>,
    /// Positions after batches: they go to disk when everything below the ticket is settled.
    due: BTreeMap<Ticket, Vec<SourcePosition>>,
    /// As of the last put, and as they may stand on disk.
    positions: Positions,
    committed: Positions,
    unsaved: bool,
    origin: Origin,
    next_sequence: u64,
    /// Events of resent batches that are stored once.
    duplicate_events: Counter,
    total: BatchSize,
    pub(super) room: Reservations,
    pub(super) closed: bool,
}

pub(super) struct Core {
    name: Arc<str>,
    env: Env,
    origin_name: OriginName,
    directory: PathBuf,
    capacity_bytes: u64,
    capacity_events: u64,
    state: Mutex<State>,
    pub(super) room: Notify,
    pub(super) ready: Notify,
    pub(super) dirty: Arc<Notify>,
    settled: broadcast::Sender<Arc<KeySet>>,
    /// Serialises writers of the file.
    saving: tokio::sync::Mutex<()>,
}

/// A memory channel.
pub(super) struct Memory {
    core: Arc<Core>,
    turn: tokio::sync::Mutex<()>,
}

impl Memory {
    /// An empty channel, not open.
    pub(super) fn new(config: &super::Config, cx: &BuildContext) -> Self {
        let label = ChannelReason { channel: cx.name.to_string(), reason: "duplicate_event" };
        let state = State {
            duplicate_events: cx.metrics.channel_anomalies.get_or_create(&label).clone(),
            in_flight: InFlight::default(),
            window: Window::default(),
            held: BTreeMap::new(),
            due: BTreeMap::new(),
            positions: Positions::default(),
            committed: Positions::default(),
            unsaved: false,
            origin: Origin([0; 16]),
            next_sequence: 0,
            total: BatchSize::default(),
            room: Reservations::default(),
            closed: false,
        };
        let core = Core {
            name: cx.name.clone(),
            env: cx.env.clone(),
            origin_name: cx.get(),
            directory: cx.directory.clone(),
            capacity_bytes: config.capacity.0,
            capacity_events: config.capacity_events.unwrap_or(u64::MAX),
            state: Mutex::new(state),
            room: Notify::new(),
            ready: Notify::new(),
            dirty: Arc::default(),
            settled: broadcast::channel(ANNOUNCED_MAX).0,
            saving: tokio::sync::Mutex::default(),
        };
        Self { core: Arc::new(core), turn: tokio::sync::Mutex::default() }
    }
}

impl State {
    fn fits(&self, size: BatchSize, core: &Core) -> bool {
        let bytes = self.total.bytes + self.room.reserved.bytes + size.bytes;
        let events = self.total.events + self.room.reserved.events + size.events;
        bytes <= core.capacity_bytes && events <= core.capacity_events
    }

    /// Returns `true` if puts wait now. The caller must put nothing until this changes, which has
    /// to happen automatically.
    fn stops_intake(&self, core: &Core) -> bool {
        self.closed || self.room.refused.is_some_and(|size| !self.fits(size, core))
    }

    /// Room for `size`, if puts are not to wait.
    fn reserve(&mut self, size: BatchSize, core: &Core) -> bool {
        let fits = self.fits(size, core);
        self.room.reserve(size, fits)
    }

    /// Stores one batch; returns its identity if it is settled immediately.
    pub(super) fn store(&mut self, mut batch: Batch) -> Option<Identity> {
        let positions = std::mem::take(&mut batch.envelope.positions);
        self.positions.apply(&positions);
        let has_events = !batch.is_empty();
        let settled = self.store_events(batch);
        if !positions.is_empty() {
            // Everything put so far is before this position.
            self.due.entry(self.in_flight.next()).or_default().extend(positions);
        }
        settled.filter(|_| !has_events)
    }

    /// Returns the identity of the next stored batch; `None` for one without events, whose identity
    /// is never needed.
    pub(super) fn name(&self, batch: &Batch) -> Option<Identity> {
        let sequence = Sequence(self.next_sequence);
        let new = Identity { origin: self.origin, epoch: EPOCH, sequence };
        batch.envelope.identity.or((!batch.is_empty()).then_some(new))
    }

    /// Stores events and identity; returns the identity if it is new here.
    fn store_events(&mut self, mut batch: Batch) -> Option<Identity> {
        let has_events = !batch.is_empty();
        let identity = self.name(&batch)?;
        self.next_sequence += u64::from(batch.envelope.identity.is_none());
        if self.window.knows(identity) {
            self.duplicate_events.inc_by(batch.len() as u64);
            return None;
        }
        if has_events {
            let ticket = self.in_flight.put(1);
            let size = batch.size();
            self.total.bytes += size.bytes;
            self.total.events += size.events;
            batch.envelope.identity = Some(identity);
            self.held.insert(ticket, Held { batch, size, since: Instant::now() });
        }
        self.window.store(identity, has_events);
        Some(identity)
    }

    /// Releases positions to the disk whose batches, and all batches before them, are settled.
    pub(super) fn advance_positions(&mut self) {
        let settled_below = self.in_flight.oldest_unsettled().unwrap_or(self.in_flight.next());
        while let Some(first) = self.due.first_entry().filter(|e| *e.key() <= settled_below) {
            self.committed.apply(&first.remove());
            self.unsaved = true;
        }
    }

    /// Batches that every consumer has leave the memory; answers their identities.
    pub(super) fn settle(&mut self, tickets: &IntervalSet) -> KeySet {
        let mut keys = KeySet::default();
        for ticket in tickets.iter() {
            let Some(held) = self.held.remove(&ticket) else { continue };
            self.total.bytes -= held.size.bytes;
            self.total.events -= held.size.events;
            if let Some(identity) = held.batch.envelope.identity {
                keys.insert(identity);
            }
        }
        self.window.settle(&keys);
        self.advance_positions();
        keys
    }
}

impl Core {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn closed_error(&self) -> ChannelError {
        ChannelError::Closed { channel: self.name.to_string() }
    }

    fn disk_error(&self, source: io::Error) -> ChannelError {
        ChannelError::Disk { channel: self.name.to_string(), source }
    }

    pub(super) fn announce(&self, settled: KeySet) {
        if !settled.is_empty() {
            // There may be no listener.
            let _ = self.settled.send(Arc::new(settled));
        }
    }
}

#[async_trait]
impl Channel for Memory {
    fn guarantee(&self) -> Guarantee {
        // Its contents are lost with the process: events are read or sent again.
        Guarantee::AtLeastOnce
    }

    fn batch_max(&self) -> u64 {
        self.core.capacity_bytes
    }

    async fn open(&self) -> Result<(), ChannelError> {
        let (core, disk) = (&self.core, self.core.env.disk.clone());
        let (directory, path) = (core.directory.clone(), core.path());
        let (origin_name, env) = (core.origin_name.clone(), core.env.clone());
        let read = core.env.offload(move || {
            disk.create_dir_all(&directory)?;
            Ok((positions_file::read(&*disk, &path)?, origin_name.origin(&env)))
        });
        let refused = |error| no_room(core.disk_error(error), &core.env, &core.directory);
        let (positions, origin) = read.await.map_err(refused)?;
        let mut state = core.state();
        state.positions.apply(&positions);
        state.committed.apply(&positions);
        state.origin = origin;
        drop(state);
        tokio::spawn(keep_positions(Arc::downgrade(core), core.dirty.clone()));
        Ok(())
    }

    async fn register(&self, consumers: &[Arc<str>]) -> Result<(), ChannelError> {
        let keys = {
            let mut state = self.core.state();
            let before = state.in_flight.acked_by_all(None);
            state.in_flight.register(consumers);
            let settled = state.in_flight.acked_by_all(None).difference(&before);
            state.settle(&settled)
        };
        self.core.room.notify_waiters();
        // Takes of one that has left end.
        self.core.ready.notify_waiters();
        self.core.announce(keys);
        Ok(())
    }

    fn backlog(&self, consumer: &str) -> Backlog {
        self.core.state().in_flight.backlog(consumer)
    }

    async fn begin_put(&self, size: BatchSize) -> Result<Box<dyn PutTransaction>, ChannelError> {
        let core = &self.core;
        if size.bytes > core.capacity_bytes || size.events > core.capacity_events {
            let (channel, capacity_bytes) = (core.name.to_string(), core.capacity_bytes);
            return Err(ChannelError::TooLarge { channel, size_bytes: size.bytes, capacity_bytes });
        }
        let _turn = self.turn.lock().await;
        notice::until(&core.room, || {
            let mut state = core.state();
            if state.closed {
                return Some(Err(core.closed_error()));
            }
            let put = || Ok(Box::new(Put::new(core.clone(), size)) as Box<dyn PutTransaction>);
            state.reserve(size, core).then(put)
        })
        .await
    }

    async fn replay(&self, batch: Batch, consumer: &str) -> Result<(), ChannelError> {
        let core = &self.core;
        {
            let mut state = core.state();
            if state.closed {
                return Err(core.closed_error());
            }
            state.put_back(batch, consumer, core)?;
        }
        core.ready.notify_waiters();
        Ok(())
    }

    async fn uncommitted(&self, consumer: &str, keys: &KeySet) -> Result<KeySet, ChannelError> {
        Ok(self.core.state().waiting_for(consumer, keys))
    }

    fn begin_take(&self, consumer: &str) -> Box<dyn TakeTransaction> {
        Box::new(Take::new(self.core.clone(), Arc::from(consumer)))
    }

    fn positions(&self, source: &str) -> Vec<(Bytes, Bytes)> {
        self.core.state().positions.of_source(source)
    }

    fn stored(&self, origin: Origin, epoch: Epoch) -> IntervalSet {
        self.core.state().window.stored(origin, epoch)
    }

    fn settled(&self, origin: Origin, epoch: Epoch) -> IntervalSet {
        self.core.state().window.settled(origin, epoch)
    }

    fn lowest_unsettled(&self, origin: Origin) -> Option<Epoch> {
        self.core.state().window.lowest_pending(origin)
    }

    fn watch_settled(&self) -> broadcast::Receiver<Arc<KeySet>> {
        self.core.settled.subscribe()
    }

    fn status(&self) -> ChannelStatus {
        let state = self.core.state();
        let held = state.in_flight.held();
        let events = |ticket| state.held.get(&ticket).map_or(0, |held| held.size.events);
        ChannelStatus {
            events: state.total.events,
            bytes: state.total.bytes,
            capacity_bytes: self.core.capacity_bytes,
            reserve_bytes: 0,
            until_full: None,
            unsettled_events: held.iter().map(events).sum(),
            oldest_uncommitted: state.held.first_key_value().map(|(_, held)| held.since.elapsed()),
            intake_stopped: state.stops_intake(&self.core),
        }
    }

    fn is_full(&self) -> bool {
        self.core.state().stops_intake(&self.core)
    }

    async fn close(&self) -> Result<(), ChannelError> {
        self.core.state().closed = true;
        self.core.room.notify_waiters();
        self.core.ready.notify_waiters();
        self.core.save().await
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Wakes the task that writes the positions, so that it ends.
        self.core.dirty.notify_one();
    }
}
