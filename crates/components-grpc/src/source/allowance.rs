//! What senders make this agent remember, in bytes: counted before it is remembered, and bounded
//! for each stream and for all of them.
//!
//! ```text
//!  all streams   ├──── common: `remembered_max` ────┤ and SMALL more for each stream
//!  one stream    ├── a quarter of it ──┤
//! ```
//!
//! A stream is remembered by the lives and runs that its sender waits for, by the origins that it
//! follows, and by what Welcome says of them. What an ordinary edge needs for that is its own: a
//! sender that takes all that is common keeps no edge out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::Gauge;
use thiserror::Error;
use wire::keys::Extent;

/// Bytes that each stream has for itself: some eight lives.
const SMALL: u64 = 4 << 10;
/// Bytes of a life: in what is awaited and in the letterbox; at a Hello also in what was asked, in
/// both answers and in their encoding.
const LIFE: u64 = 320;
/// Bytes of each further run of a life, by the same count.
const RUN: u64 = 96;
/// Bytes of an origin that is followed: in its subscription and in the table of all.
const ORIGIN: u64 = 176;
/// Bytes of floors in memory for each byte of theirs in a Hello.
const FLOORS: u64 = 4;
/// What a stream's share exceeds its count by, so that it is not counted at each put.
const SLACK: u64 = 2 << 10;

/// What may be remembered because of all streams.
#[derive(Debug)]
pub(super) struct Allowance {
    max: u64,
    used: AtomicU64,
    shown: Gauge,
}

/// Why a stream may not make this agent remember more.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Over {
    /// Alone it has too much.
    #[error(
        "the sender holds so many unsettled batches apart that to remember them takes {bytes} \
         bytes, over the {max} of one connection; where that is right, raise `remembered_max` of \
         this source"
    )]
    Stream {
        /// What it would come to.
        bytes: u64,
        /// What it may be.
        max: u64,
    },
    /// Together with the others.
    #[error(
        "to remember what this sender holds takes {bytes} bytes, and other connections leave \
         {left} of `remembered_max`; it is welcome later"
    )]
    All {
        /// What it would come to.
        bytes: u64,
        /// What is left.
        left: u64,
    },
}

impl Allowance {
    /// Up to `max` bytes in addition to what each stream has for itself; `shown` counts them.
    pub(super) fn new(max: u64, shown: Gauge) -> Arc<Self> {
        Arc::new(Self { max, used: AtomicU64::new(0), shown })
    }

    /// The share of a new stream, which has nothing yet.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share { of: self.clone(), bytes: 0, put: 0 }
    }
}

/// What is remembered because of one stream; forgotten when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    of: Arc<Allowance>,
    bytes: u64,
    /// What it comes to at most, counted up by puts since it was counted.
    put: u64,
}

impl Share {
    /// Holds so many bytes from now on.
    ///
    /// # Errors
    /// There are not so many for it; it holds what it held.
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

    /// A Hello names so much: it may be looked at.
    ///
    /// # Errors
    /// As said there.
    pub(super) fn ask(&mut self, asked: Extent, floors_bytes: usize) -> Result<(), Over> {
        let origins = asked.lives.saturating_mul(ORIGIN);
        let more = [cost(asked), origins, floors_bytes as u64 * FLOORS];
        self.hold(more.into_iter().fold(self.bytes, u64::saturating_add))
    }

    /// Counted anew: the sender waits for so much, and the stream follows so many origins.
    ///
    /// # Errors
    /// As said there.
    pub(super) fn count(&mut self, awaited: Extent, origins: usize) -> Result<(), Over> {
        let bytes = cost(awaited) + origins as u64 * ORIGIN;
        self.put = bytes;
        // Without the slack it is counted more often, and not refused.
        self.hold(bytes + bytes / 4 + SLACK).or_else(|_| self.hold(bytes))
    }

    /// One more batch is put; whether all is to be counted anew.
    pub(super) fn put(&mut self) -> bool {
        self.put += LIFE + ORIGIN;
        self.put > self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // Less than before is always held.
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
