//! The Hive table of an import.

use crate::World;
use crate::given::Given;
use crate::notes::{Notes, Outcome};

/// Properties of Hive's configuration that name the metastores, the usual one first.
pub const METASTORE_PROPERTIES: [&str; 2] = ["hive.metastore.uris", "metastore.thrift.uris"];

/// Options that describe lines of text, which a table does not have.
const OF_TEXT: [&str; 9] = [
    "fields-terminated-by",
    "lines-terminated-by",
    "enclosed-by",
    "optionally-enclosed-by",
    "escaped-by",
    "mysql-delimiters",
    "null-string",
    "null-non-string",
    "hive-delims-replacement",
];

/// An external table over the files of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hive {
    /// `thrift://host:9083`, with commas between several.
    pub metastore: String,
    /// Its database.
    pub database: String,
    /// Its name.
    pub table: String,
    /// Name and value of the partition column.
    pub partition: Option<(String, String)>,
}

impl Hive {
    /// Returns the table of a call, if it has one.
    pub(crate) fn of(given: &Given, world: &dyn World, notes: &mut Notes) -> Option<Self> {
        if !given.has("hive-import") {
            for option in ["hive-table", "hive-database", "hive-partition-key"] {
                if given.has(option) {
                    notes.refuse(
                        &format!("--{option}"),
                        "no effect without --hive-import: add that option, or remove this one",
                    );
                }
            }
            return None;
        }
        for form in ["as-sequencefile", "as-avrodatafile"] {
            if given.has(form) {
                let text = "as in Sqoop, not for --hive-import: remove it; the files are Parquet";
                notes.refuse(&format!("--{form}"), text);
            }
        }
        if given.has("as-textfile") {
            let text = "the files of a Hive table are Parquet; its rows are the same";
            notes.add(Outcome::Differs, "--as-textfile", text);
        }
        let properties = METASTORE_PROPERTIES.iter().find_map(|it| given.properties.get(*it));
        let metastore = properties.cloned().or_else(|| world.hive_metastore());
        if metastore.is_none() {
            let text = "no metastore is configured: pass -D hive.metastore.uris=thrift://host:9083 \
                        before the other options, or set HIVE_CONF_DIR to the directory of \
                        hive-site.xml";
            notes.refuse("--hive-import", text);
        }
        let named = given.get("hive-table").or_else(|| given.get("table")).unwrap_or("rows");
        let (database, table) = match named.split_once('.') {
            Some((database, table)) => (Some(database), table),
            None => (None, named),
        };
        let database = given.get("hive-database").or(database).unwrap_or("default");
        let partition = match (given.get("hive-partition-key"), given.get("hive-partition-value")) {
            (Some(key), Some(value)) => partition(key, value, notes),
            (None, None) => None,
            _ => {
                let text = "set --hive-partition-key and --hive-partition-value together";
                notes.refuse("--hive-partition-key", text);
                None
            }
        };
        Some(Self {
            metastore: metastore.unwrap_or_default(),
            database: database.to_owned(),
            table: table.to_owned(),
            partition,
        })
    }

    /// Returns the directory of the partition, with the slash before it.
    pub(crate) fn below(&self) -> String {
        self.partition.as_ref().map_or(String::new(), |(name, value)| format!("/{name}={value}"))
    }
}

fn partition(key: &str, value: &str, notes: &mut Notes) -> Option<(String, String)> {
    let is_name = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name {
        let text = format!("`{key}` is not a column name: use letters, digits and `_`");
        notes.refuse("--hive-partition-key", text);
    }
    let is_plain = |c: char| c.is_alphanumeric() || "-_.:+@".contains(c);
    if value.is_empty() || value.starts_with('.') || !value.chars().all(is_plain) {
        let text = format!("`{value}` must have only letters, digits and `-_.:+@`");
        notes.refuse("--hive-partition-value", text);
    }
    Some((key.to_ascii_lowercase(), value.to_owned()))
}

/// Returns whether an option has no effect because the rows go into a Hive table.
pub(crate) fn makes_ineffective(given: &Given, option: &str) -> bool {
    given.has("hive-import") && OF_TEXT.contains(&option)
}
