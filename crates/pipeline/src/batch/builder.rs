//! Building batches: event by event, column by column, or as a part of another batch.

use std::sync::Arc;

use super::lengths::Lengths;
use super::{ABSENT, Batch, Column};

/// Makes a batch event by event. Bodies are copied into one buffer, each followed by LF, so that
/// they are ready for a text file.
#[derive(Default)]
pub struct BatchBuilder {
    bodies: Vec<u8>,
    lengths: Vec<u32>,
    columns: Vec<(Arc<str>, ColumnBuilder)>,
}

#[derive(Default)]
struct ColumnBuilder {
    ends: Vec<u8>,
    values: Vec<u8>,
}

impl ColumnBuilder {
    fn push(&mut self, value: Option<&str>) {
        self.values.extend_from_slice(value.unwrap_or_default().as_bytes());
        let end = u32::try_from(self.values.len()).expect("header values of a batch are < 2 GiB");
        let end = if value.is_some() { end } else { end | ABSENT };
        self.ends.extend_from_slice(&end.to_le_bytes());
    }

    fn finish(self, name: Arc<str>) -> Column {
        Column { name, ends: self.ends.into(), values: self.values.into() }
    }
}

impl BatchBuilder {
    /// Adds an event. Of a header that is named twice, the last value counts.
    pub fn push(&mut self, body: &[u8], headers: &[(&str, &str)]) {
        let length = u32::try_from(body.len()).expect("an event is smaller than 4 GiB");
        self.bodies.extend_from_slice(body);
        self.bodies.push(b'\n');
        for (name, _) in headers {
            if !self.columns.iter().any(|(known, _)| &**known == *name) {
                let mut column = ColumnBuilder::default();
                self.lengths.iter().for_each(|_| column.push(None));
                self.columns.push(((*name).into(), column));
            }
        }
        for (name, column) in &mut self.columns {
            let value = headers.iter().rev().find(|(key, _)| *key == &**name);
            column.push(value.map(|(_, value)| *value));
        }
        self.lengths.push(length);
    }

    /// Number of events so far.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether no event was pushed yet.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Bytes of the bodies so far, with their separators.
    pub fn body_bytes(&self) -> usize {
        self.bodies.len()
    }

    /// The batch. A header that has the same value in every event becomes a shared one.
    pub fn finish(self) -> Batch {
        let events = self.len();
        let mut batch = Batch {
            lengths: Lengths::of(&self.lengths),
            bodies: self.bodies.into(),
            separated: true,
            ..Batch::default()
        };
        for (name, column) in self.columns {
            let column = column.finish(name);
            let first = (events > 0).then(|| column.value(0)).flatten();
            match first {
                Some(value) if (1..events).all(|i| column.value(i) == Some(value)) => {
                    batch.shared.push((column.name.clone(), value.into()));
                }
                _ => batch.columns.push(column),
            }
        }
        batch
    }
}

/// A column of these values.
pub(super) fn column<'a>(name: &Arc<str>, values: impl Iterator<Item = Option<&'a str>>) -> Column {
    let mut column = ColumnBuilder::default();
    values.for_each(|value| column.push(value));
    column.finish(name.clone())
}

/// `count` parts of `batch`, each event in the one whose number `part_of` has for it. Events with
/// other numbers are left out.
pub(super) fn parts(batch: &Batch, part_of: &[usize], count: usize) -> Vec<Batch> {
    let separator = usize::from(batch.separated);
    let mut sizes = vec![(0, 0); count];
    let mut of = part_of.iter();
    batch.lengths.iter(&batch.bodies).for_each(|length| {
        if let Some((events, bytes)) = of.next().and_then(|part| sizes.get_mut(*part)) {
            *events += 1;
            *bytes += length + separator;
        }
    });
    let room = |(events, bytes)| (Vec::with_capacity(events), Vec::with_capacity(bytes));
    let mut events: Vec<(Vec<u32>, Vec<u8>)> = sizes.into_iter().map(room).collect();
    let (mut start, mut of) = (0, part_of.iter());
    batch.lengths.iter(&batch.bodies).for_each(|length| {
        let end = start + length + separator;
        if let Some((lengths, bodies)) = of.next().and_then(|part| events.get_mut(*part)) {
            lengths.push(length as u32);
            bodies.extend_from_slice(&batch.bodies[start..end]);
        }
        start = end;
    });
    let part = |(lengths, bodies): (Vec<u32>, Vec<u8>)| Batch {
        identity: batch.identity,
        positions: batch.positions.clone(),
        shared: batch.shared.clone(),
        columns: Vec::with_capacity(batch.columns.len()),
        lengths: batch.lengths.of_part(&lengths),
        bodies: bodies.into(),
        separated: batch.separated,
        encoded: None,
    };
    let mut parts: Vec<Batch> = events.into_iter().map(part).collect();
    for column in &batch.columns {
        let mut columns: Vec<ColumnBuilder> = parts.iter().map(|_| <_>::default()).collect();
        for (value, part) in column.values().zip(part_of) {
            if let Some(column) = columns.get_mut(*part) {
                column.push(value);
            }
        }
        for (part, values) in parts.iter_mut().zip(columns) {
            part.columns.push(values.finish(column.name.clone()));
        }
    }
    parts
}
