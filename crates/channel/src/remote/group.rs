//! Requests to the leader, and groups of them that are appended together.

use std::sync::Arc;

use bytes::Bytes;
use pipeline::{
    Batch, BatchSize, Envelope, Epoch, GivenName, Identity, KeySet, Origin, SourcePosition, Ticket,
};
use support::mutant;
use tokio::sync::oneshot;

use super::frames;
use super::log::LogError;
use super::state::State;
use crate::durable::log::records::{PutItem, PutRecord};

/// One batch of a put, as its producer has prepared it.
pub(super) struct NewBatch {
    identity: Option<Identity>,
    positions: Vec<SourcePosition>,
    /// Its encoding; empty without events.
    body: Bytes,
    /// Without identity and positions.
    batch: Batch,
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

/// A put within a group.
pub(super) struct Placed {
    pub(super) ticket: Ticket,
    pub(super) record: PutRecord,
    /// Its batches with events.
    pub(super) batches: Vec<Batch>,
    /// Which of the group's frames it is.
    pub(super) frame: usize,
}

/// Requests that are appended together.
#[derive(Default)]
pub(super) struct Group {
    pub(super) frames: Vec<Bytes>,
    pub(super) puts: Vec<Placed>,
    pub(super) replies: Vec<Reply>,
    pub(super) reserved: BatchSize,
    /// Own sequences used.
    pub(super) sequences: u64,
    tickets: u64,
    /// Identities of its batches.
    keys: KeySet,
    pub(super) duplicate_events: u64,
    pub(super) bytes: usize,
    /// Names to hand out once the group is stored.
    pub(super) names: Vec<(GivenName, Identity)>,
}

impl Group {
    /// Adds a put that is stored in the life `owner`, at `now_ms`.
    pub(super) fn add(&mut self, put: NewPut, state: &State, owner: (Origin, Epoch), now_ms: u64) {
        let NewPut { batches, name, reserved, reply } = put;
        self.reserved.bytes += reserved.bytes;
        self.reserved.events += reserved.events;
        if !self.is_turn_of(&batches, state) {
            // The caller may be gone.
            let _ = reply.send(Err(PutFailure::OutOfTurn));
            return;
        }
        let ticket = state.in_flight.next() + self.tickets;
        let mut record = PutRecord { at_ms: now_ms, items: Vec::new() };
        let (mut kept, mut pieces, mut name) = (Vec::new(), Vec::new(), name);
        for NewBatch { identity, positions, body, mut batch } in batches {
            let has_events = !batch.is_empty();
            let identity = identity.or_else(|| {
                has_events.then(|| {
                    self.sequences += 1;
                    state.next_identity(owner, self.sequences - 1)
                })
            });
            self.names.extend(name.take().zip(identity));
            let is_known = identity.is_some_and(|key| {
                let is_known = state.window.knows(key) || self.keys.contains(key);
                is_known && !mutant!("remote_stores_again")
            });
            if is_known {
                self.duplicate_events += batch.len() as u64;
            }
            if is_known && positions.is_empty() {
                continue;
            }
            let is_new = !is_known;
            let events = if is_new { u32::try_from(batch.len()).unwrap_or(u32::MAX) } else { 0 };
            let body_len = if events > 0 { body.len() as u32 } else { 0 };
            let identity = identity.filter(|_| is_new);
            if let Some(identity) = identity {
                self.keys.insert(identity);
            }
            if events > 0 {
                batch.envelope.identity = identity;
                kept.push(batch);
                pieces.push(body);
            }
            record.items.push(PutItem { identity, events, body_len, packed: None, positions });
        }
        self.replies.push(reply);
        if record.items.is_empty() {
            return;
        }
        self.tickets += kept.len() as u64;
        let frame = frames::put(owner.0, ticket, &record, pieces);
        self.bytes += frame.len();
        self.puts.push(Placed { ticket, record, batches: kept, frame: self.frames.len() });
        self.frames.push(frame);
    }

    /// Returns `true` if every predecessor of the put is stored, or before it in this group. Failed
    /// puts are in neither.
    fn is_turn_of(&self, batches: &[NewBatch], state: &State) -> bool {
        let mut positions = batches.iter().flat_map(|batch| &batch.positions);
        positions.all(|position| {
            position.after.as_ref().is_none_or(|after| {
                let stands = self.at(position).unwrap_or_else(|| state.positions.at(position));
                stands == Some(after)
            })
        })
    }

    /// Returns the value that this group sets for the key of `position`; `None` if it does not set
    /// it.
    fn at(&self, position: &SourcePosition) -> Option<Option<&Bytes>> {
        let mut items = self.puts.iter().rev().flat_map(|put| put.record.items.iter().rev());
        let same = |p: &&SourcePosition| (&p.source, &p.key) == (&position.source, &position.key);
        let found = items.find_map(|item| item.positions.iter().rev().find(same));
        found.map(|found| found.value.as_ref())
    }

    /// Answers all of its puts.
    pub(super) fn answer(self, how: &Result<(), Arc<LogError>>) {
        for reply in self.replies {
            // The caller may be gone.
            let _ = reply.send(how.clone().map_err(PutFailure::Log));
        }
    }
}
