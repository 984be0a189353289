//! Typed rows with values at the limits of their types.

use rows::{Column, Schema, Type, Value};

use super::Seed;

/// Returns seeds of the target `rows`: one for each type, and one with all of them.
pub(super) fn all() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = Type::all().into_iter().map(of_type).collect();
    let columns = Type::all().into_iter().enumerate();
    let columns = columns.map(|(at, kind)| Column { name: format!("c{at}"), kind });
    let schema = Schema::new(columns.collect()).unwrap();
    let value = |at: usize, kind: &Type| Value::limits(kind)[at];
    let rows = (0..3).map(|at| Type::all().iter().map(|kind| value(at, kind)).collect());
    seeds.push(("rows", "all".to_owned(), seed(&schema, rows)));
    seeds.push(("rows", "avro".to_owned(), avro()));
    seeds
}

fn of_type(kind: Type) -> Seed {
    let name = kind.to_string().replace(", ", "-").replace(['(', ')', ',', ' '], "-");
    let rows = Value::limits(&kind).into_iter().map(|value| vec![value]);
    let schema = Schema::new(vec![Column { name: "c".to_owned(), kind }]).unwrap();
    ("rows", name.trim_end_matches('-').to_owned(), seed(&schema, rows))
}

fn seed(schema: &Schema, rows: impl Iterator<Item = Vec<Value<'static>>>) -> Vec<u8> {
    let mut seed = schema.to_text().into_bytes();
    seed.push(b'\n');
    for values in rows {
        let mut body = Vec::new();
        schema.write(values, &mut body).unwrap();
        seed.push(u8::try_from(body.len()).unwrap());
        seed.extend_from_slice(&body);
    }
    seed
}

/// Returns a record of Avro with nested and logical types.
fn avro() -> Vec<u8> {
    let schema = concat!(
        r#"{"type":"record","name":"R","fields":["#,
        r#"{"name":"a","type":["null",{"type":"array","items":"int"},{"type":"map","values":"#,
        r#"{"type":"bytes","logicalType":"decimal","precision":40,"scale":2}}]},"#,
        r#"{"name":"t","type":{"type":"int","logicalType":"time-millis"}}]}"#,
    );
    let records: [&[u8]; 4] =
        [&[0, 2], &[2, 4, 2, 4, 0, 2], &[4, 2, 2, b'k', 4, 0xff, 6, 0, 2], &[0, 1]];
    let mut seed = format!("{schema}\n").into_bytes();
    for record in records {
        seed.push(record.len() as u8);
        seed.extend_from_slice(record);
    }
    seed
}
