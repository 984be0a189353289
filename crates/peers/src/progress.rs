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
//! 2. Each source of a channel must have reached the time. A source that cannot tell, or that was
//!    stopped or removed, holds the reports of the channel back until the agent restarts.
//! 3. A report in the future by the clock of its receiver counts as the time of its arrival. When
//!    the clock of an agent steps back, the agent withdraws its report, so that it is not resent.
//! 4. If the agent may drop batches before they are committed, or does not know all of its
//!    channels, it makes no report.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use pipeline::env::unix_millis;
use pipeline::{Channel, Env, Epoch, Identity, IntervalSet, Origin, Reached, Sequence};
use support::{mutant, notice};
use tokio::sync::Notify;

use crate::FloorBoard;

/// Maximum number of origins on a board. Further ones are dropped: they hold directories back.
pub const REACHED_MAX: usize = 1 << 17;

/// Returns the time of an origin after a report of it has arrived at `now`.
pub fn accepted(known: Option<i64>, before: i64, now: i64) -> i64 {
    let before = if mutant!("complete_future_trusted") { before } else { before.min(now) };
    known.map_or(before, |known| known.max(before))
}

/// The times that the sources of one channel have reached. Pure; `M` stands for the content of the
/// channels at a moment.
#[derive(Debug)]
pub struct Advance<M> {
    sources: BTreeMap<Arc<str>, Option<i64>>,
    /// A time that all sources have reached, and what was stored then.
    pending: Option<(i64, M)>,
    reached: Option<i64>,
}

impl<M> Default for Advance<M> {
    fn default() -> Self {
        Self { sources: BTreeMap::new(), pending: None, reached: None }
    }
}

impl<M> Advance<M> {
    /// Adds a source, whose time is unknown.
    pub fn expect(&mut self, source: &Arc<str>) {
        self.sources.entry(source.clone()).or_default();
    }

    /// A source has stored everything before this time in milliseconds: a reading of the clock that
    /// its events have. `content` returns the
    /// content of the channels now, and `is_committed` whether such a content is committed.
    /// Returns the time before which everything is committed.
    pub fn stored(
        &mut self,
        source: &Arc<str>,
        before: i64,
        content: impl FnOnce() -> Option<M>,
        is_committed: impl Fn(&M) -> bool,
    ) -> Option<i64> {
        let known = self.sources.entry(source.clone()).or_default();
        if known.is_some_and(|known| before < known) {
            if mutant!("complete_stepped_clock_kept") {
                return self.reached;
            }
            // The clock stepped back: new events may have earlier times than the report.
            (self.pending, self.reached) = (None, None);
        }
        *known = Some(before);
        self.settle(&is_committed);
        let all: Option<Vec<i64>> = self.sources.values().copied().collect();
        let least = match mutant!("complete_one_source_suffices") {
            true => self.sources.values().copied().max().flatten(),
            false => all.and_then(|all| all.into_iter().min()),
        };
        if self.pending.is_none()
            && let Some(least) = least.filter(|least| Some(*least) > self.reached)
        {
            self.pending = content().map(|content| (least, content));
            self.settle(&is_committed);
        }
        self.reached
    }

    fn settle(&mut self, is_committed: &impl Fn(&M) -> bool) {
        let is_done =
            |content: &M| is_committed(content) || mutant!("complete_report_before_commit");
        if let Some((before, _)) = self.pending.take_if(|(_, content)| is_done(content)) {
            self.reached = Some(before);
        }
    }
}

/// Returns whether a channel has committed what it had stored of an epoch, and every earlier epoch
/// of that origin. `lowest` is the lowest epoch with an uncommitted batch, and `settled` what is
/// committed of this epoch.
pub fn is_settled(
    epoch: Epoch,
    stored: &IntervalSet,
    lowest: Option<Epoch>,
    settled: &IntervalSet,
) -> bool {
    let is_of_now = lowest.is_none_or(|lowest| lowest >= epoch);
    (is_of_now || mutant!("complete_old_epoch_ignored")) && stored.intersection(settled) == *stored
}

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

    fn now(&self) -> i64 {
        let now = self.inner.env.as_ref().map(|env| unix_millis(env.clock.now()));
        now.and_then(|now| i64::try_from(now).ok()).unwrap_or(i64::MAX)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is complete, whichever task panicked in between.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a source that creates batches in the channel of this board.
    pub fn expect(&self, source: &Arc<str>) {
        self.state().own.expect(source);
    }

    /// A source has stored everything before this time in the channel of this board, which begins
    /// this life, and in its other channels. Returns the reports of the life by its names, for
    /// [`ProgressBoard::set_own`] of all of these channels.
    pub fn stored(
        &self,
        source: &Arc<str>,
        before: i64,
        life: (Origin, Epoch),
        floors: &FloorBoard,
    ) -> Vec<(Origin, Option<Reached>)> {
        let mut state = self.state();
        let content = || Content::now(floors, life);
        let is_committed = |content: &Content| content.is_committed(floors);
        let before = state.own.stored(source, before, content, is_committed);
        drop(state);
        let host = || self.inner.env.as_ref().map_or_else(Arc::default, |env| env.host.clone());
        let reached = before.map(|before| Reached { host: host(), before });
        let outside = Content::now(floors, life).map_or(life.0, |now| now.outside());
        vec![(life.0, reached.clone()), (outside, reached)]
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
        let now = self.now();
        let (mut state, mut is_new) = (self.state(), false);
        for (origin, reached) in reports {
            let has_room = state.reached.len() < REACHED_MAX;
            let known = state.reached.get(&origin).map(|known| known.before);
            let before = accepted(known, reached.before, now);
            if known.map_or(has_room, |known| known < before) {
                state.reached.insert(origin, Reached { before, ..reached });
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
    fn a_time_counts_when_every_source_has_reached_it_and_all_is_committed() {
        let [one, two] = ["one", "two"].map(Arc::from);
        let mut own = Advance::default();
        own.expect(&one);
        own.expect(&two);
        assert_eq!(own.stored(&one, 10, || Some(5), |_| true), None, "the other one is unknown");
        assert_eq!(own.stored(&two, 8, || Some(6), |it| *it <= 5), None, "not committed");
        assert_eq!(own.stored(&two, 20, || Some(9), |it| *it <= 5), None);
        assert_eq!(own.stored(&two, 21, || Some(9), |it| *it <= 6), Some(8));
        assert_eq!(own.stored(&two, 21, || Some(9), |it| *it <= 9), Some(10));
        assert_eq!(own.stored(&one, 30, || None, |_| true), Some(10), "the content is unknown");
        assert_eq!(own.stored(&one, 5, || None, |_| true), None, "the clock stepped back");
        assert_eq!(own.stored(&one, 6, || Some(9), |_| true), Some(6));
    }

    #[test]
    fn a_board_keeps_the_latest_report_of_each_origin() {
        let board = ProgressBoard::default();
        let at = |before| (Origin([1; 16]), Reached { host: "web-1".into(), before });
        board.observe([at(5)]);
        board.observe([at(3)]);
        assert_eq!((board.reached(), board.changes()), (vec![at(5)], 1));
        board.observe([at(6)]);
        assert_eq!((board.reached(), board.changes()), (vec![at(6)], 2));
        board.set_own(&[(at(6).0, Some(at(2).1))]);
        assert_eq!((board.reached(), board.changes()), (vec![at(2)], 3));
        board.set_own(&[(at(6).0, None)]);
        assert_eq!((board.reached(), board.changes()), (vec![], 4));
        assert_eq!(accepted(Some(5), 9, 7), 7, "a time in the future");
    }
}
