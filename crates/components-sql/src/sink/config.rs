//! The settings, and their validation.

use std::collections::BTreeMap;
use std::time::Duration;

use pipeline::BuildError;
use pipeline::units::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::row::{Reading, ValueSource};
use crate::database::Database;

/// Settings of the `sql` sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The database and its connection settings.
    pub(super) database: Database,
    /// Table of the rows, `table` or `schema.table`, spelled as in the database. With
    /// `mode = "call"`: the procedure.
    pub(super) table: String,
    /// Format of a body: `json`, an object; `csv`, a line with the values in `fields`; `none`, not
    /// parsed.
    #[serde(default)]
    pub(super) format: Format,
    /// Names of the values of a line, in their order. Required for `csv`, and only valid with it.
    #[serde(default)]
    fields: Vec<String>,
    /// Delimiter between two values of a line: one ASCII character.
    #[serde(default = "defaults::delimiter")]
    delimiter: char,
    /// Text that means NULL.
    #[serde(default)]
    null: String,
    /// Columns and the sources of their values: the name of a field, a JSON pointer such as
    /// `/user/id`, `%{host}` for a header, `%body` for the whole body. Default: each field is
    /// written to the column with its name.
    #[serde(default)]
    columns: BTreeMap<String, String>,
    /// Handling of a field that no column uses: `reject`, the event becomes a dead letter;
    /// `ignore`, the field is left out.
    #[serde(default)]
    extra: Extra,
    /// Statement for an event: `insert`, a new row; `update`, changes the row with its key;
    /// `upsert`, changes or inserts the row with its key; `call`, calls a procedure.
    #[serde(default)]
    pub(super) mode: Mode,
    /// Key columns that find the row, for `update` and `upsert`. A unique index on exactly these
    /// columns must exist.
    #[serde(default)]
    pub(super) key: Vec<String>,
    /// Limit of rows in a statement. `COPY`, which is used for inserts into PostgreSQL, writes all
    /// rows of a batch.
    #[serde(default = "pipeline::units::number::<1000>")]
    pub(super) rows_max: usize,
    /// Table that records the applied batches.
    #[serde(default)]
    pub(super) ledger: LedgerConfig,
    /// Limit of batches in flight, each on its own connection. Batches of one origin are written
    /// one after the other.
    #[serde(default = "pipeline::units::number::<4>")]
    pub(super) in_flight_max: usize,
    /// Timeout of a batch, including the connection.
    #[serde(default = "pipeline::units::seconds::<60>")]
    pub(super) timeout: Period,
}

/// Where the sink keeps which batches are applied.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LedgerConfig {
    /// Name of the ledger table, `table` or `schema.table`, in the database of the rows. A second
    /// table with the suffix `_refused` records the rejected events of applied batches.
    pub(super) table: String,
    /// Name of this sink in the ledger table. Give the same name to sinks that may receive the same
    /// batches for the same table. Default: the name of the sink.
    pub(super) name: Option<String>,
    /// Whether the sink creates missing ledger tables.
    pub(super) create: bool,
    /// Retention of the positions of rejected events, so that a resent batch has the same dead
    /// letters.
    pub(super) refused_kept: Period,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self {
            table: "aqueduct_applied".into(),
            name: None,
            create: false,
            refused_kept: Period(Duration::from_secs(7 * 24 * 3600)),
        }
    }
}

/// What a body holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// A JSON object.
    #[default]
    Json,
    /// A line of values.
    Csv,
    /// The body is not parsed.
    None,
}

/// What becomes of an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// Inserts a new row.
    #[default]
    Insert,
    /// Changes the row with its key.
    Update,
    /// Changes or inserts the row with its key.
    Upsert,
    /// Calls a procedure of PostgreSQL, MySQL or MariaDB, or a function of PostgreSQL, with the
    /// values as parameters.
    Call,
}

impl Mode {
    /// Returns whether rows are found by a key.
    pub(super) fn has_key(self) -> bool {
        matches!(self, Self::Update | Self::Upsert)
    }
}

/// What becomes of a field that no column takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Extra {
    /// The event becomes a dead letter.
    #[default]
    Reject,
    /// The field is left out.
    Ignore,
}

mod defaults {
    pub(super) fn delimiter() -> char {
        ','
    }
}

impl Config {
    /// Rejects settings that cannot work.
    pub(super) fn check(&self) -> Result<(), BuildError> {
        let invalid = |setting: &str, problem: &str| Err(BuildError::invalid(setting, problem));
        let names = [("table", &self.table), ("ledger.table", &self.ledger.table)];
        for (setting, name) in names {
            if name.split('.').any(str::is_empty) || name.split('.').count() > 2 {
                return invalid(setting, "must be a name such as `table` or `schema.table`");
            }
        }
        if self.table == self.ledger.table {
            return invalid("ledger.table", "must differ from `table`, which holds the rows");
        }
        if self.ledger.name.as_ref().is_some_and(|name| name.is_empty() || name.len() > 128) {
            return invalid("ledger.name", "must have 1 to 128 bytes");
        }
        if self.ledger.refused_kept.0 < Duration::from_secs(60) {
            return invalid("ledger.refused_kept", "must be at least 1m");
        }
        if !self.mode.has_key() && !self.key.is_empty() {
            let problem =
                "does not apply to the modes `insert` and `call`: remove it, or change `mode`";
            return invalid("key", problem);
        }
        if self.mode.has_key() && self.key.is_empty() {
            return invalid("key", "must list the columns that identify a row");
        }
        let columns = &self.columns;
        if let Some(key) =
            self.key.iter().find(|key| !columns.is_empty() && !columns.contains_key(*key))
        {
            let problem = format!("must have an entry for `{key}`, which is a column of `key`");
            return Err(BuildError::invalid("columns", problem));
        }
        if !(1..=10_000).contains(&self.rows_max) {
            return invalid("rows_max", "must be from 1 to 10000");
        }
        if !(1..=64).contains(&self.in_flight_max) {
            return invalid("in_flight_max", "must be from 1 to 64");
        }
        Ok(())
    }

    /// Returns how to read events.
    pub(super) fn reading(&self) -> Result<Reading, BuildError> {
        let invalid = |setting: &str, problem: &str| Err(BuildError::invalid(setting, problem));
        let is_csv = self.format == Format::Csv;
        if is_csv && self.fields.is_empty() {
            return invalid("fields", "must list the values of a line if `format` is `csv`");
        }
        if !is_csv && !self.fields.is_empty() {
            return invalid("fields", "applies only to `csv`: remove it, or change `format`");
        }
        if !self.delimiter.is_ascii() || "\"\r\n".contains(self.delimiter) {
            let problem = "must be an ASCII character, and neither a quote nor a line end";
            return invalid("delimiter", problem);
        }
        if self.format == Format::None && self.columns.is_empty() {
            return invalid(
                "columns",
                "must have an entry for each column, because `format` is not set",
            );
        }
        let mut columns = Vec::new();
        for (column, from) in &self.columns {
            let from = ValueSource::parse(from).filter(|from| match from {
                ValueSource::Field(name) => match self.format {
                    Format::Json => true,
                    Format::Csv => self.fields.contains(name),
                    Format::None => false,
                },
                ValueSource::Pointer(_) => self.format == Format::Json,
                ValueSource::Header(_) | ValueSource::Body => true,
            });
            let Some(from) = from else {
                let problem = "must be one of: a field of `format`, a JSON pointer such as \
                               `/price`, `%{header}`, or `%body`";
                return Err(BuildError::invalid(format!("columns.{column}"), problem));
            };
            columns.push((column.clone(), from));
        }
        Ok(Reading {
            format: self.format,
            fields: self.fields.clone(),
            delimiter: self.delimiter as u8,
            null: self.null.clone(),
            columns,
            rejects_extra: self.extra == Extra::Reject,
        })
    }
}
