//! Puts batches back that had left the channel for the dead letters.
//!
//! ```text
//!   PUT the batch, though its identity is known │ ACK for every consumer but the one that lacks it
//! ```
//!
//! Both frames are in one write: the other consumers had their part of the batch before, so it is
//! committed for them as soon as it is stored.

use pipeline::{Batch, BatchSize, ChannelError, KeySet, PutTransaction};

use super::put::Put;
use crate::durable::channel::Durable;
use crate::durable::recovery::inspect::Inspection;
use crate::durable::space::capacity::PUT_OVERHEAD;

impl Durable {
    /// Puts a batch back for `consumer`.
    pub(crate) async fn back(&self, batch: Batch, consumer: &str) -> Result<(), ChannelError> {
        let core = self.core();
        let size = batch.size();
        let size = BatchSize { bytes: size.bytes + PUT_OVERHEAD, ..size };
        {
            let mut state = core.state();
            if state.closed {
                return Err(core.closed_error());
            }
            let in_flight = &state.tickets.in_flight;
            if !in_flight.knows(consumer) {
                let known: Vec<&str> = in_flight.acked().map(|(name, _)| &**name).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let (channel, consumer) = (core.name.to_string(), consumer.to_owned());
                return Err(ChannelError::UnknownConsumer { channel, consumer, known });
            }
            // Asked first: a put that waits would stop the intake.
            if !state.fits(size, &core.limits) {
                return Err(ChannelError::Full { channel: core.name.to_string() });
            }
            state.reserve(size, &core.limits);
        }
        let mut put = Box::new(Put::new(core.clone(), size).back_for(consumer.into()));
        put.put(batch);
        put.commit().await
    }

    /// Returns the `keys` that `consumer` has not committed. Positions come from the disk and
    /// commits from memory, because a commit reaches the disk later.
    pub(crate) async fn waiting(
        &self,
        consumer: &str,
        keys: &KeySet,
    ) -> Result<KeySet, ChannelError> {
        let core = self.core().clone();
        let acked = {
            let state = core.state();
            if state.tickets.window.pending().intersection(keys).is_empty() {
                return Ok(KeySet::default());
            }
            let found = state.tickets.in_flight.acked().find(|(name, _)| &***name == consumer);
            found.map(|(_, acked)| acked.clone())
        };
        let Some(acked) = acked else { return Ok(KeySet::default()) };
        let (keys, encryption) = (keys.clone(), self.encryption().cloned());
        let look = move || {
            let found = Inspection::inspect(&core.env, &core.directory, encryption.as_ref())?;
            found.stored_outside(&acked, &keys)
        };
        self.core().env.offload(look).await
    }
}
