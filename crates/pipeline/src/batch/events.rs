//! [`Events`]: bodies and headers in columns, without knowledge of the batch that they are in.

use std::sync::Arc;

use bytes::Bytes;

use super::BatchSize;
use super::builder::{self, ColumnBuilder};
use super::lengths::Lengths;

/// The events of a [`Batch`](super::Batch), in order: components read and change them.
///
/// Cloning is cheap: the bytes are shared. A change that keeps all bodies copies none of them.
///
/// ```
/// # use aqueduct_pipeline as pipeline;
/// use std::borrow::Cow;
///
/// use pipeline::{BatchBuilder, Existing};
///
/// let mut builder = BatchBuilder::default();
/// builder.push(b"GET /a", &[("host", "web-1"), ("status", "200")]);
/// builder.push(b"GET /b", &[("host", "web-1"), ("status", "404")]);
/// let mut events = builder.finish().events;
///
/// // All events have this header alike, so it is there once.
/// assert_eq!(events.shared_header("host"), Some("web-1"));
/// assert_eq!(events.values("status").collect::<Vec<_>>(), [Some("200"), Some("404")]);
///
/// events.set_header("site", "fra", Existing::Keep);
/// events.map_bodies(|event| Cow::Owned(event.body().to_ascii_lowercase()));
/// let missing = events.extract(|event| event.header("status") == Some("404"));
/// assert_eq!((events.len(), missing.len()), (1, 1));
/// let left = events.iter().next().expect("one event is left");
/// assert_eq!((left.body(), left.header("site")), (&b"get /a"[..], Some("fra")));
/// ```
#[derive(Clone, Default)]
pub struct Events {
    pub(super) shared: Vec<Shared>,
    pub(super) columns: Vec<Column>,
    pub(super) lengths: Lengths,
    pub(super) bodies: Bytes,
    pub(super) separated: bool,
    pub(super) encoded: Option<Bytes>,
}

/// Name and value of a header that all events share.
pub(super) type Shared = (Arc<str>, Arc<str>);

/// One header whose value differs between events, or is missing in some.
#[derive(Clone)]
pub(super) struct Column {
    pub(super) name: Arc<str>,
    /// If neighbours share values: a little-endian `u32` for each run of such events, the number of
    /// events up to its end. Otherwise each event is a run.
    pub(super) runs: Option<Bytes>,
    /// Little-endian `u32` for each run: the end of its value in `values`; the top bit means that
    /// it has no value.
    pub(super) ends: Bytes,
    /// The values of all runs end to end, UTF-8.
    pub(super) values: Bytes,
}

/// Marks in [`Column::ends`] events that lack the header.
pub(super) const ABSENT: u32 = 1 << 31;

/// Handling of a new header if an event already has that header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// The old value stays.
    Keep,
    /// The new value replaces it.
    Replace,
}

/// One event, borrowed.
#[derive(Clone, Copy)]
pub struct EventRef<'a> {
    pub(super) events: &'a Events,
    pub(super) index: usize,
    pub(super) body: &'a [u8],
}

pub(super) fn u32_at(numbers: &[u8], index: usize) -> u32 {
    let bytes = &numbers[index * 4..index * 4 + 4];
    u32::from_le_bytes(bytes.try_into().expect("a slice of four bytes"))
}

impl Column {
    pub(super) fn value(&self, index: usize) -> Option<&str> {
        let is_before = |until: &[u8; 4]| u32::from_le_bytes(*until) as usize <= index;
        let run = self.runs.as_ref().map(|runs| runs.as_chunks().0.partition_point(is_before));
        let run = run.unwrap_or(index);
        let end = u32_at(&self.ends, run);
        if end & ABSENT != 0 {
            return None;
        }
        let start = if run == 0 { 0 } else { u32_at(&self.ends, run - 1) & !ABSENT };
        std::str::from_utf8(&self.values[start as usize..end as usize]).ok()
    }

    /// The values of all runs, in order.
    pub(super) fn values(&self) -> impl Iterator<Item = Option<&str>> {
        // Checked once for all events.
        let all = std::str::from_utf8(&self.values).unwrap_or_default();
        let mut start = 0;
        self.ends.as_chunks::<4>().0.iter().map(move |end| {
            let end = u32::from_le_bytes(*end);
            let value = all.get(start..(end & !ABSENT) as usize);
            start = (end & !ABSENT) as usize;
            value.filter(|_| end & ABSENT == 0)
        })
    }

    /// The values of all runs, in order, each with its number of events.
    pub(super) fn runs(&self) -> impl Iterator<Item = (Option<&str>, usize)> {
        let mut untils = self.runs.as_ref().map(|runs| runs.as_chunks::<4>().0.iter());
        let mut before = 0;
        self.values().map(move |value| {
            let until = untils.as_mut().and_then(Iterator::next);
            let until = until.map_or(before + 1, |until| u32::from_le_bytes(*until) as usize);
            let events = until - before;
            before = until;
            (value, events)
        })
    }
}

impl Events {
    /// Number of events.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Returns `true` if there are no events.
    pub fn is_empty(&self) -> bool {
        self.lengths.len() == 0
    }

    /// Events, and bytes of the encoding.
    pub fn size(&self) -> BatchSize {
        BatchSize { events: self.len() as u64, bytes: self.encoded_len() as u64 }
    }

    /// Every event, in order.
    pub fn iter(&self) -> impl Iterator<Item = EventRef<'_>> {
        let separator = usize::from(self.separated);
        let mut start = 0;
        self.lengths.iter(&self.bodies).enumerate().map(move |(index, length)| {
            let body = &self.bodies[start..start + length];
            start += length + separator;
            EventRef { events: self, index, body }
        })
    }

    /// Returns all bodies, each followed by one LF, if memory has them in that form, which is the
    /// form of a text file. `None`: they are end to end, without a separator.
    pub fn lines(&self) -> Option<&Bytes> {
        self.separated.then_some(&self.bodies)
    }

    /// Bytes of all bodies together, separators not counted.
    pub fn body_bytes(&self) -> u64 {
        (self.bodies.len() - if self.separated { self.len() } else { 0 }) as u64
    }

    /// Returns the value that every event has for `name`, if it is a shared one.
    pub fn shared_header(&self, name: &str) -> Option<&str> {
        self.shared.iter().find(|(key, _)| &**key == name).map(|(_, value)| &**value)
    }

    /// Names and values of the headers that all events share.
    pub fn shared_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.shared.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Returns `true` if no header differs by event, so that the shared ones decide for all.
    pub fn is_uniform(&self) -> bool {
        self.columns.is_empty()
    }

    /// Returns `true` if some event may have its own value of `name`.
    pub fn has_own(&self, name: &str) -> bool {
        self.columns.iter().any(|column| &*column.name == name)
    }

    /// The events' values of `name`, in order, each with the number of neighbours that have it.
    /// One step serves all events of a run.
    pub fn value_runs(&self, name: &str) -> impl Iterator<Item = (Option<&str>, usize)> {
        let column = self.columns.iter().find(|column| &*column.name == name);
        let alike = column.is_none().then(|| (self.shared_header(name), self.len()));
        column.map(Column::runs).into_iter().flatten().chain(alike)
    }

    /// Each event's value of `name`, in order.
    pub fn values(&self, name: &str) -> impl Iterator<Item = Option<&str>> {
        let column = self.columns.iter().find(|column| &*column.name == name);
        let own = column.filter(|column| column.runs.is_none());
        let runs = own.is_none().then(|| self.value_runs(name)).into_iter().flatten();
        let alike = runs.flat_map(|(value, events)| std::iter::repeat_n(value, events));
        own.map(Column::values).into_iter().flatten().chain(alike)
    }

    /// Sets the header `name` of every event; `existing` decides if one already has it.
    pub fn set_header(&mut self, name: &str, value: &str, existing: Existing) {
        let shared = self.shared.iter().position(|(key, _)| &**key == name);
        let column = self.columns.iter().position(|column| &*column.name == name);
        match (shared, column, existing) {
            (Some(_), _, Existing::Keep) => return,
            (Some(at), _, Existing::Replace) => self.shared[at].1 = value.into(),
            (None, Some(at), Existing::Keep) => {
                let filled = self.columns[at].runs().map(|(own, n)| (own.or(Some(value)), n));
                let filled = ColumnBuilder::of(filled);
                let Column { name, .. } = self.columns.remove(at);
                self.add(name, filled);
            }
            (None, Some(at), Existing::Replace) => {
                self.columns.remove(at);
                self.shared.push((name.into(), value.into()));
            }
            (None, None, _) => self.shared.push((name.into(), value.into())),
        }
        self.encoded = None;
    }

    /// Sets each event's own value of `name`, or none; replaces previous values.
    ///
    /// # Panics
    /// If the number of values differs from the number of events.
    pub fn set_column<'a>(&mut self, name: &str, values: impl Iterator<Item = Option<&'a str>>) {
        self.set_runs(name, values.map(|value| (value, 1)));
    }

    /// As [`Events::set_column`], with each value for a number of consecutive events.
    ///
    /// # Panics
    /// If the number of values differs from the number of events.
    pub fn set_runs<'a>(
        &mut self,
        name: &str,
        runs: impl Iterator<Item = (Option<&'a str>, usize)>,
    ) {
        let column = ColumnBuilder::of(runs);
        assert_eq!(column.len(), self.len(), "one value for each event");
        self.remove_header(name);
        self.add(name.into(), column);
    }

    /// Takes the header `name` from every event.
    pub fn remove_header(&mut self, name: &str) {
        self.shared.retain(|(key, _)| &**key != name);
        self.columns.retain(|column| &*column.name != name);
        self.encoded = None;
    }

    /// Keeps the events for which `keep` returns `true`.
    pub fn retain(&mut self, mut keep: impl FnMut(EventRef<'_>) -> bool) {
        let part_of: Vec<usize> = self.iter().map(|event| usize::from(!keep(event))).collect();
        if part_of.contains(&1) {
            *self = builder::parts(self, &part_of, 1).pop().unwrap_or_default();
        }
    }

    /// Removes the events for which `is_wanted` returns `true`, and returns them with their
    /// headers.
    pub fn extract(&mut self, mut is_wanted: impl FnMut(EventRef<'_>) -> bool) -> Self {
        let part_of: Vec<usize> = self.iter().map(|event| usize::from(is_wanted(event))).collect();
        if !part_of.contains(&1) {
            return Self::default();
        }
        let mut parts = builder::parts(self, &part_of, 2);
        let taken = parts.pop().unwrap_or_default();
        *self = parts.pop().unwrap_or_default();
        taken
    }

    /// Splits into parts: `part_of` has the number of each event's part, from 0 on, none left out.
    /// The events of each part keep their order. One part costs no copy.
    ///
    /// # Panics
    /// If there are not as many numbers as events.
    pub fn split(&self, part_of: &[usize]) -> Vec<Self> {
        assert_eq!(part_of.len(), self.len(), "one part for each event");
        match part_of.iter().max() {
            None => Vec::new(),
            Some(0) => vec![self.clone()],
            Some(last) => builder::parts(self, part_of, last + 1),
        }
    }
}

impl<'a> EventRef<'a> {
    /// The body, without a separator.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Returns the index of the event, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The value of header `name`.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        if let Some(column) = self.events.columns.iter().find(|column| &*column.name == name) {
            return column.value(self.index);
        }
        self.events.shared_header(name)
    }

    /// Names and values of all headers: the shared ones, then its own.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let index = self.index;
        let own = self.events.columns.iter();
        let own = own.filter_map(move |column| Some((&*column.name, column.value(index)?)));
        self.events.shared_headers().chain(own)
    }
}

/// Equal when they have the same bodies and headers, however these are laid out.
impl PartialEq for Events {
    fn eq(&self, other: &Self) -> bool {
        let sorted = |event: EventRef<'_>| {
            let mut headers: Vec<(String, String)> =
                event.headers().map(|(key, value)| (key.into(), value.into())).collect();
            headers.sort();
            (headers, event.body().to_vec())
        };
        self.iter().map(sorted).eq(other.iter().map(sorted))
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bodies = self.iter().take(3).map(|e| String::from_utf8_lossy(e.body()).into_owned());
        f.debug_struct("Events")
            .field("events", &self.len())
            .field("shared", &self.shared)
            .field("first", &bodies.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
