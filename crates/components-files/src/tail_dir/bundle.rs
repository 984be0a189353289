//! Lines of several files in one batch.
//!
//! An agent that follows many files often reads little from each. Storing and sending each small
//! read as a separate batch is expensive. So a read appends to the lines of the file before it:
//!
//! ```text
//! buffer   lines of a ⏎│ lines of b ⏎│ lines of c ⏎│ beginning of a line of c
//! file       a × 700   │    b × 31   │   c × 250   └ overwritten by the next read
//! ```
//!
//! # Invariants
//!
//! 1. A file is in a bundle once, and has no other chunk in flight: a bundle waits for nothing.
//! 2. The parts of a batch and their positions are in the order of its lines.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pipeline::SourcePosition;
use pipeline::env::DiskFile;
use support::pool::Room;

use super::buffers::Buffers;
use super::chunk::{Chunk, Part};
use super::lines::{Limits, Lines};

/// Maximum size of a bundle, even if batches may be larger.
const BYTES_MAX: usize = 1 << 20;
/// Divisor of the bundle size below which a read is small. A larger read gets its own batch.
const LITTLE: usize = 4;

/// Lines of several files, end to end, for one batch.
pub(super) struct Bundle {
    bytes_max: usize,
    events_max: usize,
    /// Name of the header with the path of each line's file.
    header: Option<Arc<str>>,
    /// Buffer of the lines; `None` until the first read.
    room: Option<Room>,
    /// Bytes of the lines.
    filled: usize,
    /// Bytes of the paths, which the batch contains too.
    path_bytes: usize,
    /// Bytes of the last read, after the lines.
    read: usize,
    lines: Lines,
    /// For the header: the path of each part's file, and its number of lines.
    paths: Vec<(String, usize)>,
    positions: Vec<SourcePosition>,
    parts: Vec<Part>,
}

impl Bundle {
    pub(super) fn new(limits: Limits, header: Option<&str>) -> Self {
        Self {
            bytes_max: limits.batch_bytes.min(BYTES_MAX),
            events_max: limits.batch_events,
            header: header.map(Arc::from),
            room: None,
            filled: 0,
            path_bytes: 0,
            read: 0,
            lines: Lines::default(),
            paths: Vec::new(),
            positions: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// Sets the limits of the next batches. Call it only while the bundle is empty.
    pub(super) fn limit(&mut self, limits: Limits) {
        self.bytes_max = limits.batch_bytes.min(BYTES_MAX);
        self.events_max = limits.batch_events;
        self.room = None;
    }

    /// Returns true if a read of `bytes` bytes is small.
    pub(super) fn is_little(&self, bytes: usize) -> bool {
        bytes <= self.bytes_max / LITTLE
    }

    /// Returns true if a read of `bytes` bytes fits after the lines. A small read always fits into
    /// an empty bundle.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.filled + self.path_bytes + bytes <= self.bytes_max
    }

    /// Reads up to `bytes` of `file` at `offset` to the end of the lines; fewer only at the end of
    /// the file. The read must [fit](Self::fits). It overwrites an earlier read that was not
    /// [added](Self::push).
    ///
    /// # Errors
    /// Returns the operating system's error.
    pub(super) fn read(
        &mut self,
        file: &dyn DiskFile,
        offset: u64,
        bytes: usize,
        buffers: &Buffers,
    ) -> io::Result<&[u8]> {
        let room = self.room.get_or_insert_with(|| buffers.room(self.bytes_max));
        self.read = file.read_at(&mut room[self.filled..self.filled + bytes], offset)?;
        Ok(self.last_read())
    }

    /// Returns the bytes of the last read.
    pub(super) fn last_read(&self) -> &[u8] {
        let room = self.room.as_deref().unwrap_or_default();
        &room[self.filled..self.filled + self.read]
    }

    /// Returns true if a batch may have `lines` in addition.
    pub(super) fn may_have(&self, lines: &Lines) -> bool {
        self.lines.len() + lines.len() <= self.events_max
    }

    /// Adds lines of the last read, all of one file; `at` is their place in that read.
    pub(super) fn push(
        &mut self,
        at: Range<usize>,
        lines: Lines,
        path: &str,
        position: SourcePosition,
        part: Part,
    ) {
        let Some(room) = &mut self.room else { return };
        let (start, bytes) = (self.filled, at.len());
        if at.start > 0 {
            room.copy_within(start + at.start..start + at.end, start);
        }
        self.filled += bytes;
        if self.header.is_some() {
            self.path_bytes += path.len();
            self.paths.push((path.to_owned(), lines.len()));
        }
        self.lines.append(&room[..start], lines, &room[start..start + bytes]);
        self.positions.push(position);
        self.parts.push(part);
    }

    /// Bytes of the lines.
    pub(super) fn bytes(&self) -> u64 {
        self.filled as u64
    }

    /// Returns the lines as a batch, or `None` if there are no lines.
    pub(super) fn finish(&mut self) -> Option<Chunk> {
        if self.parts.is_empty() {
            return None;
        }
        // A batch keeps its whole buffer: copy few lines into a smaller one.
        let is_much = self.filled * 2 >= self.bytes_max;
        let bodies = match self.room.take_if(|_| is_much) {
            Some(mut room) => {
                room.truncate(self.filled);
                Bytes::from_owner(room)
            }
            None => {
                let room = self.room.as_deref().unwrap_or_default();
                Bytes::copy_from_slice(&room[..self.filled])
            }
        };
        (self.filled, self.path_bytes, self.read) = (0, 0, 0);
        let mut batch = std::mem::take(&mut self.lines).into_batch(bodies);
        if let Some(header) = &self.header {
            let paths = self.paths.iter().map(|(path, events)| (Some(path.as_str()), *events));
            batch.set_runs(header, paths);
        }
        self.paths.clear();
        batch.envelope.positions = std::mem::take(&mut self.positions);
        Some(Chunk { batch, targets: None, parts: std::mem::take(&mut self.parts) })
    }

    /// Frees the buffer.
    pub(super) fn release(&mut self) {
        if self.parts.is_empty() {
            self.room = None;
        }
    }
}
