//! Validation of data and of schemas.

use serde_json::json;

use super::*;

fn parse(schema: &Value) -> Result<Schema, String> {
    Schema::parse(schema)
}

fn check(schema: &Value, datum: &[u8]) -> Result<(), Malformed> {
    parse(schema).unwrap().check(datum)
}

#[test]
fn each_type_takes_its_datum_and_refuses_a_damaged_one() {
    let record = json!({ "type": "record", "name": "R", "namespace": "a.b", "fields": [
        { "name": "kind", "type": { "type": "enum", "name": "K", "symbols": ["A", "B"] } },
        { "name": "again", "type": ["null", "K"] },
        { "name": "next", "type": ["null", "a.b.R"] },
    ] });
    let cases: &[(Value, &[u8], &[u8], Malformed)] = &[
        (json!("null"), &[], &[0], Malformed::Rest),
        (json!("boolean"), &[1], &[2], Malformed::Branch),
        (json!({ "type": "int", "logicalType": "date" }), &[2], &[], Malformed::Short),
        (
            json!("int"),
            &[0xff, 0xff, 0xff, 0xff, 0xf],
            &[0x80, 0x80, 0x80, 0x80, 0x10],
            Malformed::Number,
        ),
        (json!("long"), &[0x80, 0x80, 0x80, 0x80, 0x10], &[0x80], Malformed::Short),
        (json!("float"), &[0; 4], &[0; 5], Malformed::Rest),
        (json!("double"), &[0; 8], &[0; 7], Malformed::Short),
        (json!("bytes"), &[2, 0xff], &[4, 0xff], Malformed::Length),
        (json!("string"), &[2, b'x'], &[2, 0xff], Malformed::Text),
        (json!({ "type": "fixed", "name": "F", "size": 3 }), &[9, 9, 9], &[9, 9], Malformed::Short),
        // A block with its size in front, one without, and the end.
        (
            json!({ "type": "array", "items": "string" }),
            &[1, 4, 2, b'x', 2, 0, 0],
            &[1, 6, 2, b'x', 2, 0, 0],
            Malformed::Length,
        ),
        (
            json!({ "type": "map", "values": "int" }),
            &[2, 2, b'k', 7, 0],
            &[2, 2, 0xff, 7, 0],
            Malformed::Text,
        ),
        (record.clone(), &[2, 2, 0, 2, 0, 0, 0], &[4, 0, 0], Malformed::Branch),
        (record, &[0, 0, 0], &[0, 0, 4], Malformed::Branch),
    ];
    for (schema, good, bad, malformed) in cases {
        assert_eq!(check(schema, good), Ok(()), "{schema}");
        assert_eq!(check(schema, bad), Err(*malformed), "{schema}");
    }
}

#[test]
fn refuses_endless_nesting_and_huge_counts_immediately() {
    let list = json!({ "type": "record", "name": "L", "fields": [
        { "name": "next", "type": ["null", "L"] },
    ] });
    let deep = |links: usize| [vec![2; links], vec![0]].concat();
    assert_eq!(check(&list, &deep(20)), Ok(()));
    assert_eq!(check(&list, &deep(1 << 20)), Err(Malformed::Depth));
    let mut many = Vec::new();
    super::super::datum::put_long(&mut many, i64::MAX);
    let array = json!({ "type": "array", "items": "int" });
    assert_eq!(check(&array, &many), Err(Malformed::Length));
}

#[test]
fn a_schema_that_a_reader_would_refuse_is_refused_with_what_is_wrong() {
    for (schema, says) in [
        (json!(7), "is not an Avro schema"),
        (json!("Unknown"), "the type `Unknown`"),
        (json!({ "items": "int" }), "`type` is missing"),
        (json!({ "type": "array" }), "`items` is missing"),
        (json!({ "type": "array", "items": "null" }), "have no bytes"),
        (json!([]), "no types"),
        (json!(["int", ["null"]]), "contains a union"),
        (json!(["int", "int"]), "twice"),
        (json!({ "type": "fixed", "name": "F", "size": -1 }), "number of bytes"),
        (json!({ "type": "fixed", "name": "1F", "size": 1 }), "not a valid name"),
        (json!({ "type": "enum", "name": "E", "symbols": ["A", "A"] }), "twice"),
        (json!({ "type": "enum", "name": "E", "symbols": "A" }), "not a list"),
        (
            json!({ "type": "record", "name": "R", "fields": [{ "type": "int" }] }),
            "not a valid name",
        ),
        (
            json!({ "type": "record", "name": "R", "fields": [
                { "name": "a", "type": "int" }, { "name": "a", "type": "int" } ] }),
            "twice",
        ),
        (
            json!({ "type": "record", "name": "R", "fields": [
                { "name": "a", "type": { "type": "fixed", "name": "R", "size": 1 } } ] }),
            "`R` is defined twice",
        ),
    ] {
        let problem = parse(&schema).map(drop).unwrap_err();
        assert!(problem.contains(says), "{schema}: {problem}");
    }
}

#[test]
fn the_fingerprint_is_that_of_the_canonical_form() {
    // Test cases from `schema-tests.txt`, which Avro's own libraries share.
    for (schema, fingerprint) in [
        (json!("null"), 7_195_948_357_588_979_594_i64),
        (json!({ "type": "boolean", "doc": "" }), -6_970_731_678_124_411_036),
        (json!("int"), 8_247_732_601_305_521_295),
    ] {
        let parsed = parse(&schema).unwrap();
        assert_eq!(parsed.fingerprint.cast_signed(), fingerprint, "{schema}");
    }
    let one = json!({ "type": "fixed", "name": "F", "namespace": "x.y", "size": 1, "aliases": [] });
    let two = json!({ "size": 1, "name": "x.y.F", "type": "fixed", "doc": "d" });
    let print = |schema: &Value| parse(schema).unwrap().fingerprint();
    assert_eq!(print(&one), print(&two));
    assert_ne!(print(&one), print(&json!({ "type": "fixed", "name": "F", "size": 1 })));
    assert_eq!(print(&one).len(), 16);
}

#[test]
fn values_without_bytes_cost_no_time_and_are_known() {
    // Each level contains the level below it twice: 2^39 values without a byte, if read one by one.
    let mut level = json!({ "type": "record", "name": "R0", "fields": [] });
    for n in 1..40 {
        level = json!({ "type": "record", "name": format!("R{n}"), "fields": [
            { "name": "a", "type": level },
            { "name": "b", "type": format!("R{}", n - 1) },
        ] });
    }
    assert!(parse(&level).unwrap().is_empty());
    assert_eq!(check(&level, &[]), Ok(()));
    let with = json!({ "type": "record", "name": "W", "fields": [
        { "name": "a", "type": level }, { "name": "b", "type": "int" } ] });
    assert!(!parse(&with).unwrap().is_empty());
    assert_eq!(check(&with, &[2]), Ok(()));
    // A record that contains itself has no finite datum.
    let endless = json!({ "type": "record", "name": "E", "fields": [
        { "name": "a", "type": "null" },
        { "name": "e", "type": "E" },
        { "name": "f", "type": "E" },
    ] });
    assert!(!parse(&endless).unwrap().is_empty());
    assert_eq!(check(&endless, &[0; 9]), Err(Malformed::Depth));
}

#[test]
fn the_schema_of_a_file_may_have_any_names_and_the_first_datum_has_an_end() {
    let odd = json!({ "type": "record", "name": "web-log", "fields": [
        { "name": "status code", "type": "int" } ] });
    assert!(parse(&odd).unwrap_err().contains("not a valid name"));
    assert_eq!(Schema::of_file(&odd).unwrap().first(&[0x90, 0x03, 7, 7]), Ok(2));
    let long = json!({ "type": "fixed", "name": "n".repeat(5000), "size": 1 });
    assert!(Schema::of_file(&long).unwrap_err().contains("4096 bytes"));
}
