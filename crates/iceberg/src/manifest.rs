//! Manifests, which list data files, and manifest lists, which list the manifests of a snapshot.

mod entries;
mod list;
mod merge;
mod metrics;

use formats::avro::datum::{put_bytes, put_long};
use pipeline::ColumnStatistics;
use serde_json::Value;

use crate::avro::{self, container, field, optional, put_optional, record};
use crate::metadata::Table;
use crate::partition::{PartitionValue, Partitioning, Spec};

pub use entries::{ListedFile, data_files};
pub use list::ListedManifest;
pub use merge::{Merge, MergePolicy, Merged};

/// A data file to append.
#[derive(Debug, Clone, PartialEq)]
pub struct DataFile {
    /// Its URL.
    pub url: String,
    /// Its path below the directory of the sink, which has the partition values.
    pub path: String,
    /// Its number of rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// Statistics of its columns, as far as they are known.
    pub columns: Vec<ColumnStatistics>,
}

/// A new manifest: its content, and its entry in a manifest list.
#[derive(Debug, Clone)]
pub struct NewManifest {
    /// The content of the file.
    pub content: Vec<u8>,
    pub(crate) files: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    spec_id: i32,
    partitions: Vec<Summary>,
}

/// Bounds of a partition field in a manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Summary {
    contains_null: bool,
    contains_nan: Option<bool>,
    lower: Option<Vec<u8>>,
    upper: Option<Vec<u8>>,
}

/// Status of a file that an earlier snapshot has added.
const EXISTING: i64 = 0;
/// Status of a file that a snapshot adds.
const ADDED: i64 = 1;
/// Status of a file that a snapshot removes.
const DELETED: i64 = 2;
/// Content of files with rows.
const DATA: i64 = 0;
/// Names of manifests of this program begin with it.
const OWN: &str = "aqueduct-";

impl NewManifest {
    /// Creates a manifest of files that [`Partitioning::place`] has placed here.
    ///
    /// # Panics
    /// If a file does not have one value for each partition field.
    pub fn new(
        table: &Table,
        partitioning: &Partitioning,
        files: &[DataFile],
        sync: [u8; 16],
    ) -> Self {
        let keys = &partitioning.keys;
        let fields =
            keys.iter().map(|key| optional(key.id, &avro::name(&key.name), key.avro.clone()));
        let mut own = vec![
            field(134, "content", "int"),
            field(100, "file_path", "string"),
            field(101, "file_format", "string"),
            field(102, "partition", record("r102", fields.collect::<Vec<_>>())),
            field(103, "record_count", "long"),
            field(104, "file_size_in_bytes", "long"),
        ];
        own.extend(metrics::fields());
        let schema = entry_schema(record("r2", own));
        let spec = &partitioning.spec;
        let mut records = Vec::new();
        let mut values = Vec::new();
        for file in files {
            let own = partitioning.values(file).expect("the file was placed by its values");
            put_long(&mut records, ADDED);
            (0..3).for_each(|_| put_long(&mut records, 0));
            put_long(&mut records, DATA);
            put_bytes(&mut records, file.url.as_bytes());
            put_bytes(&mut records, b"PARQUET");
            for value in &own {
                put_optional(&mut records, value.as_ref(), put_value);
            }
            put_long(&mut records, file.rows as i64);
            put_long(&mut records, file.bytes as i64);
            metrics::put(&mut records, &file.columns, &table.schema);
            values.push(own);
        }
        let partitions = (0..keys.len()).map(|at| {
            let of_field: Vec<_> = values.iter().map(|own| own[at].as_ref()).collect();
            summary(&of_field)
        });
        Self {
            content: container(&schema, &header(table, spec), sync, files.len(), &records),
            files: files.len() as u64,
            rows: files.iter().map(|file| file.rows).sum(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            spec_id: spec.id,
            partitions: partitions.collect(),
        }
    }
}

/// Returns the name of the manifest `at` of a snapshot.
pub fn name(snapshot: i64, at: usize) -> String {
    format!("{OWN}{snapshot}-m{at}.avro")
}

/// Returns the name of the manifest that merges others in a snapshot.
pub fn merged_name(snapshot: i64) -> String {
    format!("{OWN}{snapshot}-merged.avro")
}

/// Returns the schema of an entry. Without a snapshot and sequence numbers, a file inherits those
/// of the manifest list.
fn entry_schema(data_file: Value) -> Value {
    record(
        "manifest_entry",
        vec![
            field(0, "status", "int"),
            optional(1, "snapshot_id", "long"),
            optional(3, "sequence_number", "long"),
            optional(4, "file_sequence_number", "long"),
            field(2, "data_file", data_file),
        ],
    )
}

/// Returns the metadata in the header of a manifest.
fn header(table: &Table, spec: &Spec) -> [(&'static str, String); 6] {
    [
        ("schema", table.schema.json.to_string()),
        ("schema-id", table.schema.id.to_string()),
        ("partition-spec", spec.fields_json().to_string()),
        ("partition-spec-id", spec.id.to_string()),
        ("format-version", "2".to_owned()),
        ("content", "data".to_owned()),
    ]
}

fn put_value(out: &mut Vec<u8>, value: &PartitionValue) {
    match value {
        PartitionValue::Text(text) => put_bytes(out, text.as_bytes()),
        PartitionValue::Bytes(bytes) => put_bytes(out, bytes),
        PartitionValue::Int(number) => put_long(out, i64::from(*number)),
        PartitionValue::Long(number) => put_long(out, *number),
    }
}

/// Returns the summary of one partition field; `values` has its value in each file.
fn summary(values: &[Option<&PartitionValue>]) -> Summary {
    let known = || values.iter().copied().flatten();
    Summary {
        contains_null: values.contains(&None),
        contains_nan: Some(false),
        lower: known().min().map(PartitionValue::bound),
        upper: known().max().map(PartitionValue::bound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_partitions_cover_all_files() {
        let (low, high) = (PartitionValue::Int(-3), PartitionValue::Int(258));
        let both = summary(&[Some(&low), None, Some(&high)]);
        assert!(both.contains_null);
        assert_eq!(
            (both.lower.unwrap(), both.upper.unwrap()),
            (vec![253, 255, 255, 255], vec![2, 1, 0, 0])
        );
        let none = summary(&[None]);
        assert_eq!((none.contains_null, none.lower, none.upper), (true, None, None));
    }
}
