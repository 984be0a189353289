//! Backlog of the tenants in the channels: batches that are stored and that some sink has not
//! delivered.
//!
//! ```text
//!   batch ─► place ─────────────────► channels ─► sinks ─► committed ─► place is free
//!            (waits while its tenant
//!             is at its limit)
//! ```
//!
//! A channel does not know tenants, so this module remembers the tenant of each batch, in memory
//! only: batches that were in the channels before a start count for no tenant. Only tenants with a
//! limit have places.
//!
//! # Invariants
//!
//! 1. A tenant has at most its limit, or one batch that alone is larger.
//! 2. A place becomes free when its batch is committed or fails to be stored. It is taken before
//!    the batch is handed over, so that the commit cannot come first; a scan of all places makes up
//!    for missed events.
//! 3. A batch has one place, even if it is sent repeatedly.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pipeline::{Epoch, Identity, IntervalSet, KeySet, Origin};
use support::mutant;
use tokio::sync::Notify;

/// Minimum number of bytes that a place counts for: the entry uses memory too.
const PLACE_MIN: u64 = 8 << 10;

/// Places of all tenants of a source.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    held: Mutex<Held>,
    /// Signals that a place has become free.
    freed: Notify,
}

/// Places of one epoch of an origin: sequence number to tenant and bytes.
type Places = BTreeMap<u64, (Arc<str>, u64)>;

#[derive(Debug, Default)]
struct Held {
    places: BTreeMap<(Origin, Epoch), Places>,
    /// Bytes of each tenant that has any.
    tenants: BTreeMap<Arc<str>, u64>,
}

/// Result of a request for a place.
enum Taken {
    Now,
    /// The batch has a place already.
    Before,
    NoRoom,
}

impl Held {
    fn of(&self, tenant: &str) -> u64 {
        self.tenants.get(tenant).copied().unwrap_or_default()
    }

    fn take(&mut self, tenant: &Arc<str>, max: u64, (key, bytes): (Identity, u64)) -> Taken {
        let life = (key.origin, key.epoch);
        if self.places.get(&life).is_some_and(|places| places.contains_key(&key.sequence.0)) {
            return Taken::Before;
        }
        let (bytes, held) = (bytes.max(PLACE_MIN), self.of(tenant));
        if held > 0 && held.saturating_add(bytes) > max {
            return Taken::NoRoom;
        }
        let places = self.places.entry(life).or_default();
        places.insert(key.sequence.0, (tenant.clone(), bytes));
        *self.tenants.entry(tenant.clone()).or_default() += bytes;
        Taken::Now
    }

    fn free(&mut self, life: (Origin, Epoch), sequences: Range<u64>) {
        if mutant!("tenant_backlog_kept") {
            return;
        }
        let Some(places) = self.places.get_mut(&life) else { return };
        for (_, (tenant, bytes)) in places.extract_if(sequences, |_, _| true) {
            if let Some(held) = self.tenants.get_mut(&tenant) {
                *held -= bytes;
                if *held == 0 {
                    self.tenants.remove(&tenant);
                }
            }
        }
        if places.is_empty() {
            self.places.remove(&life);
        }
    }
}

impl Backlog {
    fn held(&self) -> MutexGuard<'_, Held> {
        // Each change leaves it consistent.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the bytes of this tenant.
    pub(super) fn of(&self, tenant: &str) -> u64 {
        self.held().of(tenant)
    }

    /// Waits until the tenant has room for a batch of `bytes` bytes, and takes a place; `None` if
    /// the batch has one already. Calls `waits` once if it has to wait. Cancel safe.
    pub(super) async fn place(
        self: &Arc<Self>,
        (tenant, max): (&Arc<str>, u64),
        (key, bytes): (Identity, u64),
        waits: impl FnOnce(),
    ) -> Option<Place> {
        let mut waits = Some(waits);
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            match self.held().take(tenant, max, (key, bytes)) {
                Taken::Now => return Some(Place { backlog: Some(self.clone()), key }),
                Taken::Before => return None,
                Taken::NoRoom => {}
            }
            if let Some(waits) = waits.take() {
                waits();
            }
            freed.await;
        }
    }

    /// Frees the places of committed batches.
    pub(super) fn committed(&self, keys: &KeySet) {
        let mut held = self.held();
        for (origin, epoch, sequences) in keys.iter() {
            for run in sequences.runs() {
                held.free((origin, epoch), run.clone());
            }
        }
        drop(held);
        self.freed.notify_waiters();
    }

    /// Checks all places, and frees those of committed batches.
    pub(super) fn look(&self, committed: impl Fn(Origin, Epoch) -> IntervalSet) {
        let lives: Vec<_> = self.held().places.keys().copied().collect();
        for (origin, epoch) in lives {
            let sequences = committed(origin, epoch);
            let mut held = self.held();
            sequences.runs().iter().for_each(|run| held.free((origin, epoch), run.clone()));
        }
        self.freed.notify_waiters();
    }
}

/// Place of a batch; becomes free when dropped, unless it is [kept](Place::keep).
#[derive(Debug)]
pub struct Place {
    backlog: Option<Arc<Backlog>>,
    key: Identity,
}

impl Place {
    /// Keeps the place until the commit of the batch, which is in the channels now.
    pub fn keep(mut self) {
        self.backlog = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(backlog) = &self.backlog else { return };
        let Identity { origin, epoch, sequence } = self.key;
        backlog.held().free((origin, epoch), sequence.0..sequence.0.saturating_add(1));
        backlog.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use pipeline::Sequence;
    use proptest::prelude::*;

    use super::*;

    /// Limit of a tenant in these tests: ten places.
    const MAX: u64 = 10 * PLACE_MIN;

    fn key(sequence: u64) -> Identity {
        Identity { origin: Origin([1; 16]), epoch: Epoch(1), sequence: Sequence(sequence) }
    }

    fn tenant(number: usize) -> Arc<str> {
        format!("10.0.0.{number}").into()
    }

    /// Takes a place without waiting; `None`: it would have to wait, or has a place already.
    fn place(backlog: &Arc<Backlog>, number: usize, sequence: u64, bytes: u64) -> Option<Place> {
        let tenant = tenant(number);
        backlog.place((&tenant, MAX), (key(sequence), bytes), || {}).now_or_never().flatten()
    }

    #[test]
    fn a_tenant_that_has_what_it_may_waits_until_some_of_it_is_delivered_and_no_other_one_does() {
        let backlog = Arc::<Backlog>::default();
        place(&backlog, 1, 0, MAX - PLACE_MIN).unwrap().keep();
        let mut times = 0;
        let own = tenant(1);
        let mut waiting =
            Box::pin(backlog.place((&own, MAX), (key(1), 2 * PLACE_MIN), || times += 1));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(place(&backlog, 1, 2, 1).is_some(), "a smaller one has room");
        assert!(place(&backlog, 2, 3, 5 * MAX).is_some(), "it has nothing else there");
        assert!(waiting.as_mut().now_or_never().is_none());
        backlog.committed(&KeySet::from_iter([key(7)]));
        assert!(waiting.as_mut().now_or_never().is_none(), "that was of no one");
        backlog.committed(&KeySet::from_iter([key(0)]));
        assert!(waiting.as_mut().now_or_never().unwrap().is_some());
        drop(waiting);
        assert_eq!((times, backlog.of(&own)), (1, 0), "it was not stored");
    }

    #[test]
    fn a_batch_that_comes_again_has_one_place() {
        let backlog = Arc::<Backlog>::default();
        place(&backlog, 1, 0, MAX).unwrap().keep();
        let again = backlog.place((&tenant(1), MAX), (key(0), MAX), || {}).now_or_never();
        assert!(again.unwrap().is_none(), "it does not wait, and takes no other one");
        assert_eq!(backlog.of("10.0.0.1"), MAX);
        backlog.look(|_, _| [0].into_iter().collect());
        assert_eq!(backlog.of("10.0.0.1"), 0);
        assert!(backlog.held().places.is_empty());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Take(usize, u64, u64),
        Keep(usize),
        Drop(usize),
        Commit(u64, u64),
        Look(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..3_usize, 0..40_u64, 0..3 * PLACE_MIN)
                .prop_map(|(tenant, sequence, bytes)| Step::Take(tenant, sequence, bytes)),
            3 => any::<usize>().prop_map(Step::Keep),
            1 => any::<usize>().prop_map(Step::Drop),
            2 => (0..40_u64, 1..8_u64).prop_map(|(from, many)| Step::Commit(from, from + many)),
            1 => (0..40_u64).prop_map(Step::Look),
        ]
    }

    /// Compares the backlog with a list of places.
    fn play(steps: Vec<Step>) {
        let backlog = Arc::<Backlog>::default();
        let mut open: Vec<Place> = Vec::new();
        let mut model: Vec<(usize, u64, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Take(tenant, sequence, bytes) => {
                    let took = place(&backlog, tenant, sequence, bytes);
                    let bytes = bytes.max(PLACE_MIN);
                    let held: u64 = model.iter().filter(|it| it.0 == tenant).map(|it| it.2).sum();
                    let is_there = model.iter().any(|it| it.1 == sequence);
                    let expected = !is_there && (held == 0 || held + bytes <= MAX);
                    assert_eq!(took.is_some(), expected, "a place of {held} and {bytes} bytes");
                    if let Some(took) = took {
                        model.push((tenant, sequence, bytes));
                        open.push(took);
                    }
                }
                Step::Keep(at) if !open.is_empty() => open.swap_remove(at % open.len()).keep(),
                Step::Drop(at) if !open.is_empty() => {
                    let gone = open.swap_remove(at % open.len());
                    let sequence = gone.key.sequence.0;
                    drop(gone);
                    model.retain(|it| it.1 != sequence);
                }
                Step::Commit(from, until) => {
                    let is_open = |it: u64| open.iter().any(|open| open.key.sequence.0 == it);
                    // Batches that are not stored yet cannot be committed.
                    let keys = (from..until).filter(|it| !is_open(*it));
                    let keys: Vec<u64> = keys.collect();
                    backlog.committed(&keys.iter().map(|it| key(*it)).collect());
                    model.retain(|it| !keys.contains(&it.1));
                }
                Step::Look(until) => {
                    let is_open = |it: &u64| open.iter().any(|open| open.key.sequence.0 == *it);
                    let known: IntervalSet = (0..until).filter(|it| !is_open(it)).collect();
                    backlog.look(|_, _| known.clone());
                    model.retain(|it| !known.contains(it.1));
                }
                _ => {}
            }
            for number in 0..3 {
                let held: u64 = model.iter().filter(|it| it.0 == number).map(|it| it.2).sum();
                assert_eq!(backlog.of(&tenant(number)), held, "free again: tenant {number}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn each_place_is_free_once_its_batch_is_delivered_or_was_not_stored(
            steps in prop::collection::vec(step(), 1..80),
        ) {
            support::mutants::plant_by_environment();
            play(steps);
        }
    }
}
