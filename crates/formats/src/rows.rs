//! Formats values of a row object in JSON, as databases accept them. For decoders of typed files.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Header of an event that is not a row: the description of the problem.
pub const PROBLEM: &str = "problem";

/// Appends a string.
pub fn put_text(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// Appends bytes in Base64.
pub fn put_bytes(bytes: &[u8], out: &mut String) {
    put_text(&BASE64_STANDARD.encode(bytes), out);
}

/// Appends a number with a fraction, from its text in Rust; a non-finite one becomes a string, as
/// PostgreSQL reads it.
pub fn put_number(text: &str, is_finite: bool, out: &mut String) {
    match (is_finite, text) {
        (true, _) => out.push_str(text),
        (false, "inf") => put_text("Infinity", out),
        (false, "-inf") => put_text("-Infinity", out),
        (false, _) => put_text("NaN", out),
    }
}

/// Appends a date: the number of days since 1970-01-01.
///
/// # Errors
/// Fails if it is out of range.
pub fn put_day(day: i32, out: &mut String) -> Result<(), String> {
    let at = jiff::civil::date(1970, 1, 1).checked_add(i64::from(day).days());
    let at = at.map_err(|_| format!("{day} days since 1970 are beyond the year 9999"))?;
    write!(out, "\"{at}\"").expect("a string takes it");
    Ok(())
}

/// Appends a time: a count since 1970 in units of `parts` per second; without a zone unless it is
/// in UTC.
///
/// # Errors
/// Fails if it is out of range.
pub fn put_time(count: i64, parts: i64, is_utc: bool, out: &mut String) -> Result<(), String> {
    let nanos = i128::from(count) * 1_000_000_000 / i128::from(parts);
    let at = Timestamp::from_nanosecond(nanos);
    let at = at.map_err(|_| format!("{count}/{parts} s since 1970 are beyond the year 9999"))?;
    let written = match is_utc {
        true => write!(out, "\"{at}\""),
        false => write!(out, "\"{}\"", at.to_zoned(TimeZone::UTC).datetime()),
    };
    written.expect("a string takes it");
    Ok(())
}
