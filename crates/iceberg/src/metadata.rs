//! The metadata of a table, as a catalog returns it. Only what an append needs.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

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
    /// All schemas.
    pub(crate) schemas: Vec<Schema>,
    /// The largest field id that was ever assigned.
    pub(crate) last_column_id: i32,
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
struct Loaded<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Metadata<'a> {
    format_version: u8,
    table_uuid: String,
    location: String,
    #[serde(default)]
    last_sequence_number: i64,
    last_updated_ms: i64,
    #[serde(default)]
    last_column_id: i32,
    current_schema_id: i64,
    schemas: Vec<Value>,
    default_spec_id: i32,
    partition_specs: Vec<Spec>,
    #[serde(default)]
    properties: BTreeMap<String, String>,
    #[serde(default)]
    current_snapshot_id: Option<i64>,
    /// As text: there may be 10,000.
    #[serde(borrow, default)]
    snapshots: Vec<&'a RawValue>,
    #[serde(default)]
    refs: BTreeMap<String, serde_json::Map<String, Value>>,
}

/// Returns the snapshot with this id, which is probably the last one.
fn find(id: i64, snapshots: &[&RawValue]) -> Result<Snapshot, TableError> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(rename = "snapshot-id")]
        id: i64,
    }
    for text in snapshots.iter().rev().map(|it| it.get()) {
        let head: Head = serde_json::from_str(text).map_err(TableError::malformed)?;
        if head.id == id {
            return serde_json::from_str(text).map_err(TableError::malformed);
        }
    }
    let problem = format!("the current snapshot {id} is not in the list of snapshots");
    Err(TableError::malformed(problem))
}

impl Table {
    /// Reads the answer of a catalog to a request for a table, or a file of metadata.
    ///
    /// # Errors
    /// It is neither of them, or the table has another format version.
    pub fn read(json: &[u8]) -> Result<Self, TableError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "metadata")]
            _metadata: IgnoredAny,
        }
        match serde_json::from_slice::<Answer>(json) {
            Ok(_) => Self::from_answer(json),
            Err(_) => Self::from_metadata(json),
        }
    }

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

    fn new(metadata: Metadata<'_>) -> Result<Self, TableError> {
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
        let schema = schemas.iter().find(|schema| schema.id == metadata.current_schema_id);
        let schema = schema.ok_or_else(|| TableError::malformed("no current schema"))?.clone();
        let ids = schemas.iter().flat_map(|schema| &schema.fields).map(|field| field.id);
        let last_column_id = ids.max().unwrap_or(0).max(metadata.last_column_id);
        let specs = metadata.partition_specs;
        let spec = specs.iter().find(|spec| spec.id == metadata.default_spec_id).cloned();
        let spec =
            spec.ok_or_else(|| TableError::malformed("the default partition spec is missing"))?;
        let branch = metadata.refs.get(MAIN).cloned().unwrap_or_default();
        let current = branch.get("snapshot-id").and_then(Value::as_i64);
        let current = current.or(metadata.current_snapshot_id.filter(|id| *id != -1));
        let snapshot = current.map(|id| find(id, &metadata.snapshots)).transpose()?;
        Ok(Self {
            uuid: metadata.table_uuid,
            location: metadata.location.trim_end_matches('/').to_owned(),
            schema,
            schemas,
            last_column_id,
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
