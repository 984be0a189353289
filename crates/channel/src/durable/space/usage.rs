//! Capacity in force, what of it is reserved, and whether the intake has stopped for want of it.

use pipeline::BatchSize;
use support::failure_log::FailureLog;

use super::capacity::Lack;
use super::fill_rate::FillRate;
use super::full_disk::Open;
use super::standstill::Standstill;

/// What the channel may use, and what keeps it from more.
#[derive(Default)]
pub(crate) struct Usage {
    /// Room that puts have asked for and not used yet.
    pub(crate) reserved: BatchSize,
    /// Capacity in force: as configured, or what the disk allows.
    pub(crate) capacity_bytes: u64,
    /// What of it is kept for the next segments.
    pub(crate) reserve_bytes: u64,
    /// Whether the disk has no room for a new segment.
    pub(crate) disk_full: bool,
    /// What it has no more of.
    pub(crate) lack: Lack,
    /// How far the segment that is written goes.
    pub(crate) open: Open,
    /// A new segment may begin although the open one is not full.
    pub(crate) renew: bool,
    /// The last put that there was no room for; nothing once there was room again.
    pub(crate) refused: Option<BatchSize>,
    /// How long the intake has been stopped.
    pub(crate) standstill: Standstill,
    /// How fast the channel fills.
    pub(crate) fill_rate: FillRate,
    /// Looks at the disk that found no room.
    pub(crate) no_room: FailureLog,
}
