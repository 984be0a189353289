//! The contents of the log, in memory. The same rules apply whether a frame was just written or is
//! read again after a crash.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use pipeline::env::DiskFile;
use pipeline::{IntervalSet, KeySet, Ticket};

use super::segment_index::{Entry, SegmentIndex};
use crate::dedupe::Window;
use crate::durable::log::records::{
    AckRecord, Acks, ForgetRecord, PutRecord, SegmentRecord, StateRecord,
};
use crate::durable::log::seal::KeyMark;
use crate::in_flight::InFlight;
use crate::positions::Positions;

/// A live segment.
pub(crate) struct Segment {
    /// Its STATE entry.
    pub(crate) record: SegmentRecord,
    /// The locations of its batches; only while some consumer is near.
    pub(crate) index: Option<SegmentIndex>,
    /// Its file, while the index is present.
    pub(crate) file: Option<Arc<dyn DiskFile>>,
}

impl Segment {
    /// The ticket after its last batch.
    pub(crate) fn end(&self) -> Ticket {
        self.record.first + self.record.tickets
    }
}

/// The contents of the log. The last of `segments` is the one being written.
#[derive(Default)]
pub(crate) struct TicketIndex {
    pub(crate) in_flight: InFlight,
    pub(crate) window: Window,
    pub(crate) positions: Positions,
    /// Events that some consumer has not committed.
    pub(crate) events: u64,
    pub(crate) epoch: u64,
    pub(crate) segments: VecDeque<Segment>,
}

impl TicketIndex {
    /// Restores a STATE, before the frames after it are replayed.
    pub(crate) fn restore(state: StateRecord<'_>, next: Ticket) -> Self {
        let segment = |record| Segment { record, index: None, file: None };
        Self {
            in_flight: InFlight::restore(next, state.consumers),
            window: Window::restore(state.stored, state.pending),
            positions: state.positions.into_owned(),
            events: state.events,
            epoch: state.epoch,
            segments: state.segments.into_iter().map(segment).collect(),
        }
    }

    /// Returns the contents of a new STATE.
    pub(crate) fn record(&self, since_ms: u64) -> StateRecord<'_> {
        StateRecord {
            since_ms,
            epoch: self.epoch,
            events: self.events,
            consumers: self.consumers(),
            stored: self.window.all().clone(),
            pending: self.window.pending().clone(),
            positions: Cow::Borrowed(&self.positions),
            segments: self.segments.iter().map(|segment| segment.record).collect(),
        }
    }

    /// Consumers and their commits.
    pub(crate) fn consumers(&self) -> Acks {
        self.in_flight.acked().map(|(name, acked)| (name.clone(), acked.clone())).collect()
    }

    /// Opens the page of a segment that is begun.
    pub(crate) fn begin_segment(&mut self, record: SegmentRecord, file: Arc<dyn DiskFile>) {
        let index = Some(SegmentIndex::starting_at(record.first));
        self.segments.push_back(Segment { record, index, file: Some(file) });
    }

    /// Adds a PUT frame of `len` bytes at `offset` of the last segment. `ticket` is the one in its
    /// header; missing tickets before it are lost, and returned.
    pub(crate) fn put(
        &mut self,
        ticket: Ticket,
        offset: u64,
        len: usize,
        put: &PutRecord,
    ) -> Option<IntervalSet> {
        let lost = self.skip_to(ticket);
        let segment = self.segments.back_mut().expect("a frame lies in a segment");
        let since = segment.record.since_ms;
        let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let mut item = 0;
        for batch in &put.items {
            let identity = batch.identity;
            if let Some(identity) = identity {
                self.window.store(identity, batch.events > 0);
            }
            self.positions.apply(&batch.positions);
            if batch.events == 0 {
                continue;
            }
            self.in_flight.put(1);
            self.events += u64::from(batch.events);
            segment.record.tickets += 1;
            let after_ms = small(put.at_ms.saturating_sub(since));
            let (offset, len) = (small(offset), len as u32);
            let entry = Entry { offset, len, events: batch.events, after_ms, item };
            if let Some(index) = &mut segment.index {
                index.push(entry, identity);
            }
            item += 1;
        }
        lost
    }

    /// Tickets from the next one up to `ticket` are lost.
    pub(crate) fn skip_to(&mut self, ticket: Ticket) -> Option<IntervalSet> {
        let lost = self.in_flight.skip_to(ticket)?;
        let segment = self.segments.back_mut().expect("a frame lies in a segment");
        segment.record.tickets += lost.count();
        if let Some(index) = &mut segment.index {
            index.skip_to(ticket);
        }
        Some(lost)
    }

    /// An ACK frame.
    pub(crate) fn ack(&mut self, ack: &AckRecord) {
        for (consumer, tickets) in &ack.acks {
            self.in_flight.replay(consumer, tickets);
        }
        self.window.settle(&ack.settled);
        self.events = self.events.saturating_sub(ack.events);
    }

    /// A CONSUMERS frame.
    pub(crate) fn set_consumers(&mut self, consumers: Acks) {
        self.in_flight = InFlight::restore(self.in_flight.next(), consumers);
    }

    /// A FORGET frame.
    pub(crate) fn forget(&mut self, forget: &ForgetRecord) {
        self.in_flight.strike(&forget.tickets);
        self.window.forget(&forget.keys);
        self.events = self.events.saturating_sub(forget.events);
    }

    /// Commits tickets that a consumer holds.
    pub(crate) fn commit(&mut self, consumer: &Arc<str>, tickets: &IntervalSet) -> AckRecord {
        let (acked, settled) = self.in_flight.commit(consumer, tickets);
        let (keys, events) = self.describe(&settled);
        self.window.settle(&keys);
        self.events = self.events.saturating_sub(events);
        AckRecord { acks: vec![(consumer.clone(), acked)], settled: keys, events }
    }

    /// Returns identities and events of tickets in segments whose index is in memory.
    pub(crate) fn describe(&self, tickets: &IntervalSet) -> (KeySet, u64) {
        let (mut keys, mut events) = (KeySet::default(), 0);
        let (Some(first), Some(last)) = (tickets.first(), tickets.last()) else {
            return (keys, events);
        };
        let from = self.segments.partition_point(|segment| segment.end() <= first);
        for segment in self.segments.range(from..) {
            if segment.record.first > last {
                break;
            }
            if let Some(index) = &segment.index {
                let (mine, count) = index.describe(tickets);
                keys.insert_all(&mine);
                events += count;
            }
        }
        (keys, events)
    }

    /// Events of tickets, by the same segments, without their identities.
    pub(crate) fn events_of(&self, tickets: &IntervalSet) -> u64 {
        let indexes = self.segments.iter().filter_map(|segment| segment.index.as_ref());
        indexes.map(|index| index.events_of(tickets)).sum()
    }

    /// Returns the segment with `ticket`.
    pub(crate) fn segment_of(&self, ticket: Ticket) -> Option<&Segment> {
        let at = self.segments.partition_point(|segment| segment.end() <= ticket);
        self.segments.get(at).filter(|segment| segment.record.first <= ticket)
    }

    /// The live segment with this number.
    pub(crate) fn segment_mut(&mut self, id: u64) -> Option<&mut Segment> {
        self.segments.iter_mut().find(|segment| segment.record.id == id)
    }

    /// Bytes that the channel occupies: sealed segments whole, the current one up to its end.
    pub(crate) fn bytes(&self) -> u64 {
        let Some(current) = self.segments.back() else { return 0 };
        let sealed = self.segments.iter().take(self.segments.len() - 1);
        sealed.map(|segment| segment.record.room).sum::<u64>() + current.record.end
    }

    /// Returns the keys that are needed to read everything: the key of the last segment, whose
    /// STATE summarises the log, and keys of segments with uncommitted batches.
    pub(crate) fn keys(&self) -> impl Iterator<Item = KeyMark> {
        let last = self.segments.len().saturating_sub(1);
        self.segments.iter().enumerate().filter_map(move |(at, segment)| {
            let (first, end) = (segment.record.first, segment.end());
            let wanted = first < end && !self.in_flight.all_acked(first, end);
            segment.record.key.filter(|_| wanted || at == last)
        })
    }

    /// Removes sealed segments that every consumer has committed; segments with `unlogged` tickets
    /// stay. Checks the oldest ones up to the first that stays, or `all`.
    pub(crate) fn release(
        &mut self,
        all: bool,
        unlogged: impl Fn(Ticket, Ticket) -> bool,
    ) -> Vec<Segment> {
        let (mut released, mut at) = (Vec::new(), 0);
        while at + 1 < self.segments.len() {
            let (first, end) = (self.segments[at].record.first, self.segments[at].end());
            if self.in_flight.all_acked(first, end) && !unlogged(first, end) {
                released.extend(self.segments.remove(at));
            } else if all {
                at += 1;
            } else {
                break;
            }
        }
        released
    }

    /// Drops the indexes of sealed segments that no consumer is near. The one after a near one
    /// stays, because it is being read ahead.
    pub(crate) fn trim(&mut self) {
        let sealed = self.segments.len().saturating_sub(1);
        let mut follows = false;
        for segment in self.segments.iter_mut().take(sealed) {
            let end = segment.record.first + segment.record.tickets;
            let near = self.in_flight.is_near(segment.record.first, end);
            if segment.index.is_some() && !near && !follows {
                segment.index = None;
                segment.file = None;
            }
            follows = near;
        }
    }
}
