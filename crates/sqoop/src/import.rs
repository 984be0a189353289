//! A call of `import`: its input and output.

use crate::World;
use crate::form::{Column, Files, Form};
use crate::given::Given;
use crate::hive::Hive;
use crate::notes::{Notes, Outcome};
use crate::place::{Database, Password, database, name_of, target};

/// Connections at most.
const SPLITS_MAX: u32 = 64;

/// The rows to read from a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All rows, once.
    Full,
    /// New rows.
    Append,
    /// New and changed rows.
    Modified,
}

/// An import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    pub(crate) name: String,
    pub(crate) database: Database,
    pub(crate) table: Option<String>,
    pub(crate) query: Option<String>,
    pub(crate) columns: Vec<String>,
    /// The columns to read if the call names none; empty for all.
    pub(crate) learned: Vec<String>,
    pub(crate) condition: Option<String>,
    pub(crate) check_column: Option<String>,
    pub(crate) split_by: Option<String>,
    pub(crate) splits: u32,
    pub(crate) fetch_size: Option<u32>,
    pub(crate) files: Files,
    key: Vec<String>,
    last_value: Option<String>,
    data_dir: Option<String>,
    /// The rows to read from the table.
    pub mode: Mode,
    /// The URL of the directory.
    pub url: String,
    /// The Hive table of the files.
    pub hive: Option<Hive>,
    /// True to add files to existing ones.
    pub appends: bool,
    /// Rows are counted at the end.
    pub validates: bool,
    /// All values are compared at the end.
    pub checks_sums: bool,
    /// True for a dry run.
    pub is_dry: bool,
}

impl Import {
    pub(crate) fn of(given: &Given, world: &dyn World, notes: &mut Notes) -> Self {
        let (database, schema) = database(given, world, notes);
        let mut table = given.get("table").map(str::to_owned);
        if let (Some(table), Some(schema)) = (&mut table, given.get("schema").or(schema.as_deref()))
            && !table.contains('.')
        {
            *table = format!("{schema}.{table}");
        }
        let query = given.get("query").map(str::to_owned);
        match (&table, &query) {
            (None, None) => notes.refuse("--table", "name the table, or give a --query"),
            (Some(_), Some(_)) => {
                notes.refuse("--query", "cannot be combined with --table: remove one of the two");
            }
            _ => {}
        }
        if query.is_some() && given.has("where") {
            notes.refuse("--where", "only for --table: put the condition into the query");
        }
        let (mode, check_column, last_value) = incremental(given, notes);
        let mut splits = whole(given, "num-mappers", notes).unwrap_or(4);
        if splits > SPLITS_MAX {
            let text = format!("over the limit of {SPLITS_MAX} connections: using {SPLITS_MAX}");
            notes.add(Outcome::Differs, "--num-mappers", text);
            splits = SPLITS_MAX;
        }
        if mode != Mode::Full && given.has("split-by") {
            let text = "new rows are read by one connection, in the order of --check-column";
            notes.add(Outcome::Differs, "--split-by", text);
        }
        let mut key = given.list("key");
        if key.is_empty() {
            key = given.list("merge-key");
        }
        let name = name_of(table.as_deref().unwrap_or("query"));
        let files = Files::of(given, notes);
        refuse_without_types(given, &database, notes);
        let checks_sums = checks_sums(given, mode, &files, notes);
        let validates = given.has("validate");
        if validates && (query.is_some() || mode != Mode::Full || given.has("append")) {
            let text = "as in Sqoop, only a whole table in a separate directory can be validated: \
                        remove it, or remove --query, --incremental and --append";
            notes.refuse("--validate", text);
        }
        let hive = Hive::of(given, world, notes);
        let below = hive.as_ref().map(Hive::below).unwrap_or_default();
        Self {
            url: target(given, table.as_deref(), world, notes) + &below,
            hive,
            columns: given.list("columns"),
            learned: Vec::new(),
            condition: given.get("where").map(str::to_owned),
            split_by: given.get("split-by").map(str::to_owned).filter(|_| mode == Mode::Full),
            fetch_size: whole(given, "fetch-size", notes),
            files,
            data_dir: given.get("data-dir").map(str::to_owned),
            appends: given.has("append") || mode != Mode::Full,
            is_dry: given.has("dry-run"),
            name,
            database,
            table,
            query,
            check_column,
            splits: splits.max(1),
            key,
            last_value,
            mode,
            validates,
            checks_sums,
        }
    }

    /// Returns `true` if the database must be asked for the key columns.
    pub fn lacks_key(&self) -> bool {
        self.key.is_empty()
    }

    /// Returns `true` if it reads all columns of a table.
    pub fn lacks_names(&self) -> bool {
        self.table.is_some() && self.columns.is_empty()
    }

    /// Sets the columns to read. The identity of the import remains the same.
    pub fn learn_names(&mut self, names: Vec<String>) {
        self.learned = names;
    }

    /// Returns `true` if it must be asked for the types of the columns.
    pub fn lacks_columns(&self) -> bool {
        matches!(&self.files.form, Form::Parquet(columns) if columns.is_empty())
    }

    /// Returns `true` if it must be asked for them, for an Avro schema.
    pub fn lacks_schema(&self) -> bool {
        matches!(&self.files.form, Form::Avro(schema) if schema.is_empty())
    }

    /// Sets the schema of a row from the database, as JSON.
    pub fn learn_schema(&mut self, schema: String) {
        if let Form::Avro(known) = &mut self.files.form {
            *known = schema;
        }
    }

    /// Returns `true` if values have types in the files.
    pub fn is_typed(&self) -> bool {
        matches!(self.files.form, Form::Parquet(_) | Form::Avro(_))
    }

    /// Returns the settings of a source `hdfs` that reads the files back as rows of these columns.
    pub fn reading(&self, columns: &[String]) -> serde_json::Value {
        let mut source = self.files.reading(columns);
        source["url"] = self.url.as_str().into();
        source
    }

    /// Sets the key columns from the database.
    pub fn learn_key(&mut self, key: Vec<String>) {
        self.key = key;
    }

    /// Sets the columns from the database.
    pub fn learn_columns(&mut self, columns: Vec<Column>) {
        if let Form::Parquet(known) = &mut self.files.form {
            *known = columns;
        }
    }

    /// Returns the origin of the password.
    pub fn password(&self) -> Option<&Password> {
        self.database.password.as_ref()
    }

    /// A name for its parts in a configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds notes about facts that an import learns from the database, and a configuration does
    /// not.
    pub fn note_on(&self, notes: &mut Notes) {
        if self.key.is_empty() && self.mode != Mode::Append {
            notes.refuse(
                "--key",
                "the conversion does not query the database: pass the primary key in --key",
            );
        }
        if self.key.is_empty() && self.mode == Mode::Append {
            let text = "the values of --check-column must be unique; if they are not, pass the \
                        primary key in --key";
            notes.add(Outcome::Differs, "--check-column", text);
        }
        if self.lacks_columns() {
            notes.refuse(
                "--as-parquetfile",
                "the conversion does not query the database: run `aqueduct import` with the same \
                 options, which does",
            );
        }
        if self.lacks_schema() {
            let text = "the conversion does not query the database: copy the `schema` that \
                        `aqueduct import --dry-run` prints for the same options";
            notes.refuse("--as-avrodatafile", text);
        }
        if self.hive.is_some() {
            let text = "an agent does not create this Hive table: run `aqueduct import` with the \
                        same options, or remove the option and set `hive` in the sink";
            notes.refuse("--hive-import", text);
        }
        if self.checks_sums {
            let text = "an agent runs forever, so it never compares the rows: remove the option, \
                        or run `aqueduct import` with the same options";
            notes.refuse("--checksum", text);
        }
        if self.mode == Mode::Full {
            let text = "the source reads the table once and then stops; to repeat it, run \
                        `aqueduct import` each time, or use --incremental";
            notes.add(Outcome::Differs, "import", text);
        }
    }

    /// Returns a description of the input.
    pub fn what(&self) -> &str {
        self.table.as_deref().unwrap_or("the query")
    }

    /// The columns that name a row.
    pub fn key(&self) -> &[String] {
        &self.key
    }

    /// Connections that read side by side.
    pub fn connections(&self) -> u32 {
        if self.mode == Mode::Full { self.splits } else { 1 }
    }

    /// Returns the identity of this import: another import has another data directory and another
    /// ledger.
    fn digest(&self) -> u64 {
        let what = (
            (&self.database.url, &self.table, &self.query, &self.columns, &self.condition),
            (self.mode, &self.check_column, &self.split_by, &self.url, self.files.form.name()),
        );
        let what = format!("{what:?}");
        xxhash_rust::xxh3::xxh3_64(what.as_bytes())
    }

    /// Name of the sink, and so of its ledger in the directory.
    pub fn sink(&self) -> String {
        format!("{}_{:08x}", self.name, self.digest() >> 32)
    }

    /// Directory of channel and position: the one that was named, or one below this home.
    pub fn data_dir(&self, home: Option<&str>) -> Option<String> {
        let default = |home: &str| format!("{home}/.aqueduct/import/{}", self.sink());
        self.data_dir.clone().or_else(|| home.map(default))
    }

    /// The condition that rows have to meet; with `--last-value`, which is of the first call.
    pub(crate) fn whole_condition(&self) -> Option<String> {
        let last = self.check_column.as_ref().zip(self.last_value.as_ref());
        let last = last.map(|(column, value)| {
            let quoted = match self.database.url.starts_with("mysql:") {
                true => format!("`{}`", column.replace('`', "``")),
                false => format!("\"{}\"", column.replace('"', "\"\"")),
            };
            let sign = if self.mode == Mode::Append { ">" } else { ">=" };
            format!("{quoted} {sign} '{}'", value.replace('\'', "''"))
        });
        match (&self.condition, last) {
            // A comment at the end of the condition ends with its line.
            (Some(condition), Some(last)) => Some(format!("({condition}\n) AND {last}")),
            (Some(condition), None) => Some(condition.clone()),
            (None, last) => last,
        }
    }
}

/// Files with types need columns that have them.
fn refuse_without_types(given: &Given, database: &Database, notes: &mut Notes) {
    for form in ["as-parquetfile", "as-avrodatafile", "hive-import"] {
        if database.url.starts_with("sqlite:") && given.has(form) {
            let text = "columns of SQLite have no types: use --as-textfile";
            notes.refuse(&format!("--{form}"), text);
        }
    }
}

/// Returns `true` if table and files are compared at the end.
fn checks_sums(given: &Given, mode: Mode, files: &Files, notes: &mut Notes) -> bool {
    if !given.has("checksum") {
        return false;
    }
    if mode == Mode::Modified {
        let text = "cannot be combined with --incremental lastmodified, where each change is a \
                    row of the files: remove it";
        notes.refuse("--checksum", text);
    }
    if let Err(problem) = files.can_be_read_back() {
        notes.refuse("--checksum", problem);
    }
    true
}

/// Mode, column and last value.
fn incremental(given: &Given, notes: &mut Notes) -> (Mode, Option<String>, Option<String>) {
    let mode = match given.get("incremental") {
        None => Mode::Full,
        Some("append") => Mode::Append,
        Some("lastmodified") => Mode::Modified,
        Some(other) => {
            let text = format!("`{other}` is invalid: use `append` or `lastmodified`");
            notes.refuse("--incremental", text);
            Mode::Full
        }
    };
    let column = given.get("check-column").map(str::to_owned);
    if mode == Mode::Full {
        for option in ["check-column", "last-value", "merge-key"] {
            if given.has(option) {
                notes.refuse(&format!("--{option}"), "no effect without --incremental: remove it");
            }
        }
        return (mode, None, None);
    }
    if column.is_none() {
        notes.refuse(
            "--check-column",
            "name the column with the growing number or with the time of the last change",
        );
    }
    if given.has("delete-target-dir") {
        let text = "an incremental import adds to existing files: remove it";
        notes.refuse("--delete-target-dir", text);
    }
    let last = given.get("last-value").map(str::to_owned);
    if last.as_ref().is_some_and(|last| last.contains(['\\', '\0', '\n'])) {
        notes.refuse(
            "--last-value",
            "must not contain a backslash or a line end: correct the value",
        );
    }
    (mode, column, last)
}

/// A number of at least 1.
fn whole(given: &Given, option: &str, notes: &mut Notes) -> Option<u32> {
    let written = given.get(option)?;
    let number = written.parse().ok().filter(|number| *number > 0);
    if number.is_none() {
        notes.refuse(
            &format!("--{option}"),
            format!("`{written}` is invalid: use a number of at least 1"),
        );
    }
    number
}
