//! The [`Channel`] that an agent sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use pipeline::{
    Backlog, Batch, BatchSize, Channel, ChannelError, ChannelStatus, Epoch, GivenName, Guarantee,
    IntervalSet, KeySet, Origin, PutTransaction, TakeTransaction, Taken, Ticket,
};
use tokio::sync::{RwLock, broadcast};

/// The first ticket of the disk; tickets of the memory are lower.
const DISK_TICKETS: Ticket = 1 << 62;
/// Identities announced and not yet received by a listener.
const ANNOUNCED_MAX: usize = 1024;

/// A memory channel that spills to a durable one.
pub(super) struct Spill {
    memory: Arc<dyn Channel>,
    disk: Arc<dyn Channel>,
    /// The memory is open, even if the disk has had no room yet.
    memory_open: AtomicBool,
    /// True if puts go to disk.
    spilling: AtomicBool,
    /// Puts choose their side in the order of their arrival.
    turn: tokio::sync::Mutex<()>,
    /// Read-locked by commits of puts, write-locked by a change of the consumers: both sides have
    /// the same consumers at every put.
    consumers: Arc<RwLock<()>>,
    settled: broadcast::Sender<Arc<KeySet>>,
}

impl Spill {
    /// Neither side is open.
    pub(super) fn new(memory: Arc<dyn Channel>, disk: Arc<dyn Channel>) -> Self {
        let (memory_open, spilling) = (AtomicBool::new(false), AtomicBool::new(false));
        let (turn, settled) = (tokio::sync::Mutex::default(), broadcast::channel(ANNOUNCED_MAX).0);
        let consumers = Arc::default();
        Self { memory, disk, memory_open, spilling, turn, consumers, settled }
    }
}

/// Forwards the announcements of one side; ends with it.
async fn announce(mut from: broadcast::Receiver<Arc<KeySet>>, to: broadcast::Sender<Arc<KeySet>>) {
    loop {
        match from.recv().await {
            // There may be no listener.
            Ok(settled) => drop(to.send(settled)),
            // A listener here lags as well, and asks.
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

fn shifted(tickets: &IntervalSet, by: impl Fn(Ticket) -> Ticket) -> IntervalSet {
    let mut moved = IntervalSet::EMPTY;
    for run in tickets.runs() {
        moved.insert_range(by(run.start)..by(run.end - 1) + 1);
    }
    moved
}

/// Splits tickets by side: memory, and disk in the numbers of the disk.
fn by_side(tickets: &IntervalSet) -> (IntervalSet, IntervalSet) {
    let memory = tickets.intersection(&IntervalSet::from(0..DISK_TICKETS));
    let disk = tickets.difference(&memory);
    (memory, shifted(&disk, |ticket| ticket - DISK_TICKETS))
}

#[async_trait]
impl Channel for Spill {
    fn guarantee(&self) -> Guarantee {
        self.memory.guarantee().min(self.disk.guarantee())
    }

    fn batch_max(&self) -> u64 {
        self.memory.batch_max().max(self.disk.batch_max())
    }

    fn warnings(&self) -> Vec<String> {
        self.disk.warnings()
    }

    async fn open(&self) -> Result<(), ChannelError> {
        if !self.memory_open.load(Ordering::Relaxed) {
            self.memory.open().await?;
            self.memory_open.store(true, Ordering::Relaxed);
        }
        self.disk.open().await?;
        self.spilling.store(self.disk.status().events > 0, Ordering::Relaxed);
        for side in [&self.memory, &self.disk] {
            tokio::spawn(announce(side.watch_settled(), self.settled.clone()));
        }
        Ok(())
    }

    async fn register(&self, consumers: &[Arc<str>]) -> Result<(), ChannelError> {
        let _alone = self.consumers.write().await;
        // The disk first: if it fails, nothing has changed.
        self.disk.register(consumers).await?;
        self.memory.register(consumers).await
    }

    fn backlog(&self, consumer: &str) -> Backlog {
        let (memory, disk) = (self.memory.backlog(consumer), self.disk.backlog(consumer));
        Backlog { ready: memory.ready + disk.ready, held: memory.held + disk.held }
    }

    async fn begin_put(&self, size: BatchSize) -> Result<Box<dyn PutTransaction>, ChannelError> {
        let _turn = self.turn.lock().await;
        if self.spilling.load(Ordering::Relaxed) && self.disk.status().events == 0 {
            self.spilling.store(false, Ordering::Relaxed);
        }
        let (memory, disk) = (self.memory.clone(), self.disk.clone());
        let consumers = self.consumers.clone();
        if !self.spilling.load(Ordering::Relaxed) {
            match self.memory.begin_put(size).now_or_never() {
                Some(Ok(put)) => {
                    return Ok(Box::new(Put { put, memory, disk, consumers, on_disk: None }));
                }
                Some(Err(ChannelError::TooLarge { .. })) | None => {}
                Some(Err(error)) => return Err(error),
            }
        }
        let put = self.disk.begin_put(size).await?;
        self.spilling.store(true, Ordering::Relaxed);
        Ok(Box::new(Put { put, memory, disk, consumers, on_disk: Some(Batch::default()) }))
    }

    fn begin_take(&self, consumer: &str) -> Box<dyn TakeTransaction> {
        let (memory, disk) = (self.memory.begin_take(consumer), self.disk.begin_take(consumer));
        Box::new(Take { memory, disk })
    }

    fn positions(&self, source: &str) -> Vec<(Bytes, Bytes)> {
        self.memory.positions(source)
    }

    fn stored(&self, origin: Origin, epoch: Epoch) -> IntervalSet {
        let mut stored = self.memory.stored(origin, epoch);
        stored.insert_all(&self.disk.stored(origin, epoch));
        stored
    }

    async fn replay(&self, batch: Batch, consumer: &str) -> Result<(), ChannelError> {
        let _unchanged = self.consumers.read().await;
        self.disk.replay(batch, consumer).await
    }

    async fn uncommitted(&self, consumer: &str, keys: &KeySet) -> Result<KeySet, ChannelError> {
        let mut waiting = self.memory.uncommitted(consumer, keys).await?;
        waiting.insert_all(&self.disk.uncommitted(consumer, keys).await?);
        Ok(waiting)
    }

    fn settled(&self, origin: Origin, epoch: Epoch) -> IntervalSet {
        let mut settled = self.memory.settled(origin, epoch);
        settled.insert_all(&self.disk.settled(origin, epoch));
        settled
    }

    fn lowest_unsettled(&self, origin: Origin) -> Option<Epoch> {
        let here = [self.memory.lowest_unsettled(origin), self.disk.lowest_unsettled(origin)];
        here.into_iter().flatten().min()
    }

    fn watch_settled(&self) -> broadcast::Receiver<Arc<KeySet>> {
        self.settled.subscribe()
    }

    fn status(&self) -> ChannelStatus {
        let (memory, disk) = (self.memory.status(), self.disk.status());
        ChannelStatus {
            events: memory.events + disk.events,
            bytes: memory.bytes + disk.bytes,
            capacity_bytes: memory.capacity_bytes + disk.capacity_bytes,
            reserve_bytes: memory.reserve_bytes + disk.reserve_bytes,
            // A full memory stops no put.
            until_full: disk.until_full,
            unsettled_events: memory.unsettled_events + disk.unsettled_events,
            oldest_uncommitted: memory.oldest_uncommitted.max(disk.oldest_uncommitted),
            intake_stopped: self.is_full(),
        }
    }

    fn is_full(&self) -> bool {
        // A full memory stops no put.
        self.spilling.load(Ordering::Relaxed) && self.disk.is_full()
    }

    async fn close(&self) -> Result<(), ChannelError> {
        let memory = self.memory.close().await;
        self.disk.close().await.and(memory)
    }
}

/// A put into one of the sides.
struct Put {
    put: Box<dyn PutTransaction>,
    memory: Arc<dyn Channel>,
    disk: Arc<dyn Channel>,
    consumers: Arc<RwLock<()>>,
    /// For a put to disk: the positions that the memory keeps for it.
    on_disk: Option<Batch>,
}

#[async_trait]
impl PutTransaction for Put {
    fn put(&mut self, mut batch: Batch) {
        let other = if self.on_disk.is_some() { &self.memory } else { &self.disk };
        let known = batch.envelope.identity.is_some_and(|identity| {
            other.stored(identity.origin, identity.epoch).contains(identity.sequence.0)
        });
        if known {
            // The other side has the batch: store only the position of its source.
            let positions = std::mem::take(&mut batch.envelope.positions);
            batch = Batch::default();
            batch.envelope.positions = positions;
        }
        if let Some(positions) = &mut self.on_disk {
            positions.envelope.positions.append(&mut batch.envelope.positions);
        }
        if !known || !batch.envelope.positions.is_empty() {
            self.put.put(batch);
        }
    }

    fn concurrent(&mut self) {
        self.put.concurrent();
    }

    fn name_into(&mut self, name: GivenName) {
        self.put.name_into(name);
    }

    async fn commit(self: Box<Self>) -> Result<(), ChannelError> {
        let _unchanged = self.consumers.read().await;
        self.put.commit().await?;
        if let Some(positions) = self.on_disk.filter(|batch| !batch.envelope.positions.is_empty()) {
            // Without events it needs no room, so it need not wait for any.
            let mut put = self.memory.begin_put(BatchSize::default()).await?;
            put.put(positions);
            put.commit().await?;
        }
        Ok(())
    }
}

/// A take of both sides.
struct Take {
    memory: Box<dyn TakeTransaction>,
    disk: Box<dyn TakeTransaction>,
}

#[async_trait]
impl TakeTransaction for Take {
    async fn take(&mut self) -> Result<Taken, ChannelError> {
        tokio::select! {
            biased;
            taken = self.memory.take() => taken,
            taken = self.disk.take() => {
                let Taken { ticket, batch } = taken?;
                Ok(Taken { ticket: ticket + DISK_TICKETS, batch })
            }
        }
    }

    fn commit(&mut self, tickets: &IntervalSet) {
        let (memory, disk) = by_side(tickets);
        self.memory.commit(&memory);
        self.disk.commit(&disk);
    }

    fn rollback(&mut self, tickets: &IntervalSet) {
        let (memory, disk) = by_side(tickets);
        self.memory.rollback(&memory);
        self.disk.rollback(&disk);
    }

    fn park(&mut self, tickets: &IntervalSet) {
        let (memory, disk) = by_side(tickets);
        self.memory.park(&memory);
        self.disk.park(&disk);
    }
}
