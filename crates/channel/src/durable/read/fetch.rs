//! Reading batches back.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use pipeline::env::DiskFile;
use pipeline::{IntervalSet, KeySet, Ticket};
use tokio::time::Instant;

use super::ahead::ReadBatch;
use super::memory::ReadMemory;
use super::reader;
use crate::durable::core::Core;
use crate::durable::index::segment_index::{Entry, SegmentIndex};
use crate::durable::log::segment::BLOCK;
use crate::durable::recovery::scan::{Bodies, scan_with};
use crate::durable::state::State;

/// A stretch that is about to be read.
struct Reading {
    id: u64,
    file: Arc<dyn DiskFile>,
    entries: Vec<(Ticket, Entry)>,
    tickets: Range<Ticket>,
    /// Identity of the first batch, and its events.
    known: (KeySet, u64),
}

impl Core {
    /// The index and file of a segment; read from the store, or from the segment itself.
    ///
    /// # Errors
    /// The segment cannot be read.
    pub(crate) fn index_of(&self, id: u64) -> io::Result<(SegmentIndex, Arc<dyn DiskFile>)> {
        let record = {
            let mut state = self.state();
            let segment = state.tickets.segment_mut(id).ok_or(io::ErrorKind::NotFound)?;
            if let (Some(index), Some(file)) = (&segment.index, &segment.file) {
                return Ok((index.clone(), file.clone()));
            }
            segment.record
        };
        let file = self.files.open(id, false)?;
        let whole = |index: &SegmentIndex| index.end() == record.first + record.tickets;
        if let Some(index) = self.store.load(id).filter(whole) {
            return Ok((index, file));
        }
        let seed = self.files.seed(&self.owner.uuid, id);
        let found = scan_with(Bodies::Trust, &*file, seed, BLOCK as u64, record.end)?;
        let index = reader::index_of(&found, &record);
        self.store.save(id, &index);
        Ok((index, file))
    }

    /// Puts the index of the segment of `ticket` into memory; answers its number.
    pub(crate) fn load_index(&self, ticket: Ticket) -> io::Result<u64> {
        let id = {
            let state = self.state();
            let segment = state.tickets.segment_of(ticket).ok_or(io::ErrorKind::NotFound)?;
            if segment.index.is_some() {
                return Ok(segment.record.id);
            }
            segment.record.id
        };
        let (index, file) = self.index_of(id)?;
        let mut state = self.state();
        if let Some(segment) = state.tickets.segment_mut(id) {
            segment.index = Some(index);
            segment.file = Some(file);
        }
        state.tickets.trim();
        Ok(id)
    }

    /// Plans the read of a stretch from `ticket` on, and announces it.
    fn begin_read(&self, ticket: Ticket) -> io::Result<Reading> {
        let planned = self.load_index(ticket).and_then(|id| {
            let mut state = self.state();
            let intensity = state.intensity(&self.limits);
            let segment = state.tickets.segment_mut(id).ok_or(io::ErrorKind::NotFound)?;
            let index = segment.index.as_ref().ok_or(io::ErrorKind::NotFound)?;
            let file = segment.file.clone().ok_or(io::ErrorKind::NotFound)?;
            let known = index.describe(&IntervalSet::from(ticket..ticket + 1));
            let entries = reader::stretch(index, ticket, intensity);
            let tickets = ticket..ticket + entries.len() as u64;
            Ok(Reading { id, file, entries, known, tickets })
        });
        let tickets = planned.as_ref().map_or(0..0, |reading| reading.tickets.clone());
        self.state().reads.ahead.announce(tickets);
        self.signals.arrived.notify_waiters();
        planned
    }

    /// Executes a planned read; its batches are then available to all. Returns the first of them.
    fn read(&self, reading: &Reading) -> io::Result<Option<ReadBatch>> {
        let seed = self.files.seed(&self.owner.uuid, reading.id);
        let read = reader::read(&reading.file, seed, &reading.entries, &self.buffers);
        let (batches, result) = match read {
            Ok(batches) => {
                let first = batches.first().cloned().flatten();
                (Some(batches), Ok(first))
            }
            Err(error) => (None, Err(error)),
        };
        self.state().reads.ahead.fill(&reading.tickets, batches);
        self.signals.arrived.notify_waiters();
        result
    }

    /// Reads the batch of a ticket that `consumer` holds, and its neighbours; `None` if it is
    /// damaged, and now quarantined. The caller has planned the read.
    ///
    /// # Errors
    /// The disk could not be read.
    pub(crate) fn fetch(self: &Arc<Self>, ticket: Ticket) -> io::Result<Option<ReadBatch>> {
        let reading = self.begin_read(ticket)?;
        self.start_read_ahead();
        let first = self.read(&reading)?;
        if first.is_none() {
            let entry = reading.entries.first().map(|(_, entry)| entry);
            if let Some(entry) = entry
                && self.restore(reading.id, ticket, entry, &reading.file)?
            {
                let seed = self.files.seed(&self.owner.uuid, reading.id);
                let entries = [(ticket, *entry)];
                let read = reader::read(&reading.file, seed, &entries, &self.buffers)?;
                let whole = read.into_iter().next().flatten();
                if whole.is_some() {
                    return Ok(whole);
                }
            }
            self.quarantine(reading.id, ticket, reading.known, entry, &reading.file);
        }
        Ok(first)
    }

    /// Handles a take of a batch of `bytes` bytes: reads the consumer's next batches in the
    /// background.
    pub(crate) fn taken(self: &Arc<Self>, consumer: &Arc<str>, bytes: usize) {
        let next = {
            let mut state = self.state();
            if state.reads.ahead.is_drained_by(consumer) {
                state.reads.throttle.taken(Instant::now(), bytes);
            }
            self.plan_ahead(&mut state)
        };
        self.start_reading(next);
    }

    /// Starts the read that some consumer needs next, in the background, unless enough is under
    /// way.
    fn start_read_ahead(self: &Arc<Self>) {
        let next = self.plan_ahead(&mut self.state());
        self.start_reading(next);
    }

    /// Ignores errors here: the take of that batch meets them again.
    fn start_reading(self: &Arc<Self>, next: Option<Ticket>) {
        let Some(next) = next else { return };
        let core = self.clone();
        self.background.run_behind(&self.env, move || core.read_ahead(next));
    }

    /// Returns the start of the next read; the caller must begin it.
    fn plan_ahead(&self, state: &mut State) -> Option<Ticket> {
        if state.reads.ahead.consumers() == 0 {
            return None;
        }
        let intensity = state.intensity(&self.limits);
        let (ReadMemory { ahead, tail, .. }, tickets) = (&mut state.reads, &state.tickets);
        let end = tickets.in_flight.next();
        let next = ahead.next_read(intensity, |ticket| ticket < end && !tail.holds(ticket))?;
        ahead.plan();
        Some(next)
    }

    /// Reads stretch after stretch from `next` on, until enough is available, so that the disk does
    /// not wait for a consumer.
    fn read_ahead(self: &Arc<Self>, next: Ticket) {
        let mut planned = Some(next);
        while let Some(next) = planned {
            let Ok(reading) = self.begin_read(next) else { return };
            self.start_read_ahead();
            if self.read(&reading).is_err() {
                return;
            }
            planned = self.plan_ahead(&mut self.state());
        }
    }
}
