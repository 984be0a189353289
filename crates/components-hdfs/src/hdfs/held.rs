//! The batches in the sink, and their settlements: shared by the sink and its tasks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ledger::Settled;
use pipeline::{Batch, Identity, IntervalSet, Letter, Outcome, Settlement, Ticket};
use support::notice;
use tokio::sync::Notify;

/// Accepted batches without a settlement, and settlements not yet returned.
///
/// A ticket is settled once. Later settlements are ignored, also after [`Held::release`], so that
/// a task that outlives the sink settles nothing.
#[derive(Debug, Default)]
pub(super) struct Held {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Size of each batch.
    held: BTreeMap<Ticket, u64>,
    /// Sum of the sizes.
    bytes: u64,
    said: VecDeque<Settlement>,
    /// Batches in the ledger, as far as it was read.
    delivered: Settled,
}

impl State {
    /// Removes a batch. Returns whether it was present.
    fn remove(&mut self, ticket: Ticket) -> bool {
        let bytes = self.held.remove(&ticket);
        self.bytes -= bytes.unwrap_or(0);
        bytes.is_some()
    }
}

impl Held {
    /// Adds a batch of this size.
    pub(super) fn take(&self, ticket: Ticket, bytes: u64) {
        let mut state = self.state();
        let before = state.held.insert(ticket, bytes).unwrap_or(0);
        state.bytes = state.bytes - before + bytes;
    }

    /// Records the outcome of these batches.
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

    /// Settles batches after the ledger named at least one of them. Those in the ledger are
    /// delivered. The others return to the channel, including late copies, which are settled on
    /// their next arrival, with their events.
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

    /// Records events that can never be written. A letter for the whole batch settles it.
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

    /// Removes a batch that was not accepted after all.
    pub(super) fn forget(&self, ticket: Ticket) {
        self.state().remove(ticket);
    }

    /// Returns all batches to the channel.
    pub(super) fn release(&self) {
        let tickets = self.state().held.keys().copied().collect();
        self.settle(tickets, Outcome::Again(None));
    }

    /// Drops all batches and settlements.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        state.held.clear();
        state.bytes = 0;
        state.said.clear();
    }

    /// Returns the next settlement. Cancel-safe.
    pub(super) async fn settled(&self) -> Settlement {
        notice::until(&self.news, || self.state().said.pop_front()).await
    }

    /// Returns the total size of the batches.
    pub(super) fn bytes(&self) -> u64 {
        self.state().bytes
    }

    /// Records the state of the ledger.
    pub(super) fn record_ledger(&self, delivered: Settled) {
        self.state().delivered = delivered;
    }

    /// Returns whether the ledger, as far as it was read, has closed the epoch of this batch.
    pub(super) fn is_closed(&self, key: Identity) -> bool {
        self.state().delivered.is_closed(key)
    }

    /// Settles a batch without writing it if it is in the ledger.
    pub(super) fn settle_known(&self, ticket: Ticket, batch: &Batch) -> bool {
        let Some(key) = batch.envelope.identity else { return false };
        let (closed, delivered) = {
            let state = self.state();
            (state.delivered.is_closed(key), state.delivered.contains(key))
        };
        if closed {
            // Its origin saw it committed long ago. This is a stray copy, which must not be dropped
            // silently.
            let detail = format!(
                "late copy of batch {key}, which was committed before its sender closed the epoch; \
                 no event is lost unless two agents use copies of one data directory"
            );
            let (events, whole, reason) = (batch.clone(), true, "epoch_closed");
            self.refuse(Letter { ticket, events, whole, reason, detail });
        } else if delivered {
            self.settle(IntervalSet::from(ticket..ticket + 1), Outcome::Delivered);
        }
        closed || delivered
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Poisoning is harmless: no critical section leaves partial state.
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
        held.release();
        assert_eq!(held.bytes(), 0);
        assert_eq!(held.settled().await.tickets, (1..2).into());
        assert_eq!(held.settled().await.tickets, (2..3).into());
        assert!(held.state().said.is_empty());
    }
}
