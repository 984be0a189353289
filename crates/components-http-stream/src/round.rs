//! Collects the events of a put, and extracts ids and cursors from them.

use std::time::Duration;

use metrics::Metrics;
use peers::limits::EVENT_OVERHEAD_BYTES;
use pipeline::{Batch, BatchBuilder, BuildError, PieceLimits};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::progress::{CURSOR_BYTES_MAX, Progress, digest};

/// Size of bodies at which a round is full.
pub(crate) const ROUND_BYTES: usize = 1 << 20;

/// How long a stop waits for room for the last events.
pub(crate) const DRAIN: Duration = Duration::from_secs(2);

/// Maximum number of remembered ids.
const IDS_MAX: usize = 10_000;

/// Default of `ids_max`.
pub(crate) fn default_ids_max() -> usize {
    2000
}

/// Default of `batch_events`.
pub(crate) fn default_batch_events() -> usize {
    1000
}

/// Validates the settings `ids_max` and `batch_events`.
///
/// # Errors
/// One of them is wrong.
pub(crate) fn check(ids_max: usize, batch_events: usize) -> Result<(), BuildError> {
    if ids_max > IDS_MAX {
        return Err(BuildError::invalid("ids_max", "must be at most 10000"));
    }
    if batch_events == 0 {
        return Err(BuildError::invalid("batch_events", "must be at least 1"));
    }
    Ok(())
}

/// The values to extract from an event, as JSON pointers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shape {
    /// Whether each event is JSON.
    pub(crate) is_json: bool,
    /// The id, which identifies repeated events.
    pub(crate) id: Option<String>,
    /// The value at which the server continues.
    pub(crate) cursor: Option<String>,
    /// Header for the type of an event.
    pub(crate) kind_header: Option<String>,
}

/// An event of the server.
#[derive(Debug)]
pub(crate) struct Record<B> {
    pub(crate) body: B,
    /// Its type, if the stream has types.
    pub(crate) kind: Option<String>,
    /// Whether it was truncated.
    pub(crate) is_cut: bool,
    /// The value at which the server continues, if it is outside of the event.
    pub(crate) cursor: Option<String>,
}

/// Counters of a source.
#[derive(Clone)]
pub(crate) struct Counts {
    /// Name of the source.
    pub(crate) source: std::sync::Arc<str>,
    /// Where it counts.
    pub(crate) metrics: Metrics,
}

impl Counts {
    /// Counts an anomaly.
    pub(crate) fn count(&self, reason: &'static str) {
        self.metrics.count_anomaly(&self.source, reason, 1);
    }
}

/// Events to store together.
#[derive(Default)]
pub(crate) struct Round {
    events: BatchBuilder,
    bytes: u64,
}

impl Round {
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Returns whether no further event fits, or none of `next` bytes.
    pub(crate) fn is_full(&self, next: usize, most: PieceLimits) -> bool {
        let (here, bytes) = (self.events.len(), self.bytes as usize);
        here >= most.events || bytes >= most.bytes || (here > 0 && bytes + next > most.bytes)
    }

    /// Adds an event, unless it is known. Returns the new cursor, if any.
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

    /// Takes the events.
    pub(crate) fn take(&mut self) -> Batch {
        self.bytes = 0;
        std::mem::take(&mut self.events).finish()
    }
}

/// Sets the cursor. Ignores one that is too long. An empty one, as sent by an event that resets the
/// id, means `None`.
pub(crate) fn advance(cursor: Option<String>, progress: &mut Progress, counts: &Counts) {
    let Some(cursor) = cursor else { return };
    if cursor.len() > CURSOR_BYTES_MAX {
        counts.count("cursor_too_long");
    } else {
        progress.standing.cursor = Some(cursor).filter(|it| !it.is_empty());
    }
}

impl Shape {
    /// Parses the event if a value must be extracted.
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

/// Returns a text or a number at a pointer.
pub(crate) fn text_at(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Parses a pointer of a setting; an empty one is `None`.
///
/// # Errors
/// It is not a JSON pointer.
pub(crate) fn pointer(
    setting: &str,
    pointer: Option<String>,
) -> Result<Option<String>, BuildError> {
    let pointer = pointer.filter(|text| !text.is_empty());
    if pointer.as_ref().is_some_and(|text| !text.starts_with('/')) {
        let problem = "must be a JSON pointer, which starts with `/`; write for example \
                       \"/data/id\"";
        return Err(BuildError::invalid(setting, problem));
    }
    Ok(pointer)
}
