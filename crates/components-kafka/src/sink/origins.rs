//! The clients of a sink with transactions: one for each origin, since a transactional id lets one
//! client in at a time. So many are kept at most; the one that was not used for longest goes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pipeline::Origin;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// What is kept of an origin, by one batch at a time. `None`: it has to be opened.
pub(super) type Seat<T> = OwnedMutexGuard<Option<T>>;

struct Kept<T> {
    seat: Arc<AsyncMutex<Option<T>>>,
    /// Rises with each use of any origin.
    used: u64,
}

/// What is kept of each origin.
pub(super) struct Origins<T> {
    kept: Mutex<(u64, HashMap<Origin, Kept<T>>)>,
    max: usize,
}

impl<T> Origins<T> {
    pub(super) fn new(max: usize) -> Self {
        Self { kept: Mutex::default(), max }
    }

    /// The seat of an origin, once no other batch has it.
    pub(super) async fn seat(&self, origin: Origin) -> Seat<T> {
        self.find(origin).lock_owned().await
    }

    fn find(&self, origin: Origin) -> Arc<AsyncMutex<Option<T>>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (uses, seats) = &mut *kept;
        *uses += 1;
        if !seats.contains_key(&origin) && seats.len() >= self.max {
            // One that is in use stays: batches in flight may be more than seats.
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
