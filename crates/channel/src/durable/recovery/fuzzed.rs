//! A fuzz target for the reader of frames: reads any bytes as a segment, as a start and a take do.
//!
//! Checksums keep nearly all random bytes away from the decoders. Therefore the target can insert
//! valid checksums first, which simulates a faulty writer rather than a faulty disk.

use std::io::{self, IoSlice};
use std::sync::Arc;

use pipeline::env::{DiskFile, FileStat};

use super::scan::{Scan, scan};
use crate::durable::index::segment_index::SegmentIndex;
use crate::durable::log::aligned;
use crate::durable::log::records::{
    AckRecord, ForgetRecord, PutRecord, SegmentRecord, StateRecord, decode_consumers,
};
use crate::durable::log::seal::Keyring;
use crate::durable::log::segment::{BLOCK, HEADER_BYTES, Header, Kind, Seed};
use crate::durable::read::drain_throttle::ReadIntensity;
use crate::durable::read::reader;

/// A file in memory that is only read.
struct Input(Vec<u8>);

impl DiskFile for Input {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
    fn write_at(&self, _: &[IoSlice<'_>], _: u64, _: bool) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
    fn stat(&self) -> io::Result<FileStat> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Inserts valid checksums, and tickets in order, wherever a frame seems to be.
fn fix_checksums(bytes: &mut [u8], seed: Seed<'_>) {
    let (mut at, mut ticket) = (0, 0u64);
    while let Some(header) = bytes.get(at..).and_then(Header::read) {
        let end = at + HEADER_BYTES + header.envelope_len + header.body_len;
        let Some(frame) = bytes.get_mut(at..end) else { return };
        ticket += header.ticket % 4;
        frame[16..24].copy_from_slice(&ticket.to_le_bytes());
        let body = crc32c::crc32c(&frame[HEADER_BYTES + header.envelope_len..]);
        frame[4..8].copy_from_slice(&body.to_le_bytes());
        let covered = &frame[4..HEADER_BYTES + header.envelope_len];
        let crc = crc32c::crc32c_append(seed.at(at as u64), covered);
        frame[..4].copy_from_slice(&crc.to_le_bytes());
        ticket += u64::from(header.tickets % 8);
        at += header.frame_len();
        // A block contains only one group; after a gap the next group begins at the next block.
        if bytes.get(at..).and_then(Header::read).is_none() {
            at = at.next_multiple_of(BLOCK);
        }
    }
}

fn decode(found: &Scan) -> usize {
    let mut records = 0;
    for frame in &found.frames {
        let envelope = frame.envelope.clone();
        records += usize::from(match frame.header.kind {
            Kind::Put => PutRecord::decode(envelope).is_some(),
            Kind::Ack => AckRecord::decode(envelope).is_some(),
            Kind::Consumers => decode_consumers(envelope).is_some(),
            Kind::State => StateRecord::decode(envelope).is_some(),
            Kind::Forget => ForgetRecord::decode(envelope).is_some(),
        });
    }
    records
}

/// Reads `input` as a segment; its first byte selects whether checksums are corrected. Returns the
/// number of records and events. Never panics, for any bytes.
pub fn read_segment(input: &[u8]) -> (usize, usize) {
    let Some((flags, bytes)) = input.split_first() else { return (0, 0) };
    let keys = Keyring::empty();
    let seed = Seed::new(&[0; 16], 0, &keys);
    let mut bytes = bytes.to_vec();
    if flags & 1 == 1 {
        fix_checksums(&mut bytes, seed);
    }
    let len = bytes.len() as u64;
    let file: Arc<dyn DiskFile> = Arc::new(Input(bytes));
    // A sealed frame is refused for want of its key.
    let Ok(found) = scan(&*file, seed, 0, len) else { return (0, 0) };
    let records = decode(&found);
    let (first, tickets) = (found.frames.first().map_or(0, |frame| frame.header.ticket), 0);
    let (end, key) = (found.end, None);
    let record = SegmentRecord { id: 0, first, tickets, end, room: len, since_ms: 0, key };
    let index = reader::index_of(&found, &record);
    assert_eq!(SegmentIndex::decode(&index.encode()).as_ref(), Some(&index), "it is kept as it is");
    let (mut ticket, mut events) = (first, 0);
    let buffers = aligned::buffers();
    while ticket < index.end() {
        let entries = reader::stretch(&index, ticket, ReadIntensity::Full);
        ticket += entries.len().max(1) as u64;
        let Ok(read) = reader::read(&file, seed, &entries, &buffers) else { continue };
        for batch in read.into_iter().filter_map(|batch| batch?.ok()) {
            for event in batch.iter() {
                events += 1;
                std::hint::black_box((event.body(), event.headers().count()));
            }
        }
    }
    (records, events)
}
