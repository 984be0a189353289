//! SequenceFiles that `export` reads: lines, or values of a class that Sqoop has generated.
//!
//! Sqoop compiles a class for each table, and its values do not describe their contents. The call
//! describes them by the option that sets the class's types, `--map-column-java`, for every column.

use crate::export::Export;
use crate::given::Given;
use crate::notes::Notes;

/// The option that sets types.
const OPTION: &str = "map-column-java";

/// The values of a SequenceFile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sequence {
    /// Texts or bytes: each a line of values.
    Lines,
    /// Of a class of Sqoop.
    Rows,
}

/// Classes whose values are lines.
const LINES: [&str; 2] = ["org.apache.hadoop.io.Text", "org.apache.hadoop.io.BytesWritable"];

/// Types of Java, and how the decoder `sequence_file` names them.
const TYPES: [(&str, &str); 11] = [
    ("Integer", "integer"),
    ("Long", "long"),
    ("Float", "float"),
    ("Double", "double"),
    ("Boolean", "boolean"),
    ("String", "string"),
    ("BigDecimal", "big_decimal"),
    ("Date", "date"),
    ("Time", "time"),
    ("Timestamp", "timestamp"),
    ("BytesWritable", "bytes"),
];

/// Returns the types in a call: `id=Integer,price=java.math.BigDecimal`.
pub(crate) fn java_types(given: &Given, notes: &mut Notes) -> Vec<(String, &'static str)> {
    let mut types = Vec::new();
    for pair in given.list(OPTION) {
        let found = pair.split_once('=').and_then(|(column, java)| {
            let java = java.trim().rsplit('.').next()?;
            let (_, kind) = TYPES.iter().find(|(name, _)| *name == java)?;
            Some((column.trim().to_owned(), *kind))
        });
        match found {
            Some(found) => types.push(found),
            None => {
                let known = TYPES.map(|(name, _)| name).join(", ");
                let text = format!("`{pair}`: write `column=TYPE`, with one of {known}");
                notes.refuse(&format!("--{OPTION}"), text);
            }
        }
    }
    types
}

impl Sequence {
    /// Returns the description of a class's values.
    ///
    /// # Errors
    /// The call describes too few or too many of them.
    pub(crate) fn of(class: &str, export: &Export) -> Result<Self, String> {
        let (url, types) = (&export.url, &export.java_types);
        if LINES.contains(&class) {
            return match types.is_empty() {
                true => Ok(Self::Lines),
                false => Err(format!(
                    "{url} contains SequenceFiles of `{class}`, whose values are lines: remove \
                     --{OPTION}"
                )),
            };
        }
        let columns = export.columns();
        let is_typed = |name: &String| types.iter().any(|(other, _)| other == name);
        if let Some(lacking) = columns.iter().find(|name| !is_typed(name)) {
            let all: Vec<String> = columns.iter().map(|name| format!("{name}=TYPE")).collect();
            return Err(format!(
                "{url} contains SequenceFiles of the class `{class}`, which do not describe their \
                 fields, and the type of `{lacking}` is unknown. If Sqoop generated the class, \
                 list the types of all fields in the order of {class}.java: --{OPTION} {}; add \
                 --columns if the class has other columns or another order. Otherwise write the \
                 rows as text, Avro or Parquet",
                all.join(",")
            ));
        }
        if let Some((name, _)) = types.iter().find(|(name, _)| !columns.contains(name)) {
            return Err(format!("--{OPTION}: `{name}` is not an exported column"));
        }
        Ok(Self::Rows)
    }
}
