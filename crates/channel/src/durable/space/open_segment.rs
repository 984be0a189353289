//! The room of the open segment, and the part of it that puts leave to commits.

use crate::durable::log::segment::BLOCK;

/// Room at the end of a segment for commits, if the segment is not small …
const ACKS_ROOM: u64 = 256 << 10;
/// … or begins with much.
const OPENINGS_KEPT: u64 = 2;

/// Returns the room at the end of a segment that puts leave to commits, and to the beginning of the
/// next segment, for the case that there is no next one.
pub(crate) fn acks_room(room: u64, opening: u64) -> u64 {
    ACKS_ROOM.max(opening * OPENINGS_KEPT).min(room / 4)
}

/// The room of the open segment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Open {
    /// Size of its file; 0 while there is no segment.
    pub(crate) room: u64,
    /// The offset of its first group.
    pub(crate) begun_at: u64,
    /// The room at its end that puts leave to commits.
    pub(crate) acks: u64,
    /// It is shorter than usual.
    pub(crate) short: bool,
    /// The file of the next segment exists.
    pub(crate) next_ready: bool,
}

/// Returns the room for a put of `bytes`, including the part that puts leave to commits.
pub(crate) fn with_acks(bytes: u64) -> u64 {
    (bytes + BLOCK as u64) * 4 / 3
}
