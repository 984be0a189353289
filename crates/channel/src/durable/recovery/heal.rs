//! Restores a damaged batch whose lines are still in their source file.
//!
//! Frame, ticket and identity stay the same. Only the bytes of the lines are inserted again, and
//! the checksum of the frame shows whether that restored it. Therefore no batch is repeated,
//! whatever its state, and no different batch is delivered.
//!
//! ```text
//! frame   header │ envelope: identity, positions │ body: headers, lengths, lines
//!                              │ after it, and the position before it       ▲
//!                              ▼                                            │
//!         file   ─────────────[from ·················· to)──────────────────┘
//! ```
//!
//! It works if the envelope is sound, the lines in the body are the same as in the file (neither
//! compressed nor sealed, not changed by an interceptor), and the file still contains them.
//! Otherwise the batch is given up, and these positions tell which lines were in it.

use std::collections::BTreeSet;
use std::io;

use pipeline::Ticket;
use pipeline::env::{Disk, DiskFile};
use pipeline::file_position::LineRange;

use super::replay::Recovered;
use super::scan::{Bodies, Scanned, scan_with};
use crate::durable::index::segment_index::Entry;
use crate::durable::log::aligned::Aligned;
use crate::durable::log::files::Files;
use crate::durable::log::records::{ForgetRecord, PutRecord, StateRecord};
use crate::durable::log::segment::{BLOCK, HEADER_BYTES, Header, Kind, Seed};
use crate::positions::Positions;

/// A put frame whose body is damaged.
pub(crate) struct DamagedPut {
    header: Header,
    /// For each batch with events: its bytes in the body, and the location of its lines.
    items: Vec<Item>,
    /// Whole blocks around the frame.
    blocks: Aligned,
    /// The offset of these blocks in the segment, and of the frame in them.
    start: u64,
    frame_at: usize,
}

struct Item {
    start: usize,
    end: usize,
    is_plain: bool,
    stretches: Vec<LineRange>,
    /// Sources that positions of another kind are of.
    others: Vec<String>,
}

impl DamagedPut {
    /// Reads the frame of `entry`; `None` if its envelope is damaged too.
    ///
    /// # Errors
    /// The error of the disk, or a missing key.
    pub(crate) fn read(
        file: &dyn DiskFile,
        seed: Seed<'_>,
        entry: &Entry,
    ) -> io::Result<Option<Self>> {
        let block = BLOCK as u64;
        let (offset, end) = (u64::from(entry.offset), u64::from(entry.offset + entry.len));
        let start = offset / block * block;
        let mut blocks = Aligned::with_capacity(0);
        blocks.set_len((end - start).next_multiple_of(block) as usize);
        let read = file.read_at(blocks.as_mut_slice(), start)?;
        let frame_at = (offset - start) as usize;
        if entry.len == 0 || read < frame_at + entry.len as usize {
            return Ok(None);
        }
        let frame = &blocks.as_slice()[frame_at..frame_at + entry.len as usize];
        let Some(header) = Header::read(frame) else { return Ok(None) };
        let fits = header.frame_len() == frame.len() && header.kind == Kind::Put;
        if !fits || !header.verify(frame, seed, offset) {
            return Ok(None);
        }
        let Some(put) = header.envelope(frame, seed, offset)?.and_then(PutRecord::decode) else {
            return Ok(None);
        };
        let items = items(&put, header.sealed, before(file, seed, offset)?);
        Ok(Some(Self { header, items, blocks, start, frame_at }))
    }

    /// Inserts the lines again; returns whether the frame is restored.
    pub(crate) fn heal(&mut self, disk: &dyn Disk) -> bool {
        let body_at = self.frame_at + HEADER_BYTES + self.header.envelope_len;
        for item in self.items.iter().filter(|item| item.is_plain && item.others.is_empty()) {
            let lines: Option<Vec<_>> = item.stretches.iter().map(|at| at.read(disk)).collect();
            let Some(lines) = lines.map(|lines| lines.concat()) else { continue };
            // The lines are at the end of an encoded batch.
            if let Some(at) = (item.end - item.start).checked_sub(lines.len()) {
                let at = body_at + item.start + at;
                self.blocks.as_mut_slice()[at..at + lines.len()].copy_from_slice(&lines);
            }
        }
        let frame = &self.blocks.as_slice()[self.frame_at..];
        self.header.verify_body(frame)
    }

    /// Writes the frame back, durably.
    ///
    /// # Errors
    /// The error of the disk.
    pub(crate) fn write(&self, file: &dyn DiskFile) -> io::Result<()> {
        file.write_at(&[io::IoSlice::new(self.blocks.as_slice())], self.start, true)
    }

    /// Returns the locations of the lines of the `nth` batch with events, for the operator; empty
    /// if another agent sent it.
    pub(crate) fn lines(&self, nth: usize) -> Vec<String> {
        let Some(item) = self.items.get(nth) else { return Vec::new() };
        let stretches =
            item.stretches.iter().filter(|at| at.from < at.to).map(LineRange::to_string);
        stretches.chain(item.others.iter().map(|source| format!("source {source}"))).collect()
    }
}

/// A put whose body is damaged.
pub(crate) struct DamagedBatch {
    pub(crate) ticket: Ticket,
    pub(crate) put: PutRecord,
    pub(crate) segment: u64,
    pub(crate) place: Entry,
}

/// A frame whose body is damaged.
pub(crate) struct DamagedFrame {
    /// Number of its segment.
    pub(crate) segment: u64,
    /// Its location in the segment.
    pub(crate) place: Entry,
    /// Its batches that are given up with it, and their events.
    pub(crate) tickets: Vec<Ticket>,
    pub(crate) events: u64,
    /// The locations of their lines.
    pub(crate) lines: Vec<String>,
    /// The restored frame, if possible; it is not written yet.
    pub(crate) whole: Option<DamagedPut>,
}

impl Recovered {
    /// Handles a frame with a damaged body: keeps its positions and gives up its events. Batches
    /// that later frames record as settled were not lost by that.
    fn forget(&mut self, unsound: &DamagedBatch, wounded: Option<&DamagedPut>) {
        let DamagedBatch { ticket: first, put, segment, place } = unsound;
        let mut lines = Vec::new();
        let settled = self.tickets.in_flight.acked_by_all(None);
        let mut lost = ForgetRecord::default();
        let with_events = put.items.iter().filter(|item| item.events > 0);
        for ((nth, ticket), item) in (0..).zip(*first..).zip(with_events) {
            if !settled.contains(ticket) {
                lines.extend(wounded.iter().flat_map(|wounded| wounded.lines(nth)));
                lost.tickets.insert(ticket);
                lost.events += u64::from(item.events);
                if let Some(identity) = item.identity {
                    lost.keys.insert(identity);
                }
            }
        }
        if lost.tickets.is_empty() {
            return;
        }
        self.tickets.forget(&lost);
        self.struck.insert_all(&lost.tickets);
        let (segment, place, events) = (*segment, *place, lost.events);
        let tickets = lost.tickets.iter().collect();
        self.aside.push(DamagedFrame { segment, place, tickets, events, lines, whole: None });
    }

    /// Handles a damaged body: restores it in memory, or gives it up.
    pub(crate) fn restore_or_drop(
        &mut self,
        files: &Files,
        unsound: &DamagedBatch,
    ) -> io::Result<()> {
        let DamagedBatch { ticket, segment, place, put } = unsound;
        let settled = self.tickets.in_flight.acked_by_all(None);
        let with_events = put.items.iter().filter(|item| item.events > 0).count() as u64;
        if (*ticket..*ticket + with_events).all(|ticket| settled.contains(ticket)) {
            return Ok(());
        }
        let seed = files.seed(&self.owner.uuid, *segment);
        let mut wounded = DamagedPut::read(&*files.open(*segment, false)?, seed, place)?;
        let is_whole = wounded.as_mut().is_some_and(|wounded| wounded.heal(files.disk()));
        match &wounded {
            Some(it) if is_whole => {
                let lines = (0..with_events as usize).flat_map(|nth| it.lines(nth)).collect();
                let tickets = (*ticket..*ticket + with_events).collect();
                let events = put.items.iter().map(|item| u64::from(item.events)).sum();
                let (segment, place) = (*segment, *place);
                self.aside.push(DamagedFrame {
                    segment,
                    place,
                    tickets,
                    events,
                    lines,
                    whole: wounded,
                });
            }
            _ => self.forget(unsound, wounded.as_ref()),
        }
        Ok(())
    }
}

/// Maximum number of files that are named when the lost lines are unknown.
const NAMED_MAX: usize = 20;

/// Returns where the lines of an unreadable frame at `place` may have been: for each file, between
/// the position before the frame and the next one in `frames`. `before` has the positions of the
/// sources before `frames`.
pub(crate) fn around(mut before: Positions, frames: &[Scanned], place: u64) -> Vec<String> {
    let (mut named, mut seen) = (Vec::new(), BTreeSet::new());
    for frame in frames.iter().filter(|frame| frame.offset != place) {
        match frame.header.kind {
            Kind::State if frame.offset < place => {
                if let Some(state) = StateRecord::decode(frame.envelope.clone()) {
                    before = state.positions.into_owned();
                }
                continue;
            }
            Kind::Put => {}
            Kind::State | Kind::Ack | Kind::Consumers | Kind::Forget => continue,
        }
        let Some(put) = PutRecord::decode(frame.envelope.clone()) else { continue };
        for item in &put.items {
            if frame.offset < place {
                before.apply(&item.positions);
                continue;
            }
            for position in &item.positions {
                let is_next = seen.insert((position.source.clone(), position.key.clone()));
                let after = position.value.as_ref().filter(|_| is_next && named.len() < NAMED_MAX);
                let stood = before.at(position).map(|value| &value[..]);
                let stretch = after.and_then(|after| LineRange::between(stood, after));
                named.extend(stretch.map(|stretch| format!("part of {stretch}")));
            }
        }
    }
    named
}

/// Returns the batches with events, and the locations of their lines.
fn items(put: &PutRecord, is_sealed: bool, mut before: Positions) -> Vec<Item> {
    let mut items = Vec::new();
    let mut start = 0;
    for item in &put.items {
        let (mut stretches, mut others) = (Vec::new(), Vec::new());
        for position in &item.positions {
            let Some(after) = &position.value else { continue };
            let stood = before.at(position).map(|value| &value[..]);
            match LineRange::between(stood, after) {
                Some(stretch) => stretches.push(stretch),
                None => others.push(position.source.to_string()),
            }
        }
        before.apply(&item.positions);
        if item.events > 0 {
            let end = start + item.body_len as usize;
            let is_plain = item.packed.is_none() && !is_sealed && !stretches.is_empty();
            items.push(Item { start, end, is_plain, stretches, others });
            start = end;
        }
    }
    items
}

/// Returns the positions of the sources before the frame at `offset`: those at the beginning of the
/// segment, updated by the frames after it.
fn before(file: &dyn DiskFile, seed: Seed<'_>, offset: u64) -> io::Result<Positions> {
    let mut positions = Positions::default();
    for frame in scan_with(Bodies::Trust, file, seed, BLOCK as u64, offset)?.frames {
        match frame.header.kind {
            Kind::State => {
                if let Some(state) = StateRecord::decode(frame.envelope) {
                    positions = state.positions.into_owned();
                }
            }
            Kind::Put => {
                let put = PutRecord::decode(frame.envelope);
                let items = put.iter().flat_map(|put| &put.items);
                items.for_each(|item| positions.apply(&item.positions));
            }
            Kind::Ack | Kind::Consumers | Kind::Forget => {}
        }
    }
    Ok(positions)
}
