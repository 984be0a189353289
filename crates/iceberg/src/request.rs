//! The requests to a REST catalog.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::manifest::NewManifest;
use crate::metadata::{MAIN, Table};

/// A snapshot to commit.
#[derive(Debug)]
pub struct NewSnapshot<'a> {
    /// Its id: random and positive.
    pub id: i64,
    /// Its time in milliseconds since 1970.
    pub at_ms: i64,
    /// URL of its manifest list.
    pub manifest_list: &'a str,
    /// Its new files; none if it only sets properties.
    pub manifests: &'a [NewManifest],
    /// Properties of the table to set in the same step.
    pub properties: &'a [(String, String)],
}

impl Table {
    /// Returns the sequence number of the next snapshot.
    pub fn next_sequence(&self) -> i64 {
        self.last_sequence_number + 1
    }

    /// Returns the request that adds a snapshot, if the table is still as it was loaded.
    pub fn commit(&self, new: &NewSnapshot<'_>) -> Value {
        let parent = self.snapshot.as_ref().map(|snapshot| snapshot.id);
        let mut snapshot = json!({
            "snapshot-id": new.id,
            "sequence-number": self.next_sequence(),
            "timestamp-ms": new.at_ms.max(self.last_updated_ms),
            "manifest-list": new.manifest_list,
            "summary": self.summary(new.manifests),
            "schema-id": self.schema.id,
        });
        if let Some(parent) = parent {
            snapshot["parent-snapshot-id"] = parent.into();
        }
        let mut branch = self.branch.clone();
        branch.insert("type".to_owned(), "branch".into());
        branch.insert("snapshot-id".to_owned(), new.id.into());
        branch.insert("action".to_owned(), "set-snapshot-ref".into());
        branch.insert("ref-name".to_owned(), MAIN.into());
        let properties: BTreeMap<&str, &str> =
            new.properties.iter().map(|(name, value)| (&**name, &**value)).collect();
        json!({
            "requirements": [
                {"type": "assert-table-uuid", "uuid": self.uuid},
                {"type": "assert-ref-snapshot-id", "ref": MAIN, "snapshot-id": parent},
            ],
            "updates": [
                {"action": "add-snapshot", "snapshot": snapshot},
                branch,
                {"action": "set-properties", "updates": properties},
            ],
        })
    }

    /// Returns the request that adds a partition spec, if the table is the same.
    pub fn add_spec(&self, spec: &Value) -> Value {
        json!({
            "requirements": [{"type": "assert-table-uuid", "uuid": self.uuid}],
            "updates": [{"action": "add-spec", "spec": spec}],
        })
    }

    fn summary(&self, manifests: &[NewManifest]) -> Value {
        let sum = |count: fn(&NewManifest) -> u64| manifests.iter().map(count).sum();
        let added: [u64; 3] = [sum(|it| it.files), sum(|it| it.rows), sum(|it| it.bytes)];
        let mut summary = json!({"operation": "append"});
        let names = [
            ("added-data-files", "total-data-files"),
            ("added-records", "total-records"),
            ("added-files-size", "total-files-size"),
        ];
        for ((added_name, total_name), added) in names.into_iter().zip(added) {
            summary[added_name] = added.to_string().into();
            let before = match &self.snapshot {
                None => Some(0),
                Some(parent) => parent.summary.get(total_name).and_then(|it| it.parse().ok()),
            };
            // A total that the parent lacks stays unknown.
            if let Some(total) = before.and_then(|before: u64| before.checked_add(added)) {
                summary[total_name] = total.to_string().into();
            }
        }
        for name in ["total-delete-files", "total-position-deletes", "total-equality-deletes"] {
            let before = match &self.snapshot {
                None => Some("0"),
                Some(parent) => parent.summary.get(name).map(String::as_str),
            };
            if let Some(before) = before {
                summary[name] = before.into();
            }
        }
        summary
    }
}

/// Returns the request for a new table.
pub fn create(name: &str, location: &str, schema: &Value, spec: &Value) -> Value {
    json!({
        "name": name,
        "location": location,
        "schema": schema,
        "partition-spec": spec,
        "properties": {"format-version": "2"},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOADED: &str = r#"{"metadata": {"format-version": 2, "table-uuid": "u",
        "location": "file:///t/", "last-sequence-number": 4, "last-updated-ms": 100,
        "current-schema-id": 1, "schemas": [{"schema-id": 1, "type": "struct", "fields": []}],
        "default-spec-id": 0, "partition-specs": [{"spec-id": 0, "fields": []}],
        "properties": {"n": "7", "bad": "x"}, "current-snapshot-id": 9,
        "refs": {"main": {"snapshot-id": 9, "type": "branch", "max-ref-age-ms": 5}},
        "snapshots": [{"snapshot-id": 9, "manifest-list": "file:///t/l.avro",
            "summary": {"operation": "append", "total-records": "3"}}]}}"#;

    #[test]
    fn commit_requires_the_loaded_table_and_keeps_the_retention_of_the_branch() {
        let table = Table::from_answer(LOADED.as_bytes()).unwrap();
        assert_eq!(table.location, "file:///t");
        let properties = [("p".to_owned(), "8".to_owned())];
        let new = NewSnapshot {
            id: 10,
            at_ms: 50,
            manifest_list: "file:///t/n.avro",
            manifests: &[],
            properties: &properties,
        };
        let request = table.commit(&new);
        assert_eq!(
            request["requirements"],
            json!([
                {"type": "assert-table-uuid", "uuid": "u"},
                {"type": "assert-ref-snapshot-id", "ref": "main", "snapshot-id": 9},
            ])
        );
        let snapshot = &request["updates"][0]["snapshot"];
        assert_eq!(snapshot["sequence-number"], 5);
        assert_eq!(snapshot["timestamp-ms"], 100, "the clock of this host is behind");
        assert_eq!(snapshot["parent-snapshot-id"], 9);
        assert_eq!(snapshot["summary"]["total-records"], "3");
        assert_eq!(snapshot["summary"].get("total-data-files"), None, "the parent lacks it");
        assert_eq!(
            request["updates"][1],
            json!({"action": "set-snapshot-ref", "ref-name": "main",
            "type": "branch", "snapshot-id": 10, "max-ref-age-ms": 5})
        );
        assert_eq!(request["updates"][2]["updates"], json!({"p": "8"}));
    }

    #[test]
    fn number_of_a_property_is_read_or_explained() {
        let table = Table::from_answer(LOADED.as_bytes()).unwrap();
        assert_eq!((table.number("n"), table.number("none")), (Ok(Some(7)), Ok(None)));
        let error = table.number("bad").unwrap_err().to_string();
        assert!(error.contains("`bad` must be a whole number"), "{error}");
    }

    #[test]
    fn empty_table_has_no_snapshot_and_other_versions_are_rejected() {
        let empty = LOADED.replace("\"current-snapshot-id\": 9", "\"current-snapshot-id\": -1");
        let refs =
            r#""refs": {"main": {"snapshot-id": 9, "type": "branch", "max-ref-age-ms": 5}},"#;
        let empty = empty.replace(refs, "");
        let table = Table::from_answer(empty.as_bytes()).unwrap();
        assert_eq!(table.snapshot, None);
        let third = LOADED.replace("\"format-version\": 2", "\"format-version\": 3");
        let error = Table::from_answer(third.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("format version 3"), "{error}");
    }
}
