//! `avro_rows`: converts the records of an Avro container file to JSON objects.
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
    BatchBuilder, BuildContext, BuildError, Component, Decoder, FileDecoder, FileError,
    MalformedMessage, Message, PieceLimits, decode_message,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the `avro_rows` decoder.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Size limit of a block of a file, before and after decompression. Both forms are in memory.
    #[serde(default = "default_block_max")]
    block_max: ByteSize,
}

fn default_block_max() -> ByteSize {
    ByteSize::mib(16)
}

impl Component for Config {
    const KIND: &'static str = "avro_rows";
    type Role = dyn Decoder;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Decoder>, BuildError> {
        if self.block_max.0 == 0 || self.block_max > ByteSize::mib(256) {
            return Err(BuildError::invalid("block_max", "must be from 1B to 256MiB"));
        }
        Ok(Box::new(AvroRows { block_max: self.block_max.0 as usize }))
    }
}

struct AvroRows {
    block_max: usize,
}

impl AvroRows {
    fn begin(&self, is_message: bool) -> File {
        File { records: Records::new(self.block_max, is_message), body: String::new() }
    }
}

impl Decoder for AvroRows {
    fn decode(
        &self,
        message: &Message<'_>,
        events: &mut BatchBuilder,
    ) -> Result<(), MalformedMessage> {
        decode_message(self.begin(true), message, events)
    }

    fn is_text(&self) -> bool {
        false
    }

    fn begin_file(&self) -> Option<Box<dyn FileDecoder>> {
        Some(Box::new(self.begin(false)))
    }
}

struct File {
    records: Records,
    body: String,
}

impl FileDecoder for File {
    fn skip_events(&mut self, file: &mut dyn BufRead, events: u64) -> Result<(), FileError> {
        self.records.pass_over(file, events)
    }

    fn next(
        &mut self,
        file: &mut dyn BufRead,
        limits: PieceLimits,
        headers: &[(&str, &str)],
        events: &mut BatchBuilder,
    ) -> Result<bool, FileError> {
        let body = &mut self.body;
        self.records.next(file, |head, record, (taken, bytes)| {
            let problem = row(head, record, body).err();
            if limits.is_full(taken, bytes, body.len()) {
                return None;
            }
            let own = problem.as_deref().map(|problem| (PROBLEM, problem));
            let headers: Vec<_> = headers.iter().copied().chain(own).collect();
            events.push(body.as_bytes(), &headers);
            Some(body.len())
        })
    }
}

/// Overwrites `body` with the object of a record; or with its bytes after an error.
///
/// # Errors
/// Why the record is not a row.
fn row(head: &Head, record: &[u8], body: &mut String) -> Result<(), String> {
    body.clear();
    let datum = head.schema.read(record).map_err(|problem| problem.to_string());
    let written = datum.and_then(|datum| match datum.value() {
        Value::Named => put(datum, body),
        _ => Err("the schema of the file is not a record, so its values have no names; write \
                  records, or use another `decoder`"
            .to_owned()),
    });
    if written.is_err() {
        body.clear();
        put_bytes(record, body);
    }
    written
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
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use formats::avro::datum::{put_bytes, put_long};
    use serde_json::json;

    use super::*;

    /// Creates a container file of these records, in blocks of two.
    fn file(schema: &serde_json::Value, records: &[Vec<u8>]) -> Vec<u8> {
        let mut file = b"Obj\x01".to_vec();
        put_long(&mut file, 1);
        put_bytes(&mut file, b"avro.schema");
        put_bytes(&mut file, schema.to_string().as_bytes());
        put_long(&mut file, 0);
        file.extend([9; 16]);
        for block in records.chunks(2) {
            put_long(&mut file, block.len() as i64);
            put_bytes(&mut file, &block.concat());
            file.extend([9; 16]);
        }
        file
    }

    /// Returns bodies and problems, after skipping `passed` records.
    fn read(file: &[u8], passed: u64, limits: PieceLimits) -> Vec<(String, Option<String>)> {
        let cx = BuildContext::alone("in", "/d".as_ref(), env::real());
        let decoder = pipeline::testkit::build::<Config>(&json!({}), &cx).unwrap();
        let (mut bytes, mut decoder) = (file, decoder.begin_file().unwrap());
        decoder.skip_events(&mut bytes, passed).unwrap();
        let mut found = Vec::new();
        loop {
            let mut events = BatchBuilder::default();
            let is_more = decoder.next(&mut bytes, limits, &[("a", "b")], &mut events).unwrap();
            let batch = events.finish();
            assert!(batch.len() <= limits.events);
            for event in batch.iter() {
                assert_eq!(event.header("a"), Some("b"));
                let body = String::from_utf8(event.body().to_vec()).unwrap();
                found.push((body, event.header("problem").map(str::to_owned)));
            }
            if !is_more {
                return found;
            }
        }
    }

    const ALL: PieceLimits = PieceLimits { bytes: usize::MAX, events: usize::MAX };

    #[test]
    fn values_have_the_text_that_a_database_takes() {
        let logical = |kind: &str, name: &str| json!({ "type": kind, "logicalType": name });
        let price =
            json!({ "type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2 });
        let schema = json!({ "type": "record", "name": "R", "fields": [
            { "name": "id", "type": ["null", "long"] },
            { "name": "s\"", "type": ["string", "null"] },
            { "name": "day", "type": logical("int", "date") },
            { "name": "at", "type": logical("long", "timestamp-millis") },
            { "name": "price", "type": price },
            { "name": "raw", "type": "bytes" },
            { "name": "f", "type": "float" },
            { "name": "d", "type": "double" },
            { "name": "list", "type": { "type": "array", "items": "boolean" } },
            { "name": "local", "type": logical("long", "local-timestamp-micros") },
            { "name": "of_day", "type": logical("int", "time-millis") },
            { "name": "u", "type":
                { "type": "fixed", "name": "U", "size": 16, "logicalType": "uuid" } },
        ] });
        let record = |day: i64, of_day: i64, raw: &[u8], d: f64| {
            let mut out = Vec::new();
            put_long(&mut out, 1);
            put_long(&mut out, i64::MIN);
            put_long(&mut out, 0);
            put_bytes(&mut out, "ä\"".as_bytes());
            put_long(&mut out, day);
            put_long(&mut out, -250);
            put_bytes(&mut out, &[0xff, 6]);
            put_bytes(&mut out, raw);
            out.extend(0.1_f32.to_le_bytes());
            out.extend(d.to_le_bytes());
            out.extend([2, 1, 0]);
            // In 1975; as seconds and milliseconds it would be in other years.
            put_long(&mut out, 157_766_400_000_001);
            put_long(&mut out, of_day);
            out.extend(0x1f0c_4c3e_0000_4000_8000_0000_0000_0001_u128.to_be_bytes());
            out
        };
        let records = [
            record(-1, 3_600_000, &[0, 255], 1e300),
            record(2_932_897, -1, b"{", 0.5),
            record(i32::MAX.into(), 86_399_999, b"", f64::NEG_INFINITY),
        ];
        let found = read(&file(&schema, &records), 0, ALL);
        let expected = concat!(
            r#"{"id":-9223372036854775808,"s\"":"ä\"","day":"1969-12-31","#,
            r#""at":"1969-12-31T23:59:59.75Z","price":-2.50,"raw":"AP8=","f":0.1,"d":1"#,
        );
        assert!(found[0].0.starts_with(expected), "{}", found[0].0);
        let end = concat!(
            r#","list":[true],"local":"1975-01-01T00:00:00.000001","of_day":"01:00:00","#,
            r#""u":"1f0c4c3e-0000-4000-8000-000000000001"}"#
        );
        assert!(found[0].0.ends_with(end), "{}", found[0].0);
        assert!(serde_json::from_str::<serde_json::Value>(&found[0].0).is_ok());
        let (body, problem) = &found[1];
        let expected = "`of_day`: -1/1000 s is not a time of day";
        assert_eq!(problem.as_deref(), Some(expected));
        let bytes = BASE64_STANDARD.decode(serde_json::from_str::<String>(body).unwrap());
        assert_eq!(bytes.unwrap(), records[1], "nothing of it is lost");
        assert!(found[2].0.contains(r#""raw":"","f":0.1,"d":"-Infinity""#), "{}", found[2].0);
        assert!(found[2].0.contains(r#""day":"infinity""#), "{}", found[2].0);
        assert!(found[2].0.contains(r#""of_day":"23:59:59.999""#), "{}", found[2].0);
        assert_eq!(found[2].1, None);
    }

    #[test]
    fn pieces_have_the_same_rows_wherever_reading_begins() {
        let schema = json!({ "type": "record", "name": "R", "fields": [
            { "name": "n", "type": "int" },
        ] });
        let records: Vec<Vec<u8>> = (0..7).map(|number| vec![number << 1]).collect();
        let file = file(&schema, &records);
        let all: Vec<_> = (0..7).map(|number| (format!("{{\"n\":{number}}}"), None)).collect();
        for (bytes, events) in [(0, 9), (15, 9), (999, 1), (999, 3), (999, 99)] {
            for passed in 0..=7 {
                let found = read(&file, passed, PieceLimits { bytes, events });
                assert_eq!(found, all[passed as usize..], "{bytes} {events} {passed}");
            }
        }
        assert_eq!(read(b"", 0, ALL), []);
        // Other types have no field names.
        let file = self::file(&json!("int"), &[vec![2]]);
        assert!(read(&file, 0, ALL)[0].1.as_ref().unwrap().contains("not a record"));
    }
}
