//! Outages: whether the batches of an agent can leave it, and the same state of the downstream
//! agent.
//!
//! ```text
//!   a group ─OutletBoard─► source ─"cannot store"─► sink of the agent before ─NextHop─► its group
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pipeline::{AgentLink, Identity, IntervalSet, Outage, Ticket};
use support::notice;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long all sinks of a group may fail before the agent reports to its senders, and on its
/// pages, that it cannot store its batches.
pub const UNABLE_AFTER: Duration = Duration::from_secs(15);

/// The outages of a channel's groups, by group: since when all of its members fail. Written by the
/// groups that take from the channel, read by the sources that fill it. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct OutletBoard {
    failing: Arc<Mutex<BTreeMap<Arc<str>, Outage>>>,
    /// The status page of this agent.
    own_page: Option<Arc<str>>,
}

impl OutletBoard {
    /// Creates a board for an agent whose status page has this URL.
    pub fn with_page(own_page: Option<Arc<str>>) -> Self {
        Self { own_page, ..Self::default() }
    }

    fn failing(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Outage>> {
        // The map is whole between two calls, also after a panic elsewhere.
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that no member of `group` works, because of a failure of this agent. A later call
    /// does not restart the time.
    pub fn set_failing(&self, group: &Arc<str>, cause: Arc<str>, now: Instant) {
        let agent = AgentLink { address: None, page: self.own_page.clone() };
        self.set_failing_downstream(group, Outage { since: now, cause, agent });
    }

    /// Records that no member of `group` works, because of an outage that a downstream agent
    /// reports. A later call does not restart the time.
    pub fn set_failing_downstream(&self, group: &Arc<str>, outage: Outage) {
        let mut failing = self.failing();
        let since = failing.get(group).map_or(outage.since, |known| known.since);
        failing.insert(group.clone(), Outage { since, ..outage });
    }

    /// Some member of `group` works.
    pub fn set_working(&self, group: &str) {
        self.failing().remove(group);
    }

    /// Returns the outage of this group; `None` if some member works.
    pub fn outage_of(&self, group: &str) -> Option<Outage> {
        self.failing().get(group).cloned()
    }

    /// The groups that have failed for [`UNABLE_AFTER`] or longer, by name.
    pub fn unable(&self, now: Instant) -> Vec<(Arc<str>, Outage)> {
        let failing = self.failing();
        let lasts = |outage: &Outage| now.saturating_duration_since(outage.since);
        let unable = failing.iter().filter(|(_, outage)| lasts(outage) >= UNABLE_AFTER);
        unable.map(|(group, outage)| (group.clone(), outage.clone())).collect()
    }

    /// Returns the outage of the group that has failed for longest; `None` if all of them work.
    pub fn outage(&self) -> Option<Outage> {
        self.failing().values().min_by_key(|outage| outage.since).cloned()
    }
}

/// A changing value that others wait for.
#[derive(Debug, Default)]
struct Observable<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T: Clone + PartialEq> Observable<T> {
    fn value(&self) -> MutexGuard<'_, T> {
        // It is complete between two calls, even after a panic elsewhere.
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, value: T) {
        let mut known = self.value();
        if *known != value {
            *known = value;
            drop(known);
            self.changed.notify_waiters();
        }
    }

    fn get(&self) -> T {
        self.value().clone()
    }

    /// Waits until the value differs from `known`; returns it.
    async fn changed(&self, known: T) -> T {
        notice::until(&self.changed, || Some(self.get()).filter(|value| *value != known)).await
    }
}

/// The shared state of a sink and its group about the downstream agent. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct NextHop {
    unable: Arc<Observable<Option<Outage>>>,
    others_able: Arc<Observable<bool>>,
    batch_max: Arc<Observable<Option<u64>>>,
    dead_letters: Arc<Mutex<Vec<DeadLettered>>>,
    incarnation: Arc<AtomicU64>,
}

/// A delivered batch with events that became dead letters at the next agent or beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLettered {
    /// Its ticket in the channel of this agent.
    pub ticket: Ticket,
    /// Its identity.
    pub identity: Identity,
    /// Events among the dead letters.
    pub events: u64,
}

impl NextHop {
    /// Sets why the downstream agent cannot store its batches; `None`: it can.
    pub fn set_unable(&self, unable: Option<Outage>) {
        self.unable.set(unable);
    }

    /// Returns why the downstream agent cannot store its batches, as it reports; `None`: it can.
    pub fn unable(&self) -> Option<Outage> {
        self.unable.get()
    }

    /// Returns `true` if the downstream agent reports that it cannot store its batches.
    pub fn is_unable(&self) -> bool {
        self.unable.value().is_some()
    }

    /// Sets the incarnation of the downstream agent's source, from its `Welcome`.
    pub fn set_incarnation(&self, incarnation: u64) {
        self.incarnation.store(incarnation, Ordering::Relaxed);
    }

    /// Returns the last value of [`NextHop::set_incarnation`]; `None` before the first one.
    pub fn incarnation(&self) -> Option<u64> {
        Some(self.incarnation.load(Ordering::Relaxed)).filter(|it| *it != 0)
    }

    /// Waits until [`NextHop::unable`] differs from `known` and returns it. Cancel safe.
    pub async fn unable_changed(&self, known: Option<Outage>) -> Option<Outage> {
        self.unable.changed(known).await
    }

    /// Sets whether another member of the group is open, with a downstream agent that stores its
    /// batches.
    pub fn set_others_able(&self, able: bool) {
        self.others_able.set(able);
    }

    /// Returns the value of [`NextHop::set_others_able`].
    pub fn are_others_able(&self) -> bool {
        self.others_able.get()
    }

    /// Waits until [`NextHop::are_others_able`] differs from `known`; returns it. Cancel safe.
    pub async fn others_changed(&self, known: bool) -> bool {
        self.others_able.changed(known).await
    }

    /// Sets the size of the largest encoded batch that the downstream agent accepts; `None`: it
    /// announced no limit.
    pub fn set_batch_max(&self, bytes: Option<u64>) {
        self.batch_max.set(bytes);
    }

    /// The next agent reports dead letters of batches that are about to be settled as delivered.
    pub fn add_dead_letters(&self, letters: impl IntoIterator<Item = DeadLettered>) {
        self.letters().extend(letters);
    }

    /// Takes the reports about these tickets.
    pub fn take_dead_letters(&self, tickets: &IntervalSet) -> Vec<DeadLettered> {
        self.letters().extract_if(.., |letter| tickets.contains(letter.ticket)).collect()
    }

    /// Forgets all reports: the channel offers its batches again.
    pub fn forget_dead_letters(&self) {
        self.letters().clear();
    }

    fn letters(&self) -> MutexGuard<'_, Vec<DeadLettered>> {
        // Each change is whole.
        self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the value of [`NextHop::set_batch_max`].
    pub fn batch_max(&self) -> Option<u64> {
        self.batch_max.get()
    }

    /// Waits until [`NextHop::batch_max`] differs from `known`; returns it. Cancel safe.
    pub async fn batch_max_changed(&self, known: Option<u64>) -> Option<u64> {
        self.batch_max.changed(known).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_group_that_failed_first_counts_and_a_repetition_does_not() {
        let (board, now) = (OutletBoard::default(), Instant::now());
        let (one, two) = (Arc::from("one"), Arc::from("two"));
        let outage = |seconds, cause: &str| {
            let since = now + Duration::from_secs(seconds);
            Some(Outage { since, cause: cause.into(), agent: AgentLink::default() })
        };
        board.set_failing(&one, "a".into(), now);
        board.set_failing(&two, "b".into(), now + Duration::from_secs(1));
        board.set_failing(&one, "c".into(), now + Duration::from_secs(2));
        assert_eq!(board.outage(), outage(0, "c"));
        board.set_working("one");
        assert_eq!(board.outage(), outage(1, "b"));
        assert_eq!((board.outage_of("one"), board.outage_of("two")), (None, outage(1, "b")));
        assert_eq!(board.unable(now + UNABLE_AFTER), []);
        let unable = board.unable(now + Duration::from_secs(1) + UNABLE_AFTER);
        assert_eq!(unable, [(two, outage(1, "b").unwrap())]);
        board.set_working("two");
        assert_eq!(board.outage(), None);
    }

    #[test]
    fn an_outage_names_the_agent_that_has_the_problem() {
        let page: Arc<str> = "http://:9464/".into();
        let board = OutletBoard::with_page(Some(page.clone()));
        let (now, group) = (Instant::now(), Arc::from("g"));
        board.set_failing(&group, "disk full".into(), now);
        let own = board.outage_of("g").unwrap();
        assert_eq!(own.agent, AgentLink { address: None, page: Some(page) });
        let address: Arc<str> = "c:4141".into();
        let agent = AgentLink { address: Some(address), page: None };
        let later = now + Duration::from_secs(9);
        board.set_failing_downstream(
            &group,
            Outage { since: later, cause: "x".into(), agent: agent.clone() },
        );
        assert_eq!(board.outage_of("g"), Some(Outage { since: now, cause: "x".into(), agent }));
    }
}
