//! Parses bodies: one reader for each format, which finds the values at the columns' paths.

mod avro;
mod csv;
mod json;

use std::collections::BTreeMap;
use std::fmt;

use formats::avro::bodies;
use pipeline::{BuildError, EventRef, Events};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::column::{Column, Source};
use super::paths::{Paths, Unread};
use super::value::Found;

/// What a body holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// A JSON object.
    #[default]
    Json,
    /// A line of values.
    Csv,
    /// A record in Avro's binary encoding.
    Avro,
}

/// Receives an event, with the values in its body: one entry per column, used by columns with a
/// path.
pub(super) type EachRow<'r, 'e> = dyn FnMut(EventRef<'e>, Result<&[Found<'_>], Unread>) + 'r;

/// A reader of one format.
pub(super) trait Body: Send + Sync + fmt::Debug {
    /// Passes on each event, in order.
    fn each<'e>(&self, events: &'e Events, row: &mut EachRow<'_, 'e>);

    /// Returns an upper bound of the size of all texts in these columns that come from bodies;
    /// `None` if the bodies must be read for it.
    fn text_bound(&self, events: &Events, columns: &[Column]) -> Option<u64>;
}

/// The settings of bodies.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) format: Format,
    pub(super) fields: Vec<String>,
    pub(super) delimiter: char,
    pub(super) null: String,
    pub(super) schema: Option<String>,
    pub(super) schema_urls: Vec<String>,
    pub(super) schemas: BTreeMap<String, String>,
    pub(super) registry_id: Option<u32>,
}

impl Reading {
    /// Creates the reader for these columns.
    ///
    /// # Errors
    /// Settings are wrong, or do not match the format.
    pub(super) fn body(self, columns: &[Column]) -> Result<Box<dyn Body>, BuildError> {
        let (is_csv, is_avro) = (self.format == Format::Csv, self.format == Format::Avro);
        let (schema, urls) = (self.schema, self.schema_urls);
        for (setting, is_set, format, fits) in [
            ("fields", !self.fields.is_empty(), "csv", is_csv),
            ("delimiter", self.delimiter != super::default_delimiter(), "csv", is_csv),
            ("null", !self.null.is_empty(), "csv", is_csv),
            ("schema", schema.is_some(), "avro", is_avro),
            ("schema_urls", !urls.is_empty(), "avro", is_avro),
            ("schemas", !self.schemas.is_empty(), "avro", is_avro),
            ("registry_id", self.registry_id.is_some(), "avro", is_avro),
        ] {
            if is_set && !fits {
                let problem = format!("applies only to {format}: remove it, or set `format`");
                return Err(BuildError::invalid(setting, problem));
            }
        }
        let mut paths = Paths::default();
        for (index, column) in columns.iter().enumerate() {
            if let Source::Path(path) = &column.source {
                paths.add(path, index);
            }
        }
        let columns_count = columns.len();
        Ok(match self.format {
            Format::Json => Box::new(json::Bodies { paths, columns: columns_count }),
            Format::Csv => {
                let lines = csv::Lines { delimiter: self.delimiter, null: self.null };
                Box::new(csv::Bodies::new(self.fields, lines, columns)?)
            }
            Format::Avro => {
                let id = self.registry_id;
                bodies::check_settings(schema.as_deref(), &urls, id, &self.schemas)?;
                let schemas = match schema {
                    Some(schema) => {
                        let declared = bodies::Declared::new(&schema, urls, id)?;
                        avro::Schemas::Declared(declared)
                    }
                    None => {
                        let stated = bodies::Stated::new(&self.schemas, |schema, _| schema)?;
                        avro::Schemas::Stated(stated)
                    }
                };
                Box::new(avro::Bodies { schemas, paths, columns: columns_count })
            }
        })
    }
}
