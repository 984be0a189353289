//! The capacity of a channel.

/// The largest section of the log, and the most that is replayed at an opening, about.
const SECTION_MAX: u64 = 16 << 20;

/// Capacity of the channel.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of frames that are not released. Puts wait beyond.
    pub capacity_bytes: u64,
    /// Events that some consumer has not committed.
    pub capacity_events: u64,
    /// Bytes of the newest batches that stay in memory.
    pub tail_bytes: u64,
}

impl Limits {
    pub(super) fn section_bytes(&self) -> u64 {
        SECTION_MAX.min(self.capacity_bytes / 8)
    }
}
