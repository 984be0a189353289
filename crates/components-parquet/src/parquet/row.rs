//! Converts events to rows: the value of each column, or why an event does not fit.

use std::fmt;

use pipeline::{Events, TableField};

use super::body::Body;
use super::column::{Column, Source};
use super::kind::Kind;
use super::nest::{Cell, Walk};
use super::paths::Unread;
use super::shape::{Field, Leaf, Shape, leaves};
use super::value::{Found, Problem, Value, value};

/// The columns, and the reader of bodies.
#[derive(Debug)]
pub(super) struct Rows {
    columns: Vec<Column>,
    leaves: Vec<Leaf>,
    body: Box<dyn Body>,
}

/// The values of an event for each column.
pub(super) struct Row<'r, 'e> {
    columns: &'r [Column],
    /// Values in the body, by path.
    within: Result<&'r [Found<'e>], Unread>,
    /// Values of headers, or the whole body.
    whole: &'r [Found<'e>],
}

/// Why an event does not fit the columns. Contains the column and the kind of value, but not the
/// value, so that similar events are grouped in one dead letter.
#[derive(Debug, Clone)]
pub(super) enum Misfit<'r> {
    Body(&'r str),
    Within(&'r Column, Problem),
    Missing(&'r Column),
    Value(&'r Column, Problem),
    /// A value within a column; a sentence.
    Nested(String),
}

impl Rows {
    /// Returns the columns' lower-case names and Hive types.
    pub(super) fn table_columns(&self) -> Vec<(String, String)> {
        let column = |column: &Column| {
            (column.field.name.to_ascii_lowercase(), column.field.shape.in_table())
        };
        self.columns.iter().map(column).collect()
    }

    /// Returns the columns with their ids in a file.
    pub(super) fn table_fields(&self) -> Vec<TableField> {
        let field = |column: &Column| TableField {
            id: column.field.id,
            name: column.field.name.clone(),
            kind: column.kind().and_then(Kind::in_iceberg),
            required: column.field.required,
        };
        self.columns.iter().map(field).collect()
    }

    /// Creates rows of these columns, for bodies of this format.
    pub(super) fn new(columns: Vec<Column>, body: Box<dyn Body>) -> Self {
        Self { leaves: leaves(&columns), columns, body }
    }

    /// Returns the columns of the file.
    pub(super) fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// Returns an upper bound of the size of all values in memory.
    pub(super) fn bytes(&self, events: &Events) -> u64 {
        let is_flat = self.columns.iter().all(|column| column.kind().is_some());
        let bound = || self.body.text_bound(events, &self.columns);
        let Some(within) = is_flat.then(bound).flatten() else {
            let (mut bytes, mut text) = (0, Vec::new());
            self.read(events, |_, row| {
                // Events that do not fit are not written.
                let _fits = row.each(|Cell { leaf, value, .. }| {
                    bytes += self.leaves[leaf].kind.cost();
                    text.clear();
                    bytes += value.put(&mut text) as u64;
                });
            });
            return bytes;
        };
        let fixed: u64 = self.leaves.iter().map(|leaf| leaf.kind.cost()).sum();
        let columns = self.columns.iter().filter(|column| column.is_bytes());
        let of_column = |column: &Column| match &column.source {
            Source::Header(name) => events.values(name).flatten().map(|it| it.len() as u64).sum(),
            Source::Body => events.body_bytes(),
            Source::Path(_) => 0,
        };
        within + columns.map(of_column).sum::<u64>() + events.len() as u64 * fixed
    }

    /// Passes each event to `each`, with its index.
    pub(super) fn read(&self, events: &Events, mut each: impl FnMut(usize, &Row<'_, '_>)) {
        let mut headers = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            headers.push(match &column.source {
                Source::Header(name) => Some(events.values(name)),
                Source::Body | Source::Path(_) => None,
            });
        }
        let mut whole = vec![Found::Missing; self.columns.len()];
        self.body.each(events, &mut |event, within| {
            for ((column, header), found) in self.columns.iter().zip(&mut headers).zip(&mut whole) {
                match (&column.source, header) {
                    (_, Some(header)) => {
                        let header = header.next().flatten();
                        *found = header.map_or(Found::Missing, |it| Found::Text(it.as_bytes()));
                    }
                    (Source::Body, None) => *found = Found::Text(event.body()),
                    (Source::Path(_) | Source::Header(_), None) => {}
                }
            }
            each(event.index(), &Row { columns: &self.columns, within, whole: &whole });
        });
    }
}

impl<'e> Row<'_, 'e> {
    /// Passes the values of each column to `each`.
    ///
    /// # Errors
    /// A column has no valid value. Earlier values may already have been passed on.
    pub(super) fn each(&self, mut each: impl FnMut(Cell<'e>)) -> Result<(), Misfit<'_>> {
        let within = match &self.within {
            Ok(within) => within,
            Err(Unread::Body(reason)) => return Err(Misfit::Body(reason)),
            Err(Unread::Within(column, problem)) => {
                return Err(Misfit::Within(&self.columns[*column], problem));
            }
        };
        for (index, column) in self.columns.iter().enumerate() {
            let found = match column.source {
                Source::Path(_) => within[index],
                Source::Header(_) | Source::Body => self.whole[index],
            };
            let required = column.field.required;
            let Shape::Leaf(kind, leaf) = column.field.shape else {
                Walk::new(&mut each).column(&column.field, found).map_err(Misfit::Nested)?;
                continue;
            };
            match value(kind, found) {
                Ok(Value::Null) if required => return Err(Misfit::Missing(column)),
                Ok(value) => {
                    let def = i16::from(!required && value != Value::Null);
                    each(Cell { leaf, value, def, rep: 0 });
                }
                Err(problem) => return Err(Misfit::Value(column, problem)),
            }
        }
        Ok(())
    }
}

impl fmt::Display for Misfit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(reason) => f.write_str(reason),
            Self::Nested(reason) => f.write_str(reason),
            Self::Within(column, problem) => {
                let Field { name, .. } = &column.field;
                write!(
                    f,
                    "column `{name}`: its path needs an object, but the event has {problem}; \
                     correct the event, or `path` of the column"
                )
            }
            Self::Missing(column) => {
                let Field { name, shape, .. } = &column.field;
                write!(
                    f,
                    "column `{name}` ({shape}) is required, but missing or null in the event; \
                     correct the event, or set `required = false`"
                )
            }
            Self::Value(column, problem) => {
                let Field { name, shape, .. } = &column.field;
                write!(
                    f,
                    "column `{name}` ({shape}) does not accept {problem}; correct the event, or \
                     the type of the column in the encoder"
                )
            }
        }
    }
}
