//! What the peer says of itself: that it has no room, that it is stopping, that it cannot store.
//!
//! A peer that cannot store what it holds says so, and takes what is put all the same: its disk is
//! a buffer. Where another member of the group is able, nothing is waited for there.
//!
//! ```text
//!   ABLE ──it says so──► UNABLE ──another one is able, and 5 s are over──► all is given back
//!     ▲                    │
//!     └────────────────────┘ it says that it is over, or a new Welcome without such a word before
//! ```

use std::time::Duration;

use pipeline::KeySet;
use tokio::time::Instant;

use super::{Link, Sender, Verdict};

/// How long an unable peer is waited for before another one gets what it has not committed. Peers
/// whose common store is gone say so within this of each other.
pub const GIVE_BACK_AFTER: Duration = Duration::from_secs(5);

/// Whether the peer can store what it holds, as far as it said.
#[derive(Debug, Default)]
pub(super) struct Outlet {
    unable_since: Option<Instant>,
    /// It was said on the connection that there is.
    said: bool,
    others_able: bool,
}

impl Outlet {
    /// There is a new connection, on which nothing is said yet.
    pub(super) fn connected(&mut self) {
        self.said = false;
    }

    /// A Welcome is here: what was not said before it is over.
    pub(super) fn welcomed(&mut self) {
        if !self.said {
            self.unable_since = None;
        }
    }
}

impl<P: Clone> Sender<P> {
    /// The peer has no room. It did not take `keys`; all else that was put waits there.
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

    /// The peer says whether it cannot store what it holds. A repetition begins no new time.
    pub fn unable(&mut self, unable: bool, now: Instant) {
        self.outlet.said = true;
        let since = self.outlet.unable_since.unwrap_or(now);
        self.outlet.unable_since = unable.then_some(since);
    }

    /// Whether the peer says that it cannot store what it holds.
    pub fn is_unable(&self) -> bool {
        self.outlet.unable_since.is_some()
    }

    /// Whether another peer would take what is given back here, and can store it.
    pub fn others_are_able(&mut self, able: bool) {
        self.outlet.others_able = able;
    }

    /// When what is held is given back because the peer is unable.
    pub(super) fn turns_at(&self) -> Option<Instant> {
        let since = self.outlet.unable_since.filter(|_| self.outlet.others_able)?;
        let oldest = self.unanswered.values().filter_map(|entry| entry.put_at).min();
        let parked = (!self.parked.is_empty()).then_some(since);
        let first = parked.into_iter().chain(oldest.map(|at| at.max(since))).min()?;
        Some(first + GIVE_BACK_AFTER)
    }

    /// Gives back what is due because the peer is unable. `true`: what was put waits there for
    /// room, and the connection goes with it.
    pub(super) fn turn_away(&mut self, now: Instant) -> bool {
        if self.turns_at().is_none_or(|at| now < at) {
            return false;
        }
        let is_late = |at: Instant| at + GIVE_BACK_AFTER <= now;
        let waits = self.unanswered.values().filter_map(|entry| entry.put_at).any(is_late);
        if waits {
            self.let_go();
        } else {
            let tickets = self.parked.take_all();
            self.settle_all(Verdict::LetGo, &tickets);
        }
        waits && self.is_up()
    }
}
