//! Who leads a group commit, and what waits for it.
//!
//! ```text
//!   submit: lock { push } ─► lock { claim } ─► the first one serves, the others wait for answers
//!   serve:  lock { next group, or stop leading } ─► write, unlocked ─► again
//! ```
//!
//! # Invariants
//!
//! 1. At most one thread serves at any time.
//! 2. What is pushed is served: the leader looks at the queue and stops leading under one lock, so
//!    whoever pushes later finds nobody leading and leads.
//!
//! The lock is a trait, so that a test can run every interleaving of this very code.

use std::collections::VecDeque;

/// A value behind a lock.
pub(crate) trait Locked<S> {
    /// Changes the value while nobody else can see it.
    fn with<R>(&self, change: impl FnOnce(&mut S) -> R) -> R;
}

/// The queue, and whether somebody serves it.
#[derive(Debug)]
pub(crate) struct HandOff<T> {
    queue: VecDeque<T>,
    leading: bool,
}

impl<T> Default for HandOff<T> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), leading: false }
    }
}

impl<T> HandOff<T> {
    /// Makes the caller the leader, unless there is one. Who becomes it has to [`serve`].
    pub(crate) fn claim(&mut self) -> bool {
        !std::mem::replace(&mut self.leading, true)
    }

    /// The oldest request.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.queue.pop_front()
    }

    /// Whether nobody leads and nothing waits.
    pub(crate) fn is_at_rest(&self) -> bool {
        !self.leading && self.queue.is_empty()
    }
}

/// What holds a hand-off, among other things.
pub(crate) trait Handing {
    /// What is handed over.
    type Request;

    /// The hand-off.
    fn hand_off(&mut self) -> &mut HandOff<Self::Request>;

    /// Whether there is something to write that nobody waits for.
    fn has_work(&self) -> bool;
}

/// Adds a request; answers whether the caller has to [`serve`].
pub(crate) fn submit<S: Handing>(shared: &impl Locked<S>, request: S::Request) -> bool {
    shared.with(|state| state.hand_off().queue.push_back(request));
    shared.with(|state| state.hand_off().claim())
}

/// Serves until nothing waits: `form` takes what it wants of the queue, under the lock, and `write`
/// does the rest without it.
pub(crate) fn serve<S: Handing, G>(
    shared: &impl Locked<S>,
    mut form: impl FnMut(&mut S) -> G,
    mut write: impl FnMut(G),
) {
    let mut next = || {
        shared.with(|state| {
            if !state.has_work() && state.hand_off().queue.is_empty() {
                state.hand_off().leading = false;
                return None;
            }
            Some(form(state))
        })
    };
    while let Some(group) = next() {
        write(group);
    }
}

#[cfg(test)]
mod tests;
