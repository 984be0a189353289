//! Partition values of a file, from the directories of its path or from the bounds of its columns.
//!
//! - A directory, such as `day=2026-11-30`, is the value of a field with the transform `identity`
//!   whose column has its name. The column is not in the files: readers take its value from the
//!   partition, as the specification requires ("Column Projection"). A file without such a
//!   directory has the value NULL, for example a file of late events. So each row has the value of
//!   its directory, however the time of an event was determined.
//! - For other fields, the bounds of the column must prove that all rows have one value
//!   ([`crate::transform`]). A file that does not prove it belongs to another spec of the table,
//!   with the fields from the path only.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::TableError;
use crate::manifest::DataFile;
use crate::metadata::Table;
use crate::schema::{FileColumn, Schema, type_name};
use crate::transform::{Source, Transform};

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

    /// Returns whether its values are those of these fields.
    fn has(&self, fields: &[SpecField]) -> bool {
        let of = |field: &SpecField| (field.source_id, field.field_id, field.transform.clone());
        self.fields.iter().map(of).eq(fields.iter().map(of))
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

/// A validated partition field.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) id: i32,
    pub(crate) name: String,
    /// Name of the column.
    column: String,
    /// Id of the column.
    column_id: i32,
    /// Its type, and the type in Avro of the field's values.
    source: Source,
    pub(crate) avro: Value,
    /// How its value is computed; `None` if it is a directory.
    transform: Option<Transform>,
}

/// A partition value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PartitionValue {
    Text(String),
    Bytes(Vec<u8>),
    Int(i32),
    Long(i64),
}

/// The partition fields of a table.
#[derive(Debug, Clone)]
pub struct Partitioning {
    pub(crate) spec: Spec,
    pub(crate) keys: Vec<Key>,
}

/// Files by the partition spec to which they belong.
#[derive(Debug)]
pub enum Placed {
    /// All specs exist: each with its files.
    Files(Vec<(Partitioning, Vec<DataFile>)>),
    /// The table needs this spec first.
    NeedsSpec(Value),
}

impl Partitioning {
    /// Validates the spec of new files of a table, for files with these columns, whose paths have
    /// these directories `name=value`.
    ///
    /// # Errors
    /// A field has an unknown transform, or neither a directory nor a column has its value.
    pub fn new(
        spec: &Spec,
        schema: &Schema,
        columns: &[FileColumn],
        from_path: &[String],
    ) -> Result<Self, TableError> {
        let unsupported = |problem: String| Err(TableError::Unsupported { problem });
        let mut keys = Vec::new();
        for field in &spec.fields {
            let Some(column) = schema.field(field.source_id) else {
                return unsupported(format!(
                    "is partitioned by `{}`, whose column is not at the top level of the schema; \
                     use a partition of a top-level column",
                    field.name
                ));
            };
            let kind = type_name(&column.kind);
            let source = Source::parse(&kind);
            let known = source.and_then(|it| Some((it, Transform::parse(&field.transform, it)?)));
            let Some((source, transform)) = known else {
                return unsupported(format!(
                    "is partitioned by {}(`{}`) of type {kind}, which is not supported: change the \
                     partition spec",
                    field.transform, column.name
                ));
            };
            let is_dated = matches!(source, Source::Bytes | Source::Time);
            let is_folder = transform == Transform::Identity && !is_dated;
            let is_from_path = is_folder && from_path.contains(&column.name);
            let is_void = transform == Transform::Void;
            if !is_from_path && !is_void && !columns.iter().any(|it| it.id == column.id) {
                let folder = match is_folder {
                    true => format!("; or add the directory `{0}=…` to `url`", column.name),
                    false => String::new(),
                };
                return unsupported(format!(
                    "is partitioned by {}(`{}`), but the files do not contain that column; add it \
                     to the encoder{folder}",
                    field.transform, column.name
                ));
            }
            keys.push(Key {
                id: field.field_id,
                name: field.name.clone(),
                column: column.name.clone(),
                column_id: column.id,
                source,
                avro: transform.avro(source, &kind),
                transform: (!is_from_path).then_some(transform),
            });
        }
        let is_column = |name: &&String| schema.fields.iter().any(|field| field.name == **name);
        let is_key =
            |name: &&String| keys.iter().any(|key| key.column == **name && key.transform.is_none());
        if let Some(name) = from_path.iter().find(|name| is_column(name) && !is_key(name)) {
            return unsupported(format!(
                "has a column `{name}`, but is not partitioned by it, and the files do not contain \
                 it; add an identity partition, or rename the directory in `url`"
            ));
        }
        Ok(Self { spec: spec.clone(), keys })
    }

    /// Returns the values of a file, of which `None` is NULL; or `None` if its rows may have
    /// several values.
    pub(crate) fn values(&self, file: &DataFile) -> Option<Vec<Option<PartitionValue>>> {
        let folders: Vec<&str> = file.path.split('/').collect();
        let folders = &folders[..folders.len().saturating_sub(1)];
        let value = |key: &Key| {
            let of_key = |folder: &&str| {
                folder.strip_prefix(key.column.as_str())?.strip_prefix('=').map(unescaped)
            };
            let column = || file.columns.iter().find(|column| column.id == key.column_id);
            match key.transform {
                None => {
                    let text = folders.iter().find_map(of_key);
                    Some(text.and_then(|text| of_folder(key.source, text)))
                }
                Some(transform) => transform.of_all(key.source, column()),
            }
        };
        self.keys.iter().map(value).collect()
    }

    /// Returns whether it is of this spec.
    pub fn is_of(&self, spec: &Spec) -> bool {
        self.spec.id == spec.id
    }

    /// Divides files by the specs of the table.
    pub fn place(self, table: &Table, files: Vec<DataFile>) -> Placed {
        let (proved, others): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|file| self.values(file).is_some());
        let mut placed = Vec::new();
        if !others.is_empty() {
            let is_from_path = |at: &usize| self.keys[*at].transform.is_none();
            let kept: Vec<usize> = (0..self.keys.len()).filter(is_from_path).collect();
            let fields: Vec<_> = kept.iter().map(|at| self.spec.fields[*at].clone()).collect();
            let Some(spec) = table.specs.iter().find(|spec| spec.has(&fields)) else {
                let id = table.specs.iter().map(|spec| spec.id).max().unwrap_or(-1) + 1;
                let spec = Spec { id, fields };
                return Placed::NeedsSpec(json!({"spec-id": id, "fields": spec.fields_json()}));
            };
            let keys = kept.iter().map(|at| self.keys[*at].clone()).collect();
            placed.push((Self { spec: spec.clone(), keys }, others));
        }
        if !proved.is_empty() {
            placed.insert(0, (self, proved));
        }
        Placed::Files(placed)
    }
}

/// Parses the value of a directory.
fn of_folder(source: Source, text: String) -> Option<PartitionValue> {
    match source {
        Source::Text => Some(PartitionValue::Text(text)),
        _ if text == MISSING => None,
        Source::Int => text.parse().ok().map(PartitionValue::Int),
        Source::Long => text.parse().ok().map(PartitionValue::Long),
        Source::Date => {
            let day: jiff::civil::Date = text.parse().ok()?;
            let since = day.since(jiff::civil::date(1970, 1, 1)).ok()?;
            Some(PartitionValue::Int(since.get_days()))
        }
        Source::Bytes | Source::Time => None,
    }
}

impl PartitionValue {
    /// Returns the binary form of bounds.
    pub(crate) fn bound(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.as_bytes().to_vec(),
            Self::Bytes(bytes) => bytes.clone(),
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
mod tests;
