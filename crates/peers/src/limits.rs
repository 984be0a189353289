//! The largest batch that the next agents take, as they named it.
//!
//! ```text
//!   collector-1 ──Welcome: 64 KiB──► grpc sink ─┐
//!   collector-2 ──Welcome: 16 MiB──► grpc sink ─┴► board of the channel ─► smallest ─► sources
//! ```
//!
//! A batch has one identity and cannot be split behind its channel: so it is cut where it is made, to
//! what every peer behind the channel takes. What a peer named holds after its connection has ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that are counted for each event besides its body: its length and its own headers.
pub const EVENT_OVERHEAD_BYTES: u64 = 64;

/// What the peers behind one channel take at most. Clones are the same board.
#[derive(Debug, Clone, Default)]
pub struct LimitBoard {
    bytes_by_peer: Arc<Mutex<BTreeMap<Arc<str>, u64>>>,
}

impl LimitBoard {
    /// The peer takes encoded batches of up to this many bytes; `None`: it named no limit.
    pub fn named(&self, peer: &Arc<str>, bytes: Option<u64>) {
        match bytes {
            Some(bytes) => drop(self.peers().insert(peer.clone(), bytes)),
            None => self.withdraw(peer),
        }
    }

    /// Nothing is sent to this peer any more.
    pub fn withdraw(&self, peer: &str) {
        self.peers().remove(peer);
    }

    /// Bytes of the largest encoded batch that every peer takes; `None` where no limit is known.
    pub fn smallest(&self) -> Option<u64> {
        self.peers().values().min().copied()
    }

    fn peers(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, u64>> {
        // Each call leaves the map whole, also where a caller panicked before.
        self.bytes_by_peer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a source puts into one batch, so that its encoding fits.
///
/// Half of the limit is for bodies. The other half is for lengths, headers of the source and of
/// interceptors, and the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Bytes of bodies; at least 1. One event that is larger is a batch of its own.
    pub body_bytes: u64,
    /// Events; at least 1.
    pub events: u64,
}

impl Cut {
    /// For encoded batches of at most `bytes`.
    pub fn within(bytes: u64) -> Self {
        let half = bytes / 2;
        Self { body_bytes: half.max(1), events: (half / EVENT_OVERHEAD_BYTES).max(1) }
    }
}

#[cfg(test)]
mod tests {
    use pipeline::{Batch, Existing};

    use super::*;

    #[test]
    fn the_smallest_limit_counts_until_its_peer_is_withdrawn() {
        let board = LimitBoard::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        assert_eq!(board.smallest(), None);
        board.named(&a, Some(64 << 10));
        let same = board.clone();
        same.named(&b, Some(16 << 20));
        assert_eq!(board.smallest(), Some(64 << 10));
        board.named(&a, Some(32 << 20));
        assert_eq!(board.smallest(), Some(16 << 20));
        board.withdraw("b");
        assert_eq!(same.smallest(), Some(32 << 20));
        board.named(&a, None);
        assert_eq!(board.smallest(), None);
    }

    #[test]
    fn a_batch_within_the_cut_has_an_encoding_within_the_limit() {
        for limit in [1 << 10, 64 << 10, 1 << 20] {
            let cut = Cut::within(limit);
            for line in ["", "x", "a line of middle length, as most of them are", &"y".repeat(400)]
            {
                let events = cut.events.min(cut.body_bytes / (line.len() as u64 + 1)).max(1);
                let mut batch = Batch::of(std::iter::repeat_n(line, events as usize));
                batch.set_header("file", "/var/log/a.log", Existing::Replace);
                let times = std::iter::repeat_n(Some("1700000000000"), events as usize);
                batch.set_column("timestamp", times);
                assert!(batch.size().bytes <= limit, "{limit}: {:?}", batch.size());
            }
        }
    }

    #[test]
    fn a_limit_of_next_to_nothing_still_lets_single_events_through() {
        assert_eq!(Cut::within(1), Cut { body_bytes: 1, events: 1 });
        assert_eq!(Cut::within(0), Cut { body_bytes: 1, events: 1 });
    }
}
