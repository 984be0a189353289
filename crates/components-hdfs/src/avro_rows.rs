//! `avro_rows`: converts the records of an Avro container file to JSON objects or typed rows.
//!
//! ```text
//!   {id: long, at: timestamp-micros, price: decimal, raw: bytes}
//!     ─►   {"id":7,"at":"2026-11-26T16:00:00.25Z","price":-2.50,"raw":"AP8="}
//! ```
//!
//! The decoder `avro` returns records in binary. This decoder returns named fields with texts that
//! databases accept: dates and times in ISO 8601, bytes in base64, decimals with all digits. It
//! reads a file block by block, whatever its size.
//!
//! A record with a value that has no such text becomes an event whose body is its bytes in base64,
//! as a JSON text, and whose header `problem` contains the reason. A sink that expects objects puts
//! it into the dead letters.

use std::fmt::Write;
use std::io::BufRead;

use formats::avro::container::{Head, Records};
use formats::avro::schema::value::{Datum, Value, decimal};
use formats::rows::{
    PROBLEM, put_bytes, put_day, put_number, put_text, put_time, put_time_of_day, put_uuid,
};
use pipeline::units::ByteSize;
use pipeline::{
    BuildContext, BuildError, Component, Decoder, FileDecoder, FileError, FileFormat,
    MalformedMessage, Piece,
};
use rows::SCHEMA_HEADER;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the `avro_rows` decoder.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Form of a record in the body of its event.
    #[serde(default)]
    format: Format,
    /// Size limit of a block of a file, before and after decompression. Both forms are in memory.
    #[serde(default = "pipeline::units::mib::<16>")]
    block_max: ByteSize,
}

/// Form of a record in the body of its event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// An object with a member for each field.
    #[default]
    Json,
    /// A typed row, with its schema in the header `rows.schema`. The encoder `parquet` and the sink
    /// `sql` read it; for other components use `json`.
    Rows,
}

impl Component for Config {
    const KIND: &'static str = "avro_rows";
    type Role = dyn Decoder;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Decoder>, BuildError> {
        if self.block_max.0 == 0 || self.block_max > ByteSize::mib(256) {
            return Err(BuildError::invalid("block_max", "must be from 1B to 256MiB"));
        }
        Ok(Box::new(AvroRows { block_max: self.block_max.0 as usize, format: self.format }))
    }
}

struct AvroRows {
    block_max: usize,
    format: Format,
}

impl FileFormat for AvroRows {
    type File = File;
    const IS_TEXT: bool = false;

    fn begin(&self, is_message: bool) -> File {
        let records = Records::new(self.block_max, is_message);
        File { records, format: self.format, typed: None, body: Vec::new() }
    }
}

struct File {
    records: Records,
    format: Format,
    /// The schema of rows and its text, once the file's header was read.
    typed: Option<(rows::Schema, String)>,
    body: Vec<u8>,
}

impl File {
    /// Reads the schema of rows, if the records become rows.
    ///
    /// # Errors
    /// The file cannot be read, or rows cannot have one of its types.
    fn begin(&mut self, file: &mut dyn BufRead) -> Result<(), FileError> {
        if self.format == Format::Json || self.typed.is_some() {
            return Ok(());
        }
        let Some(head) = self.records.head(file)? else { return Ok(()) };
        let schema = head.schema.rows().map_err(|problem| {
            let problem = format!(
                "the schema of the file cannot become typed rows: {problem}; set `format = \
                 \"json\"` in the decoder"
            );
            FileError::Malformed(MalformedMessage { problem })
        })?;
        let text = schema.to_text();
        self.typed = Some((schema, text));
        Ok(())
    }
}

impl FileDecoder for File {
    fn skip_events(&mut self, file: &mut dyn BufRead, events: u64) -> Result<(), FileError> {
        self.records.pass_over(file, events)
    }

    fn read(&mut self, file: &mut dyn BufRead, piece: &mut Piece<'_>) -> Result<bool, FileError> {
        self.begin(file)?;
        let (body, typed) = (&mut self.body, self.typed.as_ref());
        self.records.next(file, |head, record, _| {
            let problem = match typed {
                Some((schema, _)) => typed_row(head, schema, record, body).err(),
                None => row(head, record, body).err(),
            };
            let own = match (&problem, typed) {
                (Some(problem), _) => Some((PROBLEM, &**problem)),
                (None, Some((_, text))) => Some((SCHEMA_HEADER, &**text)),
                (None, None) => None,
            };
            piece.put(body, own.as_slice()).then_some(body.len())
        })
    }
}

/// Overwrites `body` with the typed row of a record; or with its bytes after an error.
///
/// # Errors
/// Why the record is not a row.
fn typed_row(
    head: &Head,
    schema: &rows::Schema,
    record: &[u8],
    body: &mut Vec<u8>,
) -> Result<(), String> {
    body.clear();
    head.schema.put_row(schema, record, body).inspect_err(|_| encoded(record, body))
}

/// Overwrites `body` with bytes in Base64, as a JSON text.
fn encoded(record: &[u8], body: &mut Vec<u8>) {
    let mut text = String::new();
    put_bytes(record, &mut text);
    *body = text.into_bytes();
}

/// Overwrites `body` with the object of a record; or with its bytes after an error.
///
/// # Errors
/// Why the record is not a row.
fn row(head: &Head, record: &[u8], body: &mut Vec<u8>) -> Result<(), String> {
    let mut text = String::from_utf8(std::mem::take(body)).unwrap_or_default();
    text.clear();
    let datum = head.schema.read(record).map_err(|problem| problem.to_string());
    let written = datum.and_then(|datum| match datum.value() {
        Value::Named => put(datum, &mut text),
        _ => Err("the schema of the file is not a record, so its values have no names; write \
                  records, or use another `decoder`"
            .to_owned()),
    });
    *body = text.into_bytes();
    written.inspect_err(|_| encoded(record, body))
}

/// Appends a value as JSON.
fn put(datum: Datum<'_>, out: &mut String) -> Result<(), String> {
    match datum.value() {
        Value::Null => out.push_str("null"),
        Value::Boolean(value) => out.push_str(if value { "true" } else { "false" }),
        Value::Whole(number) => write!(out, "{number}").expect("a string takes it"),
        // With the fewest digits that identify this 32-bit number.
        Value::Float(number) => put_number(&number.to_string(), number.is_finite(), out),
        Value::Double(number) => put_number(&number.to_string(), number.is_finite(), out),
        Value::Text(text) => put_text(text, out),
        Value::Bytes(bytes) => put_bytes(bytes, out),
        Value::Decimal(bytes, scale) => {
            let text = decimal(bytes, scale).ok_or("a decimal has more than 76 digits")?;
            out.push_str(&text);
        }
        Value::Day(day) => put_day(day, out),
        Value::Time(count, parts) => put_time(count, parts, true, out),
        Value::LocalTime(count, parts) => put_time(count, parts, false, out),
        Value::TimeOfDay(count, parts) => put_time_of_day(count, parts, out)?,
        Value::Uuid(bytes) => put_uuid(bytes, out),
        list @ (Value::Array | Value::Named) => {
            let (open, close) = if list == Value::Array { ('[', ']') } else { ('{', '}') };
            let (mut before, mut problem) = (open, None);
            datum.each(|name, inner| {
                out.push(before);
                before = ',';
                if let Some(name) = name {
                    put_text(name, out);
                    out.push(':');
                }
                let written = put(inner, out).map_err(|problem| match name {
                    Some(name) => format!("`{name}`: {problem}"),
                    None => problem,
                });
                problem = problem.take().or(written.err());
            });
            if before == open {
                out.push(open);
            }
            out.push(close);
            return problem.map_or(Ok(()), Err);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
