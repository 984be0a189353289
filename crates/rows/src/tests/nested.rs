//! Lists, structs and maps survive the encoding, and hostile ones are rejected without harm.
//!
//! Method: random types, and a random value of each that is built twice: as bytes, and as a text
//! that shows each value and its place.

use std::fmt::Write as _;

use super::*;

/// Pseudo-random numbers of a seed.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % below
    }
}

fn kind() -> impl Strategy<Value = Type> {
    super::kind().prop_recursive(5, 24, 4, |inner| {
        let fields = vec(inner.clone(), 1..4).prop_map(|kinds| {
            let field = |(at, kind)| Column { name: format!("f\"{at}"), kind };
            Type::Struct(kinds.into_iter().enumerate().map(field).collect())
        });
        let keys = proptest::sample::select(&Type::FLAT[..])
            .prop_filter("keys", |key| !matches!(key, Type::Json));
        prop_oneof![
            inner.clone().prop_map(|item| Type::List(Box::new(item))),
            (keys, inner).prop_map(|(key, value)| {
                Type::Map { key: Box::new(key), value: Box::new(value) }
            }),
            fields,
        ]
    })
}

/// A step of writing, in which a test plants bugs.
type Put = fn(&mut RowWriter<'_>, Value<'_>) -> Result<(), Mismatch>;

fn put(row: &mut RowWriter<'_>, value: Value<'_>) -> Result<(), Mismatch> {
    row.push(value)
}

/// Writes a random value, and the same to `shown`.
fn fill(row: &mut RowWriter<'_>, kind: &Type, random: &mut Random, shown: &mut String, put: Put) {
    if random.next(5) == 0 {
        write!(shown, "{:?};", Value::Null).unwrap();
        return put(row, Value::Null).unwrap();
    }
    let flat = |row: &mut RowWriter<'_>, kind: &Type, random: &mut Random, shown: &mut String| {
        let limits = Value::limits(kind);
        let value = limits[1 + random.next(limits.len() as u64 - 1) as usize];
        write!(shown, "{value:?};").unwrap();
        put(row, value).unwrap();
    };
    if !kind.is_nested() {
        return flat(row, kind, random, shown);
    }
    // More than eight, so that NULL bits have several bytes.
    let count = random.next(20);
    let mut inner = row.nest().unwrap();
    match kind {
        Type::List(item) => (0..count).for_each(|_| {
            shown.push('-');
            fill(&mut inner, item, random, shown, put);
        }),
        Type::Map { key, value } => (0..count.min(3)).for_each(|_| {
            flat(&mut inner, key, random, shown);
            fill(&mut inner, value, random, shown, put);
        }),
        Type::Struct(fields) => {
            for Column { name, kind } in fields {
                write!(shown, "{name}=").unwrap();
                fill(&mut inner, kind, random, shown, put);
            }
        }
        _ => unreachable!("it is nested"),
    }
    inner.finish().unwrap();
    shown.push('.');
}

fn show(value: Value<'_>, shown: &mut String) {
    let (Value::List(nested) | Value::Struct(nested) | Value::Map(nested)) = value else {
        return write!(shown, "{value:?};").unwrap();
    };
    assert_eq!(nested.items().count(), nested.len());
    for (key, value) in nested.items() {
        match key {
            Key::None => shown.push('-'),
            Key::Field(name) => write!(shown, "{name}=").unwrap(),
            Key::Value(key) => write!(shown, "{key:?};").unwrap(),
        }
        show(value, shown);
    }
    shown.push('.');
}

fn check(put: Put) -> Result<(), String> {
    let config = Config { failure_persistence: None, ..Config::default() };
    let property = |(kinds, seed): (Vec<Type>, u64)| {
        let column = |(at, kind)| Column { name: format!("c{at}"), kind };
        let schema = Schema::new(kinds.into_iter().enumerate().map(column).collect()).unwrap();
        let schema = Schema::parse(&schema.to_text()).unwrap();
        let (mut random, mut body) = (Random(seed), Vec::new());
        let (mut written, mut read) = (String::new(), String::new());
        let mut row = schema.begin(&mut body);
        for column in schema.columns() {
            fill(&mut row, &column.kind, &mut random, &mut written, put);
        }
        row.finish().unwrap();
        let values = schema.read(&body).and_then(|row| row.collect::<Result<Vec<_>, _>>());
        let values = values.map_err(|error| TestCaseError::fail(error.to_string()))?;
        values.iter().for_each(|value| show(*value, &mut read));
        prop_assert_eq!(&written, &read);
        let mut again = Vec::new();
        schema.write(values, &mut again).unwrap();
        prop_assert_eq!(&again, &body);
        let mut object = Vec::new();
        schema.put_object(&body, &mut object).unwrap();
        serde_json::from_slice::<serde_json::Value>(&object).unwrap();
        for length in (0..body.len()).take(300) {
            let part = schema.read(&body[..length]);
            let is_whole = part.is_ok_and(|mut row| row.all(|it| it.is_ok()));
            prop_assert!(!is_whole, "{length} of {} bytes are a row", body.len());
        }
        Ok(())
    };
    let inputs = (vec(kind(), 1..4), any::<u64>());
    TestRunner::new(config).run(&inputs, property).map_err(|error| error.to_string())
}

#[test]
fn nested_values_survive() {
    check(put).unwrap();
}

#[test]
fn planted_bugs_in_nested_values_break_the_property() {
    let found = check(|row, value| match value {
        Value::Null => row.push(Value::Null),
        Value::Uint16(it) => row.push(Value::Uint16(it ^ 1)),
        other => row.push(other),
    });
    assert!(found.unwrap_err().contains("Uint16"));
    let found = check(|row, value| match value {
        Value::LargeDecimal(it) => {
            let digits = Wide::from(it.digits.to_i128().unwrap_or(7));
            row.push(Value::LargeDecimal(LargeDecimal { digits, ..it }))
        }
        other => row.push(other),
    });
    assert!(found.unwrap_err().contains("LargeDecimal"));
}

proptest! {
    #[test]
    fn any_bytes_of_nested_types_are_rejected_or_encode_to_themselves(
        kind in kind(),
        mut bytes in vec(prop_oneof![3 => 0..4_u8, 1 => any::<u8>()], 0..80),
    ) {
        if let Some(first) = bytes.first_mut() {
            *first = MAGIC;
        }
        let schema = Schema::new(vec![Column { name: "c".into(), kind }]).unwrap();
        let values = schema.read(&bytes).and_then(|row| row.collect::<Result<Vec<_>, _>>());
        if let Ok(values) = values {
            let mut shown = String::new();
            values.iter().for_each(|value| show(*value, &mut shown));
            let mut again = Vec::new();
            schema.write(values, &mut again).unwrap();
            prop_assert_eq!(again, bytes);
        }
    }
}

fn one(kind: Type) -> Result<Schema, InvalidSchema> {
    Schema::new(vec![Column { name: "c".into(), kind }])
}

fn list(item: Type) -> Type {
    Type::List(Box::new(item))
}

/// The bytes of docs/adr/0120 do not change.
#[test]
fn nested_values_have_stable_bytes() {
    let fields = ["a", "b"].map(|name| Column { name: name.into(), kind: list(Type::Uint8) });
    let schema = one(Type::Struct(fields.to_vec())).unwrap();
    let text = r#"{"version":1,"columns":[{"name":"c","type":{"struct":[
        {"name":"a","type":{"list":"uint8"}},{"name":"b","type":{"list":"uint8"}}]}}]}"#;
    assert_eq!(schema.to_text(), text.replace("\n        ", ""));
    let mut body = Vec::new();
    let mut row = schema.begin(&mut body);
    let mut fields = row.nest().unwrap();
    let mut items = fields.nest().unwrap();
    for item in [Value::Uint8(7), Value::Null, Value::Uint8(9)] {
        items.push(item).unwrap();
    }
    items.finish().unwrap();
    fields.push(Value::Null).unwrap();
    fields.finish().unwrap();
    row.finish().unwrap();
    assert_eq!(body, [MAGIC, 0, 0b10, 3, 0b010, 7, 9]);
    let mut json = Vec::new();
    schema.put_object(&body, &mut json).unwrap();
    assert_eq!(json, br#"{"c":{"a":[7,null,9],"b":null}}"#);
}

#[test]
fn keys_of_maps_become_names_in_json() {
    let map = Type::Map { key: Box::new(Type::Date), value: Box::new(Type::Bool) };
    let schema = one(map).unwrap();
    let mut body = Vec::new();
    let mut row = schema.begin(&mut body);
    let mut pairs = row.nest().unwrap();
    assert_eq!(pairs.push(Value::Null), Err(Mismatch { column: 0 }), "a key is not NULL");
    drop(pairs);
    body.clear();
    let mut row = schema.begin(&mut body);
    let mut pairs = row.nest().unwrap();
    pairs.push(Value::Date(0)).unwrap();
    pairs.push(Value::Bool(true)).unwrap();
    pairs.finish().unwrap();
    row.finish().unwrap();
    let mut json = Vec::new();
    schema.put_object(&body, &mut json).unwrap();
    assert_eq!(json, br#"{"c":{"1970-01-01":true}}"#);
}

#[test]
fn hostile_schemas_are_rejected() {
    let deep = |depth: usize| (0..depth).fold(Type::Bool, |kind, _| list(kind));
    assert!(one(deep(31)).is_ok());
    let text = one(deep(31)).unwrap().to_text();
    assert!(Schema::parse(&text).is_ok(), "the parser of JSON reads the deepest schema");
    let fields = |kind| Type::Struct(vec![Column { name: "a".into(), kind }]);
    let structs = (0..31).fold(Type::Bool, |kind, _| fields(kind));
    assert!(Schema::parse(&one(structs).unwrap().to_text()).is_ok());
    let twice = Column { name: "a".into(), kind: Type::Bool };
    let many = (0..4095).map(|at| Column { name: at.to_string(), kind: list(Type::Bool) });
    let json_keys = Type::Map { key: Box::new(Type::Json), value: Box::new(Type::Bool) };
    for (kind, problem) in [
        (deep(32), "nested more than 32 deep in the column `c`"),
        (Type::Struct(vec![]), "without fields"),
        (Type::Struct(vec![twice.clone(), twice]), "two columns `a` in the column `c`"),
        (Type::Struct(many.collect()), "more than 4096 types"),
        (json_keys, "keys of json"),
    ] {
        let found = one(kind).unwrap_err().to_string();
        assert!(found.contains(problem), "{found}");
    }
    let open = "{\"list\":".repeat(100_000);
    let text = format!("{{\"version\":1,\"columns\":[{{\"name\":\"c\",\"type\":{open}");
    assert!(Schema::parse(&text).unwrap_err().to_string().contains("malformed"));
}

/// NULL has one bit: a count is never larger than eight times the bytes after it.
#[test]
fn counts_beyond_the_body_are_rejected() {
    let schema = one(list(list(Type::Bool))).unwrap();
    let read = |body: &[u8]| schema.read(body).unwrap().collect::<Result<Vec<_>, _>>().is_ok();
    assert!(read(&[MAGIC, 0, 8, 0xff]) && read(&[MAGIC, 0, 0]) && read(&[MAGIC, 0, 1, 0, 0]));
    assert!(!read(&[MAGIC, 0, 9, 0xff]));
    assert!(!read(&[MAGIC, 0, 7, 0xff]), "a bit of a value that does not exist");
    assert!(!read(&[MAGIC, 0, 0xff, 0xff, 0xff, 0xff, 0x7f]));
    assert!(!read(&[MAGIC, 0, 0x81, 0, 0]), "a count has one form");
}
