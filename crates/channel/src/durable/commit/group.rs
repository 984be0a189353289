//! A group of requests, on its way from the queue to the disk and into the index.

use std::sync::Arc;

use bytes::Bytes;
use pipeline::{Batch, BatchSize, SourcePosition, Ticket};
use support::mutant;

use super::packing::Packed;
use super::register::Change;
use crate::durable::commit::request::{NewPut, Reply};
use crate::durable::index::ticket_index::TicketIndex;
use crate::durable::log::frame::Frame;
use crate::durable::log::layout::len_max;
use crate::durable::log::records::PutRecord;

/// A put within a group.
pub(crate) struct Placed {
    /// Which of the group's frames it is.
    pub(crate) frame: usize,
    pub(crate) record: PutRecord,
    /// Its batches with events, and how many bytes of the body each is.
    pub(crate) batches: Vec<Batch>,
    pub(crate) lengths: Vec<usize>,
    /// Consumers that have already committed its batches: it is replayed for another one.
    pub(crate) committed_by: Vec<Arc<str>>,
}

/// A put that is on the disk.
pub(crate) struct Written {
    pub(crate) ticket: Ticket,
    pub(crate) offset: u64,
    pub(crate) frame_len: usize,
    pub(crate) record: PutRecord,
    pub(crate) batches: Vec<Batch>,
    /// As in [`Placed`].
    pub(crate) committed_by: Vec<Arc<str>>,
}

/// Requests that are written together. Commits come last, in room that padding takes anyway.
#[derive(Default)]
pub(crate) struct Group {
    /// Forgets damaged batches. It comes first: they may be stored again in this group.
    pub(crate) forget: Option<Frame>,
    pub(crate) frames: Vec<Frame>,
    pub(crate) acks: Option<Frame>,
    pub(crate) puts: Vec<Placed>,
    pub(crate) registered: Option<Change>,
    pub(crate) replies: Vec<Reply>,
    pub(crate) reserved: BatchSize,
    /// Own sequences used.
    pub(crate) sequences: u64,
    pub(crate) tickets: u64,
    pub(crate) duplicates: u64,
    /// Events of the duplicates.
    pub(crate) duplicate_events: u64,
}

impl Group {
    /// Returns `true` if every predecessor of the put is in the index, or before it in this group.
    /// Failed puts are in neither.
    pub(crate) fn is_turn_of(&self, put: &NewPut, tickets: &TicketIndex) -> bool {
        let mut positions = put.batches.iter().flat_map(|batch| &batch.positions);
        let is_there = |position: &SourcePosition| {
            position.after.as_ref().is_none_or(|after| {
                let stands = self.at(position).unwrap_or_else(|| tickets.positions.at(position));
                stands == Some(after)
            })
        };
        positions.all(is_there) || mutant!("turn_not_looked_at")
    }

    /// Returns the value that this group sets for the key of `position`; `None` if it does not set
    /// it.
    fn at(&self, position: &SourcePosition) -> Option<Option<&Bytes>> {
        let mut items = self.puts.iter().rev().flat_map(|put| put.record.items.iter().rev());
        let same = |p: &&SourcePosition| (&p.source, &p.key) == (&position.source, &position.key);
        let found = items.find_map(|item| item.positions.iter().rev().find(same));
        found.map(|found| found.value.as_ref())
    }

    /// Drops the commits that the STATE of a new segment will contain: counting them twice is
    /// wrong.
    pub(crate) fn drop_news(&mut self) {
        (self.forget, self.acks) = (None, None);
    }

    /// All frames, in the order in which they are written.
    pub(crate) fn arrange(&mut self) {
        if let Some(forget) = self.forget.take() {
            self.frames.insert(0, forget);
            self.puts.iter_mut().for_each(|put| put.frame += 1);
        }
        self.frames.extend(self.acks.take());
    }

    /// Returns an upper bound of its size in bytes.
    pub(crate) fn len_max(&self) -> u64 {
        len_max(self.frames.iter().chain(&self.forget).chain(&self.acks))
    }

    /// Its puts, after they were written at these offsets.
    pub(crate) fn written(&mut self, offsets: &[u64]) -> impl Iterator<Item = Written> {
        let mut frames: Vec<Option<Frame>> = self.frames.drain(..).map(Some).collect();
        self.puts.drain(..).map(move |put| {
            let frame = frames[put.frame].take().expect("a put is one of the frames");
            let (ticket, frame_len) = (frame.ticket, frame.len());
            let pieces = frame.body.into_pieces(&put.lengths);
            let with_events = put.record.items.iter().filter(|item| item.events > 0);
            let forms = with_events.map(|item| item.packed).zip(pieces);
            // Bytes that are stored unchanged also serve the tail, so that the original can be
            // freed.
            let kept = |(batch, (packed, piece)): (Batch, (Option<Packed>, _))| match packed {
                None => Batch { events: batch.events.moved_to(piece), ..batch },
                Some(_) => batch,
            };
            let batches = put.batches.into_iter().zip(forms).map(kept).collect();
            let offset = offsets[put.frame];
            let (record, committed_by) = (put.record, put.committed_by);
            Written { ticket, offset, frame_len, record, batches, committed_by }
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.forget.is_none() && self.acks.is_none()
    }
}
