//! Decodes row events into changes.
//!
//! ```text
//!   image   a bit for each column that is NULL, then the other values in sequence
//!   value   by its type in the table map: a number, or a length and that many bytes
//! ```
//!
//! Numbers are little-endian; parts of decimals and times are big-endian. `mysql_common` can read
//! rows, too, but loses negative times with one or two fractional digits, and does not restore the
//! trailing zeros of `BINARY` (docs/adr/0075).

use bytes::{Buf, TryGetError};
use jiff::tz::TimeZone;
use mysql_async::Value as Theirs;
use mysql_async::binlog::events::{Event, EventData, RowsEventData};
use mysql_async::consts::ColumnType as T;

use super::super::assemble::Change;
use super::super::change::{Cell, Old, Row};
use super::json;
use super::table::{Charset, MappedTable, Shape, undecodable};
use crate::mysql;
use crate::value::Value;

/// Returns the changes of an event.
///
/// # Errors
/// The event cannot be decoded.
pub(super) fn changes(mapped: &MappedTable, event: &Event) -> Result<Vec<Change>, String> {
    decoded(mapped, event)
        .map_err(|problem| format!("table {}.{}: {problem}", mapped.schema, mapped.name))
}

fn decoded(mapped: &MappedTable, event: &Event) -> Result<Vec<Change>, String> {
    let data = event.read_data().map_err(|error| undecodable("rows", &error))?;
    let Some(EventData::RowsEvent(rows)) = data else { return Ok(Vec::new()) };
    let images = [rows.columns_before_image(), rows.columns_after_image()];
    if rows.num_columns() != mapped.shapes.len() as u64
        || images.iter().flatten().any(|image| !image.all())
    {
        return Err(
            "a row of the binary log lacks columns; do not set `binlog_row_image` in any session, \
             and rename the source to start again"
                .to_owned(),
        );
    }
    let (mut changes, mut bytes) = (Vec::new(), rows.rows_data());
    let bytes = &mut bytes;
    while !bytes.is_empty() {
        let old = |row| Old { is_whole: true, row };
        changes.push(match &rows {
            RowsEventData::WriteRowsEvent(_) | RowsEventData::WriteRowsEventV1(_) => {
                Change::Insert(image(&mapped.shapes, bytes)?)
            }
            RowsEventData::DeleteRowsEvent(_) | RowsEventData::DeleteRowsEventV1(_) => {
                Change::Delete(old(image(&mapped.shapes, bytes)?))
            }
            _ => {
                let before = Some(old(image(&mapped.shapes, bytes)?));
                Change::Update { old: before, new: image(&mapped.shapes, bytes)? }
            }
        });
    }
    Ok(changes)
}

/// Decodes a row image.
///
/// # Errors
/// The image is truncated, or a column has an unknown type.
fn image(shapes: &[Shape], bytes: &mut &[u8]) -> Result<Row, String> {
    let nulls = take(bytes, shapes.len().div_ceil(8)).map_err(cut)?;
    let mut row = Vec::with_capacity(shapes.len());
    for (at, shape) in shapes.iter().enumerate() {
        let is_null = nulls[at / 8] >> (at % 8) & 1 == 1;
        row.push(match is_null {
            true => Cell::Null,
            false => Cell::Value(value(shape, bytes)?),
        });
    }
    Ok(row)
}

fn cut(_: TryGetError) -> String {
    undecodable("a row", &"truncated")
}

/// Takes the next bytes.
fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], TryGetError> {
    let missing = TryGetError { requested: count, available: bytes.len() };
    let (taken, rest) = bytes.split_at_checked(count).ok_or(missing)?;
    *bytes = rest;
    Ok(taken)
}

fn little(bytes: &mut &[u8], count: usize) -> Result<u64, TryGetError> {
    Ok(take(bytes, count)?.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

fn big(bytes: &mut &[u8], count: usize) -> Result<i64, TryGetError> {
    Ok(take(bytes, count)?.iter().fold(0, |sum, byte| sum << 8 | i64::from(*byte)))
}

/// Reads an integer of this many bytes.
fn int(bytes: &mut &[u8], count: usize, is_unsigned: bool) -> Result<Theirs, TryGetError> {
    let number = little(bytes, count)?;
    let above = 64 - 8 * count as u32;
    Ok(match is_unsigned {
        true => Theirs::UInt(number),
        false => Theirs::Int((number << above) as i64 >> above),
    })
}

fn value(shape: &Shape, bytes: &mut &[u8]) -> Result<Value, String> {
    let Some(theirs) = theirs(shape, bytes).map_err(cut)? else {
        return Err(format!(
            "the column `{}` has the unsupported type {:?}; convert the column, or remove the \
             table from `tables`",
            shape.name, shape.kind
        ));
    };
    if let (T::MYSQL_TYPE_JSON, Theirs::Bytes(bytes)) = (shape.kind, &theirs) {
        let text = json::text(bytes).map_err(|error| format!("`{}`: {error}", shape.name))?;
        return Ok(Value::Raw(text));
    }
    let theirs = match (theirs, shape.charset) {
        (Theirs::Bytes(bytes), Charset::Latin1) => {
            let (text, _) = encoding_rs::WINDOWS_1252.decode_without_bom_handling(&bytes);
            Theirs::Bytes(text.into_owned().into_bytes())
        }
        (theirs, _) => theirs,
    };
    Ok(mysql::value(theirs, shape.kind, shape.charset == Charset::Binary))
}

/// Returns the value as the client represents it; `None` for an unknown type.
fn theirs(shape: &Shape, bytes: &mut &[u8]) -> Result<Option<Theirs>, TryGetError> {
    let [first, second] = shape.meta;
    let (first, second) = (usize::from(first), usize::from(second));
    Ok(Some(match shape.kind {
        T::MYSQL_TYPE_TINY => int(bytes, 1, shape.is_unsigned)?,
        T::MYSQL_TYPE_SHORT => int(bytes, 2, shape.is_unsigned)?,
        T::MYSQL_TYPE_INT24 => int(bytes, 3, shape.is_unsigned)?,
        T::MYSQL_TYPE_LONG => int(bytes, 4, shape.is_unsigned)?,
        T::MYSQL_TYPE_LONGLONG => int(bytes, 8, shape.is_unsigned)?,
        T::MYSQL_TYPE_FLOAT => Theirs::Float(bytes.try_get_f32_le()?),
        T::MYSQL_TYPE_DOUBLE => Theirs::Double(bytes.try_get_f64_le()?),
        T::MYSQL_TYPE_YEAR => Theirs::Int(match bytes.try_get_u8()? {
            0 => 0,
            year => 1900 + i64::from(year),
        }),
        T::MYSQL_TYPE_NEWDECIMAL => Theirs::Bytes(decimal(bytes, first, second)?.into_bytes()),
        T::MYSQL_TYPE_BIT => Theirs::Bytes(take(bytes, second + first.div_ceil(8))?.to_vec()),
        _ => match date(shape, bytes)? {
            Some(date) => date,
            None => return text(shape, bytes),
        },
    }))
}

/// Reads a date or a time.
fn date(shape: &Shape, bytes: &mut &[u8]) -> Result<Option<Theirs>, TryGetError> {
    let first = usize::from(shape.meta[0]);
    Ok(Some(match shape.kind {
        T::MYSQL_TYPE_DATE | T::MYSQL_TYPE_NEWDATE => {
            let date = little(bytes, 3)?;
            let (day, month) = ((date & 31) as u8, (date >> 5 & 15) as u8);
            Theirs::Date((date >> 9) as u16, month, day, 0, 0, 0, 0)
        }
        T::MYSQL_TYPE_TIMESTAMP => moment(little(bytes, 4)? as i64, 0),
        T::MYSQL_TYPE_TIMESTAMP2 => {
            let seconds = bytes.try_get_u32()?;
            moment(seconds.into(), fraction(bytes, first)?)
        }
        T::MYSQL_TYPE_DATETIME2 => {
            let packed = big(bytes, 5)? - (1 << 39);
            let micros = fraction(bytes, first)?;
            let months = packed >> 22;
            Theirs::Date(
                (months / 13) as u16,
                (months % 13) as u8,
                (packed >> 17 & 31) as u8,
                (packed >> 12 & 31) as u8,
                (packed >> 6 & 63) as u8,
                (packed & 63) as u8,
                micros,
            )
        }
        T::MYSQL_TYPE_TIME2 => time(bytes, first)?,
        _ => return Ok(None),
    }))
}

/// Reads text, bytes, or choices.
fn text(shape: &Shape, bytes: &mut &[u8]) -> Result<Option<Theirs>, TryGetError> {
    let [first, second] = shape.meta;
    let (first, second) = (usize::from(first), usize::from(second));
    Ok(Some(match shape.kind {
        T::MYSQL_TYPE_ENUM => {
            let index = little(bytes, second)? as usize;
            // 0 means a text outside of the choices.
            let label = index.checked_sub(1).and_then(|at| shape.labels.get(at));
            Theirs::Bytes(label.cloned().unwrap_or_default())
        }
        T::MYSQL_TYPE_SET => {
            let set = little(bytes, second)?;
            let labels = shape.labels.iter().enumerate().filter(|(at, _)| set >> at & 1 == 1);
            let labels: Vec<&[u8]> = labels.map(|(_, label)| &**label).collect();
            Theirs::Bytes(labels.join(&b','))
        }
        T::MYSQL_TYPE_STRING => {
            // The type byte contains two inverted bits of the length.
            let length = second | ((first & 0x30) ^ 0x30) << 4;
            let count = little(bytes, if length > 255 { 2 } else { 1 })? as usize;
            let mut text = take(bytes, count)?.to_vec();
            if shape.charset == Charset::Binary {
                // Trailing zeros are not in the log.
                text.resize(length.max(count), 0);
            }
            Theirs::Bytes(text)
        }
        T::MYSQL_TYPE_VARCHAR | T::MYSQL_TYPE_VAR_STRING => {
            let length = first | second << 8;
            let count = little(bytes, if length > 255 { 2 } else { 1 })? as usize;
            Theirs::Bytes(take(bytes, count)?.to_vec())
        }
        T::MYSQL_TYPE_BLOB
        | T::MYSQL_TYPE_TINY_BLOB
        | T::MYSQL_TYPE_MEDIUM_BLOB
        | T::MYSQL_TYPE_LONG_BLOB
        | T::MYSQL_TYPE_GEOMETRY
        | T::MYSQL_TYPE_JSON
            if (1..=4).contains(&first) =>
        {
            let count = little(bytes, first)? as usize;
            Theirs::Bytes(take(bytes, count)?.to_vec())
        }
        _ => return Ok(None),
    }))
}

/// Reads microseconds, stored with this many digits.
fn fraction(bytes: &mut &[u8], digits: usize) -> Result<u32, TryGetError> {
    let written = big(bytes, digits.div_ceil(2))? as u32;
    Ok(written * [1, 10_000, 100, 1][digits.div_ceil(2).min(3)])
}

/// Converts seconds since 1970 in UTC; 0 is the zero date.
fn moment(seconds: i64, micros: u32) -> Theirs {
    let at = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    if (seconds, micros) == (0, 0) {
        return Theirs::Date(0, 0, 0, 0, 0, 0, 0);
    }
    let at = at.to_zoned(TimeZone::UTC).datetime();
    let (hour, minute, second) = (at.hour() as u8, at.minute() as u8, at.second() as u8);
    Theirs::Date(at.year() as u16, at.month() as u8, at.day() as u8, hour, minute, second, micros)
}

/// Reads a time: a number with an offset, whose last bytes are the fraction.
fn time(bytes: &mut &[u8], digits: usize) -> Result<Theirs, TryGetError> {
    let behind = digits.div_ceil(2);
    let packed = big(bytes, 3 + behind)? - (1 << (23 + 8 * behind));
    let (is_negative, packed) = (packed < 0, packed.unsigned_abs());
    let micros = (packed & ((1 << (8 * behind)) - 1)) as u32 * [1, 10_000, 100, 1][behind.min(3)];
    let packed = packed >> (8 * behind);
    let hours = (packed >> 12 & 1023) as u32;
    let (minutes, seconds) = ((packed >> 6 & 63) as u8, (packed & 63) as u8);
    Ok(Theirs::Time(is_negative, hours / 24, (hours % 24) as u8, minutes, seconds, micros))
}

/// Reads a decimal: groups of nine digits in four bytes, with smaller groups at both ends. The
/// highest bit is inverted; negative numbers have all bits inverted.
pub(super) fn decimal(
    bytes: &mut &[u8],
    digits: usize,
    behind: usize,
) -> Result<String, TryGetError> {
    const BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
    let before = digits.saturating_sub(behind);
    let size = before / 9 * 4 + BYTES[before % 9] + behind / 9 * 4 + BYTES[behind % 9];
    let mut written = take(bytes, size)?.to_vec();
    let is_negative = written.first().is_some_and(|first| first & 0x80 == 0);
    if let Some(first) = written.first_mut() {
        *first ^= 0x80;
    }
    if is_negative {
        written.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let mut rest = &*written;
    let mut group = |digits: usize| -> Result<String, TryGetError> {
        let number = big(&mut rest, BYTES[digits])?;
        Ok(if digits == 0 { String::new() } else { format!("{number:0digits$}") })
    };
    let mut text = group(before % 9)?;
    for _ in 0..before / 9 {
        text += &group(9)?;
    }
    let whole = text.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let mut text = format!("{}{whole}", if is_negative { "-" } else { "" });
    if behind > 0 {
        text.push('.');
        for _ in 0..behind / 9 {
            text += &group(9)?;
        }
        text += &group(behind % 9)?;
    }
    Ok(text)
}
