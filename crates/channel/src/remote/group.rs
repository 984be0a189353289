//! Groups of requests that are appended together.

use std::sync::Arc;

use bytes::Bytes;
use pipeline::{
    Batch, BatchSize, Epoch, GivenName, Identity, KeySet, Origin, SourcePosition, Ticket,
};
use support::mutant;

use super::frames;
use super::log::LogError;
use super::request::{NewBatch, NewPut, PutFailure, Reply};
use super::state::State;
use crate::durable::log::records::{PutItem, PutRecord};

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
