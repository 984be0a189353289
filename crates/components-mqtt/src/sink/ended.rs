//! Topics at whose messages a broker of version 3.1.1 ends the connection.
//!
//! That version has no refusal of a message: many brokers end the connection if they do not allow
//! its topic. A connection also ends when a broker stops or a network fails. Messages that were in
//! flight then are resent one at a time, so it is known which message ends the next connection:
//!
//! ```text
//!   ended ──► one message at a time ──► ended at the same topic, `TIMES` times: not allowed
//!                                  └──► acknowledged: the topic is forgotten
//! ```

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::{Duration, Instant};

/// A topic is not allowed if its message was the only one in flight when so many connections ended.
const TIMES: u32 = 3;

/// Topics that are remembered.
const KNOWN_MAX: usize = 1024;

/// Time without an ended connection after which every topic is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// The topics at which connections ended.
#[derive(Default)]
pub(super) struct ConnectionEnds(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// How often a connection ended at a message that was alone in flight.
    topics: BTreeMap<String, u32>,
    last: Option<Instant>,
}

impl ConnectionEnds {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a connection ended while only a message of this topic waited for its reply.
    /// Returns true if the broker does not allow the topic.
    pub(super) fn ended(&self, topic: &str, now: Instant) -> bool {
        let mut known = self.known();
        if known.last.is_some_and(|last| now.duration_since(last) > FORGOTTEN_AFTER) {
            *known = Known::default();
        }
        known.last = Some(now);
        if known.topics.len() >= KNOWN_MAX && !known.topics.contains_key(topic) {
            known.topics.clear();
        }
        let times = known.topics.entry(topic.to_owned()).or_default();
        *times += 1;
        *times >= TIMES
    }

    /// The broker has acknowledged messages of these topics.
    pub(super) fn acknowledged<'a>(&self, topics: impl Iterator<Item = &'a str>) {
        let mut known = self.known();
        if !known.topics.is_empty() {
            topics.for_each(|topic| {
                known.topics.remove(topic);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_not_allowed_after_connections_that_ended_at_it_alone() {
        let (ended, now) = (ConnectionEnds::default(), Instant::now());
        assert!(!ended.ended("a", now) && !ended.ended("a", now));
        // The ends had another cause.
        ended.acknowledged(["b", "a"].into_iter());
        let times = [1, 2, 3].map(|_| ended.ended("a", now));
        assert_eq!(times, [false, false, true]);
        assert!(!ended.ended("b", now));
        let later = now + FORGOTTEN_AFTER + Duration::from_secs(1);
        assert!(!ended.ended("a", later), "all is forgotten");
    }

    #[test]
    fn many_topics_take_bounded_memory() {
        let (ended, now) = (ConnectionEnds::default(), Instant::now());
        (0..3 * KNOWN_MAX).for_each(|n| assert!(!ended.ended(&n.to_string(), now)));
        assert!(ended.known().topics.len() <= KNOWN_MAX);
    }
}
