//! Converts MessagePack values to JSON. Pure.
//!
//! Values without a JSON equivalent become strings: bytes that are not UTF-8, and extensions, in
//! Base64, with their paths listed; non-finite numbers as `NaN` and `inf`.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use pipeline::BatchBuilder;

use super::pack::{Problem, Reader, Token};
use crate::record::{FIELDS_MAX, Record, object};

/// Maximum nesting depth.
const DEPTH_MAX: usize = 64;

/// Number of copies of a record in memory during conversion: its fields, the whole, the event.
const COPIES: usize = 3;

/// Reads the next record, within the limits of these events. A record that is not a map has no
/// fields.
///
/// # Errors
/// Fails if the bytes are not a value, or it is nested too deep, or has more fields or bytes than
/// the events may have.
pub(super) fn record(
    reader: &mut Reader<'_>,
    events: &mut BatchBuilder,
) -> Result<Record<'static>, Problem> {
    let mut json = Json { room: events.room_bytes() / COPIES, ..Json::default() };
    let record = fields(reader, &mut json);
    if json.is_full {
        // Records the lack of room as the cause, and not the record.
        events.has_room(usize::MAX);
    }
    record
}

fn fields(reader: &mut Reader<'_>, json: &mut Json) -> Result<Record<'static>, Problem> {
    let before = *reader;
    let Token::Map(pairs) = reader.next()? else {
        *reader = before;
        json.value(reader, 0)?;
        return Ok(Record { whole: json.text()?.into(), ..Record::default() });
    };
    if pairs > FIELDS_MAX as u64 {
        return Err(format!("a record has {pairs} fields, but may have at most {FIELDS_MAX}"));
    }
    let mut fields: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
    for _ in 0..pairs {
        let name = key(reader)?;
        json.within(&name, |json| json.value(reader, 1))?;
        json.room = json.room.saturating_sub(json.out.len() + name.len());
        fields.push((name.into(), json.text()?.into()));
    }
    let whole = object(fields.iter().map(|(name, json)| (&**name, &**json)));
    let encoded = std::mem::take(&mut json.encoded);
    Ok(Record { whole: whole.into(), fields, encoded, millis: None })
}

/// Reads the name of a field. Numbers and other bytes are written as in JSON. A nested value is
/// rejected as a name: each level of names within names would double every quote.
fn key(reader: &mut Reader<'_>) -> Result<String, Problem> {
    let before = *reader;
    match reader.next()? {
        Token::Text(name) | Token::Bytes(name) => {
            if let Ok(name) = std::str::from_utf8(name) {
                return Ok(name.to_owned());
            }
        }
        Token::Array(_) | Token::Map(_) => {
            return Err("the name of a field is an array or a map".into());
        }
        _ => {}
    }
    *reader = before;
    let mut json = Json { room: usize::MAX, ..Json::default() };
    json.value(reader, 1)?;
    json.text()
}

/// Writes values as JSON.
#[derive(Default)]
struct Json {
    out: Vec<u8>,
    /// Current path: names of fields.
    path: Vec<String>,
    /// Paths of strings in Base64.
    encoded: Vec<String>,
    /// Number of bytes that may be written.
    room: usize,
    is_full: bool,
}

impl Json {
    /// Takes the output.
    fn text(&mut self) -> Result<String, Problem> {
        String::from_utf8(std::mem::take(&mut self.out)).map_err(|error| error.to_string())
    }

    fn within(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut Self) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        self.path.push(name.to_owned());
        let written = write(self);
        self.path.pop();
        written
    }

    fn value(&mut self, reader: &mut Reader<'_>, depth: usize) -> Result<(), Problem> {
        if depth > DEPTH_MAX {
            return Err(format!("values are nested deeper than {DEPTH_MAX}"));
        }
        match reader.next()? {
            Token::Nil => self.out.extend_from_slice(b"null"),
            Token::Bool(value) => self.put(&value),
            Token::Int(number) => self.put(&number),
            Token::Uint(number) => self.put(&number),
            Token::Float(number) if number.is_finite() => self.put(&number),
            Token::Single(number) if number.is_finite() => self.put(&number),
            // JSON has no such numbers.
            Token::Float(number) => self.put(&number.to_string()),
            Token::Single(number) => self.put(&number.to_string()),
            Token::Text(bytes) | Token::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => self.put(text),
                Err(_) => self.encoded(bytes),
            },
            Token::Extension(_, bytes) => self.encoded(bytes),
            Token::Array(count) => {
                self.out.push(b'[');
                for place in 0..count {
                    self.comma(place);
                    self.value(reader, depth + 1)?;
                }
                self.out.push(b']');
            }
            Token::Map(pairs) => {
                self.out.push(b'{');
                for place in 0..pairs {
                    self.comma(place);
                    let name = key(reader)?;
                    self.put(&*name);
                    self.out.push(b':');
                    self.within(&name, |json| json.value(reader, depth + 1))?;
                }
                self.out.push(b'}');
            }
        }
        self.is_full = self.out.len() > self.room;
        if self.is_full { Err("a record takes too much memory".to_owned()) } else { Ok(()) }
    }

    fn comma(&mut self, place: u64) {
        if place > 0 {
            self.out.push(b',');
        }
    }

    fn put<V: serde::Serialize + ?Sized>(&mut self, value: &V) {
        serde_json::to_writer(&mut self.out, value).expect("memory takes every byte");
    }

    fn encoded(&mut self, bytes: &[u8]) {
        self.put(&*BASE64_STANDARD.encode(bytes));
        // The path of a value may be much longer than the value.
        let path = self.path.join(".");
        if self.encoded.last() != Some(&path) {
            self.room = self.room.saturating_sub(path.len() + 1);
            self.encoded.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: &[u8]) -> Record<'static> {
        let mut reader = Reader::new(bytes);
        let record = record(&mut reader, &mut BatchBuilder::default()).unwrap();
        assert!(reader.is_at_end());
        record
    }

    #[test]
    fn a_map_is_an_object_and_what_json_lacks_is_text() {
        let bytes = [
            &[0x86][..],
            &[0xa1, b'a', 0x92, 0xc0, 0xc2],
            &[0xa1, b'b', 0x81, 0xa1, b'c', 0xc4, 1, 0xff],
            &[0xa1, b'd', 0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0],
            &[0xa1, b'e', 0xca, 0x3d, 0xcc, 0xcc, 0xcd],
            &[0xa1, b'f', 0xd4, 9, 1],
            &[0x07, 0xa2, 0xc3, 0xa4],
        ];
        let record = written(&bytes.concat());
        let json = r#"{"a":[null,false],"b":{"c":"/w=="},"d":"NaN","e":0.1,"f":"AQ==","7":"ä"}"#;
        assert_eq!(record.whole, json);
        assert_eq!(record.encoded, ["b.c", "f"]);
        assert_eq!(record.fields.len(), 6);
    }

    #[test]
    fn a_record_that_is_no_map_is_kept_as_it_is() {
        let record = written(&[0xa2, b'h', b'i']);
        assert_eq!((&*record.whole, record.fields.len()), ("\"hi\"", 0));
    }

    #[test]
    fn refuses_arrays_and_maps_as_names() {
        let names = [&[0x81; 40][..], &[0xa1, b'k'], &[0xc0; 40]].concat();
        let error = record(&mut Reader::new(&names), &mut BatchBuilder::default()).unwrap_err();
        assert!(error.contains("name of a field"), "{error}");
    }

    #[test]
    fn deep_values_are_refused_and_not_followed() {
        let deep = [&[0x81, 0xa1, b'k'][..], &[0x91; 100_000], &[0xc0]].concat();
        let error = record(&mut Reader::new(&deep), &mut BatchBuilder::default()).unwrap_err();
        assert!(error.contains("deeper than 64"), "{error}");
    }
}
