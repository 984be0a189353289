//! The largest batch that downstream agents accept, as they announced it.
//!
//! ```text
//!   collector-1 ──Welcome: 64 KiB──► grpc sink ─┐                      ┌► smallest: sources cut
//!   collector-2 ──Welcome: 16 MiB──► grpc sink ─┴► board of the channel ┤
//!                                                     │        ▲        └► largest: for relays
//!                                                     └─ file ─┘  of the data directory
//! ```
//!
//! A batch has one identity and cannot be split after its channel. Therefore sources limit batches
//! to the size that every downstream peer accepts. A batch that is too large is still delivered if
//! one of the peers accepts it. A relay therefore announces two limits: the size that it accepts,
//! and the size to cut to. An announced limit stays valid after the end of the connection, and
//! after a restart until the peer announces a limit again, or is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Bytes counted for each event besides its body: its length and its own headers.
pub const EVENT_OVERHEAD_BYTES: u64 = 64;

/// The limits of one peer, in bytes of an encoded batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerLimit {
    /// The largest batch that it accepts.
    pub takes: u64,
    /// The size to which batches should be cut: every agent downstream of it accepts that.
    pub cut: u64,
}

impl PeerLimit {
    /// Creates the limit of a peer without smaller limits downstream.
    pub fn new(bytes: u64) -> Self {
        Self { takes: bytes, cut: bytes }
    }

    /// Creates the limits of a Welcome, in which 0 means no limit; `None`: it announced no limit.
    pub fn from_announced(body_max: u64, body_cut: u64) -> Option<Self> {
        let limit = |bytes: u64| if bytes == 0 { u64::MAX } else { bytes };
        let takes = limit(body_max);
        let told = Self { takes, cut: limit(body_cut).min(takes) };
        (told.cut < u64::MAX).then_some(told)
    }
}

/// Limits by the address of the peer.
pub type PeerLimits = BTreeMap<Arc<str>, PeerLimit>;

/// The limits of the peers downstream of one channel. Clones share the board.
#[derive(Debug, Clone, Default)]
pub struct LimitBoard {
    limits: Arc<Mutex<Limits>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Limits {
    /// Named to this process.
    named: PeerLimits,
    /// Announced to an earlier process, and not announced again yet.
    recalled: PeerLimits,
    /// Peers that the configuration names by their addresses.
    expected: BTreeSet<Arc<str>>,
    /// Other peers are looked up.
    looks_up: bool,
    /// Discovered peers that have not left.
    found: BTreeSet<Arc<str>>,
    /// Some sink accepts batches of any size.
    takes_any: bool,
}

impl Limits {
    /// All limits that count.
    fn all(&self) -> impl Iterator<Item = (&Arc<str>, &PeerLimit)> {
        self.recalled.iter().chain(&self.named)
    }
}

impl LimitBoard {
    /// The configuration names a peer with this address.
    pub fn expect(&self, peer: &str) {
        self.limits().expected.insert(peer.into());
    }

    /// Peers are looked up, so that their addresses are not known yet.
    pub fn expect_unknown(&self) {
        self.limits().looks_up = true;
    }

    /// Records that a sink of the channel accepts batches of any size.
    pub fn accept_any(&self) {
        self.limits().takes_any = true;
    }

    /// Applies a changed configuration with these peers: limits of other peers no longer count.
    /// `configured` was built from it and has met no peer.
    pub fn configure(&self, configured: &Self) {
        let (expected, looks_up, takes_any) = {
            let new = configured.limits();
            (new.expected.clone(), new.looks_up, new.takes_any)
        };
        let mut limits = self.limits();
        if !looks_up {
            limits.found.clear();
        }
        let found = limits.found.clone();
        let is_peer = |peer: &Arc<str>| expected.contains(peer) || found.contains(peer);
        limits.named.retain(|peer, _| is_peer(peer));
        limits.recalled.retain(|peer, _| is_peer(peer) || looks_up);
        *limits = Limits { expected, looks_up, takes_any, ..std::mem::take(&mut *limits) };
        drop(limits);
        self.changed.notify_one();
    }

    /// Restores limits that were announced to an earlier process. They count for expected peers,
    /// until these announce them again.
    pub fn restore(&self, peers: PeerLimits) {
        let mut limits = self.limits();
        let Limits { expected, looks_up, .. } = &*limits;
        let may_come = |peer: &Arc<str>| *looks_up || expected.contains(peer);
        let recalled = peers.into_iter().filter(|(peer, _)| may_come(peer)).collect();
        limits.recalled = recalled;
        drop(limits);
        self.changed.notify_one();
    }

    /// Records the peers that a lookup has found: recalled limits of other peers do not count any
    /// more, unless these are configured. If several sinks look up peers, the first answer decides.
    pub fn found(&self, peers: &BTreeSet<Arc<str>>) {
        let mut limits = self.limits();
        let Limits { recalled, expected, found, .. } = &mut *limits;
        found.extend(peers.iter().cloned());
        let before = recalled.len();
        recalled.retain(|peer, _| expected.contains(peer) || peers.contains(peer));
        if recalled.len() != before {
            drop(limits);
            self.changed.notify_one();
        }
    }

    /// Sets the limits of the peer; `None`: it announced no limit.
    pub fn named(&self, peer: &Arc<str>, limit: Option<PeerLimit>) {
        let mut limits = self.limits();
        let recalled = limits.recalled.remove(peer);
        let before = match limit {
            Some(limit) => limits.named.insert(peer.clone(), limit),
            None => limits.named.remove(peer),
        };
        if before.or(recalled) != limit {
            drop(limits);
            self.changed.notify_one();
        }
    }

    /// Removes a peer to which nothing is sent any more.
    pub fn withdraw(&self, peer: &str) {
        let mut limits = self.limits();
        limits.found.remove(peer);
        let (named, recalled) = (limits.named.remove(peer), limits.recalled.remove(peer));
        if named.or(recalled).is_some() {
            drop(limits);
            self.changed.notify_one();
        }
    }

    /// Returns the size of the largest encoded batch that every peer accepts; `None` if no limit is
    /// known.
    pub fn smallest(&self) -> Option<u64> {
        let limits = self.limits();
        limits.all().map(|(_, limit)| limit.cut).min()
    }

    /// Returns the size of the largest encoded batch that some peer, or another sink, accepts;
    /// `None` if one of them accepts, or may accept, any.
    pub fn largest(&self) -> Option<u64> {
        let limits = self.limits();
        let Limits { named, recalled, expected, looks_up, found, takes_any } = &*limits;
        let is_unknown = |peer| !named.contains_key(peer) && !recalled.contains_key(peer);
        let may_take_any = *takes_any
            || (*looks_up && found.is_empty())
            || expected.iter().chain(found).any(is_unknown);
        limits.all().map(|(_, limit)| limit.takes).max().filter(|_| !may_take_any)
    }

    /// All limits that count, for the next process to recall.
    pub fn known(&self) -> PeerLimits {
        let limits = self.limits();
        limits.all().map(|(peer, limit)| (peer.clone(), *limit)).collect()
    }

    /// Waits until [`LimitBoard::known`] may have changed since the last call. For one waiter.
    /// Cancel safe.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        // Each call leaves it complete, even if a caller panicked before.
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The limits for a batch of a source, so that its encoding fits.
///
/// Half of the limit is for bodies. The other half is for lengths, headers of the source and of
/// interceptors, and the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Bytes of bodies; at least 1. A larger event is a separate batch.
    pub body_bytes: u64,
    /// Events; at least 1.
    pub events: u64,
}

impl Cut {
    /// Creates the limits for encoded batches of at most `bytes`.
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
    fn limits_of_peers_that_a_new_configuration_does_not_name_do_not_count() {
        let (board, new) = (LimitBoard::default(), LimitBoard::default());
        board.expect("a:1");
        board.expect("b:2");
        board.named(&"a:1".into(), Some(PeerLimit::new(512)));
        board.named(&"b:2".into(), Some(PeerLimit::new(1 << 20)));
        new.expect("b:2");
        new.expect("c:3");
        board.configure(&new);
        assert_eq!(board.smallest(), Some(1 << 20), "a:1 is no peer any more");
        assert_eq!(board.largest(), None, "c:3 has not named one");
        board.named(&"c:3".into(), Some(PeerLimit::new(64)));
        assert_eq!((board.smallest(), board.largest()), (Some(64), Some(1 << 20)));
    }

    #[test]
    fn the_smallest_limit_counts_until_its_peer_is_withdrawn() {
        let board = LimitBoard::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        assert_eq!(board.smallest(), None);
        board.named(&a, Some(PeerLimit::new(64 << 10)));
        let same = board.clone();
        same.named(&b, Some(PeerLimit::new(16 << 20)));
        assert_eq!(board.smallest(), Some(64 << 10));
        board.named(&a, Some(PeerLimit::new(32 << 20)));
        assert_eq!(board.smallest(), Some(16 << 20));
        board.withdraw("b");
        assert_eq!(same.smallest(), Some(32 << 20));
        board.named(&a, None);
        assert_eq!(board.smallest(), None);
    }

    #[test]
    fn a_recalled_limit_counts_until_its_peer_reports_one_or_disappears() {
        let (peer, of) = (|name: &str| Arc::<str>::from(name), PeerLimit::new);
        let recalled =
            || PeerLimits::from([(peer("a"), of(10)), (peer("b"), of(20)), (peer("old"), of(1))]);
        let board = LimitBoard::default();
        board.expect("a");
        board.expect("b");
        board.restore(recalled());
        let both = PeerLimits::from([(peer("a"), of(10)), (peer("b"), of(20))]);
        assert_eq!(board.known(), both, "one is not set up");
        assert_eq!(board.smallest(), Some(10));
        board.named(&peer("a"), Some(PeerLimit::new(30)));
        assert_eq!(board.smallest(), Some(20));
        board.named(&peer("b"), None);
        assert_eq!(board.known(), [(peer("a"), of(30))].into());

        let board = LimitBoard::default();
        board.expect("b");
        board.expect_unknown();
        board.restore(recalled());
        assert_eq!(board.smallest(), Some(1), "it may be found again");
        board.found(&[peer("a")].into());
        assert_eq!(board.known(), both);
        board.withdraw("a");
        assert_eq!(board.smallest(), Some(20));
    }

    #[test]
    fn the_largest_limit_is_known_once_every_peer_that_may_come_has_named_one() {
        let peer = |name: &str| Arc::<str>::from(name);
        let relay = PeerLimit::from_announced(16 << 20, 64 << 10).unwrap();
        let board = LimitBoard::default();
        assert_eq!(board.largest(), None, "nothing is behind it, as far as is known");
        board.expect("a");
        board.expect("b");
        board.named(&peer("a"), Some(PeerLimit::new(32 << 10)));
        assert_eq!(board.largest(), None, "the other one may take any batch");
        board.named(&peer("b"), Some(relay));
        assert_eq!((board.smallest(), board.largest()), (Some(32 << 10), Some(16 << 20)));
        board.named(&peer("b"), None);
        assert_eq!((board.smallest(), board.largest()), (Some(32 << 10), None));

        let board = LimitBoard::default();
        board.expect_unknown();
        board.restore([(peer("a"), PeerLimit::new(10))].into());
        assert_eq!(board.largest(), None, "others may be found");
        board.found(&[peer("a"), peer("b")].into());
        assert_eq!(board.largest(), None);
        board.named(&peer("b"), Some(relay));
        assert_eq!((board.smallest(), board.largest()), (Some(10), Some(16 << 20)));
        board.withdraw("b");
        assert_eq!(board.largest(), Some(10), "it has left");
        board.accept_any();
        assert_eq!((board.smallest(), board.largest()), (Some(10), None), "a store takes any");
    }

    #[test]
    fn an_unknown_limit_is_none_and_the_cut_never_exceeds_a_known_one() {
        assert_eq!(PeerLimit::from_announced(0, 0), None);
        assert_eq!(PeerLimit::from_announced(7, 0), Some(PeerLimit::new(7)));
        assert_eq!(PeerLimit::from_announced(7, 9), Some(PeerLimit::new(7)));
        assert_eq!(PeerLimit::from_announced(0, 9), Some(PeerLimit { takes: u64::MAX, cut: 9 }));
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_change_is_told() {
        let (board, peer) = (LimitBoard::default(), Arc::from("a"));
        board.named(&peer, Some(PeerLimit::new(5)));
        board.changed().await;
        board.named(&peer, Some(PeerLimit::new(5)));
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
