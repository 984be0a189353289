//! A put into one channel: begun, filled, committed, and counted.

use std::sync::Arc;

use pipeline::{Batch, BatchSize, ChannelError, PutTransaction};
use support::meter::Volume;
use tokio::time::Instant;

use super::FedChannel;
use super::traced::TracedPut;
use crate::tap::Passed;

/// A put that has begun, and its batch.
pub(super) struct OpenPut<'a> {
    pub(super) to: &'a FedChannel,
    volume: Volume,
    /// The part, for a retry.
    part: Batch,
    pub(super) put: Box<dyn PutTransaction>,
    /// The same for the tap.
    seen: Option<Passed>,
    /// The beginning of the span, if batches are traced.
    traced: Option<TracedPut>,
}

/// The end of a put: the channel, what was put, and the error with the part that is not stored.
pub(super) type Committed<'a> = (&'a FedChannel, Volume, Result<(), (ChannelError, Batch)>);

impl FedChannel {
    /// Begins a put, and notes how long it waits for room.
    pub(super) async fn begin_put(
        &self,
        size: BatchSize,
    ) -> Result<Box<dyn PutTransaction>, ChannelError> {
        let mut begun = self.channel.begin_put(size);
        let put = match futures::poll!(&mut begun) {
            std::task::Poll::Ready(put) => put,
            std::task::Poll::Pending => {
                let _waiting = self.boards.inflow.wait(Instant::now());
                begun.await
            }
        };
        put.inspect_err(|_| self.boards.inflow.failed(size.events))
    }
}

impl<'a> OpenPut<'a> {
    /// Creates a put of this part; `given` is the source of the batch, and the time.
    pub(super) fn new(
        to: &'a FedChannel,
        mut put: Box<dyn PutTransaction>,
        part: Batch,
        given: (&Arc<str>, Instant),
    ) -> Self {
        let volume = volume(&part);
        let seen = to.boards.tap.is_watched().then(|| Passed::from_batch(&part));
        let traced = TracedPut::begin(to, &mut *put, &part, given);
        put.put(part.clone());
        Self { to, volume, part, put, seen, traced }
    }

    pub(super) async fn commit(self) -> Committed<'a> {
        let Self { to, volume, part, put, seen, traced } = self;
        let committed = put.commit().await;
        if let Some(traced) = traced {
            traced.end(to, volume, committed.as_ref().err());
        }
        match (&committed, seen) {
            (Ok(()), Some(seen)) if volume.events > 0 => to.boards.tap.offer(0, &seen),
            (Ok(()), _) => {}
            (Err(_), _) => to.boards.inflow.failed(volume.events),
        }
        (to, volume, committed.map_err(|error| (error, part)))
    }
}

/// Returns the volume of a batch.
pub(super) fn volume(batch: &Batch) -> Volume {
    Volume { events: batch.len() as u64, bytes: batch.body_bytes() }
}

/// Returns `true` if this part has nothing to store.
pub(super) fn is_noop(part: &Batch) -> bool {
    part.is_empty() && part.envelope.identity.is_none() && part.envelope.positions.is_empty()
}
