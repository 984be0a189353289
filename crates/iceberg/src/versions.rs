//! Tables without a catalog server: each version of the metadata is a numbered file, as in
//! Iceberg's `HadoopCatalog`.
//!
//! ```text
//!  <location>/metadata/v1.metadata.json    created with the table
//!                      v2.metadata.json    v1 and one commit
//!                      version-hint.text   `2`: readers begin here, and look for later ones
//! ```
//!
//! A commit creates the next version, which must not exist. So of two commits on one version, one
//! wins, as with a catalog server.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::TableError;
use crate::metadata::MAIN;

/// The file that names a recent version.
pub const HINT: &str = "version-hint.text";
/// Property that limits the log of earlier versions, and its default.
const LOG_MAX: (&str, usize) = ("write.metadata.previous-versions-max", 100);
/// Stands for the schema that the same request adds.
const LAST_ADDED: i64 = -1;
/// Property that deletes versions that the log no longer has.
pub const DELETES: &str = "write.metadata.delete-after-commit.enabled";
/// Lists that get longer with each commit.
const GROWING: [&str; 2] = ["snapshots", "snapshot-log"];
/// Ids of partition fields start here.
const PARTITION_IDS: i64 = 1000;

/// Returns the name of a version.
pub fn name(version: u64) -> String {
    format!("v{version}.metadata.json")
}

/// Returns the names of a version that other writers compress.
pub fn compressed_names(version: u64) -> [String; 2] {
    [format!("v{version}.gz.metadata.json"), format!("v{version}.metadata.json.gz")]
}

/// Returns the version of a file; `None` if it is not metadata of a table.
pub fn version_of(name: &str) -> Option<u64> {
    let (version, rest) = name.strip_prefix('v')?.split_once('.')?;
    let is_metadata = ["metadata.json", "gz.metadata.json", "metadata.json.gz"].contains(&rest);
    version.parse().ok().filter(|_| is_metadata)
}

/// Returns the first version of a table, from the request that creates it in a catalog.
pub fn created(request: &Value, uuid: &str, at_ms: i64) -> Value {
    let of = |value: &Value, name: &str| value[name].clone();
    let ids = |list: &Value, id: &str| {
        list.as_array().into_iter().flatten().filter_map(|it| it[id].as_i64()).max()
    };
    let (schema, spec) = (of(request, "schema"), of(request, "partition-spec"));
    let mut properties = of(request, "properties");
    if let Some(properties) = properties.as_object_mut() {
        properties.remove("format-version");
    }
    json!({
        "format-version": 2,
        "table-uuid": uuid,
        "location": request["location"],
        "last-sequence-number": 0,
        "last-updated-ms": at_ms,
        "last-column-id": ids(&schema["fields"], "id").unwrap_or(0),
        "current-schema-id": schema["schema-id"],
        "schemas": [schema],
        "default-spec-id": spec["spec-id"],
        "last-partition-id": ids(&spec["fields"], "field-id").unwrap_or(PARTITION_IDS - 1),
        "partition-specs": [spec],
        "default-sort-order-id": 0,
        "sort-orders": [{"order-id": 0, "fields": []}],
        "properties": properties,
        "current-snapshot-id": -1,
        "refs": {},
        "snapshots": [],
        "statistics": [],
        "partition-statistics": [],
        "snapshot-log": [],
        "metadata-log": [],
    })
}

/// The elements of the lists that get longer with each commit, as text: a commit does not read
/// them, and there may be 10,000.
#[derive(Debug)]
pub struct Elements<'a>([&'a str; 2]);

/// Reads a version, without the elements of these lists.
///
/// # Errors
/// It is malformed.
pub fn split(version: &[u8]) -> Result<(Value, Elements<'_>), TableError> {
    let parts: Result<BTreeMap<String, &RawValue>, _> = serde_json::from_slice(version);
    let mut parts = parts.map_err(TableError::malformed)?;
    let mut elements = [""; 2];
    for (name, elements) in GROWING.into_iter().zip(&mut elements) {
        if let Some(list) = parts.remove(name).map(RawValue::get).filter(|list| *list != "null") {
            let inner = list.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
            let problem = || TableError::malformed(format!("`{name}` is not a list"));
            *elements = inner.ok_or_else(problem)?.trim();
        }
    }
    let mut rest = serde_json::Map::new();
    for (name, part) in parts {
        rest.insert(name, serde_json::from_str(part.get()).map_err(TableError::malformed)?);
    }
    Ok((rest.into(), Elements(elements)))
}

impl Elements<'_> {
    /// Returns the text of a version, whose lists get these elements before its own ones.
    pub fn join(&self, mut version: Value) -> String {
        let mut text = "{".to_owned();
        for (name, earlier) in GROWING.into_iter().zip(self.0) {
            let own = version.as_object_mut().and_then(|parts| parts.remove(name));
            let own = own.map(|list| list.to_string()).unwrap_or_default();
            let own = own.trim_start_matches('[').trim_end_matches(']');
            let comma = if earlier.is_empty() || own.is_empty() { "" } else { "," };
            let _ = write!(text, "\"{name}\":[{earlier}{comma}{own}],");
        }
        text + version.to_string().trim_start_matches('{')
    }
}

/// Returns the version after `base`, which is at this URL, with the commit of a request of
/// [`crate::metadata::Table`]; `None` if the request requires another base.
pub fn committed(base: &Value, url: &str, request: &Value) -> Option<Value> {
    let current = base["refs"][MAIN]["snapshot-id"].as_i64();
    let current = current.or(base["current-snapshot-id"].as_i64().filter(|id| *id != -1));
    let is_met = |requirement: &Value| match requirement["type"].as_str() {
        Some("assert-table-uuid") => requirement["uuid"] == base["table-uuid"],
        Some("assert-ref-snapshot-id") => requirement["snapshot-id"].as_i64() == current,
        Some("assert-current-schema-id") => {
            requirement["current-schema-id"] == base["current-schema-id"]
        }
        Some("assert-last-assigned-field-id") => {
            requirement["last-assigned-field-id"] == base["last-column-id"]
        }
        _ => false,
    };
    if !request["requirements"].as_array()?.iter().all(is_met) {
        return None;
    }
    let (mut next, mut added) = (base.clone(), None);
    for update in request["updates"].as_array()? {
        match update["action"].as_str()? {
            "add-snapshot" => add_snapshot(&mut next, &update["snapshot"])?,
            "set-snapshot-ref" => {
                let mut branch = update.as_object()?.clone();
                branch.retain(|name, _| name != "action" && name != "ref-name");
                put_into(&mut next, "refs", json!({}))[MAIN] = branch.into();
            }
            "set-properties" => {
                let properties = put_into(&mut next, "properties", json!({})).as_object_mut()?;
                for (name, value) in update["updates"].as_object()? {
                    properties.insert(name.clone(), value.clone());
                }
            }
            "add-spec" => add_spec(&mut next, &update["spec"])?,
            "add-schema" => added = Some(add_schema(&mut next, update)?),
            "set-current-schema" => {
                let id = update["schema-id"].as_i64().filter(|id| *id != LAST_ADDED).or(added)?;
                next["current-schema-id"] = id.into();
            }
            _ => return None,
        }
    }
    let earlier = json!({"metadata-file": url, "timestamp-ms": base["last-updated-ms"]});
    let log_max = next["properties"][LOG_MAX.0].as_str().and_then(|it| it.parse().ok());
    let log = put_into(&mut next, "metadata-log", json!([])).as_array_mut()?;
    log.push(earlier);
    let excess = log.len().saturating_sub(log_max.unwrap_or(LOG_MAX.1).max(1));
    log.drain(..excess);
    Some(next)
}

/// Returns the versions that the table asks to delete after this commit, from the oldest one on:
/// those that left the log of earlier versions.
pub fn forgotten(base: &Value, next: &Value) -> Vec<u64> {
    let files = forgotten_files(base, next);
    files.iter().filter_map(|url| version_of(url.rsplit('/').next()?)).collect()
}

/// Returns the URLs of these versions.
pub fn forgotten_files(base: &Value, next: &Value) -> Vec<String> {
    fn files(metadata: &Value) -> impl Iterator<Item = &str> {
        let log = metadata["metadata-log"].as_array().into_iter().flatten();
        log.filter_map(|earlier| earlier["metadata-file"].as_str())
    }
    if next["properties"][DELETES].as_str() != Some("true") {
        return Vec::new();
    }
    let kept: BTreeSet<&str> = files(next).collect();
    files(base).filter(|url| !kept.contains(url)).map(str::to_owned).collect()
}

/// Adds the snapshot that becomes the current one; `None` if its sequence number is used.
fn add_snapshot(next: &mut Value, snapshot: &Value) -> Option<()> {
    if snapshot["sequence-number"].as_i64() <= next["last-sequence-number"].as_i64() {
        return None;
    }
    let (id, at) = (&snapshot["snapshot-id"], &snapshot["timestamp-ms"]);
    next["last-sequence-number"] = snapshot["sequence-number"].clone();
    next["last-updated-ms"] = at.clone();
    next["current-snapshot-id"] = id.clone();
    put_into(next, "snapshots", json!([])).as_array_mut()?.push(snapshot.clone());
    let change = json!({"snapshot-id": id, "timestamp-ms": at});
    put_into(next, "snapshot-log", json!([])).as_array_mut()?.push(change);
    Some(())
}

/// Adds a partition spec, unless one with its fields exists.
fn add_spec(next: &mut Value, spec: &Value) -> Option<()> {
    let specs = put_into(next, "partition-specs", json!([])).as_array_mut()?;
    if !specs.iter().any(|other| other["fields"] == spec["fields"]) {
        let last = specs.iter().filter_map(|other| other["spec-id"].as_i64()).max();
        let id = last.unwrap_or(-1) + 1;
        specs.push(json!({"spec-id": id, "fields": spec["fields"]}));
    }
    Some(())
}

/// Adds a schema, unless it exists. Returns its id.
fn add_schema(next: &mut Value, update: &Value) -> Option<i64> {
    let schema = &update["schema"];
    let last = update["last-column-id"].as_i64().max(next["last-column-id"].as_i64());
    next["last-column-id"] = last.into();
    let parts = ["fields", "identifier-field-ids"];
    let schemas = put_into(next, "schemas", json!([])).as_array_mut()?;
    let same = schemas.iter().find(|it| parts.iter().all(|part| it[part] == schema[part]));
    if let Some(same) = same {
        return same["schema-id"].as_i64();
    }
    let last = schemas.iter().filter_map(|other| other["schema-id"].as_i64()).max();
    let id = last.unwrap_or(-1) + 1;
    let mut schema = schema.clone();
    schema["schema-id"] = id.into();
    schemas.push(schema);
    Some(id)
}

/// Returns a member of an object, with this value if it is missing.
fn put_into<'a>(object: &'a mut Value, name: &str, missing: Value) -> &'a mut Value {
    let member = &mut object[name];
    if member.is_null() {
        *member = missing;
    }
    member
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Table;
    use crate::request::{NewSnapshot, create};
    use crate::schema::new_schema;

    fn first() -> Value {
        let schema = new_schema(&[], &["day".to_owned()]);
        let spec = crate::partition::new_spec(&schema, &["day".to_owned()]);
        created(&create("web", "file:///w/logs/web", &schema, &spec), "u", 7)
    }

    fn table(version: &Value) -> Table {
        Table::from_metadata(version.to_string().as_bytes()).unwrap()
    }

    fn request(table: &Table, id: i64) -> Value {
        let properties = [("n".to_owned(), id.to_string())];
        let list = format!("file:///w/{id}.avro");
        let (manifest_list, manifests, at_ms) = (&*list, &[][..], 9);
        table.commit(&NewSnapshot { id, at_ms, manifest_list, manifests, properties: &properties })
    }

    #[test]
    fn version_has_the_snapshot_and_the_properties_of_its_commit() {
        let first = first();
        let empty = table(&first);
        assert_eq!((empty.snapshot.clone(), empty.location.as_str()), (None, "file:///w/logs/web"));
        assert_eq!(
            (&first["last-column-id"], &first["last-partition-id"]),
            (&json!(1), &json!(1000))
        );
        let second = committed(&first, "file:///w/v1", &request(&empty, 5)).unwrap();
        let read = table(&second);
        assert_eq!((read.snapshot.unwrap().id, read.last_sequence_number), (5, 1));
        assert_eq!((read.properties["n"].as_str(), read.last_updated_ms), ("5", 9));
        assert_eq!(second["refs"], json!({"main": {"type": "branch", "snapshot-id": 5}}));
        let log = json!([{"metadata-file": "file:///w/v1", "timestamp-ms": 7}]);
        assert_eq!(second["metadata-log"], log);
        assert_eq!(second["snapshot-log"], json!([{"snapshot-id": 5, "timestamp-ms": 9}]));
    }

    #[test]
    fn commit_requires_the_loaded_table() {
        let first = first();
        let request = request(&table(&first), 5);
        let second = committed(&first, "", &request).unwrap();
        assert_eq!(committed(&second, "", &request), None, "it is committed already");
        let mut other = first.clone();
        other["table-uuid"] = "v".into();
        assert_eq!(committed(&other, "", &request), None, "another table");
        let mut rolled_back = first;
        rolled_back["last-sequence-number"] = 1.into();
        assert_eq!(committed(&rolled_back, "", &request), None, "its sequence number is used");
    }

    #[test]
    fn spec_is_added_once() {
        let first = first();
        let spec = json!({"spec-id": 1, "fields": []});
        let request = table(&first).add_spec(&spec);
        let second = committed(&first, "", &request).unwrap();
        let third = committed(&second, "", &request).unwrap();
        assert_eq!(third["partition-specs"], json!([first["partition-specs"][0], spec]));
        assert_eq!((third["default-spec-id"].as_i64(), table(&third).snapshot), (Some(0), None));
    }

    #[test]
    fn lists_that_grow_are_joined_without_reading_them() {
        let mut version = first();
        for id in 1..4 {
            let request = request(&table(&version), id);
            let next = committed(&version, "u", &request).unwrap();
            // With white space, as other programs write it.
            let text = serde_json::to_vec_pretty(&version).unwrap();
            let (rest, elements) = split(&text).unwrap();
            assert_eq!((&rest["snapshots"], &rest["snapshot-log"]), (&Value::Null, &Value::Null));
            let joined = elements.join(committed(&rest, "u", &request).unwrap());
            assert_eq!(serde_json::from_str::<Value>(&joined).unwrap(), next);
            version = next;
        }
        assert!(split(br#"{"snapshots": 3}"#).is_err());
        let (rest, elements) = split(br#"{"snapshots": null, "n": 1}"#).unwrap();
        let empty = json!({"snapshots": [], "snapshot-log": [], "n": 1});
        assert_eq!(serde_json::from_str::<Value>(&elements.join(rest)).unwrap(), empty);
    }

    #[test]
    fn log_of_earlier_versions_is_limited() {
        let mut version = first();
        version["properties"][LOG_MAX.0] = "3".into();
        for id in 1..9 {
            let request = request(&table(&version), id);
            version = committed(&version, &id.to_string(), &request).unwrap();
        }
        let log = version["metadata-log"].as_array().unwrap();
        assert_eq!((log.len(), &log[2]["metadata-file"]), (3, &json!("8")));
    }

    #[test]
    fn versions_that_leave_the_log_are_deleted_if_the_table_asks_for_it() {
        let mut base = first();
        base["properties"][LOG_MAX.0] = "2".into();
        let log = |versions: std::ops::Range<u64>| -> Value {
            versions.map(|it| json!({"metadata-file": format!("file:///w/{}", name(it))})).collect()
        };
        base["metadata-log"] = log(3..7);
        let url = format!("file:///w/{}", name(7));
        let next = |base: &Value| committed(base, &url, &request(&table(base), 1)).unwrap();
        assert_eq!(forgotten(&base, &next(&base)), [] as [u64; 0]);
        base["properties"][DELETES] = "true".into();
        let last = next(&base);
        assert_eq!(
            (forgotten(&base, &last), &last["metadata-log"][0]),
            (vec![3, 4, 5], &log(6..7)[0])
        );
    }

    #[test]
    fn version_is_in_the_name_of_a_file() {
        assert_eq!(version_of(&name(12)), Some(12));
        assert!(compressed_names(3).iter().all(|name| version_of(name) == Some(3)));
        for none in [HINT, "v1", "vx.metadata.json", "00001-a.metadata.json", "v1.avro"] {
            assert_eq!(version_of(none), None, "{none}");
        }
    }
}
