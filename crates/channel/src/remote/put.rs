//! Put transactions.

use std::sync::Arc;

use async_trait::async_trait;
use pipeline::{Batch, BatchSize, ChannelError, GivenName, PutTransaction};
use tokio::sync::oneshot;

use super::core::Core;
use super::request::{NewBatch, NewPut, Request};

/// Batches that will be stored together, and their reserved room.
pub(super) struct Put {
    core: Arc<Core>,
    reserved: BatchSize,
    batches: Vec<Batch>,
    /// Receives the name of its batch, if set.
    name: Option<GivenName>,
}

impl Put {
    /// Creates a put with `reserved` room.
    pub(super) fn new(core: Arc<Core>, reserved: BatchSize) -> Self {
        Self { core, reserved, batches: Vec::new(), name: None }
    }
}

#[async_trait]
impl PutTransaction for Put {
    fn put(&mut self, batch: Batch) {
        self.batches.push(batch);
    }

    fn name_into(&mut self, name: GivenName) {
        self.name = Some(name);
    }

    async fn commit(mut self: Box<Self>) -> Result<(), ChannelError> {
        let batches = std::mem::take(&mut self.batches);
        if batches.is_empty() {
            return Ok(());
        }
        if self.core.state().closed {
            return Err(self.core.closed_error());
        }
        let batches = batches.into_iter().map(NewBatch::new).collect();
        // From here on the leader releases the room.
        let reserved = std::mem::take(&mut self.reserved);
        let (reply, answer) = oneshot::channel();
        let put = NewPut { batches, name: self.name.take(), reserved, reply };
        self.core.submit(Request::Put(put));
        match answer.await {
            Ok(stored) => stored.map_err(|failure| self.core.put_error(&failure)),
            Err(_) => Err(self.core.closed_error()),
        }
    }
}

impl Drop for Put {
    fn drop(&mut self) {
        if self.reserved != BatchSize::default() {
            self.core.state().unreserve(self.reserved);
            self.core.signals.room.notify_waiters();
        }
    }
}
