//! Rows of records, as JSON objects and as typed rows.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use formats::avro::datum::{put_bytes, put_long};
use pipeline::{BatchBuilder, PieceLimits};
use serde_json::json;

use super::*;

/// Creates a container file of these records, in blocks of two.
fn file(schema: &serde_json::Value, records: &[Vec<u8>]) -> Vec<u8> {
    let mut file = b"Obj\x01".to_vec();
    put_long(&mut file, 1);
    put_bytes(&mut file, b"avro.schema");
    put_bytes(&mut file, schema.to_string().as_bytes());
    put_long(&mut file, 0);
    file.extend([9; 16]);
    for block in records.chunks(2) {
        put_long(&mut file, block.len() as i64);
        put_bytes(&mut file, &block.concat());
        file.extend([9; 16]);
    }
    file
}

/// Returns bodies and problems, after skipping `passed` records.
fn read(file: &[u8], passed: u64, limits: PieceLimits) -> Vec<(String, Option<String>)> {
    let cx = BuildContext::alone("in", "/d".as_ref(), env::real());
    let decoder = pipeline::testkit::build::<Config>(&json!({}), &cx).unwrap();
    let (mut bytes, mut decoder) = (file, decoder.begin_file().unwrap());
    decoder.skip_events(&mut bytes, passed).unwrap();
    let mut found = Vec::new();
    loop {
        let mut events = BatchBuilder::default();
        let is_more = decoder.next(&mut bytes, limits, &[("a", "b")], &mut events).unwrap();
        let batch = events.finish();
        assert!(batch.len() <= limits.events);
        for event in batch.iter() {
            assert_eq!(event.header("a"), Some("b"));
            let body = String::from_utf8(event.body().to_vec()).unwrap();
            found.push((body, event.header("problem").map(str::to_owned)));
        }
        if !is_more {
            return found;
        }
    }
}

const ALL: PieceLimits = PieceLimits { bytes: usize::MAX, events: usize::MAX };

#[test]
fn values_have_the_text_that_a_database_takes() {
    let logical = |kind: &str, name: &str| json!({ "type": kind, "logicalType": name });
    let price = json!({ "type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2 });
    let schema = json!({ "type": "record", "name": "R", "fields": [
        { "name": "id", "type": ["null", "long"] },
        { "name": "s\"", "type": ["string", "null"] },
        { "name": "day", "type": logical("int", "date") },
        { "name": "at", "type": logical("long", "timestamp-millis") },
        { "name": "price", "type": price },
        { "name": "raw", "type": "bytes" },
        { "name": "f", "type": "float" },
        { "name": "d", "type": "double" },
        { "name": "list", "type": { "type": "array", "items": "boolean" } },
        { "name": "local", "type": logical("long", "local-timestamp-micros") },
        { "name": "of_day", "type": logical("int", "time-millis") },
        { "name": "u", "type":
            { "type": "fixed", "name": "U", "size": 16, "logicalType": "uuid" } },
    ] });
    let record = |day: i64, of_day: i64, raw: &[u8], d: f64| {
        let mut out = Vec::new();
        put_long(&mut out, 1);
        put_long(&mut out, i64::MIN);
        put_long(&mut out, 0);
        put_bytes(&mut out, "ä\"".as_bytes());
        put_long(&mut out, day);
        put_long(&mut out, -250);
        put_bytes(&mut out, &[0xff, 6]);
        put_bytes(&mut out, raw);
        out.extend(0.1_f32.to_le_bytes());
        out.extend(d.to_le_bytes());
        out.extend([2, 1, 0]);
        // In 1975; as seconds and milliseconds it would be in other years.
        put_long(&mut out, 157_766_400_000_001);
        put_long(&mut out, of_day);
        out.extend(0x1f0c_4c3e_0000_4000_8000_0000_0000_0001_u128.to_be_bytes());
        out
    };
    let records = [
        record(-1, 3_600_000, &[0, 255], 1e300),
        record(2_932_897, -1, b"{", 0.5),
        record(i32::MAX.into(), 86_399_999, b"", f64::NEG_INFINITY),
    ];
    let found = read(&file(&schema, &records), 0, ALL);
    let expected = concat!(
        r#"{"id":-9223372036854775808,"s\"":"ä\"","day":"1969-12-31","#,
        r#""at":"1969-12-31T23:59:59.75Z","price":-2.50,"raw":"AP8=","f":0.1,"d":1"#,
    );
    assert!(found[0].0.starts_with(expected), "{}", found[0].0);
    let end = concat!(
        r#","list":[true],"local":"1975-01-01T00:00:00.000001","of_day":"01:00:00","#,
        r#""u":"1f0c4c3e-0000-4000-8000-000000000001"}"#
    );
    assert!(found[0].0.ends_with(end), "{}", found[0].0);
    assert!(serde_json::from_str::<serde_json::Value>(&found[0].0).is_ok());
    let (body, problem) = &found[1];
    let expected = "`of_day`: -1/1000 s is not a time of day";
    assert_eq!(problem.as_deref(), Some(expected));
    let bytes = BASE64_STANDARD.decode(serde_json::from_str::<String>(body).unwrap());
    assert_eq!(bytes.unwrap(), records[1], "nothing of it is lost");
    assert!(found[2].0.contains(r#""raw":"","f":0.1,"d":"-Infinity""#), "{}", found[2].0);
    assert!(found[2].0.contains(r#""day":"infinity""#), "{}", found[2].0);
    assert!(found[2].0.contains(r#""of_day":"23:59:59.999""#), "{}", found[2].0);
    assert_eq!(found[2].1, None);
}

#[test]
fn pieces_have_the_same_rows_wherever_reading_begins() {
    let schema = json!({ "type": "record", "name": "R", "fields": [
        { "name": "n", "type": "int" },
    ] });
    let records: Vec<Vec<u8>> = (0..7).map(|number| vec![number << 1]).collect();
    let file = file(&schema, &records);
    let all: Vec<_> = (0..7).map(|number| (format!("{{\"n\":{number}}}"), None)).collect();
    for (bytes, events) in [(0, 9), (15, 9), (999, 1), (999, 3), (999, 99)] {
        for passed in 0..=7 {
            let found = read(&file, passed, PieceLimits { bytes, events });
            assert_eq!(found, all[passed as usize..], "{bytes} {events} {passed}");
        }
    }
    assert_eq!(read(b"", 0, ALL), []);
    // Other types have no field names.
    let file = self::file(&json!("int"), &[vec![2]]);
    assert!(read(&file, 0, ALL)[0].1.as_ref().unwrap().contains("not a record"));
}

#[test]
fn records_become_typed_rows() {
    let schema = json!({ "type": "record", "name": "R", "fields": [
        { "name": "n", "type": "int" },
        { "name": "t", "type": { "type": "int", "logicalType": "time-millis" } },
    ] });
    let record = |n: i64, t: i64| {
        let mut out = Vec::new();
        put_long(&mut out, n);
        put_long(&mut out, t);
        out
    };
    let file = file(&schema, &[record(7, 1), record(8, -1), record(9, 0)]);
    let cx = BuildContext::alone("in", "/d".as_ref(), env::real());
    let build = || {
        let settings = json!({ "format": "rows" });
        pipeline::testkit::build::<Config>(&settings, &cx).unwrap().begin_file().unwrap()
    };
    let (mut bytes, mut events) = (&*file, BatchBuilder::default());
    assert!(!build().next(&mut bytes, ALL, &[("a", "b")], &mut events).unwrap());
    let batch = events.finish();
    let found: Vec<String> = batch
        .iter()
        .map(|event| match (event.header("problem"), event.header(SCHEMA_HEADER)) {
            (Some(problem), None) => problem.to_owned(),
            (None, Some(schema)) => {
                let mut object = Vec::new();
                let schema = rows::Schema::parse(schema).unwrap();
                schema.put_object(event.body(), &mut object).unwrap();
                String::from_utf8(object).unwrap()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        r#"{"n":7,"t":"00:00:00.001"}"#,
        "`t`: -1/1000 s is not a time of day",
        r#"{"n":9,"t":"00:00:00"}"#,
    ];
    assert_eq!(found, expected);
    let itself = json!({ "type": "record", "name": "R", "fields": [
        { "name": "n", "type": "int" },
        { "name": "next", "type": ["null", "R"] },
    ] });
    let file = self::file(&itself, &[vec![2, 0]]);
    let error = build().next(&mut &*file, ALL, &[], &mut BatchBuilder::default()).unwrap_err();
    assert!(error.to_string().contains("`next`: a record that contains itself"), "{error}");
}
