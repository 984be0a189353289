//! Calls that are sent again because their answer was lost, recognised without clock and I/O.
//!
//! A call whose events are stored, and whose connection ended before its answer was written, is
//! *unanswered*. If the next call of the host begins with the same events in the same order, they
//! are those: they are not stored again.
//!
//! # Invariants
//!
//! 1. Each event of a call that is answered OK has a stored copy that stands for no other answered
//!    event. An unanswered call is taken by at most one call, and comes back if that one is not
//!    answered either.
//! 2. What was answered is never recognised, however equal the next call is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ring::digest::{Context, Digest, SHA256};
use tokio::time::Instant;

use crate::avro::Malformed;
use crate::avro::events::Events;

/// Unanswered calls that are remembered; the oldest go first.
const CALLS_MAX: usize = 10_000;

/// The same for one host: so many digests are compared at most for a call.
const CALLS_PER_HOST_MAX: usize = 256;

/// The unanswered calls of one source.
#[derive(Debug)]
pub(super) struct Repeats {
    window: Duration,
    /// By time, the oldest first.
    calls: VecDeque<Unanswered>,
}

/// A call that is stored and was not answered.
#[derive(Debug, Clone)]
pub(super) struct Unanswered {
    at: Instant,
    host: Arc<str>,
    events: usize,
    digest: Digest,
}

impl Unanswered {
    /// Number of its events.
    pub(super) fn events(&self) -> usize {
        self.events
    }
}

impl Repeats {
    /// None yet. Calls are remembered for `window`; 0: none is.
    pub(super) fn new(window: Duration) -> Self {
        Self { window, calls: VecDeque::new() }
    }

    /// A call is stored, and its connection ended before its answer was written.
    pub(super) fn unanswered(&mut self, now: Instant, host: &Arc<str>, call: Events<'_>) {
        if self.window.is_zero() {
            return;
        }
        let (mut digest, mut events) = (Context::new(&SHA256), 0);
        let whole = call.each(|event| {
            digest.update(event.raw);
            events += 1;
            true
        });
        if whole.is_ok() && events > 0 {
            let digest = digest.finish();
            self.put_back(now, Unanswered { at: now, host: host.clone(), events, digest });
        }
    }

    /// The unanswered call whose events the call begins with, the longest of several. It is not
    /// recognised any more, unless it is put back.
    ///
    /// # Errors
    /// The call is damaged.
    pub(super) fn take(
        &mut self,
        now: Instant,
        host: &str,
        call: Events<'_>,
    ) -> Result<Option<Unanswered>, Malformed> {
        self.forget(now);
        let of_host = self.calls.iter().filter(|unanswered| &*unanswered.host == host);
        let Some(longest) = of_host.map(|unanswered| unanswered.events).max() else {
            return Ok(None);
        };
        let (mut digest, mut events, mut found) = (Context::new(&SHA256), 0, None);
        call.each(|event| {
            digest.update(event.raw);
            events += 1;
            let mut so_far = None;
            for (place, unanswered) in self.calls.iter().enumerate() {
                if unanswered.events == events && &*unanswered.host == host {
                    let so_far = so_far.get_or_insert_with(|| digest.clone().finish());
                    if so_far.as_ref() == unanswered.digest.as_ref() {
                        found = Some(place);
                        break;
                    }
                }
            }
            events < longest
        })?;
        Ok(found.and_then(|place| self.calls.remove(place)))
    }

    /// A call that was taken, and still is unanswered.
    pub(super) fn put_back(&mut self, now: Instant, unanswered: Unanswered) {
        self.forget(now);
        let is_of_host = |other: &Unanswered| other.host == unanswered.host;
        let of_host = self.calls.iter().filter(|other| is_of_host(other)).count();
        if of_host >= CALLS_PER_HOST_MAX
            && let Some(oldest) = self.calls.iter().position(is_of_host)
        {
            self.calls.remove(oldest);
        }
        if self.calls.len() >= CALLS_MAX {
            self.calls.pop_front();
        }
        let place = self.calls.partition_point(|other| other.at <= unanswered.at);
        self.calls.insert(place, unanswered);
    }

    fn forget(&mut self, now: Instant) {
        while self.calls.front().is_some_and(|oldest| now - oldest.at > self.window) {
            self.calls.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::avro::datum::{put_event, put_long};

    const WINDOW: Duration = Duration::from_secs(60);

    fn call(bodies: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_long(&mut bytes, bodies.len() as i64);
        bodies.iter().for_each(|body| put_event(&mut bytes, &[("n", "1")], &[*body]));
        if !bodies.is_empty() {
            bytes.push(0);
        }
        bytes
    }

    fn events(bytes: &[u8]) -> Events<'_> {
        Events { bytes, is_batch: true }
    }

    fn taken(repeats: &mut Repeats, now: Instant, host: &str, bodies: &[u8]) -> usize {
        let call = call(bodies);
        repeats.take(now, host, events(&call)).unwrap().map_or(0, |call| call.events())
    }

    #[test]
    fn a_call_is_recognised_once_at_the_beginning_of_a_call_of_its_host_in_its_time() {
        let (mut repeats, now) = (Repeats::new(WINDOW), Instant::now());
        let host: Arc<str> = "10.0.0.1".into();
        let lost = |repeats: &mut Repeats| {
            repeats.unanswered(now, &host, events(&call(b"abc")));
        };
        lost(&mut repeats);
        for (host, bodies) in [
            ("10.0.0.2", &b"abc"[..]),
            ("10.0.0.1", b"ab"),
            ("10.0.0.1", b"acb"),
            ("10.0.0.1", b"xabc"),
        ] {
            assert_eq!(taken(&mut repeats, now, host, bodies), 0, "{bodies:?}");
        }
        assert_eq!(taken(&mut repeats, now, "10.0.0.1", b"abcd"), 3);
        assert_eq!(taken(&mut repeats, now, "10.0.0.1", b"abc"), 0, "only once");
        lost(&mut repeats);
        assert_eq!(taken(&mut repeats, now + WINDOW, "10.0.0.1", b"abc"), 3);
        lost(&mut repeats);
        assert_eq!(taken(&mut repeats, now + WINDOW * 2, "10.0.0.1", b"abc"), 0);
        let mut off = Repeats::new(Duration::ZERO);
        lost(&mut off);
        assert_eq!(taken(&mut off, now, "10.0.0.1", b"abc"), 0);
    }

    #[test]
    fn the_number_of_calls_has_a_limit() {
        let (mut repeats, now) = (Repeats::new(WINDOW), Instant::now());
        for n in 0..CALLS_MAX + 10 {
            repeats.unanswered(now, &format!("host-{}", n / 300).into(), events(&call(b"a")));
        }
        let of = |host: &str| repeats.calls.iter().filter(|call| &*call.host == host).count();
        assert_eq!(of("host-1"), CALLS_PER_HOST_MAX);
        assert!(repeats.calls.len() <= CALLS_MAX);
    }

    proptest! {
        /// Invariant 1, over clients that send few different calls, so that equal ones are common,
        /// and a network that loses answers and calls.
        #[test]
        fn each_answered_event_has_a_stored_copy_of_its_own(
            steps in prop::collection::vec(
                (prop::collection::vec(0u8..2, 1..4), any::<bool>(), any::<bool>()), 1..60),
        ) {
            let (mut repeats, now) = (Repeats::new(WINDOW), Instant::now());
            let host: Arc<str> = "10.0.0.1".into();
            let (mut stored, mut answered) = ([0_i64; 2], [0_i64; 2]);
            for (bodies, is_stored, is_answered) in steps {
                let bytes = call(&bodies);
                let known = repeats.take(now, &host, events(&bytes)).unwrap();
                let skip = known.as_ref().map_or(0, Unanswered::events);
                let is_stored = is_stored || skip == bodies.len();
                match (is_stored, is_answered) {
                    (true, true) => bodies.iter().for_each(|body| answered[*body as usize] += 1),
                    (true, false) => repeats.unanswered(now, &host, events(&bytes)),
                    (false, _) => {
                        if let Some(known) = known {
                            repeats.put_back(now, known);
                        }
                    }
                }
                if is_stored {
                    bodies.iter().skip(skip).for_each(|body| stored[*body as usize] += 1);
                }
                prop_assert!(stored[0] >= answered[0] && stored[1] >= answered[1]);
            }
        }
    }
}
