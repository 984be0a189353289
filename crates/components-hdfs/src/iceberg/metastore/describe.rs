//! Describes a table for programs that read only its entry in the metastore: columns in Hive's
//! types, and parameters. Pure.
//!
//! These are the parameters that Iceberg's `HiveCatalog` writes, so that the entry does not depend
//! on the program that committed last.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::hive::{Column, Keys, Reader, TableSpec};

/// Parameter with the URL of the newest version of the metadata.
pub(super) const LOCATION: &str = "metadata_location";
/// Parameter with the URL of the version before it.
pub(super) const PREVIOUS: &str = "previous_metadata_location";
/// Parameter with the format of the table, and its value.
pub(super) const TABLE_TYPE: (&str, &str) = ("table_type", "ICEBERG");
/// Maximum length of a parameter that describes the table.
const LENGTH_MAX: usize = 32_672;
/// Totals of a snapshot, and the statistics of Hive.
const TOTALS: [(&str, &str); 3] = [
    ("total-data-files", "numFiles"),
    ("total-records", "numRows"),
    ("total-files-size", "totalSize"),
];
/// Statistics of Hive that answer queries, if they are accurate: they are not after a commit.
const ACCURATE: &str = "COLUMN_STATS_ACCURATE";
/// Keeps Hive from listing the files of the table.
const NO_STATISTICS: &str = "DO_NOT_UPDATE_STATS";

type Parameters = BTreeMap<String, String>;

/// Changes the parameters of an entry for the commit of this request, whose result is `next`.
pub(super) fn describe(parameters: &mut Parameters, next: &Value, request: &Value) {
    for update in request["updates"].as_array().into_iter().flatten() {
        match update["action"].as_str() {
            Some("add-snapshot") => describe_snapshot(parameters, &update["snapshot"]),
            Some("set-properties") => set_properties(parameters, &update["updates"]),
            Some("set-current-schema") => describe_schema(parameters, next),
            _ => {}
        }
    }
    parameters.insert(TABLE_TYPE.0.to_owned(), TABLE_TYPE.1.to_owned());
    parameters.insert(NO_STATISTICS.to_owned(), "true".to_owned());
    parameters.remove(ACCURATE);
}

/// Returns whether the columns of an entry change by this request.
pub(super) fn changes_columns(request: &Value) -> bool {
    let mut updates = request["updates"].as_array().into_iter().flatten();
    updates.any(|update| update["action"] == "set-current-schema")
}

/// Returns the entry of a new table with this metadata, which is at this URL.
pub(super) fn new_entry((database, table): (&str, &str), first: &Value, url: &str) -> TableSpec {
    let mut parameters = Parameters::new();
    set_properties(&mut parameters, &first["properties"]);
    describe_schema(&mut parameters, first);
    let spec = &first["partition-specs"][0];
    if spec["fields"].as_array().is_some_and(|fields| !fields.is_empty()) {
        put(&mut parameters, "default-partition-spec", spec.to_string());
    }
    let uuid = first["table-uuid"].as_str().unwrap_or_default();
    for (name, value) in [
        TABLE_TYPE,
        (LOCATION, url),
        ("uuid", uuid),
        ("snapshot-count", "0"),
        (NO_STATISTICS, "true"),
    ] {
        parameters.insert(name.to_owned(), value.to_owned());
    }
    let location = first["location"].as_str().unwrap_or_default();
    TableSpec {
        database: database.to_owned(),
        table: table.to_owned(),
        create: true,
        location: location.to_owned(),
        keys: Keys::fixed(Vec::new()),
        columns: columns(first),
        reader: Reader {
            serde: "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe".to_owned(),
            input: "org.apache.hadoop.mapred.FileInputFormat",
            output: "org.apache.hadoop.mapred.FileOutputFormat",
            serde_properties: Vec::new(),
            table_properties: parameters.into_iter().collect(),
        },
    }
}

/// Returns the columns of a table.
pub(super) fn columns(metadata: &Value) -> Vec<Column> {
    let fields = schema(metadata).and_then(|schema| schema["fields"].as_array());
    let column = |field: &Value| Column {
        name: field["name"].as_str().unwrap_or_default().to_lowercase(),
        kind: hive_type(&field["type"]),
    };
    fields.into_iter().flatten().map(column).collect()
}

fn schema(metadata: &Value) -> Option<&Value> {
    let schemas = metadata["schemas"].as_array()?;
    schemas.iter().find(|schema| schema["schema-id"] == metadata["current-schema-id"])
}

fn describe_snapshot(parameters: &mut Parameters, snapshot: &Value) {
    let summary = &snapshot["summary"];
    for (total, statistic) in TOTALS {
        match summary[total].as_str() {
            Some(value) => drop(parameters.insert(statistic.to_owned(), value.to_owned())),
            None => drop(parameters.remove(statistic)),
        }
    }
    for (name, value) in [
        ("current-snapshot-id", &snapshot["snapshot-id"]),
        ("current-snapshot-timestamp-ms", &snapshot["timestamp-ms"]),
        ("current-snapshot-summary", summary),
    ] {
        put(parameters, name, value.to_string());
    }
    let count = "snapshot-count";
    if let Some(before) = parameters.remove(count).and_then(|it| it.parse::<u64>().ok()) {
        parameters.insert(count.to_owned(), (before + 1).to_string());
    }
}

fn describe_schema(parameters: &mut Parameters, metadata: &Value) {
    let schema = schema(metadata).map(Value::to_string).unwrap_or_default();
    put(parameters, "current-schema", schema);
}

/// Sets a parameter, or removes it if its value is too long for the metastore.
fn put(parameters: &mut Parameters, name: &str, value: String) {
    match value.len() <= LENGTH_MAX {
        true => drop(parameters.insert(name.to_owned(), value)),
        false => drop(parameters.remove(name)),
    }
}

fn set_properties(parameters: &mut Parameters, properties: &Value) {
    for (name, value) in properties.as_object().into_iter().flatten() {
        // Hive has its own name for it.
        let name = if name == "gc.enabled" { "external.table.purge" } else { name };
        put(parameters, name, value.as_str().unwrap_or_default().to_owned());
    }
}

/// Returns Hive's type for a type of a table.
fn hive_type(kind: &Value) -> String {
    let Some(name) = kind.as_str() else { return nested(kind) };
    let name = name.replace(' ', "");
    match &*name {
        "long" => "bigint",
        // Hive 2 has no times with a time zone.
        "timestamptz" => "timestamp",
        "time" | "uuid" => "string",
        fixed if fixed.starts_with("fixed[") => "binary",
        same => same,
    }
    .to_owned()
}

fn nested(kind: &Value) -> String {
    match kind["type"].as_str() {
        Some("list") => format!("array<{}>", hive_type(&kind["element"])),
        Some("map") => format!("map<{},{}>", hive_type(&kind["key"]), hive_type(&kind["value"])),
        _ => {
            let field = |field: &Value| {
                let name = field["name"].as_str().unwrap_or_default();
                format!("{name}:{}", hive_type(&field["type"]))
            };
            let fields: Vec<String> =
                kind["fields"].as_array().into_iter().flatten().map(field).collect();
            format!("struct<{}>", fields.join(","))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata() -> Value {
        let types = [
            ("a", json!("long"), "bigint"),
            ("b", json!("decimal(9, 2)"), "decimal(9,2)"),
            ("c", json!("timestamptz"), "timestamp"),
            ("d", json!("fixed[16]"), "binary"),
            ("e", json!("uuid"), "string"),
            ("f", json!({"type": "list", "element": "int"}), "array<int>"),
            ("g", json!({"type": "map", "key": "string", "value": "long"}), "map<string,bigint>"),
            (
                "H",
                json!({"type": "struct", "fields": [{"name": "x", "type": "date"}]}),
                "struct<x:date>",
            ),
        ];
        let fields: Vec<Value> =
            types.iter().map(|(name, kind, _)| json!({"name": name, "type": kind})).collect();
        json!({"current-schema-id": 1, "schemas": [{"schema-id": 0, "fields": []},
            {"schema-id": 1, "fields": fields}],
            "hive": types.map(|(_, _, kind)| kind)})
    }

    #[test]
    fn columns_have_the_types_of_hive_and_names_in_lower_case() {
        let metadata = metadata();
        let columns = columns(&metadata);
        let kinds: Vec<&str> = columns.iter().map(|column| &*column.kind).collect();
        assert_eq!(json!(kinds), metadata["hive"]);
        assert_eq!(columns[7].name, "h");
    }

    #[test]
    fn parameters_describe_the_commit_and_keep_the_others() {
        let request = json!({"updates": [
            {"action": "add-snapshot", "snapshot": {"snapshot-id": 5, "timestamp-ms": 9,
                "summary": {"total-records": "3", "total-data-files": "1"}}},
            {"action": "set-properties", "updates": {"n": "8", "gc.enabled": "false"}},
            {"action": "set-current-schema", "schema-id": -1},
        ]});
        let before = [
            ("EXTERNAL", "TRUE"),
            ("snapshot-count", "4"),
            ("totalSize", "7"),
            ("COLUMN_STATS_ACCURATE", "{}"),
            ("numRows", "2"),
        ];
        let pairs = before.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut parameters = Parameters::from(pairs);
        describe(&mut parameters, &metadata(), &request);
        let of = |name: &str| parameters.get(name).map(String::as_str);
        for (name, value) in [
            ("EXTERNAL", Some("TRUE")),
            ("snapshot-count", Some("5")),
            ("numRows", Some("3")),
            ("numFiles", Some("1")),
            ("totalSize", None),
            ("COLUMN_STATS_ACCURATE", None),
            ("n", Some("8")),
            ("external.table.purge", Some("false")),
            ("current-snapshot-id", Some("5")),
            ("current-snapshot-timestamp-ms", Some("9")),
            ("table_type", Some("ICEBERG")),
        ] {
            assert_eq!(of(name), value, "{name}");
        }
        assert!(of("current-schema").unwrap().contains("\"schema-id\":1"));
        let mut long = Parameters::from([("p".to_owned(), "before".to_owned())]);
        put(&mut long, "p", "x".repeat(LENGTH_MAX + 1));
        assert_eq!(long, Parameters::new(), "the metastore would reject it");
    }

    #[test]
    fn a_new_entry_is_an_external_table_without_partition_columns() {
        let mut first = metadata();
        first["location"] = "hdfs://nn/t".into();
        first["table-uuid"] = "u".into();
        first["properties"] = json!({"p": "1"});
        first["partition-specs"] = json!([{"spec-id": 0, "fields": [{"name": "day"}]}]);
        let spec = new_entry(("db", "t"), &first, "hdfs://nn/t/metadata/0");
        assert_eq!((spec.name().as_str(), spec.location.as_str()), ("db.t", "hdfs://nn/t"));
        assert_eq!((spec.keys.names().len(), spec.columns.len()), (0, 8));
        let parameters: Parameters = spec.reader.table_properties.into_iter().collect();
        assert_eq!(parameters[LOCATION], "hdfs://nn/t/metadata/0");
        assert_eq!((&*parameters["uuid"], &*parameters["p"]), ("u", "1"));
        assert!(parameters["default-partition-spec"].contains("day"));
    }
}
