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
