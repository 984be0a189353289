//! A damaged batch whose lines are still in their file is made whole from there.
//!
//! What was damaged stays what it is: the same frame, ticket and identity. Only the bytes of its lines
//! are put in again, and the checksum of the frame says whether that made it whole, so nothing
//! repeats whatever became of the batch before, and nothing that is not the same goes on.
//!
//! ```text
//! frame   header │ envelope: identity, positions │ body: headers, lengths, lines
//!                              │ behind it, and the position before it      ▲
//!                              ▼                                            │
//!         file   ─────────────[from ·················· to)──────────────────┘
//! ```
//!
//! It can be done where the envelope is sound, the lines stand in the body as in the file (neither
//! compressed nor sealed, not changed by an interceptor), and the file still holds them. Elsewhere the
//! batch is given up, and these positions name what was in it.

use std::io;

use pipeline::env::{Disk, DiskFile};
use pipeline::file_position::Stretch;

use super::aligned::Aligned;
use super::index::Entry;
use super::records::{PutRecord, StateRecord};
use super::scan::{Bodies, scan_with};
use super::segment::{BLOCK, HEADER_BYTES, Header, Kind, Seed};
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

    /// Where the lines of the `nth` batch with events stood, for people; empty if another agent sent
    /// it.
    pub(crate) fn lines(&self, nth: usize) -> Vec<String> {
        let Some(item) = self.items.get(nth) else { return Vec::new() };
        let stretches = item.stretches.iter().filter(|at| at.from < at.to).map(Stretch::to_string);
        stretches.chain(item.others.iter().map(|source| format!("source {source}"))).collect()
    }
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

/// Where the sources stood before the frame at `offset`: as the segment began, and what came behind.
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
