//! Every value of every type survives the encoding, and no bytes break the decoder.
//!
//! Method: rows of all types with values at their limits and random ones. The property is a
//! function of the encoder, so that a test can plant a bug in it and see that the property fails.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

mod nested;

/// Values that own their text.
#[derive(Debug, Clone)]
struct Cell {
    kind: Type,
    at: usize,
    bits: u64,
    text: String,
}

impl Cell {
    /// Returns a limit of the type, or a value made of the random bits.
    fn value(&self) -> Value<'_> {
        let limits = Value::limits(&self.kind);
        if let Some(limit) = limits.get(self.at) {
            return *limit;
        }
        let (signed, nanos) = (self.bits as i64, self.bits as u32 % NANOS);
        match self.kind {
            Type::Bool => Value::Bool(self.bits & 1 == 0),
            Type::Int32 => Value::Int32(signed as i32),
            Type::Int64 => Value::Int64(signed),
            Type::Float32 => Value::Float32(f32::from_bits(self.bits as u32)),
            Type::Float64 => Value::Float64(f64::from_bits(self.bits)),
            Type::Uint8 => Value::Uint8(signed as u8),
            Type::Uint16 => Value::Uint16(signed as u16),
            Type::Uint32 => Value::Uint32(signed as u32),
            Type::Uint64 => Value::Uint64(self.bits),
            Type::Decimal { precision: precision @ ..=38, scale } => {
                let digits = i128::from(signed) % 10_i128.pow(precision.into());
                Value::Decimal(Decimal { digits, scale })
            }
            Type::Decimal { precision, scale } => {
                let digits = Wide::from(i128::from(signed)).scaled_up(precision - 19).unwrap();
                Value::LargeDecimal(LargeDecimal { digits, scale })
            }
            Type::Date => Value::Date(signed as i32),
            Type::Time => Value::Time(signed.rem_euclid(NANOS_OF_DAY)),
            Type::Timestamp => Value::Timestamp(Moment { seconds: signed / 2, nanos }),
            Type::TimestampUtc => Value::TimestampUtc(Moment { seconds: signed / 2, nanos }),
            Type::Uuid => Value::Uuid((u128::from(self.bits) << 40).to_be_bytes()),
            Type::Text => Value::Text(&self.text),
            Type::Bytes => Value::Bytes(self.text.as_bytes()),
            Type::Json => Value::Json("{\"a\":1}"),
            Type::List(_) | Type::Struct(_) | Type::Map { .. } => limits[1],
        }
    }
}

fn kind() -> impl Strategy<Value = Type> {
    let digits = (1..=76_u8).prop_flat_map(|precision| (Just(precision), 0..=precision));
    let decimal = digits.prop_map(|(precision, scale)| Type::Decimal { precision, scale });
    prop_oneof![4 => proptest::sample::select(Type::all()), 1 => decimal]
}

fn cells() -> impl Strategy<Value = Vec<Cell>> {
    let cell = (kind(), 0..16_usize, any::<u64>(), ".{0,20}")
        .prop_map(|(kind, at, bits, text)| Cell { kind, at, bits, text });
    vec(cell, 1..20)
}

fn schema(cells: &[Cell]) -> Schema {
    let column =
        |(at, cell): (usize, &Cell)| Column { name: format!("c{at}"), kind: cell.kind.clone() };
    Schema::new(cells.iter().enumerate().map(column).collect()).unwrap()
}

/// NaN is equal to itself.
fn same(left: &Value<'_>, right: &Value<'_>) -> bool {
    match (left, right) {
        (Value::Float32(left), Value::Float32(right)) => left.to_bits() == right.to_bits(),
        (Value::Float64(left), Value::Float64(right)) => left.to_bits() == right.to_bits(),
        (left, right) => left == right,
    }
}

type Write = fn(&Schema, &[Value<'_>], &mut Vec<u8>);

fn write(schema: &Schema, values: &[Value<'_>], out: &mut Vec<u8>) {
    schema.write(values.iter().copied(), out).unwrap();
}

/// Checks that random rows survive this encoder.
fn check(write: Write) -> Result<(), String> {
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let property = |cells: Vec<Cell>| {
        let schema = schema(&cells);
        let values: Vec<Value<'_>> = cells.iter().map(Cell::value).collect();
        let mut body = Vec::new();
        write(&schema, &values, &mut body);
        let schema = Schema::parse(&schema.to_text()).unwrap();
        let read: Result<Vec<Value<'_>>, _> =
            schema.read(&body).and_then(|row| row.collect::<Result<_, _>>());
        let read = read.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(read.len(), values.len());
        for (read, written) in read.iter().zip(&values) {
            prop_assert!(same(read, written), "{:?} became {:?}", written, read);
        }
        // No prefix is a row.
        for length in (0..body.len()).take(300) {
            let part = schema.read(&body[..length]);
            let is_whole = part.is_ok_and(|mut row| row.all(|it| it.is_ok()));
            prop_assert!(!is_whole, "{length} of {} bytes are a row", body.len());
        }
        Ok(())
    };
    runner.run(&cells(), property).map_err(|error| error.to_string())
}

#[test]
fn values_of_all_types_survive() {
    check(write).unwrap();
}

#[test]
fn planted_bugs_break_the_property() {
    let found = check(|schema, values, out| {
        let short = values.iter().map(|value| match *value {
            Value::Int64(it) => Value::Int64((it as i32).into()),
            other => other,
        });
        schema.write(short, out).unwrap();
    });
    assert!(found.unwrap_err().contains("became Int64"));
    let found = check(|schema, values, out| {
        let rounded = values.iter().map(|value| match *value {
            Value::Timestamp(it) => Value::Timestamp(Moment { nanos: it.nanos / 1000, ..it }),
            other => other,
        });
        schema.write(rounded, out).unwrap();
    });
    assert!(found.unwrap_err().contains("became Timestamp"));
}

proptest! {
    #[test]
    fn any_bytes_are_rejected_or_encode_to_themselves(
        cells in cells(),
        mut bytes in vec(any::<u8>(), 0..80),
    ) {
        if let Some(first) = bytes.first_mut() {
            *first = MAGIC;
        }
        let schema = schema(&cells);
        let values = schema.read(&bytes).and_then(|row| row.collect::<Result<Vec<_>, _>>());
        if let Ok(values) = values {
            let mut again = Vec::new();
            // NULL bits and lengths have one form, so there is one encoding.
            schema.write(values, &mut again).unwrap();
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn each_value_is_valid_json(cells in cells()) {
        let schema = schema(&cells);
        let mut body = Vec::new();
        schema.write(cells.iter().map(Cell::value), &mut body).unwrap();
        let mut json = Vec::new();
        schema.put_object(&body, &mut json).unwrap();
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&json).unwrap();
        prop_assert_eq!(object.len(), cells.len());
    }
}

#[test]
fn values_have_the_text_of_their_database() {
    const LARGE: &str =
        "-999999.9999999999999999999999999999999999999999999999999999999999999999999999";
    let large = |digits: &str, scale| {
        let digits = Wide::from_digits(true, digits).unwrap();
        Value::LargeDecimal(LargeDecimal { digits, scale })
    };
    let decimal = |digits, scale| Value::Decimal(Decimal { digits, scale });
    let at = |seconds, nanos| Moment { seconds, nanos };
    for (value, expected) in [
        (Value::Bool(true), "true"),
        (Value::Int64(i64::MIN), "-9223372036854775808"),
        (Value::Int32(0), "0"),
        (Value::Float32(0.1), "0.1"),
        (Value::Float64(-0.0), "-0.0"),
        (Value::Float64(f64::NEG_INFINITY), "-Infinity"),
        (Value::Float32(f32::NAN), "NaN"),
        (decimal(0, 2), "0.00"),
        (decimal(-5, 3), "-0.005"),
        (decimal(12_345, 2), "123.45"),
        (decimal(7, 0), "7"),
        (decimal(10_i128.pow(38) - 1, 38), "0.99999999999999999999999999999999999999"),
        (decimal(Decimal::NAN, 2), "NaN"),
        (large(&"9".repeat(76), 70), LARGE),
        (large("5", 2), "-0.05"),
        (Value::LargeDecimal(LargeDecimal { digits: Wide::MIN, scale: 2 }), "NaN"),
        (Value::Uint64(u64::MAX), "18446744073709551615"),
        (Value::Date(-735_160), "0044-03-15 BC"),
        (Value::Date(2_145_042_905), "5874897-12-31"),
        (Value::Date(i32::MIN), "-infinity"),
        (Value::Time(NANOS_OF_DAY), "24:00:00"),
        (Value::Time(3_600_500_000_000), "01:00:00.5"),
        (Value::Timestamp(at(1_769_860_800, 250_000_000)), "2026-01-31T12:00:00.25"),
        (Value::Timestamp(Moment::INFINITY), "infinity"),
        (Value::TimestampUtc(at(-210_863_520_000, 0)), "4713-01-01T00:00:00Z BC"),
        (Value::TimestampUtc(at(9_224_318_015_999, 999_999_000)), "294276-12-31T23:59:59.999999Z"),
        (Value::Bytes(&[0, 255]), "AP8="),
        (Value::Uuid([0x1f; 16]), "1f1f1f1f-1f1f-1f1f-1f1f-1f1f1f1f1f1f"),
        (Value::Null, ""),
    ] {
        let mut out = Vec::new();
        value.put_text(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{value:?}");
    }
}

#[test]
fn rejects_values_of_other_types_and_invalid_schemas() {
    for kind in Type::all() {
        for other in Type::all().into_iter().filter(|other| *other != kind) {
            let cell = Cell { kind: kind.clone(), at: 0, bits: 0, text: String::new() };
            let schema = schema(&[cell]);
            for value in &Value::limits(&other)[1..] {
                let written = schema.write([*value], &mut Vec::new());
                assert_eq!(written, Err(Mismatch { column: 0 }), "{kind} {value:?}");
            }
        }
    }
    let schema = Schema::new(vec![Column { name: "a".into(), kind: Type::Int32 }]).unwrap();
    assert!(schema.write([], &mut Vec::new()).is_err());
    assert!(schema.write([Value::Null, Value::Null], &mut Vec::new()).is_err());
    for (text, problem) in [
        ("", "malformed"),
        ("{\"version\":2,\"columns\":[]}", "version 2"),
        ("{\"version\":1,\"columns\":[]}", "1 to 4096 columns"),
        ("{\"version\":1,\"columns\":[{\"name\":\"a\",\"type\":\"geometry\"}]}", "`geometry`"),
        (
            "{\"version\":1,\"columns\":[{\"name\":\"a\",\"type\":\"text\"},{\"name\":\"a\",\
             \"type\":\"text\"}]}",
            "two columns `a`",
        ),
        (
            "{\"version\":1,\"columns\":[{\"name\":\"a\",\"type\":{\"decimal\":\
             {\"precision\":77,\"scale\":0}}}]}",
            "digits in the column `a`",
        ),
    ] {
        let found = Schema::parse(text).unwrap_err().to_string();
        assert!(found.contains(problem), "{found}");
    }
}
