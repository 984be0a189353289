//! Typed rows with values at the limits of their types.

use rows::{Column, Schema, Type, Value};

use super::Seed;

/// Returns seeds of the target `rows`: one for each type, and one with all of them.
pub(super) fn all() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = Type::ALL.iter().map(|kind| of_type(*kind)).collect();
    let columns = Type::ALL.iter().enumerate();
    let columns = columns.map(|(at, kind)| Column { name: format!("c{at}"), kind: *kind });
    let schema = Schema::new(columns.collect()).unwrap();
    let values = |at: usize| Type::ALL.map(|kind| Value::limits(kind).into_iter().nth(at));
    let rows = (0..3).map(|at| values(at).map(Option::unwrap).to_vec());
    seeds.push(("rows", "all".to_owned(), seed(&schema, rows)));
    seeds
}

fn of_type(kind: Type) -> Seed {
    let name = kind.to_string().replace(['(', ')', ','], "-");
    let schema = Schema::new(vec![Column { name: "c".to_owned(), kind }]).unwrap();
    let rows = Value::limits(kind).into_iter().map(|value| vec![value]);
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
