//! The spans of a group for sampled batches.
//!
//! ```text
//!   sent ──── send ────► stored ──── settle ────► delivered
//!     ▲        │                       │
//!     └────────┴──── again ◄───────────┘      each attempt has separate spans
//! ```
//!
//! The trail has an entry for each sampled batch in the channel, and for no other. It has
//! the same marks as the tally.

use std::collections::BTreeMap;
use std::sync::Arc;

use pipeline::traces::Span;
use pipeline::{Identity, IntervalSet, Outcome, Taken, Ticket, Traces};
use support::mutant;
use tokio::time::Instant;

use super::{Group, chain};

/// A sampled batch that was sent and has not left the channel.
struct TracedBatch {
    batch: Identity,
    events: u64,
    bytes: u64,
    /// Number of the attempt.
    attempt: u64,
    /// The sink that has it.
    sink: Arc<str>,
    /// The current step, and its beginning.
    step: Option<(&'static str, Instant)>,
}

/// Sampled batches on their way.
pub(super) struct TracedBatches {
    traces: Traces,
    group: Arc<str>,
    batches: BTreeMap<Ticket, TracedBatch>,
}

impl TracedBatches {
    /// Of the group of this name.
    pub(super) fn new(traces: Traces, group: Arc<str>) -> Self {
        Self { traces, group, batches: BTreeMap::new() }
    }

    /// A sampled batch is handed to a sink.
    fn sent(&mut self, taken: &Taken, batch: Identity, sink: &Arc<str>, now: Instant) {
        let (events, bytes) = (taken.batch.len() as u64, taken.batch.body_bytes());
        let sink = sink.clone();
        let fresh =
            TracedBatch { batch, events, bytes, attempt: 0, sink: sink.clone(), step: None };
        let followed = self.batches.entry(taken.ticket).or_insert(fresh);
        if followed.attempt == 0 || !mutant!("trace_attempts_joined") {
            followed.attempt += 1;
        }
        (followed.sink, followed.step) = (sink, Some(("send", now)));
    }

    /// The word of a sink about batches.
    pub(super) fn settled(&mut self, tickets: &IntervalSet, outcome: &Outcome, now: Instant) {
        if self.batches.is_empty() {
            return;
        }
        let failure = match outcome {
            Outcome::Stored | Outcome::Delivered => None,
            Outcome::Again(Some(error)) => Some(chain(error)),
            Outcome::Again(None) => Some("batch is resent".to_owned()),
            Outcome::HeldBack(_) => Some("batch is too large for the next agent".to_owned()),
            Outcome::Refused(letter) if letter.whole => Some(letter.detail.clone()),
            Outcome::Refused(_) => return,
        };
        let goes_on = matches!(outcome, Outcome::Stored).then_some(("settle", now));
        let Self { traces, group, batches } = self;
        for run in tickets.runs() {
            for (_, followed) in batches.range_mut(run.clone()) {
                let Some((step, since)) = followed.step else { continue };
                if step == "settle" && goes_on.is_some() {
                    continue;
                }
                followed.step = goes_on;
                let span = traces.span(followed.batch, step, (since, now));
                let Some(span) = span.map(|span| followed.describe(span, group)) else { continue };
                traces.record(match &failure {
                    Some(why) => span.failed(why),
                    None => span,
                });
            }
        }
    }

    /// Removes tickets that have left the channel.
    pub(super) fn left(&mut self, tickets: &IntervalSet) {
        if self.batches.is_empty() {
            return;
        }
        for run in tickets.runs() {
            let gone: Vec<Ticket> = self.batches.range(run.clone()).map(|(it, _)| *it).collect();
            gone.iter().for_each(|ticket| drop(self.batches.remove(ticket)));
        }
    }
}

impl TracedBatch {
    fn describe(&self, span: Span, group: &Arc<str>) -> Span {
        span.text("aqueduct.group", &**group)
            .text("aqueduct.sink", &*self.sink)
            .number("aqueduct.attempt", self.attempt)
            .number("aqueduct.events", self.events)
            .number("aqueduct.bytes", self.bytes)
    }
}

impl Group {
    /// Starts following the steps of a batch that is passed to a member, if it is sampled.
    pub(super) fn trace_sent(&mut self, index: usize, taken: &Taken, now: Instant) {
        let Some(name) =
            taken.batch.envelope.identity.filter(|_| self.traced_batches.traces.is_on())
        else {
            return;
        };
        let name = self.channel.renamed(name).unwrap_or(name);
        if self.traced_batches.traces.trace_id(name).is_some() {
            self.traced_batches.sent(taken, name, self.members[index].handle.name(), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use metrics::Counter;
    use pipeline::{Batch, ErrorClass, Letter, SinkError};
    use tokio::time::Duration;

    use super::*;

    /// The sampled batch, under its ticket.
    fn taken(ticket: Ticket) -> Taken {
        let mut batch = Batch::of(["one", "two"]);
        batch.envelope.identity = Some("0123456789abcdef0123456789abcdef/5/9".parse().unwrap());
        Taken { ticket, batch }
    }

    fn only(ticket: Ticket) -> IntervalSet {
        IntervalSet::from(ticket..ticket + 1)
    }

    /// Returns the recorded spans: names with their attempts, and errors.
    fn recorded(spans: &mut tokio::sync::mpsc::Receiver<Span>) -> Vec<(String, Option<String>)> {
        let mut all = Vec::new();
        while let Ok(span) = spans.try_recv() {
            let attempt = span.attributes.iter().find(|(name, _)| *name == "aqueduct.attempt");
            let sink = span.attributes.iter().find(|(name, _)| *name == "aqueduct.sink");
            let (Some((_, attempt)), Some((_, sink))) = (attempt, sink) else {
                panic!("{span:?}");
            };
            all.push((format!("{} {attempt:?} {sink:?}", span.name), span.error));
        }
        all
    }

    fn trail() -> (TracedBatches, tokio::sync::mpsc::Receiver<Span>) {
        support::mutants::plant_by_environment();
        let traces = Traces::default();
        let spans = traces.begin(1.0, Counter::default(), env::real().clock.clone());
        (TracedBatches::new(traces, "group".into()), spans)
    }

    fn lost() -> Outcome {
        let source = Box::<dyn std::error::Error + Send + Sync>::from("it is away");
        let error = SinkError { class: ErrorClass::Transient, retry_after: None, source };
        Outcome::Again(Some(error))
    }

    #[test]
    fn each_attempt_has_its_own_spans_with_their_result() {
        let (mut trail, mut spans) = trail();
        let (taken, now) = (taken(7), Instant::now());
        let batch = taken.batch.envelope.identity.unwrap();
        let later = |second| now + Duration::from_secs(second);
        trail.sent(&taken, batch, &"a".into(), now);
        trail.settled(&only(7), &Outcome::Stored, later(1));
        // Repeated: it has been stored since the first report.
        trail.settled(&only(7), &Outcome::Stored, later(2));
        trail.settled(&only(7), &lost(), later(3));
        trail.sent(&taken, batch, &"b".into(), later(4));
        trail.settled(&only(7), &Outcome::Delivered, later(5));
        trail.left(&only(7));
        trail.settled(&only(7), &Outcome::Delivered, later(6));
        let step = |name, attempt, sink| format!("{name} Number({attempt}) Text(\"{sink}\")");
        let expected = [
            (step("send", 1, "a"), None),
            (step("settle", 1, "a"), Some("it is away".to_owned())),
            (step("send", 2, "b"), None),
        ];
        assert_eq!(recorded(&mut spans), expected);
        assert!(trail.batches.is_empty());
    }

    #[test]
    fn a_letter_of_a_part_ends_nothing_and_one_of_the_whole_ends_the_attempt() {
        let (mut trail, mut spans) = trail();
        let (taken, now) = (taken(3), Instant::now());
        let batch = taken.batch.envelope.identity.unwrap();
        trail.sent(&taken, batch, &"a".into(), now);
        for whole in [false, true] {
            let letter = Letter {
                ticket: 3,
                events: Batch::of(["one"]),
                whole,
                reason: "bad",
                detail: "it is bad".into(),
            };
            trail.settled(&only(3), &Outcome::Refused(Box::new(letter)), now);
        }
        let recorded = recorded(&mut spans);
        assert_eq!(recorded.len(), 1, "{recorded:?}");
        assert_eq!(recorded[0].1.as_deref(), Some("it is bad"));
    }
}
