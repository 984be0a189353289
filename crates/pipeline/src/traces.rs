//! Traces of sampled batches: selects batches, and passes their spans to an exporter.
//!
//! ```text
//!   identity of a batch ─hash─► trace id ─► sampled or not: the same in every agent
//!
//!   intake, group, sink ── record ──► bounded queue ──► the agent's exporter
//!                              └─ no room: counted, and dropped
//! ```
//!
//! A batch keeps its identity from the channel that creates it to the file, so no other data is
//! needed: each agent computes the same trace id and the same decision without a field on the wire
//! ([ADR 84](../../../docs/adr/0084-trace-a-sample-of-batches.md)).
//!
//! # Invariants
//!
//! 1. The identity and the rate alone decide whether a batch is sampled. A higher rate samples all
//!    batches of a lower one, and more.
//! 2. Recording a span never waits.
//! 3. If traces are off, a batch costs one check of a value that never changes.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use metrics::Counter;
use support::mutant;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::env::Clock;
use crate::identity::Identity;

/// Maximum number of spans that wait for the exporter. One takes some 300 bytes.
pub const QUEUE_SPANS: usize = 4096;

/// Number of lowest bits of a trace id that decide: OpenTelemetry calls them its randomness.
const DECIDING_BITS: u32 = 56;

/// Names the trace of one batch: 128 bits that follow from the batch's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TraceId(pub u128);

impl TraceId {
    /// Of this batch.
    pub fn from_identity(batch: Identity) -> Self {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&batch.origin.0);
        bytes[16..24].copy_from_slice(&batch.epoch.0.to_be_bytes());
        bytes[24..].copy_from_slice(&batch.sequence.0.to_be_bytes());
        Self(xxh3_128(&bytes))
    }

    /// Returns the id of the root span of the trace: the put into the channel that created the
    /// batch. Every agent knows it.
    pub fn root(self) -> u64 {
        if mutant!("trace_root_by_chance") {
            return RandomState::new().hash_one(self.0);
        }
        xxh3_64(&self.0.to_be_bytes())
    }

    fn is_sampled(self, rejected_below: u64) -> bool {
        let mut deciding = self.0 as u64;
        if mutant!("trace_sampled_by_chance") {
            deciding = RandomState::new().hash_one(deciding);
        }
        if mutant!("trace_rates_apart") {
            deciding ^= xxh3_64(&rejected_below.to_be_bytes());
        }
        let deciding = deciding & ((1 << DECIDING_BITS) - 1);
        deciding >= rejected_below
    }
}

impl fmt::Display for TraceId {
    /// 32 hexadecimal digits, as OpenTelemetry writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// Text.
    Text(String),
    /// A number.
    Number(u64),
    /// Several texts.
    Texts(Vec<String>),
}

/// One step of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Its trace.
    pub trace: TraceId,
    /// The action.
    pub name: &'static str,
    /// True if all other spans of the trace are below it.
    pub is_root: bool,
    /// When it began.
    pub began: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// The reason of a failure; `None`: it succeeded.
    pub error: Option<String>,
    /// The trace of the batch that this one is a part of.
    pub part_of: Option<TraceId>,
    /// Further attributes.
    pub attributes: Vec<(&'static str, Attribute)>,
}

impl Span {
    /// With one more attribute.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Attribute) -> Self {
        self.attributes.push((name, value));
        self
    }

    /// With this text.
    #[must_use]
    pub fn text(self, name: &'static str, value: impl Into<String>) -> Self {
        self.with(name, Attribute::Text(value.into()))
    }

    /// With this number.
    #[must_use]
    pub fn number(self, name: &'static str, value: u64) -> Self {
        self.with(name, Attribute::Number(value))
    }

    /// Marks the span as failed, for this reason.
    #[must_use]
    pub fn failed(self, why: impl Into<String>) -> Self {
        Self { error: Some(why.into()), ..self }
    }
}

/// The name that a channel has assigned to a batch. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct GivenName(Arc<OnceLock<Identity>>);

impl GivenName {
    /// The batch is called so.
    pub fn set(&self, name: Identity) {
        let _ = self.0.set(name);
    }

    /// Returns the name, once it is assigned.
    pub fn get(&self) -> Option<Identity> {
        self.0.get().copied()
    }
}

/// Records spans. Off until [`Traces::begin`]; clones share it.
#[derive(Clone, Default)]
pub struct Traces(Arc<OnceLock<Recorder>>);

struct Recorder {
    rejected_below: u64,
    queue: mpsc::Sender<Span>,
    dropped: Counter,
    clock: Arc<dyn Clock>,
}

impl Traces {
    /// Starts sampling this part of all batches, from 0 to 1. Spans arrive in the returned queue;
    /// those without room there are counted as `dropped`. Only the first call has an effect.
    pub fn begin(
        &self,
        rate: f64,
        dropped: Counter,
        clock: Arc<dyn Clock>,
    ) -> mpsc::Receiver<Span> {
        let has_no_end = mutant!("trace_queue_without_end");
        let room = if has_no_end { Semaphore::MAX_PERMITS } else { QUEUE_SPANS };
        let (queue, spans) = mpsc::channel(room);
        let all = (1_u64 << DECIDING_BITS) as f64;
        let rejected_below = ((1.0 - rate.clamp(0.0, 1.0)) * all) as u64;
        let _ = self.0.set(Recorder { rejected_below, queue, dropped, clock });
        spans
    }

    /// Returns `true` if any batch may be sampled.
    pub fn is_on(&self) -> bool {
        self.0.get().is_some()
    }

    /// Returns the trace of this batch, if it is sampled.
    pub fn trace_id(&self, batch: Identity) -> Option<TraceId> {
        let recorder = self.0.get()?;
        let trace = TraceId::from_identity(batch);
        trace.is_sampled(recorder.rejected_below).then_some(trace)
    }

    /// Returns the span of a step of this batch from `began` to `ended`, if the batch is sampled.
    pub fn span(
        &self,
        batch: Identity,
        name: &'static str,
        (began, ended): (Instant, Instant),
    ) -> Option<Span> {
        let trace = self.trace_id(batch)?;
        let (now, wall) = (Instant::now(), self.0.get()?.clock.now());
        let at = |instant: Instant| {
            let since = now.saturating_duration_since(instant);
            wall.checked_sub(since).unwrap_or(SystemTime::UNIX_EPOCH)
        };
        let (began, ended) = (at(began), at(ended));
        let (is_root, error, part_of, attributes) = (false, None, None, Vec::with_capacity(6));
        let span = Span { trace, name, is_root, began, ended, error, part_of, attributes };
        Some(span.text("aqueduct.batch", batch.to_string()))
    }

    /// Records the step `commit` of this batch: it began at `began` and ended now, and its events
    /// are permanently in `place`. Does nothing if the batch is not sampled: then `place` is not
    /// called.
    pub fn committed<P>(&self, batch: Identity, began: Instant, place: impl FnOnce() -> P)
    where
        P: IntoIterator<Item = (&'static str, Attribute)>,
    {
        if let Some(mut span) = self.span(batch, "commit", (began, Instant::now())) {
            span.attributes.extend(place());
            self.record(span);
        }
    }

    /// Hands a span over; never waits.
    pub fn record(&self, span: Span) {
        if let Some(recorder) = self.0.get()
            && recorder.queue.try_send(span).is_err()
            && !mutant!("trace_drop_not_counted")
        {
            recorder.dropped.inc();
        }
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Traces").field(&self.is_on()).finish()
    }
}

#[cfg(all(test, feature = "mutants"))]
mod planted;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::identity::{Epoch, Origin, Sequence};

    struct Fixed;

    impl Clock for Fixed {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_000)
        }
    }

    fn batch(origin: u8, sequence: u64) -> Identity {
        let origin = Origin([origin; 16]);
        Identity { origin, epoch: Epoch(7 << 20), sequence: Sequence(sequence) }
    }

    fn at(rate: f64) -> (Traces, mpsc::Receiver<Span>, Counter) {
        support::mutants::plant_by_environment();
        let (traces, dropped) = (Traces::default(), Counter::default());
        let spans = traces.begin(rate, dropped.clone(), Arc::new(Fixed));
        (traces, spans, dropped)
    }

    /// Method: 100,000 batches of ten origins with consecutive sequences. The bounds are five
    /// standard deviations.
    #[test]
    fn a_hundredth_of_the_batches_is_sampled_whichever_origin_they_have() {
        let (traces, ..) = at(0.01);
        let is_sampled = &|origin, n| traces.trace_id(batch(origin, n)).is_some();
        let sampled = |origin| (0..10_000).filter(move |n| is_sampled(origin, *n)).count();
        let each: Vec<usize> = (0..10).map(sampled).collect();
        assert!(each.iter().all(|count| (50..=150).contains(count)), "{each:?}");
        let all: usize = each.iter().sum();
        assert!((843..=1_157).contains(&all), "{all} of 100,000");
    }

    /// Agents of several versions, and on several machines, take part in the same traces.
    #[test]
    fn agents_sample_alike_and_a_higher_rate_includes_a_lower_one() {
        let (one, two, more) = (at(0.01).0, at(0.01).0, at(0.05).0);
        let all = || (0..20_000).map(|sequence| batch(3, sequence));
        assert!(all().all(|batch| one.trace_id(batch) == two.trace_id(batch)), "agents differ");
        let is_left_out = |batch| one.trace_id(batch).is_some() && more.trace_id(batch).is_none();
        assert_eq!(all().find(|batch| is_left_out(*batch)), None, "a higher rate leaves out");
        let first = TraceId::from_identity(batch(7, 9));
        assert_eq!(first.to_string(), "390c5b04395a2d0cfd193cfbb99f7641");
        assert_eq!(first.root(), 0xcb2a_5817_bc15_d419, "id of the first span");
        assert!((0..100).all(|sequence| at(1.0).0.trace_id(batch(1, sequence)).is_some()));
    }

    #[tokio::test]
    async fn a_span_has_the_time_of_the_clock_that_its_marks_had() {
        let (traces, mut spans, _) = at(1.0);
        let ended = Instant::now();
        let began = ended - Duration::from_secs(2);
        traces.record(traces.span(batch(1, 1), "put", (began, ended)).unwrap());
        let span = spans.recv().await.unwrap();
        let took = span.ended.duration_since(span.began).unwrap();
        assert_eq!(took, Duration::from_secs(2));
        assert!(span.ended <= Fixed.now() && span.trace == TraceId::from_identity(batch(1, 1)));
    }

    /// Method: nothing takes spans out. The call is not a future, so it cannot wait; it would
    /// block.
    #[test]
    fn counts_spans_without_room_and_never_waits() {
        let (traces, _spans, dropped) = at(1.0);
        let now = Instant::now();
        for sequence in 0..QUEUE_SPANS as u64 + 10 {
            traces.record(traces.span(batch(1, sequence), "put", (now, now)).unwrap());
        }
        assert_eq!(dropped.get(), 10, "spans that found no room");
    }

    #[tokio::test]
    async fn a_commit_span_names_the_location_of_its_events() {
        let (traces, mut spans, _) = at(1.0);
        let began = Instant::now() - Duration::from_secs(2);
        let place = ("aqueduct.table", Attribute::Text("lines".into()));
        traces.committed(batch(1, 1), began, || [place.clone()]);
        let span = spans.recv().await.unwrap();
        assert_eq!((span.trace, span.name), (TraceId::from_identity(batch(1, 1)), "commit"));
        assert!(span.ended.duration_since(span.began).unwrap() >= Duration::from_secs(2));
        assert_eq!(span.attributes.last(), Some(&place));

        let (traces, mut spans, dropped) = at(0.0);
        traces.committed(batch(1, 1), began, || [place]);
        assert!(spans.try_recv().is_err() && dropped.get() == 0, "a batch that is not sampled");
    }

    #[test]
    fn nothing_is_sampled_before_it_begins() {
        let traces = Traces::default();
        assert!(!traces.is_on() && traces.trace_id(batch(1, 1)).is_none());
    }
}
