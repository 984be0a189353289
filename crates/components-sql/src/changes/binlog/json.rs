//! Converts MySQL's binary JSON to the text that a SELECT returns.
//!
//! `mysql_common` parses the binary format. Its own text differs from the server's in the order of
//! members and in the format of numbers, dates and bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mysql_common::binlog::jsonb::{ObjectKey, OpaqueValue, Value as Theirs};
use mysql_common::constants::ColumnType as T;
use mysql_common::io::ParseBuf;

use super::row::decimal;

/// Line length of the server's base64.
const LINE: usize = 76;

/// Returns the text of a value.
///
/// # Errors
/// The value is truncated, or contains something that JSON cannot represent.
pub(super) fn text(bytes: &[u8]) -> Result<String, String> {
    // Sessions without strict mode may omit a value; it reads as `null`.
    if bytes.is_empty() {
        return Ok("null".to_owned());
    }
    let mut text = String::new();
    put(&ParseBuf(bytes).parse(()).map_err(odd)?, &mut text)?;
    Ok(text)
}

fn odd(error: impl std::fmt::Display) -> String {
    format!("cannot decode a JSON value of the binary log: {error}; report this as a bug")
}

fn put(value: &Theirs<'_>, text: &mut String) -> Result<(), String> {
    match value {
        Theirs::Null => text.push_str("null"),
        Theirs::Bool(it) => text.push_str(&it.to_string()),
        Theirs::I16(it) => text.push_str(&it.to_string()),
        Theirs::U16(it) => text.push_str(&it.to_string()),
        Theirs::I32(it) => text.push_str(&it.to_string()),
        Theirs::U32(it) => text.push_str(&it.to_string()),
        Theirs::I64(it) => text.push_str(&it.to_string()),
        Theirs::U64(it) => text.push_str(&it.to_string()),
        Theirs::F64(it) => text.push_str(&double(*it)),
        Theirs::String(it) => quoted(it.str_raw(), text)?,
        Theirs::SmallArray(it) => array(it.iter(), text)?,
        Theirs::LargeArray(it) => array(it.iter(), text)?,
        Theirs::SmallObject(it) => object(it.iter(), text)?,
        Theirs::LargeObject(it) => object(it.iter(), text)?,
        Theirs::Opaque(it) => opaque(it, text)?,
    }
    Ok(())
}

fn array<'a>(
    values: impl Iterator<Item = std::io::Result<Theirs<'a>>>,
    text: &mut String,
) -> Result<(), String> {
    text.push('[');
    for (at, value) in values.enumerate() {
        text.push_str(if at == 0 { "" } else { "," });
        put(&value.map_err(odd)?, text)?;
    }
    text.push(']');
    Ok(())
}

/// Members keep the order of the binary format, which the server uses, too.
fn object<'a>(
    members: impl Iterator<Item = std::io::Result<(ObjectKey<'a>, Theirs<'a>)>>,
    text: &mut String,
) -> Result<(), String> {
    text.push('{');
    for (at, member) in members.enumerate() {
        let (key, value) = member.map_err(odd)?;
        text.push_str(if at == 0 { "" } else { "," });
        quoted(key.value_raw(), text)?;
        text.push(':');
        put(&value, text)?;
    }
    text.push('}');
    Ok(())
}

fn quoted(bytes: &[u8], text: &mut String) -> Result<(), String> {
    let it = std::str::from_utf8(bytes).map_err(odd)?;
    text.push_str(&serde_json::Value::from(it).to_string());
    Ok(())
}

/// Formats a fraction: as decimal with up to 15 digits before the point and up to 14 zeros after
/// it, otherwise with an exponent.
fn double(number: f64) -> String {
    let written = format!("{number:e}");
    let Some((digits, exponent)) = written.split_once('e') else { return written };
    let length = digits.bytes().filter(u8::is_ascii_digit).count() as i32;
    let point = exponent.parse::<i32>().unwrap_or_default() + 1;
    match number == 0.0 || (point >= -14 && (point <= 15 || length > point)) {
        true if length <= point || number == 0.0 => format!("{number}.0"),
        true => number.to_string(),
        false => written,
    }
}

/// Formats a value without a JSON type.
fn opaque(value: &OpaqueValue<'_>, text: &mut String) -> Result<(), String> {
    let data = value.data_raw();
    let number = || data.first_chunk().map(|it| i64::from_le_bytes(*it)).ok_or_else(|| odd("cut"));
    let it = match value.value_type() {
        T::MYSQL_TYPE_NEWDECIMAL => {
            let [digits, behind, rest @ ..] = data else { return Err(odd("cut")) };
            let (digits, behind) = ((*digits).into(), (*behind).into());
            text.push_str(&decimal(&mut &*rest, digits, behind).map_err(odd)?);
            return Ok(());
        }
        T::MYSQL_TYPE_DATE => day(number()?),
        T::MYSQL_TYPE_TIME => time(number()?),
        T::MYSQL_TYPE_DATETIME | T::MYSQL_TYPE_TIMESTAMP => {
            format!("{} {}", day(number()?), time(number()? & ((1 << 41) - 1)))
        }
        kind => {
            let letters = STANDARD.encode(data);
            let lines: Vec<&[u8]> = letters.as_bytes().chunks(LINE).collect();
            let lines = String::from_utf8_lossy(&lines.join(&b'\n')).into_owned();
            format!("base64:type{}:{lines}", kind as u8)
        }
    };
    quoted(it.as_bytes(), text)
}

/// Formats a date, whose bits are above the bits of the time.
fn day(packed: i64) -> String {
    let (months, day) = (packed >> 46, packed >> 41 & 31);
    format!("{:04}-{:02}-{day:02}", months / 13, months % 13)
}

/// Formats hours, minutes, seconds and 24 bits of microseconds.
fn time(packed: i64) -> String {
    let (sign, packed) = (if packed < 0 { "-" } else { "" }, packed.unsigned_abs());
    let (hms, micros) = (packed >> 24, packed & 0xff_ffff);
    let (hours, minutes, seconds) = (hms >> 12 & 1023, hms >> 6 & 63, hms & 63);
    format!("{sign}{hours:02}:{minutes:02}:{seconds:02}.{micros:06}")
}
