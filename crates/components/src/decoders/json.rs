//! `json`: the form of Flume's JSON handler, `[{"headers": {"k": "v"}, "body": "text"}, …]`.
//!
//! The message is UTF-8, or what its character set says; bodies are stored as UTF-8. A missing body
//! is empty, missing headers are none; numbers and flags as values of headers become text. Other
//! than Flume it also takes objects without an array around them, one a line, as the `json` encoder
//! writes them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use pipeline::{
    BatchBuilder, BuildContext, BuildError, Component, Decoder, MalformedMessage, Message,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::charset::{Charset, Odd};

/// Settings of the `json` decoder: none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}

impl Component for Config {
    const KIND: &'static str = "json";
    type Role = dyn Decoder;

    fn build(self, _cx: &BuildContext) -> Result<Box<dyn Decoder>, BuildError> {
        Ok(Box::new(Json))
    }
}

struct Json;

/// One event as Flume writes it. What else is in the object is passed over, as Flume does.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(default)]
    headers: Option<BTreeMap<String, Value>>,
    #[serde(borrow, default)]
    body: Option<Cow<'a, str>>,
}

impl Decoder for Json {
    fn decode(
        &self,
        message: &Message<'_>,
        events: &mut BatchBuilder,
    ) -> Result<(), MalformedMessage> {
        let text = text(message.bytes, message.charset)?;
        let malformed = |error: serde_json::Error| MalformedMessage { problem: error.to_string() };
        let parsed: Vec<Event<'_>> = if text.trim_start().starts_with('{') {
            let objects = serde_json::Deserializer::from_str(&text).into_iter();
            objects.collect::<Result<_, _>>().map_err(malformed)?
        } else {
            serde_json::from_str(&text).map_err(malformed)?
        };
        let mut own = Vec::with_capacity(parsed.len());
        for (index, event) in parsed.iter().enumerate() {
            let mut headers = Vec::new();
            for (name, value) in event.headers.iter().flatten() {
                headers.push((name.as_str(), header(index, name, value)?));
            }
            own.push(headers);
        }
        super::check_names(own.iter().flatten().map(|(name, _)| *name))?;
        for (event, own) in parsed.iter().zip(&own) {
            let own = own.iter().map(|(name, value)| (*name, &**value));
            // The last one of a name counts.
            let headers: Vec<(&str, &str)> = message.headers.iter().copied().chain(own).collect();
            events.push(event.body.as_deref().unwrap_or_default().as_bytes(), &headers);
        }
        Ok(())
    }
}

fn header<'a>(
    index: usize,
    name: &str,
    value: &'a Value,
) -> Result<Cow<'a, str>, MalformedMessage> {
    match value {
        Value::String(text) => Ok(Cow::Borrowed(text)),
        Value::Number(number) => Ok(Cow::Owned(number.to_string())),
        Value::Bool(flag) => Ok(Cow::Owned(flag.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            let problem = format!("header `{name}` of event {index} is not text");
            Err(MalformedMessage { problem })
        }
    }
}

/// The message as UTF-8.
fn text<'a>(bytes: &'a [u8], charset: Option<&str>) -> Result<Cow<'a, str>, MalformedMessage> {
    let malformed = |problem: String| MalformedMessage { problem };
    let name = charset.unwrap_or("utf-8");
    if matches!(name, "utf-32" | "utf-32be" | "utf-32le") {
        let (quads, rest) = bytes.as_chunks::<4>();
        let little = Some(&[0xff, 0xfe, 0, 0]);
        let big_endian = name != "utf-32le" && (name != "utf-32" || quads.first() != little);
        let read = if big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
        let text: Option<String> = quads.iter().map(|quad| char::from_u32(read(*quad))).collect();
        return match text {
            Some(text) if rest.is_empty() => Ok(Cow::Owned(without_mark(text))),
            _ => Err(malformed("not UTF-32".to_owned())),
        };
    }
    let charset = Charset::named(name).map_err(malformed)?;
    if charset.is_utf8() {
        return std::str::from_utf8(bytes)
            .map(|text| Cow::Borrowed(text.strip_prefix('\u{feff}').unwrap_or(text)))
            .map_err(|error| malformed(format!("not UTF-8: {error}")));
    }
    let (charset, mark) = charset.of_text(bytes);
    let text = charset.decode(&bytes[mark..], Odd::Fail, false);
    text.map(Cow::Owned).map_err(|at| malformed(format!("not {name} at byte {}", at + mark)))
}

fn without_mark(text: String) -> String {
    text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use pipeline::{Batch, Message};
    use serde_json::json;

    use super::super::testkit::{decoded, message};

    fn read(text: &str) -> Result<Batch, String> {
        decoded(&json!("json"), &message(text.as_bytes())).map_err(|error| error.problem)
    }

    fn events(batch: &Batch) -> Vec<(String, Vec<(String, String)>)> {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let event = |event: pipeline::EventRef<'_>| {
            let body = String::from_utf8(event.body().to_vec()).unwrap();
            let mut headers: Vec<_> = event.headers().map(owned).collect();
            headers.sort();
            (body, headers)
        };
        batch.iter().map(event).collect()
    }

    #[test]
    fn an_array_of_events_with_headers_and_bodies_is_read_as_flume_reads_it() {
        let batch = read(
            r#"[{"headers": {"a": "1", "n": 7, "f": true}, "body": "one"},
                {"body": "t\u00f6o"}, {"headers": {"a": "2"}}, {"headers": null, "body": null},
                {"extra": [1], "body": "x"}]"#,
        )
        .unwrap();
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            events(&batch),
            [
                ("one".into(), vec![header("a", "1"), header("f", "true"), header("n", "7")]),
                ("t\u{f6}o".into(), vec![]),
                (String::new(), vec![header("a", "2")]),
                (String::new(), vec![]),
                ("x".into(), vec![]),
            ]
        );
        assert_eq!(read("[]").unwrap().len(), 0);
        assert_eq!(events(&read(r#" {"body": "alone"}"#).unwrap())[0].0, "alone");
        let lines = "{\"body\": \"one\"}\n{\"body\": \"two\"}\n";
        assert_eq!(events(&read(lines).unwrap())[1].0, "two");
    }

    #[test]
    fn what_is_malformed_is_refused_whole_with_its_place() {
        for (text, says) in [
            ("", "EOF"),
            ("nonsense", "line 1 column 2"),
            (r#"[{"body": 3}]"#, "line 1"),
            (r#"[{"body": "x"}, {"headers": {"a": []}, "body": "y"}]"#, "`a` of event 1"),
            (r#"[{"body": "x"}] [ "#, "trailing"),
            ("{\"body\": \"x\"}\n{\"body\"", "line 2"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn names_of_headers_that_a_batch_cannot_have_are_refused() {
        let named = |name: &str| format!(r#"{{"headers":{{"{name}":""}},"body":"x"}}"#);
        assert!(read(&named("")).unwrap_err().contains("not 0"));
        assert!(read(&named(&"n".repeat(65_536))).unwrap_err().contains("65536"));
        let many: Vec<String> = (0..1_001).map(|n| named(&n.to_string())).collect();
        assert!(read(&format!("[{}]", many.join(","))).unwrap_err().contains("1000 names"));
        assert_eq!(read(&format!("[{}]", many[1..].join(","))).unwrap().len(), 1_000);
    }

    #[test]
    fn character_sets_of_flume_are_understood_and_others_named() {
        let text = r#"[{"body": "grüß 🦀"}]"#;
        let utf16 = |to: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(to).collect::<Vec<u8>>();
        let utf32: Vec<u8> = text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
        let marked = [&[0xff, 0xfe][..], &utf16(u16::to_le_bytes)].concat();
        for (bytes, charset) in [
            (text.as_bytes().to_vec(), "utf-8"),
            (utf16(u16::to_be_bytes), "utf-16"),
            (utf16(u16::to_le_bytes), "utf-16le"),
            (marked, "utf-16"),
            (utf32, "utf-32"),
        ] {
            let message = Message { charset: Some(charset), ..message(&bytes) };
            let batch = decoded(&json!("json"), &message).unwrap();
            assert_eq!(events(&batch)[0].0, "grüß 🦀", "{charset}");
        }
        let foreign = Message { charset: Some("ebcdic"), ..message(b"[]") };
        let error = decoded(&json!("json"), &foreign).unwrap_err();
        assert!(error.problem.contains("ebcdic"), "{error}");
        assert!(decoded(&json!("json"), &message(b"\xff")).is_err());
    }

    #[test]
    fn headers_of_the_event_go_before_those_of_the_message() {
        let headers = [("a", "message"), ("b", "message")];
        let text = br#"[{"headers": {"a": "event"}, "body": ""}]"#;
        let batch = decoded(&json!("json"), &Message { headers: &headers, ..message(text) });
        let batch = batch.unwrap();
        let event = batch.iter().next().unwrap();
        assert_eq!((event.header("a"), event.header("b")), (Some("event"), Some("message")));
    }
}
