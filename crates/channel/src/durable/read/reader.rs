//! Reads batches from segments: one stretch of neighbours at a time, each verified separately.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use pipeline::env::DiskFile;
use pipeline::{Batch, Ticket};

use super::ahead::ReadBatch;
use super::drain_throttle::ReadIntensity;
use crate::durable::index::segment_index::{Entry, SegmentIndex};
use crate::durable::log::aligned::Buffers;
use crate::durable::log::records::{PutRecord, SegmentRecord};
use crate::durable::log::segment::{BLOCK, Header, Kind, Seed};
use crate::durable::recovery::scan::{Scan, Scanned};

/// Neighbours from `ticket` on that are worth one read.
pub(crate) fn stretch(
    index: &SegmentIndex,
    ticket: Ticket,
    intensity: ReadIntensity,
) -> Vec<(Ticket, Entry)> {
    let mut entries: Vec<(Ticket, Entry)> = Vec::new();
    for (ticket, entry) in (ticket..).map_while(|t| Some((t, *index.get(t)?))) {
        let start = entries.first().map_or(entry.offset, |(_, first)| first.offset);
        let end = u64::from(entry.offset) + u64::from(entry.len);
        let fits =
            entries.is_empty() || end.saturating_sub(u64::from(start)) <= intensity.stretch_bytes();
        if !fits || (entry.len == 0 && !entries.is_empty()) {
            break;
        }
        entries.push((ticket, entry));
    }
    entries
}

/// A put frame that was verified.
struct Opened {
    offset: u32,
    put: PutRecord,
    body: Bytes,
}

/// Reads a stretch. `None` is a damaged batch.
///
/// # Errors
/// The error of the disk, or a missing key.
pub(crate) fn read(
    file: &Arc<dyn DiskFile>,
    seed: Seed<'_>,
    entries: &[(Ticket, Entry)],
    buffers: &Arc<Buffers>,
) -> io::Result<Vec<Option<ReadBatch>>> {
    let bytes_of = |entry: &Entry| u64::from(entry.offset) + u64::from(entry.len);
    let Some((_, first)) = entries.first() else { return Ok(Vec::new()) };
    let block = BLOCK as u64;
    let start = u64::from(first.offset) / block * block;
    let end = entries.iter().map(|(_, entry)| bytes_of(entry)).max().unwrap_or(start);
    let len = ((end - start).next_multiple_of(block)) as usize;
    let mut buffer = buffers.get(len);
    buffer.set_len(len);
    let read = file.read_at(buffer.as_mut_slice(), start)?;
    buffer.set_len(read);
    let bytes = Bytes::from_owner(buffer);
    let mut opened: Option<Opened> = None;
    let mut batch = |entry: &Entry| -> io::Result<Option<ReadBatch>> {
        // The batches of one put are in one frame, which is verified once.
        if opened.as_ref().is_none_or(|opened| opened.offset != entry.offset) {
            let from = (u64::from(entry.offset) - start) as usize;
            let to = (bytes_of(entry) - start) as usize;
            let whole = entry.len > 0 && to <= bytes.len();
            opened = if whole { open(&bytes.slice(from..to), seed, entry)? } else { None };
        }
        Ok(opened.as_ref().and_then(|frame| item_of(frame, entry.item)))
    };
    entries.iter().map(|(_, entry)| batch(entry)).collect()
}

/// The frame that `entry` names; `None` if a checksum or a seal is wrong.
fn open(frame: &Bytes, seed: Seed<'_>, entry: &Entry) -> io::Result<Option<Opened>> {
    let offset = u64::from(entry.offset);
    let Some(header) = Header::read(frame) else { return Ok(None) };
    let fits = header.frame_len() == frame.len() && header.kind == Kind::Put;
    if !fits || !header.verify(frame, seed, offset) || !header.verify_body(frame) {
        return Ok(None);
    }
    let Some((envelope, body)) = header.contents(frame, seed, offset)? else { return Ok(None) };
    let put = PutRecord::decode(envelope);
    Ok(put.map(|put| Opened { offset: entry.offset, put, body }))
}

/// A batch of a frame: the `nth` with events.
fn item_of(frame: &Opened, nth: u16) -> Option<ReadBatch> {
    let mut start = 0;
    let mut with_events = frame.put.items.iter().filter(|item| item.events > 0);
    for _ in 0..nth {
        start += with_events.next()?.body_len as usize;
    }
    let item = with_events.next()?;
    let end = start.checked_add(item.body_len as usize)?;
    let bytes = (end <= frame.body.len()).then(|| frame.body.slice(start..end))?;
    let bytes = match item.packed {
        None => bytes,
        Some(packed) => packed.unpack(&bytes)?,
    };
    Some(Batch::decode(bytes).map(|mut batch| {
        batch.envelope.identity = item.identity;
        batch
    }))
}

/// The index of a segment, from its frames.
pub(crate) fn index_of(scan: &Scan, record: &SegmentRecord) -> SegmentIndex {
    let mut index = SegmentIndex::starting_at(record.first);
    for frame in &scan.frames {
        add_to_index(&mut index, frame, record.since_ms);
    }
    index.skip_to(record.first + record.tickets);
    index
}

fn add_to_index(index: &mut SegmentIndex, frame: &Scanned, since_ms: u64) {
    if frame.header.kind != Kind::Put || frame.header.ticket < index.end() {
        return;
    }
    let Some(put) = PutRecord::decode(frame.envelope.clone()) else { return };
    index.skip_to(frame.header.ticket);
    let after_ms = u32::try_from(put.at_ms.saturating_sub(since_ms)).unwrap_or(u32::MAX);
    let (offset, len) = (frame.offset as u32, frame.header.frame_len() as u32);
    for (item, put) in (0..).zip(put.items.iter().filter(|item| item.events > 0)) {
        let entry = Entry { offset, len, events: put.events, after_ms, item };
        index.push(entry, put.identity);
    }
}
