//! An intake that records its batches, and commits when a test requests it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use peers::{FloorBoard, LedgerBoard, OutletBoard, ProgressBoard};
use pipeline::{
    Batch, BatchSize, Epoch, Floors, Identity, Intake, IntakeError, IntervalSet, KeySet, Known,
    LedgerState, Origin, Outage, Permit, Reached, RelayIntake, Routing, Unreserved,
};
use tokio::sync::{Notify, Semaphore, broadcast};

/// Content of the channels downstream of a source.
pub(crate) struct Memory {
    state: Mutex<State>,
    committed: broadcast::Sender<Arc<KeySet>>,
    /// Room for batches: one permit each.
    pub(crate) room: Semaphore,
    arrived: Notify,
    pub(crate) floors: FloorBoard,
    pub(crate) progress: ProgressBoard,
    pub(crate) outlet: OutletBoard,
    pub(crate) ledgers: LedgerBoard,
    /// The routing that it reports.
    pub(crate) routing: Mutex<Option<Routing>>,
    /// Batch limit that all downstream agents accept.
    pub(crate) batch_bytes_max: Mutex<Option<u64>>,
    /// Batch limit that some downstream agent accepts.
    pub(crate) batch_bytes_taken: Mutex<Option<u64>>,
}

#[derive(Default)]
struct State {
    batches: BTreeMap<Identity, Batch>,
    committed: KeySet,
    /// Number of batches handed over, including repetitions.
    accepted: u64,
}

impl Memory {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            committed: broadcast::channel(4).0,
            room: Semaphore::new(1 << 20),
            arrived: Notify::new(),
            floors: FloorBoard::default(),
            progress: ProgressBoard::default(),
            outlet: OutletBoard::default(),
            ledgers: LedgerBoard::default(),
            routing: Mutex::default(),
            batch_bytes_max: Mutex::default(),
            batch_bytes_taken: Mutex::default(),
        })
    }

    pub(crate) fn batches(&self) -> Vec<Batch> {
        self.state.lock().unwrap().batches.values().cloned().collect()
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.state.lock().unwrap().accepted
    }

    /// Waits until `count` batches were handed over.
    pub(crate) async fn until_accepted(&self, count: u64) {
        while self.accepted() < count {
            self.arrived.notified().await;
        }
    }

    /// Commits all batches, and announces that.
    pub(crate) fn commit_all(&self) {
        let keys = self.commit_silently();
        let _ = self.committed.send(Arc::new(keys));
    }

    /// Commits all batches without an announcement.
    pub(crate) fn commit_silently(&self) -> KeySet {
        let mut state = self.state.lock().unwrap();
        let keys: KeySet = state.batches.keys().copied().collect();
        state.committed.insert_all(&keys);
        keys
    }

    /// Announces `keys`.
    pub(crate) fn say(&self, keys: KeySet) {
        let _ = self.committed.send(Arc::new(keys));
    }

    /// Simulates the loss of the disk.
    pub(crate) fn lose_everything(&self) {
        *self.state.lock().unwrap() = State::default();
    }
}

#[async_trait]
impl Intake for Memory {
    async fn accept(&self, batch: Batch) -> Result<(), IntakeError> {
        self.room.acquire().await.unwrap().forget();
        let mut state = self.state.lock().unwrap();
        state.accepted += 1;
        let identity = batch.envelope.identity.expect("a batch from an agent has an identity");
        state.batches.insert(identity, batch);
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    async fn reserve(&self, _size: BatchSize) -> Result<Box<dyn Permit + '_>, IntakeError> {
        Ok(Box::new(Unreserved(self)))
    }

    fn batch_bytes_max(&self) -> Option<u64> {
        *self.batch_bytes_max.lock().unwrap()
    }
}

impl RelayIntake for Memory {
    fn known(&self, origin: Origin, epoch: Epoch) -> Known {
        let state = self.state.lock().unwrap();
        let of_life = |id: &&Identity| id.origin == origin && id.epoch == epoch;
        Known {
            stored: state.batches.keys().filter(of_life).map(|id| id.sequence.0).collect(),
            committed: state.committed.get(origin, epoch).cloned().unwrap_or(IntervalSet::EMPTY),
        }
    }

    fn close_epochs(&self, floors: &Floors) {
        self.floors.observe(floors);
    }

    fn observe_progress(&self, reports: &[(Origin, Reached)]) {
        self.progress.observe(reports.iter().cloned());
    }

    fn is_closed(&self, identity: Identity) -> bool {
        self.floors.is_closed(identity)
    }

    fn watch_committed(&self) -> broadcast::Receiver<Arc<KeySet>> {
        self.committed.subscribe()
    }

    fn is_full(&self) -> bool {
        self.room.available_permits() == 0
    }

    fn outage(&self) -> Option<Outage> {
        self.outlet.outage()
    }

    fn batch_bytes_taken(&self) -> Option<u64> {
        *self.batch_bytes_taken.lock().unwrap()
    }

    fn ledgers(&self) -> Vec<LedgerState> {
        self.ledgers.all()
    }

    fn routing(&self) -> Option<Routing> {
        self.routing.lock().unwrap().clone()
    }
}
