//! Events as rows: for each column the value that it finds, or why an event does not fit.

use std::fmt;

use pipeline::Events;

use super::column::{Column, Source};
use super::paths::{Paths, Unread};
use super::value::{Found, Problem, Value, value};

/// The columns, and how their values are found.
#[derive(Debug)]
pub(super) struct Rows {
    columns: Vec<Column>,
    paths: Paths,
}

/// What each column finds in one event.
pub(super) struct Row<'r, 'e> {
    columns: &'r [Column],
    found: &'r [Found<'e>],
    unread: Option<Unread>,
}

/// Why an event does not fit the columns. It names the column and the kind of value, and not the
/// value: events that are alike in that are one dead letter.
#[derive(Debug, Clone, Copy)]
pub(super) enum Misfit<'r> {
    NoObject,
    Within(&'r Column, Problem),
    Missing(&'r Column),
    Value(&'r Column, Problem),
}

impl Rows {
    /// Names of the columns, in small letters, and what a table calls their types.
    pub(super) fn table_columns(&self) -> Vec<(String, String)> {
        let column = |column: &Column| (column.name.to_ascii_lowercase(), column.kind.in_table());
        self.columns.iter().map(column).collect()
    }

    /// Of these columns.
    pub(super) fn new(columns: Vec<Column>) -> Self {
        let mut paths = Paths::default();
        for (index, column) in columns.iter().enumerate() {
            if let Source::Path(path) = &column.source {
                paths.add(path, index);
            }
        }
        Self { columns, paths }
    }

    /// The columns, in their order.
    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// How often a byte of a body may be in a row: in columns of the whole body, and in those of a
    /// value and of what is in it.
    pub(super) fn copies(&self) -> u64 {
        let columns = self.columns.iter();
        let whole = columns.filter(|it| it.source == Source::Body && it.kind.is_bytes()).count();
        whole as u64 + self.paths.copies(&|column| self.columns[column].kind.is_bytes())
    }

    /// Hands each event to `each`, with its place among the others.
    pub(super) fn read(&self, events: &Events, mut each: impl FnMut(usize, &Row<'_, '_>)) {
        let mut headers = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            headers.push(match &column.source {
                Source::Header(name) => Some(events.values(name)),
                Source::Body | Source::Path(_) => None,
            });
        }
        let mut found = vec![Found::Missing; self.columns.len()];
        for event in events.iter() {
            found.fill(Found::Missing);
            let unread = if self.paths.is_empty() {
                None
            } else {
                self.paths.read(event.body(), &mut found).err()
            };
            for ((column, header), found) in self.columns.iter().zip(&mut headers).zip(&mut found) {
                match (&column.source, header) {
                    (_, Some(header)) => {
                        let header = header.next().flatten();
                        *found = header.map_or(Found::Missing, |it| Found::Text(it.as_bytes()));
                    }
                    (Source::Body, None) => *found = Found::Text(event.body()),
                    (Source::Path(_) | Source::Header(_), None) => {}
                }
            }
            each(event.index(), &Row { columns: &self.columns, found: &found, unread });
        }
    }
}

impl<'r, 'e> Row<'r, 'e> {
    /// Hands the value of each column to `each`, with the column's place.
    ///
    /// # Errors
    /// One has none. Some may have been handed on before it.
    pub(super) fn each(&self, mut each: impl FnMut(usize, Value<'e>)) -> Result<(), Misfit<'r>> {
        match self.unread {
            None => {}
            Some(Unread::NoObject) => return Err(Misfit::NoObject),
            Some(Unread::Within(column, problem)) => {
                return Err(Misfit::Within(&self.columns[column], problem));
            }
        }
        for (index, (column, found)) in self.columns.iter().zip(self.found).enumerate() {
            match value(column.kind, *found) {
                Ok(Value::Null) if column.required => return Err(Misfit::Missing(column)),
                Ok(value) => each(index, value),
                Err(problem) => return Err(Misfit::Value(column, problem)),
            }
        }
        Ok(())
    }
}

impl fmt::Display for Misfit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoObject => f.write_str("the body is no JSON object"),
            Self::Within(column, problem) => {
                let Column { name, .. } = column;
                write!(f, "column `{name}`: {problem} stands where its path needs an object")
            }
            Self::Missing(column) => {
                let Column { name, kind, .. } = column;
                write!(f, "column `{name}` ({kind}) is required, and missing or null")
            }
            Self::Value(column, problem) => {
                let Column { name, kind, .. } = column;
                write!(f, "column `{name}` ({kind}): {problem} does not fit")
            }
        }
    }
}
