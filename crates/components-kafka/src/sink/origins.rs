//! The transactional clients of a sink: one per origin, because a transactional id admits one
//! client at a time. Their number is limited; the least recently used one is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pipeline::Origin;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Exclusive access to the client of an origin. `None`: it must be opened.
pub(super) type Seat<T> = OwnedMutexGuard<Option<T>>;

struct Kept<T> {
    seat: Arc<AsyncMutex<Option<T>>>,
    /// Time of last use, as a counter.
    used: u64,
}

/// The clients of all origins.
pub(super) struct Origins<T> {
    kept: Mutex<(u64, HashMap<Origin, Kept<T>>)>,
    max: usize,
}

impl<T> Origins<T> {
    pub(super) fn new(max: usize) -> Self {
        Self { kept: Mutex::default(), max }
    }

    /// Returns the seat of an origin when no other batch uses it.
    pub(super) async fn seat(&self, origin: Origin) -> Seat<T> {
        self.find(origin).lock_owned().await
    }

    fn find(&self, origin: Origin) -> Arc<AsyncMutex<Option<T>>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (uses, seats) = &mut *kept;
        *uses += 1;
        if !seats.contains_key(&origin) && seats.len() >= self.max {
            // Keep seats in use: there may be more batches in flight than seats.
            let free = seats.iter().filter(|(_, kept)| Arc::strong_count(&kept.seat) == 1);
            let oldest = free.min_by_key(|(_, kept)| kept.used).map(|(origin, _)| *origin);
            oldest.map(|origin| seats.remove(&origin));
        }
        let new = || Kept { seat: Arc::new(AsyncMutex::new(None)), used: 0 };
        let found = seats.entry(origin).or_insert_with(new);
        found.used = *uses;
        found.seat.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(number: u8) -> Origin {
        Origin([number; 16])
    }

    #[tokio::test]
    async fn the_origin_that_was_not_used_for_longest_goes_and_one_in_use_stays() {
        let origins = Origins::new(2);
        let mut held = origins.seat(origin(1)).await;
        *held = Some(1);
        *origins.seat(origin(2)).await = Some(2);
        *origins.seat(origin(3)).await = Some(3);
        assert_eq!(*origins.seat(origin(3)).await, Some(3));
        drop(held);
        assert_eq!(*origins.seat(origin(1)).await, Some(1), "it was in use");
        assert_eq!(*origins.seat(origin(2)).await, None, "it went for the third");
        assert_eq!(*origins.seat(origin(3)).await, None, "it went for the second");
    }

    #[tokio::test]
    async fn two_batches_of_an_origin_wait_for_each_other() {
        let origins: Origins<u8> = Origins::new(1);
        let held = origins.seat(origin(1)).await;
        assert!(origins.find(origin(1)).try_lock().is_err());
        drop(held);
        assert!(origins.find(origin(1)).try_lock().is_ok());
    }
}
