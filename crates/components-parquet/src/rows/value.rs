//! Converts a Parquet value to JSON, with a text that databases accept. A value without such a text
//! is written in its stored form, with the reason as an error.

use formats::avro::schema::value::decimal;
use formats::calendar::{self, TimeForm};
use formats::rows::{put_bytes, put_day, put_text, put_time, put_time_of_day, put_uuid};
use std::fmt::{Display, Write};

pub(super) use formats::rows::put_number as number;

use super::column::Form;

/// INT96 day number of 1970-01-01.
const JULIAN_DAY_OF_1970: i64 = 2_440_588;
const NANOS_OF_DAY: i128 = 86_400_000_000_000;

fn plain(number: impl Display, out: &mut String) {
    write!(out, "{number}").expect("a string takes it");
}

/// Writes an integer.
///
/// # Errors
/// Why it has no text.
/// Why it has no text.
pub(super) fn whole(
    form: Form,
    number: i64,
    unsigned: impl Display,
    out: &mut String,
) -> Result<(), String> {
    let written = match form {
        Form::Unsigned => {
            plain(unsigned, out);
            return Ok(());
        }
        Form::Decimal(_) => return bytes(form, &number.to_be_bytes(), out),
        Form::Day => {
            let day =
                i32::try_from(number).map_err(|_| "a date does not fit in 32 bits".to_owned());
            day.map(|day| put_day(day, out))
        }
        Form::Time(parts) => put_time_of_day(number, parts, out),
        Form::Instant { parts, is_utc } => {
            put_time(number, parts, is_utc, out);
            return Ok(());
        }
        Form::Plain | Form::Text | Form::Uuid => {
            plain(number, out);
            return Ok(());
        }
    };
    if written.is_err() {
        plain(number, out);
    }
    written
}

/// Writes an INT96 timestamp: nanoseconds of a day, and the day.
///
/// # Errors
/// Why it has no text.
pub(super) fn nanos(words: &[u32], out: &mut String) -> Result<(), String> {
    let &[low, high, day] = words else { return Err("a time does not have 12 bytes".to_owned()) };
    let of_day = i64::from(low) | i64::from(high) << 32;
    let days = i128::from(i64::from(day) - JULIAN_DAY_OF_1970);
    let all = days * NANOS_OF_DAY + i128::from(of_day);
    out.push('"');
    calendar::put_nanos(all, TimeForm::Utc, out);
    out.push('"');
    Ok(())
}

/// Writes bytes, and types stored as bytes.
///
/// # Errors
/// Why they have no text.
pub(super) fn bytes(form: Form, bytes: &[u8], out: &mut String) -> Result<(), String> {
    let problem = match form {
        Form::Text => match std::str::from_utf8(bytes) {
            Ok(text) => {
                put_text(text, out);
                return Ok(());
            }
            Err(_) => "text that is not UTF-8",
        },
        Form::Decimal(scale) => match decimal(bytes, scale) {
            Some(digits) => {
                out.push_str(&digits);
                return Ok(());
            }
            None => "a decimal with more than 76 digits",
        },
        Form::Uuid => match <[u8; 16]>::try_from(bytes) {
            Ok(bytes) => {
                put_uuid(bytes, out);
                return Ok(());
            }
            Err(_) => "a UUID without 16 bytes",
        },
        _ => {
            put_bytes(bytes, out);
            return Ok(());
        }
    };
    put_bytes(bytes, out);
    Err(problem.to_owned())
}
