//! A call of `export`: the sink that its rows go to.

use crate::form;
use crate::given::Given;
use crate::import::{Database, database, name_of};
use crate::notes::{Notes, Outcome};

/// An export. What is missing is the source: files in a store are not read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    pub(crate) name: String,
    pub(crate) database: Database,
    pub(crate) table: String,
    pub(crate) columns: Vec<String>,
    pub(crate) key: Vec<String>,
    pub(crate) mode: &'static str,
    pub(crate) delimiter: char,
    pub(crate) null: String,
}

impl Export {
    /// A name for its parts in a configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn of(given: &Given, notes: &mut Notes) -> Self {
        let (database, schema) = database(given, notes);
        let mut table = given.get("table").unwrap_or_default().to_owned();
        if table.is_empty() {
            notes.refuse("--table", "name the table that rows go into");
        }
        if let Some(schema) = given.get("schema").or(schema.as_deref())
            && !table.contains('.')
        {
            table = format!("{schema}.{table}");
        }
        let key = given.list("update-key");
        let mode = match (key.is_empty(), given.get("update-mode")) {
            (true, _) => "insert",
            (false, None | Some("updateonly")) => "update",
            (false, Some("allowinsert")) => "upsert",
            (false, Some(other)) => {
                let text = format!("`{other}`: it is `updateonly` or `allowinsert`");
                notes.refuse("--update-mode", text);
                "update"
            }
        };
        let columns = given.list("columns");
        if columns.is_empty() {
            let text = "lines have no names: give the columns of the table in the order of the \
                        values of a line";
            notes.add(Outcome::Refused, "--columns", text);
        }
        let null = given.get("input-null-string").map(form::unescaped);
        Self {
            name: name_of(&table),
            database,
            columns,
            key,
            mode,
            delimiter: form::delimiter(given, "input-fields-terminated-by", notes),
            null: null.unwrap_or_else(|| "null".to_owned()),
            table,
        }
    }
}
