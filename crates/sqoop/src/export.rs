//! A call of `export`: the files that are read, and the table that their rows go into.

use crate::World;
use crate::form::unescaped;
use crate::given::Given;
use crate::notes::Notes;
use crate::place::{Database, Password, database, located, name_of};
use crate::sequence::{Sequence, java_types};

/// An export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    pub(crate) name: String,
    pub(crate) database: Database,
    /// Or the procedure that is called with them.
    pub(crate) table: String,
    /// The table in which rows wait until all of them exist.
    pub(crate) staging: Option<String>,
    /// True to delete existing rows in the staging table at the first call.
    pub clears_staging: bool,
    /// The values of a record in order: the column, and whether it is text.
    pub(crate) columns: Vec<(String, bool)>,
    pub(crate) key: Vec<String>,
    pub(crate) mode: &'static str,
    pub(crate) text: Text,
    /// The format of the files, if it is not text.
    pub(crate) packed: Option<Packed>,
    /// The files are SequenceFiles with these values.
    pub(crate) sequence: Option<Sequence>,
    /// Types of the fields of a class of Sqoop, as the decoder names them.
    pub(crate) java_types: Vec<(String, &'static str)>,
    /// Time zone of the JVM that wrote them.
    pub(crate) zone: Option<String>,
    /// The call sets the format.
    says_form: bool,
    /// The call sets the quote character.
    says_quote: bool,
    /// The columns that the call itself names.
    pub(crate) named: Vec<String>,
    data_dir: Option<String>,
    /// The URL of the files.
    pub url: String,
    /// True for a dry run.
    pub is_dry: bool,
}

/// Files whose rows have names and types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packed {
    /// Container files of Avro.
    Avro,
    /// Files of Parquet.
    Parquet,
}

impl Packed {
    /// The decoder of their rows.
    pub(crate) const fn decoder(self) -> &'static str {
        match self {
            Self::Avro => "avro_rows",
            Self::Parquet => "parquet_rows",
        }
    }
}

/// The form of a record in a text file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) delimiter: char,
    pub(crate) line_end: char,
    pub(crate) quote: Option<char>,
    pub(crate) escape: Option<char>,
    pub(crate) null: String,
    pub(crate) null_non_text: String,
}

/// The options for the quote character; the first one that is given counts.
const QUOTE: [&str; 4] =
    ["input-enclosed-by", "input-optionally-enclosed-by", "enclosed-by", "optionally-enclosed-by"];

impl Text {
    fn of(given: &Given, notes: &mut Notes) -> Self {
        // As in Sqoop, options for written files also apply to files that are read.
        let mysql = given.has("mysql-delimiters");
        let mut character = |options: &[&str], of_mysql: Option<char>, usual: Option<char>| {
            let usual = if mysql { of_mysql } else { usual };
            let found = options.iter().find_map(|option| Some((option, given.get(option)?)));
            let Some((option, written)) = found else { return usual };
            let text = unescaped(written);
            let mut characters = text.chars();
            match (characters.next(), characters.next()) {
                // Sqoop's notation for no character.
                (Some('\0'), None) => None,
                (Some(c), None) if c.is_ascii() => Some(c),
                _ => {
                    let text = format!("`{written}` must be one ASCII character");
                    notes.refuse(&format!("--{option}"), text);
                    usual
                }
            }
        };
        let delimiter = ["input-fields-terminated-by", "fields-terminated-by"];
        let line_end = ["input-lines-terminated-by", "lines-terminated-by"];
        let escape = ["input-escaped-by", "escaped-by"];
        let null = |option: &str| given.get(option).map_or("null".to_owned(), unescaped);
        Self {
            delimiter: character(&delimiter, Some(','), Some(',')).unwrap_or(','),
            line_end: character(&line_end, Some('\n'), Some('\n')).unwrap_or('\n'),
            quote: character(&QUOTE, Some('\''), None),
            escape: character(&escape, Some('\\'), None),
            null: null("input-null-string"),
            null_non_text: null("input-null-non-string"),
        }
    }
}

/// Rejects options that exclude a staging table, and options that require one.
fn check_staging(given: &Given, (staging, table): (Option<&String>, &str), notes: &mut Notes) {
    if staging.is_some() && given.has("update-key") {
        let text = "cannot be combined with --update-key: rows of a staging table are only \
                    inserted";
        notes.refuse("--staging-table", text);
    }
    if staging.is_some_and(|staging| staging == table) {
        notes.refuse("--staging-table", "must name another table than --table");
    }
    if given.has("clear-staging-table") && staging.is_none() {
        notes.refuse("--clear-staging-table", "needs --staging-table");
    }
}

/// The mode of the sink.
fn mode(given: &Given, notes: &mut Notes) -> &'static str {
    if given.has("call") {
        for other in ["table", "update-key", "update-mode", "staging-table"] {
            if given.has(other) {
                let text =
                    format!("cannot be combined with --{other}: the procedure receives the rows");
                notes.refuse("--call", text);
            }
        }
        return "call";
    }
    match (given.list("update-key").is_empty(), given.get("update-mode")) {
        (true, _) => "insert",
        (false, None | Some("updateonly")) => "update",
        (false, Some("allowinsert")) => "upsert",
        (false, Some(other)) => {
            let text = format!("`{other}` is invalid: use `updateonly` or `allowinsert`");
            notes.refuse("--update-mode", text);
            "update"
        }
    }
}

/// Returns the format of the files from the options of the call.
fn content(
    given: &Given,
    is_untyped: bool,
    notes: &mut Notes,
) -> (Option<Packed>, Option<Sequence>) {
    match given.get("input-format") {
        None | Some("text") => (None, None),
        Some("avro") => (Some(Packed::Avro), None),
        Some("parquet") => (Some(Packed::Parquet), None),
        Some("sequence") if is_untyped => (None, Some(Sequence::Lines)),
        Some("sequence") => (None, Some(Sequence::Rows)),
        Some(other) => {
            let text = format!("`{other}` is invalid: use `text`, `avro`, `parquet` or `sequence`");
            notes.refuse("--input-format", text);
            (None, None)
        }
    }
}

impl Export {
    pub(crate) fn of(given: &Given, world: &dyn World, notes: &mut Notes) -> Self {
        let (database, schema) = database(given, world, notes);
        let in_schema = |table: &str| match given.get("schema").or(schema.as_deref()) {
            Some(schema) if !table.contains('.') => format!("{schema}.{table}"),
            _ => table.to_owned(),
        };
        let procedure = given.get("call");
        let table = in_schema(procedure.or(given.get("table")).unwrap_or_default());
        if !given.has("table") && procedure.is_none() {
            notes.refuse("--table", "name the table to write to");
        }
        let key = given.list("update-key");
        let staging = given.get("staging-table").map(in_schema);
        let clears_staging = given.has("clear-staging-table");
        check_staging(given, (staging.as_ref(), table.as_str()), notes);
        let mode = mode(given, notes);
        let url = match given.get("export-dir") {
            Some(path) => located(given, "--export-dir", path, world, notes),
            None => {
                notes.refuse("--export-dir", "name the directory of the files");
                String::new()
            }
        };
        let named = given.list("columns");
        let java_types = java_types(given, notes);
        let (packed, sequence) = content(given, java_types.is_empty(), notes);
        Self {
            name: name_of(&table),
            database,
            columns: named.iter().map(|name| (name.clone(), true)).collect(),
            named,
            key,
            mode,
            staging,
            clears_staging,
            text: Text::of(given, notes),
            packed,
            sequence,
            java_types,
            zone: given.get("input-zone").map(str::to_owned),
            says_form: given.has("input-format"),
            says_quote: QUOTE.iter().any(|option| given.has(option))
                || given.has("mysql-delimiters"),
            data_dir: given.get("data-dir").map(str::to_owned),
            is_dry: given.has("dry-run"),
            url,
            table,
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

    /// Adds notes about facts that an export learns from the database, and a configuration does
    /// not.
    pub fn note_on(&self, notes: &mut Notes) {
        if self.staging.is_some() {
            let text = "an agent runs forever, so it never moves the rows: remove the option, or \
                        run `aqueduct export` with the same options";
            notes.refuse("--staging-table", text);
        }
        let is_named = self.packed.is_some() || self.sequence == Some(Sequence::Rows);
        if self.columns.is_empty() && !is_named {
            let text = "the conversion does not query the database: list the columns in the order \
                        of the values of a line; for Avro and Parquet files pass --input-format \
                        instead";
            notes.refuse("--columns", text);
        }
    }

    /// The table, for people.
    pub fn what(&self) -> &str {
        &self.table
    }

    /// Returns the table in which rows wait until all of them exist.
    pub fn staging(&self) -> Option<&str> {
        self.staging.as_deref()
    }

    /// Names of the values of a record, in their order.
    pub fn columns(&self) -> Vec<String> {
        self.columns.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Returns `true` if a procedure gets the rows.
    pub fn calls(&self) -> bool {
        self.mode == "call"
    }

    /// Sets the columns of a line from the files. They are not part of the identity of the export.
    pub fn learn_names(&mut self, names: &[String]) {
        self.columns = names.iter().map(|name| (name.clone(), true)).collect();
    }

    /// Sets the columns of the table from the database, and which of them are text.
    ///
    /// # Errors
    /// A column of `--columns` is not among them.
    pub fn learn_columns(&mut self, known: Vec<(String, bool)>) -> Result<(), String> {
        if self.columns.is_empty() {
            self.columns = known;
            return Ok(());
        }
        for (name, is_text) in &mut self.columns {
            let of = known.iter().find(|(other, _)| other == name);
            let Some((_, of)) = of else {
                let table = self.staging.as_ref().unwrap_or(&self.table);
                return Err(format!("{table} has no column `{name}`"));
            };
            *is_text = *of;
        }
        Ok(())
    }

    /// Records that an Aqueduct import, which quotes values, wrote the files; returns whether the
    /// call did not set that.
    pub fn learn_quotes(&mut self) -> bool {
        if !self.says_quote {
            self.text.quote = Some('"');
        }
        !self.says_quote
    }

    /// Returns `true` if the call sets the format of the files.
    pub fn says_form(&self) -> bool {
        self.says_form
    }

    /// Returns the format of the files, if it is not text.
    pub fn packed(&self) -> Option<Packed> {
        self.packed
    }

    /// Sets a format of the files that is not text.
    pub fn learn_packed(&mut self, packed: Packed) {
        self.packed = Some(packed);
    }

    /// Returns `true` if the files are SequenceFiles.
    pub fn is_sequence(&self) -> bool {
        self.sequence.is_some()
    }

    /// Records that the files are SequenceFiles with values of this class.
    ///
    /// # Errors
    /// The call does not describe the values of the class, or describes values that are text.
    pub fn learn_class(&mut self, class: &str) -> Result<(), String> {
        self.sequence = Some(Sequence::of(class, self)?);
        // The class has its fields in the order of the columns.
        let columns = self.columns();
        let place = |name: &String| columns.iter().position(|column| column == name);
        self.java_types.sort_by_key(|(name, _)| place(name));
        Ok(())
    }

    /// Returns the identity of this export: another export has another data directory and another
    /// place in the ledger.
    fn digest(&self) -> u64 {
        let what = (&self.database.url, &self.table, &self.named, &self.key, self.mode);
        let mut what = format!("{:?}", (what, &self.url, &self.data_dir));
        if let Some(staging) = &self.staging {
            what += staging;
        }
        xxhash_rust::xxh3::xxh3_64(what.as_bytes())
    }

    /// Name of the sink, under which the ledger of the database knows it.
    pub fn sink(&self) -> String {
        format!("{}_{:08x}", self.name, self.digest() >> 32)
    }

    /// Directory of channel and position: the one that was named, or one below this home.
    pub fn data_dir(&self, home: Option<&str>) -> Option<String> {
        let default = |home: &str| format!("{home}/.aqueduct/export/{}", self.sink());
        self.data_dir.clone().or_else(|| home.map(default))
    }
}
