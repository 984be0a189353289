//! What is put at once, and what is looked for in an event before.

use metrics::Metrics;
use peers::limits::{Cut, EVENT_OVERHEAD_BYTES};
use pipeline::{Batch, BatchBuilder, BuildError};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::progress::{CURSOR_BYTES_MAX, Progress, digest};

/// Bytes of bodies from which on a round is full.
pub(crate) const ROUND_BYTES: u64 = 1 << 20;

/// Ids that can be remembered at most.
const IDS_MAX: usize = 10_000;

/// `ids_max` unless set.
pub(crate) fn default_ids_max() -> usize {
    2000
}

/// `batch_events` unless set.
pub(crate) fn default_batch_events() -> usize {
    1000
}

/// Checks the settings `ids_max` and `batch_events`.
///
/// # Errors
/// One of them is wrong.
pub(crate) fn check(ids_max: usize, batch_events: usize) -> Result<(), BuildError> {
    if ids_max > IDS_MAX {
        return Err(BuildError::invalid("ids_max", "at most 10000"));
    }
    if batch_events == 0 {
        return Err(BuildError::invalid("batch_events", "a batch holds at least one event"));
    }
    Ok(())
}

/// What is looked for in an event, by JSON pointers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shape {
    /// Whether each event is JSON.
    pub(crate) is_json: bool,
    /// Where the id is by which a repeat is known.
    pub(crate) id: Option<String>,
    /// Where the value is that the server goes on behind.
    pub(crate) cursor: Option<String>,
    /// Header for the type of an event.
    pub(crate) kind_header: Option<String>,
}

/// An event of the server.
#[derive(Debug)]
pub(crate) struct Record<B> {
    /// Its bytes.
    pub(crate) body: B,
    /// Its type, where the stream has types.
    pub(crate) kind: Option<String>,
    /// Whether it was longer than allowed.
    pub(crate) is_cut: bool,
    /// What the server goes on behind, where that stands next to the event and not in it.
    pub(crate) cursor: Option<String>,
}

/// The counters of a source.
#[derive(Clone)]
pub(crate) struct Counts {
    /// Name of the source.
    pub(crate) source: std::sync::Arc<str>,
    /// Where it counts.
    pub(crate) metrics: Metrics,
}

impl Counts {
    /// Something was lost or odd.
    pub(crate) fn count(&self, reason: &'static str) {
        self.metrics.count_anomaly(&self.source, reason, 1);
    }
}

/// Events that are put together.
#[derive(Default)]
pub(crate) struct Round {
    events: BatchBuilder,
    bytes: u64,
}

impl Round {
    /// Whether there is nothing to put.
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Whether no further event belongs into it, or none with `next` bytes. `agreed` are the bytes
    /// of a batch that the next agents take.
    pub(crate) fn is_full(&self, next: usize, events_max: usize, agreed: Option<u64>) -> bool {
        let cut = agreed.map(Cut::within);
        let bytes = cut.as_ref().map_or(ROUND_BYTES, |cut| cut.body_bytes.min(ROUND_BYTES));
        let events = cut.as_ref().map_or(u64::MAX, |cut| cut.events).min(events_max as u64);
        let here = self.events.len() as u64;
        here >= events || self.bytes >= bytes || (here > 0 && self.bytes + next as u64 > bytes)
    }

    /// Adds an event, unless it is known. Answers what the server can go on behind then.
    pub(crate) fn push<B: AsRef<[u8]>>(
        &mut self,
        record: Record<B>,
        shape: &Shape,
        progress: &mut Progress,
        counts: &Counts,
    ) -> Option<String> {
        let body = record.body.as_ref();
        if record.is_cut {
            counts.count("event_cut");
        }
        let value = shape.parse(body).unwrap_or_else(|_| {
            if !record.is_cut {
                counts.count("not_json");
            }
            None
        });
        let at = |pointer: &Option<String>| text_at(value.as_ref()?, pointer.as_deref()?);
        let kind = record.kind.as_deref();
        let is_new = at(&shape.id).is_none_or(|id| progress.recent.add(digest(kind, &id)));
        let cursor = at(&shape.cursor);
        if !is_new {
            counts.count("event_repeated");
            return cursor.or(record.cursor);
        }
        let header = shape.kind_header.as_deref().zip(kind);
        self.events.push(body, header.as_slice());
        let header = header.map_or(0, |(name, value)| name.len() + value.len());
        self.bytes += (body.len() + header) as u64 + EVENT_OVERHEAD_BYTES;
        cursor.or(record.cursor)
    }

    /// The events; none are left.
    pub(crate) fn take(&mut self) -> Batch {
        self.bytes = 0;
        std::mem::take(&mut self.events).finish()
    }
}

/// The server goes on behind this from now on. One that is too long is left out; an empty one, as
/// an event without an id after others with one says, is none.
pub(crate) fn advance(cursor: Option<String>, progress: &mut Progress, counts: &Counts) {
    let Some(cursor) = cursor else { return };
    if cursor.len() > CURSOR_BYTES_MAX {
        counts.count("cursor_too_long");
    } else {
        progress.standing.cursor = Some(cursor).filter(|it| !it.is_empty());
    }
}

impl Shape {
    /// The event, as far as something is looked for in it.
    fn parse(&self, body: &[u8]) -> Result<Option<Value>, serde_json::Error> {
        match self {
            Self { is_json: false, .. } => Ok(None),
            Self { id: None, cursor: None, .. } => {
                serde_json::from_slice::<IgnoredAny>(body).map(|_| None)
            }
            _ => serde_json::from_slice(body).map(Some),
        }
    }
}

/// A text or a number at a pointer.
pub(crate) fn text_at(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A pointer of a setting; an empty one is none.
///
/// # Errors
/// It is no JSON pointer.
pub(crate) fn pointer(
    setting: &str,
    pointer: Option<String>,
) -> Result<Option<String>, BuildError> {
    let pointer = pointer.filter(|text| !text.is_empty());
    if pointer.as_ref().is_some_and(|text| !text.starts_with('/')) {
        let problem = "a JSON pointer begins with `/`, as in \"/data/id\"";
        return Err(BuildError::invalid(setting, problem));
    }
    Ok(pointer)
}
