//! Destinations that events name, and that the other side does not accept.
//!
//! A sink with one configured destination waits for it without a limit. A header of an event may
//! name any destination, so waiting for it must not block the events of all others:
//!
//! ```text
//!   refused ──► the batch is retried ──► still refused after `destination_wait`: dead letter
//!                                   └──► accepted: delivered
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::units::Period;

/// The reason of dead letters whose destination does not accept events.
pub const UNKNOWN_DESTINATION: &str = "unknown_destination";

/// Maximum number of remembered destinations of each kind.
const KNOWN_MAX: usize = 1024;

/// A refused destination is forgotten if no event names it for this time.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);

/// Default of the setting `destination_wait`.
pub fn destination_wait() -> Period {
    Period(Duration::from_secs(60))
}

/// The destinations that events of one sink name.
///
/// A destination that was accepted before gets the whole wait again. All others share one wait: a
/// thousand names that do not exist block the sink only as long as one.
#[derive(Debug)]
pub struct Destinations {
    wait: Duration,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    accepted: BTreeSet<String>,
    refused: BTreeMap<String, Refused>,
}

#[derive(Debug, Clone, Copy)]
struct Refused {
    first: Instant,
    last: Instant,
}

impl Destinations {
    /// Waits so long for each.
    pub fn new(wait: Period) -> Self {
        Self { wait: wait.0, known: Mutex::default() }
    }

    /// Notes that this destination accepts events.
    pub fn accepted(&self, name: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.refused.remove(name);
        if !known.accepted.contains(name) && known.accepted.len() < KNOWN_MAX {
            known.accepted.insert(name.to_owned());
        }
    }

    /// Notes that this destination does not exist, or does not accept events. Returns whether the
    /// wait is over, and its events are dead letters.
    pub fn refused(&self, name: &str, now: Instant) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { accepted, refused } = &mut *known;
        refused.retain(|_, it| now.duration_since(it.last) < FORGOTTEN_AFTER);
        if refused.contains_key(name) || refused.len() < KNOWN_MAX {
            refused.entry(name.to_owned()).or_insert(Refused { first: now, last: now }).last = now;
        }
        let since = match refused.get(name) {
            Some(own) if accepted.contains(name) => own.first,
            _ => {
                let new = refused.iter().filter(|(name, _)| !accepted.contains(*name));
                new.map(|(_, it)| it.first).min().unwrap_or(now)
            }
        };
        now.duration_since(since) >= self.wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> impl Fn(&Destinations, &str) -> bool {
        thread_local!(static START: Instant = Instant::now());
        move |all, name| all.refused(name, START.with(|it| *it) + Duration::from_secs(seconds))
    }

    #[test]
    fn waits_once_for_names_that_do_not_exist() {
        let all = Destinations::new(destination_wait());
        assert!(!at(0)(&all, "a") && !at(59)(&all, "a"));
        assert!(at(60)(&all, "a") && at(61)(&all, "a"));
        // Another wrong name does not stop the sink for another minute.
        assert!(at(62)(&all, "b"));
        // After an hour without such an event the sink waits again.
        assert!(!at(62 + 3600)(&all, "c"));
    }

    #[test]
    fn waits_for_each_destination_that_was_accepted_before() {
        let all = Destinations::new(destination_wait());
        all.accepted("a");
        assert!(!at(0)(&all, "wrong") && at(100)(&all, "wrong"));
        assert!(!at(100)(&all, "a") && !at(159)(&all, "a") && at(160)(&all, "a"));
        // A destination that is created in time gets the whole wait when it disappears.
        all.accepted("a");
        assert!(!at(161)(&all, "a"));
    }

    #[test]
    fn many_names_take_bounded_memory() {
        let all = Destinations::new(destination_wait());
        for number in 0..2 * KNOWN_MAX {
            all.accepted(&format!("accepted-{number}"));
            assert!(!at(0)(&all, &format!("refused-{number}")));
        }
        assert!(at(60)(&all, "one more"));
        let known = all.known.lock().unwrap();
        assert_eq!((known.accepted.len(), known.refused.len()), (KNOWN_MAX, KNOWN_MAX));
    }
}
