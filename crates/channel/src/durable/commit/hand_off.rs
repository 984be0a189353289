//! The queue of a group commit, and the choice of its leader.
//!
//! ```text
//!   submit: lock { push } ─► lock { claim } ─► the first one leads, the others wait for answers
//!   lead:   lock { next group, or stop leading } ─► write, unlocked ─► again
//! ```
//!
//! A thread that is woken to lead takes a while to begin, and the producer takes a while to get the
//! answer: together as long as a third of a small write on a good disk. So a producer that puts one
//! batch after the other, alone, leads in place: it writes one group itself and leaves what came
//! meanwhile to a thread. The batches of several wait better for a thread: a task that writes
//! cannot put the next one of its batches into the same group, nor see that others could. Hence a
//! thread leads now and then in any case, and more producers are seen then.
//!
//! # Invariants
//!
//! 1. At most one thread serves at any time.
//! 2. What is pushed is served: the leader looks at the queue and stops leading under one lock, so
//!    a later push finds no leader, and leads.
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
    /// Groups in a row of one request each, while whose writes no other one came.
    alone: u32,
}

/// Where the new leader should lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the thread of the caller.
    Here,
    /// In a thread of its own.
    Thread,
}

/// So many groups of one request each make a lone producer …
const LONE_MIN: u32 = 16;
/// … and one in so many is still written by a thread.
const THREAD_EVERY: u32 = 64;

impl<T> Default for HandOff<T> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), leading: false, alone: 0 }
    }
}

impl<T> HandOff<T> {
    /// Makes the caller the leader, unless there is one. A new leader has to lead, until
    /// [`serve_one`] or [`leave`] says that it does not any more.
    pub(crate) fn claim(&mut self) -> bool {
        !std::mem::replace(&mut self.leading, true)
    }

    /// Where the next group had better be written.
    fn place(&self) -> Place {
        let is_lone = self.alone >= LONE_MIN && !self.alone.is_multiple_of(THREAD_EVERY);
        if is_lone { Place::Here } else { Place::Thread }
    }

    /// A group of so many requests is written, and not answered yet.
    pub(crate) fn learn(&mut self, requests: usize) {
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

    /// Whether there is no leader and nothing waits.
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

    /// Whether there is something to write that no request asks for.
    fn has_work(&self) -> bool;
}

/// Adds a request; if there is no leader the caller is it; answers where to lead.
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

/// Writes one group, if anything waits: `form` takes what it wants of the queue, under the lock,
/// and `write` does the rest without it. Answers whether the caller still leads.
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
