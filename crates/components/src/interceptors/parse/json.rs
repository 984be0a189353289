//! JSON objects. Members of nested objects become fields with a dotted name; lists and numbers keep
//! their text. `null` is no field.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Failure;
use super::fields::Found;

/// Maximum depth of expanded objects; a deeper object keeps its text.
const DEPTH_MAX: usize = 8;

/// Extracts the fields of an object.
pub(super) fn parse(text: &str, found: &mut Found) -> Result<(), Failure> {
    const FAILURE: Failure = "not a JSON object";
    // Most invalid texts fail here; the library would allocate an error.
    if !text.trim_start().starts_with('{') {
        return Err(FAILURE);
    }
    let mut path = std::mem::take(&mut found.path);
    path.clear();
    let outcome = object(text, &mut path, 1, found);
    found.path = path;
    outcome.map_err(|_| FAILURE)
}

fn object(
    text: &str,
    path: &mut String,
    depth: usize,
    found: &mut Found,
) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    Object { path, depth, found }.deserialize(&mut json)?;
    json.end()
}

struct Object<'a> {
    path: &'a mut String,
    depth: usize,
    found: &'a mut Found,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let above = self.path.len();
        loop {
            self.path.truncate(above);
            if above > 0 {
                self.path.push('.');
            }
            if entries.next_key_seed(Text(self.path))?.is_none() {
                self.path.truncate(above);
                return Ok(());
            }
            let value: &RawValue = entries.next_value()?;
            let raw = value.get();
            match raw.as_bytes().first() {
                Some(b'{') if self.depth < DEPTH_MAX => {
                    object(raw, self.path, self.depth + 1, self.found).map_err(A::Error::custom)?;
                }
                Some(b'"') => {
                    let mut read = Ok(());
                    self.found.push_with(self.path, |out| {
                        let mut json = serde_json::Deserializer::from_str(raw);
                        read = Text(out).deserialize(&mut json);
                    });
                    read.map_err(A::Error::custom)?;
                }
                Some(b'n') => {}
                _ => self.found.push_json(self.path, raw),
            }
        }
    }
}

/// Appends a string.
struct Text<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Text<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.0.push_str(text);
        Ok(())
    }
}
