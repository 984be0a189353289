//! Put transactions.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pipeline::{Batch, BatchSize, ChannelError, PutTransaction};
use tokio::sync::oneshot;
use xxhash_rust::xxh3::xxh3_64;

use super::Compression;
use super::core::{Core, NewBatch, Request};
use super::packing::pack;

/// Batches that will be stored together, and the room that is kept for them.
pub(crate) struct Put {
    core: Arc<Core>,
    reserved: BatchSize,
    batches: Vec<Batch>,
    /// There is no room for events: only who they are and where they came from is stored.
    dropping: bool,
}

impl Put {
    /// A put for which `reserved` is kept.
    pub(crate) fn new(core: Arc<Core>, reserved: BatchSize) -> Self {
        Self { core, reserved, batches: Vec::new(), dropping: false }
    }

    /// A put whose events are dropped, for a full channel that is told to.
    pub(crate) fn dropping(core: Arc<Core>) -> Self {
        Self { core, reserved: BatchSize::default(), batches: Vec::new(), dropping: true }
    }
}

/// Encodes a batch and computes all that needs its bytes, in the thread of the one who puts.
fn encoded(batch: Batch, compression: Compression) -> NewBatch {
    let bytes = if batch.is_empty() { Bytes::new() } else { batch.encode() };
    let events = u32::try_from(batch.len()).unwrap_or(u32::MAX);
    let packed = pack(&bytes, compression);
    let crc = crc32c::crc32c(packed.as_ref().map_or(&bytes, |(_, written)| written));
    let digest = xxh3_64(&bytes);
    let Batch { identity, positions, .. } = batch;
    NewBatch { identity, positions, events, bytes, packed, digest, crc }
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
        let events = batches.iter().map(|batch| batch.len() as u64).sum();
        let kept = |batch: Batch| if self.dropping { batch.emptied() } else { batch };
        let batches = batches.into_iter();
        let compression = self.core.limits.compression;
        let batches = batches.map(|batch| encoded(kept(batch), compression)).collect();
        // From here on the leader gives the room back.
        let reserved = std::mem::take(&mut self.reserved);
        let (reply, answer) = oneshot::channel();
        self.core.submit(Request::Put { batches, reserved, reply });
        match answer.await {
            Ok(Ok(())) => {
                if self.dropping {
                    self.core.count_dropped(BatchSize { events, bytes: 0 });
                }
                Ok(())
            }
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
