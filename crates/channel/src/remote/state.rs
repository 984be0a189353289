//! What the log says, in memory, and what of it is there to be taken without reading.
//!
//! A line says of a ticket what its settlement needs. It is there while the batch is in the tail or
//! with a take; for others it comes with the batch when that is read back.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use pipeline::{Batch, BatchSize, Epoch, Identity, IntervalSet, KeySet, Origin, Ticket};

use support::mutant;

use super::channel::Limits;
use super::frames::ReadState;
use super::group::Request;
use super::log::Place;
use super::reading::Ahead;
use crate::dedupe::Window;
use crate::durable::commit::hand_off::{HandOff, Handing};
use crate::durable::log::records::{PutRecord, SegmentRecord, StateRecord};
use crate::in_flight::InFlight;
use crate::positions::Positions;

/// What is known of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) identity: Option<Identity>,
    pub(super) events: u32,
    pub(super) at_ms: u64,
}

/// A channel between two changes.
#[derive(Default)]
pub(super) struct State {
    pub(super) in_flight: InFlight,
    pub(super) window: Window,
    pub(super) positions: Positions,
    /// Events that some consumer has not committed.
    pub(super) events: u64,
    /// What is not released, in parts; the last one grows.
    pub(super) sections: VecDeque<SegmentRecord>,
    /// Behind the last frame that is known.
    pub(super) end: Place,
    /// Bytes of the frames that the newest STATE does not cover.
    pub(super) uncovered: u64,
    /// Of what takes hold.
    pub(super) lines: BTreeMap<Ticket, Line>,
    /// The newest batches, as far as there is memory.
    tail: BTreeMap<Ticket, (Line, Batch)>,
    tail_bytes: u64,
    /// What was read back for a consumer.
    pub(super) ahead: BTreeMap<Arc<str>, Ahead>,
    /// Of what is born here next.
    pub(super) next_sequence: u64,
    pub(super) reserved: BatchSize,
    /// What there was no room for last; nothing once there was room again.
    pub(super) refused: Option<BatchSize>,
    pub(super) hand_off: HandOff<Request>,
    /// There is something that no STATE says.
    pub(super) unsaved: bool,
    /// A STATE is to be written.
    pub(super) flush: bool,
    /// It takes nothing in and hands nothing out any more.
    pub(super) closed: bool,
    /// Another owner has the log.
    pub(super) lost: bool,
}

impl State {
    /// As a STATE says, before the frames behind it are replayed.
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

    /// What a STATE shall say.
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

    /// A PUT of `len` bytes lies at `place`; its first batch has `ticket`. Answers the tickets up
    /// to there that no frame has.
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

    /// Lets go of what every consumer has been offered once.
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

    /// Looks for the batch of a ticket that `consumer` was just given; notes its line.
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

    /// A consumer gives tickets back.
    pub(super) fn rollback(&mut self, consumer: &str, tickets: &IntervalSet) {
        self.in_flight.rollback(consumer, tickets);
        self.drop_lines(tickets);
    }

    /// The lines of tickets that no take holds any more go.
    fn drop_lines(&mut self, tickets: &IntervalSet) {
        let held = self.in_flight.held();
        for ticket in tickets.difference(&held).iter() {
            self.lines.remove(&ticket);
        }
    }

    /// Every consumer is done with these, of which `lines` tell.
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

    /// Lines of these tickets that are in memory.
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

    /// The section that holds `ticket`.
    pub(super) fn section_of(&self, ticket: Ticket) -> Option<&SegmentRecord> {
        let end = |section: &SegmentRecord| section.first + section.tickets;
        let at = self.sections.partition_point(|section| end(section) <= ticket);
        self.sections.get(at).filter(|section| section.first <= ticket)
    }

    pub(super) fn fits(&self, size: BatchSize, limits: &Limits) -> bool {
        let bytes = self.bytes() + self.reserved.bytes + size.bytes;
        let events = self.events + self.reserved.events + size.events;
        bytes <= limits.capacity_bytes && events <= limits.capacity_events
    }

    /// Room for `size`, if puts are not to wait.
    pub(super) fn reserve(&mut self, size: BatchSize, limits: &Limits) -> bool {
        let fits = self.fits(size, limits);
        self.refused = (!fits).then_some(size);
        if fits {
            self.reserved.bytes += size.bytes;
            self.reserved.events += size.events;
        }
        fits
    }

    /// Gives reserved room back.
    pub(super) fn unreserve(&mut self, size: BatchSize) {
        self.reserved.bytes -= size.bytes;
        self.reserved.events -= size.events;
    }

    /// Whether puts wait now.
    pub(super) fn stops_intake(&self, limits: &Limits) -> bool {
        self.closed || self.refused.is_some_and(|size| !self.fits(size, limits))
    }

    /// Whether a STATE would make room that a put waits for.
    pub(super) fn is_urgent(&self, limits: &Limits) -> bool {
        let is_done = || self.sections.front().is_some_and(|first| self.is_done(first));
        !self.closed && self.stops_intake(limits) && is_done()
    }

    /// The next sequence of what is born in this life.
    pub(super) fn born(&self, (origin, epoch): (Origin, Epoch), nth: u64) -> Identity {
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
