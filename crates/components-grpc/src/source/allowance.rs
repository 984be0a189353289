//! Memory that this agent uses for its senders: counted before it is used, and limited for each
//! stream and for all of them.
//!
//! ```text
//!  all streams   ├─── shared: `remembered_max` ───┤ and SMALL more for each stream
//!  one stream    ├── a quarter of it ──┤
//! ```
//!
//! A stream uses memory for the epochs and runs that its sender waits for, for the origins that it
//! follows, and for their part of Welcome. An ordinary edge needs only its own SMALL part: a sender
//! that uses all of the shared part keeps no edge out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::Gauge;
use thiserror::Error;
use wire::keys::Extent;

/// Bytes that each stream has for itself: about eight epochs.
const SMALL: u64 = 4 << 10;
/// Bytes of an epoch: in the awaited batches and in the mailbox; during a Hello also in the query,
/// in both answers and in their encoding.
const LIFE: u64 = 320;
/// Bytes of each further run of an epoch, counted in the same way.
const RUN: u64 = 96;
/// Bytes of a followed origin: in its subscription and in the table of all origins.
const ORIGIN: u64 = 176;
/// Bytes of floors in memory for each of their bytes in a Hello.
const FLOORS: u64 = 4;
/// Excess of a stream's share over its count, so that not every put needs a new count.
const SLACK: u64 = 2 << 10;

/// Memory limit of all streams.
#[derive(Debug)]
pub(super) struct Allowance {
    max: u64,
    used: AtomicU64,
    shown: Gauge,
}

/// Reason why a stream may not use more memory.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Over {
    /// The stream exceeds its own limit.
    #[error(
        "tracking the undelivered batches of this sender needs {bytes} bytes, over the limit of \
         {max} for one connection; if this is expected, raise `remembered_max` of this source"
    )]
    Stream {
        /// Bytes that it would use.
        bytes: u64,
        /// Bytes that it may use.
        max: u64,
    },
    /// All streams together exceed the limit.
    #[error(
        "tracking the undelivered batches of this sender needs {bytes} bytes, but other \
         connections leave {left} of `remembered_max`; the sender retries; if this lasts, raise \
         `remembered_max` of this source"
    )]
    All {
        /// Bytes that it would use.
        bytes: u64,
        /// Bytes that are left.
        left: u64,
    },
}

impl Allowance {
    /// Allows `max` bytes in addition to each stream's own part; `shown` counts them.
    pub(super) fn new(max: u64, shown: Gauge) -> Arc<Self> {
        Arc::new(Self { max, used: AtomicU64::new(0), shown })
    }

    /// Returns the share of a new stream, which is empty.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share { of: self.clone(), bytes: 0, put: 0 }
    }
}

/// Memory of one stream; released when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    of: Arc<Allowance>,
    bytes: u64,
    /// Upper bound of its use: the last count and all puts since.
    put: u64,
}

impl Share {
    /// Changes its size to `bytes`.
    ///
    /// # Errors
    /// Fails if that exceeds a limit; its size stays the same.
    fn hold(&mut self, bytes: u64) -> Result<(), Over> {
        let max = self.of.max / 4 + SMALL;
        if bytes > self.bytes && bytes > max {
            return Err(Over::Stream { bytes, max });
        }
        let common = |bytes: u64| bytes.saturating_sub(SMALL);
        let (less, more) = (common(self.bytes), common(bytes));
        let change =
            |used: u64| Some(used - less + more).filter(|now| more <= less || *now <= self.of.max);
        let changed = self.of.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
        changed.map_err(|used| Over::All { bytes, left: self.of.max.saturating_sub(used) })?;
        self.of.shown.inc_by(bytes as i64 - self.bytes as i64);
        self.bytes = bytes;
        Ok(())
    }

    /// Reserves memory for a Hello before it is decoded.
    ///
    /// # Errors
    /// See [`Share::hold`].
    pub(super) fn ask(&mut self, asked: Extent, floors_bytes: usize) -> Result<(), Over> {
        let origins = asked.lives.saturating_mul(ORIGIN);
        let more = [cost(asked), origins, floors_bytes as u64 * FLOORS];
        self.hold(more.into_iter().fold(self.bytes, u64::saturating_add))
    }

    /// Sets its size by a new count of awaited batches and followed origins.
    ///
    /// # Errors
    /// See [`Share::hold`].
    pub(super) fn count(&mut self, awaited: Extent, origins: usize) -> Result<(), Over> {
        let bytes = cost(awaited) + origins as u64 * ORIGIN;
        self.put = bytes;
        // Without the slack, the next count is due earlier, but the stream continues.
        self.hold(bytes + bytes / 4 + SLACK).or_else(|_| self.hold(bytes))
    }

    /// Records one more batch; returns true if a new count is due.
    pub(super) fn put(&mut self) -> bool {
        self.put += LIFE + ORIGIN;
        self.put > self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // A smaller size is always allowed.
        let _ = self.hold(0);
    }
}

fn cost(extent: Extent) -> u64 {
    let further = extent.runs.saturating_sub(extent.lives);
    extent.lives.saturating_mul(LIFE).saturating_add(further.saturating_mul(RUN))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn lives(lives: u64) -> Extent {
        Extent { lives, runs: lives }
    }

    #[test]
    fn a_relay_is_welcome_and_one_that_is_far_beyond_any_is_not() {
        let shown = Gauge::default();
        let allowance = Allowance::new(64 * MIB, shown.clone());
        let mut relay = allowance.share();
        relay.ask(lives(25_000), 10_000 * 20).unwrap();
        relay.count(lives(25_000), 10_000).unwrap();
        let mut hostile = allowance.share();
        let refused = hostile.ask(lives(800_000), 0);
        assert!(matches!(refused, Err(Over::Stream { .. })), "{refused:?}");
        let one = shown.get();
        assert!((1..17 * MIB as i64).contains(&one), "{one}");
        drop(relay);
        assert_eq!(shown.get(), 0);
        drop(hostile);
        assert_eq!((shown.get(), allowance.used.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn who_takes_all_that_is_common_keeps_no_edge_out() {
        let allowance = Allowance::new(MIB, Gauge::default());
        let mut greedy: Vec<Share> = (0..9).map(|_| allowance.share()).collect();
        let welcome = greedy.iter_mut().filter_map(|one| one.ask(lives(500), 0).ok()).count();
        assert_eq!(welcome, 4, "a quarter for each");
        let full = greedy[8].ask(lives(500), 0);
        assert!(matches!(full, Err(Over::All { .. })), "{full:?}");
        let mut edge = allowance.share();
        edge.ask(lives(2), 40).unwrap();
        edge.count(lives(2), 1).unwrap();
        for _ in 0..10_000 {
            if edge.put() {
                edge.count(lives(2), 1).unwrap();
            }
        }
        greedy.remove(0);
        greedy[7].ask(lives(500), 0).unwrap();
    }

    #[test]
    fn numbers_beyond_all_measure_are_refused_and_do_not_wrap() {
        let allowance = Allowance::new(u64::MAX / 2, Gauge::default());
        let extent = Extent { lives: u64::MAX / 400, runs: u64::MAX };
        assert!(matches!(allowance.share().ask(extent, 0), Err(Over::Stream { .. })));
    }
}
