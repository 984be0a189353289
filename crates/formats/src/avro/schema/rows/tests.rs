//! Every Avro type becomes its type of a row with its exact value, or is rejected by name.

use serde_json::{Value as Json, json};

use super::*;
use crate::avro::datum::{put_bytes, put_long};

/// Returns the types and the JSON of a row with one field.
fn one(kind: &Json, datum: &[u8]) -> Result<(String, String), String> {
    let schema =
        json!({ "type": "record", "name": "R", "fields": [{ "name": "c", "type": kind }] });
    let schema = Schema::parse(&schema)?;
    let rows = schema.rows()?;
    let mut body = Vec::new();
    schema.put_row(&rows, datum, &mut body)?;
    let mut object = Vec::new();
    rows.put_object(&body, &mut object).unwrap();
    let object = String::from_utf8(object).unwrap();
    let value = object.strip_prefix("{\"c\":").and_then(|it| it.strip_suffix('}')).unwrap();
    Ok((rows.columns()[0].kind.to_string(), value.to_owned()))
}

fn long(number: i64) -> Vec<u8> {
    let mut out = Vec::new();
    put_long(&mut out, number);
    out
}

fn of_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, bytes);
    out
}

fn logical(kind: &str, name: &str) -> Json {
    json!({ "type": kind, "logicalType": name })
}

fn fixed(size: usize, name: &str) -> Json {
    json!({ "type": "fixed", "name": "F", "size": size, "logicalType": name })
}

fn decimal(precision: u8, scale: u8) -> Json {
    json!({ "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale })
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table of all types")]
fn each_type_becomes_its_type_of_a_row() {
    let text = "1F0c4c3e-0000-4000-8000-000000000001";
    let uuid = 0x1f0c_4c3e_0000_4000_8000_0000_0000_0001_u128.to_be_bytes();
    let lower = format!("\"{}\"", text.to_lowercase());
    let duration: Vec<u8> = [1_u32, u32::MAX, 3].iter().flat_map(|it| it.to_le_bytes()).collect();
    let big = |digits: &[u8], scale: i64| of_bytes(&[of_bytes(digits), long(scale)].concat());
    let local = |unit: &str| logical("long", &format!("local-timestamp-{unit}"));
    let utc = |unit: &str| logical("long", &format!("timestamp-{unit}"));
    let list = json!({ "type": "array", "items": ["null", "int"] });
    let map = json!({ "type": "map", "values": logical("int", "date") });
    let symbols = json!({ "type": "enum", "name": "E", "symbols": ["A", "B"] });
    let record = json!({ "type": "record", "name": "S", "fields": [
        { "name": "none", "type": "null" },
        { "name": "a", "type": "long" },
    ] });
    let union = json!(["null", "string", { "type": "record", "name": "n.s.U", "fields": [
        { "name": "a", "type": "int" },
    ] }]);
    let union_type = "struct(string text, U struct(a int32))";
    for (kind, datum, expected, value) in [
        (json!("boolean"), vec![1], "bool", "true"),
        (json!("int"), long(-7), "int32", "-7"),
        (json!("long"), long(i64::MIN), "int64", "-9223372036854775808"),
        (json!("float"), 0.1_f32.to_le_bytes().to_vec(), "float32", "0.1"),
        (json!("double"), f64::NAN.to_le_bytes().to_vec(), "float64", "\"NaN\""),
        (json!("string"), of_bytes(b"x"), "text", "\"x\""),
        (json!("bytes"), of_bytes(&[0, 255]), "bytes", "\"AP8=\""),
        (fixed(2, "none"), vec![0, 255], "bytes", "\"AP8=\""),
        (symbols, long(1), "text", "\"B\""),
        (json!(["null", "int"]), long(0), "int32", "null"),
        (json!(["int", "null"]), [long(0), long(5)].concat(), "int32", "5"),
        (json!(["int"]), [long(0), long(5)].concat(), "int32", "5"),
        (
            list,
            [long(2), vec![0, 2, 10], long(1), vec![0, 0]].concat(),
            "list(int32)",
            "[null,5,null]",
        ),
        (
            map,
            [long(1), of_bytes(b"k"), long(-1), long(0)].concat(),
            "map(text, date)",
            "{\"k\":\"1969-12-31\"}",
        ),
        (record, long(3), "struct(a int64)", "{\"a\":3}"),
        (union.clone(), long(0), union_type, "null"),
        (
            union.clone(),
            [long(1), of_bytes(b"x")].concat(),
            union_type,
            "{\"string\":\"x\",\"U\":null}",
        ),
        (union, [long(2), long(9)].concat(), union_type, "{\"string\":null,\"U\":{\"a\":9}}"),
        (logical("int", "date"), long(2_932_897), "date", "\"10000-01-01\""),
        (logical("int", "date"), long(i32::MAX.into()), "date", "\"infinity\""),
        (logical("int", "time-millis"), long(1), "time", "\"00:00:00.001\""),
        (logical("long", "time-micros"), long(86_399_999_999), "time", "\"23:59:59.999999\""),
        (utc("millis"), long(-1), "timestamp_utc", "\"1969-12-31T23:59:59.999Z\""),
        (utc("micros"), long(1), "timestamp_utc", "\"1970-01-01T00:00:00.000001Z\""),
        (utc("nanos"), long(1), "timestamp_utc", "\"1970-01-01T00:00:00.000000001Z\""),
        (utc("nanos"), long(i64::MAX), "timestamp_utc", "\"infinity\""),
        (local("millis"), long(1), "timestamp", "\"1970-01-01T00:00:00.001\""),
        (local("micros"), long(i64::MIN), "timestamp", "\"-infinity\""),
        (local("nanos"), long(-1), "timestamp", "\"1969-12-31T23:59:59.999999999\""),
        (decimal(5, 2), of_bytes(&[0xff, 6]), "decimal(5,2)", "\"-2.50\""),
        (
            decimal(40, 40),
            of_bytes(&[1]),
            "decimal(40,40)",
            "\"0.0000000000000000000000000000000000000001\"",
        ),
        (fixed(16, "uuid"), uuid.to_vec(), "uuid", &lower),
        (logical("string", "uuid"), of_bytes(text.as_bytes()), "uuid", &lower),
        (
            fixed(12, "duration"),
            duration,
            "struct(months uint32, days uint32, millis uint32)",
            "{\"months\":1,\"days\":4294967295,\"millis\":3}",
        ),
        (logical("bytes", "big-decimal"), big(&[0xff], 3), "text", "\"-0.001\""),
        (logical("bytes", "big-decimal"), big(&[12], -2), "text", "\"1200\""),
        (logical("bytes", "big-decimal"), big(&[0], 1), "text", "\"0.0\""),
        (logical("bytes", "big-decimal"), big(&[0], -1), "text", "\"0\""),
        (logical("long", "unknown"), long(1), "int64", "1"),
    ] {
        let found = one(&kind, &datum);
        let expected = (expected.to_owned(), value.to_owned());
        assert_eq!(found, Ok(expected), "{kind}");
    }
}

#[test]
fn types_and_values_that_rows_do_not_have_are_rejected_by_name() {
    let record = |kind: Json| {
        let fields = json!([{ "name": "a", "type": kind }]);
        json!({ "type": "record", "name": "S", "fields": fields })
    };
    let twice = json!([
        { "type": "fixed", "name": "a.F", "size": 1 },
        { "type": "fixed", "name": "b.F", "size": 1 },
    ]);
    let empty = json!({ "type": "record", "name": "N", "fields": [] });
    // Each record has the next one twice: two types become 2^14.
    let doubled = (0..14).fold(json!("int"), |kind, at| {
        let name = format!("D{at}");
        let again = if at == 0 { json!("int") } else { json!(format!("D{}", at - 1)) };
        json!({ "type": "record", "name": name, "fields": [
            { "name": "a", "type": kind },
            { "name": "b", "type": again },
        ] })
    });
    let deep = (0..33).fold(json!("int"), |kind, _| json!({ "type": "array", "items": kind }));
    let missing = json!({ "type": "bytes", "logicalType": "decimal", "scale": 2 });
    let millis = logical("int", "time-millis");
    for (kind, datum, problem) in [
        (record(json!(["null", "R"])), vec![], "`c.a`: a record that contains itself"),
        (twice, vec![], "`c`: a union has two types with the name `F`"),
        (json!(["null"]), vec![], "`c`: the type `null` is not supported"),
        (json!({ "type": "map", "values": "null" }), vec![], "`c.value`: the type `null` is not"),
        (json!(["null", empty, "int"]), vec![], "`c`: a union has several types without data"),
        (doubled, vec![], "more than 4096 types"),
        (deep, vec![], "deep"),
        (missing, vec![], "`c`: a decimal must have a `precision`"),
        (millis.clone(), long(-1), "`c`: -1/1000 s is not a time of day"),
        (record(millis), long(86_400_001), "`c.a`: 86400001/1000 s is not a time of day"),
        (decimal(2, 0), of_bytes(&[100]), "`c`: a decimal with more than 2 digits"),
        (logical("string", "uuid"), of_bytes(b"x"), "`c`: a text that is not a UUID"),
        (logical("bytes", "big-decimal"), of_bytes(&[]), "`c`: a malformed `big-decimal`"),
        (json!("int"), vec![], "ends within a value"),
    ] {
        let found = one(&kind, &datum).unwrap_err();
        assert!(found.contains(problem), "{kind}: {found}");
    }
    let schema = Schema::parse(&json!({ "type": "array", "items": "int" })).unwrap();
    assert!(schema.rows().unwrap_err().contains("not a record"));
}
