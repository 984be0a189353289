//! An intake over channels in memory, whose room a test controls.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pipeline::{Batch, BatchSize, Intake, IntakeError, Permit, PositionIntake};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::channels::Channels;

/// Accepts as many batches as the test has provided room for.
pub struct Narrow {
    channels: Arc<Channels>,
    room: Arc<Semaphore>,
    waiting: AtomicUsize,
}

struct Room {
    channels: Arc<Channels>,
    room: OwnedSemaphorePermit,
}

#[async_trait]
impl Permit for Room {
    async fn commit(self: Box<Self>, batch: Batch) -> Result<(), IntakeError> {
        self.channels.accept(batch).await?;
        self.room.forget();
        Ok(())
    }
}

impl Narrow {
    /// Creates an intake with room for `room` batches.
    pub fn new(channels: Arc<Channels>, room: usize) -> Self {
        Self { channels, room: Arc::new(Semaphore::new(room)), waiting: AtomicUsize::new(0) }
    }

    /// Provides room for further batches.
    pub fn give(&self, batches: usize) {
        self.room.add_permits(batches);
    }

    /// Returns whether there is room for another batch.
    pub fn has_room(&self) -> bool {
        self.room.available_permits() > 0
    }

    /// Returns how many batches have requested room.
    pub fn asked(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Waits until `count` batches have requested room.
    pub async fn wait_for_waiting(&self, count: usize) {
        for _ in 0..10_000 {
            if self.asked() >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("nothing waits for room");
    }
}

#[async_trait]
impl Intake for Narrow {
    async fn accept(&self, batch: Batch) -> Result<(), IntakeError> {
        self.reserve(batch.size()).await?.commit(batch).await
    }

    async fn reserve(&self, _size: BatchSize) -> Result<Box<dyn Permit + '_>, IntakeError> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let room = self.room.clone().acquire_owned().await.expect("never closed");
        Ok(Box::new(Room { channels: self.channels.clone(), room }))
    }
}

#[async_trait]
impl PositionIntake for Narrow {
    fn positions(&self, source: &str) -> Vec<Vec<(Bytes, Bytes)>> {
        self.channels.positions(source)
    }

    async fn accept_into(&self, batch: Batch, channels: &[usize]) -> Result<(), IntakeError> {
        self.channels.accept_into(batch, channels).await
    }

    fn stores_in_turn(&self) -> bool {
        self.channels.stores_in_turn()
    }
}
