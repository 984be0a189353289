//! Put transactions.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pipeline::{Batch, BatchSize, ChannelError, PutTransaction};
use tokio::sync::oneshot;
use xxhash_rust::xxh3::xxh3_64;

use super::core::{Core, NewBatch, Request};

/// Batches that will be stored together, and the room that is kept for them.
pub(crate) struct Put {
    core: Arc<Core>,
    reserved: BatchSize,
    batches: Vec<Batch>,
}

impl Put {
    /// A put for which `reserved` is kept.
    pub(crate) fn new(core: Arc<Core>, reserved: BatchSize) -> Self {
        Self { core, reserved, batches: Vec::new() }
    }
}

/// Encodes a batch and computes all that needs its bytes, in the thread of the one who puts.
fn encoded(batch: Batch) -> NewBatch {
    let bytes = if batch.is_empty() { Bytes::new() } else { batch.encode() };
    let events = u32::try_from(batch.len()).unwrap_or(u32::MAX);
    let (digest, crc) = (xxh3_64(&bytes), crc32c::crc32c(&bytes));
    NewBatch { identity: batch.identity, positions: batch.positions, events, bytes, digest, crc }
}

#[async_trait]
impl PutTransaction for Put {
    fn put(&mut self, batch: Batch) {
        self.batches.push(batch);
    }

    async fn commit(mut self: Box<Self>) -> Result<(), ChannelError> {
        let batches = std::mem::take(&mut self.batches);
        if batches.is_empty() {
            return Ok(());
        }
        if self.core.state().closed {
            return Err(self.core.closed_error());
        }
        let batches = batches.into_iter().map(encoded).collect();
        // From here on the leader gives the room back.
        let reserved = std::mem::take(&mut self.reserved);
        let (reply, answer) = oneshot::channel();
        self.core.submit(Request::Put { batches, reserved, reply });
        match answer.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                Err(self.core.disk_error(std::io::Error::new(error.kind(), error.to_string())))
            }
            Err(_) => Err(self.core.closed_error()),
        }
    }
}

impl Drop for Put {
    fn drop(&mut self) {
        if self.reserved != BatchSize::default() {
            self.core.state().unreserve(self.reserved);
            self.core.room.notify_waiters();
        }
    }
}
