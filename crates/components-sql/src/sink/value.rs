//! Converts values for a column, depending on its type.
//!
//! Most values stay text, because a database converts text with its own rules and messages.
//! Converted are bytes, which text cannot carry; values that a database would silently misread (a
//! zone that a column does not keep); and values for SQLite, whose columns accept any type.

pub(super) mod typed;

use ::rows::Value as Typed;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use formats::calendar::{self, TimeForm};
use serde_json::value::RawValue;

/// A value for the database.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// NULL.
    Null,
    /// An integer.
    Int(i64),
    /// A number of SQLite.
    Real(f64),
    /// Text that the database converts to the column's type.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl Value {
    /// Returns an integer, which an ODBC driver may return as text.
    pub(super) fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            Self::Null | Self::Real(_) | Self::Bytes(_) => None,
        }
    }

    /// Returns the approximate size in bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Null | Self::Int(_) | Self::Real(_) => 8,
            Self::Text(text) => text.len() + 8,
            Self::Bytes(bytes) => bytes.len() + 8,
        }
    }
}

/// The kind of a column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The database converts text.
    Text,
    /// A number of MySQL. In comparisons, MySQL silently uses only the leading digits of a text.
    /// True and false are 1 and 0.
    Number,
    /// Bytes, encoded as base64 in text.
    Bytes,
    /// A timestamp with a zone.
    Moment,
    /// A date and a time in UTC, without a zone.
    Civil,
    /// A date.
    Date,
    /// A time of day, without a zone.
    TimeOfDay,
    /// A PostgreSQL array.
    Array,
    /// A PostgreSQL array whose elements are JSON.
    JsonArray,
    /// Bits of MySQL, as an unsigned integer.
    Bits,
    /// An integer of SQLite.
    StrictInt,
    /// A number of SQLite.
    StrictReal,
    /// An integer of SQLite if possible, otherwise a number.
    StrictNumeric,
}

/// A value from an event.
#[derive(Debug, Clone, Copy)]
pub(super) enum EventValue<'a> {
    /// A JSON value.
    Json(&'a RawValue),
    /// Text of a line or a header.
    Text(&'a str),
    /// A body.
    Bytes(&'a [u8]),
    /// A value of a typed row.
    Typed(Typed<'a>),
}

impl Kind {
    /// Converts a value for the column.
    ///
    /// # Errors
    /// The value cannot be converted, and why.
    pub(super) fn convert(self, given: EventValue<'_>) -> Result<Value, String> {
        match given {
            EventValue::Text(text) => self.of_text(text.to_owned()),
            EventValue::Bytes(bytes) if self == Self::Bytes => Ok(Value::Bytes(bytes.to_owned())),
            EventValue::Bytes(bytes) => {
                let text = std::str::from_utf8(bytes).map_err(|_| "the body is not UTF-8 text")?;
                self.of_text(text.to_owned())
            }
            EventValue::Json(raw) => self.of_json(raw),
            EventValue::Typed(value) => self.of_typed(value),
        }
    }

    fn of_json(self, raw: &RawValue) -> Result<Value, String> {
        let text = raw.get();
        match text.as_bytes().first() {
            Some(b'n') => Ok(Value::Null),
            Some(b'"') => {
                let text = serde_json::from_str(text).map_err(|error| error.to_string())?;
                self.of_text(text)
            }
            Some(b't' | b'f') if self.is_numeric() => {
                self.of_text(if text == "true" { "1" } else { "0" }.to_owned())
            }
            Some(b'-' | b'0'..=b'9') if self == Self::Date => of_whole_day(text).map(Value::Text),
            Some(b'-' | b'0'..=b'9') if self == Self::TimeOfDay => {
                of_millis_of_day(text).map(Value::Text)
            }
            _ => self.of_text(text.to_owned()),
        }
    }

    fn is_numeric(self) -> bool {
        matches!(
            self,
            Self::Number | Self::Bits | Self::StrictInt | Self::StrictReal | Self::StrictNumeric
        )
    }

    /// Returns a JSON list in PostgreSQL's notation; `None` for a text that is not a JSON list,
    /// such as `{1,2}`.
    fn array(self, text: &str) -> Option<String> {
        let raw: &RawValue = text.starts_with('[').then(|| serde_json::from_str(text).ok())??;
        let mut array = String::new();
        put_array(raw, self == Self::JsonArray, &mut array).ok()?;
        Some(array)
    }

    fn of_text(self, text: String) -> Result<Value, String> {
        match self {
            Self::Text | Self::Date | Self::TimeOfDay => Ok(Value::Text(text)),
            Self::Array | Self::JsonArray => Ok(Value::Text(self.array(&text).unwrap_or(text))),
            Self::Number => match (text.trim().parse(), real(&text)) {
                (Ok(number), _) => Ok(Value::Int(number)),
                (Err(_), Ok(_)) => Ok(Value::Text(text)),
                (Err(_), Err(problem)) => Err(problem),
            },
            Self::Bytes => match of_uuid(&text) {
                Some(bytes) => Ok(Value::Bytes(bytes)),
                None => {
                    let bytes = BASE64_STANDARD.decode(&text);
                    bytes.map(Value::Bytes).map_err(|error| {
                        format!("the value is not base64, which a binary column needs: {error}")
                    })
                }
            },
            Self::Moment => Ok(Value::Text(match of_millis(&text)? {
                Some(nanos) => written(nanos, TimeForm::Utc),
                None => text,
            })),
            Self::Civil => {
                let at = match of_millis(&text)? {
                    Some(nanos) => Some(nanos),
                    // Text without a zone is not a timestamp, and stays unchanged.
                    None => calendar::nanos(&text),
                };
                Ok(Value::Text(match at {
                    Some(nanos) => written(nanos, TimeForm::Spaced),
                    // The zero of MySQL's `TIMESTAMP`.
                    None if text == ZERO => ZERO.replace('T', " ").replace('Z', ""),
                    None => text,
                }))
            }
            Self::Bits => match text.trim().parse::<u64>() {
                Ok(bits) => Ok(match i64::try_from(bits) {
                    Ok(number) => Value::Int(number),
                    Err(_) => Value::Bytes(bits.to_be_bytes().to_vec()),
                }),
                Err(_) => Err(format!("{} is not an unsigned 64-bit integer", shown(&text))),
            },
            Self::StrictInt => {
                let number = text.trim().parse().map(Value::Int);
                number.map_err(|_| format!("{} is not a 64-bit integer", shown(&text)))
            }
            Self::StrictReal => real(&text),
            Self::StrictNumeric => match text.trim().parse() {
                Ok(number) => Ok(Value::Int(number)),
                Err(_) => real(&text),
            },
        }
    }
}

fn real(text: &str) -> Result<Value, String> {
    let number = text.trim().parse().ok().filter(|number: &f64| number.is_finite());
    number.map(Value::Real).ok_or_else(|| format!("{} is not a number", shown(text)))
}

/// MySQL's zero `TIMESTAMP`, as the source writes it.
const ZERO: &str = "0000-00-00T00:00:00Z";
const MILLIS_OF_DAY: i64 = 86_400_000;

fn written(nanos: i128, form: TimeForm) -> String {
    let mut text = String::new();
    calendar::put_nanos(nanos, form, &mut text);
    text
}

/// Parses a timestamp in milliseconds since 1970, as in headers, to nanoseconds.
fn of_millis(text: &str) -> Result<Option<i128>, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    whole(text).map(|millis| Some(i128::from(millis) * 1_000_000))
}

fn whole(text: &str) -> Result<i64, String> {
    let millis = text.parse();
    millis.map_err(|_| format!("{} is not a 64-bit number of milliseconds", shown(text)))
}

/// Converts midnight of a day in milliseconds since 1970, as Sqoop writes dates, to a date.
fn of_whole_day(text: &str) -> Result<String, String> {
    let millis = whole(text)?;
    let day = i32::try_from(millis / MILLIS_OF_DAY).ok().filter(|_| millis % MILLIS_OF_DAY == 0);
    let day = day.ok_or_else(|| {
        format!(
            "{text} (ms since 1970) is not midnight in UTC; write a date as text, or run Sqoop \
             with `-Duser.timezone=UTC`"
        )
    })?;
    let mut date = String::new();
    calendar::put_day(day, &mut date);
    Ok(date)
}

/// Converts milliseconds since midnight, as Sqoop writes times, to a time of day.
fn of_millis_of_day(text: &str) -> Result<String, String> {
    let millis = Some(whole(text)?).filter(|millis| (0..MILLIS_OF_DAY).contains(millis));
    let millis = millis.ok_or_else(|| {
        format!(
            "{text} (ms since midnight) is not a time of day in UTC; write a time as text, or run \
             Sqoop with `-Duser.timezone=UTC`"
        )
    })?;
    let mut time = String::new();
    calendar::put_time_of_day(millis * 1_000_000, &mut time);
    Ok(time)
}

/// Returns the bytes of a UUID in its usual notation, which is not base64.
fn of_uuid(text: &str) -> Option<Vec<u8>> {
    let places = [8, 13, 18, 23];
    if text.len() != 36 || places.iter().any(|at| text.as_bytes()[*at] != b'-') {
        return None;
    }
    let digits = text.replace('-', "");
    let is_hex = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = is_hex.then(|| u128::from_str_radix(&digits, 16).ok())??;
    Some(number.to_be_bytes().to_vec())
}

/// Returns the start of a value for messages.
fn shown(text: &str) -> String {
    let cut: String = text.chars().take(40).collect();
    if cut.len() < text.len() { format!("`{cut}…`") } else { format!("`{cut}`") }
}

/// Converts a JSON array to PostgreSQL's notation. A list in it is a dimension, unless the elements
/// are JSON.
fn put_array(raw: &RawValue, is_json: bool, out: &mut String) -> Result<(), String> {
    let items: Vec<&RawValue> =
        serde_json::from_str(raw.get()).map_err(|error| error.to_string())?;
    out.push('{');
    for (number, item) in items.into_iter().enumerate() {
        if number > 0 {
            out.push(',');
        }
        let text = item.get();
        match text.as_bytes().first() {
            Some(b'n') => out.push_str("NULL"),
            _ if is_json => put_quoted(text, out),
            Some(b'[') => put_array(item, false, out)?,
            Some(b'"') => {
                let text: String = serde_json::from_str(text).map_err(|error| error.to_string())?;
                put_quoted(&text, out);
            }
            _ => put_quoted(text, out),
        }
    }
    out.push('}');
    Ok(())
}

fn put_quoted(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

#[cfg(test)]
mod tests;
