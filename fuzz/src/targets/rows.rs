//! Typed rows: the schema in a header, and the row in a body. Avro records that become rows.

use formats::avro::schema::Schema as Avro;
use rows::{Key, Mismatch, RowWriter, Schema, Type, Value};

/// A line with a schema, then rows, each after its length in one byte; or a line with a schema of
/// Avro, then records.
///
/// A row that can be read has one encoding, and its object is JSON.
pub(super) fn rows(input: &[u8]) -> usize {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (header, mut rest) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    if let Ok(schema) = serde_json::from_slice(header)
        .map_err(drop)
        .and_then(|json| Avro::of_file(&json).map_err(drop))
    {
        return records(&schema, rest);
    }
    let Ok(schema) =
        str::from_utf8(header).map_err(drop).and_then(|it| Schema::parse(it).map_err(drop))
    else {
        return 0;
    };
    assert_eq!(Schema::parse(&schema.to_text()).as_ref(), Ok(&schema), "a schema has one meaning");
    let mut found = 0;
    while let Some((length, body)) = rest.split_first() {
        let (body, after) = body.split_at(body.len().min(usize::from(*length)));
        rest = after;
        let Ok(row) = schema.read(body) else { continue };
        let Ok(values) = row.collect::<Result<Vec<Value<'_>>, _>>() else { continue };
        let mut again = Vec::new();
        schema.write(values.iter().copied(), &mut again).expect("its values have its types");
        assert_eq!(again, body, "a row has one encoding");
        again.clear();
        let mut row = schema.begin(&mut again);
        let copied = values.iter().try_for_each(|value| copy(*value, &mut row));
        copied.and_then(|()| row.finish()).expect("its values have its types");
        assert_eq!(again, body, "nested values have one encoding");
        // JSON within a row is checked by its readers.
        if !schema.columns().iter().any(|column| has_json(&column.kind)) {
            let mut object = Vec::new();
            schema.put_object(body, &mut object).expect("it was read");
            serde_json::from_slice::<&serde_json::value::RawValue>(&object).expect("an object");
        }
        found += 1;
    }
    found
}

/// A record that becomes a row can be read, and its row has one encoding.
fn records(avro: &Avro, mut rest: &[u8]) -> usize {
    let Ok(schema) = avro.rows() else { return 0 };
    let mut found = 0;
    while let Some((length, datum)) = rest.split_first() {
        let (datum, after) = datum.split_at(datum.len().min(usize::from(*length)));
        rest = after;
        let mut body = Vec::new();
        if avro.put_row(&schema, datum, &mut body).is_err() {
            continue;
        }
        let row = schema.read(&body).expect("it was written");
        let values = row.collect::<Result<Vec<Value<'_>>, _>>().expect("it was written");
        let mut again = Vec::new();
        schema.write(values, &mut again).expect("its values have its types");
        assert_eq!(again, body, "a row has one encoding");
        found += 1;
    }
    found
}

/// Writes a value again, a nested one by the values in it.
fn copy(value: Value<'_>, row: &mut RowWriter<'_>) -> Result<(), Mismatch> {
    let (Value::List(nested) | Value::Struct(nested) | Value::Map(nested)) = value else {
        return row.push(value);
    };
    let mut inner = row.nest()?;
    for (key, value) in nested.items() {
        if let Key::Value(key) = key {
            inner.push(key)?;
        }
        copy(value, &mut inner)?;
    }
    inner.finish()
}

fn has_json(kind: &Type) -> bool {
    match kind {
        Type::Json => true,
        Type::List(item) => has_json(item),
        Type::Map { value, .. } => has_json(value),
        Type::Struct(fields) => fields.iter().any(|field| has_json(&field.kind)),
        _ => false,
    }
}
