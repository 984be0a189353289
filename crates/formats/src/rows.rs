//! Formats values of a row object in JSON, as databases accept them. For decoders of typed files.

use ::rows::{SCHEMA_HEADER, Schema};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use pipeline::{EventRef, Events};

use crate::calendar::{self, TimeForm};

/// Header of an event that is not a row: the description of the problem.
pub const PROBLEM: &str = "problem";

/// Returns why a body is not a row: the decoder's description if the event has one, which names the
/// column and the cause.
pub fn reason(event: EventRef<'_>, otherwise: impl Into<String>) -> String {
    event.header(PROBLEM).map_or_else(|| otherwise.into(), str::to_owned)
}

/// Returns whether any of the events has a typed row.
pub fn are_typed(events: &Events) -> bool {
    events.value_runs(SCHEMA_HEADER).any(|(value, _)| value.is_some())
}

/// The schema of the last typed row: it is parsed once for events with the same one.
#[derive(Debug, Default)]
pub struct SeenSchema {
    last: Option<(String, Result<Schema, String>)>,
}

impl SeenSchema {
    /// Returns the schema of an event; `None` if its body is not a typed row.
    ///
    /// # Errors
    /// Fails if its header is not a schema.
    pub fn schema(&mut self, event: EventRef<'_>) -> Result<Option<&Schema>, String> {
        event.header(SCHEMA_HEADER).map(|text| self.parse(text)).transpose()
    }

    fn parse(&mut self, text: &str) -> Result<&Schema, String> {
        let last = self.last.take().filter(|(seen, _)| *seen == text);
        let parse = || {
            let schema = Schema::parse(text);
            (
                text.to_owned(),
                schema.map_err(|problem| {
                    format!("the header `{SCHEMA_HEADER}`, the schema of the row, {problem}")
                }),
            )
        };
        let (_, schema) = self.last.insert(last.unwrap_or_else(parse));
        schema.as_ref().map_err(Clone::clone)
    }
}

const NANOS_OF_DAY: i64 = 86_400_000_000_000;

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

/// Appends a date: the number of days since 1970-01-01, or `infinity`.
pub fn put_day(day: i32, out: &mut String) {
    out.push('"');
    calendar::put_day(day, out);
    out.push('"');
}

/// Appends a time: a count since 1970 in units of `parts` per second, or `infinity`; without a zone
/// unless it is in UTC.
pub fn put_time(count: i64, parts: i64, is_utc: bool, out: &mut String) {
    out.push('"');
    let form = if is_utc { TimeForm::Utc } else { TimeForm::Local };
    calendar::put_count(count, parts, form, out);
    out.push('"');
}

/// Appends a time of day: a count since midnight in units of `parts` per second.
///
/// # Errors
/// Fails if it is out of range; nothing is appended.
pub fn put_time_of_day(count: i64, parts: i64, out: &mut String) -> Result<(), String> {
    let nanos = i128::from(count) * 1_000_000_000 / i128::from(parts);
    let nanos = i64::try_from(nanos).ok().filter(|nanos| (0..NANOS_OF_DAY).contains(nanos));
    let nanos = nanos.ok_or_else(|| format!("{count}/{parts} s is not a time of day"))?;
    out.push('"');
    calendar::put_time_of_day(nanos, out);
    out.push('"');
    Ok(())
}

/// Appends a UUID.
pub fn put_uuid(bytes: [u8; 16], out: &mut String) {
    put_text(&uuid(bytes), out);
}

/// Formats a UUID.
pub fn uuid(bytes: [u8; 16]) -> String {
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
