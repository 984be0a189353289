//! Where the events of `tail` end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use pipeline::{
    Batch, Epoch, Floors, Identity, Intake, IntakeError, KeySet, Known, Origin, PositionIntake,
    RelayIntake,
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
}

impl PositionIntake for Counter {}

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
}
