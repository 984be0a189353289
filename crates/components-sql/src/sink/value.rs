//! Converts values for a column, depending on its type.
//!
//! Most values stay text, because a database converts text with its own rules and messages.
//! Converted are bytes, which text cannot carry; values that a database would silently misread (a
//! zone that a column does not keep); and values for SQLite, whose columns accept any type.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
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
    /// A PostgreSQL array.
    Array,
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
                let text = std::str::from_utf8(bytes).map_err(|_| "the body is not UTF-8")?;
                self.of_text(text.to_owned())
            }
            EventValue::Json(raw) => self.of_json(raw),
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
            Some(b'[') if self == Self::Array => {
                let mut array = String::new();
                put_array(raw, &mut array)?;
                Ok(Value::Text(array))
            }
            _ => self.of_text(text.to_owned()),
        }
    }

    fn is_numeric(self) -> bool {
        matches!(self, Self::Number | Self::StrictInt | Self::StrictReal | Self::StrictNumeric)
    }

    fn of_text(self, text: String) -> Result<Value, String> {
        match self {
            Self::Text | Self::Array => Ok(Value::Text(text)),
            Self::Number => match (text.trim().parse(), real(&text)) {
                (Ok(number), _) => Ok(Value::Int(number)),
                (Err(_), Ok(_)) => Ok(Value::Text(text)),
                (Err(_), Err(problem)) => Err(problem),
            },
            Self::Bytes => {
                let bytes = BASE64_STANDARD.decode(&text);
                bytes.map(Value::Bytes).map_err(|error| format!("not base64: {error}"))
            }
            Self::Moment => Ok(Value::Text(match of_millis(&text)? {
                Some(at) => at.to_string(),
                None => text,
            })),
            Self::Civil => {
                let at = match of_millis(&text)? {
                    Some(at) => Some(at),
                    // Text without a zone is not a timestamp, and stays unchanged.
                    None => text.parse::<Timestamp>().ok(),
                };
                Ok(Value::Text(match at {
                    Some(at) => at.strftime("%Y-%m-%d %H:%M:%S%.f").to_string(),
                    None => text,
                }))
            }
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

/// Parses a timestamp in milliseconds since 1970, as in headers.
fn of_millis(text: &str) -> Result<Option<Timestamp>, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let at = text.parse().ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
    at.map(Some)
        .ok_or_else(|| format!("the time {} (ms since 1970) is after the year 9999", shown(text)))
}

/// Returns the start of a value for messages.
fn shown(text: &str) -> String {
    let cut: String = text.chars().take(40).collect();
    if cut.len() < text.len() { format!("`{cut}…`") } else { format!("`{cut}`") }
}

/// Converts a JSON array to PostgreSQL's notation.
fn put_array(raw: &RawValue, out: &mut String) -> Result<(), String> {
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
            Some(b'[') => put_array(item, out)?,
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
mod tests {
    use super::*;

    fn json(kind: Kind, text: &str) -> Result<Value, String> {
        let raw: &RawValue = serde_json::from_str(text).unwrap();
        kind.convert(EventValue::Json(raw))
    }

    fn text(text: &str) -> Result<Value, String> {
        Ok(Value::Text(text.to_owned()))
    }

    #[test]
    fn numbers_keep_every_digit_and_only_null_is_null() {
        let long = "123456789012345678901234567890.000000000000000000010";
        assert_eq!(json(Kind::Text, long), text(long));
        assert_eq!(json(Kind::Text, "null"), Ok(Value::Null));
        assert_eq!(json(Kind::Text, "\"null\""), text("null"));
        assert_eq!(json(Kind::Text, "{\"a\": [1]}"), text("{\"a\": [1]}"));
        assert_eq!(json(Kind::Text, "true"), text("true"));
        assert_eq!(json(Kind::Number, "true"), Ok(Value::Int(1)));
        assert_eq!(json(Kind::Number, long), text(long));
        assert_eq!(json(Kind::Number, "18446744073709551615"), text("18446744073709551615"));
        assert!(json(Kind::Number, "\"12abc\"").unwrap_err().contains("not a number"));
        assert_eq!(json(Kind::StrictInt, "false"), Ok(Value::Int(0)));
    }

    #[test]
    fn a_moment_without_a_zone_in_its_column_is_that_of_utc() {
        for (given, moment, civil) in [
            ("2026-11-26T18:00:00+02:00", "2026-11-26T18:00:00+02:00", "2026-11-26 16:00:00"),
            ("2026-11-26 18:00:00", "2026-11-26 18:00:00", "2026-11-26 18:00:00"),
            ("1700000000123", "2023-11-14T22:13:20.123Z", "2023-11-14 22:13:20.123"),
            ("-1", "1969-12-31T23:59:59.999Z", "1969-12-31 23:59:59.999"),
            ("soon", "soon", "soon"),
        ] {
            assert_eq!(Kind::Moment.convert(EventValue::Text(given)), text(moment), "{given}");
            assert_eq!(Kind::Civil.convert(EventValue::Text(given)), text(civil), "{given}");
        }
        let far = Kind::Civil.convert(EventValue::Text("999999999999999999"));
        assert!(far.unwrap_err().contains("after the year 9999"));
    }

    #[test]
    fn bytes_are_base64_in_text_and_themselves_in_a_body() {
        assert_eq!(json(Kind::Bytes, "\"AP8=\""), Ok(Value::Bytes(vec![0, 255])));
        assert!(json(Kind::Bytes, "\"A\"").unwrap_err().contains("base64"));
        let body = [0, 255];
        assert_eq!(Kind::Bytes.convert(EventValue::Bytes(&body)), Ok(Value::Bytes(body.to_vec())));
        assert!(Kind::Text.convert(EventValue::Bytes(&body)).unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn rejects_values_that_sqlite_would_store_as_text() {
        assert_eq!(json(Kind::StrictInt, "\"12\""), Ok(Value::Int(12)));
        assert!(json(Kind::StrictInt, "12.5").unwrap_err().contains("not a 64-bit integer"));
        assert_eq!(json(Kind::StrictReal, "12"), Ok(Value::Real(12.0)));
        assert_eq!(json(Kind::StrictNumeric, "12"), Ok(Value::Int(12)));
        assert!(json(Kind::StrictReal, "\"NaN\"").is_err());
    }

    #[test]
    fn an_array_is_written_as_postgresql_reads_it() {
        let given = r#"["a", "b\"c\\", null, "", 1.50, [true]]"#;
        assert_eq!(json(Kind::Array, given), text(r#"{"a","b\"c\\",NULL,"","1.50",{"true"}}"#));
        assert_eq!(json(Kind::Array, "\"{1,2}\""), text("{1,2}"));
    }
}
