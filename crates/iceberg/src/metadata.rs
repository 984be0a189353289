//! The metadata of a table, as a catalog returns it. Only what an append needs.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::TableError;
use crate::partition::Spec;
use crate::schema::Schema;

/// The branch that readers see.
pub(crate) const MAIN: &str = "main";

/// A loaded table.
#[derive(Debug, Clone)]
pub struct Table {
    /// New for each created table, even under the same name.
    pub uuid: String,
    /// URL of the table's directory.
    pub location: String,
    /// The schema of new files.
    pub schema: Schema,
    /// The partition spec of new files.
    pub spec: Spec,
    /// All partition specs.
    pub(crate) specs: Vec<Spec>,
    /// The properties.
    pub properties: BTreeMap<String, String>,
    /// The snapshot that readers see; `None` for an empty table.
    pub snapshot: Option<Snapshot>,
    /// The sequence number of the newest snapshot.
    pub last_sequence_number: i64,
    /// The time of the last change, in milliseconds since 1970.
    pub last_updated_ms: i64,
    /// The branch `main`, with its retention, as it was loaded.
    pub(crate) branch: serde_json::Map<String, Value>,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Snapshot {
    /// Its id.
    #[serde(rename = "snapshot-id")]
    pub id: i64,
    /// URL of its manifest list.
    pub manifest_list: Option<String>,
    /// Counts of its files and rows.
    #[serde(default)]
    pub summary: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Loaded {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Metadata {
    format_version: u8,
    table_uuid: String,
    location: String,
    #[serde(default)]
    last_sequence_number: i64,
    last_updated_ms: i64,
    current_schema_id: i64,
    schemas: Vec<Value>,
    default_spec_id: i32,
    partition_specs: Vec<Spec>,
    #[serde(default)]
    properties: BTreeMap<String, String>,
    #[serde(default)]
    current_snapshot_id: Option<i64>,
    #[serde(default)]
    snapshots: Vec<Value>,
    #[serde(default)]
    refs: BTreeMap<String, serde_json::Map<String, Value>>,
}

impl Table {
    /// Reads the answer of a catalog to a request for a table, or to a commit.
    ///
    /// # Errors
    /// The answer is malformed, or the table has another format version.
    pub fn from_answer(answer: &[u8]) -> Result<Self, TableError> {
        let Loaded { metadata } = serde_json::from_slice(answer).map_err(TableError::malformed)?;
        Self::new(metadata)
    }

    /// Reads a file of metadata.
    ///
    /// # Errors
    /// The file is malformed, or the table has another format version.
    pub fn from_metadata(file: &[u8]) -> Result<Self, TableError> {
        Self::new(serde_json::from_slice(file).map_err(TableError::malformed)?)
    }

    fn new(metadata: Metadata) -> Result<Self, TableError> {
        if metadata.format_version != 2 {
            return Err(TableError::Unsupported {
                problem: format!(
                    "has format version {}, but only version 2 is supported: use another table, or \
                     upgrade a table of version 1 (`format-version` = 2)",
                    metadata.format_version
                ),
            });
        }
        let schemas = metadata.schemas.into_iter().map(Schema::read);
        let schemas = schemas.collect::<Result<Vec<_>, _>>()?;
        let schema = schemas.into_iter().find(|schema| schema.id == metadata.current_schema_id);
        let schema = schema.ok_or_else(|| TableError::malformed("no current schema"))?;
        let specs = metadata.partition_specs;
        let spec = specs.iter().find(|spec| spec.id == metadata.default_spec_id).cloned();
        let spec = spec.ok_or_else(|| TableError::malformed("no default partition spec"))?;
        let branch = metadata.refs.get(MAIN).cloned().unwrap_or_default();
        let current = branch.get("snapshot-id").and_then(Value::as_i64);
        let current = current.or(metadata.current_snapshot_id.filter(|id| *id != -1));
        let is_current = |it: &&Value| it.get("snapshot-id").and_then(Value::as_i64) == current;
        let snapshot = match current {
            None => None,
            Some(id) => {
                let found =
                    metadata.snapshots.iter().find(is_current).cloned().ok_or_else(|| {
                        TableError::malformed(format!(
                            "the current snapshot {id} is not in the list"
                        ))
                    })?;
                Some(serde_json::from_value(found).map_err(TableError::malformed)?)
            }
        };
        Ok(Self {
            uuid: metadata.table_uuid,
            location: metadata.location.trim_end_matches('/').to_owned(),
            schema,
            spec,
            specs,
            properties: metadata.properties,
            snapshot,
            last_sequence_number: metadata.last_sequence_number,
            last_updated_ms: metadata.last_updated_ms,
            branch,
        })
    }

    /// Returns the number in this property; `None` if the table does not have it.
    ///
    /// # Errors
    /// It is not a number.
    pub fn number(&self, property: &str) -> Result<Option<u64>, TableError> {
        let Some(text) = self.properties.get(property) else { return Ok(None) };
        text.trim().parse().map(Some).map_err(|_| TableError::Unsupported {
            problem: format!("property `{property}` must be a whole number, but is `{text}`"),
        })
    }
}
