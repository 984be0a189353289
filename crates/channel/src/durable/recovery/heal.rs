//! A damaged batch whose lines are still in their file is made whole from there.
//!
//! What was damaged stays what it is: the same frame, ticket and identity. Only the bytes of its
//! lines are put in again, and the checksum of the frame says whether that made it whole, so
//! nothing repeats whatever became of the batch before, and nothing that is not the same goes on.
//!
//! ```text
//! frame   header │ envelope: identity, positions │ body: headers, lengths, lines
//!                              │ behind it, and the position before it      ▲
//!                              ▼                                            │
//!         file   ─────────────[from ·················· to)──────────────────┘
//! ```
//!
//! It can be done where the envelope is sound, the lines stand in the body as in the file (neither
//! compressed nor sealed, not changed by an interceptor), and the file still holds them. Elsewhere
//! the batch is given up, and these positions name what was in it.

use std::collections::BTreeSet;
use std::io;

use pipeline::Ticket;
use pipeline::env::{Disk, DiskFile};
use pipeline::file_position::Stretch;

use super::replay::Recovered;
use super::scan::{Bodies, Scanned, scan_with};
use crate::durable::index::segment_index::Entry;
use crate::durable::log::aligned::Aligned;
use crate::durable::log::files::Files;
use crate::durable::log::records::{ForgetRecord, PutRecord, StateRecord};
use crate::durable::log::segment::{BLOCK, HEADER_BYTES, Header, Kind, Seed};
use crate::positions::Positions;

/// A put frame whose body is damaged.
pub(crate) struct Wounded {
    header: Header,
    /// For each batch with events: where its bytes lie in the body, and where its lines stood.
    items: Vec<Item>,
    /// Whole blocks around the frame.
    blocks: Aligned,
    /// Where they begin in the segment, and the frame in them.
    start: u64,
    frame_at: usize,
}

struct Item {
    start: usize,
    end: usize,
    is_plain: bool,
    stretches: Vec<Stretch>,
    /// Sources that positions of another kind are of.
    others: Vec<String>,
}

impl Wounded {
    /// Reads the frame that `entry` names; `None` if not even its envelope is sound.
    ///
    /// # Errors
    /// As the disk says; a key is missing.
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

    /// Puts the lines in again; answers whether the frame is whole by that.
    pub(crate) fn heal(&mut self, disk: &dyn Disk) -> bool {
        let body_at = self.frame_at + HEADER_BYTES + self.header.envelope_len;
        for item in self.items.iter().filter(|item| item.is_plain && item.others.is_empty()) {
            let lines: Option<Vec<_>> = item.stretches.iter().map(|at| at.read(disk)).collect();
            let Some(lines) = lines.map(|lines| lines.concat()) else { continue };
            // The lines are the last of what a batch is encoded as.
            if let Some(at) = (item.end - item.start).checked_sub(lines.len()) {
                let at = body_at + item.start + at;
                self.blocks.as_mut_slice()[at..at + lines.len()].copy_from_slice(&lines);
            }
        }
        let frame = &self.blocks.as_slice()[self.frame_at..];
        self.header.verify_body(frame)
    }

    /// Writes the frame to where it was read, durably.
    ///
    /// # Errors
    /// As the disk says.
    pub(crate) fn write(&self, file: &dyn DiskFile) -> io::Result<()> {
        file.write_at(&[io::IoSlice::new(self.blocks.as_slice())], self.start, true)
    }

    /// Where the lines of the `nth` batch with events stood, for people; empty if another agent
    /// sent it.
    pub(crate) fn lines(&self, nth: usize) -> Vec<String> {
        let Some(item) = self.items.get(nth) else { return Vec::new() };
        let stretches = item.stretches.iter().filter(|at| at.from < at.to).map(Stretch::to_string);
        stretches.chain(item.others.iter().map(|source| format!("source {source}"))).collect()
    }
}

/// A put whose body is not as it was written.
pub(crate) struct Unsound {
    pub(crate) ticket: Ticket,
    pub(crate) put: PutRecord,
    pub(crate) segment: u64,
    pub(crate) place: Entry,
}

/// A frame whose body is not as it was written.
pub(crate) struct Aside {
    /// Number of its segment.
    pub(crate) segment: u64,
    /// Where it lies in it.
    pub(crate) place: Entry,
    /// Its batches that are given up with it, and their events.
    pub(crate) tickets: Vec<Ticket>,
    pub(crate) events: u64,
    /// Where the lines of those stood.
    pub(crate) lines: Vec<String>,
    /// The frame as it was, if it could be made whole; it is not written yet.
    pub(crate) whole: Option<Wounded>,
}

impl Recovered {
    /// A frame's body is damaged: its positions stand, its events are gone. What later frames say
    /// is settled, because it was delivered or given up, was not lost by that.
    fn forget(&mut self, unsound: &Unsound, wounded: Option<&Wounded>) {
        let Unsound { ticket: first, put, segment, place } = unsound;
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
        self.aside.push(Aside { segment, place, tickets, events, lines, whole: None });
    }

    /// A frame's body is damaged: it is made whole, in memory, or forgotten.
    pub(crate) fn mend_or_forget(&mut self, files: &Files, unsound: &Unsound) -> io::Result<()> {
        let Unsound { ticket, segment, place, put } = unsound;
        let settled = self.tickets.in_flight.acked_by_all(None);
        let with_events = put.items.iter().filter(|item| item.events > 0).count() as u64;
        if (*ticket..*ticket + with_events).all(|ticket| settled.contains(ticket)) {
            return Ok(());
        }
        let seed = files.seed(&self.owner.uuid, *segment);
        let mut wounded = Wounded::read(&*files.open(*segment, false)?, seed, place)?;
        let is_whole = wounded.as_mut().is_some_and(|wounded| wounded.heal(files.disk()));
        match &wounded {
            Some(it) if is_whole => {
                let lines = (0..with_events as usize).flat_map(|nth| it.lines(nth)).collect();
                let tickets = (*ticket..*ticket + with_events).collect();
                let events = put.items.iter().map(|item| u64::from(item.events)).sum();
                let (segment, place) = (*segment, *place);
                self.aside.push(Aside { segment, place, tickets, events, lines, whole: wounded });
            }
            _ => self.forget(unsound, wounded.as_ref()),
        }
        Ok(())
    }
}

/// Most files that are named for a place where it is not known what was lost.
const NAMED_MAX: usize = 20;

/// Where the lines may have stood of a frame at `place` that cannot be read at all: between the
/// positions before it and those that come next in `frames`, of each file that goes on there.
/// `before` is where the sources stood in front of `frames`.
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
                let stretch = after.and_then(|after| Stretch::between(stood, after));
                named.extend(stretch.map(|stretch| format!("some of {stretch}")));
            }
        }
    }
    named
}

/// The batches with events, and where the lines of each stood.
fn items(put: &PutRecord, is_sealed: bool, mut before: Positions) -> Vec<Item> {
    let mut items = Vec::new();
    let mut start = 0;
    for item in &put.items {
        let (mut stretches, mut others) = (Vec::new(), Vec::new());
        for position in &item.positions {
            let Some(after) = &position.value else { continue };
            let stood = before.at(position).map(|value| &value[..]);
            match Stretch::between(stood, after) {
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

/// Where the sources stood before the frame at `offset`: as the segment began, and what came
/// behind.
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
