//! The settings, and their validation.

use std::collections::BTreeMap;
use std::time::Duration;

use pipeline::BuildError;
use pipeline::units::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::row::{From, Reading};
use crate::database::Database;

/// Settings of the `sql` sink.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The database, and how it is reached.
    pub(super) database: Database,
    /// Table that the rows go into, `table` or `schema.table`, written as the database has it. With
    /// `mode = "call"` the procedure.
    pub(super) table: String,
    /// What a body holds: `json`, an object; `csv`, a line, whose values `fields` names; `none`,
    /// nothing that is looked into.
    #[serde(default)]
    pub(super) format: Format,
    /// Names of the values of a line, in their order. Needed by `csv`, and by it alone.
    #[serde(default)]
    fields: Vec<String>,
    /// What stands between two values of a line: one character of ASCII.
    #[serde(default = "defaults::delimiter")]
    delimiter: char,
    /// What a line has where a value is NULL.
    #[serde(default)]
    null: String,
    /// Columns, and where each has its value from: the name of a field, a JSON pointer such as
    /// `/user/id`, `%{host}` for a header, `%body` for the whole body. Unless set, each field goes
    /// into the column of its name.
    #[serde(default)]
    columns: BTreeMap<String, String>,
    /// A field that no column takes its value from: `reject`, the event goes to the dead letters;
    /// `ignore`, the field is left out.
    #[serde(default)]
    extra: Extra,
    /// What becomes of an event: `insert`, a new row; `update`, the row with its key is changed;
    /// `upsert`, the row with its key is changed, or made; `call`, a procedure is called with it.
    #[serde(default)]
    pub(super) mode: Mode,
    /// Columns that find the row, for `update` and `upsert`. A unique index has exactly these.
    #[serde(default)]
    pub(super) key: Vec<String>,
    /// Rows of one statement at most. `COPY`, by which a batch goes into a table of PostgreSQL that
    /// rows are inserted into, takes all rows of it.
    #[serde(default = "defaults::rows_max")]
    pub(super) rows_max: usize,
    /// The table that says which batches are applied.
    #[serde(default)]
    pub(super) ledger: LedgerConfig,
    /// Batches in flight at most, each on a connection of its own. Those of one origin go one after
    /// the other.
    #[serde(default = "defaults::in_flight_max")]
    pub(super) in_flight_max: usize,
    /// How long a batch may take, connecting included.
    #[serde(default = "defaults::timeout")]
    pub(super) timeout: Period,
}

/// Where the sink keeps which batches are applied.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LedgerConfig {
    /// Its name, `table` or `schema.table`, in the database of the rows. A second table of that
    /// name with `_refused` behind it holds what was refused of applied batches.
    pub(super) table: String,
    /// Under what this sink is found in it. Sinks that may get the same batches for the same table
    /// have the same name. The sink's own name unless set.
    pub(super) name: Option<String>,
    /// Whether the sink makes both tables when they are not there.
    pub(super) create: bool,
    /// How long the places of refused events are kept, so that a batch that comes again has the
    /// same dead letters.
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
    /// An object.
    #[default]
    Json,
    /// A line of values.
    Csv,
    /// Nothing that is looked into.
    None,
}

/// What becomes of an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// A new row.
    #[default]
    Insert,
    /// The row with its key is changed.
    Update,
    /// The row with its key is changed, or made.
    Upsert,
    /// A procedure of PostgreSQL, MySQL or MariaDB, or a function of PostgreSQL, is called with the
    /// values as its parameters.
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
    /// The event goes to the dead letters.
    #[default]
    Reject,
    /// The field is left out.
    Ignore,
}

mod defaults {
    use std::time::Duration;

    use pipeline::units::Period;

    pub(super) fn delimiter() -> char {
        ','
    }

    pub(super) fn rows_max() -> usize {
        1000
    }

    pub(super) fn in_flight_max() -> usize {
        4
    }

    pub(super) fn timeout() -> Period {
        Period(Duration::from_secs(60))
    }
}

impl Config {
    /// Rejects settings that cannot work.
    pub(super) fn check(&self) -> Result<(), BuildError> {
        let invalid = |setting: &str, problem: &str| Err(BuildError::invalid(setting, problem));
        let names = [("table", &self.table), ("ledger.table", &self.ledger.table)];
        for (setting, name) in names {
            if name.split('.').any(str::is_empty) || name.split('.').count() > 2 {
                return invalid(setting, "write `table` or `schema.table`");
            }
        }
        if self.table == self.ledger.table {
            return invalid("ledger.table", "the rows go into this table: name another one");
        }
        if self.ledger.name.as_ref().is_some_and(|name| name.is_empty() || name.len() > 128) {
            return invalid("ledger.name", "from 1 to 128 bytes");
        }
        if self.ledger.refused_kept.0 < Duration::from_secs(60) {
            return invalid("ledger.refused_kept", "at least 1m");
        }
        if !self.mode.has_key() && !self.key.is_empty() {
            let problem = "`insert` and `call` look for no row: leave it out, or set `mode`";
            return invalid("key", problem);
        }
        if self.mode.has_key() && self.key.is_empty() {
            return invalid("key", "name the columns that find the row");
        }
        let columns = &self.columns;
        if let Some(key) =
            self.key.iter().find(|key| !columns.is_empty() && !columns.contains_key(*key))
        {
            let problem = format!("say where the column of `key`, `{key}`, has its value from");
            return Err(BuildError::invalid("columns", problem));
        }
        if !(1..=10_000).contains(&self.rows_max) {
            return invalid("rows_max", "from 1 to 10000");
        }
        if !(1..=64).contains(&self.in_flight_max) {
            return invalid("in_flight_max", "from 1 to 64");
        }
        Ok(())
    }

    /// Returns how to read events.
    pub(super) fn reading(&self) -> Result<Reading, BuildError> {
        let invalid = |setting: &str, problem: &str| Err(BuildError::invalid(setting, problem));
        let is_csv = self.format == Format::Csv;
        if is_csv && self.fields.is_empty() {
            return invalid("fields", "`csv` needs the names of its values");
        }
        if !is_csv && !self.fields.is_empty() {
            return invalid("fields", "they are those of `csv`: leave them out, or set `format`");
        }
        if !self.delimiter.is_ascii() || "\"\r\n".contains(self.delimiter) {
            let problem = "must be a character of ASCII, and neither a quote nor the end of a line";
            return invalid("delimiter", problem);
        }
        if self.format == Format::None && self.columns.is_empty() {
            return invalid("columns", "without a `format` they say where values come from");
        }
        let mut columns = Vec::new();
        for (column, from) in &self.columns {
            let from = From::parse(from).filter(|from| match from {
                From::Field(name) => match self.format {
                    Format::Json => true,
                    Format::Csv => self.fields.contains(name),
                    Format::None => false,
                },
                From::Pointer(_) => self.format == Format::Json,
                From::Header(_) | From::Body => true,
            });
            let Some(from) = from else {
                let problem = "name a field of `format`, a JSON pointer that begins with `/`, \
                               `%{header}` or `%body`";
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
