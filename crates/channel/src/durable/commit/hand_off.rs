//! The queue of a group commit, and the choice of its leader.
//!
//! ```text
//!   submit: lock { push } ─► lock { claim } ─► the first one leads, the others wait for answers
//!   lead:   lock { next group, or stop leading } ─► write, unlocked ─► again
//! ```
//!
//! Waking a thread to lead, and returning the answer to the producer, takes together as long as a
//! third of a small write on a good disk. Therefore a lone producer that puts batch after batch
//! leads in place: it writes one group itself and leaves later requests to a thread. With several
//! producers a thread leads, because a task that writes cannot put its next batch into the same
//! group, and does not notice that others could. Even with a lone producer a thread leads from time
//! to time, and then notices further producers.
//!
//! # Invariants
//!
//! 1. At most one thread serves at any time.
//! 2. Every pushed request is served: the leader checks the queue and stops leading under one lock,
//!    so a later push finds no leader, and leads.
//!
//! The lock is a trait, so that a test can run every interleaving of this very code.

use std::collections::VecDeque;

/// A value behind a lock.
pub(crate) trait Locked<S> {
    /// Changes the value under its lock.
    fn with<R>(&self, change: impl FnOnce(&mut S) -> R) -> R;
}

/// The queue, and whether it has a leader.
#[derive(Debug)]
pub(crate) struct HandOff<T> {
    queue: VecDeque<T>,
    leading: bool,
    /// Consecutive groups of one request each, during whose writes no other request arrived.
    alone: u32,
}

/// The place where the new leader should lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the thread of the caller.
    Here,
    /// In a separate thread.
    Thread,
}

/// So many groups of one request each make a lone producer …
const LONE_MIN: u32 = 16;
/// … and every so many groups, a thread still writes one.
const THREAD_EVERY: u32 = 64;

impl<T> Default for HandOff<T> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), leading: false, alone: 0 }
    }
}

impl<T> HandOff<T> {
    /// Makes the caller the leader, unless there is one. A new leader must lead until [`serve_one`]
    /// or [`leave`] ends it.
    pub(crate) fn claim(&mut self) -> bool {
        !std::mem::replace(&mut self.leading, true)
    }

    /// Returns the best place to write the next group.
    fn place(&self) -> Place {
        let is_lone = self.alone >= LONE_MIN && !self.alone.is_multiple_of(THREAD_EVERY);
        if is_lone { Place::Here } else { Place::Thread }
    }

    /// Records that a group of this many requests is written, and not answered yet.
    pub(crate) fn record_group(&mut self, requests: usize) {
        match requests {
            0 => {}
            1 if self.queue.is_empty() => self.alone = self.alone.wrapping_add(1),
            _ => self.alone = 0,
        }
    }

    /// The oldest request.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.queue.pop_front()
    }

    /// Returns `true` if there is no leader and the queue is empty.
    pub(crate) fn is_at_rest(&self) -> bool {
        !self.leading && self.queue.is_empty()
    }
}

/// State that contains a hand-off.
pub(crate) trait Handing {
    /// The type of requests.
    type Request;

    /// The hand-off.
    fn hand_off(&mut self) -> &mut HandOff<Self::Request>;

    /// Returns `true` if something must be written that no request asks for.
    fn has_work(&self) -> bool;
}

/// Adds a request. If there is no leader, the caller becomes it; returns where to lead.
pub(crate) fn submit<S: Handing>(shared: &impl Locked<S>, request: S::Request) -> Option<Place> {
    shared.with(|state| state.hand_off().queue.push_back(request));
    shared.with(|state| {
        let hand_off = state.hand_off();
        hand_off.claim().then(|| hand_off.place())
    })
}

fn is_asked<S: Handing>(state: &mut S) -> bool {
    state.has_work() || !state.hand_off().queue.is_empty()
}

/// Writes one group if requests wait: `form` takes them from the queue under the lock, and `write`
/// runs without it. Returns whether the caller still leads.
pub(crate) fn serve_one<S: Handing, G>(
    shared: &impl Locked<S>,
    form: impl FnOnce(&mut S) -> G,
    write: impl FnOnce(G),
) -> bool {
    let group = shared.with(|state| {
        state.hand_off().leading = is_asked(state);
        state.hand_off().leading.then(|| form(state))
    });
    let goes_on = group.is_some();
    group.map(write);
    goes_on
}

/// Stops leading, unless something waits; answers whether the caller still leads.
pub(crate) fn leave<S: Handing>(shared: &impl Locked<S>) -> bool {
    shared.with(|state| {
        state.hand_off().leading = is_asked(state);
        state.hand_off().leading
    })
}

#[cfg(test)]
mod tests;
