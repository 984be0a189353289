//! Converts a value for its column exactly, or explains why it does not fit.

mod avro;
mod typed;

use std::borrow::Cow;

use formats::avro::schema::value::Datum;
use formats::calendar::{self, NotTime};
use serde_json::value::RawValue;

pub(super) use self::avro::noun;
pub use self::typed::accepted;
use ::rows::{Value as Typed, Wide};

use super::kind::{ColumnType, DIGITS_FIXED16, Kind};

/// The value that a column finds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found<'a> {
    /// No compression.
    Missing,
    /// A JSON value.
    Json(&'a RawValue),
    /// A header, a CSV value, or the body.
    Text(&'a [u8]),
    /// An Avro value.
    Avro(Datum<'a>),
    /// A value of a typed row.
    Typed(Typed<'a>),
}

/// A value of a column's type.
#[derive(Debug, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int32(i32),
    Int64(i64),
    Float(f32),
    Double(f64),
    Bytes(Cow<'a, [u8]>),
    /// The text of a value of a typed row. It is formatted when it is stored.
    Text(Typed<'a>),
    /// The JSON of such a value.
    Json(Typed<'a>),
    /// A decimal with 19 to 38 digits.
    Fixed(i128),
    /// A decimal with more digits.
    Wide(Wide),
}

impl Value<'_> {
    /// Appends the bytes of a text, and returns their number; 0 for other values.
    pub(super) fn put(&self, out: &mut Vec<u8>) -> usize {
        let before = out.len();
        match self {
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
            Self::Text(value) => value.put_text(out),
            Self::Json(value) => value.put_json(out),
            _ => {}
        }
        out.len() - before
    }

    /// Copies the text.
    pub(super) fn into_owned(self) -> Value<'static> {
        match self {
            Self::Bytes(_) | Self::Text(_) | Self::Json(_) => {
                let mut bytes = Vec::new();
                self.put(&mut bytes);
                Value::Bytes(bytes.into())
            }
            Self::Null => Value::Null,
            Self::Bool(it) => Value::Bool(it),
            Self::Int32(it) => Value::Int32(it),
            Self::Int64(it) => Value::Int64(it),
            Self::Float(it) => Value::Float(it),
            Self::Double(it) => Value::Double(it),
            Self::Fixed(it) => Value::Fixed(it),
            Self::Wide(it) => Value::Wide(it),
        }
    }
}

/// A noun for a value that does not fit.
pub(super) type Problem = &'static str;

pub(super) const NO_UTF8: Problem = "text that is not UTF-8";
const RANGE: Problem = "a number out of range";
const FINER: Problem = "a time with too many fractional digits";

/// Converts `found` to a value of type `kind`.
///
/// # Errors
/// It does not fit; the problem is a noun.
pub(super) fn value(kind: Kind, found: Found<'_>) -> Result<Value<'_>, Problem> {
    let raw = match found {
        Found::Missing => return Ok(Value::Null),
        Found::Json(raw) => raw.get(),
        Found::Text(text) => return of_text(kind, text),
        Found::Avro(datum) => return avro::convert(kind, datum),
        Found::Typed(value) => return typed::convert(kind, value),
    };
    if raw == "null" {
        return Ok(Value::Null);
    }
    let Kind::Plain(plain) = kind else {
        let is_text = matches!(raw.as_bytes().first(), Some(b'"'));
        let text = if is_text { string(raw)? } else { Cow::Borrowed(number(raw)?) };
        return decimal(&text, kind);
    };
    match plain {
        ColumnType::Json => Ok(Value::Bytes(raw.as_bytes().into())),
        ColumnType::Bool => boolean(raw).ok_or_else(|| name(raw)),
        ColumnType::Float | ColumnType::Double if raw.starts_with('"') => {
            not_finite(plain, &string(raw)?).ok_or_else(|| name(raw))
        }
        _ if plain.is_number() => of_number(plain, number(raw)?),
        ColumnType::TimestampMillis | ColumnType::TimestampMicros if !raw.starts_with('"') => {
            of_number(ColumnType::Int64, number(raw)?)
        }
        ColumnType::TimestampMillis | ColumnType::TimestampMicros => time(plain, &string(raw)?),
        ColumnType::Date => date(&string(raw)?),
        ColumnType::JsonText => json_in(string(raw)?),
        _ => Ok(Value::Bytes(bytes(string(raw)?))),
    }
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => text.as_bytes().into(),
        Cow::Owned(text) => text.into_bytes().into(),
    }
}

/// Returns a text if it is JSON.
fn json_in(text: Cow<'_, str>) -> Result<Value<'_>, Problem> {
    match serde_json::from_str::<&RawValue>(&text) {
        Ok(_) => Ok(Value::Bytes(bytes(text))),
        Err(_) => Err("text that is not JSON"),
    }
}

/// Converts the text of a header or a body, such as a number or a time.
fn of_text(kind: Kind, text: &[u8]) -> Result<Value<'_>, Problem> {
    if kind == Kind::Plain(ColumnType::Bytes) {
        return Ok(Value::Bytes(text.into()));
    }
    let text = std::str::from_utf8(text).map_err(|_| NO_UTF8)?;
    let Kind::Plain(plain) = kind else { return decimal(text, kind) };
    let is_number = |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite);
    match plain {
        ColumnType::Json | ColumnType::JsonText => json_in(text.into()),
        ColumnType::Bool => boolean(text).ok_or("text other than `true` or `false`"),
        _ if plain.is_number() => {
            if let Some(value) = not_finite(plain, text) {
                Ok(value)
            } else if is_number(text) {
                of_number(plain, text)
            } else {
                Err("text that is not a number")
            }
        }
        ColumnType::TimestampMillis | ColumnType::TimestampMicros => match text.parse() {
            Ok(number) => Ok(Value::Int64(number)),
            Err(_) => time(plain, text),
        },
        ColumnType::Date => date(text),
        _ => Ok(Value::Bytes(text.as_bytes().into())),
    }
}

/// Returns a noun for a JSON value.
pub(super) fn name(raw: &str) -> Problem {
    match raw.as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

fn boolean(text: &str) -> Option<Value<'static>> {
    match text {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        _ => None,
    }
}

/// Returns the text of a JSON number.
fn number(raw: &str) -> Result<&str, Problem> {
    match raw.as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => Ok(raw),
        _ => Err(name(raw)),
    }
}

/// Returns the unescaped text of a JSON string.
fn string(raw: &str) -> Result<Cow<'_, str>, Problem> {
    let Some(inner) = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')) else {
        return Err(name(raw));
    };
    if !inner.contains('\\') {
        return Ok(inner.into());
    }
    // JSON allows a lone UTF-16 surrogate, which is not valid text.
    serde_json::from_str(raw).map(Cow::Owned).map_err(|_| NO_UTF8)
}

fn of_number(plain: ColumnType, text: &str) -> Result<Value<'static>, Problem> {
    let whole = || match text.contains(['.', 'e', 'E']) {
        true => "a number with a fraction or an exponent",
        false => RANGE,
    };
    match plain {
        ColumnType::Int32
        | ColumnType::Uint8
        | ColumnType::Uint16
        | ColumnType::Uint32
        | ColumnType::Uint64 => match text.parse() {
            Ok(number) => integer(plain, number),
            Err(_) => Err(whole()),
        },
        ColumnType::Float => match text.parse() {
            Ok(number) if f32::is_finite(number) => Ok(Value::Float(number)),
            _ => Err(RANGE),
        },
        ColumnType::Double => match text.parse() {
            Ok(number) if f64::is_finite(number) => Ok(Value::Double(number)),
            _ => Err(RANGE),
        },
        _ => text.parse().map(Value::Int64).map_err(|_| whole()),
    }
}

/// Returns a whole number of this type.
fn integer(plain: ColumnType, number: i128) -> Result<Value<'static>, Problem> {
    let value = match plain {
        ColumnType::Int32 => i32::try_from(number).map(Value::Int32),
        ColumnType::Int64 => i64::try_from(number).map(Value::Int64),
        ColumnType::Uint8 => u8::try_from(number).map(|it| Value::Int32(it.into())),
        ColumnType::Uint16 => u16::try_from(number).map(|it| Value::Int32(it.into())),
        // The same bits: the type of the column has no sign.
        ColumnType::Uint32 => u32::try_from(number).map(|it| Value::Int32(it as i32)),
        ColumnType::Uint64 => u64::try_from(number).map(|it| Value::Int64(it as i64)),
        _ => return Err("an integer"),
    };
    value.map_err(|_| RANGE)
}

/// Returns the number of a text that JSON cannot express as a number.
fn not_finite(plain: ColumnType, text: &str) -> Option<Value<'static>> {
    let number = match text {
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        _ => return None,
    };
    match plain {
        ColumnType::Float => Some(Value::Float(number as f32)),
        ColumnType::Double => Some(Value::Double(number)),
        _ => None,
    }
}

fn date(text: &str) -> Result<Value<'static>, Problem> {
    const OTHER: Problem = "text that is not a date such as 2026-11-25";
    calendar::day(text).map(Value::Int32).ok_or(OTHER)
}

fn time(plain: ColumnType, text: &str) -> Result<Value<'static>, Problem> {
    const OTHER: Problem = "text that is not a time with an offset, such as 2026-11-25T12:00:00.5Z";
    // A leap second would become the second before.
    if text.contains(":60") {
        return Err(OTHER);
    }
    let parts = if plain == ColumnType::TimestampMillis { 1_000 } else { 1_000_000 };
    match calendar::count(text, parts) {
        Ok(count) => Ok(Value::Int64(count)),
        Err(NotTime::Text) => Err(OTHER),
        Err(NotTime::Finer) => Err(FINER),
        Err(NotTime::Range) => Err("a time out of range"),
    }
}

/// Returns a decimal of exactly this value, if it has enough digits.
fn decimal(text: &str, kind: Kind) -> Result<Value<'static>, Problem> {
    const OTHER: Problem = "text that is not a number";
    let Kind::Decimal { precision, scale } = kind else { return Err(OTHER) };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        None => (text, 0),
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| OTHER)?),
    };
    let unsigned = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !is_digits(whole) || !is_digits(fraction) {
        return Err(OTHER);
    }
    let digits = [whole, fraction].concat();
    let significant = digits.trim_end_matches('0');
    let significant_only = significant.trim_start_matches('0');
    if significant_only.is_empty() {
        return Ok(whole_number(0, precision));
    }
    // Powers of ten to multiply the significant digits with.
    let dropped = (digits.len() - significant.len()) as i64;
    let places = i64::from(scale) - fraction.len() as i64 + dropped + i64::from(exponent);
    let Ok(zeros) = u32::try_from(places) else {
        return Err("a number with too many fractional digits");
    };
    if significant_only.len() as u64 + u64::from(zeros) > u64::from(precision) {
        return Err(RANGE);
    }
    if precision > DIGITS_FIXED16 {
        let digits = Wide::from_digits(mantissa.starts_with('-'), significant_only);
        let digits = digits.and_then(|digits| digits.scaled_up(zeros as u8));
        return digits.map(Value::Wide).ok_or(RANGE);
    }
    let number: i128 = significant_only.parse().map_err(|_| RANGE)?;
    let number = number * 10_i128.pow(zeros);
    Ok(whole_number(if mantissa.starts_with('-') { -number } else { number }, precision))
}

/// Stores an integer as a decimal of this precision.
fn whole_number(number: i128, precision: u8) -> Value<'static> {
    if let (..=9, Ok(number)) = (precision, i32::try_from(number)) {
        return Value::Int32(number);
    }
    if let (..=18, Ok(number)) = (precision, i64::try_from(number)) {
        return Value::Int64(number);
    }
    if precision > DIGITS_FIXED16 {
        return Value::Wide(number.into());
    }
    Value::Fixed(number)
}

#[cfg(test)]
mod tests;
