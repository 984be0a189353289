use pipeline::{BoundValue, ColumnStatistics};

use super::*;

fn partitioning(kind: &str, transform: &str, from_path: &[&str]) -> Result<Partitioning, String> {
    let schema = json!({"schema-id": 0, "fields": [
        {"id": 1, "name": "line", "required": false, "type": "string"},
        {"id": 2, "name": "day", "required": false, "type": kind},
    ]});
    let spec = json!({"spec-id": 4, "fields": [
        {"source-id": 2, "field-id": 1000, "name": "day", "transform": transform}]});
    let spec = Spec::deserialize(spec).unwrap();
    let columns = match from_path {
        [] => vec![FileColumn { id: 2, name: "day".into(), kind: kind.into(), required: false }],
        _ => Vec::new(),
    };
    let from_path: Vec<String> = from_path.iter().map(|&name| name.to_owned()).collect();
    Partitioning::new(&spec, &Schema::read(schema).unwrap(), &columns, &from_path)
        .map_err(|error| error.to_string())
}

fn file(path: &str, columns: Vec<ColumnStatistics>) -> DataFile {
    DataFile { url: String::new(), path: path.to_owned(), rows: 2, bytes: 1, columns }
}

#[test]
fn value_of_a_file_is_the_value_of_its_directory() {
    let value = |kind: &str, path: &str| {
        let partitioning = partitioning(kind, "identity", &["day"]).unwrap();
        partitioning.values(&file(path, Vec::new())).unwrap().remove(0)
    };
    let text = |text: &str| Some(PartitionValue::Text(text.into()));
    assert_eq!(value("string", "day=2026-11-30/f.parquet"), text("2026-11-30"));
    assert_eq!(value("string", "late/day=a%2Fb/x=1/f"), text("a/b"));
    assert_eq!(value("string", "_overflow/f"), None);
    assert_eq!(value("string", "day=7"), None, "a file is no directory");
    assert_eq!(value("date", "day=1970-03-01/f"), Some(PartitionValue::Int(59)));
    assert_eq!(value("date", "day=1969-12-31/f"), Some(PartitionValue::Int(-1)));
    assert_eq!(value("int", "day=7/f"), Some(PartitionValue::Int(7)));
    assert_eq!(value("long", "day=_/f"), None);
}

#[test]
fn rejects_partitions_without_a_known_value() {
    for (kind, transform, from_path, problem) in [
        ("string", "identity", &["x"][..], "add the directory `day=…` to `url`"),
        ("timestamptz", "day", &["day"], "day(`day`), but the files do not contain"),
        ("string", "hour", &["day"], "hour(`day`) of type string, which is not supported"),
        ("double", "identity", &["day"], "of type double, which is not supported"),
        ("string", "void", &["day"], "is not partitioned by it"),
        ("string", "identity", &["day", "line"], "not partitioned by it"),
    ] {
        let error = partitioning(kind, transform, from_path).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn files_that_prove_no_value_belong_to_another_spec() {
    let schema = json!({"schema-id": 0, "fields": [
        {"id": 1, "name": "n", "required": false, "type": "long"},
        {"id": 2, "name": "host", "required": false, "type": "string"},
    ]});
    let host = json!({"source-id": 2, "field-id": 1001, "name": "host",
        "transform": "identity"});
    let tens = json!({"source-id": 1, "field-id": 1000, "name": "tens",
        "transform": "truncate[10]"});
    let mut metadata = json!({"format-version": 2, "table-uuid": "u", "location": "file:///t",
        "last-updated-ms": 1, "current-schema-id": 0, "schemas": [schema],
        "default-spec-id": 3,
        "partition-specs": [{"spec-id": 3, "fields": [tens, host]}]});
    let column = |low: i64, high: i64| ColumnStatistics {
        id: 1,
        bytes: 1,
        values: 2,
        nulls: Some(0),
        nans: None,
        bounds: Some((BoundValue::Long(low), BoundValue::Long(high))),
    };
    let files = [(11, 19), (11, 20)].map(|it| file("host=a/f", vec![column(it.0, it.1)]));
    let kind = "long".to_owned();
    let columns = [FileColumn { id: 1, name: "n".to_owned(), kind, required: false }];
    let place = |metadata: &Value, files: &[DataFile]| {
        let table = Table::from_metadata(metadata.to_string().as_bytes()).unwrap();
        let from_path = ["host".to_owned()];
        let own = Partitioning::new(&table.spec, &table.schema, &columns, &from_path);
        own.unwrap().place(&table, files.to_vec())
    };
    let text = || Some(PartitionValue::Text("a".into()));
    let Placed::Files(placed) = place(&metadata, &files[..1]) else { panic!("no spec is needed") };
    let [(own, proved)] = &placed[..] else { panic!("{placed:?}") };
    assert_eq!((own.spec.id, &proved[..]), (3, &files[..1]));
    assert_eq!(own.values(&files[0]), Some(vec![Some(PartitionValue::Long(10)), text()]));

    let Placed::NeedsSpec(spec) = place(&metadata, &files) else { panic!("it needs a spec") };
    assert_eq!(spec, json!({"spec-id": 4, "fields": [host]}));
    metadata["partition-specs"].as_array_mut().unwrap().push(spec);
    let Placed::Files(placed) = place(&metadata, &files) else { panic!("it exists") };
    let [(own, proved), (other, others)] = &placed[..] else { panic!("{placed:?}") };
    assert_eq!((own.spec.id, &proved[..], other.spec.id), (3, &files[..1], 4));
    assert_eq!((&others[..], other.values(&files[1])), (&files[1..], Some(vec![text()])));
}

#[test]
fn new_table_is_partitioned_by_its_directories() {
    let from_path = ["day".to_owned(), "host".to_owned()];
    let json = crate::schema::new_schema(&[], &from_path);
    let spec = Spec::deserialize(new_spec(&json, &from_path)).unwrap();
    let schema = Schema::read(json).unwrap();
    let keys = Partitioning::new(&spec, &schema, &[], &from_path).unwrap();
    let texts = ["1", "b"].map(|text| Some(PartitionValue::Text(text.into())));
    let values = keys.values(&file("day=1/host=b/f", Vec::new())).unwrap();
    assert_eq!(values, texts);
}
