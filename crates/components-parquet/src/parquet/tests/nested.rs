//! Goal: nested values of typed rows, JSON and Avro become the same lists, structs and maps of a
//! file, and values that do not fit are reported by their path.
//!
//! Method: files are read by the decoder `parquet_rows`, which was tested with files of parquet-mr.
//! The system tests read them with pyarrow.

use ::rows::{Column, Mismatch, RowWriter, SCHEMA_HEADER, Schema, Type, Value as Typed};
use formats::avro::datum::{put_bytes, put_long};
use pipeline::testkit::file_of;
use pipeline::{Batch, BatchBuilder, PieceLimits};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{encoder, reader};
use crate::rows::tests::objects;

const SCHEMA: &str = "message event {
  OPTIONAL group tags [1] (LIST) {
    REPEATED group list {
      OPTIONAL BYTE_ARRAY element [5] (STRING);
    }
  }
  REQUIRED group user [2] {
    REQUIRED INT64 id [6];
    OPTIONAL group points [7] (LIST) {
      REPEATED group list {
        REQUIRED group element [8] {
          OPTIONAL INT32 x [9] (INTEGER(8,false));
          OPTIONAL INT64 y [10] (INTEGER(64,false));
        }
      }
    }
  }
  OPTIONAL group prices [3] (MAP) {
    REPEATED group key_value {
      REQUIRED BYTE_ARRAY key [11] (STRING);
      OPTIONAL FIXED_LEN_BYTE_ARRAY (32) value [12] (DECIMAL(76,2));
    }
  }
  OPTIONAL INT32 port [9] (INTEGER(16,false));
}";

fn settings() -> Value {
    json!({ "codec": "none", "columns": [
        { "name": "tags", "type": "list<string>" },
        { "name": "user", "type": "struct<id: int64 required, \
            points: list<struct<x: uint8, y: uint64> required>>", "required": true },
        { "name": "prices", "type": "map<string, decimal(76,2)>" },
        { "name": "port", "type": "uint16" },
    ] })
}

#[test]
fn fields_have_logical_types_and_ids() {
    let mut settings = settings();
    settings["columns"][3]["field_id"] = json!(9);
    let file = file_of(&*encoder(&settings), &[]);
    let mut printed = Vec::new();
    let reader = reader(file);
    let schema = ::parquet::file::reader::FileReader::metadata(&reader).file_metadata().schema();
    ::parquet::schema::printer::print_schema(&mut printed, schema);
    // The id 9 is taken, so that ids of inner fields continue after it.
    let expected = SCHEMA.replace("x [9]", "x [10]").replace("y [10]", "y [11]");
    let expected = expected.replace("key [11]", "key [12]").replace("value [12]", "value [13]");
    assert_eq!(String::from_utf8(printed).unwrap().trim_end(), expected);
}

const BODY: &str = concat!(
    r#"{"tags":["a",null,""],"user":{"id":7,"points":[{"x":255,"y":18446744073709551615},"#,
    r#"{"x":null,"y":0}]},"prices":{"k":-9999999999999999999999999999999999999999.50,"n":null},"#,
    r#""port":65535}"#,
);
const EMPTY: &str = r#"{"tags":[],"user":{"id":8,"points":[]},"prices":{},"port":null}"#;
const NULLS: &str = r#"{"tags":null,"user":{"id":9,"points":null},"prices":null,"port":0}"#;

fn list(item: Type) -> Type {
    Type::List(Box::new(item))
}

fn fields<const N: usize>(fields: [(&str, Type); N]) -> Vec<Column> {
    fields.map(|(name, kind)| Column { name: name.to_owned(), kind }).to_vec()
}

/// Columns in another order, and one that the file does not have.
fn schema() -> Schema {
    let point = fields([("y", Type::Uint64), ("unused", Type::Text), ("x", Type::Uint8)]);
    let user = fields([("points", list(Type::Struct(point))), ("id", Type::Int32)]);
    let decimal = Type::Decimal { precision: 60, scale: 1 };
    let prices = Type::Map { key: Box::new(Type::Text), value: Box::new(decimal) };
    Schema::new(fields([
        ("user", Type::Struct(user)),
        ("tags", list(Type::Text)),
        ("port", Type::Uint32),
        ("prices", prices),
    ]))
    .unwrap()
}

/// Writes a value of a type from its JSON.
fn put(row: &mut RowWriter<'_>, kind: &Type, value: &Value) -> Result<(), Mismatch> {
    let number = || value.as_u64().unwrap();
    let value = match (kind, value) {
        (_, Value::Null) => Typed::Null,
        (Type::Text, text) => return row.push(Typed::Text(text.as_str().unwrap())),
        (Type::Int32, _) => Typed::Int32(number() as i32),
        (Type::Uint8, _) => Typed::Uint8(number() as u8),
        (Type::Uint32, _) => Typed::Uint32(number() as u32),
        (Type::Uint64, _) => Typed::Uint64(number()),
        (Type::Decimal { .. }, _) => {
            let digits = format!("{}5", "9".repeat(40));
            let digits = ::rows::Wide::from_digits(true, &digits).unwrap();
            Typed::LargeDecimal(::rows::LargeDecimal { digits, scale: 1 })
        }
        (Type::List(item), _) => {
            let mut nested = row.nest()?;
            value.as_array().unwrap().iter().try_for_each(|it| put(&mut nested, item, it))?;
            return nested.finish();
        }
        (Type::Struct(fields), _) => {
            let mut nested = row.nest()?;
            for Column { name, kind } in fields {
                put(&mut nested, kind, value.get(name).unwrap_or(&Value::Null))?;
            }
            return nested.finish();
        }
        (Type::Map { value: kind, .. }, _) => {
            let mut nested = row.nest()?;
            for (key, value) in value.as_object().unwrap() {
                nested.push(Typed::Text(key))?;
                put(&mut nested, kind, value)?;
            }
            return nested.finish();
        }
        other => unreachable!("{other:?}"),
    };
    row.push(value)
}

fn typed(schema: &Schema, value: &Value) -> Vec<u8> {
    let mut body = Vec::new();
    let mut row = schema.begin(&mut body);
    for Column { name, kind } in schema.columns() {
        put(&mut row, kind, value.get(name).unwrap_or(&Value::Null)).unwrap();
    }
    row.finish().unwrap();
    body
}

fn batch(schema: &Schema, bodies: &[&str]) -> Batch {
    let (header, mut builder) = (schema.to_text(), BatchBuilder::default());
    for body in bodies {
        let value: Value = serde_json::from_str(body).unwrap();
        builder.push(&typed(schema, &value), &[(SCHEMA_HEADER, &header)]);
        builder.push(body.as_bytes(), &[]);
    }
    builder.finish()
}

fn read(file: Vec<u8>) -> Vec<String> {
    let all = PieceLimits { bytes: usize::MAX, events: usize::MAX };
    let found = objects(&file.into(), all).unwrap();
    found.into_iter().map(|(body, problem)| problem.unwrap_or(body)).collect()
}

#[test]
fn typed_rows_and_json_become_the_same_nested_values() {
    let encoder = encoder(&settings());
    let batch = batch(&schema(), &[BODY, EMPTY, NULLS]);
    assert_eq!(encoder.unwritable(&batch), []);
    let found = read(file_of(&*encoder, &[batch]));
    assert_eq!(found, [BODY, BODY, EMPTY, EMPTY, NULLS, NULLS]);
}

#[test]
fn avro_records_become_the_same_nested_values() {
    let schema = json!({ "type": "record", "name": "R", "fields": [
        { "name": "tags", "type": { "type": "array", "items": ["null", "string"] } },
        { "name": "user", "type": { "type": "record", "name": "U", "fields": [
            { "name": "id", "type": "long" },
        ] } },
        { "name": "prices", "type": { "type": "map", "values":
            { "type": "bytes", "logicalType": "decimal", "precision": 50, "scale": 2 } } },
        { "name": "port", "type": "int" },
    ] });
    let mut record = vec![4, 0, 2, 2, b'a', 0, 14, 2];
    put_bytes(&mut record, b"k");
    put_bytes(&mut record, &[&[0x80][..], &[0; 17]].concat());
    record.push(0);
    put_long(&mut record, 65_535);
    let mut settings = settings();
    (settings["format"], settings["schema"]) = (json!("avro"), json!(schema.to_string()));
    let encoder = encoder(&settings);
    let batch = Batch::of([&record[..]]);
    assert_eq!(encoder.unwritable(&batch), []);
    let expected = r#"{"tags":[null,"a"],"user":{"id":7,"points":null},"prices":{"k":"#;
    // 2^143, which has 44 digits.
    let digits = "-111503725992653115707678591363241807529902.08";
    let found = read(file_of(&*encoder, &[batch]));
    assert_eq!(found, [format!("{expected}{digits}}},\"port\":65535}}")]);
}

#[test]
fn values_that_do_not_fit_are_named_by_their_path() {
    let encoder = encoder(&settings());
    let mut builder = BatchBuilder::default();
    let cases = [
        (
            r#"{"user":{"id":1},"tags":"a"}"#,
            "column `tags` (list<string>) does not accept a string",
        ),
        (
            r#"{"user":{"id":1},"tags":["a",7]}"#,
            "column `tags.element` (string) does not accept a number",
        ),
        (
            r#"{"user":{"id":1,"points":[{"x":1},{"x":256}]}}"#,
            "column `user.points.element.x` (uint8) does not accept a number out of range",
        ),
        (
            r#"{"user":{"id":1,"points":[null]}}"#,
            "column `user.points.element` (struct<x: uint8, y: uint64>) is required, but",
        ),
        (r#"{"user":{}}"#, "column `user.id` (int64) is required, but missing or null"),
        ("{}", "is required, but missing or null"),
        (
            r#"{"user":{"id":1},"prices":{"k":0.001}}"#,
            "column `prices.value` (decimal(76,2)) does not accept a number with too many",
        ),
        (
            r#"{"user":{"id":1},"prices":[]}"#,
            "column `prices` (map<string, decimal(76,2)>) does not accept an array",
        ),
        (
            r#"{"user":{"id":1},"port":65536}"#,
            "column `port` (uint16) does not accept a number out of range",
        ),
    ];
    cases.iter().for_each(|(body, _)| builder.push(body.as_bytes(), &[]));
    let found = encoder.unwritable(&builder.finish());
    assert_eq!(found.len(), cases.len());
    for (found, (body, expected)) in found.iter().zip(cases) {
        assert!(found.reason.contains(expected), "{body}: {}", found.reason);
    }
}

/// NULL in a list has one bit in a typed row, but a place in each leaf.
#[test]
fn lists_with_too_many_values_are_rejected() {
    let names = |at: usize| format!("f{at}");
    let kinds = (0..4).map(|at| Column { name: names(at), kind: Type::Bool }).collect();
    let schema = Schema::new(fields([("c", list(Type::Struct(kinds)))])).unwrap();
    let text: Vec<String> = (0..4).map(|at| format!("{}: bool", names(at))).collect();
    let settings = json!({ "columns": [
        { "name": "c", "type": format!("list<struct<{}>>", text.join(", ")) },
    ] });
    let count = (16 << 20) / 4 + 1_u32;
    let mut body = vec![0xc1, 0, count as u8 | 0x80, (count >> 7) as u8 | 0x80];
    body.extend([(count >> 14) as u8 | 0x80, (count >> 21) as u8]);
    body.extend(vec![0xff; count as usize / 8]);
    body.push(1);
    let mut builder = BatchBuilder::default();
    builder.push(&body, &[(SCHEMA_HEADER, &schema.to_text())]);
    let found = encoder(&settings).unwritable(&builder.finish());
    assert_eq!(found.len(), 1);
    assert!(found[0].reason.contains("more than 16,777,216 values"), "{found:?}");
}

/// A type, as a file and as a typed row have it.
fn kind() -> impl Strategy<Value = (String, Type)> {
    let leaf = prop_oneof![
        Just(("int32".to_owned(), Type::Int32)),
        Just(("uint64".to_owned(), Type::Uint64)),
        Just(("string".to_owned(), Type::Text)),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        let fields = proptest::collection::vec(inner.clone(), 1..4).prop_map(|kinds| {
            let names = ["a", "b", "c"];
            let text = names.iter().zip(&kinds).map(|(name, (text, _))| format!("{name}: {text}"));
            let text = text.collect::<Vec<_>>().join(", ");
            let column = |(name, (_, kind)): (&str, _)| Column { name: name.into(), kind };
            let fields = names.into_iter().zip(kinds).map(column).collect();
            (format!("struct<{text}>"), Type::Struct(fields))
        });
        prop_oneof![
            inner.clone().prop_map(|(text, kind)| (format!("list<{text}>"), list(kind))),
            inner.prop_map(|(text, kind)| {
                let (key, value) = (Box::new(Type::Text), Box::new(kind));
                (format!("map<string, {text}>"), Type::Map { key, value })
            }),
            fields,
        ]
    })
}

/// Returns a value of a type; the seed decides which.
fn value(kind: &Type, seed: &mut u64) -> Value {
    let mut next = |below: u64| {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*seed >> 33) % below
    };
    let (count, number) = (next(4), next(1 << 31));
    if next(5) == 0 {
        return Value::Null;
    }
    match kind {
        Type::Int32 | Type::Uint64 => json!(number),
        Type::List(item) => (0..count).map(|_| value(item, seed)).collect(),
        Type::Struct(fields) => {
            let fields = fields.iter().map(|it| (it.name.clone(), value(&it.kind, seed)));
            Value::Object(fields.collect())
        }
        Type::Map { value: kind, .. } => {
            let entries = (0..count).map(|at| (format!("k{at}"), value(kind, seed)));
            Value::Object(entries.collect())
        }
        _ => json!("x".repeat(number as usize % 50)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Also checks that the announced size is an upper bound.
    #[test]
    fn random_nested_values_survive((text, kind) in kind(), seed in any::<u64>()) {
        let settings = json!({ "columns": [{ "name": "c", "type": text }], "codec": "none" });
        let encoder = encoder(&settings);
        let schema = Schema::new(fields([("c", kind)])).unwrap();
        let mut seed = seed;
        let rows: Vec<String> = (0..100)
            .map(|_| json!({ "c": value(&schema.columns()[0].kind, &mut seed) }).to_string())
            .collect();
        let batch = batch(&schema, &rows.iter().map(String::as_str).collect::<Vec<_>>());
        prop_assert_eq!(encoder.unwritable(&batch), []);
        let empty = file_of(&*encoder, &[]).len() as u64;
        let file = file_of(&*encoder, std::slice::from_ref(&batch));
        let bound = encoder.size_bound(&batch);
        prop_assert!(file.len() as u64 <= empty + bound, "{} > {empty} + {bound}", file.len());
        let found = read(file);
        for (at, row) in found.iter().enumerate() {
            let (found, row): (Value, Value) =
                (serde_json::from_str(row).unwrap(), serde_json::from_str(&rows[at / 2]).unwrap());
            prop_assert_eq!(found, row);
        }
        prop_assert_eq!(found.len(), 200);
    }
}
