//! Building batches: event by event, column by column, or as a part of another batch.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::events::{ABSENT, Column};
use super::lengths::Lengths;
use super::limits::{BuilderLimits, Excess};
use super::{Batch, EventRef, Events};

/// Builds a batch event by event. Bodies are copied into one buffer, each followed by LF, so that
/// they are ready for a text file.
#[derive(Default)]
pub struct BatchBuilder {
    bodies: Vec<u8>,
    lengths: Vec<u32>,
    columns: Vec<(Arc<str>, ColumnBuilder)>,
    /// Events that are expected.
    expected: usize,
    limits: BuilderLimits,
    /// Bytes of the events so far.
    used_bytes: usize,
    /// Steps of the events so far.
    used_steps: usize,
    excess: Option<Excess>,
}

/// Maximum number of events for which room is reserved in advance.
const EXPECTED_MAX: usize = 1024;

/// Values of consecutive events: a run for each that differs from the previous one.
#[derive(Default)]
pub(super) struct ColumnBuilder {
    events: usize,
    /// As in [`Column`]; empty while each event has its own.
    runs: Vec<u32>,
    ends: Vec<u32>,
    values: Vec<u8>,
    /// The offset of the last run's value.
    last: usize,
    /// Bytes of the values, if each event had its own.
    each_bytes: usize,
    /// Expected number of runs, once there is a second one.
    expected: usize,
}

impl ColumnBuilder {
    /// Creates a column of these values, each for this many events.
    pub(super) fn of<'a>(runs: impl Iterator<Item = (Option<&'a str>, usize)>) -> Self {
        let mut column = Self::default();
        for (value, events) in runs {
            column.push(value, events);
        }
        column
    }

    /// Number of events.
    pub(super) fn len(&self) -> usize {
        self.events
    }

    /// Returns `true` if no event has a value.
    pub(super) fn is_absent(&self) -> bool {
        self.ends.iter().all(|end| end & ABSENT != 0)
    }

    /// The next `events` events have this value. Returns the bytes that it grows by.
    pub(super) fn push(&mut self, value: Option<&str>, events: usize) -> usize {
        if events == 0 {
            return 0;
        }
        self.events += events;
        let until = u32::try_from(self.events).expect("a batch has < 4 G events");
        let text = value.unwrap_or_default().as_bytes();
        self.each_bytes += text.len() * events;
        let absent = if value.is_some() { 0 } else { ABSENT };
        if let (Some(run), Some(end)) = (self.runs.last_mut(), self.ends.last())
            && end & ABSENT == absent
            && self.values[self.last..] == *text
        {
            *run = until;
            return 0;
        }
        if self.runs.len() == 1 {
            self.runs.reserve(self.expected);
            self.ends.reserve(self.expected);
        }
        self.last = self.values.len();
        self.values.extend_from_slice(text);
        let end = u32::try_from(self.values.len()).ok().filter(|end| end & ABSENT == 0);
        self.ends.push(end.expect("header values of a batch are < 2 GiB") | absent);
        self.runs.push(until);
        BuilderLimits::VALUE_BYTES + text.len()
    }

    /// Adds this value for the next event, whatever the previous value is. Not for a column with
    /// runs.
    fn push_own(&mut self, value: Option<&str>) {
        self.values.extend_from_slice(value.unwrap_or_default().as_bytes());
        let end = u32::try_from(self.values.len()).expect("not longer than what it is a part of");
        self.ends.push(end | if value.is_some() { 0 } else { ABSENT });
        self.events += 1;
    }

    /// Returns the column, in runs if that is smaller.
    pub(super) fn finish(self, name: Arc<str>) -> Column {
        let in_runs = 4 + 8 * self.runs.len() + self.values.len();
        let is_smaller = in_runs < 4 * self.events + self.each_bytes;
        let each_is_run = self.ends.len() == self.events;
        let runs = (!each_is_run).then(|| le_bytes(&self.runs));
        let column = Column { name, runs, ends: le_bytes(&self.ends), values: self.values.into() };
        if is_smaller || each_is_run {
            return column;
        }
        let (mut ends, mut values) = (Vec::with_capacity(self.events), Vec::new());
        for (value, events) in column.runs() {
            let absent = if value.is_some() { 0 } else { ABSENT };
            for _ in 0..events {
                values.extend_from_slice(value.unwrap_or_default().as_bytes());
                ends.push(values.len() as u32 | absent);
            }
        }
        Column { name: column.name, runs: None, ends: le_bytes(&ends), values: values.into() }
    }
}

/// As a column stores them.
fn le_bytes(numbers: &[u32]) -> Bytes {
    let mut bytes = Vec::with_capacity(numbers.len() * 4);
    numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
    bytes.into()
}

impl BatchBuilder {
    /// Creates a builder for events from outside, with these limits. Events beyond them are not
    /// added: [`BatchBuilder::excess`].
    pub fn within(limits: BuilderLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Why events are missing that were added. Then the batch is of no use.
    pub fn excess(&self) -> Option<Excess> {
        self.excess
    }

    /// Returns the bytes of memory that the next event may use.
    pub fn room_bytes(&self) -> usize {
        if self.excess.is_some() { 0 } else { self.limits.bytes - self.used_bytes }
    }

    /// Announces the memory that decoding the next event needs. Returns whether it is available.
    pub fn has_room(&mut self, bytes: usize) -> bool {
        if bytes > self.room_bytes() {
            self.excess.get_or_insert(Excess::Bytes);
        }
        self.excess.is_none()
    }

    /// Reserves room for about `events` more events with at most `body_bytes` of bodies, so that
    /// adding them moves nothing. Both are estimates; unused room is freed with the batch if it
    /// exceeds a half.
    pub fn expect(&mut self, events: usize, body_bytes: usize) {
        self.bodies.reserve(body_bytes);
        self.expected = events.min(EXPECTED_MAX);
        self.lengths.reserve(self.expected);
    }

    /// Adds an event. Of a header that is named twice, the last value counts.
    pub fn push(&mut self, body: &[u8], headers: &[(&str, &str)]) {
        if !self.has_room(BuilderLimits::EVENT_BYTES + body.len()) {
            return;
        }
        let mut both = self.columns.iter().zip(headers);
        // Column names are unique, so header names are too.
        let is_alike =
            self.columns.len() == headers.len() && both.all(|((a, _), (b, _))| **a == **b);
        let columns = self.columns.len();
        self.used_steps += BuilderLimits::COLUMN_STEPS * columns;
        if !is_alike {
            self.used_steps += (columns + headers.len()) * headers.len();
        }
        if self.used_steps > self.limits.steps {
            self.excess = Some(Excess::Steps);
            return;
        }
        let length = u32::try_from(body.len()).expect("an event is smaller than 4 GiB");
        self.bodies.extend_from_slice(body);
        self.bodies.push(b'\n');
        let mut grown = BuilderLimits::EVENT_BYTES + body.len();
        if is_alike {
            for ((_, column), (_, value)) in self.columns.iter_mut().zip(headers) {
                grown += column.push(Some(value), 1);
            }
        } else {
            grown += self.push_headers(headers);
        }
        self.lengths.push(length);
        self.used_bytes = self.used_bytes.saturating_add(grown);
        if self.used_bytes > self.limits.bytes {
            self.excess = Some(Excess::Bytes);
        }
    }

    /// Adds the headers of an event whose headers differ from the columns in number, names or
    /// order. Returns the bytes by which the columns grow.
    fn push_headers(&mut self, headers: &[(&str, &str)]) -> usize {
        let mut grown = 0;
        for (name, _) in headers {
            if !self.columns.iter().any(|(known, _)| &**known == *name) {
                // With many columns, each gets less room.
                let expected = self.expected / (1 + self.columns.len());
                let mut column = ColumnBuilder { expected, ..ColumnBuilder::default() };
                grown += BuilderLimits::COLUMN_BYTES + name.len();
                grown += column.push(None, self.lengths.len());
                self.columns.push(((*name).into(), column));
            }
        }
        for (name, column) in &mut self.columns {
            let value = headers.iter().rev().find(|(key, _)| *key == &**name);
            grown += column.push(value.map(|(_, value)| *value), 1);
        }
        grown
    }

    /// Number of events so far.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Returns `true` if no event was pushed yet.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Bytes of the bodies so far, with their separators.
    pub fn body_bytes(&self) -> usize {
        self.bodies.len()
    }

    /// The batch. A header that has the same value in every event becomes a shared one.
    pub fn finish(mut self) -> Batch {
        if self.bodies.len() < self.bodies.capacity() / 2 {
            self.bodies.shrink_to_fit();
        }
        let mut events = Events {
            lengths: Lengths::from_slice(&self.lengths),
            bodies: self.bodies.into(),
            separated: true,
            ..Events::default()
        };
        self.columns.into_iter().for_each(|(name, column)| events.add(name, column));
        events.into()
    }
}

impl Events {
    /// Adds a header: a shared one, if all events have the same value.
    pub(super) fn add(&mut self, name: Arc<str>, column: ColumnBuilder) {
        let is_one_run = column.runs.len() == 1;
        let column = column.finish(name);
        let value = is_one_run.then(|| column.value(0)).flatten();
        match value.map(Arc::from) {
            Some(value) => self.shared.push((column.name, value)),
            None => self.columns.push(column),
        }
    }
}

impl Events {
    /// Replaces each event's body with the result of `change`. Headers stay. If every result is
    /// borrowed, nothing is copied and nothing changes.
    ///
    /// # Panics
    /// If a new body has 4 GiB or more.
    pub fn map_bodies(&mut self, mut change: impl FnMut(EventRef<'_>) -> Cow<'_, [u8]>) {
        // Bodies before the first changed one are copied only once there is a changed one.
        let mut changed: Option<(Vec<u8>, Vec<u32>)> = None;
        for event in self.iter() {
            let body = change(event);
            if changed.is_none() && matches!(body, Cow::Owned(_)) {
                let mut before = (Vec::with_capacity(self.bodies.len()), Vec::new());
                self.iter().take(event.index()).for_each(|same| append(&mut before, same.body()));
                changed = Some(before);
            }
            if let Some(changed) = &mut changed {
                append(changed, &body);
            }
        }
        if let Some((bodies, lengths)) = changed {
            self.lengths = Lengths::from_slice(&lengths);
            self.bodies = bodies.into();
            self.separated = true;
            self.encoded = None;
        }
    }
}

/// Adds a body with its separator.
fn append((bodies, lengths): &mut (Vec<u8>, Vec<u32>), body: &[u8]) {
    lengths.push(u32::try_from(body.len()).expect("a body has < 4 GiB"));
    bodies.extend_from_slice(body);
    bodies.push(b'\n');
}

/// Splits `all` into `count` parts: each event goes into the part with the number in `part_of`.
/// Events with other numbers are left out.
pub(super) fn parts(all: &Events, part_of: &[usize], count: usize) -> Vec<Events> {
    let separator = usize::from(all.separated);
    let mut sizes = vec![(0, 0); count];
    let mut of = part_of.iter();
    all.lengths.iter(&all.bodies).for_each(|length| {
        if let Some((events, bytes)) = of.next().and_then(|part| sizes.get_mut(*part)) {
            *events += 1;
            *bytes += length + separator;
        }
    });
    let room = |(events, bytes)| (Vec::with_capacity(events), Vec::with_capacity(bytes));
    let mut events: Vec<(Vec<u32>, Vec<u8>)> = sizes.into_iter().map(room).collect();
    let (mut start, mut of) = (0, part_of.iter());
    all.lengths.iter(&all.bodies).for_each(|length| {
        let end = start + length + separator;
        if let Some((lengths, bodies)) = of.next().and_then(|part| events.get_mut(*part)) {
            lengths.push(length as u32);
            bodies.extend_from_slice(&all.bodies[start..end]);
        }
        start = end;
    });
    let part = |(lengths, bodies): (Vec<u32>, Vec<u8>)| Events {
        shared: all.shared.clone(),
        columns: Vec::with_capacity(all.columns.len()),
        lengths: all.lengths.of_part(&lengths),
        bodies: bodies.into(),
        separated: all.separated,
        encoded: None,
    };
    let mut parts: Vec<Events> = events.into_iter().map(part).collect();
    for column in &all.columns {
        let mut columns: Vec<ColumnBuilder> = parts.iter().map(|_| <_>::default()).collect();
        if column.runs.is_none() {
            for (value, part) in column.values().zip(part_of) {
                if let Some(column) = columns.get_mut(*part) {
                    column.push_own(value);
                }
            }
        } else {
            let mut rest = part_of;
            for (value, events) in column.runs() {
                let (of_run, behind) = rest.split_at(events);
                for part in of_run {
                    if let Some(column) = columns.get_mut(*part) {
                        column.push(value, 1);
                    }
                }
                rest = behind;
            }
        }
        for (part, values) in parts.iter_mut().zip(columns) {
            part.add(column.name.clone(), values);
        }
    }
    parts
}
