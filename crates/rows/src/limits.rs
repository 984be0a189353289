//! Values at the limits of their types, for tests and for docs/types.md.

use std::sync::LazyLock;

use crate::encode::DIGITS_INT128;
use crate::{
    Column, Decimal, LargeDecimal, Mismatch, Moment, RowWriter, Schema, Type, Value, Wide,
};

/// Nested values by their types: a schema with one column, and its rows.
static NESTED: LazyLock<Vec<(Schema, Vec<Vec<u8>>)>> = LazyLock::new(|| {
    let nested = Type::all().into_iter().filter(Type::is_nested);
    nested.map(|kind| rows_of(kind).expect("the values have their types")).collect()
});

/// Returns rows with a value of an example of a type.
fn rows_of(kind: Type) -> Result<(Schema, Vec<Vec<u8>>), Mismatch> {
    let schema = Schema::new(vec![Column { name: "c".to_owned(), kind }]);
    let schema = schema.expect("one column of a valid type");
    let mut rows = Vec::new();
    for values in 0..3 {
        let mut body = Vec::new();
        let mut row = schema.begin(&mut body);
        fill(&mut row, &schema.columns()[0].kind, values)?;
        row.finish()?;
        rows.push(body);
    }
    Ok((schema, rows))
}

/// Writes a value of an example: with this number of items, or with NULL.
fn fill(row: &mut RowWriter<'_>, kind: &Type, values: usize) -> Result<(), Mismatch> {
    let mut nested = row.nest()?;
    match kind {
        Type::Struct(_) => {
            let number = if values == 0 { Value::Null } else { Value::Int32(values as i32) };
            nested.push(number)?;
            let mut texts = nested.nest()?;
            pairs(&mut texts, values)?;
            texts.finish()?;
        }
        Type::Map { .. } => pairs(&mut nested, values)?,
        _ => [Value::Int32(1), Value::Null]
            .into_iter()
            .take(values)
            .try_for_each(|value| nested.push(value))?,
    }
    nested.finish()
}

fn pairs(map: &mut RowWriter<'_>, values: usize) -> Result<(), Mismatch> {
    let all = [("k", Value::Text("v\"")), ("", Value::Null)];
    all.into_iter().take(values).try_for_each(|(key, value)| {
        map.push(Value::Text(key))?;
        map.push(value)
    })
}

impl Value<'_> {
    /// Returns the largest or smallest values of a type, and values near its limits, for tests.
    /// A nested type must be one of [`Type::all`].
    pub fn limits(kind: &Type) -> Vec<Value<'static>> {
        [Value::Null].into_iter().chain(typed(kind)).collect()
    }
}

fn typed(kind: &Type) -> Vec<Value<'static>> {
    let moments = [
        Moment { seconds: 0, nanos: 0 },
        Moment { seconds: -1, nanos: 999_999_999 },
        // 9999-12-31 and 294276-12-31, the last second of PostgreSQL.
        Moment { seconds: 253_402_300_799, nanos: 999_999_000 },
        Moment { seconds: 9_224_318_015_999, nanos: 999_999_000 },
        // 4713 BC.
        Moment { seconds: -210_866_803_200, nanos: 0 },
        Moment::INFINITY,
        Moment::NEG_INFINITY,
    ];
    match kind {
        Type::Bool => vec![Value::Bool(false), Value::Bool(true)],
        Type::Int32 => [0, -1, i32::MIN, i32::MAX].map(Value::Int32).to_vec(),
        Type::Int64 => [0, -1, i64::MIN, i64::MAX].map(Value::Int64).to_vec(),
        Type::Uint8 => [0, 1, u8::MAX].map(Value::Uint8).to_vec(),
        Type::Uint16 => [0, 1, u16::MAX].map(Value::Uint16).to_vec(),
        Type::Uint32 => [0, 1 << 31, u32::MAX].map(Value::Uint32).to_vec(),
        Type::Uint64 => [0, 1 << 63, u64::MAX].map(Value::Uint64).to_vec(),
        Type::Float32 => {
            let numbers = [0.0, -0.0, 0.1, f32::MIN_POSITIVE, 1e-45, f32::MAX, f32::NAN];
            let infinities = [f32::INFINITY, f32::NEG_INFINITY];
            numbers.into_iter().chain(infinities).map(Value::Float32).collect()
        }
        Type::Float64 => {
            let numbers = [0.0, -0.0, 0.1, f64::MIN_POSITIVE, 5e-324, f64::MAX, f64::NAN];
            let infinities = [f64::INFINITY, f64::NEG_INFINITY];
            numbers.into_iter().chain(infinities).map(Value::Float64).collect()
        }
        Type::Decimal { precision: precision @ ..=DIGITS_INT128, scale } => {
            let most = 10_i128.pow((*precision).into()) - 1;
            let digits = [0, -1, most, -most, Decimal::NAN];
            digits.map(|digits| Value::Decimal(Decimal { digits, scale: *scale })).to_vec()
        }
        Type::Decimal { precision, scale } => {
            let nines = "9".repeat((*precision).into());
            let most = |is_negative| Wide::from_digits(is_negative, &nines);
            let digits = [Some(0.into()), Some((-1).into()), most(false), most(true)];
            let digits = digits.into_iter().flatten().chain([Wide::MIN]);
            let scale = *scale;
            digits.map(|digits| Value::LargeDecimal(LargeDecimal { digits, scale })).collect()
        }
        Type::Date => {
            // 4713 BC, 1970, 9999, 5874897, and the infinities.
            let days = [-2_440_550, 0, 2_932_896, 2_145_042_905, i32::MAX, i32::MIN];
            days.map(Value::Date).to_vec()
        }
        Type::Time => [0, 1, crate::NANOS_OF_DAY].map(Value::Time).to_vec(),
        Type::Timestamp => moments.map(Value::Timestamp).to_vec(),
        Type::TimestampUtc => moments.map(Value::TimestampUtc).to_vec(),
        Type::Uuid => [[0; 16], [0xff; 16]].map(Value::Uuid).to_vec(),
        Type::Text => ["", "null", "\u{1}\"\\\n", "ä€😀"].map(Value::Text).to_vec(),
        Type::Bytes => [&[][..], &[0, 0xff], &[0xc1; 200]].map(Value::Bytes).to_vec(),
        Type::Json => ["null", "\"null\"", "[1.10]", "{}"].map(Value::Json).to_vec(),
        Type::List(_) | Type::Struct(_) | Type::Map { .. } => nested(kind),
    }
}

fn nested(kind: &Type) -> Vec<Value<'static>> {
    let Some((schema, rows)) = NESTED.iter().find(|(schema, _)| schema.columns()[0].kind == *kind)
    else {
        return Vec::new();
    };
    rows.iter().flat_map(|body| schema.read(body)).flatten().flatten().collect()
}
