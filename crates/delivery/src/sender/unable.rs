//! The peer's reports about itself: it has no room, it is stopping, it cannot store.
//!
//! A peer that cannot store reports it and still accepts puts, because its disk is a buffer. The
//! sender stops waiting for it if another member of the group is able.
//!
//! ```text
//!   ABLE ──peer reports──► UNABLE ──another is able, and 5 s have passed──► return all batches
//!     ▲                      │
//!     └──────────────────────┘ peer reports that it is able, or a Welcome without a report
//! ```

use std::time::Duration;

use pipeline::KeySet;
use tokio::time::Instant;

use super::{Link, Sender, Verdict};

/// How long the sender waits for an unable peer before another one gets its uncommitted batches.
/// Peers report the loss of their common store within this time of each other.
pub const RETURN_AFTER: Duration = Duration::from_secs(5);

/// The peer's ability to store, as last reported.
#[derive(Debug, Default)]
pub(super) struct Outlet {
    unable_since: Option<Instant>,
    /// True if the peer has sent a report on this connection.
    said: bool,
    others_able: bool,
}

impl Outlet {
    /// Handles a new connection, on which the peer has not reported yet.
    pub(super) fn connected(&mut self) {
        self.said = false;
    }

    /// Handles a Welcome: without a report before it, the peer is able again.
    pub(super) fn welcomed(&mut self) {
        if !self.said {
            self.unable_since = None;
        }
    }
}

impl<P: Clone> Sender<P> {
    /// The peer has no room. It returned `keys`; all other puts wait there.
    pub fn busy(&mut self, retry_after: Duration, keys: &KeySet, now: Instant) {
        if let Link::Up(peer) = &mut self.link {
            peer.busy_until = Some(now + retry_after);
            peer.excused_at = Some(now);
        }
        for (_, ticket) in self.answered_in(keys) {
            self.settle(Verdict::NotTaken(retry_after), ticket);
        }
    }

    /// The peer is stopping.
    pub fn draining(&mut self) {
        if let Link::Up(peer) = &mut self.link {
            peer.draining = true;
        }
    }

    /// Records the peer's report. A repeated report does not restart the timer.
    pub fn unable(&mut self, unable: bool, now: Instant) {
        self.outlet.said = true;
        let since = self.outlet.unable_since.unwrap_or(now);
        self.outlet.unable_since = unable.then_some(since);
    }

    /// Returns `true` if the peer reports that it cannot store.
    pub fn is_unable(&self) -> bool {
        self.outlet.unable_since.is_some()
    }

    /// Sets whether another peer would accept returned batches and can store them.
    pub fn others_are_able(&mut self, able: bool) {
        self.outlet.others_able = able;
    }

    /// When the sender returns the held batches because the peer is unable.
    pub(super) fn turns_at(&self) -> Option<Instant> {
        let since = self.outlet.unable_since.filter(|_| self.outlet.others_able)?;
        let oldest = self.unanswered.values().filter_map(|entry| entry.put_at).min();
        let parked = (!self.parked.is_empty()).then_some(since);
        let first = parked.into_iter().chain(oldest.map(|at| at.max(since))).min()?;
        Some(first + RETURN_AFTER)
    }

    /// Settles the batches that are due as `LetGo`, because the peer is unable. `true`: puts wait
    /// at the peer for room, so the caller must close the connection.
    pub(super) fn turn_away(&mut self, now: Instant) -> bool {
        if self.turns_at().is_none_or(|at| now < at) {
            return false;
        }
        let is_late = |at: Instant| at + RETURN_AFTER <= now;
        let waits = self.unanswered.values().filter_map(|entry| entry.put_at).any(is_late);
        if waits {
            self.disconnect();
        } else {
            let tickets = self.parked.take_all();
            self.settle_all(Verdict::LetGo, &tickets);
        }
        waits && self.is_up()
    }
}
