//! An intake that records its batches.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pipeline::{Batch, BatchSize, Intake, IntakeError, Permit, Unreserved};
use tokio::time::sleep;

/// Records its batches; without room it waits forever.
pub struct Kept {
    /// The batches.
    pub batches: Mutex<Vec<Batch>>,
    /// True if there is no room.
    pub is_full: AtomicBool,
    /// True if batches are not stored yet.
    pub is_slow: AtomicBool,
    batch_bytes_max: u64,
}

impl Kept {
    /// Creates an intake with this limit of a batch.
    pub fn new(batch_bytes_max: u64) -> Self {
        let (batches, is_full, is_slow) = Default::default();
        Self { batches, is_full, is_slow, batch_bytes_max }
    }

    /// Returns the bodies of all events.
    pub fn bodies(&self) -> Vec<String> {
        let batches = self.batches.lock().unwrap();
        let events = batches.iter().flat_map(|batch| batch.iter());
        events.map(|event| String::from_utf8_lossy(event.body()).into_owned()).collect()
    }
}

#[async_trait]
impl Intake for Kept {
    async fn accept(&self, batch: Batch) -> Result<(), IntakeError> {
        while self.is_slow.load(Ordering::SeqCst) {
            sleep(Duration::from_millis(5)).await;
        }
        self.batches.lock().unwrap().push(batch);
        Ok(())
    }

    async fn reserve(&self, _size: BatchSize) -> Result<Box<dyn Permit + '_>, IntakeError> {
        if self.is_full.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(Box::new(Unreserved(self)))
    }

    fn batch_bytes_max(&self) -> Option<u64> {
        Some(self.batch_bytes_max)
    }
}
