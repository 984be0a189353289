//! Bodies that are JSON objects or typed rows.
//!
//! The event decides: a typed row has its schema in a header. Rows that earlier versions stored as
//! JSON are therefore read by the same settings.

use ::rows::{SCHEMA_HEADER, Schema, Type};
use formats::rows::{are_typed, reason};
use pipeline::{EventRef, Events};

use super::{Body, EachRow};
use crate::parquet::column::Column;
use crate::parquet::kind::{ColumnType, Kind};
use crate::parquet::paths::{Paths, Unread};
use crate::parquet::value::Found;

/// The reader.
#[derive(Debug)]
pub(super) struct Bodies {
    pub(super) paths: Paths,
    /// Number of columns.
    pub(super) columns: usize,
}

/// The schema of a typed row, with the paths of each of its columns.
struct TypedPlan<'p> {
    schema: Schema,
    takers: Vec<Option<&'p Paths>>,
}

impl Bodies {
    fn json<'e>(&self, event: EventRef<'e>, found: &mut [Found<'e>]) -> Result<(), Unread> {
        self.paths.read(event.body(), found).map_err(|unread| match unread {
            Unread::Body(problem) => Unread::Body(reason(event, problem).into()),
            within => within,
        })
    }

    fn plan(&self, header: &str) -> Result<TypedPlan<'_>, Unread> {
        let schema = Schema::parse(header).map_err(|problem| {
            Unread::Body(format!("the header `{SCHEMA_HEADER}` {problem}").into())
        })?;
        let takers = schema.columns().iter().map(|column| self.paths.below(&column.name)).collect();
        Ok(TypedPlan { schema, takers })
    }
}

impl TypedPlan<'_> {
    fn read<'e>(&'e self, event: EventRef<'e>, found: &mut [Found<'e>]) -> Result<(), Unread> {
        let malformed = |problem: ::rows::Malformed| Unread::Body(problem.to_string().into());
        let mut problem = None;
        let values = self.schema.read(event.body()).map_err(malformed)?;
        for (value, taker) in values.zip(&self.takers) {
            let value = value.map_err(malformed)?;
            if let Some(paths) = taker {
                problem = paths.take_value(value, found).err().or(problem);
            }
        }
        problem.map_or(Ok(()), Err)
    }
}

impl Body for Bodies {
    fn each<'e>(&self, events: &'e Events, row: &mut EachRow<'_, 'e>) {
        let mut last: Option<(&str, Result<TypedPlan<'_>, Unread>)> = None;
        let mut events_of = events.iter();
        for (schema, count) in events.value_runs(SCHEMA_HEADER) {
            let run = events_of.by_ref().take(count);
            let mut found = vec![Found::Missing; self.columns];
            if self.paths.is_empty() {
                run.for_each(|event| row(event, Ok(&found)));
                continue;
            }
            let Some(header) = schema else {
                for event in run {
                    found.fill(Found::Missing);
                    let read = self.json(event, &mut found);
                    row(event, read.map(|()| &found[..]));
                }
                continue;
            };
            let same = last.take().filter(|(seen, _)| *seen == header);
            let (_, plan) = &*last.insert(same.unwrap_or_else(|| (header, self.plan(header))));
            for event in run {
                found.fill(Found::Missing);
                let read = match plan {
                    Ok(plan) => plan.read(event, &mut found),
                    Err(unread) => Err(unread.clone()),
                };
                row(event, read.map(|()| &found[..]));
            }
        }
    }

    fn text_bound(&self, events: &Events, columns: &[Column]) -> Option<u64> {
        let is_text = |column: usize| columns[column].is_bytes();
        if !are_typed(events) {
            return Some(events.body_bytes() * self.paths.copies(&is_text));
        }
        let mut runs = events.value_runs(SCHEMA_HEADER);
        let (Some((Some(header), _)), None) = (runs.next(), runs.next()) else { return None };
        self.plan(header).ok()?.text_bound(events, columns)
    }
}

impl TypedPlan<'_> {
    /// Same as [`Body::text_bound`]. The text of a value may be longer than the value.
    fn text_bound(&self, events: &Events, columns: &[Column]) -> Option<u64> {
        /// Longest text of a value of fixed size: a decimal with 76 digits, in quotes.
        const FIXED: u64 = 84;
        let (mut copies, mut fixed) = (0, 0);
        for (column, taker) in self.schema.columns().iter().zip(&self.takers) {
            let Some(paths) = taker else { continue };
            let targets = paths.copies(&|target| columns[target].is_bytes());
            let is_json =
                |target: &usize| columns[*target].kind() == Some(Kind::Plain(ColumnType::Json));
            match &column.kind {
                // Names and punctuation.
                kind if kind.is_nested() => return None,
                // Escapes of JSON take up to six bytes.
                Type::Text if paths.columns().iter().any(is_json) => return None,
                Type::Text | Type::Json => copies = targets.max(copies),
                // Base64, in quotes.
                Type::Bytes => {
                    copies = copies.max(2 * targets);
                    fixed += 6 * targets;
                }
                _ => fixed += FIXED * targets,
            }
        }
        Some(events.body_bytes() * copies + events.len() as u64 * fixed)
    }
}
