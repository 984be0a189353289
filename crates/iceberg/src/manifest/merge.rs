//! Merges small manifests of earlier commits, so that a manifest list does not grow by one manifest
//! with each commit.
//!
//! ```text
//!  list: 100 manifests of 1 commit each ─► 1 manifest of 100 commits; files keep their snapshot
//!                                          and their sequence number
//! ```
//!
//! A merge is a part of the commit that appends files. It changes no file of the table, and nothing
//! that decides about entries of the ledger. Only manifests of this program are merged: their
//! entries are copied as bytes. The properties are those of Iceberg:
//! `commit.manifest-merge.enabled`, `commit.manifest.min-count-to-merge` and
//! `commit.manifest.target-size-bytes`.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use formats::avro::Malformed;
use formats::avro::datum::{Reader, put_long};
use serde_json::Value;
use support::mutant;

use super::{ADDED, DATA, DELETED, EXISTING, ListedManifest, Summary, entry_schema, header};
use crate::TableError;
use crate::avro::{self, container, put_optional};
use crate::metadata::Table;

/// When manifests are merged.
#[derive(Debug, Clone, Copy)]
pub struct MergePolicy {
    min_count: u64,
    target_bytes: u64,
}

/// Manifests to merge: all of one partition spec.
#[derive(Debug)]
pub struct Merge {
    spec: i32,
    /// Their positions in the list.
    sources: Vec<usize>,
}

/// A merged manifest.
#[derive(Debug)]
pub struct Merged {
    /// The content of the file.
    pub content: Vec<u8>,
    /// Positions in the list of the manifests that it replaces.
    replaced: Vec<usize>,
    files: i64,
    rows: i64,
    min_sequence: i64,
    spec: i32,
    partitions: Option<Vec<Summary>>,
}

/// A manifest with its content.
struct Source<'a> {
    at: usize,
    listed: &'a ListedManifest,
    content: &'a [u8],
}

impl MergePolicy {
    /// Reads the properties of a table; `None` if it does not want merges.
    pub fn of(table: &Table) -> Option<Self> {
        let enabled = table.properties.get("commit.manifest-merge.enabled");
        let number = |name: &str, default| table.number(name).ok().flatten().unwrap_or(default);
        enabled.is_none_or(|it| it.trim() == "true").then(|| Self {
            min_count: number("commit.manifest.min-count-to-merge", 100).max(2),
            target_bytes: number("commit.manifest.target-size-bytes", 8 << 20),
        })
    }

    /// Selects manifests to merge: the newest small ones of a spec that has enough of them, up to
    /// the target size.
    pub fn select(&self, manifests: &[ListedManifest]) -> Option<Merge> {
        let mut small = BTreeMap::<i64, Vec<usize>>::new();
        for (at, manifest) in manifests.iter().enumerate() {
            if manifest.is_own() && manifest.length.unsigned_abs() < self.target_bytes {
                small.entry(manifest.spec_id).or_default().push(at);
            }
        }
        let (spec, mut sources) = small.into_iter().max_by_key(|(_, sources)| sources.len())?;
        if (sources.len() as u64) < self.min_count {
            return None;
        }
        let mut bytes = 0;
        sources.retain(|at| {
            let fits = bytes < self.target_bytes;
            bytes += manifests[*at].length.unsigned_abs();
            fits
        });
        Some(Merge { spec: spec.try_into().ok()?, sources })
    }
}

impl Merge {
    /// Returns the URLs of the manifests to read, in order.
    pub fn urls<'a>(&self, manifests: &'a [ListedManifest]) -> Vec<&'a str> {
        self.sources.iter().map(|at| manifests[*at].url()).collect()
    }

    /// Merges manifests with these contents. `None` if fewer than two of them have the same schema.
    ///
    /// # Errors
    /// A manifest is damaged, or has other files than its list states.
    pub fn merged(
        &self,
        table: &Table,
        manifests: &[ListedManifest],
        contents: &[Vec<u8>],
        sync: [u8; 16],
    ) -> Result<Option<Merged>, TableError> {
        let spec = table.specs.iter().find(|spec| spec.id == self.spec);
        let spec = spec.ok_or_else(|| TableError::malformed("a partition spec is missing"))?;
        let mut by_schema = BTreeMap::<String, Vec<Source<'_>>>::new();
        for (&at, content) in self.sources.iter().zip(contents) {
            let schema = avro::schema(content)?;
            let source = Source { at, listed: &manifests[at], content };
            by_schema.entry(schema).or_default().push(source);
        }
        let most = by_schema.into_iter().max_by_key(|(_, sources)| sources.len());
        let Some((schema, sources)) = most.filter(|(_, sources)| sources.len() > 1) else {
            return Ok(None);
        };
        let schema: Value = serde_json::from_str(&schema).map_err(TableError::malformed)?;
        let data_file = &schema["fields"][4]["type"];
        if schema != entry_schema(data_file.clone()) {
            return Ok(None);
        }
        let (mut records, mut files, mut min_sequence) = (Vec::new(), 0, i64::MAX);
        for source in &sources {
            let before = files;
            avro::records(source.content, |_, record| {
                if let Some(sequence) = source.copy(record, &mut records)? {
                    (files, min_sequence) = (files + 1, min_sequence.min(sequence));
                }
                Ok(())
            })?;
            if files - before != source.listed.live().0 {
                return Err(TableError::malformed(format!(
                    "the manifest {} has other files than its list",
                    source.listed.url()
                )));
            }
        }
        let summaries = sources.iter().map(|source| source.listed.partitions.as_deref());
        let summaries = summaries.collect::<Option<Vec<_>>>();
        Ok(Some(Merged {
            content: container(&schema, &header(table, spec), sync, files as usize, &records),
            replaced: sources.iter().map(|source| source.at).collect(),
            files,
            rows: sources.iter().map(|source| source.listed.live().1).sum(),
            min_sequence,
            spec: self.spec,
            partitions: summaries.and_then(|all| summary_of_all(&all, data_file)),
        }))
    }
}

impl Merged {
    /// Replaces the merged manifests in the list of a new snapshot by this one, at its URL.
    pub fn replace(
        self,
        manifests: &mut Vec<ListedManifest>,
        url: String,
        snapshot: i64,
        sequence: i64,
    ) {
        let mut at = 0..;
        if !mutant!("merged_manifests_stay") {
            manifests.retain(|_| at.next().is_some_and(|at| !self.replaced.contains(&at)));
        }
        manifests.push(ListedManifest {
            path: url,
            length: self.content.len() as i64,
            spec_id: self.spec.into(),
            content: DATA,
            sequence,
            min_sequence: self.min_sequence.min(sequence),
            snapshot,
            counts: [0, self.files, 0, 0, self.rows, 0],
            partitions: self.partitions,
            key_metadata: None,
        });
    }
}

impl Source<'_> {
    /// Copies an entry, with the snapshot and the sequence numbers that it inherits from the list.
    /// Returns its sequence number; `None` if it removes a file.
    fn copy(&self, record: &[u8], out: &mut Vec<u8>) -> Result<Option<i64>, TableError> {
        let Entry { status, own, rest } = Entry::read(record).map_err(TableError::malformed)?;
        if status == DELETED {
            return Ok(None);
        }
        let (snapshot, sequence) = (self.listed.snapshot, self.listed.sequence);
        put_long(out, if mutant!("merged_files_are_new") { ADDED } else { EXISTING });
        for (own, inherited) in own.into_iter().zip([snapshot, sequence, sequence]) {
            let number = Some(own.unwrap_or(inherited));
            put_optional(out, number.filter(|_| !mutant!("merged_files_are_new")), put_long);
        }
        out.extend_from_slice(rest);
        Ok(Some(own[1].unwrap_or(sequence)))
    }
}

/// An entry of a manifest.
struct Entry<'a> {
    status: i64,
    /// Its snapshot, its sequence number and that of its file, unless it inherits them.
    own: [Option<i64>; 3],
    /// The data file.
    rest: &'a [u8],
}

impl<'a> Entry<'a> {
    fn read(record: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(record);
        let (status, mut own) = (reader.long()?, [None; 3]);
        for number in &mut own {
            if reader.long()? != 0 {
                *number = Some(reader.long()?);
            }
        }
        Ok(Self { status, own, rest: reader.rest() })
    }
}

/// Returns the summaries of the partition fields of several manifests with this schema of a data
/// file.
fn summary_of_all(manifests: &[&[Summary]], data_file: &Value) -> Option<Vec<Summary>> {
    let fields = data_file["fields"].as_array()?.iter();
    let partition = fields.into_iter().find(|field| field["name"] == "partition")?;
    let kinds = partition["type"]["fields"].as_array()?.iter().map(|field| &field["type"][1]);
    let of_field = |(at, kind): (usize, &Value)| {
        let kind = kind.as_str().or(kind["type"].as_str())?;
        let all: Vec<&Summary> = manifests.iter().map(|it| it.get(at)).collect::<Option<_>>()?;
        let order = |a: &&Vec<u8>, b: &&Vec<u8>| order(kind, a, b);
        Some(Summary {
            contains_null: all.iter().any(|it| it.contains_null),
            contains_nan: all.iter().map(|it| it.contains_nan).reduce(|a, b| Some(a? || b?))?,
            lower: all.iter().filter_map(|it| it.lower.as_ref()).min_by(order).cloned(),
            upper: all.iter().filter_map(|it| it.upper.as_ref()).max_by(order).cloned(),
        })
    };
    kinds.enumerate().map(of_field).collect()
}

/// Compares two bounds of a partition field with this type in Avro.
fn order(kind: &str, a: &[u8], b: &[u8]) -> Ordering {
    let int = |bound: &[u8]| bound.try_into().ok().map(i32::from_le_bytes);
    let long = |bound: &[u8]| bound.try_into().ok().map(i64::from_le_bytes);
    match kind {
        "int" => int(a).cmp(&int(b)),
        "long" => long(a).cmp(&long(b)),
        _ => a.cmp(b),
    }
}

#[cfg(test)]
mod tests;
