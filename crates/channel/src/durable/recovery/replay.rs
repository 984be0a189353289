//! Opens a directory: rebuilds the [`TicketIndex`] of an earlier process.
//!
//! ```text
//! 1 lock the directory, read the owner file (lost: the first block of a segment knows as much)
//! 2 find the newest segment whose STATE verifies: it summarises everything before it
//! 3 replay the frames of it and of any later segment; cut off a torn end
//! 4 report missing segments, and tickets that no frame has
//! 5 begin a new segment with a STATE of the next epoch; unneeded files join the pool
//! ```

use std::io;
use std::path::Path;
use std::sync::Arc;

use pipeline::env::{Disk, is_full};
use pipeline::{Epoch, IntervalSet, KeySet, Origin, Ticket};
use support::mutant;
use tracing::{error, info, warn};

use super::heal::{self, DamagedBatch, DamagedFrame};
use super::owner_file::{self, OwnerFile};
use super::scan::{Scan, Scanned, scan};
use crate::durable::index::segment_index::Entry;
use crate::durable::index::ticket_index::TicketIndex;
use crate::durable::log::files::Files;
use crate::durable::log::records::{
    AckRecord, ForgetRecord, PutRecord, SegmentRecord, StateRecord, decode_consumers,
};
use crate::durable::log::seal::{KeyMark, SealError};
use crate::durable::log::segment::{BLOCK, FORMAT, Kind, Owner, read_header_block};
use crate::durable::read::reader;

/// The recovered state, and the repairs.
pub(crate) struct Recovered {
    pub(crate) tickets: TicketIndex,
    pub(crate) owner: Owner,
    /// The first number that no segment file has.
    pub(crate) next_segment: u64,
    /// Segments whose frames were read: their indexes are known.
    pub(crate) torn_bytes: u64,
    pub(crate) damaged: u64,
    /// Tickets that no frame has.
    pub(crate) lost: IntervalSet,
    /// Tickets of damaged frames that this opening has found.
    pub(crate) struck: IntervalSet,
    /// Their frames, and frames of restored batches.
    pub(crate) aside: Vec<DamagedFrame>,
    /// The first segment whose frames were replayed: its STATE contains all information of older
    /// segments except their batches.
    pub(crate) replayed_from: u64,
}

/// Why a directory cannot be used.
pub(crate) enum Refusal {
    /// The disk.
    Disk(io::Error),
    /// The directory cannot be used; contains the remedy.
    Unusable(String),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.downcast::<SealError>() {
            Ok(sealed) => sealed.into(),
            Err(error) => Self::Disk(error),
        }
    }
}

impl From<SealError> for Refusal {
    fn from(error: SealError) -> Self {
        Self::Unusable(error.to_string())
    }
}

/// Returns the owner of the directory at `path`, in its next life. Without one, creates one with
/// the uuid and the origin of `new`.
pub(crate) fn owner(
    disk: &dyn Disk,
    new: impl FnOnce() -> ([u8; 16], Origin),
    path: &Path,
    files: &Files,
) -> Result<Owner, Refusal> {
    let segments = files.list()?;
    match owner_file::read(disk, path)? {
        OwnerFile::Sound(owner) => return Ok(owner),
        OwnerFile::Newer { format } => return Err(newer(format)),
        OwnerFile::Absent if segments.is_empty() => {
            let (uuid, origin) = new();
            return Ok(Owner { uuid, origin, epoch: Epoch(0) });
        }
        OwnerFile::Absent | OwnerFile::Damaged => {}
    }
    warn!(path = %path.display(),
        "the file with the identity of the channel is missing or damaged; reading the identity \
         from the segment files; no event is lost, no action needed");
    let mut newest: Option<Owner> = None;
    for (id, _) in segments {
        let Some((format, owner)) = owner_in(files, id)? else { continue };
        if format > FORMAT {
            return Err(newer(format));
        }
        if newest.is_none_or(|known| known.epoch <= owner.epoch) {
            newest = Some(owner);
        }
    }
    newest.ok_or_else(|| {
        Refusal::Unusable(
            "neither the file `channel` nor a segment file contains the identity of the channel; \
             restore the file, or move the directory away to start with an empty channel"
                .into(),
        )
    })
}

fn newer(format: u16) -> Refusal {
    Refusal::Unusable(format!(
        "the channel has the format {format}, but this program supports only formats up to \
         {FORMAT}; use the newer program, or drain the channel with it first"
    ))
}

fn owner_in(files: &Files, id: u64) -> io::Result<Option<(u16, Owner)>> {
    let mut block = crate::durable::log::aligned::Aligned::with_capacity(BLOCK);
    block.set_len(BLOCK);
    let read = files.open(id, false)?.read_at(block.as_mut_slice(), 0)?;
    Ok(read_header_block(&block.as_slice()[..read]).map(|(format, owner, _)| (format, owner)))
}

/// A segment that was read whole.
struct Read {
    id: u64,
    room: u64,
    scan: Scan,
    key: Option<KeyMark>,
}

/// The newest sound STATE with its next ticket, and the segments to replay after it.
type ReadBack = (Option<(StateRecord<'static>, Ticket)>, Vec<Read>);

/// Reads the newest segments back to the one whose STATE verifies.
fn read_back(files: &Files, uuid: &[u8; 16], all: &[(u64, u64)]) -> io::Result<ReadBack> {
    let mut read = Vec::new();
    for (id, room) in all.iter().rev() {
        let file = files.open(*id, false)?;
        let mut scan = scan(&*file, files.seed(uuid, *id), BLOCK as u64, *room)?;
        let key = scan.frames.iter().find_map(|frame| frame.key);
        let state = scan.frames.iter().find(|frame| frame.header.kind == Kind::State);
        let state = state.and_then(|frame| {
            let state = StateRecord::decode(frame.envelope.clone())?;
            Some((state, frame.header.ticket))
        });
        scan.frames.retain(|frame| frame.header.kind != Kind::State);
        let found = state.is_some();
        if found || !scan.frames.is_empty() {
            read.push(Read { id: *id, room: *room, scan, key });
        }
        if found {
            read.reverse();
            return Ok((state, read));
        }
    }
    read.reverse();
    Ok((None, read))
}

/// Rebuilds the index of the channel `owner` from the segment files. Changes nothing on disk.
pub(crate) fn recover(files: &Files, mut owner: Owner) -> Result<Recovered, Refusal> {
    let all = files.list()?;
    let (state, read) = read_back(files, &owner.uuid, &all)?;
    if state.is_none() && !read.is_empty() {
        error!(
            "no segment file of the channel has a readable summary, so it is unknown which events \
             were delivered: some may be delivered again (exactly-once sinks drop them, other \
             sinks store them twice); check the disk"
        );
    }
    let (state, ticket) = state.unwrap_or_default();
    let began_ms = state.since_ms;
    let mut recovered = Recovered {
        tickets: TicketIndex::restore(state, ticket),
        owner,
        next_segment: all.last().map_or(0, |(id, _)| id + 1),
        torn_bytes: 0,
        damaged: 0,
        lost: IntervalSet::EMPTY,
        struck: IntervalSet::EMPTY,
        aside: Vec::new(),
        replayed_from: read.first().map_or(0, |segment| segment.id),
    };
    let mut unsound = Vec::new();
    for segment in &read {
        recovered.replay(files, segment, began_ms, &mut unsound)?;
    }
    for put in unsound {
        recovered.restore_or_drop(files, &put)?;
    }
    // The epoch of the last life: an inspection begins no new one.
    owner.epoch = Epoch(owner.epoch.0.max(recovered.tickets.epoch));
    recovered.owner = owner;
    recovered.tickets.epoch = owner.epoch.0;
    recovered.drop_missing(&all);
    for key in recovered.tickets.keys() {
        files.keys().find(key)?;
    }
    if !recovered.lost.is_empty() {
        recovered.audit(files)?;
    }
    Ok(recovered)
}

impl Recovered {
    /// Begins the next life.
    pub(crate) fn begin_life(&mut self, random: u64) {
        if !mutant!("epoch_not_raised") {
            self.owner.epoch = self.owner.epoch.next(random);
        }
        self.tickets.epoch = self.owner.epoch.0;
    }

    /// Removes files that the recovered channel does not need.
    pub(crate) fn tidy(&mut self, files: &Files) -> io::Result<()> {
        self.truncate_last(files)?;
        files.remove_trimmed()?;
        files.find_reserve();
        for (id, room) in files.list()? {
            if !self.tickets.segments.iter().any(|segment| segment.record.id == id) {
                files.recycle(id, room);
            }
        }
        Ok(())
    }

    /// Replays a segment; adds puts with damaged bodies to `unsound`.
    fn replay(
        &mut self,
        files: &Files,
        read: &Read,
        since_ms: u64,
        unsound: &mut Vec<DamagedBatch>,
    ) -> io::Result<()> {
        let (id, room, first) = (read.id, read.room, self.tickets.in_flight.next());
        let end = read.scan.end;
        let key = read.key;
        let record = SegmentRecord { id, first, tickets: 0, end, room, since_ms, key };
        self.tickets.begin_segment(record, files.open(id, false)?);
        let before = (!read.scan.damaged.is_empty()).then(|| self.tickets.positions.clone());
        for frame in &read.scan.frames {
            if let Some(lost) = self.apply(frame, unsound) {
                self.lost.insert_all(&lost);
            }
        }
        self.torn_bytes += read.scan.torn_bytes;
        self.damaged += read.scan.damaged.len() as u64;
        for offset in &read.scan.damaged {
            let frames = &read.scan.frames;
            let lines = match &before {
                // A readable frame contains its own positions.
                Some(before) if frames.iter().all(|frame| frame.offset != *offset) => {
                    heal::around(before.clone(), frames, *offset)
                }
                _ => Vec::new(),
            };
            error!(
                segment = id,
                offset,
                ?lines,
                "a part of a segment file of the channel is damaged, so its events may be lost; \
                 `lines` names the files that they may have come from; check the disk"
            );
        }
        Ok(())
    }

    /// Replays one frame; answers the tickets that are missing before or in it.
    fn apply(&mut self, frame: &Scanned, unsound: &mut Vec<DamagedBatch>) -> Option<IntervalSet> {
        let envelope = frame.envelope.clone();
        let ticket = frame.header.ticket;
        match frame.header.kind {
            Kind::Put => {
                let Some(put) = PutRecord::decode(envelope) else {
                    return self.tickets.skip_to(ticket + u64::from(frame.header.tickets));
                };
                let len = frame.header.frame_len();
                let missing = self.tickets.put(ticket, frame.offset, len, &put);
                if !frame.body_sound {
                    let segment = self.tickets.segments.back().map_or(0, |last| last.record.id);
                    let (offset, len) = (frame.offset as u32, len as u32);
                    let place = Entry { offset, len, ..Entry::default() };
                    unsound.push(DamagedBatch { ticket, put, segment, place });
                }
                return missing;
            }
            Kind::Ack => self.tickets.ack(&AckRecord::decode(envelope)?),
            Kind::Consumers => self.tickets.set_consumers(decode_consumers(envelope)?),
            Kind::Forget => self.tickets.forget(&ForgetRecord::decode(envelope)?),
            Kind::State => {}
        }
        // Whatever the frame is, its ticket shows the progress of the log.
        self.tickets.skip_to(ticket)
    }

    /// Handles live segments without a file: released if everything was acknowledged, otherwise
    /// lost.
    fn drop_missing(&mut self, all: &[(u64, u64)]) {
        let TicketIndex { segments, in_flight, .. } = &mut self.tickets;
        segments.retain(|segment| {
            let there = all.iter().any(|(id, _)| *id == segment.record.id);
            let tickets = segment.record.first..segment.end();
            if !there && !in_flight.all_acked(tickets.start, tickets.end) {
                let acked = in_flight.acked_by_all(None);
                let missing = IntervalSet::from(tickets).difference(&acked);
                error!(segment = segment.record.id, tickets = ?missing.runs(),
                    "a segment file of the channel is missing, so its undelivered batches (numbers \
                     in `tickets`) are dropped; find out what deleted it");
                in_flight.strike(&missing);
                self.lost.insert_all(&missing);
            }
            there
        });
    }

    /// Handles a loss: counts the remaining events again, and removes every missing identity from
    /// the window, so that the batch may be resent.
    fn audit(&mut self, files: &Files) -> io::Result<()> {
        let settled = self.tickets.in_flight.acked_by_all(None);
        let (mut there, mut events) = (KeySet::default(), 0);
        for segment in &self.tickets.segments {
            let record = &segment.record;
            let wanted = IntervalSet::from(record.first..segment.end()).difference(&settled);
            let index = match &segment.index {
                Some(index) => index.clone(),
                None => {
                    let file = files.open(record.id, false)?;
                    let seed = files.seed(&self.owner.uuid, record.id);
                    reader::index_of(&scan(&*file, seed, BLOCK as u64, record.end)?, record)
                }
            };
            let (keys, count) = index.describe(&wanted);
            there.insert_all(&keys);
            events += count;
        }
        let mut gone = self.tickets.window.pending().clone();
        gone.remove_all(&there);
        error!(identities = gone.count(), tickets = ?self.lost.runs(),
            "damaged or missing batches (numbers in `tickets`) are dropped: agents that sent them \
             resend them, but events that this agent read from its own sources are lost; check the \
             disk");
        self.tickets.window.forget(&gone);
        self.tickets.events = events;
        Ok(())
    }

    /// The segment that was being written is final now: frees its unused end, unless the file can
    /// be reused as a whole.
    fn truncate_last(&mut self, files: &Files) -> io::Result<()> {
        let Some(last) = self.tickets.segments.back_mut() else { return Ok(()) };
        let (first, end) = (last.record.first, last.end());
        if last.record.end < last.record.room && !self.tickets.in_flight.all_acked(first, end) {
            match files.truncate(last.record.id, last.record.end) {
                Ok(()) => last.record.room = last.record.end,
                // Without the cut, the segment only keeps its unused end.
                Err(error) if is_full(&error) => {
                    warn!(segment = last.record.id, %error,
                        "cannot truncate the last segment file of the channel, so it keeps its \
                         unused space; no event is lost, no action needed");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Logs the repairs.
    pub(crate) fn report(&self, channel: &Arc<str>) {
        let (tickets, torn_bytes) = (&self.tickets, self.torn_bytes);
        let segments = tickets.segments.len();
        info!(%channel, epoch = self.owner.epoch.0, segments, events = tickets.events, torn_bytes,
            "channel opened");
    }
}
