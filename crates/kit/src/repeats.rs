//! Recognises calls that Flume's clients resend because the reply was lost: [`Repeats`] does so
//! without clock and I/O, and [`Calls`] is the interface for sources.
//!
//! A call is *unanswered* if its events are stored and its connection ended before the reply was
//! written. If the next call of the host begins with the same events in the same order, these are a
//! repetition and are not stored again.
//!
//! # Invariants
//!
//! 1. Each event of a call with the reply OK has its own stored copy. An unanswered call is matched
//!    by at most one call, and becomes available again if that one is not answered either.
//! 2. An answered call is never matched, even if the next call is equal.
//! 3. Events are hashed without the lock: a large call delays no other connection.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crypto::digest::{Context, Digest, SHA256};
use pipeline::{Batch, EventRef};
use tokio::time::Instant;

/// Maximum number of unanswered calls; the oldest are removed first.
const CALLS_MAX: usize = 10_000;

/// Maximum number per host, and so of digests that are compared for a call.
const CALLS_PER_HOST_MAX: usize = 256;

/// Unanswered calls of a source, for all of its connections.
#[derive(Debug, Clone)]
pub struct Calls(Arc<Mutex<Repeats>>);

/// A call that is being compared with the unanswered ones until it is answered itself. Dropping it
/// earlier undoes its effects.
pub struct Call {
    calls: Calls,
    host: Arc<str>,
    batch: Batch,
    known: Option<Unanswered>,
}

impl Calls {
    /// Creates an empty collection. Calls are remembered for `window`; 0 disables that.
    pub fn new(window: Duration) -> Self {
        Self(Arc::new(Mutex::new(Repeats::new(window))))
    }

    /// Begins a call of `host` with these events. Hashes them if the host has unanswered calls.
    pub fn begin(&self, host: &Arc<str>, batch: Batch) -> Call {
        let lengths = self.lengths(host);
        let digests = digests(&batch, &lengths);
        let known = self.lock().take(host, &digests);
        Call { calls: self.clone(), host: host.clone(), batch, known }
    }

    /// Returns the numbers of events of the unanswered calls of `host`.
    pub(crate) fn lengths(&self, host: &str) -> BTreeSet<usize> {
        self.lock().lengths(Instant::now(), host)
    }

    /// Records a stored call whose connection ended before the reply was written.
    fn unanswered(&self, host: &Arc<str>, batch: &Batch) {
        if self.lock().window.is_zero() {
            return;
        }
        let digest = digests(batch, &BTreeSet::from([batch.len()])).pop();
        let Some((events, digest)) = digest else { return };
        let (at, host) = (Instant::now(), host.clone());
        self.lock().put_back(at, Unanswered { at, host, events, digest });
    }

    fn lock(&self) -> MutexGuard<'_, Repeats> {
        // The state is consistent between calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    /// Returns the events that are not stored yet; `None` if all are.
    pub fn rest(&self) -> Option<Batch> {
        let (events, skip) = (self.batch.len(), self.repeated());
        if skip == events {
            return None;
        }
        if skip == 0 {
            return Some(self.batch.clone());
        }
        let part_of: Vec<usize> = (0..events).map(|event| usize::from(event >= skip)).collect();
        self.batch.split(&part_of).pop().map(Batch::from)
    }

    /// Returns its events.
    pub(crate) fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Records that all of its events are stored, and hashes them if it is not answered. Returns
    /// how many of them were stored before.
    pub fn stored(mut self, is_answered: bool) -> usize {
        let repeated = self.repeated();
        self.known = None;
        if !is_answered {
            self.calls.unanswered(&self.host, &self.batch);
        }
        repeated
    }

    fn repeated(&self) -> usize {
        self.known.as_ref().map_or(0, |known| known.events)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(known) = self.known.take() {
            self.calls.lock().put_back(Instant::now(), known);
        }
    }
}

/// Shared state of [`Calls`].
#[derive(Debug)]
struct Repeats {
    window: Duration,
    /// By time, oldest first.
    calls: VecDeque<Unanswered>,
}

/// A stored call without a reply.
#[derive(Debug, Clone)]
struct Unanswered {
    at: Instant,
    host: Arc<str>,
    events: usize,
    digest: Digest,
}

impl Repeats {
    fn new(window: Duration) -> Self {
        Self { window, calls: VecDeque::new() }
    }

    /// Returns the numbers of events of the calls of `host`.
    fn lengths(&mut self, now: Instant, host: &str) -> BTreeSet<usize> {
        self.forget(now);
        let of_host = self.calls.iter().filter(|unanswered| &*unanswered.host == host);
        of_host.map(|unanswered| unanswered.events).collect()
    }

    /// Takes the longest unanswered call of `host` that has one of these numbers of events and
    /// digests, which are in ascending order. It cannot be matched again unless it is put back.
    fn take(&mut self, host: &str, digests: &[(usize, Digest)]) -> Option<Unanswered> {
        let found = digests.iter().rev().find_map(|(events, digest)| {
            self.calls.iter().position(|it| {
                it.events == *events && &*it.host == host && it.digest.as_ref() == digest.as_ref()
            })
        });
        self.calls.remove(found?)
    }

    /// Puts back a call that is still unanswered.
    fn put_back(&mut self, now: Instant, unanswered: Unanswered) {
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

/// Returns the digests of the first events of a call, for each of these numbers of events that is
/// neither 0 nor beyond the call.
fn digests(call: &Batch, lengths: &BTreeSet<usize>) -> Vec<(usize, Digest)> {
    let Some(longest) = lengths.range(..=call.len()).next_back() else { return Vec::new() };
    let mut so_far = Context::new(&SHA256);
    let mut found = Vec::new();
    for (events, event) in (1..).zip(call.iter().take(*longest)) {
        add(&mut so_far, event);
        if lengths.contains(&events) {
            found.push((events, so_far.clone().finish()));
        }
    }
    found
}

/// Adds an event to a digest: each part after its length, so that different sequences of events
/// never give the same bytes. Headers are sorted by name, because their order in a batch depends on
/// other events.
fn add(digest: &mut Context, event: EventRef<'_>) {
    let mut part = |bytes: &[u8]| {
        digest.update(&(bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    };
    part(event.body());
    let mut headers: Vec<_> = event.headers().collect();
    headers.sort_unstable();
    for (name, value) in headers {
        part(name.as_bytes());
        part(value.as_bytes());
    }
    // Names are never empty, so an empty one can mark the end of the headers.
    part(b"");
}

#[cfg(test)]
mod tests {
    use pipeline::BatchBuilder;
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn call(bodies: &[u8]) -> Batch {
        let mut builder = BatchBuilder::default();
        bodies.iter().for_each(|body| builder.push(&[*body], &[("n", "1")]));
        builder.finish()
    }

    fn take(repeats: &mut Repeats, now: Instant, host: &str, call: &Batch) -> Option<Unanswered> {
        let lengths = repeats.lengths(now, host);
        repeats.take(host, &digests(call, &lengths))
    }

    fn taken(repeats: &mut Repeats, now: Instant, host: &str, bodies: &[u8]) -> usize {
        take(repeats, now, host, &call(bodies)).map_or(0, |call| call.events)
    }

    fn lose(repeats: &mut Repeats, at: Instant, host: &str, call: &Batch) {
        let (events, digest) = digests(call, &BTreeSet::from([call.len()])).pop().unwrap();
        repeats.put_back(at, Unanswered { at, host: host.into(), events, digest });
    }

    #[test]
    fn a_call_is_recognised_once_at_the_beginning_of_a_call_of_its_host_in_its_time() {
        let (mut repeats, now) = (Repeats::new(WINDOW), Instant::now());
        let lost = |repeats: &mut Repeats| lose(repeats, now, "10.0.0.1", &call(b"abc"));
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
        let (off, host) = (Calls::new(Duration::ZERO), Arc::<str>::from("10.0.0.1"));
        off.begin(&host, call(b"abc")).stored(false);
        assert_eq!(off.begin(&host, call(b"abc")).stored(true), 0);
    }

    /// A batch lists the headers first that all of its events share; a further event can change
    /// that.
    #[test]
    fn a_call_is_recognised_although_what_follows_it_has_other_headers() {
        let (mut repeats, now) = (Repeats::new(WINDOW), Instant::now());
        let call = |hosts: &[&str]| {
            let mut builder = BatchBuilder::default();
            for (n, host) in hosts.iter().enumerate() {
                builder.push(b"x", &[("n", &n.to_string()), ("host", host)]);
            }
            builder.finish()
        };
        lose(&mut repeats, now, "10.0.0.1", &call(&["a", "a"]));
        let known = take(&mut repeats, now, "10.0.0.1", &call(&["a", "a", "b"]));
        assert_eq!(known.map(|known| known.events), Some(2));
    }

    #[test]
    fn the_number_of_calls_has_a_limit() {
        let (mut repeats, now) = (Repeats::new(WINDOW), Instant::now());
        for n in 0..CALLS_MAX + 10 {
            lose(&mut repeats, now, &format!("host-{}", n / 300), &call(b"a"));
        }
        let of = |host: &str| repeats.calls.iter().filter(|call| &*call.host == host).count();
        assert_eq!(of("host-1"), CALLS_PER_HOST_MAX);
        assert!(repeats.calls.len() <= CALLS_MAX);
    }

    proptest! {
        /// Invariant 1, with clients that send few different calls, so that equal ones are common,
        /// and a network that loses replies and calls.
        #[test]
        fn each_answered_event_has_a_stored_copy_of_its_own(
            steps in prop::collection::vec(
                (prop::collection::vec(0u8..2, 1..4), any::<bool>(), any::<bool>()), 1..60),
        ) {
            let calls = Calls::new(WINDOW);
            let host: Arc<str> = "10.0.0.1".into();
            let (mut stored, mut answered) = ([0_i64; 2], [0_i64; 2]);
            for (bodies, is_stored, is_answered) in steps {
                let call = calls.begin(&host, call(&bodies));
                let rest = call.rest();
                if !is_stored && rest.is_some() {
                    continue;
                }
                for event in rest.iter().flat_map(|batch| batch.iter()) {
                    stored[event.body()[0] as usize] += 1;
                }
                call.stored(is_answered);
                if is_answered {
                    bodies.iter().for_each(|body| answered[*body as usize] += 1);
                }
                prop_assert!(stored[0] >= answered[0] && stored[1] >= answered[1]);
            }
        }
    }

    #[test]
    fn a_call_that_is_not_stored_leaves_what_it_was_held_against() {
        let (calls, host) = (Calls::new(WINDOW), Arc::<str>::from("10.0.0.1"));
        calls.begin(&host, call(b"ab")).stored(false);
        drop(calls.begin(&host, call(b"abc")));
        assert_eq!(calls.begin(&host, call(b"abc")).stored(true), 2);
    }

    #[test]
    fn events_that_differ_in_anything_but_the_order_of_their_parts_are_no_repeats() {
        let host: Arc<str> = "10.0.0.1".into();
        let of = |events: &[(&str, &[(&str, &str)])]| {
            let mut builder = BatchBuilder::default();
            events.iter().for_each(|(body, headers)| builder.push(body.as_bytes(), headers));
            builder.finish()
        };
        let lost = of(&[("a", &[("k", "v")]), ("b", &[])]);
        let calls = Calls::new(WINDOW);
        assert_eq!(calls.begin(&host, lost).stored(false), 0);
        for other in [
            of(&[("a", &[("k", "w")]), ("b", &[])]),
            of(&[("a", &[("l", "v")]), ("b", &[])]),
            of(&[("a", &[]), ("b", &[("k", "v")])]),
            of(&[("a", &[("k", "")]), ("b", &[])]),
            of(&[("ak", &[("v", "")]), ("b", &[])]),
            of(&[("a", &[("k", "v"), ("b", "")])]),
        ] {
            assert!(calls.begin(&host, other.clone()).rest().is_some_and(|rest| {
                rest.iter().map(|event| event.body()).eq(other.iter().map(|event| event.body()))
            }));
        }
        // Other headers in later events do not matter.
        let again = of(&[("a", &[("k", "v")]), ("b", &[]), ("c", &[("new", "x")])]);
        let call = calls.begin(&host, again);
        let rest = call.rest().unwrap();
        let bodies: Vec<&[u8]> = rest.iter().map(|event| event.body()).collect();
        assert_eq!(
            (bodies, rest.iter().next().unwrap().header("new")),
            (vec![&b"c"[..]], Some("x"))
        );
        assert_eq!(call.stored(true), 2);
    }
}
