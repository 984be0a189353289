//! Lines on their way from a read to the channels.

use pipeline::Batch;

use super::file::FileId;

/// Lines in flight, or a note about a file.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    /// Lines with the positions after them; a note has no lines.
    pub(super) batch: Batch,
    /// The channels that lack it; `None` = all.
    pub(super) targets: Option<Vec<usize>>,
    /// Its parts, in the order of the positions. If there are several, their files have nothing
    /// else in flight.
    pub(super) parts: Vec<Part>,
}

/// Part of a chunk that belongs to one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) file: FileId,
    /// The offset after it; `None` makes the channels forget the file.
    pub(super) end: Option<u64>,
    /// Bytes of its lines.
    pub(super) bytes: u64,
    /// True if it is the last part of its read.
    pub(super) ends_read: bool,
}

impl Chunk {
    /// Bytes of its lines.
    pub(super) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

/// Result of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The end of the file was reached, or the file cannot be read now.
    End,
    /// There may be more.
    More,
    /// Nothing was read: the bundle has no room and must be finished first.
    BundleFull,
}
