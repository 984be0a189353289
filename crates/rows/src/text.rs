//! Values as text and as JSON: the only conversions, for all components.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::calendar::{TimeForm, put_day, put_moment, put_time_of_day};
use crate::{Decimal, Key, LargeDecimal, Malformed, Nested, Schema, Value};

impl Value<'_> {
    /// Appends the value as text; nothing for NULL. Bytes become Base64, and lists, structs and
    /// maps become JSON.
    ///
    /// # Panics
    /// Never: a number has a text.
    pub fn put_text(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Null => {}
            Self::Bool(it) => out.extend_from_slice(if it { b"true" } else { b"false" }),
            Self::Int32(it) => put_integer(it.into(), out),
            Self::Int64(it) => put_integer(it, out),
            Self::Uint8(it) => put_digits(it.into(), 1, out),
            Self::Uint16(it) => put_digits(it.into(), 1, out),
            Self::Uint32(it) => put_digits(it.into(), 1, out),
            Self::Uint64(it) => put_digits(it.into(), 1, out),
            Self::Float32(it) if it.is_finite() => {
                serde_json::to_writer(out, &it).expect("memory takes a finite number");
            }
            Self::Float32(it) => out.extend_from_slice(not_finite(it.into())),
            Self::Float64(it) if it.is_finite() => {
                serde_json::to_writer(out, &it).expect("memory takes a finite number");
            }
            Self::Float64(it) => out.extend_from_slice(not_finite(it)),
            Self::Decimal(it) => put_decimal(it, out),
            Self::LargeDecimal(it) => put_large(it, out),
            Self::Date(day) => put_day(day, out),
            Self::Time(nanos) => put_time_of_day(nanos, out),
            Self::Timestamp(it) => put_moment(it, TimeForm::Local, out),
            Self::TimestampUtc(it) => put_moment(it, TimeForm::Utc, out),
            Self::Uuid(bytes) => put_uuid(bytes, out),
            Self::Text(it) | Self::Json(it) => out.extend_from_slice(it.as_bytes()),
            Self::Bytes(it) => out.extend_from_slice(STANDARD.encode(it).as_bytes()),
            Self::List(it) | Self::Struct(it) | Self::Map(it) => put_nested(it, out),
        }
    }

    /// Appends the value as JSON. Decimals, dates and times become strings, and so do numbers that
    /// JSON does not have: NaN and the infinities. A map becomes an object, whatever type its keys
    /// have.
    ///
    /// # Panics
    /// Never: any text is a JSON string.
    pub fn put_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Float32(it) if !it.is_finite() => put_quoted(self, out),
            Self::Float64(it) if !it.is_finite() => put_quoted(self, out),
            Self::Bool(_)
            | Self::Int32(_)
            | Self::Int64(_)
            | Self::Uint8(_)
            | Self::Uint16(_)
            | Self::Uint32(_)
            | Self::Uint64(_)
            | Self::List(_)
            | Self::Struct(_)
            | Self::Map(_)
            | Self::Float32(_)
            | Self::Float64(_)
            | Self::Json(_) => self.put_text(out),
            Self::Text(text) => {
                serde_json::to_writer(out, text).expect("memory takes any text");
            }
            // Their texts have no characters that need an escape.
            Self::Decimal(_)
            | Self::LargeDecimal(_)
            | Self::Date(_)
            | Self::Time(_)
            | Self::Timestamp(_)
            | Self::TimestampUtc(_)
            | Self::Uuid(_)
            | Self::Bytes(_) => put_quoted(self, out),
        }
    }
}

impl Schema {
    /// Appends a row as a JSON object.
    ///
    /// # Errors
    /// Fails if the body is not a row of this schema; `out` then ends with a part of it.
    ///
    /// # Panics
    /// Never: any text is a JSON string.
    pub fn put_object(&self, body: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        for (at, (column, value)) in self.columns().iter().zip(self.read(body)?).enumerate() {
            out.push(if at == 0 { b'{' } else { b',' });
            serde_json::to_writer(&mut *out, &column.name).expect("memory takes any text");
            out.push(b':');
            value?.put_json(out);
        }
        out.push(b'}');
        Ok(())
    }
}

fn put_nested(nested: Nested<'_>, out: &mut Vec<u8>) {
    let (open, close) = match nested.kind() {
        crate::Type::List(_) => (b'[', b']'),
        _ => (b'{', b'}'),
    };
    out.push(open);
    for (at, (key, value)) in nested.items().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        match key {
            Key::None => {}
            Key::Field(name) | Key::Value(Value::Text(name)) => {
                serde_json::to_writer(&mut *out, name).expect("memory takes any text");
                out.push(b':');
            }
            // Other keys have no characters that need an escape.
            Key::Value(key) => {
                put_quoted(&key, out);
                out.push(b':');
            }
        }
        value.put_json(out);
    }
    out.push(close);
}

fn put_quoted(value: &Value<'_>, out: &mut Vec<u8>) {
    out.push(b'"');
    value.put_text(out);
    out.push(b'"');
}

fn not_finite(number: f64) -> &'static [u8] {
    match () {
        () if number.is_nan() => b"NaN",
        () if number > 0.0 => b"Infinity",
        () => b"-Infinity",
    }
}

/// Appends an integer.
pub(crate) fn put_integer(number: i64, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    put_digits(number.unsigned_abs().into(), 1, out);
}

/// Appends an integer with at least this many digits.
fn put_digits(number: u128, at_least: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 40];
    let mut at = digits.len();
    let mut high = number;
    let mut rest = loop {
        // Division of 64 bits is much faster.
        if let Ok(small) = u64::try_from(high) {
            break small;
        }
        at -= 1;
        digits[at] = b'0' + (high % 10) as u8;
        high /= 10;
    };
    while rest > 0 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits[at.min(digits.len() - at_least.min(digits.len()))..]);
}

fn put_decimal(decimal: Decimal, out: &mut Vec<u8>) {
    if decimal.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if decimal.digits < 0 {
        out.push(b'-');
    }
    let scale = usize::from(decimal.scale);
    put_digits(decimal.digits.unsigned_abs(), scale + 1, out);
    if scale > 0 {
        out.insert(out.len() - scale, b'.');
    }
}

fn put_large(decimal: LargeDecimal, out: &mut Vec<u8>) {
    if decimal.is_nan() {
        return out.extend_from_slice(b"NaN");
    }
    if decimal.digits.is_negative() {
        out.push(b'-');
    }
    let scale = usize::from(decimal.scale);
    decimal.digits.put_digits(scale + 1, out);
    if scale > 0 {
        out.insert(out.len() - scale, b'.');
    }
}

fn put_uuid(bytes: [u8; 16], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for (at, byte) in bytes.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}
