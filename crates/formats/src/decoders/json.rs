//! `json`: the format of Flume's JSON handler, `[{"headers": {"k": "v"}, "body": "text"}, …]`.
//!
//! The message is in UTF-8 or in its declared character set; bodies are stored as UTF-8. A missing
//! body is empty, missing headers mean no headers; numbers and booleans in header values become
//! text. Unlike Flume, it also accepts objects without an array around them, one per line, as the
//! `json` encoder writes them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use pipeline::{
    BatchBuilder, BuildContext, BuildError, Component, Decoder, MalformedMessage, Message,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_json::value::RawValue;

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

/// An event in Flume's format. Other members of the object are ignored, as in Flume.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    headers: Option<Headers<'a>>,
    #[serde(borrow, default)]
    body: Option<Cow<'a, str>>,
}

/// Headers of an event by name, with unparsed values.
struct Headers<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A string that is not copied if it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Headers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfMap;
        impl<'de> Visitor<'de> for OfMap {
            type Value = Headers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of headers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut headers = Vec::new();
                while let Some((Text(name), value)) = map.next_entry()? {
                    if headers.len() == super::HEADER_NAMES_MAX {
                        return Err(A::Error::custom(super::too_many_names().problem));
                    }
                    headers.push((name, value));
                }
                headers.sort_by(|(a, _), (b, _)| a.cmp(b));
                Ok(Headers(headers))
            }
        }
        deserializer.deserialize_map(OfMap)
    }
}

/// Adds events to a batch one at a time: parsed values of a whole message would need many times its
/// size.
struct Reading<'m, 'b> {
    message: &'m Message<'m>,
    events: &'b mut BatchBuilder,
    /// Names of all headers so far.
    names: BTreeSet<String>,
    count: usize,
}

impl Reading<'_, '_> {
    fn push(&mut self, event: &Event<'_>) -> Result<(), MalformedMessage> {
        let own = event.headers.iter().flat_map(|Headers(headers)| headers);
        let mut headers: Vec<(&str, Cow<'_, str>)> = Vec::new();
        for (name, value) in own {
            if !self.names.contains(&**name) {
                super::check_name(name)?;
                self.names.insert(name.clone().into_owned());
                if self.names.len() > super::HEADER_NAMES_MAX {
                    return Err(super::too_many_names());
                }
            }
            headers.push((name, header(self.count, name, value)?));
        }
        let own = headers.iter().map(|(name, value)| (*name, &**value));
        // The last value of a duplicate name counts.
        let headers: Vec<(&str, &str)> = self.message.headers.iter().copied().chain(own).collect();
        self.events.push(event.body.as_deref().unwrap_or_default().as_bytes(), &headers);
        self.count += 1;
        Ok(())
    }

    fn read(&mut self, text: &str) -> Result<(), MalformedMessage> {
        let malformed = |error: serde_json::Error| MalformedMessage { problem: error.to_string() };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        if text.trim_start().starts_with('{') {
            for event in deserializer.into_iter() {
                self.push(&event.map_err(malformed)?)?;
                if self.events.excess().is_some() {
                    return Ok(());
                }
            }
            return Ok(());
        }
        let mut array = Array { reading: self, problem: None };
        let read = deserializer.deserialize_seq(&mut array);
        if let Some(problem) = array.problem {
            return Err(problem);
        }
        // After an excess the rest of the message is not read.
        if self.events.excess().is_some() {
            return Ok(());
        }
        read.and_then(|()| deserializer.end()).map_err(malformed)
    }
}

/// Events of an array.
struct Array<'a, 'm, 'b> {
    reading: &'a mut Reading<'m, 'b>,
    problem: Option<MalformedMessage>,
}

impl<'de> Visitor<'de> for &mut Array<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut events: A) -> Result<(), A::Error> {
        while let Some(event) = events.next_element::<Event<'de>>()? {
            if let Err(problem) = self.reading.push(&event) {
                self.problem = Some(problem);
                return Err(A::Error::custom("an event is refused"));
            }
            if self.reading.events.excess().is_some() {
                return Err(A::Error::custom("the batch is full"));
            }
        }
        Ok(())
    }
}

impl Decoder for Json {
    fn decode(
        &self,
        message: &Message<'_>,
        events: &mut BatchBuilder,
    ) -> Result<(), MalformedMessage> {
        let text = text(message.bytes, message.charset)?;
        let names = message.headers.iter().map(|(name, _)| (*name).to_owned()).collect();
        Reading { message, events, names, count: 0 }.read(&text)
    }
}

fn header<'a>(
    index: usize,
    name: &str,
    value: &'a RawValue,
) -> Result<Cow<'a, str>, MalformedMessage> {
    let malformed = |problem: String| MalformedMessage { problem };
    let cannot = |error: serde_json::Error| {
        malformed(format!(
            "header `{name}` of event {index} cannot be read: {error}; correct the client"
        ))
    };
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str(text).map(|Text(text)| text).map_err(cannot),
        Some(b't' | b'f') => Ok(Cow::Borrowed(text)),
        Some(b'-' | b'0'..=b'9') => {
            let number: Number = serde_json::from_str(text).map_err(cannot)?;
            Ok(Cow::Owned(number.to_string()))
        }
        _ => Err(malformed(format!(
            "header `{name}` of event {index} is not text; correct the client"
        ))),
    }
}

/// Returns the message as UTF-8.
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
    fn refuses_malformed_json_with_its_position() {
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
