//! Reads the data files of a table, as its readers do.

use formats::avro::schema::value::{Datum, Value as AvroValue};

use super::{DATA, DELETED, ListedManifest};
use crate::TableError;
use crate::avro;
use crate::metadata::Table;

/// A data file of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListedFile {
    /// Its URL.
    pub url: String,
    /// Its number of rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

/// Returns the data files that readers of the table see. `read` reads a file by its URL.
///
/// # Errors
/// `read` failed, a file is malformed, or the table has delete files.
pub fn data_files<E: From<TableError>>(
    table: &Table,
    mut read: impl FnMut(&str) -> Result<Vec<u8>, E>,
) -> Result<Vec<ListedFile>, E> {
    let mut files = Vec::new();
    let Some(snapshot) = &table.snapshot else { return Ok(files) };
    let list = read(snapshot.manifest_list.as_deref().unwrap_or_default())?;
    for manifest in ListedManifest::read_list(&list)? {
        files.extend(ListedFile::read_manifest(&read(manifest.url())?)?);
    }
    Ok(files)
}

impl ListedFile {
    /// Returns the data files of a manifest.
    ///
    /// # Errors
    /// The manifest is malformed, or has delete files.
    pub fn read_manifest(content: &[u8]) -> Result<Vec<Self>, TableError> {
        let mut files = Vec::new();
        avro::read(content, |entry| {
            files.extend(Self::read(entry)?);
            Ok(())
        })?;
        Ok(files)
    }

    /// Reads an entry of a manifest; `None` if it removes a file.
    fn read(entry: Datum<'_>) -> Result<Option<Self>, TableError> {
        let (mut status, mut content, mut file) = (None, DATA, Self::default());
        let number = |value| avro::whole(value).and_then(|it| u64::try_from(it).ok());
        let mut is_whole = true;
        entry.each(|name, value| match name {
            Some("status") => status = avro::whole(value),
            Some("data_file") => value.each(|name, value| match (name, value.value()) {
                (Some("content"), _) => content = avro::whole(value).unwrap_or(DATA),
                (Some("file_path"), AvroValue::Text(path)) => path.clone_into(&mut file.url),
                (Some("record_count"), _) => match number(value) {
                    Some(rows) => file.rows = rows,
                    None => is_whole = false,
                },
                (Some("file_size_in_bytes"), _) => file.bytes = number(value).unwrap_or(0),
                _ => {}
            }),
            _ => {}
        });
        match status {
            Some(DELETED) => Ok(None),
            _ if content != DATA => Err(TableError::Unsupported {
                problem: "has delete files, which are not supported; compact the table, or use \
                          another table"
                    .to_owned(),
            }),
            Some(_) if is_whole && !file.url.is_empty() => Ok(Some(file)),
            _ => Err(TableError::malformed("an entry of a manifest names no file")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::super::{DataFile, NewManifest};
    use super::*;
    use crate::partition::{Partitioning, new_spec};
    use crate::request::{NewSnapshot, create};
    use crate::schema::new_schema;
    use crate::versions::{committed, created};

    #[test]
    fn reads_the_files_that_were_appended() {
        let folders = ["day".to_owned()];
        let schema = new_schema(&[], &folders);
        let request = create("t", "file:///t", &schema, &new_spec(&schema, &folders));
        let first = created(&request, "u", 1);
        let table = Table::from_metadata(first.to_string().as_bytes()).unwrap();
        let file = |day: u64| DataFile {
            url: format!("file:///t/day={day}/f.parquet"),
            path: format!("day={day}/f.parquet"),
            rows: day,
            bytes: 10 * day,
            columns: Vec::new(),
        };
        let files = [file(1), file(2)];
        let partitioning = Partitioning::new(&table.spec, &table.schema, &[], &folders).unwrap();
        let manifest = NewManifest::new(&table, &partitioning, &files, [3; 16]);
        let listed = ListedManifest::added(&manifest, "m".to_owned(), 7, 1);
        let list = ListedManifest::write_list(&[listed], 7, None, 1, [4; 16]);
        let (manifest_list, properties) = ("l", &[][..]);
        let manifests = std::slice::from_ref(&manifest);
        let new = NewSnapshot { id: 7, at_ms: 2, manifest_list, manifests, properties };
        let second = committed(&first, "", &table.commit(&new)).unwrap();
        let table = Table::from_metadata(second.to_string().as_bytes()).unwrap();
        let store = BTreeMap::from([("l", list), ("m", manifest.content.clone())]);
        let read = |url: &str| {
            store.get(url).cloned().ok_or_else(|| TableError::malformed(json!({"none": url})))
        };
        let found = data_files(&table, read).unwrap();
        let expected =
            files.map(|DataFile { url, rows, bytes, .. }| ListedFile { url, rows, bytes });
        assert_eq!(found, expected);
        let missing = data_files(&table, |_| Err(TableError::malformed("gone"))).unwrap_err();
        assert!(missing.to_string().contains("gone"), "{missing}");
    }
}
