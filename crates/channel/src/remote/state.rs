//! The contents of the log, in memory, and the batches that can be taken without reading.
//!
//! A line has the data that the settlement of a ticket needs. It is in memory while the batch is in
//! the tail or held by a take; otherwise it is read again together with the batch.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use pipeline::{Batch, BatchSize, Epoch, Identity, IntervalSet, KeySet, Origin, Ticket};

use support::mutant;

use super::frames::ReadState;
use super::limits::Limits;
use super::log::Place;
use super::request::Request;
use crate::dedupe::Window;
use crate::durable::commit::hand_off::{HandOff, Handing};
use crate::durable::log::records::{PutRecord, SegmentRecord, StateRecord};
use crate::in_flight::InFlight;
use crate::positions::Positions;
use crate::reservations::Reservations;

/// Data about a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) identity: Option<Identity>,
    pub(super) events: u32,
    pub(super) at_ms: u64,
}

/// Batches read for a consumer and not taken yet, and the place of the next frame.
#[derive(Default)]
pub(super) struct Ahead {
    pub(super) batches: BTreeMap<Ticket, (Line, Batch)>,
    /// The first ticket that may be at `place` or after it.
    pub(super) ticket: Ticket,
    pub(super) place: Place,
}

/// A channel between two changes.
#[derive(Default)]
pub(super) struct State {
    pub(super) in_flight: InFlight,
    pub(super) window: Window,
    pub(super) positions: Positions,
    /// Events that some consumer has not committed.
    pub(super) events: u64,
    /// Parts of the log that are not released; the last one grows.
    pub(super) sections: VecDeque<SegmentRecord>,
    /// Behind the last frame that is known.
    pub(super) end: Place,
    /// Bytes of the frames that the newest STATE does not cover.
    pub(super) uncovered: u64,
    /// Lines of held tickets.
    pub(super) lines: BTreeMap<Ticket, Line>,
    /// The newest batches, while there is memory.
    tail: BTreeMap<Ticket, (Line, Batch)>,
    tail_bytes: u64,
    /// Batches read from the log for a consumer.
    pub(super) ahead: BTreeMap<Arc<str>, Ahead>,
    /// The sequence of the next batch that is created here.
    pub(super) next_sequence: u64,
    pub(super) room: Reservations,
    pub(super) hand_off: HandOff<Request>,
    /// There are changes that no STATE contains.
    pub(super) unsaved: bool,
    /// A STATE must be written.
    pub(super) flush: bool,
    /// The channel is closed: it accepts and hands out nothing any more.
    pub(super) closed: bool,
    /// Another owner has the log.
    pub(super) lost: bool,
}

impl State {
    /// Restores a STATE, before the frames after it are replayed.
    pub(super) fn restore(read: ReadState) -> Self {
        let ReadState { record, next, from, .. } = read;
        Self {
            in_flight: InFlight::restore(next, record.consumers),
            window: Window::restore(record.stored, record.pending),
            positions: record.positions.into_owned(),
            events: record.events,
            sections: record.segments.into(),
            end: from,
            ..Self::default()
        }
    }

    /// Returns the contents of a new STATE.
    pub(super) fn record(&self, epoch: Epoch, now_ms: u64) -> StateRecord<'_> {
        let acked = self.in_flight.acked();
        StateRecord {
            since_ms: now_ms,
            epoch: epoch.0,
            events: self.events,
            consumers: acked.map(|(name, acked)| (name.clone(), acked.clone())).collect(),
            stored: self.window.all().clone(),
            pending: self.window.pending().clone(),
            positions: Cow::Borrowed(&self.positions),
            segments: self.sections.iter().copied().collect(),
        }
    }

    /// Adds a PUT of `len` bytes at `place`, whose first batch has `ticket`. Returns earlier
    /// tickets that no frame has.
    pub(super) fn put(
        &mut self,
        (place, len): (Place, u64),
        ticket: Ticket,
        put: &PutRecord,
        section_bytes: u64,
    ) -> Option<IntervalSet> {
        let lost = self.skip_to(ticket);
        let tickets = put.items.iter().filter(|item| item.events > 0).count() as u64;
        let is_over = |last: &SegmentRecord| last.room >= section_bytes;
        if self.sections.back().is_none_or(is_over) {
            let (first, since_ms) = (self.in_flight.next(), put.at_ms);
            self.sections.push_back(SegmentRecord {
                id: place,
                first,
                tickets: 0,
                end: place,
                room: 0,
                since_ms,
                key: None,
            });
        }
        let section = self.sections.back_mut().expect("one was begun");
        section.end = place;
        section.room += len;
        section.tickets += tickets;
        for item in &put.items {
            if let Some(identity) = item.identity {
                self.window.store(identity, item.events > 0);
            }
            self.positions.apply(&item.positions);
            self.events += u64::from(item.events);
        }
        self.in_flight.put(tickets);
        self.end = place + 1;
        self.unsaved = true;
        self.uncovered += len;
        lost
    }

    /// Tickets from the next one up to `ticket` are lost.
    fn skip_to(&mut self, ticket: Ticket) -> Option<IntervalSet> {
        let lost = self.in_flight.skip_to(ticket)?;
        if let Some(section) = self.sections.back_mut() {
            section.tickets += lost.count();
        }
        Some(lost)
    }

    /// Keeps a new batch in memory, and lets the oldest go if that is too much.
    pub(super) fn remember(&mut self, ticket: Ticket, line: Line, batch: Batch, limits: &Limits) {
        self.tail_bytes += batch.size().bytes;
        self.tail.insert(ticket, (line, batch));
        while self.tail_bytes > limits.tail_bytes && self.forget_first(Ticket::MAX) {}
    }

    /// Drops batches that every consumer has been offered once.
    pub(super) fn forget_offered(&mut self) {
        let low = self.in_flight.lowest_cursor();
        while self.forget_first(low) {}
    }

    fn forget_first(&mut self, below: Ticket) -> bool {
        let Some(first) = self.tail.first_entry().filter(|entry| *entry.key() < below) else {
            return false;
        };
        let (_, batch) = first.remove();
        self.tail_bytes -= batch.size().bytes;
        true
    }

    /// Looks for the batch of a ticket that `consumer` was just given; stores its line.
    pub(super) fn find(&mut self, consumer: &str, ticket: Ticket) -> Option<Batch> {
        let ahead = || self.ahead.get_mut(consumer)?.batches.remove(&ticket);
        let (line, batch) = self.tail.get(&ticket).cloned().or_else(ahead)?;
        self.lines.insert(ticket, line);
        Some(batch)
    }

    /// A consumer commits tickets; answers the identities that are settled by that.
    pub(super) fn commit(&mut self, consumer: &str, tickets: &IntervalSet) -> KeySet {
        let (acked, settled) = self.in_flight.commit(consumer, tickets);
        self.unsaved |= !acked.is_empty();
        let lines = std::mem::take(&mut self.lines);
        let keys = self.settle(&settled, &lines);
        self.lines = lines;
        self.drop_lines(&acked);
        keys
    }

    /// Rolls back tickets of a consumer.
    pub(super) fn rollback(&mut self, consumer: &str, tickets: &IntervalSet) {
        self.in_flight.rollback(consumer, tickets);
        self.drop_lines(tickets);
    }

    /// Drops the lines of tickets that no take holds any more.
    fn drop_lines(&mut self, tickets: &IntervalSet) {
        let held = self.in_flight.held();
        for ticket in tickets.difference(&held).iter() {
            self.lines.remove(&ticket);
        }
    }

    /// Settles tickets that every consumer has committed; `lines` describe them.
    pub(super) fn settle(
        &mut self,
        tickets: &IntervalSet,
        lines: &BTreeMap<Ticket, Line>,
    ) -> KeySet {
        let mut keys = KeySet::default();
        for ticket in tickets.iter() {
            let forgotten = self.tail.remove(&ticket);
            if let Some((_, batch)) = &forgotten {
                self.tail_bytes -= batch.size().bytes;
            }
            let line = lines.get(&ticket).copied().or(forgotten.map(|(line, _)| line));
            let Some(line) = line else { continue };
            if let Some(identity) = line.identity {
                keys.insert(identity);
            }
            self.events = self.events.saturating_sub(u64::from(line.events));
        }
        self.window.settle(&keys);
        keys
    }

    /// Returns the lines of these tickets that are in memory.
    pub(super) fn lines_of(&self, tickets: &IntervalSet) -> BTreeMap<Ticket, Line> {
        let mut found = BTreeMap::new();
        for ticket in tickets.iter() {
            let line = self.lines.get(&ticket).or(self.tail.get(&ticket).map(|(line, _)| line));
            found.extend(line.map(|line| (ticket, *line)));
        }
        found
    }

    /// Bytes that are not released.
    pub(super) fn bytes(&self) -> u64 {
        self.sections.iter().map(|section| section.room).sum()
    }

    fn is_done(&self, section: &SegmentRecord) -> bool {
        let is_acked = self.in_flight.all_acked(section.first, section.first + section.tickets);
        is_acked || mutant!("remote_released_too_early")
    }

    /// Forgets the oldest sections up to the first that some consumer wants; answers the place that
    /// is needed first then.
    pub(super) fn release(&mut self) -> Place {
        while self.sections.front().is_some_and(|first| self.is_done(first)) {
            self.sections.pop_front();
        }
        self.sections.front().map_or(self.end, |first| first.id)
    }

    /// Returns the section with `ticket`.
    pub(super) fn section_of(&self, ticket: Ticket) -> Option<&SegmentRecord> {
        let end = |section: &SegmentRecord| section.first + section.tickets;
        let at = self.sections.partition_point(|section| end(section) <= ticket);
        self.sections.get(at).filter(|section| section.first <= ticket)
    }

    pub(super) fn fits(&self, size: BatchSize, limits: &Limits) -> bool {
        let bytes = self.bytes() + self.room.reserved.bytes + size.bytes;
        let events = self.events + self.room.reserved.events + size.events;
        bytes <= limits.capacity_bytes && events <= limits.capacity_events
    }

    /// Room for `size`, if puts are not to wait.
    pub(super) fn reserve(&mut self, size: BatchSize, limits: &Limits) -> bool {
        let fits = self.fits(size, limits);
        self.room.reserve(size, fits)
    }

    /// Returns `true` if puts wait now.
    pub(super) fn stops_intake(&self, limits: &Limits) -> bool {
        self.closed || self.room.refused.is_some_and(|size| !self.fits(size, limits))
    }

    /// Returns `true` if a STATE would free room for a waiting put.
    pub(super) fn is_urgent(&self, limits: &Limits) -> bool {
        let is_done = || self.sections.front().is_some_and(|first| self.is_done(first));
        !self.closed && self.stops_intake(limits) && is_done()
    }

    /// Returns the next identity of a batch that is created in this life.
    pub(super) fn next_identity(&self, (origin, epoch): (Origin, Epoch), nth: u64) -> Identity {
        let sequence = pipeline::Sequence(self.next_sequence + nth);
        Identity { origin, epoch, sequence }
    }
}

impl Handing for State {
    type Request = Request;

    fn hand_off(&mut self) -> &mut HandOff<Request> {
        &mut self.hand_off
    }

    fn has_work(&self) -> bool {
        self.flush
    }
}
