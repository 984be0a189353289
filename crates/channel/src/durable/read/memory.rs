//! State that reads share: batches in memory, and the pace of the consumers.

use super::ahead::ReadAhead;
use super::drain_throttle::DrainThrottle;
use super::tail::Tail;
use super::wakeups::Wakeups;

/// Batches in memory, and how consumers read.
pub(crate) struct ReadMemory {
    /// The newest batches.
    pub(crate) tail: Tail,
    /// Batches read ahead of the consumers of a backlog.
    pub(crate) ahead: ReadAhead,
    /// Decides which puts wake consumers.
    pub(crate) wakeups: Wakeups,
    /// The pace of a backlog.
    pub(crate) throttle: DrainThrottle,
}

impl ReadMemory {
    /// Creates an empty state with this tail.
    pub(crate) fn new(tail: Tail) -> Self {
        let (ahead, wakeups) = (ReadAhead::default(), Wakeups::default());
        Self { tail, ahead, wakeups, throttle: DrainThrottle::default() }
    }
}
