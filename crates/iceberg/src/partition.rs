//! Partition values of a file, from the directories of its path: `day=2026-11-30/host=web-1`.
//!
//! A partition field must have the transform `identity`, and its column the name of a directory.
//! The column is not in the files: readers take its value from the partition, as the
//! specification requires ("Column Projection"). A file without such a directory has the value
//! NULL, for example a file of late events. So each row has the value of its directory, however the
//! time of an event was determined.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::TableError;
use crate::schema::{Schema, type_name};

/// Name of a directory that stands for a missing value.
const MISSING: &str = "_";

/// A partition spec.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Spec {
    /// Its id.
    #[serde(rename = "spec-id")]
    pub(crate) id: i32,
    /// Its fields.
    pub fields: Vec<SpecField>,
}

impl Spec {
    /// Returns the fields as a manifest contains them.
    pub(crate) fn fields_json(&self) -> Value {
        let field = |it: &SpecField| {
            json!({"source-id": it.source_id, "field-id": it.field_id, "name": it.name,
                "transform": it.transform})
        };
        self.fields.iter().map(field).collect()
    }
}

/// A field of a partition spec.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SpecField {
    /// Id of the column.
    pub source_id: i32,
    /// Its own id.
    pub field_id: i32,
    /// Its name.
    pub name: String,
    /// How its value is computed from the column.
    pub transform: String,
}

/// The type of a partition value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Int,
    Long,
    Date,
}

/// A validated partition field.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) id: i32,
    pub(crate) name: String,
    /// Name of the column, and of the directory.
    column: String,
    pub(crate) kind: Kind,
}

/// A partition value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PartitionValue {
    Text(String),
    Int(i32),
    Long(i64),
}

/// The partition fields of a table.
#[derive(Debug, Clone)]
pub struct Partitioning {
    pub(crate) spec: Spec,
    pub(crate) keys: Vec<Key>,
}

impl Partitioning {
    /// Validates a spec, for files whose paths have these directories `name=value`.
    ///
    /// # Errors
    /// A field has another transform, or no directory has its value.
    pub fn new(spec: &Spec, schema: &Schema, from_path: &[String]) -> Result<Self, TableError> {
        let unsupported = |problem: String| Err(TableError::Unsupported { problem });
        let mut keys = Vec::new();
        for field in &spec.fields {
            let Some(column) = schema.field(field.source_id) else {
                return unsupported(format!(
                    "is partitioned by `{}`, whose column is not at the top level of the schema; \
                     use an identity partition of a top-level column",
                    field.name
                ));
            };
            let kind = match (&*field.transform, &*type_name(&column.kind)) {
                ("identity", "string") => Kind::Text,
                ("identity", "int") => Kind::Int,
                ("identity", "long") => Kind::Long,
                ("identity", "date") => Kind::Date,
                (transform, kind) => {
                    return unsupported(format!(
                        "is partitioned by {transform}(`{}`) of type {kind}; supported is identity \
                         of a string, int, long or date: change the partition spec",
                        column.name
                    ));
                }
            };
            if !from_path.contains(&column.name) {
                return unsupported(format!(
                    "is partitioned by `{0}`, but `url` has no directory for it; add `{0}=…`, such \
                     as `day=%Y-%m-%d`",
                    column.name
                ));
            }
            let (id, name, column) = (field.field_id, field.name.clone(), column.name.clone());
            keys.push(Key { id, name, column, kind });
        }
        let is_column = |name: &&String| schema.fields.iter().any(|field| field.name == **name);
        let is_key = |name: &&String| keys.iter().any(|key| key.column == **name);
        if let Some(name) = from_path.iter().find(|name| is_column(name) && !is_key(name)) {
            return unsupported(format!(
                "has a column `{name}`, but is not partitioned by it, and the files do not contain \
                 it; add an identity partition, or rename the directory in `url`"
            ));
        }
        Ok(Self { spec: spec.clone(), keys })
    }

    /// Returns the values of a file below the directory of the sink; `None` is NULL.
    pub(crate) fn values(&self, path: &str) -> Vec<Option<PartitionValue>> {
        let folders: Vec<&str> = path.split('/').collect();
        let folders = &folders[..folders.len().saturating_sub(1)];
        let value = |key: &Key| {
            let of_key = |folder: &&str| {
                folder.strip_prefix(key.column.as_str())?.strip_prefix('=').map(unescaped)
            };
            key.kind.value(folders.iter().find_map(of_key)?)
        };
        self.keys.iter().map(value).collect()
    }
}

impl Kind {
    /// Parses the value of a directory.
    fn value(self, text: String) -> Option<PartitionValue> {
        match self {
            Self::Text => Some(PartitionValue::Text(text)),
            _ if text == MISSING => None,
            Self::Int => text.parse().ok().map(PartitionValue::Int),
            Self::Long => text.parse().ok().map(PartitionValue::Long),
            Self::Date => {
                let day: jiff::civil::Date = text.parse().ok()?;
                let since = day.since(jiff::civil::date(1970, 1, 1)).ok()?;
                Some(PartitionValue::Int(since.get_days()))
            }
        }
    }

    /// Returns its type in Avro.
    pub(crate) fn avro(self) -> Value {
        match self {
            Self::Text => json!("string"),
            Self::Int => json!("int"),
            Self::Long => json!("long"),
            Self::Date => json!({"type": "int", "logicalType": "date"}),
        }
    }
}

impl PartitionValue {
    /// Returns the binary form of bounds.
    pub(crate) fn bound(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.as_bytes().to_vec(),
            Self::Int(number) => number.to_le_bytes().to_vec(),
            Self::Long(number) => number.to_le_bytes().to_vec(),
        }
    }
}

/// Returns the partition spec of a new table with this schema.
pub fn new_spec(schema: &Value, from_path: &[String]) -> Value {
    let id = |name: &String| {
        let fields = schema["fields"].as_array().into_iter().flatten();
        fields.filter(|field| field["name"] == **name).map(|field| field["id"].clone()).next()
    };
    let fields: Vec<Value> = (1000..)
        .zip(from_path)
        .map(|(field_id, name)| {
            json!({"source-id": id(name), "field-id": field_id, "name": name,
                "transform": "identity"})
        })
        .collect();
    json!({"spec-id": 0, "fields": fields})
}

/// Decodes `%XX` in the value of a directory. A value cut within an escape stays unchanged, so that
/// two directories never have the same value.
pub fn unescaped(value: &str) -> String {
    let bytes = value.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let digits = (*byte == b'%').then(|| value.get(at + 1..at + 3)).flatten();
        let is_hex = |digits: &&str| digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let escaped = digits.filter(is_hex).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(escaped.unwrap_or(*byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8(out).unwrap_or_else(|_| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitioning(
        kind: &str,
        transform: &str,
        from_path: &[&str],
    ) -> Result<Partitioning, String> {
        let schema = json!({"schema-id": 0, "fields": [
            {"id": 1, "name": "line", "required": false, "type": "string"},
            {"id": 2, "name": "day", "required": false, "type": kind},
        ]});
        let spec = json!({"spec-id": 4, "fields": [
            {"source-id": 2, "field-id": 1000, "name": "day", "transform": transform}]});
        let spec = Spec::deserialize(spec).unwrap();
        let from_path: Vec<String> = from_path.iter().map(|&name| name.to_owned()).collect();
        Partitioning::new(&spec, &Schema::read(schema).unwrap(), &from_path)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn value_of_a_file_is_the_value_of_its_directory() {
        let value = |kind: &str, path: &str| {
            partitioning(kind, "identity", &["day"]).unwrap().values(path).remove(0)
        };
        let text = |text: &str| Some(PartitionValue::Text(text.into()));
        assert_eq!(value("string", "day=2026-11-30/f.parquet"), text("2026-11-30"));
        assert_eq!(value("string", "late/day=a%2Fb/x=1/f"), text("a/b"));
        assert_eq!(value("string", "_overflow/f"), None);
        assert_eq!(value("string", "day=7"), None, "a file is no directory");
        assert_eq!(value("date", "day=1970-03-01/f"), Some(PartitionValue::Int(59)));
        assert_eq!(value("date", "day=1969-12-31/f"), Some(PartitionValue::Int(-1)));
        assert_eq!(value("int", "day=7/f"), Some(PartitionValue::Int(7)));
        assert_eq!(value("long", "day=_/f"), None);
    }

    #[test]
    fn rejects_partitions_without_a_known_value() {
        for (kind, transform, from_path, problem) in [
            ("string", "identity", &[][..], "`url` has no directory for it; add `day=…`"),
            ("timestamptz", "day", &["day"], "day(`day`) of type timestamptz"),
            ("string", "bucket[16]", &["day"], "bucket[16](`day`)"),
            ("string", "void", &["day"], "void(`day`)"),
            ("string", "identity", &["day", "line"], "not partitioned by it"),
        ] {
            let error = partitioning(kind, transform, from_path).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn new_table_is_partitioned_by_its_directories() {
        let from_path = ["day".to_owned(), "host".to_owned()];
        let json = crate::schema::new_schema(&[], &from_path);
        let spec = Spec::deserialize(new_spec(&json, &from_path)).unwrap();
        let keys = Partitioning::new(&spec, &Schema::read(json).unwrap(), &from_path).unwrap();
        let texts = ["1", "b"].map(|text| Some(PartitionValue::Text(text.into())));
        assert_eq!(keys.values("day=1/host=b/f"), texts);
    }
}
