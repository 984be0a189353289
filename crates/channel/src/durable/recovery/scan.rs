//! Reads all frames of a segment, across damage, and finds the end of the log.
//!
//! A group begins at a block and is durable before the next one is written. A frame that does not
//! verify was therefore damaged later if a sound group follows it. Otherwise the crash that ended
//! the segment tore it: it was never acknowledged, and the log ends there.

use std::io;

use bytes::Bytes;
use pipeline::env::DiskFile;

use crate::durable::log::aligned::Aligned;
use crate::durable::log::seal::KeyMark;
use crate::durable::log::segment::{BLOCK, HEADER_BYTES, Header, Seed};

/// Bytes per read.
const WINDOW: usize = 1 << 20;
/// The same if bodies are not read: a frame's header and its envelope.
const HOP: usize = 8 << 10;
/// A body of at least this size costs more to read than a seek beyond it.
const HOP_MIN: usize = 128 << 10;

/// Handling of the bodies of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bodies {
    /// Verifies each of them.
    Check,
    /// Takes them for sound: a read of one will show. Large ones are not read.
    Trust,
}

/// A frame that was found.
#[derive(Debug, Clone)]
pub(crate) struct Scanned {
    /// Its offset.
    pub(crate) offset: u64,
    /// Its header, verified.
    pub(crate) header: Header,
    /// Its envelope, verified and open.
    pub(crate) envelope: Bytes,
    /// The key with which it is sealed.
    pub(crate) key: Option<KeyMark>,
    /// True if its body is undamaged.
    pub(crate) body_sound: bool,
}

/// The contents of a segment.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Frames whose envelope is sound, in order.
    pub(crate) frames: Vec<Scanned>,
    /// The end of its last sound group; a multiple of the block.
    pub(crate) end: u64,
    /// Bytes of a torn group that differ from the earlier contents of the file.
    pub(crate) torn_bytes: u64,
    /// Places with written data that cannot be read any more.
    pub(crate) damaged: Vec<u64>,
}

/// A file seen through a buffer that moves forward: no byte is read twice.
struct Window<'a> {
    file: &'a dyn DiskFile,
    bodies: Bodies,
    buffer: Aligned,
    start: u64,
    limit: u64,
    /// Bytes per read.
    step: usize,
}

impl Window<'_> {
    /// `len` bytes from `offset` on; `None` if they reach over the limit.
    fn bytes(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>> {
        if offset + len as u64 > self.limit {
            return Ok(None);
        }
        let have = self.start + self.buffer.len() as u64;
        let is_there = offset >= self.start && offset + len as u64 <= have;
        if !is_there && !self.move_to(offset, len)? {
            return Ok(None);
        }
        let at = (offset - self.start) as usize;
        Ok(Some(&self.buffer.as_slice()[at..at + len]))
    }

    /// Moves the window to the `len` bytes from `offset` on; keeps the bytes that it already has.
    /// Returns `false` if the file is too short.
    fn move_to(&mut self, offset: u64, len: usize) -> io::Result<bool> {
        let start = offset - offset % BLOCK as u64;
        let have = self.start + self.buffer.len() as u64;
        let kept = if start < self.start { 0 } else { have.saturating_sub(start) as usize };
        let wanted = (offset - start) as usize + len;
        let most = (self.limit - start).next_multiple_of(BLOCK as u64) as usize;
        let size = wanted.next_multiple_of(BLOCK).max(kept + self.step).min(most);
        self.buffer.keep_last(kept, size);
        self.start = start;
        let read =
            self.file.read_at(&mut self.buffer.as_mut_slice()[kept..], start + kept as u64)?;
        self.buffer.set_len(kept + read);
        let is_there = kept + read >= wanted;
        if !is_there {
            self.limit = start + (kept + read) as u64;
        }
        Ok(is_there)
    }

    /// The frame at `offset`, if its header and envelope verify.
    fn frame(&mut self, offset: u64, seed: Seed<'_>) -> io::Result<Option<Scanned>> {
        let Some(header) = self.bytes(offset, HEADER_BYTES)?.and_then(Header::read) else {
            return Ok(None);
        };
        let envelope_end = HEADER_BYTES + header.envelope_len;
        // The envelope first: only a header that it vouches for may make the buffer larger.
        if header.envelope_len as u64 > self.limit - offset {
            return Ok(None);
        }
        let Some(bytes) = self.bytes(offset, envelope_end)? else { return Ok(None) };
        if !header.verify(bytes, seed, offset) {
            return Ok(None);
        }
        let key = header.key(bytes);
        let Some(envelope) = header.envelope(bytes, seed, offset)? else { return Ok(None) };
        let is_far = header.body_len >= HOP_MIN && self.bodies == Bodies::Trust;
        self.step = if is_far { HOP } else { WINDOW };
        let body_sound = match self.bodies {
            Bodies::Trust => offset + header.frame_len() as u64 <= self.limit,
            Bodies::Check => self
                .bytes(offset, envelope_end + header.body_len)?
                .is_some_and(|frame| header.verify_body(frame)),
        };
        Ok(Some(Scanned { offset, header, envelope, key, body_sound }))
    }

    /// Returns `true` if the header bytes at `offset` are zeros: the rest of the group is padding.
    fn is_padding(&mut self, offset: u64) -> io::Result<bool> {
        let to_end = BLOCK - (offset % BLOCK as u64) as usize;
        let bytes = self.bytes(offset, to_end.min(HEADER_BYTES))?;
        Ok(bytes.is_none_or(|bytes| bytes.iter().all(|byte| *byte == 0)))
    }
}

/// Reads the frames of a segment and their bodies from `start`, a multiple of the block, up to
/// `limit`.
///
/// # Errors
/// The error of the disk, or a missing key.
pub(crate) fn scan(
    file: &dyn DiskFile,
    seed: Seed<'_>,
    start: u64,
    limit: u64,
) -> io::Result<Scan> {
    scan_with(Bodies::Check, file, seed, start, limit)
}

/// Reads the frames of a segment from `start`, a multiple of the block, up to `limit`.
///
/// # Errors
/// The error of the disk, or a missing key.
pub(crate) fn scan_with(
    bodies: Bodies,
    file: &dyn DiskFile,
    seed: Seed<'_>,
    start: u64,
    limit: u64,
) -> io::Result<Scan> {
    let buffer = Aligned::default();
    let mut window = Window { file, bodies, buffer, start, limit, step: WINDOW };
    let mut found = Scan { end: start, ..Scan::default() };
    let (mut group, mut suspects) = (Vec::new(), Vec::new());
    let mut offset = start;
    while offset < limit {
        let at_block = offset.is_multiple_of(BLOCK as u64);
        let frame = window.frame(offset, seed)?;
        match frame {
            // A frame of the group that is being read, or the first of the next group.
            Some(frame) if !at_block || frame.header.opens_group || !group.is_empty() => {
                if frame.header.opens_group {
                    close_group(&mut found, &mut group, &mut suspects, offset);
                }
                if !frame.body_sound {
                    suspects.push(offset);
                }
                offset += frame.header.frame_len() as u64;
                group.push(frame);
            }
            _ => {
                if !at_block && !window.is_padding(offset)? {
                    suspects.push(offset);
                }
                // The rest of the block is padding or lost; the next group is at a block.
                offset = (offset + 1).next_multiple_of(BLOCK as u64);
                offset = next_group(&mut window, offset, seed, limit)?;
            }
        }
    }
    end_of_log(&mut found, group, &suspects);
    Ok(found)
}

/// The next block from `offset` on at which a group opens, or `limit`.
fn next_group(window: &mut Window<'_>, offset: u64, seed: Seed<'_>, limit: u64) -> io::Result<u64> {
    let mut at = offset;
    while at < limit {
        if window.frame(at, seed)?.is_some_and(|frame| frame.header.opens_group) {
            return Ok(at);
        }
        at += BLOCK as u64;
    }
    Ok(limit)
}

/// A sound group begins at `next`, so the one before it was durable, whatever it contains now.
fn close_group(found: &mut Scan, group: &mut Vec<Scanned>, suspects: &mut Vec<u64>, next: u64) {
    let known = group.last().map_or(found.end, |frame| {
        (frame.offset + frame.header.frame_len() as u64).next_multiple_of(BLOCK as u64)
    });
    if suspects.is_empty() && next > known {
        suspects.push(known);
    }
    found.frames.append(group);
    found.damaged.append(suspects);
    found.end = next;
}

/// Handles the last group: everything after its first doubtful frame was torn.
fn end_of_log(found: &mut Scan, group: Vec<Scanned>, suspects: &[u64]) {
    let torn = suspects.first().copied();
    for frame in group {
        let end = frame.offset + frame.header.frame_len() as u64;
        if torn.is_some_and(|torn| frame.offset >= torn) {
            found.torn_bytes += frame.header.frame_len() as u64;
        } else {
            found.end = end.next_multiple_of(BLOCK as u64);
            found.frames.push(frame);
        }
    }
}

#[cfg(all(test, feature = "testkit"))]
mod tests;
