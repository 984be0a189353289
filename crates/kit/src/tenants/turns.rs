//! Turns: a put waits for a turn before it waits for room, so that the puts of one tenant do not
//! block all others.
//!
//! ```text
//!   puts ─► queue of each tenant ─► rotation ─► one at a time ─► room ─► next
//! ```
//!
//! Room itself (memory, a channel) is granted in the order of requests. With turns, only one put of
//! the source requests room at a time. When it has its room, the rotation chooses the next put
//! fairly among all that wait by then. While there is room, a turn takes no time and nothing waits.

mod rotation;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use rotation::{Rotation, Tenant, Ticket};

/// Turns for one kind of room. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// True while a turn is in use.
    taken: bool,
    rotation: Rotation,
    /// Channels to the waiting puts.
    waiting: BTreeMap<Ticket, oneshot::Sender<Turn>>,
}

/// A turn; ends when dropped.
#[derive(Debug)]
pub(super) struct Turn(Turns);

/// A place in the queue of a tenant; given up when dropped.
struct Place {
    turns: Turns,
    tenant: Tenant,
    ticket: Ticket,
}

impl Turns {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change leaves it consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn of a put of `tenant`, with its weight, that needs room for `bytes` bytes.
    /// Cancel safe: dropping the future leaves the queue.
    pub(super) async fn turn(&self, tenant: (Tenant, u32), bytes: u64) -> Turn {
        let (place, granted) = {
            let mut state = self.state();
            if !state.taken {
                state.taken = true;
                return Turn(self.clone());
            }
            let ticket = state.rotation.wait(tenant, bytes);
            let (grant, granted) = oneshot::channel();
            state.waiting.insert(ticket, grant);
            (Place { turns: self.clone(), tenant: tenant.0, ticket }, granted)
        };
        let turn = granted.await.expect("a place in the line is kept until it is given up");
        drop(place);
        turn
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.turns.state();
        // If the turn was granted already, it passes on when the message is dropped.
        if let Some(grant) = state.waiting.remove(&self.ticket) {
            state.rotation.leave(self.tenant, self.ticket);
            drop(state);
            drop(grant);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.0.state();
        let next = state.rotation.next();
        let grant = next.and_then(|ticket| state.waiting.remove(&ticket));
        state.taken = grant.is_some();
        drop(state);
        if let Some(grant) = grant {
            // If the put no longer waits, the turn is dropped here and passes to the next put.
            drop(grant.send(Self(self.0.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const ONE: (Tenant, u32) = (1, 1);
    const OTHER: (Tenant, u32) = (2, 1);

    #[test]
    fn a_free_turn_takes_no_time_and_one_that_is_taken_is_handed_on_in_fair_order() {
        let turns = Turns::default();
        let held = turns.turn(ONE, 1).now_or_never().unwrap();
        let mut noisy: Vec<_> = (0..50).map(|_| Box::pin(turns.turn(ONE, 1 << 20))).collect();
        noisy.iter_mut().for_each(|it| assert!(it.as_mut().now_or_never().is_none()));
        let mut quiet = Box::pin(turns.turn(OTHER, 1));
        assert!(quiet.as_mut().now_or_never().is_none());
        drop(held);
        assert!(quiet.as_mut().now_or_never().is_some(), "it is the cheapest of a round");
        for it in &mut noisy {
            assert!(it.as_mut().now_or_never().is_some(), "each turn ends here at once");
        }
        assert!(!turns.state().taken && turns.state().waiting.is_empty());
    }

    #[test]
    fn what_gives_up_waiting_stops_no_other_one() {
        let turns = Turns::default();
        let held = turns.turn(ONE, 1).now_or_never().unwrap();
        let mut first = Box::pin(turns.turn(ONE, 1));
        let mut second = Box::pin(turns.turn(ONE, 1));
        let mut third = Box::pin(turns.turn(OTHER, 1));
        for it in [&mut first, &mut second, &mut third] {
            assert!(it.as_mut().now_or_never().is_none());
        }
        drop(second);
        // It has the turn, and is dropped before it is polled.
        drop(held);
        drop(first);
        assert!(third.as_mut().now_or_never().is_some());
        assert!(!turns.state().taken && turns.state().waiting.is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn turns_exclude_each_other_and_end_whatever_becomes_of_those_that_wait() {
        let (turns, inside) = (Turns::default(), Arc::new(Mutex::new(())));
        let tasks: Vec<_> = (0..200_u64)
            .map(|n| {
                let (turns, inside) = (turns.clone(), inside.clone());
                tokio::spawn(async move {
                    for round in 0..50 {
                        let waits = turns.turn((n % 7, 1), n * 100);
                        let Some(_turn) = (match (n + round) % 3 {
                            0 => tokio::time::timeout(std::time::Duration::ZERO, waits).await.ok(),
                            _ => Some(waits.await),
                        }) else {
                            continue;
                        };
                        let _alone = inside.try_lock().expect("one at a time");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(!turns.state().taken && turns.state().waiting.is_empty());
    }
}
