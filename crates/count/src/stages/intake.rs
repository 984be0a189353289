//! Where the events of `tail` end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use pipeline::{
    Batch, BatchSize, Epoch, Floors, Identity, Intake, IntakeError, KeySet, Known, LedgerState,
    Origin, Outage, Permit, PositionIntake, RelayIntake, Routing, Unreserved,
};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

/// Takes what it is given, and stops the source when that is all.
#[derive(Debug)]
pub(super) struct Counter {
    left: AtomicU64,
    stop: CancellationToken,
    committed: broadcast::Sender<Arc<KeySet>>,
}

impl Counter {
    /// Waits for so many events.
    pub(super) fn new(events: u64, stop: CancellationToken) -> Self {
        Self { left: events.into(), stop, committed: broadcast::Sender::new(1) }
    }
}

#[async_trait]
impl Intake for Counter {
    async fn accept(&self, batch: Batch) -> Result<(), IntakeError> {
        let events = batch.len() as u64;
        if self.left.fetch_sub(events, Ordering::Relaxed) == events {
            self.stop.cancel();
        }
        Ok(())
    }

    async fn reserve(&self, _size: BatchSize) -> Result<Box<dyn Permit + '_>, IntakeError> {
        Ok(Box::new(Unreserved(self)))
    }

    fn batch_bytes_max(&self) -> Option<u64> {
        None
    }
}

#[async_trait]
impl PositionIntake for Counter {
    fn positions(&self, _source: &str) -> Vec<Vec<(Bytes, Bytes)>> {
        vec![Vec::new()]
    }

    async fn accept_into(&self, batch: Batch, _channels: &[usize]) -> Result<(), IntakeError> {
        self.accept(batch).await
    }

    fn stores_in_turn(&self) -> bool {
        false
    }
}

/// What follows files relays nothing.
impl RelayIntake for Counter {
    fn known(&self, _origin: Origin, _epoch: Epoch) -> Known {
        Known::default()
    }

    fn close_epochs(&self, _floors: &Floors) {}

    fn is_closed(&self, _identity: Identity) -> bool {
        false
    }

    fn watch_committed(&self) -> broadcast::Receiver<Arc<KeySet>> {
        self.committed.subscribe()
    }

    fn is_full(&self) -> bool {
        false
    }

    fn outage(&self) -> Option<Outage> {
        None
    }

    fn batch_bytes_taken(&self) -> Option<u64> {
        None
    }

    fn ledgers(&self) -> Vec<LedgerState> {
        Vec::new()
    }

    fn routing(&self) -> Option<Routing> {
        None
    }
}
