//! `json`: one object per line, `{"headers":{…},"body":"…"}`.
//!
//! A body that is not UTF-8 cannot be a JSON string. It is written as `"body_base64"` instead of
//! `"body"`, so that no byte is lost and readers do not mistake it for text. The body of a typed
//! row is a JSON object, without the header that contains its schema.

use ::rows::SCHEMA_HEADER;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use pipeline::{
    BuildContext, BuildError, Component, Encoder, EventRef, Events, FileEncoder, FileKind,
    TableForm, TableStorage, Unwritable,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer as Output, ser::SerializeMap};

use super::header_bytes;
use super::typed::{self, Bodies};

/// Settings of the `json` encoder: none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl Component for Config {
    const KIND: &'static str = "json";
    type Role = dyn Encoder;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Encoder>, BuildError> {
        Ok(Box::new(Json))
    }
}

struct Json;

/// Length of `\u0000`, the longest escape of a byte.
const ESCAPED: u64 = 6;
/// Overhead of an event, and of one header.
const AROUND: u64 = 40;
const AROUND_HEADER: u64 = 6;

impl Encoder for Json {
    fn file_kind(&self) -> FileKind {
        FileKind { extension: "json", content_type: "application/x-ndjson", is_lines: true }
    }

    fn concatenates(&self) -> bool {
        true
    }

    fn unwritable(&self, events: &Events) -> Vec<Unwritable> {
        typed::malformed(events)
    }

    fn reads_rows(&self) -> bool {
        true
    }

    fn size_bound(&self, events: &Events) -> u64 {
        let headers: u64 = events.iter().map(|event| event.headers().count() as u64).sum();
        let text = typed::body_bytes(events) + header_bytes(events);
        ESCAPED * text + AROUND * events.len() as u64 + AROUND_HEADER * headers
    }

    fn table(&self) -> Option<TableForm> {
        let columns = [("headers", "map<string,string>"), ("body", "string")];
        Some(TableForm::new(TableStorage::Json, &columns))
    }

    fn begin(&self) -> Box<dyn FileEncoder> {
        Box::new(Json)
    }
}

impl FileEncoder for Json {
    fn encode(&mut self, events: &Events) -> Bytes {
        let (mut out, mut bodies) = (Vec::new(), Bodies::default());
        for event in events.iter() {
            let line = Line { event, body: bodies.body(event) };
            serde_json::to_writer(&mut out, &line).expect("text in memory takes every line");
            out.push(b'\n');
        }
        out.into()
    }
}

struct Line<'a> {
    event: EventRef<'a>,
    body: &'a [u8],
}

struct Headers<'a>(EventRef<'a>);

impl Serialize for Line<'_> {
    fn serialize<S: Output>(&self, output: S) -> Result<S::Ok, S::Error> {
        let mut line = output.serialize_map(Some(2))?;
        line.serialize_entry("headers", &Headers(self.event))?;
        match std::str::from_utf8(self.body) {
            Ok(text) => line.serialize_entry("body", text)?,
            Err(_) => line.serialize_entry("body_base64", &STANDARD.encode(self.body))?,
        }
        line.end()
    }
}

impl Serialize for Headers<'_> {
    fn serialize<S: Output>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.collect_map(self.0.headers().filter(|(name, _)| *name != SCHEMA_HEADER))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::BatchBuilder;
    use serde_json::{Value, json};

    #[test]
    fn every_event_is_a_line_that_reads_back() {
        let mut builder = BatchBuilder::default();
        builder.push(b"quote \" and\nLF", &[("host", "web-1"), ("n", "0")]);
        builder.push("\u{e9}\u{0}".as_bytes(), &[("host", "web-1")]);
        builder.push(b"\xff\xfe", &[]);
        let bytes = super::super::testkit::file(&json!("json"), &[builder.finish()]);
        let lines: Vec<Value> = bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        assert_eq!(
            lines,
            [
                json!({ "headers": { "host": "web-1", "n": "0" }, "body": "quote \" and\nLF" }),
                json!({ "headers": { "host": "web-1" }, "body": "\u{e9}\u{0}" }),
                json!({ "headers": {}, "body_base64": "//4=" }),
            ]
        );
    }
}
