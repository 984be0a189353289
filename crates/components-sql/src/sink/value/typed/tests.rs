//! Goal: a typed value becomes the value that its JSON becomes.

use ::rows::{Column, Schema, Type, Value as Typed};
use serde_json::value::RawValue;

use super::*;
use crate::sink::value::EventValue;

const KINDS: [Kind; 13] = [
    Kind::Text,
    Kind::Number,
    Kind::Bytes,
    Kind::Moment,
    Kind::Civil,
    Kind::Date,
    Kind::TimeOfDay,
    Kind::Array,
    Kind::JsonArray,
    Kind::Bits,
    Kind::StrictInt,
    Kind::StrictReal,
    Kind::StrictNumeric,
];

fn by_json(kind: Kind, value: Typed<'_>) -> Result<Value, String> {
    let json = in_utf8(|out| value.put_json(out));
    let raw: &RawValue = serde_json::from_str(&json).unwrap();
    kind.convert(EventValue::Json(raw))
}

#[test]
fn each_value_at_a_limit_of_its_type_becomes_the_value_of_its_json() {
    let mut compared = 0;
    for of in Type::all().iter().filter(|of| **of != Type::Json) {
        for value in Typed::limits(of) {
            for kind in KINDS {
                let found = kind.convert(EventValue::Typed(value));
                assert_eq!(found, by_json(kind, value), "{of} {value:?} for {kind:?}");
                compared += 1;
            }
        }
    }
    assert!(compared > 1_000, "{compared}");
}

#[test]
fn json_keeps_its_text() {
    for text in ["null", "\"null\"", "\"5\"", "5", "{\"a\":[1.10,null]}"] {
        let found = Kind::Text.convert(EventValue::Typed(Typed::Json(text)));
        assert_eq!(found, Ok(Value::Text(text.to_owned())));
    }
    assert_eq!(Kind::Text.convert(EventValue::Typed(Typed::Null)), Ok(Value::Null));
}

fn list(item: &Type, values: &[Typed<'_>], kind: Kind) -> String {
    let kinds = Type::List(Box::new(item.clone()));
    let schema = Schema::new(vec![Column { name: "a".into(), kind: kinds }]).unwrap();
    let mut body = Vec::new();
    let mut row = schema.begin(&mut body);
    let mut items = row.nest().unwrap();
    values.iter().for_each(|value| items.push(*value).unwrap());
    items.finish().unwrap();
    row.finish().unwrap();
    let value = schema.read(&body).unwrap().next().unwrap().unwrap();
    match kind.convert(EventValue::Typed(value)) {
        Ok(Value::Text(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_list_is_an_array_of_postgresql() {
    let texts = ["a", "b\"c\\", "", "NULL"].map(Typed::Text);
    let texts = [&texts[..], &[Typed::Null]].concat();
    assert_eq!(list(&Type::Text, &texts, Kind::Array), r#"{"a","b\"c\\","","NULL",NULL}"#);
    assert_eq!(list(&Type::Int32, &[], Kind::Array), "{}");
    assert_eq!(
        list(&Type::Float64, &[Typed::Float64(f64::NAN), Typed::Float64(-0.0)], Kind::Array),
        r#"{"NaN","-0.0"}"#
    );
    let documents = ["null", "[1]", "\"c\""].map(Typed::Json);
    assert_eq!(list(&Type::Json, &documents, Kind::JsonArray), r#"{"null","[1]","\"c\""}"#);
    assert_eq!(list(&Type::Int32, &[Typed::Int32(7), Typed::Null], Kind::Text), "[7,null]");
}
