//! Whether what an agent holds can leave it, and whether the next agent says that of itself.
//!
//! ```text
//!   a sink group ──OutletBoard──► source ──"cannot store"──► sink of the agent before ──NextHop──► its group
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

/// Nothing leaves a channel, because all sinks of a group behind it fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// The first failure after something had left.
    pub since: Instant,
    /// What the sink that failed last says.
    pub cause: Arc<str>,
}

/// For each group of a channel whose members all fail, since when they do. Written by the groups
/// that take from the channel, read by the sources that fill it. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct OutletBoard {
    failing: Arc<Mutex<BTreeMap<Arc<str>, Outage>>>,
}

impl OutletBoard {
    fn failing(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Outage>> {
        // The map is whole between two calls, also after a panic elsewhere.
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No member of `group` works. A later call does not begin the time anew.
    pub fn fails(&self, group: &Arc<str>, cause: Arc<str>, now: Instant) {
        let mut failing = self.failing();
        let outage = Outage { since: now, cause: cause.clone() };
        failing.entry(group.clone()).or_insert(outage).cause = cause;
    }

    /// Some member of `group` works.
    pub fn works(&self, group: &str) {
        self.failing().remove(group);
    }

    /// The outage of the group that has failed for longest; `None` where all of them work.
    pub fn outage(&self) -> Option<Outage> {
        self.failing().values().min_by_key(|outage| outage.since).cloned()
    }
}

/// What a sink and its group tell each other of the agent behind the sink. Clones share it.
#[derive(Debug, Clone)]
pub struct NextHop {
    unable: Arc<watch::Sender<bool>>,
    others_able: Arc<watch::Sender<bool>>,
}

impl Default for NextHop {
    fn default() -> Self {
        Self {
            unable: watch::Sender::new(false).into(),
            others_able: watch::Sender::new(false).into(),
        }
    }
}

fn set(state: &watch::Sender<bool>, value: bool) {
    state.send_if_modified(|was| std::mem::replace(was, value) != value);
}

impl NextHop {
    /// The next agent says whether it cannot store what it holds.
    pub fn set_unable(&self, unable: bool) {
        set(&self.unable, unable);
    }

    /// Whether the next agent says that it cannot store what it holds.
    pub fn is_unable(&self) -> bool {
        *self.unable.borrow()
    }

    /// Sees each change of [`NextHop::is_unable`] from now on.
    pub fn watch_unable(&self) -> watch::Receiver<bool> {
        self.unable.subscribe()
    }

    /// Whether another member of the group is open, and its next agent stores what it holds.
    pub fn set_others_able(&self, able: bool) {
        set(&self.others_able, able);
    }

    /// What [`NextHop::set_others_able`] said last.
    pub fn are_others_able(&self) -> bool {
        *self.others_able.borrow()
    }

    /// Sees each change of [`NextHop::are_others_able`] from now on.
    pub fn watch_others(&self) -> watch::Receiver<bool> {
        self.others_able.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_group_that_failed_first_counts_and_a_repetition_does_not() {
        let (board, now) = (OutletBoard::default(), Instant::now());
        let (one, two) = (Arc::from("one"), Arc::from("two"));
        let outage = |seconds, cause: &str| {
            Some(Outage { since: now + Duration::from_secs(seconds), cause: cause.into() })
        };
        board.fails(&one, "a".into(), now);
        board.fails(&two, "b".into(), now + Duration::from_secs(1));
        board.clone().fails(&one, "c".into(), now + Duration::from_secs(2));
        assert_eq!(board.outage(), outage(0, "c"));
        board.works("one");
        assert_eq!(board.outage(), outage(1, "b"));
        board.works("two");
        assert_eq!(board.outage(), None);
    }
}
