//! Requests to the leader of a group commit, and its answers.

use std::io;
use std::sync::Arc;

use pipeline::{Batch, BatchSize, GivenName, Identity, SourcePosition};
use tokio::sync::oneshot;

use super::packing::Packed;
use crate::durable::Compression;
use crate::durable::log::frame::Body;
use crate::durable::space::when_full::Overflow;

/// One batch of a put, as its producer has prepared it.
pub(crate) struct NewBatch {
    pub(crate) identity: Option<Identity>,
    pub(crate) positions: Vec<SourcePosition>,
    pub(crate) events: u32,
    /// Bytes of it in the body.
    pub(crate) body_len: usize,
    /// Its compression; `None` if the bytes are the encoding itself.
    pub(crate) packed: Option<Packed>,
    /// Without identity and positions. Its bytes are in the original buffer, or, if it is stored in
    /// another form, in its own encoding.
    pub(crate) batch: Batch,
}

/// One put transaction, complete except for the parts that its group and its place determine.
pub(crate) struct NewPut {
    pub(crate) batches: Vec<NewBatch>,
    /// The stored bytes of the batches with events.
    pub(crate) body: Body,
    /// Receives the name of a batch, if set.
    pub(crate) name: Option<GivenName>,
    /// The only consumer that gets it, though its identity is known.
    pub(crate) back_for: Option<Arc<str>>,
}

/// Why a request was not served.
#[derive(Debug, Clone)]
pub(crate) enum PutFailure {
    /// Shared by all requests of the group.
    Disk(Arc<io::Error>),
    /// It must follow a position that the channel does not have.
    OutOfTurn,
}

/// Receives the result of a request.
pub(crate) type Reply = oneshot::Sender<Result<(), PutFailure>>;

/// A request that waits for the leader.
pub(crate) enum Request {
    /// A put transaction with the room that was reserved for it.
    Put { put: NewPut, reserved: BatchSize, reply: Reply },
    /// The consumers from now on.
    Register { names: Vec<Arc<str>>, reply: Reply },
}

/// The settings that are looked at while running.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) capacity_bytes: u64,
    pub(crate) capacity_events: u64,
    pub(crate) dedupe: bool,
    pub(crate) overflow: Overflow,
    pub(crate) compression: Compression,
}
