//! The schema of a table, and its types.

use pipeline::{BoundValue, ColumnStatistics};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::TableError;

/// The schema of a table.
#[derive(Debug, Clone)]
pub struct Schema {
    /// Its id.
    pub(crate) id: i64,
    /// Its top-level fields.
    pub fields: Vec<Field>,
    /// As it was loaded, for manifests.
    pub(crate) json: Value,
}

/// A top-level field of a table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Field {
    /// Identifies it in files, whatever its name.
    pub id: i32,
    /// Its name.
    pub name: String,
    /// Whether it must not be null.
    pub required: bool,
    /// Its type: a name such as `long`, or an object for lists, maps and structs.
    #[serde(rename = "type")]
    pub kind: Value,
}

/// A column of the files that are appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileColumn {
    /// The field id in the file.
    pub id: i32,
    /// Its name.
    pub name: String,
    /// Its type, as Iceberg names it: `long`, `decimal(9,2)`.
    pub kind: String,
    /// Whether it is never null.
    pub required: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Read {
    #[serde(default)]
    schema_id: i64,
    fields: Vec<Field>,
}

impl Schema {
    /// Reads a schema.
    pub(crate) fn read(json: Value) -> Result<Self, TableError> {
        let Read { schema_id, fields } = Read::deserialize(&json).map_err(TableError::malformed)?;
        Ok(Self { id: schema_id, fields, json })
    }

    /// Returns the field with this id.
    pub(crate) fn field(&self, id: i32) -> Option<&Field> {
        self.fields.iter().find(|field| field.id == id)
    }
}

/// Returns the schema of a new table. Columns from the path follow the others and are strings.
pub fn new_schema(columns: &[FileColumn], from_path: &[String]) -> Value {
    let field = |column: &FileColumn| {
        json!({"id": column.id, "name": column.name, "required": column.required,
            "type": column.kind})
    };
    let mut fields: Vec<Value> = columns.iter().map(field).collect();
    let first = columns.iter().map(|column| column.id).max().unwrap_or(0) + 1;
    fields.extend(
        (first..)
            .zip(from_path)
            .map(|(id, name)| json!({"id": id, "name": name, "required": false, "type": "string"})),
    );
    json!({"type": "struct", "schema-id": 0, "fields": fields})
}

/// Returns the name of a type, without spaces: `decimal(9,2)`.
pub(crate) fn type_name(kind: &Value) -> String {
    match kind {
        Value::String(name) => name.replace(' ', ""),
        other => other.get("type").and_then(Value::as_str).unwrap_or("unknown").to_owned(),
    }
}

/// Returns precision and scale of a decimal type.
fn decimal(kind: &str) -> Option<(u8, u8)> {
    let (precision, scale) = kind.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
    Some((precision.parse().ok()?, scale.parse().ok()?))
}

/// Returns whether bounds of a file's column prove that a table's column of this type cannot read
/// it.
pub(crate) fn is_wider_bound(table: &str, column: &ColumnStatistics) -> bool {
    let Some((lower, upper)) = &column.bounds else { return false };
    [lower, upper].into_iter().any(|bound| match (table, bound) {
        ("int", BoundValue::Long(_)) | ("float", BoundValue::Double(_)) => true,
        (_, BoundValue::Decimal(digits)) => decimal(table)
            .and_then(|(precision, _)| 10_u128.checked_pow(precision.into()))
            .is_some_and(|end| digits.unsigned_abs() >= end),
        _ => false,
    })
}

/// Returns whether a table's column of one type reads a file's column of another one.
pub(crate) fn reads(table: &str, file: &str) -> bool {
    match (table, file) {
        ("long", "int") | ("double", "float") => true,
        _ => match (decimal(table), decimal(file)) {
            (Some(table), Some(file)) => table.1 == file.1 && table.0 >= file.0,
            _ => table == file,
        },
    }
}
