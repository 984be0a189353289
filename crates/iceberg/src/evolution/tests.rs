use pipeline::{BoundValue, ColumnStatistics};

use super::*;
use crate::versions::{committed, created};

fn column(id: i32, name: &str, kind: &str) -> FileColumn {
    FileColumn { id, name: name.into(), kind: kind.into(), required: false }
}

/// Returns the metadata of a table with these fields.
fn metadata(fields: &Value) -> Value {
    let schema = json!({"type": "struct", "schema-id": 0, "fields": fields});
    let spec = json!({"spec-id": 0, "fields": []});
    created(&crate::request::create("t", "file:///t", &schema, &spec), "u", 1)
}

fn table(metadata: &Value) -> Table {
    Table::from_metadata(metadata.to_string().as_bytes()).unwrap()
}

fn refused(table: &Table, columns: &[FileColumn], from_path: &[String], evolves: bool) -> String {
    table.fit(columns, from_path, evolves).unwrap_err().to_string()
}

fn field(id: i32, name: &str, kind: &str) -> Value {
    json!({"id": id, "name": name, "required": false, "type": kind})
}

#[test]
fn accepts_files_that_the_table_reads_and_explains_others() {
    let table = table(&metadata(&json!([
        field(1, "n", "long"),
        field(2, "price", "decimal(12, 2)"),
        field(3, "day", "string"),
        {"id": 4, "name": "tags", "required": false, "type": {"type": "list"}},
    ])));
    let day = ["day".to_owned()];
    let fine = [column(1, "n", "int"), column(2, "price", "decimal(9,2)")];
    assert!(table.fit(&fine, &day, false).unwrap().is_none());
    for evolves in [false, true] {
        for (wrong, problem) in [
            (column(2, "n", "long"), "set `field_id = 1`"),
            (column(1, "n", "string"), "string in the files and long in the table"),
            (column(2, "price", "decimal(13,3)"), "decimal(13,3) in the files"),
            (column(4, "tags", "string"), "list in the table"),
            (column(3, "day", "string"), "directory of `url`"),
            (column(5, "N", "long"), "only by upper and lower case"),
        ] {
            let error = refused(&table, &[wrong], &day, evolves);
            assert!(error.contains(problem), "{error}");
        }
    }
    let setting = "set `iceberg.evolve_schema = true` to ";
    for (wrong, problem) in [
        (column(5, "m", "long"), format!("has no column `m`; {setting}add it")),
        (column(2, "price", "decimal(13,2)"), format!("in the table; {setting}widen it")),
    ] {
        let error = refused(&table, &[wrong], &day, false);
        assert!(error.contains(&problem), "{error}");
    }
}

#[test]
fn required_columns_are_written_and_never_null() {
    let strict = json!([{"id": 1, "name": "n", "required": true, "type": "int"}]);
    let strict = table(&metadata(&strict));
    let error = refused(&strict, &[column(1, "n", "int")], &[], true);
    assert!(error.contains("set `required = true`"), "{error}");
    let error = refused(&strict, &[], &[], true);
    assert!(error.contains("requires the column `n`"), "{error}");
}

#[test]
fn adds_and_widens_columns_in_one_change_that_a_second_writer_finds() {
    let first = metadata(&json!([
        field(1, "n", "int"),
        field(2, "ratio", "float"),
        field(3, "price", "decimal(9,2)"),
        field(4, "day", "string"),
    ]));
    let columns = [
        column(1, "n", "long"),
        column(2, "ratio", "double"),
        column(3, "price", "decimal(12,2)"),
        FileColumn { required: true, ..column(5, "host", "string") },
    ];
    let loaded = table(&first);
    let one = loaded.fit(&columns, &["day".to_owned()], true).unwrap().unwrap();
    assert_eq!(
        one.columns,
        "widened n to long, widened ratio to double, widened price to decimal(12,2), added host \
         string"
    );
    let second = committed(&first, "", &one.request).unwrap();
    assert_eq!(committed(&second, "", &one.request), None, "the other writer loads again");
    let read = table(&second);
    assert!(read.fit(&columns, &["day".to_owned()], true).unwrap().is_none());
    let kinds: Vec<_> = read.schema.fields.iter().map(|it| (it.id, type_name(&it.kind))).collect();
    let expected = ["long", "double", "decimal(12,2)", "string", "string"];
    assert_eq!(kinds, (1..).zip(expected.map(str::to_owned)).collect::<Vec<_>>());
    assert!(!read.schema.fields[4].required, "earlier rows have NULL");
    assert_eq!((read.schema.id, read.last_column_id), (1, 5));
    assert_eq!(second["schemas"][0], first["schemas"][0], "earlier snapshots have their schema");
    // Files of a collector with the earlier columns still fit.
    assert!(read.fit(&[column(1, "n", "int")], &[], false).unwrap().is_none());
}

#[test]
fn new_column_needs_an_id_that_was_never_used() {
    let table = table(&metadata(&json!([field(1, "n", "int"), field(2, "day", "string")])));
    // By default, the id is the position, which a directory of `url` may have already.
    let error = refused(&table, &[column(1, "n", "int"), column(2, "host", "string")], &[], true);
    assert!(error.contains("set `field_id = 3`"), "{error}");
}

#[test]
fn renamed_column_is_matched_by_its_id_and_a_dropped_one_is_rejected() {
    let mut metadata = metadata(&json!([field(1, "a", "int"), field(2, "b", "int")]));
    let later = json!({"type": "struct", "schema-id": 1, "fields": [field(1, "x", "int")]});
    metadata["schemas"].as_array_mut().unwrap().push(later);
    metadata["current-schema-id"] = 1.into();
    let renamed = table(&metadata);
    assert!(renamed.fit(&[column(1, "a", "int")], &[], true).unwrap().is_none());
    let error = refused(&renamed, &[column(2, "b", "int")], &[], true);
    assert!(error.contains("`b` was dropped"), "{error}");
    // A column that was inserted before others has the id of one of them.
    let error = refused(&renamed, &[column(1, "new", "int")], &[], true);
    assert!(error.contains("has used its field id 1"), "{error}");
    // Another column has the name now.
    let fields = json!([field(1, "x", "int"), field(3, "a", "int")]);
    metadata["schemas"][1]["fields"] = fields;
    let error = refused(&table(&metadata), &[column(1, "a", "int")], &[], true);
    assert!(error.contains("set `field_id = 3`"), "{error}");
}

#[test]
fn file_of_a_later_configuration_waits_for_the_change_of_the_schema() {
    let table = table(&metadata(&json!([
        field(1, "n", "int"),
        field(2, "ratio", "float"),
        field(3, "price", "decimal(3,2)"),
    ])));
    let file = |id, bound: BoundValue| DataFile {
        url: "file:///t/f".into(),
        path: "f".into(),
        rows: 1,
        bytes: 1,
        columns: vec![ColumnStatistics {
            id,
            bytes: 1,
            values: 1,
            nulls: Some(0),
            nans: Some(0),
            bounds: Some((bound.clone(), bound)),
        }],
    };
    for (id, fine, wider) in [
        (1, BoundValue::Int(7), BoundValue::Long(7)),
        (2, BoundValue::Float(0.5), BoundValue::Double(0.5)),
        (3, BoundValue::Decimal(-999), BoundValue::Decimal(-1000)),
    ] {
        table.check_file(&file(id, fine)).unwrap();
        let error = table.check_file(&file(id, wider)).unwrap_err().to_string();
        assert!(error.contains("has a wider type than the table"), "{error}");
    }
    let error = table.check_file(&file(4, BoundValue::Int(1))).unwrap_err().to_string();
    assert!(error.contains("the field id 4, which the table lacks"), "{error}");
}
