//! Goal: rows match their bodies in each format, and malformed bodies are reported correctly.
//!
//! Method: like the tests one level up; Avro bodies are written by hand, byte by byte.

use pipeline::{Batch, BatchBuilder};
use serde_json::{Value, json};

use super::{build, context, encoder, file_of, problem, rows};
use crate::parquet::Config;

/// A body, and headers.
type Pieces<'a> = (&'a [u8], &'a [(&'a str, &'a str)]);

fn batch(events: &[Pieces<'_>]) -> Batch {
    let mut builder = BatchBuilder::default();
    events.iter().for_each(|(body, headers)| builder.push(body, headers));
    builder.finish()
}

fn bodies(bodies: &[&[u8]]) -> Batch {
    batch(&bodies.iter().map(|body| (*body, &[][..])).collect::<Vec<_>>())
}

/// Returns the reasons with the indexes of their events.
fn unwritable(settings: &Value, batch: &Batch) -> Vec<(usize, String)> {
    let found = encoder(settings).unwritable(batch);
    found.into_iter().map(|one| (one.index, problem(&one.reason).to_owned())).collect()
}

fn lines() -> Value {
    json!({ "format": "csv", "fields": ["id", "", "note", "a.b"], "delimiter": ";", "columns": [
        { "name": "note", "type": "string" },
        { "name": "id", "type": "int64", "required": true },
        { "name": "again", "type": "string", "from": "id" },
        { "name": "ratio", "type": "double", "from": r"a\.b" },
        { "name": "host", "type": "string", "from": "header:host" },
        { "name": "whole", "type": "string", "from": "body" },
    ] })
}

#[test]
fn values_of_a_line_are_in_the_columns_that_name_them() {
    let batch = batch(&[(b"7;skipped;\"a;\"\"b\"\"\";0.5", &[("host", "web-1")]), (b"-1;;;", &[])]);
    assert_eq!(unwritable(&lines(), &batch), []);
    assert_eq!(
        rows(file_of(&*encoder(&lines()), &[batch])),
        [
            "{note: \"a;\"b\"\", id: 7, again: \"7\", ratio: 0.5, host: \"web-1\", \
             whole: \"7;skipped;\"a;\"\"b\"\"\";0.5\"}",
            "{note: null, id: -1, again: \"-1\", ratio: null, host: null, whole: \"-1;;;\"}",
        ]
    );
    // With a special null text, an empty text is a text.
    let mut settings = lines();
    settings["null"] = json!("\\N");
    let rows = rows(file_of(&*encoder(&settings), &[bodies(&[b"1;;;\\N"])]));
    assert!(rows[0].starts_with("{note: \"\", id: 1, again: \"1\", ratio: null,"), "{rows:?}");
}

#[test]
fn rejects_lines_that_do_not_match_the_fields() {
    let batch = bodies(&[b"1;2;3", b"x;;;", b"1;;;", b";;;", b"1;;;\n2;;;", b"1;;\xff;", b""]);
    let no_line = |problem: &str| format!("the body does not match `fields`: {problem}");
    let differs = "the number of values in the line differs from the number of names in `fields`";
    assert_eq!(
        unwritable(&lines(), &batch),
        [
            (0, no_line(differs)),
            (1, "column `id` (int64) does not accept text that is not a number".to_owned()),
            (3, "column `id` (int64) is required, but missing or null in the event".to_owned()),
            (4, no_line("more than one line")),
            (5, no_line("not UTF-8")),
            (6, no_line("the line is empty")),
        ]
    );
}

const VISIT: &str = r#"{ "type": "record", "name": "Visit", "fields": [
    { "name": "page", "type": "string" },
    { "name": "user", "type": ["null", { "type": "record", "name": "User", "fields": [
        { "name": "id", "type": "int" },
        { "name": "kind", "type": { "type": "enum", "name": "K", "symbols":
            ["a_long_name_of_a_symbol", "B"] } } ] }] },
    { "name": "at", "type": { "type": "long", "logicalType": "timestamp-millis" } },
    { "name": "tags", "type": { "type": "map", "values": "boolean" } } ] }"#;
/// One more field at the start, and one fewer: the columns stay the same.
const OTHER: &str = r#"{ "type": "record", "name": "Visit", "fields": [
    { "name": "new", "type": "bytes" }, { "name": "page", "type": "string" } ] }"#;

const FULL: &[u8] = b"\x02p\x02\x0d\0\x02\x02\x02t\x01\0";
const BARE: &[u8] = b"\0\0\0\0";

fn records(more: &Value) -> Value {
    let mut settings = json!({ "format": "avro", "columns": [
        { "name": "page", "type": "string", "required": true },
        { "name": "user", "type": "int32", "from": "user.id" },
        { "name": "kind", "type": "string", "from": "user.kind" },
        { "name": "at", "type": "timestamp_micros" },
        { "name": "t", "type": "bool", "from": "tags.t" },
        { "name": "whole", "type": "json", "from": "user" },
    ] });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

const FULL_ROW: &str = "{page: \"p\", user: -7, kind: \"a_long_name_of_a_symbol\", at: 1970-01-01 \
                        00:00:00.001000 +00:00, t: true, whole: \
                        \"{\"id\":-7,\"kind\":\"a_long_name_of_a_symbol\"}\"}";
const BARE_ROW: &str = "{page: \"\", user: null, kind: null, at: 1970-01-01 00:00:00.000000 \
                        +00:00, t: null, whole: null}";

#[test]
fn fields_of_a_record_are_in_the_columns_whose_paths_lead_to_them() {
    let plain = records(&json!({ "schema": VISIT }));
    let rows_of = |settings: &Value, batch: Batch| {
        assert_eq!(unwritable(settings, &batch), []);
        rows(file_of(&*encoder(settings), &[batch]))
    };
    assert_eq!(rows_of(&plain, bodies(&[FULL, BARE])), [FULL_ROW, BARE_ROW]);
    let registered = records(&json!({ "schema": VISIT, "registry_id": 258 }));
    let framed = |body: &[u8]| [b"\0\0\0\x01\x02", body].concat();
    let batch = bodies(&[&framed(FULL), &framed(BARE)]);
    assert_eq!(rows_of(&registered, batch), [FULL_ROW, BARE_ROW]);
}

#[test]
fn events_of_several_schemas_are_rows_of_one_file() {
    let settings = records(&json!({ "schemas": { "hdfs:///other.avsc": OTHER } }));
    let literal = [("flume.avro.schema.literal", VISIT)];
    let url = [("flume.avro.schema.url", "hdfs:///other.avsc")];
    let batch = batch(&[
        (FULL, &literal[..]),
        (b"\x02\xff\x02q", &url),
        (BARE, &literal),
        (BARE, &[("flume.avro.schema.url", "hdfs:///nowhere.avsc")]),
        (BARE, &[]),
        (b"\x02", &literal),
    ]);
    let found = unwritable(&settings, &batch);
    let says = ["not in `schemas`", "has no schema", "does not match the schema"];
    assert_eq!(found.len(), 3, "{found:?}");
    for (number, (one, says)) in found.iter().zip(says).enumerate() {
        assert!(one.0 == number + 3 && one.1.contains(says), "{found:?}");
    }
    let rest = batch.iter().take(3).map(|event| event.index()).collect::<Vec<_>>();
    assert_eq!(rest, [0, 1, 2]);
    let mut builder = BatchBuilder::default();
    builder.push(FULL, &literal);
    builder.push(b"\x02\xff\x02q", &url);
    builder.push(BARE, &literal);
    let other = "{page: \"q\", user: null, kind: null, at: null, t: null, whole: null}";
    let rows = rows(file_of(&*encoder(&settings), &[builder.finish()]));
    assert_eq!(rows, [FULL_ROW, other, BARE_ROW]);
}

#[test]
fn a_record_whose_values_are_of_other_types_is_unwritable() {
    let column = |kind: &str, from: &str| {
        json!({ "format": "avro", "schema": VISIT, "columns":
            [{ "name": "c", "type": kind, "from": from }] })
    };
    let found = |settings: &Value| unwritable(settings, &bodies(&[FULL]));
    let of = |reason: &str| vec![(0, reason.to_owned())];
    assert_eq!(found(&column("int64", "page")), of("column `c` (int64) does not accept a string"));
    assert_eq!(
        found(&column("string", "user")),
        of("column `c` (string) does not accept a record")
    );
    assert_eq!(
        found(&column("string", "page.more")),
        of("column `c`: its path needs an object, but the event has a string")
    );
    let number = json!({ "format": "avro", "schema": "\"long\"", "columns":
        [{ "name": "c", "type": "int64" }] });
    let found = unwritable(&number, &bodies(&[b"\x02"]));
    assert_eq!(
        found,
        of("the body is not an Avro record, from which the columns get their values")
    );
}

#[test]
fn rejects_settings_of_other_formats_and_unknown_columns() {
    let columns = json!([{ "name": "a", "type": "string" }]);
    let with = |more: Value| {
        let mut settings = json!({ "columns": columns });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings
    };
    for (settings, setting) in [
        (with(json!({ "fields": ["a"] })), "fields"),
        (with(json!({ "null": "-" })), "null"),
        (with(json!({ "schema": VISIT })), "schema"),
        (with(json!({ "format": "csv" })), "fields"),
        (with(json!({ "format": "csv", "fields": ["a", "b", "a"] })), "fields"),
        (with(json!({ "format": "csv", "fields": ["a"], "delimiter": "\"" })), "delimiter"),
        (with(json!({ "format": "csv", "fields": ["b"] })), "columns.0.from"),
        (with(json!({ "format": "csv", "fields": ["a"], "schema": VISIT })), "schema"),
        (with(json!({ "format": "avro", "schema": "{" })), "schema"),
        (with(json!({ "format": "avro", "schemas": { "u": "{" } })), "schemas.\"u\""),
        (with(json!({ "format": "avro", "registry_id": 1 })), "registry_id"),
        (with(json!({ "format": "avro", "fields": ["a"] })), "fields"),
    ] {
        let error = build::<Config>(&settings, &context()).err().unwrap();
        assert_eq!(error.path, setting, "{settings}");
    }
}
