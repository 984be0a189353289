//! How far the sources of agents got: everything before a time is committed.
//!
//! ```text
//!   sources of a channel ──"all before T is stored"──► Advance: the smallest T, and what the
//!                                                       channels contain now
//!        all of that is committed everywhere ──► report (origin, host, T) ──► boards of channels
//!   agents upstream ──reports──► source grpc ──────────────────────────────►  │
//!                                     sinks: grpc sends them on, hdfs keeps them
//! ```
//!
//! # Rules
//!
//! 1. A report is made after everything that it covers is committed. So it may overtake batches.
//! 2. Each source of a channel must have reached the time. A source that cannot report holds the
//!    reports of the channel back, and one that an operator has stopped keeps them at its last
//!    time: both are named in the report. A source that has ended, or that a reload has removed or
//!    moved to other channels, no longer counts.
//! 3. A report in the future by the clock of its receiver counts as the time of its arrival. When
//!    the clock of an agent steps back, later lines have times that were reported before. So the
//!    agent withdraws its report, and forgets what its sources reported before the step.
//! 4. If the agent may drop batches before they are committed, or does not know all of its
//!    channels, it makes no report.

mod advance;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use pipeline::env::Moment;
use pipeline::{Channel, Env, Epoch, Identity, IntervalSet, Origin, Reached, Sequence};
use support::notice;
use tokio::sync::Notify;

use crate::FloorBoard;

pub use advance::{Advance, Role, accepted, is_settled};

/// Maximum number of origins on a board. Further ones are dropped: they hold directories back.
pub const REACHED_MAX: usize = 1 << 17;

/// What the channels of an agent contain of one life of an origin. A board, which its channel
/// keeps, keeps no channel.
struct Content {
    life: (Origin, Epoch),
    stored: Vec<(Weak<dyn Channel>, IntervalSet)>,
}

impl Content {
    fn now(floors: &FloorBoard, (origin, epoch): (Origin, Epoch)) -> Option<Self> {
        let channels = floors.all_channels()?.into_iter();
        let stored = channels.map(|channel| {
            let stored = channel.stored(origin, epoch);
            (Arc::downgrade(&channel), stored)
        });
        Some(Self { life: (origin, epoch), stored: stored.collect() })
    }

    fn is_committed(&self, floors: &FloorBoard) -> bool {
        let (origin, epoch) = self.life;
        // A sink that drops batches may have been added since then.
        floors.all_channels().is_some()
            && self.stored.iter().all(|(channel, stored)| {
                let Some(channel) = channel.upgrade() else { return false };
                // In this order: a batch that is settled in between counts as unsettled.
                let lowest = channel.lowest_unsettled(origin);
                is_settled(epoch, stored, lowest, &channel.settled(origin, epoch))
            })
    }

    /// The origin under which other agents know the life.
    fn outside(&self) -> Origin {
        let (origin, epoch) = self.life;
        let mut names = self.stored.iter().filter_map(|(channel, stored)| {
            let sequence = Sequence(stored.last()?);
            channel.upgrade()?.renamed(Identity { origin, epoch, sequence })
        });
        names.next().map_or(origin, |named| named.origin)
    }
}

#[derive(Default)]
struct State {
    reached: BTreeMap<Origin, Reached>,
    own: Advance<Content>,
}

/// How far the origins along one channel got. Clones share it.
#[derive(Clone, Default)]
pub struct ProgressBoard {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    /// The world of this agent; `None` in tests.
    env: Option<Env>,
    changes: AtomicU64,
    changed: Notify,
}

impl std::fmt::Debug for ProgressBoard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProgressBoard").field("origins", &self.state().reached.len()).finish()
    }
}

impl ProgressBoard {
    /// The board of a channel of an agent in this world.
    pub fn new(env: &Env) -> Self {
        Self { inner: Arc::new(Inner { env: Some(env.clone()), ..Inner::default() }) }
    }

    fn now(&self) -> Option<Moment> {
        self.inner.env.as_ref().map(Env::moment)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is complete, whichever task panicked in between.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a source that creates batches in the channel of this board, or changes its role.
    pub fn expect(&self, source: &Arc<str>, role: Role) {
        self.state().own.expect(source, role);
    }

    /// Removes a source that has ended and that creates no more batches in the channel.
    pub fn leave(&self, source: &str) {
        self.state().own.leave(source);
    }

    /// A source has stored everything before this moment in the channel of this board, which begins
    /// this life, and in its other channels.
    pub fn stored(&self, source: &str, before: Moment, life: (Origin, Epoch), floors: &FloorBoard) {
        let now = self.now().unwrap_or(before);
        let content = || Content::now(floors, life);
        let is_committed = |content: &Content| content.is_committed(floors);
        self.state().own.stored(source, (before, now), content, is_committed);
    }

    /// Returns the reports of this life of the channel by its names, for
    /// [`ProgressBoard::set_own`] of all channels of the source.
    pub fn own(
        &self,
        life: (Origin, Epoch),
        floors: &FloorBoard,
    ) -> [(Origin, Option<Reached>); 2] {
        let state = self.state();
        let (before, held_by) = (state.own.reached(), state.own.held_by());
        drop(state);
        let is_known = before.is_some() || !held_by.is_empty();
        let reached = is_known.then(|| Reached {
            host: self.inner.env.as_ref().map_or_else(Arc::default, |env| env.host.clone()),
            before: before.unwrap_or_default(),
            held_by: held_by.into(),
        });
        let outside = Content::now(floors, life).map_or(life.0, |now| now.outside());
        [(life.0, reached.clone()), (outside, reached)]
    }

    /// Replaces the reports of this agent's own origins; `None` withdraws one.
    pub fn set_own(&self, reports: &[(Origin, Option<Reached>)]) {
        let (mut state, mut is_new) = (self.state(), false);
        for (origin, reached) in reports {
            is_new |= state.reached.get(origin) != reached.as_ref();
            match reached {
                Some(reached) => state.reached.insert(*origin, reached.clone()),
                None => state.reached.remove(origin),
            };
        }
        drop(state);
        self.notify_if(is_new);
    }

    /// Adds reports of other agents, which arrive now. A report never takes back an earlier one.
    pub fn observe(&self, reports: impl IntoIterator<Item = (Origin, Reached)>) {
        let now = self.now().map_or(i64::MAX, |now| now.wall_ms);
        let (mut state, mut is_new) = (self.state(), false);
        for (origin, reached) in reports {
            let has_room = state.reached.len() < REACHED_MAX;
            let known = state.reached.get(&origin);
            let before = accepted(known.map(|known| known.before), reached.before, now);
            let reached = Reached { before, ..reached };
            if known.map_or(has_room, |known| reached.is_newer_than(known)) {
                state.reached.insert(origin, reached);
                is_new = true;
            }
        }
        drop(state);
        self.notify_if(is_new);
    }

    fn notify_if(&self, is_new: bool) {
        if is_new {
            self.inner.changes.fetch_add(1, Ordering::SeqCst);
            self.inner.changed.notify_waiters();
        }
    }

    /// Returns all reports.
    pub fn reached(&self) -> Vec<(Origin, Reached)> {
        let state = self.state();
        state.reached.iter().map(|(origin, reached)| (*origin, reached.clone())).collect()
    }

    /// Returns the number of changes so far.
    pub fn changes(&self) -> u64 {
        self.inner.changes.load(Ordering::SeqCst)
    }

    /// Waits until the number of changes differs from `seen`. Cancel safe.
    pub async fn changed(&self, seen: u64) {
        let is_new = || Some(()).filter(|()| self.changes() != seen);
        notice::until(&self.inner.changed, is_new).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_keeps_the_latest_report_of_each_origin() {
        let board = ProgressBoard::default();
        let of = |before, held_by: &str| {
            let (host, held_by) = ("web-1".into(), held_by.into());
            (Origin([1; 16]), Reached { host, before, held_by })
        };
        let at = |before| of(before, "");
        board.observe([at(5)]);
        board.observe([at(3)]);
        assert_eq!((board.reached(), board.changes()), (vec![at(5)], 1));
        board.observe([at(6)]);
        assert_eq!((board.reached(), board.changes()), (vec![at(6)], 2));
        for report in [of(6, "syslog"), at(6), at(5)] {
            board.observe([report]);
            assert_eq!((board.reached(), board.changes()), (vec![of(6, "syslog")], 3));
        }
        board.observe([at(7)]);
        assert_eq!((board.reached(), board.changes()), (vec![at(7)], 4));
        board.set_own(&[(at(6).0, Some(at(2).1))]);
        assert_eq!((board.reached(), board.changes()), (vec![at(2)], 5));
        board.set_own(&[(at(6).0, None)]);
        assert_eq!((board.reached(), board.changes()), (vec![], 6));
        assert_eq!(accepted(Some(5), 9, 7), 7, "a time in the future");
    }

    #[test]
    fn reports_name_the_sources_that_hold_them_back() {
        let board = ProgressBoard::default();
        let [tail, syslog] = ["tail", "syslog"].map(Arc::<str>::from);
        let (life, floors) = ((Origin([1; 16]), Epoch(1)), FloorBoard::default());
        let own = || board.own(life, &floors)[0].1.clone();
        board.expect(&tail, Role::Reports);
        assert_eq!(own(), None);
        board.expect(&syslog, Role::Silent);
        assert_eq!(own().map(|it| (it.before, it.held_by)), Some((0, "syslog".into())));
        board.expect(&tail, Role::Stopped);
        assert_eq!(own().map(|it| it.held_by), Some("syslog, tail".into()));
        board.leave("syslog");
        board.expect(&tail, Role::Reports);
        assert_eq!(own(), None);
    }
}
