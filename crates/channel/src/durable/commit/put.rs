//! Put transactions.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pipeline::{Batch, BatchSize, ChannelError, Envelope, Events, GivenName, PutTransaction};
use tokio::sync::oneshot;

use super::packing::{Packed, pack};
use crate::durable::Compression;
use crate::durable::commit::request::{NewBatch, NewPut, Request};
use crate::durable::core::Core;
use crate::durable::log::frame::Body;
use crate::durable::log::records::PutRecord;

/// Smaller puts are gathered into one write: a block each would be too much for them.
const IN_PLACE_MIN: usize = 32 << 10;

/// Batches that will be stored together, and their reserved room.
pub(crate) struct Put {
    core: Arc<Core>,
    reserved: BatchSize,
    batches: Vec<Batch>,
    /// There is no room for events: only their identities and positions are stored.
    dropping: bool,
    /// The task that commits it commits nothing else at the same time.
    is_lone: bool,
    /// Receives the name of its batch, if set.
    name: Option<GivenName>,
    /// The consumer that the batch is put back for.
    back_for: Option<Arc<str>>,
}

impl Put {
    /// Creates a put with `reserved` room.
    pub(crate) fn new(core: Arc<Core>, reserved: BatchSize) -> Self {
        let (batches, name, back_for) = (Vec::new(), None, None);
        Self { core, reserved, batches, dropping: false, is_lone: true, name, back_for }
    }

    /// The same for a batch that is put back for one consumer.
    pub(crate) fn back_for(mut self, consumer: Arc<str>) -> Self {
        self.back_for = Some(consumer);
        self
    }

    /// A put whose events are dropped, for a full channel with `overflow = "drop_newest"`.
    pub(crate) fn dropping(core: Arc<Core>) -> Self {
        let mut put = Self::new(core, BatchSize::default());
        put.dropping = true;
        put
    }
}

/// Returns the stored pieces of a batch, and its encoding if that is different.
fn stored(batch: &Batch, compression: Compression) -> (Vec<Bytes>, Option<(Packed, Bytes)>) {
    if compression == Compression::None {
        return (batch.pieces(), None);
    }
    let plain = batch.encode();
    match pack(&plain, compression) {
        None => (vec![plain], None),
        Some((packed, small)) => (vec![small], Some((packed, plain))),
    }
}

/// Encodes the batches of a put and computes all that needs their bytes, in the producer's thread.
fn encoded(batches: Vec<Batch>, core: &Core) -> NewPut {
    let envelope = PutRecord::envelope_max(batches.iter().map(|batch| &*batch.envelope.positions));
    let (mut new, mut pieces, mut ends, mut len) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for mut batch in batches {
        let Envelope { identity, positions } = std::mem::take(&mut batch.envelope);
        let events = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        let (mut form, packed) = match events {
            0 => (Vec::new(), None),
            _ => stored(&batch, core.limits.compression),
        };
        let body_len = form.iter().map(Bytes::len).sum();
        let packed = packed.map(|(packed, plain)| {
            batch.events = batch.events.moved_to(plain);
            packed
        });
        len += body_len;
        pieces.append(&mut form);
        ends.push(pieces.len());
        new.push(NewBatch { identity, positions, events, body_len, packed, batch });
    }
    // Data to be sealed is sealed where it is gathered.
    let body = if len >= IN_PLACE_MIN && !core.files.keys().is_sealing() {
        Body::in_place(&pieces, envelope, &core.buffers)
    } else {
        let joined = |(from, to): (usize, usize)| Bytes::from(pieces[from..to].concat());
        let starts = [0].into_iter().chain(ends.iter().copied());
        let parts = starts.zip(ends.iter().copied()).filter(|(from, to)| from < to);
        Body::from_pieces(parts.map(joined).collect())
    };
    NewPut { batches: new, body, name: None, back_for: None }
}

#[async_trait]
impl PutTransaction for Put {
    fn put(&mut self, batch: Batch) {
        self.batches.push(batch);
    }

    fn concurrent(&mut self) {
        self.is_lone = false;
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
        let events = batches.iter().map(|batch| batch.len() as u64).sum();
        let kept = |batch: Batch| match self.dropping {
            true => Batch { events: Events::default(), ..batch },
            false => batch,
        };
        let mut put = encoded(batches.into_iter().map(kept).collect(), &self.core);
        put.name = self.name.take();
        put.back_for = self.back_for.take();
        // From here on the leader releases the room.
        let reserved = std::mem::take(&mut self.reserved);
        let (reply, answer) = oneshot::channel();
        self.core.submit(Request::Put { put, reserved, reply }, self.is_lone);
        match answer.await {
            Ok(Ok(())) => {
                if self.dropping {
                    self.core.count_dropped(BatchSize { events, bytes: 0 });
                }
                Ok(())
            }
            Ok(Err(why)) => Err(self.core.put_error(&why)),
            Err(_) => Err(self.core.closed_error()),
        }
    }
}

impl Drop for Put {
    fn drop(&mut self) {
        if self.reserved != BatchSize::default() {
            self.core.state().space.room.release(self.reserved);
            self.core.signals.room.notify_waiters();
        }
    }
}
