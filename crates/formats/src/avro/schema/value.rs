//! Values of a datum: type, position in the bytes, and JSON text.
//!
//! A [`Datum`] borrows bytes of the body and the schema node of their type. It is created only from
//! validated bytes, so reading it cannot fail.

use ::rows::{LargeDecimal, Wide};
use serde_json::Value as Json;

use super::{DEPTH_MAX, Node, Schema};
use crate::avro::Malformed;
use crate::avro::datum::Reader;

const CHECKED: &str = "the whole datum was checked";
/// Maximum number of digits of a decimal.
const DIGITS_MAX: u64 = 76;

/// Logical type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logical {
    /// A number with this many digits, and digits after the decimal point. A precision of 0 is
    /// missing or invalid.
    Decimal {
        /// Total number of digits.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// Days since 1970.
    Date,
    /// Time since 1970 UTC, in units of this many per second.
    Timestamp(i64),
    /// Local time since 1970-01-01 00:00, in units of this many per second.
    LocalTimestamp(i64),
    /// Time since midnight, in units of this many per second.
    TimeOfDay(i64),
    /// A UUID in 16 bytes.
    Uuid,
    /// A UUID as text.
    TextUuid,
    /// Months, days and milliseconds.
    Duration,
    /// A decimal number that contains its scale.
    BigDecimal,
}

/// Bytes of a UUID.
const UUID_BYTES: u64 = 16;
/// Bytes of a duration.
const DURATION_BYTES: u64 = 12;

impl Logical {
    /// Returns the logical type in a schema. Others are treated as their underlying type.
    pub(super) fn of(schema: &Json) -> Option<Self> {
        let kind = schema.get("type")?.as_str()?;
        match (kind, schema.get("logicalType")?.as_str()?) {
            ("bytes" | "fixed", "decimal") => {
                let scale = schema.get("scale").map_or(Some(0), Json::as_u64);
                let scale = scale.filter(|scale| *scale <= DIGITS_MAX)?;
                let precision = schema.get("precision").and_then(Json::as_u64);
                let precision = precision.filter(|it| (1.max(scale)..=DIGITS_MAX).contains(it));
                let precision = precision.unwrap_or(0) as u8;
                Some(Self::Decimal { precision, scale: scale as u8 })
            }
            ("bytes", "big-decimal") => Some(Self::BigDecimal),
            ("string", "uuid") => Some(Self::TextUuid),
            ("fixed", "duration") => {
                let size = schema.get("size").and_then(Json::as_u64);
                (size == Some(DURATION_BYTES)).then_some(Self::Duration)
            }
            ("int", "date") => Some(Self::Date),
            ("long", "timestamp-millis") => Some(Self::Timestamp(1_000)),
            ("long", "timestamp-micros") => Some(Self::Timestamp(1_000_000)),
            ("long", "timestamp-nanos") => Some(Self::Timestamp(1_000_000_000)),
            ("long", "local-timestamp-millis") => Some(Self::LocalTimestamp(1_000)),
            ("long", "local-timestamp-micros") => Some(Self::LocalTimestamp(1_000_000)),
            ("long", "local-timestamp-nanos") => Some(Self::LocalTimestamp(1_000_000_000)),
            ("int", "time-millis") => Some(Self::TimeOfDay(1_000)),
            ("long", "time-micros") => Some(Self::TimeOfDay(1_000_000)),
            ("fixed", "uuid") => {
                let size = schema.get("size").and_then(Json::as_u64);
                (size == Some(UUID_BYTES)).then_some(Self::Uuid)
            }
            _ => None,
        }
    }
}

/// A value in a datum, possibly with nested values.
#[derive(Debug, Clone, Copy)]
pub struct Datum<'a> {
    schema: &'a Schema,
    node: usize,
    bytes: &'a [u8],
}

/// Content of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// No compression.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// An integer of 32 or 64 bits.
    Whole(i64),
    /// A 32-bit floating-point number.
    Float(f32),
    /// A 64-bit floating-point number.
    Double(f64),
    /// Bytes, of variable or fixed length.
    Bytes(&'a [u8]),
    /// A string, or a symbol of an enum.
    Text(&'a str),
    /// A decimal: its unscaled value as a big-endian integer, and the number of digits after the
    /// decimal point.
    Decimal(&'a [u8], usize),
    /// Days since 1970.
    Day(i32),
    /// Time since 1970, and the number of its units per second.
    Time(i64, i64),
    /// Local time since 1970-01-01 00:00, and the number of its units per second.
    LocalTime(i64, i64),
    /// Time since midnight, and the number of its units per second.
    TimeOfDay(i64, i64),
    /// A UUID.
    Uuid([u8; UUID_BYTES as usize]),
    /// A list.
    Array,
    /// A record or a map: values with names.
    Named,
}

impl Schema {
    /// Reads these bytes as one datum.
    ///
    /// # Errors
    /// See [`Schema::check`].
    pub fn read<'a>(&'a self, datum: &'a [u8]) -> Result<Datum<'a>, Malformed> {
        self.check(datum)?;
        Ok(Datum::new(self, self.root, datum))
    }
}

impl<'a> Datum<'a> {
    /// Creates a value; a union becomes its selected branch.
    fn new(schema: &'a Schema, mut node: usize, bytes: &'a [u8]) -> Self {
        let mut reader = Reader::new(bytes);
        while let Node::Union(branches) = &schema.nodes[node] {
            node = branches[reader.branch(branches.len()).expect(CHECKED)];
        }
        Self { schema, node, bytes: reader.rest() }
    }

    /// Returns the content.
    pub fn value(self) -> Value<'a> {
        let mut reader = Reader::new(self.bytes);
        let logical = self.schema.logical.get(&self.node);
        match &self.schema.nodes[self.node] {
            Node::Null => Value::Null,
            Node::Boolean => Value::Boolean(reader.boolean().expect(CHECKED)),
            Node::Int | Node::Long => {
                let number = reader.long().expect(CHECKED);
                match logical {
                    Some(Logical::Date) => Value::Day(i32::try_from(number).expect(CHECKED)),
                    Some(Logical::Timestamp(parts)) => Value::Time(number, *parts),
                    Some(Logical::LocalTimestamp(parts)) => Value::LocalTime(number, *parts),
                    Some(Logical::TimeOfDay(parts)) => Value::TimeOfDay(number, *parts),
                    _ => Value::Whole(number),
                }
            }
            Node::Float => Value::Float(f32::from_le_bytes(array(&mut reader))),
            Node::Double => Value::Double(f64::from_le_bytes(array(&mut reader))),
            node @ (Node::Bytes | Node::Fixed(_)) => {
                let bytes = match node {
                    Node::Fixed(bytes) => reader.take(*bytes),
                    _ => reader.bytes(),
                };
                let bytes = bytes.expect(CHECKED);
                match logical {
                    Some(Logical::Decimal { scale, .. }) => Value::Decimal(bytes, (*scale).into()),
                    Some(Logical::Uuid) => Value::Uuid(bytes.try_into().expect("its size is 16")),
                    _ => Value::Bytes(bytes),
                }
            }
            Node::Text => Value::Text(reader.text().expect(CHECKED)),
            Node::Enum(symbols) => {
                Value::Text(&symbols[reader.branch(symbols.len()).expect(CHECKED)])
            }
            Node::Array(_) => Value::Array,
            Node::Map(_) | Node::Record(_) => Value::Named,
            Node::Union(_) => unreachable!("it is the branch of a union"),
        }
    }

    /// Calls `each` for nested values: the fields of a record and the entries of a map with their
    /// names, and the items of an array without names. Other values have none.
    pub fn each(self, mut each: impl FnMut(Option<&'a str>, Datum<'a>)) {
        let mut reader = Reader::new(self.bytes);
        match &self.schema.nodes[self.node] {
            Node::Record(fields) => {
                for (name, node) in fields {
                    each(Some(name), self.next(*node, &mut reader));
                }
            }
            node @ (Node::Array(inner) | Node::Map(inner)) => loop {
                let count = reader.block().expect(CHECKED);
                if count == 0 {
                    return;
                }
                for _ in 0..count {
                    let name = match node {
                        Node::Map(_) => Some(reader.text().expect(CHECKED)),
                        _ => None,
                    };
                    each(name, self.next(*inner, &mut reader));
                }
            },
            _ => {}
        }
    }

    /// Creates the value at the reader's position.
    fn next(self, node: usize, reader: &mut Reader<'a>) -> Self {
        let bytes = reader.rest();
        self.schema.walk(node, reader, DEPTH_MAX).expect(CHECKED);
        let length = bytes.len() - reader.rest().len();
        Self::new(self.schema, node, &bytes[..length])
    }

    /// Appends the value as JSON: bytes as in Avro's JSON encoding, one character each; days and
    /// times as numbers. Returns false if JSON cannot express it, such as infinity.
    pub fn put_json(self, out: &mut String) -> bool {
        match self.value() {
            Value::Null => out.push_str("null"),
            Value::Boolean(value) => put(out, &value),
            Value::Whole(number)
            | Value::Time(number, _)
            | Value::LocalTime(number, _)
            | Value::TimeOfDay(number, _) => put(out, &number),
            Value::Day(day) => put(out, &day),
            Value::Float(number) if number.is_finite() => put(out, &number),
            Value::Double(number) if number.is_finite() => put(out, &number),
            Value::Float(_) | Value::Double(_) => return false,
            Value::Text(text) => put(out, &text),
            Value::Bytes(bytes) => put(out, &characters(bytes)),
            Value::Uuid(bytes) => put(out, &characters(&bytes)),
            Value::Decimal(bytes, scale) => match decimal(bytes, scale) {
                Some(text) => out.push_str(&text),
                None => return false,
            },
            list @ (Value::Array | Value::Named) => {
                let (open, close) = if list == Value::Array { ('[', ']') } else { ('{', '}') };
                let mut is_json = true;
                let mut before = open;
                self.each(|name, inner| {
                    out.push(before);
                    before = ',';
                    if let Some(name) = name {
                        put(out, &name);
                        out.push(':');
                    }
                    is_json &= inner.put_json(out);
                });
                if before == open {
                    out.push(open);
                }
                out.push(close);
                return is_json;
            }
        }
        true
    }
}

/// Returns bytes as in Avro's JSON encoding.
fn characters(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn array<const N: usize>(reader: &mut Reader<'_>) -> [u8; N] {
    reader.take(N).expect(CHECKED).try_into().expect("so many bytes")
}

fn put(out: &mut String, value: &impl serde::Serialize) {
    out.push_str(&serde_json::to_string(value).expect("a plain value has a text in JSON"));
}

/// Formats a decimal; `None` if it has more than 76 digits.
pub fn decimal(bytes: &[u8], scale: usize) -> Option<String> {
    let digits = Wide::from_be_bytes(bytes).filter(|digits| digits.fits(76))?;
    let mut text = Vec::new();
    let scale = u8::try_from(scale).ok()?;
    ::rows::Value::LargeDecimal(LargeDecimal { digits, scale }).put_text(&mut text);
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Schema {
        let unit = |kind: &str, logical: &str| json!({ "type": kind, "logicalType": logical });
        let schema = json!({ "type": "record", "name": "R", "fields": [
            { "name": "text", "type": "string" },
            { "name": "maybe", "type": ["null", "double"] },
            { "name": "kind", "type": { "type": "enum", "name": "K", "symbols": ["A", "B"] } },
            { "name": "day", "type": unit("int", "date") },
            { "name": "at", "type": unit("long", "timestamp-micros") },
            { "name": "price", "type":
                { "type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2 } },
            { "name": "none", "type": "null" },
            { "name": "tags", "type": { "type": "map", "values": ["long", "null"] } },
            { "name": "list", "type": { "type": "array", "items": "bytes" } },
            { "name": "again", "type": { "type": "K", "logicalType": "date" } },
        ] });
        Schema::parse(&schema).unwrap()
    }

    const DATUM: &[u8] = b"\x04\"h\x02\0\0\0\0\0\0\xf8\x3f\x02\x02\x04\x04\xff\x06\
        \x02\x02k\0\x03\0\x04\x02a\x02\xe9\0\0";

    #[test]
    fn values_are_handed_out_with_their_names_and_what_they_mean() {
        let schema = schema();
        let datum = schema.read(DATUM).unwrap();
        assert_eq!(datum.value(), Value::Named);
        let mut found = Vec::new();
        datum.each(|name, inner| found.push((name.unwrap(), inner.value())));
        assert_eq!(
            found,
            [
                ("text", Value::Text("\"h")),
                ("maybe", Value::Double(1.5)),
                ("kind", Value::Text("B")),
                ("day", Value::Day(1)),
                ("at", Value::Time(2, 1_000_000)),
                ("price", Value::Decimal(&[0xff, 6], 2)),
                ("tags", Value::Named),
                ("list", Value::Array),
                ("again", Value::Text("A")),
            ]
        );
        let mut text = String::new();
        assert!(datum.put_json(&mut text));
        let expected = "{\"text\":\"\\\"h\",\"maybe\":1.5,\"kind\":\"B\",\"day\":1,\"at\":2,\
                        \"price\":-2.50,\"tags\":{\"k\":-2},\"list\":[\"a\",\"\u{e9}\"],\
                        \"again\":\"A\"}";
        assert_eq!(text, expected);
        assert!(schema.read(&DATUM[..DATUM.len() - 1]).is_err());
    }

    #[test]
    fn a_number_that_json_has_not_has_no_text_in_it() {
        let schema = Schema::parse(&json!({ "type": "array", "items": "float" })).unwrap();
        let json = |number: f32| {
            let datum = [&[2][..], &number.to_le_bytes(), &[0]].concat();
            let mut text = String::new();
            schema.read(&datum).unwrap().put_json(&mut text).then_some(text)
        };
        assert_eq!(json(0.1).as_deref(), Some("[0.1]"));
        assert_eq!(json(f32::NAN), None);
        let schema = Schema::parse(&json!({ "type": "map", "values": "int" })).unwrap();
        let mut text = String::new();
        assert!(schema.read(&[0]).unwrap().put_json(&mut text));
        assert_eq!(text, "{}");
    }

    #[test]
    fn a_decimal_is_the_number_of_its_bytes() {
        for (bytes, scale, text) in [
            (&[][..], 0, "0"),
            (&[5], 2, "0.05"),
            (&[0xff], 1, "-0.1"),
            (&[0, 0x80], 0, "128"),
            (&[0x80], 0, "-128"),
        ] {
            assert_eq!(decimal(bytes, scale).as_deref(), Some(text));
        }
        assert_eq!(decimal(&[[0xff; 8], [0xff; 8], [0xff; 8]].concat(), 0).as_deref(), Some("-1"));
        let more = decimal(&[&[1][..], &[0; 16]].concat(), 1);
        assert_eq!(more.as_deref(), Some("34028236692093846346337460743176821145.6"));
        assert_eq!(decimal(&[&[1][..], &[0; 32]].concat(), 0), None);
        let most = decimal(&[&[0][..], &[0x80], &[0; 15]].concat(), 0);
        assert_eq!(most.as_deref(), Some("170141183460469231731687303715884105728"));
    }
}
