//! `header_and_text`: one line per event, headers first: `{host=web-1, tier=web} body`.
//!
//! This is the format of Flume's serializer of that name. As in Flume, nothing is escaped: a header
//! or a body that contains LF becomes several lines, and readers cannot always find the end of the
//! headers. Flume orders headers like a Java hash map; here shared headers come first, each in the
//! order in which they were set.

use bytes::{BufMut, Bytes, BytesMut};
use pipeline::{BuildContext, BuildError, Component, Encoder, Events, FileEncoder, TableForm};
use schemars::JsonSchema;
use serde::Deserialize;

use super::header_bytes;

/// Settings of the `header_and_text` encoder.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whether a line feed follows each body. Without it, nothing separates bodies that have no
    /// line end of their own.
    #[serde(default = "super::newline")]
    newline: bool,
}

impl Component for Config {
    const KIND: &'static str = "header_and_text";
    type Role = dyn Encoder;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Encoder>, BuildError> {
        Ok(Box::new(HeaderAndText { newline: self.newline }))
    }
}

#[derive(Clone, Copy)]
struct HeaderAndText {
    newline: bool,
}

/// Overhead per event: `{`, `} `, LF, and for each header `=` and `, `.
const AROUND: u64 = 4;
const AROUND_HEADER: u64 = 3;

impl Encoder for HeaderAndText {
    fn concatenates(&self) -> bool {
        true
    }

    fn size_bound(&self, events: &Events) -> u64 {
        let headers: u64 = events.iter().map(|event| event.headers().count() as u64).sum();
        let around = AROUND * events.len() as u64 + AROUND_HEADER * headers;
        events.body_bytes() + header_bytes(events) + around
    }

    fn table(&self) -> Option<TableForm> {
        self.newline.then(TableForm::lines)
    }

    fn begin(&self) -> Box<dyn FileEncoder> {
        Box::new(*self)
    }
}

impl FileEncoder for HeaderAndText {
    fn encode(&mut self, events: &Events) -> Bytes {
        let mut text = BytesMut::new();
        for event in events.iter() {
            text.put_u8(b'{');
            for (number, (name, value)) in event.headers().enumerate() {
                if number > 0 {
                    text.put_slice(b", ");
                }
                text.put_slice(name.as_bytes());
                text.put_u8(b'=');
                text.put_slice(value.as_bytes());
            }
            text.put_slice(b"} ");
            text.put_slice(event.body());
            if self.newline {
                text.put_u8(b'\n');
            }
        }
        text.freeze()
    }
}

#[cfg(test)]
mod tests {
    use pipeline::BatchBuilder;
    use serde_json::json;

    use super::super::testkit::file;

    #[test]
    fn each_event_is_a_line_with_its_headers_as_flume_writes_them() {
        let mut builder = BatchBuilder::default();
        builder.push(b"one \xff", &[("host", "web-1"), ("n", "0")]);
        builder.push(b"", &[("host", "web-1")]);
        let bare = pipeline::Batch::of(["two"]);
        let bytes = file(&json!("header_and_text"), &[builder.finish(), bare]);
        assert_eq!(bytes, b"{host=web-1, n=0} one \xff\n{host=web-1} \n{} two\n");
    }
}
