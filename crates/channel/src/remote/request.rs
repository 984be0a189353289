//! Requests to the leader, as producers prepare them.

use std::sync::Arc;

use bytes::Bytes;
use pipeline::{Batch, BatchSize, Envelope, GivenName, Identity, SourcePosition};
use tokio::sync::oneshot;

use super::log::LogError;

/// One batch of a put, as its producer has prepared it.
pub(super) struct NewBatch {
    pub(super) identity: Option<Identity>,
    pub(super) positions: Vec<SourcePosition>,
    /// Its encoding; empty without events.
    pub(super) body: Bytes,
    /// Without identity and positions.
    pub(super) batch: Batch,
}

impl NewBatch {
    /// Encodes it.
    pub(super) fn new(mut batch: Batch) -> Self {
        let Envelope { identity, positions } = std::mem::take(&mut batch.envelope);
        let body = if batch.is_empty() { Bytes::new() } else { batch.encode() };
        if !batch.is_empty() {
            // Frees the original, which may be much larger.
            batch.events = batch.events.moved_to(body.clone());
        }
        Self { identity, positions, body, batch }
    }
}

/// One put transaction.
pub(super) struct NewPut {
    pub(super) batches: Vec<NewBatch>,
    /// Receives the name of its first batch, if set.
    pub(super) name: Option<GivenName>,
    pub(super) reserved: BatchSize,
    pub(super) reply: Reply,
}

/// Why a request was not served.
#[derive(Debug, Clone)]
pub(super) enum PutFailure {
    /// Shared by all requests of the group.
    Log(Arc<LogError>),
    /// It must follow a position that the channel does not have.
    OutOfTurn,
}

/// Receives the result of a request; dropped if the result is unknown.
pub(super) type Reply = oneshot::Sender<Result<(), PutFailure>>;

/// A request that waits for the leader.
pub(super) enum Request {
    Put(NewPut),
    /// The consumers from now on.
    Register {
        names: Vec<Arc<str>>,
        reply: Reply,
    },
}
