//! `json`: one object a line, `{"headers":{…},"body":"…"}`.
//!
//! A body that is not UTF-8 cannot be a JSON string. It is written as `"body_base64"` instead of
//! `"body"`, so that no byte is lost and no reader takes it for text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use pipeline::{
    Batch, BuildContext, BuildError, Component, EventRef, FlumeKey, SerializeError, Serializer,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer as Output, ser::SerializeMap};

/// Settings of the `json` serializer: none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl Component for Config {
    const KIND: &'static str = "json";
    const FLUME: &'static [FlumeKey] = &[];
    type Role = dyn Serializer;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Serializer>, BuildError> {
        Ok(Box::new(Json))
    }
}

struct Json;

impl Serializer for Json {
    fn serialize(&self, batch: &Batch) -> Result<Bytes, SerializeError> {
        let mut out = Vec::new();
        for event in batch.events() {
            serde_json::to_writer(&mut out, &Line(event)).map_err(|error| SerializeError {
                index: event.index(),
                reason: error.to_string(),
            })?;
            out.push(b'\n');
        }
        Ok(out.into())
    }

    fn extension(&self) -> &'static str {
        "json"
    }
}

struct Line<'a>(EventRef<'a>);

struct Headers<'a>(EventRef<'a>);

impl Serialize for Line<'_> {
    fn serialize<S: Output>(&self, output: S) -> Result<S::Ok, S::Error> {
        let mut line = output.serialize_map(Some(2))?;
        line.serialize_entry("headers", &Headers(self.0))?;
        match std::str::from_utf8(self.0.body()) {
            Ok(text) => line.serialize_entry("body", text)?,
            Err(_) => line.serialize_entry("body_base64", &STANDARD.encode(self.0.body()))?,
        }
        line.end()
    }
}

impl Serialize for Headers<'_> {
    fn serialize<S: Output>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.collect_map(self.0.headers())
    }
}

#[cfg(test)]
mod tests {
    use pipeline::BatchBuilder;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_event_is_a_line_that_reads_back() {
        let mut builder = BatchBuilder::default();
        builder.push(b"quote \" and\nLF", &[("host", "web-1"), ("n", "0")]);
        builder.push("\u{e9}\u{0}".as_bytes(), &[("host", "web-1")]);
        builder.push(b"\xff\xfe", &[]);
        let bytes = Json.serialize(&builder.finish()).unwrap();
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
