//! Lines of several files in one batch.
//!
//! Where many files are followed there is often little to read of each. As a batch of its own that
//! little would be stored, sent and stored again at the price of much. So it is read to where the
//! lines of the file before it end, and goes on with them:
//!
//! ```text
//! buffer   lines of a ⏎│ lines of b ⏎│ lines of c ⏎│ beginning of a line of c
//! file       a × 700   │    b × 31   │   c × 250   └ read over by what comes next
//! ```
//!
//! # Invariants
//!
//! 1. A file is in a bundle once, and nothing of it is on its way: a bundle waits for nothing.
//! 2. The parts of a batch, and the positions behind them, are in the order of its lines.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pipeline::SourcePosition;
use pipeline::env::DiskFile;
use support::pool::Room;

use super::buffers::Buffers;
use super::lines::{Limits, Lines};
use super::tailer::{Chunk, Part};

/// Most bytes of a bundle, where batches may be larger.
const BYTES_MAX: usize = 1 << 20;
/// The share of a bundle that is little. More than that is worth a batch of its own.
const LITTLE: usize = 4;

/// Lines of several files, end to end, on their way into a batch.
pub(super) struct Bundle {
    bytes_max: usize,
    events_max: usize,
    /// Header that gets the path of each line's file.
    header: Option<Arc<str>>,
    /// Where the lines lie; none while nothing was read.
    room: Option<Room>,
    /// Bytes of the lines.
    filled: usize,
    /// Bytes of the paths, which are in the batch too.
    path_bytes: usize,
    /// Bytes of the last read, behind the lines.
    read: usize,
    lines: Lines,
    /// For the header: the path of each part's file, and how many lines are of it.
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

    /// Batches are made within these limits from now on. Nothing is bundled when it is called.
    pub(super) fn limit(&mut self, limits: Limits) {
        self.bytes_max = limits.batch_bytes.min(BYTES_MAX);
        self.events_max = limits.batch_events;
        self.room = None;
    }

    /// Whether a read of that many bytes is little.
    pub(super) fn is_little(&self, bytes: usize) -> bool {
        bytes <= self.bytes_max / LITTLE
    }

    /// Whether a read of that many bytes has room behind the lines. What is little has room in an
    /// empty one.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.filled + self.path_bytes + bytes <= self.bytes_max
    }

    /// Reads up to `bytes` of `file` at `offset`, which [fit](Self::fits), to where the lines end;
    /// fewer only at its end. What was read there before and is not [taken in](Self::push) is lost.
    ///
    /// # Errors
    /// As the system says.
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

    /// What was read last.
    pub(super) fn last_read(&self) -> &[u8] {
        let room = self.room.as_deref().unwrap_or_default();
        &room[self.filled..self.filled + self.read]
    }

    /// Whether a batch may have so many lines more.
    pub(super) fn may_have(&self, lines: &Lines) -> bool {
        self.lines.len() + lines.len() <= self.events_max
    }

    /// Takes in lines of what was read last, the only ones of their file, which lie `at` there.
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

    /// The lines as a batch; none if there are none.
    pub(super) fn finish(&mut self) -> Option<Chunk> {
        if self.parts.is_empty() {
            return None;
        }
        // A batch keeps all of its buffer: little goes into one of its own.
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

    /// Gives its memory back.
    pub(super) fn release(&mut self) {
        if self.parts.is_empty() {
            self.room = None;
        }
    }
}
