//! The settings, and the options derived from them.

use std::time::Duration;

use pipeline::units::{ByteSize, Period};
use pipeline::{BuildContext, BuildError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::database::{Database, Target};
use crate::dialect::Dialect;
use crate::value::Form;

/// Settings of the `sql` source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The database and its connection settings.
    database: Database,
    /// Table or view to read, optionally with its schema: `shop.orders`.
    #[serde(default)]
    table: Option<String>,
    /// Statement to read instead of a table: one `SELECT`, without a semicolon. It may contain
    /// `$CONDITIONS` where a call of Sqoop has it.
    #[serde(default)]
    query: Option<String>,
    /// Columns to read. Default: all.
    #[serde(default)]
    columns: Vec<String>,
    /// SQL condition that rows must meet.
    #[serde(default, rename = "where")]
    condition: Option<String>,
    /// Rows to read: `full`, `append` or `modified`.
    mode: Mode,
    /// `append`: column that increases with each new row. `modified`: column with the time of the
    /// last change. Rows with NULL in it are not read.
    #[serde(default)]
    check_column: Option<String>,
    /// Key columns, such as the primary key: unique together, and never NULL. For `append` only
    /// needed if rows may have the same value in `check_column`.
    #[serde(default)]
    key: Vec<String>,
    /// `modified`: longest delay between the time of a row and its commit. Each pass reads rows of
    /// this period again, and drops those that are stored already.
    #[serde(default = "pipeline::units::seconds::<60>")]
    overlap: Period,
    /// Pause after a pass that has found no more rows.
    #[serde(default = "pipeline::units::seconds::<10>")]
    interval: Period,
    /// `append`, `modified`: whether the source ends after a pass that has found no more rows. The
    /// next start of the agent continues after the last stored row.
    #[serde(default)]
    once: bool,
    /// Rows of a page, which is the result of one query.
    #[serde(default = "pipeline::units::number_u32::<10000>")]
    fetch_size: u32,
    /// `full`: number of parallel connections.
    #[serde(default = "pipeline::units::number_u16::<1>")]
    splits: u16,
    /// `full`: column that orders the rows, preferably with an index; empty: `key`. Rows with NULL
    /// in it are read last.
    #[serde(default)]
    split_by: String,
    /// Format of the body of an event.
    #[serde(default)]
    format: Format,
    /// `rows`: form of arrays of PostgreSQL.
    #[serde(default)]
    arrays: Arrays,
    /// `json`: whether JSON values, arrays and composites are texts that contain JSON. JSON `null`
    /// is then the text `"null"` and differs from NULL.
    #[serde(default)]
    json_text: bool,
    /// `csv`: delimiter between two values, one ASCII character.
    #[serde(default = "defaults::delimiter")]
    delimiter: char,
    /// `csv`: text for NULL. A text that is equal to it is quoted.
    #[serde(default)]
    null: String,
    /// Column whose time becomes the header `timestamp`, in milliseconds since 1970.
    #[serde(default)]
    timestamp_column: Option<String>,
    /// Approximate size limit of the bodies of a batch; a larger row is a batch of its own.
    #[serde(default = "pipeline::units::mib::<1>")]
    batch_bytes: ByteSize,
}

/// What is read of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// All rows, once; then the source ends.
    Full,
    /// New rows, by an increasing column.
    Append,
    /// New and changed rows, by the time of their last change.
    Modified,
}

/// Format of the body of an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Format {
    /// An object with a member for each column.
    #[default]
    Json,
    /// A line of RFC 4180, without a header line. NULL is `null`; by default it is empty, and an
    /// empty text is `""`.
    Csv,
    /// An Avro datum of a record: each column is a union of null and its type. A dry run of
    /// `aqueduct import` prints its `schema` for the encoder `avro_schema`.
    Avro,
    /// A typed row, with its schema in the header `rows.schema`. The encoders `parquet`, `csv`,
    /// `json` and `text` and the sink `sql` read it; for other components use another format.
    Rows,
}

/// Form of arrays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Arrays {
    /// JSON, for any number of dimensions.
    #[default]
    Json,
    /// A list. A row with an array of several dimensions becomes a JSON object with the reason in
    /// the header `problem`. Arrays of composites, intervals and other items that are text in a row
    /// remain JSON, but those of enumerations become lists.
    List,
}

mod defaults {
    pub(super) fn delimiter() -> char {
        ','
    }
}

/// Maximum number of connections of a source.
const SPLITS_MAX: u16 = 64;

/// Options of the source.
pub(super) struct Options {
    pub(super) target: Target,
    /// Name of the table for the header; `None` for a query.
    pub(super) table: Option<String>,
    pub(super) relation: Relation,
    pub(super) columns: Vec<String>,
    pub(super) condition: Option<String>,
    pub(super) mode: Mode,
    /// Columns that order the rows. Their combination is unique.
    pub(super) order: Vec<String>,
    /// Whether the first column of `order` may be NULL.
    pub(super) has_nulls: bool,
    pub(super) key: Vec<String>,
    /// `None`: no row is read again.
    pub(super) overlap: Option<Duration>,
    pub(super) interval: Duration,
    /// Whether to stop after a pass without more rows.
    pub(super) once: bool,
    pub(super) fetch_size: u32,
    pub(super) splits: u16,
    pub(super) form: Form,
    pub(super) has_json_texts: bool,
    /// Whether arrays are lists.
    pub(super) has_lists: bool,
    pub(super) timestamp_column: Option<String>,
    pub(super) batch_bytes: usize,
}

/// The relation to read.
#[derive(Debug, Clone)]
pub(super) enum Relation {
    /// A table or a view, with an optional schema.
    Table(String),
    /// A query.
    Query(String),
}

impl Relation {
    /// Returns the text after `FROM`.
    pub(super) fn text(&self, dialect: Dialect) -> String {
        match self {
            Self::Table(name) => dialect.quote_table(name),
            Self::Query(query) => dialect.named(query, "aqueduct_query"),
        }
    }
}

impl Options {
    /// Returns a digest of the relation and the order: positions are only valid for the same
    /// digest. Independent of the dialect, which is unknown before an ODBC connection.
    pub(super) fn digest(&self) -> u64 {
        let dialect = self.target.via.dialect().unwrap_or(Dialect::Standard);
        let what = format!("{:?}", (&self.relation.text(dialect), self.mode, &self.order));
        xxhash_rust::xxh3::xxh3_64(what.as_bytes())
    }
}

impl Config {
    pub(super) fn options(self, cx: &BuildContext) -> Result<Options, BuildError> {
        let invalid = |setting: &str, problem: &str| Err(BuildError::invalid(setting, problem));
        let form = self.form()?;
        let relation = self.relation()?;
        let target = self.database.target(cx)?;
        let split_by = Some(self.split_by).filter(|column| !column.is_empty());
        if self.fetch_size == 0 {
            return invalid("fetch_size", "must be at least 1");
        }
        if self.splits == 0 || self.splits > SPLITS_MAX {
            return invalid("splits", &format!("must be from 1 to {SPLITS_MAX}"));
        }
        if self.batch_bytes > ByteSize::mib(64) {
            return invalid("batch_bytes", "must be at most 64MiB");
        }
        if self.mode == Mode::Full && self.once {
            return invalid(
                "once",
                "has no effect in the mode `full`, which always ends: remove it",
            );
        }
        if self.mode != Mode::Full && (self.splits > 1 || split_by.is_some()) {
            return invalid(
                "splits",
                "`splits` and `split_by` apply only to the mode `full`: remove them, or change \
                 `mode`",
            );
        }
        if self.mode != Mode::Append && self.key.is_empty() {
            return invalid("key", "must list the columns that identify a row (primary key)");
        }
        let first = match (self.mode, self.check_column) {
            (Mode::Full, Some(_)) => {
                return invalid("check_column", "does not apply to the mode `full`: remove it");
            }
            (Mode::Full, None) => split_by.clone(),
            (_, None) => {
                return invalid("check_column", "must be set to the column whose values increase");
            }
            (_, column) => column,
        };
        // Empty for a full import in key order.
        let mut order: Vec<String> = first.into_iter().collect();
        order.extend(
            self.key.iter().filter(|name| !order.contains(name)).cloned().collect::<Vec<_>>(),
        );
        let has_nulls = split_by.is_some_and(|name| !self.key.contains(&name));
        let overlap =
            Some(self.overlap.0).filter(|it| self.mode == Mode::Modified && !it.is_zero());
        Ok(Options {
            target,
            table: self.table,
            relation,
            columns: self.columns,
            condition: self.condition,
            mode: self.mode,
            order,
            has_nulls,
            key: self.key,
            overlap,
            interval: self.interval.0,
            fetch_size: self.fetch_size,
            splits: self.splits,
            once: self.once,
            form,
            has_json_texts: self.json_text,
            has_lists: self.arrays == Arrays::List,
            timestamp_column: self.timestamp_column,
            batch_bytes: self.batch_bytes.0 as usize,
        })
    }

    fn relation(&self) -> Result<Relation, BuildError> {
        match (&self.table, &self.query) {
            (Some(table), None) if table.split('.').any(str::is_empty) => {
                let problem =
                    "must be a name such as `table` or `schema.table`, without an empty part";
                Err(BuildError::invalid("table", problem))
            }
            (Some(table), None) => Ok(Relation::Table(table.clone())),
            (None, Some(query)) if query.contains(';') => {
                let problem = "must be one statement, without a semicolon";
                Err(BuildError::invalid("query", problem))
            }
            (None, Some(query)) => {
                Ok(Relation::Query(query.trim().replace("$CONDITIONS", "(1 = 1)")))
            }
            _ => Err(BuildError::invalid("table", "set exactly one of `table` and `query`")),
        }
    }

    /// Returns the database, and the table name.
    pub(super) fn into_table(self) -> (Database, Option<String>) {
        (self.database, self.table)
    }

    /// Returns the encoding of a body.
    fn form(&self) -> Result<Form, BuildError> {
        let invalid = |setting: &str, problem: &str| Err(BuildError::invalid(setting, problem));
        if self.json_text && self.format != Format::Json {
            return invalid("json_text", "applies only to `json`: remove it, or change `format`");
        }
        if self.arrays != Arrays::Json && self.format != Format::Rows {
            return invalid("arrays", "applies only to `rows`: remove it, or change `format`");
        }
        let is_default = self.delimiter == defaults::delimiter() && self.null.is_empty();
        match self.format {
            Format::Json if is_default => return Ok(Form::Json),
            Format::Avro if is_default => return Ok(Form::Avro(Vec::new())),
            Format::Rows if is_default => return Ok(Form::Rows),
            Format::Json | Format::Avro | Format::Rows => {
                return invalid(
                    "format",
                    "must be \"csv\" if `delimiter` or `null` is set: remove them, or change \
                     `format`",
                );
            }
            Format::Csv => {}
        }
        if !self.delimiter.is_ascii() || "\"\r\n".contains(self.delimiter) {
            let problem = "must be an ASCII character, and neither a quote nor a line end";
            return invalid("delimiter", problem);
        }
        if self.null.contains([self.delimiter, '"', '\r', '\n']) {
            return invalid("null", "must not contain a delimiter, a quote or a line end");
        }
        Ok(Form::Csv { delimiter: self.delimiter as u8, null: self.null.clone() })
    }
}
