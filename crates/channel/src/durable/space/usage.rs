//! Effective capacity, its reserved part, and the reason for a stopped intake.

use support::failure_log::FailureLog;

use super::capacity::Lack;
use super::fill_rate::FillRate;
use super::intake_stop::IntakeStop;
use super::open_segment::Open;
use crate::reservations::Reservations;

/// The room that the channel may use, and its limits.
#[derive(Default)]
pub(crate) struct Usage {
    pub(crate) room: Reservations,
    /// Effective capacity: as configured, or as the disk allows.
    pub(crate) capacity_bytes: u64,
    /// The part reserved for the next segments.
    pub(crate) reserve_bytes: u64,
    /// True if the disk has no room for a new segment.
    pub(crate) disk_full: bool,
    /// The resource that the disk lacks.
    pub(crate) lack: Lack,
    /// The state of the open segment.
    pub(crate) open: Open,
    /// A new segment may begin although the open one is not full.
    pub(crate) renew: bool,
    /// How long the intake has been stopped.
    pub(crate) standstill: IntakeStop,
    /// The rate at which the channel fills.
    pub(crate) fill_rate: FillRate,
    /// Looks at the disk that found no room.
    pub(crate) no_room: FailureLog,
}
