//! Manifest lists, which list the manifests of a snapshot.

use formats::avro::datum::{put_bytes, put_long};
use formats::avro::schema::value::{Datum, Value as AvroValue};
use serde_json::json;

use super::{DATA, NewManifest, OWN, Summary};
use crate::TableError;
use crate::avro::{self, container, field, optional, put_optional, record};

/// A manifest of a snapshot, as its list describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListedManifest {
    pub(super) path: String,
    pub(super) length: i64,
    pub(super) spec_id: i64,
    pub(super) content: i64,
    pub(super) sequence: i64,
    pub(super) min_sequence: i64,
    pub(super) snapshot: i64,
    /// Added, existing and deleted files, and their rows.
    pub(super) counts: [i64; 6],
    pub(super) partitions: Option<Vec<Summary>>,
    pub(super) key_metadata: Option<Vec<u8>>,
}

/// Names of the counts, with the names of older writers.
const COUNTS: [(i32, &str, &str); 6] = [
    (504, "added_files_count", "added_data_files_count"),
    (505, "existing_files_count", "existing_data_files_count"),
    (506, "deleted_files_count", "deleted_data_files_count"),
    (512, "added_rows_count", ""),
    (513, "existing_rows_count", ""),
    (514, "deleted_rows_count", ""),
];

impl ListedManifest {
    /// Lists a new manifest at this URL, which `snapshot` adds with this sequence number.
    pub fn added(manifest: &NewManifest, url: String, snapshot: i64, sequence: i64) -> Self {
        Self {
            path: url,
            length: manifest.content.len() as i64,
            spec_id: manifest.spec_id.into(),
            content: DATA,
            sequence,
            min_sequence: sequence,
            snapshot,
            counts: [manifest.files as i64, 0, 0, manifest.rows as i64, 0, 0],
            partitions: Some(manifest.partitions.clone()),
            key_metadata: None,
        }
    }

    /// Returns the URL of the manifest.
    pub fn url(&self) -> &str {
        &self.path
    }

    /// Returns whether this program has written it.
    pub(super) fn is_own(&self) -> bool {
        let is_named = self.path.rsplit('/').next().is_some_and(|name| name.starts_with(OWN));
        is_named && self.content == DATA && self.key_metadata.is_none()
    }

    /// Returns the number of files that the table has, and of their rows.
    pub(super) fn live(&self) -> (i64, i64) {
        let [added, existing, _, added_rows, existing_rows, _] = self.counts;
        (added + existing, added_rows + existing_rows)
    }

    /// Reads a manifest list.
    ///
    /// # Errors
    /// The file is damaged, or lacks a field that format version 2 requires.
    pub fn read_list(file: &[u8]) -> Result<Vec<Self>, TableError> {
        let mut manifests = Vec::new();
        avro::read(file, |datum| {
            manifests.push(Self::read(datum)?);
            Ok(())
        })?;
        Ok(manifests)
    }

    fn read(datum: Datum<'_>) -> Result<Self, TableError> {
        let mut read = Self::default();
        let mut missing: Vec<&str> =
            vec!["manifest_path", "manifest_length", "partition_spec_id", "added_snapshot_id"];
        missing.extend(COUNTS.map(|(_, name, _)| name));
        datum.each(|name, value| {
            let Some(name) = name else { return };
            let counted = COUNTS.iter().position(|(_, own, old)| [own, old].contains(&&name));
            let whole = avro::whole(value);
            let place = match name {
                "manifest_length" => Some(&mut read.length),
                "partition_spec_id" => Some(&mut read.spec_id),
                "content" => Some(&mut read.content),
                "sequence_number" => Some(&mut read.sequence),
                "min_sequence_number" => Some(&mut read.min_sequence),
                "added_snapshot_id" => Some(&mut read.snapshot),
                _ => counted.map(|at| &mut read.counts[at]),
            };
            let is_read = match (place, whole, name, value.value()) {
                (Some(place), Some(number), ..) => {
                    *place = number;
                    true
                }
                (None, _, "manifest_path", AvroValue::Text(path)) => {
                    path.clone_into(&mut read.path);
                    true
                }
                (None, _, "partitions", AvroValue::Array) => {
                    let mut partitions = Vec::new();
                    value.each(|_, one| partitions.push(Summary::read(one)));
                    read.partitions = Some(partitions);
                    false
                }
                (None, _, "key_metadata", _) => {
                    read.key_metadata = avro::bytes(value);
                    false
                }
                _ => false,
            };
            let own = counted.map_or(name, |at| COUNTS[at].1);
            missing.retain(|other| !is_read || *other != own);
        });
        match missing.first() {
            Some(name) => Err(TableError::malformed(format!("a manifest list lacks `{name}`"))),
            None => Ok(read),
        }
    }

    /// Returns the manifest list of a snapshot.
    pub fn write_list(
        manifests: &[Self],
        snapshot: i64,
        parent: Option<i64>,
        sequence: i64,
        sync: [u8; 16],
    ) -> Vec<u8> {
        let summary = record(
            "r508",
            vec![
                field(509, "contains_null", "boolean"),
                optional(518, "contains_nan", "boolean"),
                optional(510, "lower_bound", "bytes"),
                optional(511, "upper_bound", "bytes"),
            ],
        );
        let summaries = json!({"type": "array", "items": summary, "element-id": 508});
        let mut fields = vec![
            field(500, "manifest_path", "string"),
            field(501, "manifest_length", "long"),
            field(502, "partition_spec_id", "int"),
            field(517, "content", "int"),
            field(515, "sequence_number", "long"),
            field(516, "min_sequence_number", "long"),
            field(503, "added_snapshot_id", "long"),
        ];
        fields.extend(
            COUNTS
                .iter()
                .enumerate()
                .map(|(at, (id, name, _))| field(*id, name, if at < 3 { "int" } else { "long" })),
        );
        fields.push(optional(507, "partitions", summaries));
        fields.push(optional(519, "key_metadata", "bytes"));
        let parent = parent.map_or("null".to_owned(), |parent| parent.to_string());
        let metadata = [
            ("snapshot-id", snapshot.to_string()),
            ("parent-snapshot-id", parent),
            ("sequence-number", sequence.to_string()),
            ("format-version", "2".to_owned()),
        ];
        let mut records = Vec::new();
        manifests.iter().for_each(|manifest| manifest.put(&mut records));
        let schema = record("manifest_file", fields);
        container(&schema, &metadata, sync, manifests.len(), &records)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.path.as_bytes());
        let Self { length, spec_id, content, sequence, min_sequence, snapshot, counts, .. } = self;
        for number in [length, spec_id, content, sequence, min_sequence, snapshot] {
            put_long(out, *number);
        }
        counts.iter().for_each(|count| put_long(out, *count));
        put_optional(out, self.partitions.as_ref(), |out, partitions| {
            if !partitions.is_empty() {
                put_long(out, partitions.len() as i64);
                partitions.iter().for_each(|one| one.put(out));
            }
            put_long(out, 0);
        });
        put_optional(out, self.key_metadata.as_ref(), |out, key| put_bytes(out, key));
    }
}

impl Summary {
    fn read(datum: Datum<'_>) -> Self {
        let mut read = Self::default();
        datum.each(|name, value| match (name, value.value()) {
            (Some("contains_null"), AvroValue::Boolean(is)) => read.contains_null = is,
            (Some("contains_nan"), AvroValue::Boolean(is)) => read.contains_nan = Some(is),
            (Some("lower_bound"), _) => read.lower = avro::bytes(value),
            (Some("upper_bound"), _) => read.upper = avro::bytes(value),
            _ => {}
        });
        read
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.push(self.contains_null.into());
        put_optional(out, self.contains_nan, |out, is| out.push(is.into()));
        put_optional(out, self.lower.as_ref(), |out, bound| put_bytes(out, bound));
        put_optional(out, self.upper.as_ref(), |out, bound| put_bytes(out, bound));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(n: i64) -> ListedManifest {
        let summary = |contains_null, bound: Option<&[u8]>| Summary {
            contains_null,
            contains_nan: None,
            lower: bound.map(<[u8]>::to_vec),
            upper: None,
        };
        ListedManifest {
            path: format!("s3://bucket/metadata/{n}.avro"),
            length: 7 * n,
            spec_id: n,
            content: n % 2,
            sequence: n + 1,
            min_sequence: n,
            snapshot: i64::MAX - n,
            counts: [n, n + 1, n + 2, n << 40, 1, 0],
            partitions: (n > 0).then(|| vec![summary(true, None), summary(false, Some(b"x"))]),
            key_metadata: (n == 2).then(|| b"key".to_vec()),
        }
    }

    #[test]
    fn keeps_each_field_of_the_manifests_of_the_parent() {
        for count in 0..4 {
            let manifests: Vec<_> = (0..count).map(listed).collect();
            let file = ListedManifest::write_list(&manifests, 5, Some(4), 2, [9; 16]);
            assert_eq!(ListedManifest::read_list(&file).unwrap(), manifests);
            for end in 1..file.len() {
                if let Ok(read) = ListedManifest::read_list(&file[..end]) {
                    assert_eq!(read, [], "only the header is complete: {end}");
                }
            }
        }
    }

    #[test]
    fn rejects_a_list_of_format_version_1() {
        let schema = record("manifest_file", vec![field(500, "manifest_path", "string")]);
        let mut records = Vec::new();
        put_bytes(&mut records, b"x");
        let file = container(&schema, &[], [0; 16], 1, &records);
        let error = ListedManifest::read_list(&file).unwrap_err().to_string();
        assert!(error.contains("lacks `manifest_length`"), "{error}");
    }
}
