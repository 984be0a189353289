//! Puts.

use std::sync::Arc;

use pipeline::{BatchSize, ChannelError};
use tokio::sync::oneshot;

use super::core::Core;
use super::request::{NewBatch, NewPut, Request};
use crate::transactions::{Put, Room};

impl Room for Core {
    async fn store(self: &Arc<Self>, put: &mut Put<Self>) -> Result<(), ChannelError> {
        let batches = std::mem::take(&mut put.batches);
        if batches.is_empty() {
            return Ok(());
        }
        if self.state().closed {
            return Err(self.closed_error());
        }
        let batches = batches.into_iter().map(NewBatch::new).collect();
        // From here on the leader releases the room.
        let reserved = std::mem::take(&mut put.reserved);
        let (reply, answer) = oneshot::channel();
        let new = NewPut { batches, name: put.name.take(), reserved, reply };
        self.submit(Request::Put(new));
        match answer.await {
            Ok(stored) => stored.map_err(|failure| self.put_error(&failure)),
            Err(_) => Err(self.closed_error()),
        }
    }

    fn release(&self, reserved: BatchSize) {
        self.state().room.release(reserved);
        self.signals.room.notify_waiters();
    }
}
