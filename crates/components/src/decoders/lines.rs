//! `lines`: each line of the message is an event, without its line end.

use memchr::memchr_iter;
use pipeline::{
    BatchBuilder, BuildContext, BuildError, Component, Decoder, MalformedMessage, Message,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the `lines` decoder.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whether a line without a byte in it is an event.
    #[serde(default)]
    keep_empty: bool,
}

impl Component for Config {
    const KIND: &'static str = "lines";
    type Role = dyn Decoder;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Decoder>, BuildError> {
        Ok(Box::new(Lines { keep_empty: self.keep_empty }))
    }
}

struct Lines {
    keep_empty: bool,
}

impl Decoder for Lines {
    fn decode(
        &self,
        message: &Message<'_>,
        events: &mut BatchBuilder,
    ) -> Result<(), MalformedMessage> {
        let mut start = 0;
        let ends = memchr_iter(b'\n', message.bytes).chain(Some(message.bytes.len()));
        for end in ends {
            // Behind the last line end there is no line.
            if start == message.bytes.len() {
                break;
            }
            let line = &message.bytes[start..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if self.keep_empty || !line.is_empty() {
                events.push(line, message.headers);
            }
            start = end + 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Message;
    use serde_json::{Value, json};

    use super::super::testkit::{decoded, message};

    fn lines(settings: &Value, bytes: &[u8]) -> Vec<String> {
        let batch = decoded(settings, &message(bytes)).unwrap();
        batch.iter().map(|event| String::from_utf8_lossy(event.body()).into_owned()).collect()
    }

    #[test]
    fn each_line_is_an_event_with_or_without_a_last_line_end() {
        for (bytes, expected) in [
            (&b"one\ntwo\n"[..], vec!["one", "two"]),
            (b"one\r\ntwo", vec!["one", "two"]),
            (b"", vec![]),
            (b"\n\n", vec![]),
            (b"a\n\nb", vec!["a", "b"]),
        ] {
            assert_eq!(lines(&json!("lines"), bytes), expected, "{bytes:?}");
        }
        let keep = json!({ "type": "lines", "keep_empty": true });
        assert_eq!(lines(&keep, b"a\n\nb\n"), ["a", "", "b"]);
    }

    #[test]
    fn every_event_has_the_headers_of_the_message() {
        let headers = [("host", "web-1")];
        let message = Message { headers: &headers, ..message(b"a\nb") };
        let batch = decoded(&json!("lines"), &message).unwrap();
        assert_eq!(batch.shared_header("host"), Some("web-1"));
        assert_eq!(batch.len(), 2);
    }
}
