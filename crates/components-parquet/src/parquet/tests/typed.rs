//! Goal: typed rows and JSON bodies of one channel become the same rows of a file, and malformed
//! ones are reported.

use ::rows::{Column, Decimal, Moment, SCHEMA_HEADER, Schema, Type, Value as Typed};
use pipeline::{Batch, BatchBuilder};
use serde_json::{Value, json};

use super::{encoder, file_of, rows};

fn settings() -> Value {
    json!({ "codec": "none", "columns": [
        { "name": "id", "type": "int64", "required": true },
        { "name": "price", "type": "decimal", "precision": 12, "scale": 2 },
        { "name": "day", "type": "date" },
        { "name": "at", "type": "timestamp_micros" },
        { "name": "local", "type": "string" },
        { "name": "data", "type": "string" },
        { "name": "j", "type": "json_text" },
        { "name": "city", "type": "string", "from": "j.city" },
        { "name": "host", "type": "string", "from": "header:host" },
    ] })
}

fn schema() -> Schema {
    let columns = [
        ("id", Type::Int64),
        ("unused", Type::Text),
        ("price", Type::Decimal { precision: 12, scale: 2 }),
        ("day", Type::Date),
        ("at", Type::TimestampUtc),
        ("local", Type::Timestamp),
        ("data", Type::Bytes),
        ("j", Type::Json),
    ];
    let column = |(name, kind): (&str, Type)| Column { name: name.to_owned(), kind };
    Schema::new(columns.into_iter().map(column).collect()).unwrap()
}

fn row(values: &[Typed<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    schema().write(values.iter().copied(), &mut body).unwrap();
    body
}

fn values(id: i64) -> [Typed<'static>; 8] {
    let at = Moment { seconds: 1_769_860_800, nanos: 250_000_000 };
    [
        Typed::Int64(id),
        Typed::Text("x"),
        Typed::Decimal(Decimal { digits: -150, scale: 2 }),
        Typed::Date(-735_160),
        Typed::TimestampUtc(at),
        Typed::Timestamp(at),
        Typed::Bytes(&[0, 255]),
        Typed::Json("{\"city\":\"Łódź\"}"),
    ]
}

/// The form in which an earlier version stored the same row.
fn json_body(id: i64) -> String {
    json!({ "id": id, "unused": "x", "price": "-1.50", "day": "0044-03-15 BC",
        "at": "2026-01-31T12:00:00.25Z", "local": "2026-01-31T12:00:00.25", "data": "AP8=",
        "j": { "city": "Łódź" } })
    .to_string()
}

fn batch(events: &[(&[u8], bool)]) -> Batch {
    let header = schema().to_text();
    let mut builder = BatchBuilder::default();
    for (body, is_typed) in events {
        let headers = [("host", "h"), (SCHEMA_HEADER, &*header)];
        builder.push(body, &headers[..1 + usize::from(*is_typed)]);
    }
    builder.finish()
}

#[test]
fn backlog_in_json_and_typed_rows_become_the_same_rows() {
    // Only the older version needed a string with JSON in it; a path leads into an object.
    let mut settings = settings();
    settings["columns"][6]["type"] = json!("json");
    let (typed, old) = (row(&values(1)), json_body(1));
    let batch = batch(&[(old.as_bytes(), false), (&typed, true), (old.as_bytes(), false)]);
    let encoder = encoder(&settings);
    assert_eq!(encoder.unwritable(&batch), []);
    let file = file_of(&*encoder, std::slice::from_ref(&batch));
    let found = rows(file);
    assert_eq!(found.len(), 3);
    assert!(found[1] == found[0] && found[2] == found[0], "{found:#?}");
    assert!(found[0].contains("city: \"Łódź\"") && found[0].contains("host: \"h\""), "{found:?}");
}

#[test]
fn json_null_differs_from_null_in_typed_rows() {
    let mut given = values(1);
    given[7] = Typed::Json("null");
    let mut nulls = [Typed::Null; 8];
    nulls[0] = Typed::Int64(2);
    let (json_null, null) = (row(&given), row(&nulls));
    let batch = batch(&[(&json_null, true), (&null, true)]);
    let found = rows(file_of(&*encoder(&settings()), &[batch]));
    assert!(found[0].contains("j: \"null\"") && found[1].contains("j: null"), "{found:?}");
}

#[test]
fn malformed_rows_are_unwritable_with_a_reason() {
    let good = row(&values(1));
    let missing = row(&[Typed::Null; 8]);
    let mut not_a_number = values(1);
    not_a_number[2] = Typed::Decimal(Decimal { digits: Decimal::NAN, scale: 2 });
    let not_a_number = row(&not_a_number);
    let events: [(&[u8], bool); 6] = [
        (&good, true),
        (&good[..good.len() - 1], true),
        (&good, false),
        (b"{}", true),
        (&missing, true),
        (&not_a_number, true),
    ];
    let batch = batch(&events);
    let found = encoder(&settings()).unwritable(&batch);
    let reasons: Vec<(usize, &str)> = found.iter().map(|it| (it.index, &*it.reason)).collect();
    let expected = ["too few bytes", "not a JSON object", "not a typed row", "`id`", "NaN"];
    assert_eq!(reasons.len(), expected.len(), "{reasons:?}");
    for ((at, (index, reason)), expected) in reasons.into_iter().enumerate().zip(expected) {
        assert_eq!(index, at + 1);
        assert!(reason.contains(expected), "{reason}");
    }
    let mut builder = BatchBuilder::default();
    builder.push(&good, &[(SCHEMA_HEADER, "{\"version\":9,\"columns\":1}")]);
    let found = encoder(&settings()).unwritable(&builder.finish());
    assert!(found[0].reason.contains("version 9"), "{found:?}");
}

/// Texts of times and bytes are longer than their values.
#[test]
fn size_bound_holds_for_typed_rows() {
    let bodies: Vec<Vec<u8>> = (0..2_000).map(|id| row(&values(id))).collect();
    let batch = batch(&bodies.iter().map(|body| (&body[..], true)).collect::<Vec<_>>());
    let encoder = encoder(&settings());
    let empty = file_of(&*encoder, &[]).len() as u64;
    let file = file_of(&*encoder, std::slice::from_ref(&batch)).len() as u64;
    let bound = encoder.size_bound(&batch);
    assert!(file <= empty + bound, "{file} > {empty} + {bound}");
}
