//! Reads batches from segments: one stretch of neighbours at a time, each verified on its own.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use pipeline::Ticket;
use pipeline::env::DiskFile;

use super::aligned::Aligned;
use super::index::{Entry, SegmentIndex};
use super::records::{PutRecord, SegmentRecord};
use super::scan::{Scan, Scanned};
use super::segment::{BLOCK, HEADER_BYTES, Header, Kind, Seed};
use super::tail::StoredBatch;

/// Bytes read at once, unless one frame is larger.
pub(crate) const STRETCH_BYTES: u64 = 1 << 20;

/// Neighbours from `ticket` on that are worth one read.
pub(crate) fn stretch(index: &SegmentIndex, ticket: Ticket) -> Vec<(Ticket, Entry)> {
    let mut entries: Vec<(Ticket, Entry)> = Vec::new();
    for (ticket, entry) in (ticket..).map_while(|t| Some((t, *index.get(t)?))) {
        let start = entries.first().map_or(entry.offset, |(_, first)| first.offset);
        let end = u64::from(entry.offset) + u64::from(entry.len);
        let fits = entries.is_empty() || end.saturating_sub(u64::from(start)) <= STRETCH_BYTES;
        if !fits || (entry.len == 0 && !entries.is_empty()) {
            break;
        }
        entries.push((ticket, entry));
    }
    entries
}

/// Reads a stretch. `None` stands for a batch that is not as it was written.
///
/// # Errors
/// As the disk says.
pub(crate) fn read(
    file: &Arc<dyn DiskFile>,
    seed: Seed,
    entries: &[(Ticket, Entry)],
) -> io::Result<Vec<(Ticket, Option<StoredBatch>)>> {
    let bytes_of = |entry: &Entry| u64::from(entry.offset) + u64::from(entry.len);
    let Some((_, first)) = entries.first() else { return Ok(Vec::new()) };
    let block = BLOCK as u64;
    let start = u64::from(first.offset) / block * block;
    let end = entries.iter().map(|(_, entry)| bytes_of(entry)).max().unwrap_or(start);
    let mut buffer = Aligned::with_capacity((end - start) as usize);
    buffer.set_len(((end - start).next_multiple_of(block)) as usize);
    let read = file.read_at(buffer.as_mut_slice(), start)?;
    buffer.set_len(read);
    let bytes = Bytes::from_owner(buffer);
    let batch = |entry: &Entry| {
        let from = (u64::from(entry.offset) - start) as usize;
        let to = (bytes_of(entry) - start) as usize;
        let whole = entry.len > 0 && to <= bytes.len();
        whole.then(|| item_of(&bytes.slice(from..to), seed, entry)).flatten()
    };
    Ok(entries.iter().map(|(ticket, entry)| (*ticket, batch(entry))).collect())
}

/// The batch that `entry` names, out of its frame; `None` if a checksum is wrong.
fn item_of(frame: &Bytes, seed: Seed, entry: &Entry) -> Option<StoredBatch> {
    let header = Header::read(frame)?;
    let fits = header.frame_len() == frame.len() && header.kind == Kind::Put;
    if !fits || !header.verify(frame, seed, u64::from(entry.offset)) || !header.verify_body(frame) {
        return None;
    }
    let envelope_end = HEADER_BYTES + header.envelope_len;
    let put = PutRecord::decode(frame.slice(HEADER_BYTES..envelope_end))?;
    let body = frame.slice(envelope_end..envelope_end + header.body_len);
    let mut start = 0;
    let mut with_events = put.items.iter().filter(|item| item.events > 0);
    for _ in 0..entry.item {
        start += with_events.next()?.body_len as usize;
    }
    let item = with_events.next()?;
    let end = start.checked_add(item.body_len as usize)?;
    let bytes = (end <= body.len()).then(|| body.slice(start..end))?;
    let bytes = match item.plain_len {
        None => bytes,
        // Never more than the writer said, whatever the bytes would unfold to.
        Some(plain) => zstd::bulk::decompress(&bytes, plain as usize).ok()?.into(),
    };
    Some(StoredBatch { identity: item.identity.map(|(identity, _)| identity), bytes })
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
        index.push(entry, put.identity.map(|(identity, _)| identity));
    }
}
