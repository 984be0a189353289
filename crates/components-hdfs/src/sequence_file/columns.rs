//! A value of a class that Sqoop has generated: for each field whether it is NULL, and its bytes,
//! as `JdbcWritableBridge` and the class itself write them in Sqoop 1.4.7.
//!
//! | field | bytes |
//! |---|---|
//! | `Integer`, `Long`, `Float`, `Double`, `Boolean` | those of `DataOutput` |
//! | `String` | those of `Text.writeString` |
//! | `BigDecimal` | the scale; 1 and a long, or 0 and a text of its digits |
//! | `Date`, `Time` | milliseconds since 1970 |
//! | `Timestamp` | the same, and the nanoseconds of its second |
//! | `BytesWritable` | a length, and bytes |

use std::fmt::Write;

use bytes::Buf;
use formats::rows::{put_bytes, put_number, put_text};
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Deserialize;

use super::records::vint_of;
use super::times::{self, Part};

/// Digits behind the point of a decimal at most, or zeroes in front of it: no database has more.
const SCALE_MAX: i32 = 20_000;

/// A field of the class.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Column {
    /// Name of the column.
    name: String,
    /// Type of the field.
    #[serde(rename = "type")]
    kind: Kind,
}

/// A type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// `Integer`.
    Integer,
    /// `Long`.
    Long,
    /// `Float`.
    Float,
    /// `Double`.
    Double,
    /// `Boolean`.
    Boolean,
    /// `String`.
    String,
    /// `java.math.BigDecimal`.
    BigDecimal,
    /// `java.sql.Date`.
    Date,
    /// `java.sql.Time`.
    Time,
    /// `java.sql.Timestamp`.
    Timestamp,
    /// `org.apache.hadoop.io.BytesWritable`.
    Bytes,
}

/// The fields of a class.
pub(super) struct Columns {
    /// Each name, as JSON.
    of: Vec<(String, Kind)>,
    zone: Option<TimeZone>,
}

/// Bytes that are no value of the type.
fn not(what: &str) -> String {
    format!("there is no {what} where one is named")
}

impl Columns {
    pub(super) fn new(columns: Vec<Column>, zone: Option<TimeZone>) -> Self {
        let quoted = |name: String| serde_json::Value::from(name).to_string();
        let of = columns.into_iter().map(|Column { name, kind }| (quoted(name), kind)).collect();
        Self { of, zone }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Writes the object of a value over `body`. What is answered is why it is no row: the object
    /// is a text of JSON then.
    ///
    /// # Errors
    /// The bytes are not of these types.
    pub(super) fn object(
        &self,
        mut value: &[u8],
        body: &mut String,
    ) -> Result<Option<String>, String> {
        body.clear();
        let mut problem = None;
        for (at, (name, kind)) in self.of.iter().enumerate() {
            body.push(if at == 0 { '{' } else { ',' });
            body.push_str(name);
            body.push(':');
            let in_column = |problem: String| format!("{name}: {problem}");
            if boolean(&mut value).map_err(in_column)? {
                body.push_str("null");
                continue;
            }
            let unsaid = self.put(*kind, &mut value, body).map_err(in_column)?;
            if let Some(unsaid) = unsaid {
                body.push_str("null");
                problem = problem.or(Some(in_column(unsaid)));
            }
        }
        body.push('}');
        if !value.is_empty() {
            return Err(format!("{} bytes stand behind the last one", value.len()));
        }
        if problem.is_some() {
            let object = std::mem::take(body);
            put_text(&object, body);
        }
        Ok(problem)
    }

    /// Adds a value; what is answered is why it has no text.
    fn put(
        &self,
        kind: Kind,
        value: &mut &[u8],
        out: &mut String,
    ) -> Result<Option<String>, String> {
        let time = |ms: i64, part, out: &mut String| {
            Ok(times::put(ms, part, self.zone.as_ref(), out).err())
        };
        match kind {
            Kind::Integer => {
                let number = value.try_get_i32().map_err(|_| not("integer"))?;
                write!(out, "{number}").expect("a string takes it");
            }
            Kind::Long => {
                let number = long(value, "long")?;
                write!(out, "{number}").expect("a string takes it");
            }
            Kind::Float => {
                let number = value.try_get_f32().map_err(|_| not("float"))?;
                put_number(&number.to_string(), number.is_finite(), out);
            }
            Kind::Double => {
                let number = value.try_get_f64().map_err(|_| not("double"))?;
                put_number(&number.to_string(), number.is_finite(), out);
            }
            Kind::Boolean => out.push_str(if boolean(value)? { "true" } else { "false" }),
            Kind::String => put_text(string(value)?, out),
            Kind::BigDecimal => return decimal(value, out),
            Kind::Date => return time(long(value, "date")?, Part::Day, out),
            Kind::Time => return time(long(value, "time")?, Part::OfDay, out),
            Kind::Timestamp => {
                let ms = long(value, "timestamp")?;
                let nanos = value.try_get_u32().ok().filter(|nanos| *nanos < 1_000_000_000);
                let nanos = nanos.ok_or_else(|| not("timestamp"))?;
                return time(ms, Part::Moment { nanos }, out);
            }
            Kind::Bytes => {
                let length = value.try_get_u32().map_err(|_| not("`BytesWritable`"))? as usize;
                let (bytes, rest) =
                    value.split_at_checked(length).ok_or_else(|| not("`BytesWritable`"))?;
                *value = rest;
                put_bytes(bytes, out);
            }
        }
        Ok(None)
    }
}

fn boolean(value: &mut &[u8]) -> Result<bool, String> {
    match value.try_get_u8() {
        Ok(0) => Ok(false),
        Ok(1) => Ok(true),
        _ => Err(not("boolean")),
    }
}

fn long(value: &mut &[u8], what: &str) -> Result<i64, String> {
    value.try_get_i64().map_err(|_| not(what))
}

fn string<'a>(value: &mut &'a [u8]) -> Result<&'a str, String> {
    let length = vint_of(value).ok_or_else(|| not("string"))?;
    let (text, rest) = value.split_at_checked(length).ok_or_else(|| not("string"))?;
    *value = rest;
    std::str::from_utf8(text).map_err(|_| not("string of UTF-8"))
}

/// Adds a decimal, digit by digit.
fn decimal(value: &mut &[u8], out: &mut String) -> Result<Option<String>, String> {
    let scale = value.try_get_i32().map_err(|_| not("decimal"))?;
    let is_long = boolean(value).map_err(|_| not("decimal"))?;
    let number = match is_long {
        true => long(value, "decimal")?.to_string(),
        false => string(value)?.to_owned(),
    };
    let (sign, digits) = match number.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", &*number),
    };
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(not("decimal"));
    }
    let Some(places) = usize::try_from(scale.unsigned_abs())
        .ok()
        .filter(|_| (-SCALE_MAX..=SCALE_MAX).contains(&scale))
    else {
        return Ok(Some(format!("a decimal with {scale} digits behind its point")));
    };
    out.push_str(sign);
    if scale <= 0 {
        out.push_str(digits);
        if digits != "0" {
            out.extend(std::iter::repeat_n('0', places));
        }
        return Ok(None);
    }
    let digits = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    write!(out, "{whole}.{fraction}").expect("a string takes it");
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: Kind, value: &[u8]) -> Result<(String, Option<String>), String> {
        let columns = Columns { of: vec![("\"c\"".to_owned(), kind)], zone: None };
        let mut body = String::new();
        let problem = columns.object(value, &mut body)?;
        Ok((body, problem))
    }

    #[test]
    fn decimals_keep_every_digit() {
        for (scale, number, expected) in [
            (4, "125000", "12.5000"),
            (3, "-7", "-0.007"),
            (0, "42", "42"),
            (-3, "42", "42000"),
            (-3, "0", "0"),
            (1, "-99999999999999999999999999999", "-9999999999999999999999999999.9"),
        ] {
            let mut value = vec![0];
            value.extend(i32::to_be_bytes(scale));
            match number.parse::<i64>() {
                Ok(number) => value.extend([&[1][..], &number.to_be_bytes()].concat()),
                Err(_) => value.extend([&[0, number.len() as u8], number.as_bytes()].concat()),
            }
            let (body, problem) = read(Kind::BigDecimal, &value).unwrap();
            assert_eq!((&*body, problem), (&*format!("{{\"c\":{expected}}}"), None), "{number}");
        }
        let far = [&[0][..], &i32::MAX.to_be_bytes(), &[1], &1_i64.to_be_bytes()].concat();
        let (body, problem) = read(Kind::BigDecimal, &far).unwrap();
        assert!(body.starts_with('"') && problem.unwrap().contains("2147483647 digits"));
    }

    #[test]
    fn bytes_of_another_type_are_no_value() {
        for (kind, value) in [
            (Kind::Integer, &[0, 0, 0, 0][..]),
            (Kind::Integer, &[0, 0, 0, 0, 0, 0]),
            (Kind::Integer, &[2, 0, 0, 0, 0]),
            (Kind::Boolean, &[0, 2]),
            (Kind::String, &[0, 3, b'a', b'b']),
            (Kind::String, &[0, 1, 0xff]),
            (Kind::Bytes, &[0, 0, 0, 0, 9, 1]),
            (Kind::Timestamp, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0]),
            (Kind::BigDecimal, &[0, 0, 0, 0, 0, 0, 1, b'x']),
            (Kind::Long, &[]),
        ] {
            assert!(read(kind, value).is_err(), "{kind:?} {value:?}");
        }
        assert_eq!(read(Kind::Long, &[1]), Ok(("{\"c\":null}".to_owned(), None)));
    }
}
