//! Compares the columns of files with the schema of a table.

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

    /// Checks that files with these columns are files of the table. `from_path` are columns whose
    /// values are in the path of a file.
    ///
    /// # Errors
    /// The first difference, and what to do.
    pub fn check(&self, columns: &[FileColumn], from_path: &[String]) -> Result<(), TableError> {
        let wrong = |problem: String| Err(TableError::Columns { problem });
        for FileColumn { id, name, kind, required } in columns {
            if from_path.contains(name) {
                return wrong(format!(
                    "`{name}` is a column of the encoder and a directory of `url`; rename one of \
                     them"
                ));
            }
            let Some(field) = self.fields.iter().find(|field| field.name == *name) else {
                return wrong(format!(
                    "the table has no column `{name}`; add it to the table, or remove it from the \
                     encoder"
                ));
            };
            if field.id != *id {
                return wrong(format!(
                    "the field id of `{name}` is {id} in the files and {} in the table; set \
                     `field_id = {}` for this column of the encoder",
                    field.id, field.id
                ));
            }
            let there = type_name(&field.kind);
            if !reads(&there, kind) {
                return wrong(format!(
                    "`{name}` has the type {kind} in the files and {there} in the table; change \
                     one of them"
                ));
            }
            if field.required && !required {
                return wrong(format!(
                    "`{name}` must not be null in the table; set `required = true` for this column \
                     of the encoder"
                ));
            }
        }
        let is_written = |field: &&Field| columns.iter().any(|column| column.id == field.id);
        match self.fields.iter().find(|field| field.required && !is_written(field)) {
            Some(field) => wrong(format!(
                "the table requires the column `{}`, which the encoder lacks; add it to the \
                 encoder, or make it optional in the table",
                field.name
            )),
            None => Ok(()),
        }
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

/// Returns whether a table's column of one type reads a file's column of another one.
fn reads(table: &str, file: &str) -> bool {
    let decimal = |kind: &str| {
        let (precision, scale) =
            kind.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
        Some((precision.parse::<u8>().ok()?, scale.parse::<u8>().ok()?))
    };
    match (table, file) {
        ("long", "int") | ("double", "float") => true,
        _ => match (decimal(table), decimal(file)) {
            (Some(table), Some(file)) => table.1 == file.1 && table.0 >= file.0,
            _ => table == file,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(id: i32, name: &str, kind: &str) -> FileColumn {
        FileColumn { id, name: name.into(), kind: kind.into(), required: false }
    }

    fn schema(fields: &Value) -> Schema {
        Schema::read(json!({"schema-id": 3, "type": "struct", "fields": fields})).unwrap()
    }

    #[test]
    fn accepts_files_that_the_table_reads_and_explains_others() {
        let table = schema(&json!([
            {"id": 1, "name": "n", "required": false, "type": "long"},
            {"id": 2, "name": "price", "required": false, "type": "decimal(12, 2)"},
            {"id": 3, "name": "day", "required": false, "type": "string"},
            {"id": 4, "name": "tags", "required": false, "type": {"type": "list"}},
        ]));
        let day = ["day".to_owned()];
        let fine = [column(1, "n", "int"), column(2, "price", "decimal(9,2)")];
        table.check(&fine, &day).unwrap();
        for (wrong, problem) in [
            (column(1, "m", "long"), "has no column `m`"),
            (column(2, "n", "long"), "set `field_id = 1`"),
            (column(1, "n", "string"), "string in the files and long in the table"),
            (column(2, "price", "decimal(9,3)"), "decimal(9,3) in the files"),
            (column(4, "tags", "string"), "list in the table"),
            (column(3, "day", "string"), "directory of `url`"),
        ] {
            let error = table.check(&[wrong], &day).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        let strict = schema(&json!([{"id": 1, "name": "n", "required": true, "type": "int"}]));
        let error = strict.check(&[column(1, "n", "int")], &[]).unwrap_err().to_string();
        assert!(error.contains("set `required = true`"), "{error}");
        let error = strict.check(&[], &[]).unwrap_err().to_string();
        assert!(error.contains("requires the column `n`"), "{error}");
    }

    #[test]
    fn new_table_fits_the_files_it_is_made_for() {
        let columns = [column(1, "n", "int"), column(2, "line", "string")];
        let day = ["day".to_owned()];
        let table = Schema::read(new_schema(&columns, &day)).unwrap();
        table.check(&columns, &day).unwrap();
        assert_eq!(table.fields[2].id, 3);
    }
}
