//! The results of an inspection, as the operator's program prints them.

use std::collections::BTreeMap;

use pipeline::{IntervalSet, Ticket};
use serde::Serialize;

use crate::durable::log::records::SegmentRecord;
use crate::durable::recovery::scan::{Scan, Scanned};

/// Statistics of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Format of the directory.
    pub format: u16,
    /// Origin of the batches that were born here.
    pub origin: String,
    /// Its last life.
    pub epoch: u64,
    /// Number of starts.
    pub starts: u64,
    /// Events that some consumer has not committed.
    pub events: u64,
    /// Batches that some consumer has not committed.
    pub batches: u64,
    /// Live segments.
    pub segments: u64,
    /// Their size on disk.
    pub bytes: u64,
    /// Bytes that count against the channel's capacity, as in its metrics.
    pub used_bytes: u64,
    /// When the oldest event that some consumer has not committed was stored, in milliseconds since
    /// 1970; nothing without one.
    pub oldest_at_ms: Option<u64>,
    /// For each consumer, how many batches it has not committed.
    pub consumers: BTreeMap<String, u64>,
    /// Identities that would be recognised.
    pub identities: u64,
    /// Number of keys of sources with a known position.
    pub positions: u64,
    /// Numbers of the encryption keys that live segments are sealed with.
    pub encryption_keys: Vec<u32>,
}

/// The soundness of a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Frames that were read and are as they were written.
    pub sound_frames: u64,
    /// Damaged places, as segment and offset, whose data may be missing.
    pub damaged: Vec<(u64, u64)>,
    /// Damaged places without a loss: the batches were delivered or given up, or a later state
    /// contains the data.
    pub done_with: Vec<(u64, u64)>,
    /// Batches that cannot be read any more, as ranges of tickets, each half open.
    pub lost: Vec<(Ticket, Ticket)>,
    /// Bytes that a crash tore off the end: they were never acknowledged.
    pub torn_bytes: u64,
    /// Lines of damaged batches that their files still contain, as file and bytes: the next start
    /// of the agent, or a repair, restores these batches.
    pub mendable: Vec<String>,
    /// Lines of damaged batches that are lost, as file and bytes: they are not resent.
    pub given_up: Vec<String>,
}

impl Report {
    /// Returns `true` if nothing is damaged or lost. A torn end results from a crash and is not
    /// damage.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.lost.is_empty() && self.mendable.is_empty()
    }
}

/// Returns the tickets of a damaged place: the tickets in its frame if they can be read, or all
/// tickets between its neighbours.
pub(super) fn tickets_at(found: &Scan, record: &SegmentRecord, offset: u64) -> IntervalSet {
    let end_of = |frame: &Scanned| frame.header.ticket + u64::from(frame.header.tickets);
    let after = found.frames.partition_point(|frame| frame.offset < offset);
    let before = found.frames[..after].last().map_or(record.first, end_of);
    match found.frames.get(after) {
        Some(frame) if frame.offset == offset => (frame.header.ticket..end_of(frame)).into(),
        Some(next) => (before..next.header.ticket.max(before)).into(),
        None => (before..(record.first + record.tickets).max(before)).into(),
    }
}
