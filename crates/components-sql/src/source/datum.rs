//! Encodes a row as Avro: a record of nullable columns.

use formats::avro::datum::{put_bytes, put_long};
use formats::calendar;
use serde_json::json;

use super::query::Kind;
use crate::value::Value;

/// Returns the Avro schema for rows of a table. Characters that Avro does not allow in names become
/// `_`, like in Sqoop.
///
/// # Errors
/// Two columns get the same name.
pub fn avro_schema(table: &str, columns: &[(String, Kind)]) -> Result<serde_json::Value, String> {
    let mut fields: Vec<serde_json::Value> = Vec::new();
    for (column, kind) in columns {
        let name = avro_name(column);
        if fields.iter().any(|field| field["name"] == *name) {
            return Err(format!(
                "the column `{column}` would be named `{name}` in Avro, like another column: \
                 rename it in a --query"
            ));
        }
        let logical = |of: &str, name: &str| json!({ "type": of, "logicalType": name });
        let kind = match *kind {
            Kind::Bool => json!("boolean"),
            Kind::Int32 => json!("int"),
            Kind::Int64 => json!("long"),
            Kind::Float => json!("float"),
            Kind::Double => json!("double"),
            Kind::Decimal { precision, scale } => json!({
                "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale
            }),
            Kind::Date => logical("int", "date"),
            Kind::Timestamp => logical("long", "timestamp-micros"),
            Kind::Json | Kind::Text => json!("string"),
        };
        fields.push(json!({ "name": name, "type": ["null", kind], "default": null }));
    }
    Ok(json!({ "type": "record", "name": avro_name(table), "fields": fields }))
}

fn avro_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let plain: String = name.chars().map(plain).collect();
    match plain.starts_with(|c: char| c.is_ascii_digit()) || plain.is_empty() {
        true => format!("_{plain}"),
        false => plain,
    }
}

/// Appends the encoded row to `out`.
///
/// # Errors
/// The index of a column whose value does not fit.
pub(crate) fn put(kinds: &[Kind], values: &[Value], out: &mut Vec<u8>) -> Result<(), usize> {
    for (at, (kind, value)) in kinds.iter().zip(values).enumerate() {
        if *value == Value::Null {
            put_long(out, 0);
        } else {
            put_long(out, 1);
            put_value(*kind, &value.text(), out).ok_or(at)?;
        }
    }
    Ok(())
}

fn put_value(kind: Kind, text: &str, out: &mut Vec<u8>) -> Option<()> {
    match kind {
        Kind::Bool => out.push(u8::from(text.parse::<bool>().ok()?)),
        Kind::Int32 => put_long(out, i64::from(text.parse::<i32>().ok()?)),
        Kind::Int64 => put_long(out, text.parse().ok()?),
        Kind::Float => out.extend(text.parse::<f32>().ok()?.to_le_bytes()),
        Kind::Double => out.extend(text.parse::<f64>().ok()?.to_le_bytes()),
        Kind::Decimal { precision, scale } => {
            let bytes = unscaled(text, precision, scale)?.to_be_bytes();
            put_bytes(out, shortest(&bytes));
        }
        Kind::Date => put_long(out, calendar::day(text)?.into()),
        Kind::Timestamp => put_long(out, calendar::count(text, 1_000_000).ok()?),
        Kind::Json | Kind::Text => put_bytes(out, text.as_bytes()),
    }
    Some(())
}

/// Returns the digits of a decimal as an integer.
pub(super) fn unscaled(text: &str, precision: u32, scale: u32) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let zeros = (scale as usize).checked_sub(fraction.len())?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i128 = format!("{whole}{fraction}{}", "0".repeat(zeros)).parse().ok()?;
    let limit = 10_i128.checked_pow(precision)?;
    (number.abs() < limit).then_some(number)
}

/// Returns an integer without redundant sign bytes.
fn shortest(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [first @ (0 | 0xff), second, ..] = rest {
        if (first ^ second) & 0x80 != 0 {
            break;
        }
        rest = &rest[1..];
    }
    rest
}

#[cfg(test)]
mod tests {
    use formats::avro::schema::Schema;

    use super::*;

    const ALL: [Kind; 10] = [
        Kind::Bool,
        Kind::Int32,
        Kind::Int64,
        Kind::Float,
        Kind::Double,
        Kind::Decimal { precision: 9, scale: 3 },
        Kind::Date,
        Kind::Timestamp,
        Kind::Json,
        Kind::Text,
    ];

    fn columns() -> Vec<(String, Kind)> {
        ALL.iter().enumerate().map(|(at, kind)| (format!("c{at}"), *kind)).collect()
    }

    #[test]
    fn a_row_is_a_datum_of_the_schema_of_its_table() {
        let text = |it: &str| Value::Text(it.to_owned());
        let values = [
            Value::Bool(true),
            Value::Int(-7),
            Value::Int(i64::MIN),
            Value::Raw("0.1".into()),
            text("-Infinity"),
            text("-0.128"),
            text("1969-12-31"),
            text("1969-12-31T23:59:59.75Z"),
            Value::Raw("[1.10]".into()),
            Value::Bytes(vec![0, 255]),
        ];
        let mut datum = Vec::new();
        put(&ALL, &values, &mut datum).unwrap();
        let schema = Schema::parse(&avro_schema("a-b", &columns()).unwrap()).unwrap();
        schema.check(&datum).unwrap();
        let mut read = Vec::new();
        schema.read(&datum).unwrap().each(|name, value| {
            read.push(format!("{} {:?}", name.unwrap(), value.value()));
        });
        let expected = [
            "c0 Boolean(true)",
            "c1 Whole(-7)",
            "c2 Whole(-9223372036854775808)",
            "c3 Float(0.1)",
            "c4 Double(-inf)",
            "c5 Decimal([128], 3)",
            "c6 Day(-1)",
            "c7 Time(-250000, 1000000)",
            "c8 Text(\"[1.10]\")",
            "c9 Text(\"AP8=\")",
        ];
        assert_eq!(read, expected);
        let mut nulls = Vec::new();
        put(&ALL, &[const { Value::Null }; 10], &mut nulls).unwrap();
        assert_eq!(nulls, [0; 10]);
        schema.check(&nulls).unwrap();
    }

    #[test]
    fn a_value_that_does_not_fit_is_no_datum_and_names_are_those_of_avro() {
        for (kind, text) in [
            (Kind::Int32, "2147483648"),
            (Kind::Decimal { precision: 4, scale: 2 }, "100.00"),
            (Kind::Decimal { precision: 4, scale: 2 }, "1.001"),
            (Kind::Decimal { precision: 4, scale: 2 }, "NaN"),
            (Kind::Date, "tomorrow"),
            (Kind::Timestamp, "0000-00-00 00:00:00"),
            (Kind::Timestamp, "2026-01-31T00:00:00.0000001Z"),
        ] {
            let found = put(&[kind], &[Value::Text(text.to_owned())], &mut Vec::new());
            assert_eq!(found, Err(0), "{kind:?} {text}");
        }
        // In this case the body is not valid Avro: it begins with an invalid union branch.
        let schema = Schema::parse(&avro_schema("t", &columns()).unwrap()).unwrap();
        assert!(schema.check(b"{\"c0\":true}").is_err());
        let named = |names: &[&str]| {
            let columns: Vec<_> = names.iter().map(|it| ((*it).to_owned(), Kind::Text)).collect();
            avro_schema("1", &columns)
        };
        let schema = named(&["a b", "2"]).unwrap();
        assert_eq!((&schema["name"], &schema["fields"][1]["name"]), (&json!("_1"), &json!("_2")));
        assert_eq!(schema["fields"][0]["name"], "a_b");
        assert!(named(&["a b", "a_b"]).unwrap_err().contains("`a_b`"));
    }

    #[test]
    fn a_whole_number_has_no_byte_too_many() {
        for (number, expected) in [
            (0_i128, &[0][..]),
            (127, &[127]),
            (128, &[0, 128]),
            (-1, &[255]),
            (-128, &[128]),
            (-129, &[255, 127]),
            (i128::MIN, &i128::MIN.to_be_bytes()),
        ] {
            assert_eq!(shortest(&number.to_be_bytes()), expected, "{number}");
        }
    }
}
