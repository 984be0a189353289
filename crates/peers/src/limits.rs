//! The largest batch that the next agents take, as they named it.
//!
//! ```text
//!   collector-1 ──Welcome: 64 KiB──► grpc sink ─┐
//!   collector-2 ──Welcome: 16 MiB──► grpc sink ─┴► board of the channel ─► smallest ─► sources
//!                                                     │        ▲
//!                                                     └─ file ─┘  of the data directory
//! ```
//!
//! A batch has one identity and cannot be split behind its channel: so it is cut where it is made,
//! to what every peer behind the channel takes. What a peer named holds after its connection has
//! ended, and after a restart until the peer names a limit again, or is not a peer any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Bytes that are counted for each event besides its body: its length and its own headers.
pub const EVENT_OVERHEAD_BYTES: u64 = 64;

/// Limits by the address of the peer, in bytes.
pub type PeerLimits = BTreeMap<Arc<str>, u64>;

/// What the peers behind one channel take at most. Clones are the same board.
#[derive(Debug, Clone, Default)]
pub struct LimitBoard {
    limits: Arc<Mutex<Limits>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Limits {
    /// Named to this process.
    named: PeerLimits,
    /// Named to an earlier process, and not named again yet.
    recalled: PeerLimits,
    /// Peers that the configuration names by their addresses.
    expected: BTreeSet<Arc<str>>,
    /// Other peers are looked up.
    looks_up: bool,
}

impl LimitBoard {
    /// The configuration names a peer with this address.
    pub fn expect(&self, peer: &str) {
        self.limits().expected.insert(peer.into());
    }

    /// Peers are looked up, so that their addresses are not known yet.
    pub fn expect_any(&self) {
        self.limits().looks_up = true;
    }

    /// These limits were named to an earlier process. They count for peers that are expected, until
    /// they are named again.
    pub fn recall(&self, peers: PeerLimits) {
        let mut limits = self.limits();
        let Limits { expected, looks_up, .. } = &*limits;
        let may_come = |peer: &Arc<str>| *looks_up || expected.contains(peer);
        let recalled = peers.into_iter().filter(|(peer, _)| may_come(peer)).collect();
        limits.recalled = recalled;
        drop(limits);
        self.changed.notify_one();
    }

    /// A lookup has found these peers: recalled limits of others do not count any more, unless the
    /// configuration names them. Where several sinks look up peers, the first answer decides.
    pub fn found(&self, peers: &BTreeSet<Arc<str>>) {
        let mut limits = self.limits();
        let Limits { recalled, expected, .. } = &mut *limits;
        let before = recalled.len();
        recalled.retain(|peer, _| expected.contains(peer) || peers.contains(peer));
        if recalled.len() != before {
            drop(limits);
            self.changed.notify_one();
        }
    }

    /// The peer takes encoded batches of up to this many bytes; `None`: it named no limit.
    pub fn named(&self, peer: &Arc<str>, bytes: Option<u64>) {
        let Some(bytes) = bytes else { return self.withdraw(peer) };
        let mut limits = self.limits();
        let recalled = limits.recalled.remove(peer);
        let before = limits.named.insert(peer.clone(), bytes);
        if before.or(recalled) != Some(bytes) {
            drop(limits);
            self.changed.notify_one();
        }
    }

    /// Nothing is sent to this peer any more.
    pub fn withdraw(&self, peer: &str) {
        let mut limits = self.limits();
        let (named, recalled) = (limits.named.remove(peer), limits.recalled.remove(peer));
        if named.or(recalled).is_some() {
            drop(limits);
            self.changed.notify_one();
        }
    }

    /// Bytes of the largest encoded batch that every peer takes; `None` where no limit is known.
    pub fn smallest(&self) -> Option<u64> {
        let limits = self.limits();
        limits.named.values().chain(limits.recalled.values()).min().copied()
    }

    /// All limits that count, for the next process to recall.
    pub fn known(&self) -> PeerLimits {
        let limits = self.limits();
        let all = limits.recalled.iter().chain(&limits.named);
        all.map(|(peer, bytes)| (peer.clone(), *bytes)).collect()
    }

    /// Waits until [`LimitBoard::known`] may have changed since the last call. For one waiter.
    /// Cancel safe.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        // Each call leaves it whole, also where a caller panicked before.
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn a_recalled_limit_counts_until_its_peer_names_one_or_is_no_peer_any_more() {
        let peer = |name: &str| Arc::<str>::from(name);
        let recalled = || PeerLimits::from([(peer("a"), 10), (peer("b"), 20), (peer("old"), 1)]);
        let board = LimitBoard::default();
        board.expect("a");
        board.expect("b");
        board.recall(recalled());
        assert_eq!(board.known(), [(peer("a"), 10), (peer("b"), 20)].into(), "one is not set up");
        assert_eq!(board.smallest(), Some(10));
        board.named(&peer("a"), Some(30));
        assert_eq!(board.smallest(), Some(20));
        board.named(&peer("b"), None);
        assert_eq!(board.known(), [(peer("a"), 30)].into());

        let board = LimitBoard::default();
        board.expect("b");
        board.expect_any();
        board.recall(recalled());
        assert_eq!(board.smallest(), Some(1), "it may be found again");
        board.found(&[peer("a")].into());
        assert_eq!(board.known(), [(peer("a"), 10), (peer("b"), 20)].into());
        board.withdraw("a");
        assert_eq!(board.smallest(), Some(20));
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_change_is_told() {
        let (board, peer) = (LimitBoard::default(), Arc::from("a"));
        board.named(&peer, Some(5));
        board.changed().await;
        board.named(&peer, Some(5));
        board.withdraw("b");
        let told = tokio::time::timeout(std::time::Duration::from_secs(9), board.changed()).await;
        assert!(told.is_err(), "nothing has changed");
        board.withdraw("a");
        board.changed().await;
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
