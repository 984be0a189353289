//! Tracks the identities that a channel has stored, and those that some consumer still needs.
//!
//! ```text
//!   unknown ──put──► stored + pending ──every consumer committed──► stored (settled)
//!      ▲                    │
//!      └──── quarantined ───┘     so that the sender, which keeps it, stores it again
//! ```
//!
//! # Invariants
//!
//! 1. `pending` is a subset of `stored`; a stored identity that is not pending is settled.
//! 2. An identity leaves `stored` only when its batch was found damaged.

use pipeline::{Account, Epoch, Identity, IntervalSet, KeySet, Origin};

/// The identities of one channel.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window {
    stored: KeySet,
    pending: KeySet,
}

impl Window {
    /// Restores the sets of a checkpoint.
    pub(crate) fn restore(stored: KeySet, pending: KeySet) -> Self {
        Self { stored, pending }
    }

    /// Returns the account of the channel `name`, which creates batches of `origin`.
    pub(crate) fn account(&self, name: &str, origin: Origin) -> Account {
        let mut account = Account::empty(name, origin);
        for (of, epoch, stored) in self.all().iter().filter(|(of, ..)| *of == origin) {
            // Sequences have no gaps: a missing one was damaged and given up.
            let end = stored.last().map_or(0, |last| last + 1);
            account.accepted.insert_set(of, epoch, &IntervalSet::from(0..end));
        }
        account.pending = self.pending().clone();
        account
    }

    /// Every identity stored at any time.
    pub(crate) fn all(&self) -> &KeySet {
        &self.stored
    }

    /// The identities that some consumer has not committed.
    pub(crate) fn pending(&self) -> &KeySet {
        &self.pending
    }

    /// Returns `true` if `identity` was stored before.
    pub(crate) fn knows(&self, identity: Identity) -> bool {
        self.stored.contains(identity)
    }

    /// Adds a stored batch; a batch without events is settled immediately.
    pub(crate) fn store(&mut self, identity: Identity, has_events: bool) {
        self.stored.insert(identity);
        if has_events {
            self.pending.insert(identity);
        }
    }

    /// Every consumer has committed these.
    pub(crate) fn settle(&mut self, keys: &KeySet) {
        self.pending.remove_all(keys);
    }

    /// Forgets damaged batches, which may then be stored again.
    pub(crate) fn forget(&mut self, keys: &KeySet) {
        self.stored.remove_all(keys);
        self.pending.remove_all(keys);
    }

    /// Returns the lowest epoch of `origin` with a batch that some consumer needs.
    pub(crate) fn lowest_pending(&self, origin: Origin) -> Option<Epoch> {
        self.pending.lowest_epoch(origin)
    }

    /// Sequences of one life of an origin that were stored.
    pub(crate) fn stored(&self, origin: Origin, epoch: Epoch) -> IntervalSet {
        self.stored.get(origin, epoch).cloned().unwrap_or_default()
    }

    /// Sequences of one life of an origin that every consumer has committed.
    pub(crate) fn settled(&self, origin: Origin, epoch: Epoch) -> IntervalSet {
        let stored = self.stored(origin, epoch);
        match self.pending.get(origin, epoch) {
            Some(pending) => stored.difference(pending),
            None => stored,
        }
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Sequence;

    use super::*;

    const ORIGIN: Origin = Origin([7; 16]);

    fn key(sequence: u64) -> Identity {
        Identity { origin: ORIGIN, epoch: Epoch(1), sequence: Sequence(sequence) }
    }

    #[test]
    fn settled_is_stored_without_what_is_pending() {
        let mut window = Window::default();
        (0..4).for_each(|n| window.store(key(n), n != 2));
        window.settle(&[key(0)].into_iter().collect());
        assert_eq!(window.stored(ORIGIN, Epoch(1)), IntervalSet::from(0..4));
        assert_eq!(window.settled(ORIGIN, Epoch(1)), [0, 2].into_iter().collect());
        assert_eq!(window.settled(ORIGIN, Epoch(2)), IntervalSet::EMPTY);
    }

    #[test]
    fn a_damaged_batch_may_be_stored_again() {
        let mut window = Window::default();
        window.store(key(1), true);
        window.forget(&[key(1)].into_iter().collect());
        assert!(!window.knows(key(1)));
        assert!(window.pending().is_empty());
    }
}
