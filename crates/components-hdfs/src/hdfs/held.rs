//! What the sink holds, and what it has to say about it: shared by the sink and its tasks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ledger::Settled;
use pipeline::{Batch, Identity, IntervalSet, Letter, Outcome, Settlement, Ticket};
use support::notice;
use tokio::sync::Notify;

/// Batches that were taken over and are not settled, and settlements that were not asked for yet.
///
/// A ticket is settled once: what is settled already, by its end or by [`Held::give_back`], is
/// passed over. So a task that is still running after the sink was closed settles nothing.
#[derive(Debug, Default)]
pub(super) struct Held {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes of each batch that is held.
    held: BTreeMap<Ticket, u64>,
    /// Their sum.
    bytes: u64,
    said: VecDeque<Settlement>,
    /// Batches that the ledger holds, as far as it was read.
    delivered: Settled,
}

impl State {
    /// Lets go of a batch; says whether it was held.
    fn remove(&mut self, ticket: Ticket) -> bool {
        let bytes = self.held.remove(&ticket);
        self.bytes -= bytes.unwrap_or(0);
        bytes.is_some()
    }
}

impl Held {
    /// A batch of this many bytes is taken over.
    pub(super) fn take(&self, ticket: Ticket, bytes: u64) {
        let mut state = self.state();
        let before = state.held.insert(ticket, bytes).unwrap_or(0);
        state.bytes = state.bytes - before + bytes;
    }

    /// What became of these batches.
    pub(super) fn settle(&self, mut tickets: IntervalSet, outcome: Outcome) {
        let mut state = self.state();
        for ticket in tickets.clone().iter() {
            if !state.remove(ticket) {
                tickets.remove(ticket);
            }
        }
        if !tickets.is_empty() {
            state.said.push_back(Settlement { tickets, outcome });
            self.news.notify_one();
        }
    }

    /// Of these batches the ledger names some, or all: those are delivered. The others go back,
    /// also those that came too late: they are settled when they come again, with their events.
    pub(super) fn settle_by_the_ledger(&self, batches: &[(Ticket, Option<Identity>)]) {
        let (delivered, rest): (Vec<_>, Vec<_>) = {
            let state = self.state();
            let is_there =
                |key: Identity| state.delivered.contains(key) && !state.delivered.is_closed(key);
            batches.iter().partition(|(_, key)| key.is_some_and(is_there))
        };
        let tickets = |of: Vec<&(Ticket, _)>| of.into_iter().map(|(ticket, _)| *ticket).collect();
        self.settle(tickets(delivered), Outcome::Delivered);
        self.settle(tickets(rest), Outcome::Again(None));
    }

    /// Events that can never be written. A letter of the whole batch settles it.
    pub(super) fn refuse(&self, letter: Letter) {
        let mut state = self.state();
        let whole = letter.whole;
        let held = state.held.contains_key(&letter.ticket);
        if whole {
            state.remove(letter.ticket);
        }
        if held {
            state.said.push_back(Settlement::refused(letter));
            self.news.notify_one();
        }
    }

    /// The batch was not taken over after all.
    pub(super) fn forget(&self, ticket: Ticket) {
        self.state().remove(ticket);
    }

    /// All that is held goes back.
    pub(super) fn give_back(&self) {
        let tickets = self.state().held.keys().copied().collect();
        self.settle(tickets, Outcome::Again(None));
    }

    /// Forgets everything: settlements are not asked for any more.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        state.held.clear();
        state.bytes = 0;
        state.said.clear();
    }

    /// The next settlement. Cancel safe.
    pub(super) async fn settled(&self) -> Settlement {
        notice::until(&self.news, || self.state().said.pop_front()).await
    }

    /// Bytes of what is held.
    pub(super) fn bytes(&self) -> u64 {
        self.state().bytes
    }

    /// The ledger was read, or advanced, to this.
    pub(super) fn know(&self, delivered: Settled) {
        self.state().delivered = delivered;
    }

    /// Whether the ledger has closed the epoch of this batch, as far as it was read.
    pub(super) fn is_closed(&self, key: Identity) -> bool {
        self.state().delivered.is_closed(key)
    }

    /// Settles a batch that is held without writing it, if the ledger decides that.
    pub(super) fn settle_known(&self, ticket: Ticket, batch: &Batch) -> bool {
        let Some(key) = batch.envelope.identity else { return false };
        let (closed, delivered) = {
            let state = self.state();
            (state.delivered.is_closed(key), state.delivered.contains(key))
        };
        if closed {
            // Its origin had it committed long ago: this is a stray copy, and not silently dropped.
            let detail = format!(
                "batch {key} was committed, and is forgotten; this is a copy that came late"
            );
            let (events, whole, reason) = (batch.clone(), true, "epoch_closed");
            self.refuse(Letter { ticket, events, whole, reason, detail });
        } else if delivered {
            self.settle(IntervalSet::from(ticket..ticket + 1), Outcome::Delivered);
        }
        closed || delivered
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done under the lock, so a panic elsewhere does no harm here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_settled_once_and_then_weighs_nothing() {
        let held = Held::default();
        held.take(1, 100);
        held.take(2, 10);
        assert_eq!(held.bytes(), 110);
        held.settle((1..2).into(), Outcome::Delivered);
        held.settle((0..9).into(), Outcome::Again(None));
        held.give_back();
        assert_eq!(held.bytes(), 0);
        assert_eq!(held.settled().await.tickets, (1..2).into());
        assert_eq!(held.settled().await.tickets, (2..3).into());
        assert!(held.state().said.is_empty());
    }
}
