//! Converts a shipper's record, which consists of named fields, to an event. Pure.
//!
//! ```text
//!   { "log": "GET /", "host": { "name": "a" }, "n": 1 }
//!
//!   without `body_field`     body = the record as JSON
//!   with `body_field = log`  body = GET /      PREFIX.fields = {"host":{"name":"a"},"n":1}
//!   headers = { h = "host.name" }              h = a
//! ```

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use pipeline::{BatchBuilder, BuildError};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// Header with milliseconds since 1970, from which sinks build paths.
pub(crate) const TIMESTAMP: &str = "timestamp";

/// Maximum size of the fields in a header; a larger record stays whole.
const FIELDS_BYTES_MAX: usize = 16 << 10;

/// Maximum number of fields in a record: each takes dozens of bytes, even if it is short.
pub(crate) const FIELDS_MAX: usize = 1 << 16;

/// Maximum size of a header that is picked from a record. A longer value is omitted: the record
/// contains it.
const PICKED_BYTES_MAX: usize = 4 << 10;

/// A record.
#[derive(Debug, Default)]
pub(crate) struct Record<'a> {
    /// The whole record as JSON.
    pub(crate) whole: Cow<'a, str>,
    /// Its fields by name, as JSON.
    pub(crate) fields: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Fields that are not UTF-8 and are encoded in Base64. Nested names have dots.
    pub(crate) encoded: Vec<String>,
    /// Time of the record in milliseconds since 1970.
    pub(crate) millis: Option<i64>,
}

/// Rules for converting records to events.
#[derive(Debug, Clone)]
pub(crate) struct Mapping {
    /// The field that becomes the body.
    body_field: Option<String>,
    /// Headers and the fields that they contain.
    picked: Vec<(String, String)>,
    /// Names of the headers that the source sets.
    names: [String; 4],
}

impl Mapping {
    /// Creates the rules from the settings `body_field` and `headers`; the source's own headers
    /// begin with `prefix` and a dot.
    ///
    /// # Errors
    /// Fails if a setting is not a valid name.
    pub(crate) fn new(
        prefix: &str,
        body_field: Option<String>,
        headers: &BTreeMap<String, String>,
    ) -> Result<Self, BuildError> {
        if body_field.as_deref() == Some("") {
            return Err(BuildError::invalid(
                "body_field",
                "must not be empty: set the name of a field",
            ));
        }
        for (name, field) in headers {
            let ours = name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
            let problem = if name.is_empty() || name.len() > 255 || ours || name == TIMESTAMP {
                format!(
                    "the name of a header has 1 to 255 bytes, does not begin with `{prefix}.`, \
                     and is not `{TIMESTAMP}`"
                )
            } else if field.is_empty() {
                "the field is missing; write for example \"host.name\"".to_owned()
            } else {
                continue;
            };
            return Err(BuildError::invalid(format!("headers.{name}"), problem));
        }
        let picked = headers.iter().map(|(name, field)| (name.clone(), field.clone())).collect();
        let names = ["fields", "body", "base64", "piece"].map(|name| format!("{prefix}.{name}"));
        Ok(Self { body_field, picked, names })
    }

    /// Adds the event of a record, with `more` headers. A body over `body_max` is divided; returns
    /// the number of additional events.
    pub(crate) fn push(
        &self,
        record: &Record<'_>,
        more: &[(&str, &str)],
        body_max: usize,
        events: &mut BatchBuilder,
    ) -> usize {
        let [fields_name, body_name, base64_name, piece_name] = &self.names;
        let millis = record.millis.map(|millis| millis.to_string());
        let picked: Vec<_> = self.picked.iter().map(|(_, field)| record.text(field)).collect();
        let own = self.body_field.as_deref().and_then(|field| record.apart(field));
        let is_whole = self.body_field.is_some() && own.is_none();
        let (body, rest, encoded) = match &own {
            Some(own) => (&*own.body, &*own.rest, &own.encoded),
            None => (record.whole.as_bytes(), "", &record.encoded),
        };
        let encoded = encoded.join(",");
        let mut headers = more.to_vec();
        let mut add = |name, value| headers.push((name, value));
        if let Some(millis) = &millis {
            add(TIMESTAMP, millis.as_str());
        }
        for ((name, _), text) in self.picked.iter().zip(&picked) {
            if let Some(text) = text {
                add(name, text);
            }
        }
        if !rest.is_empty() {
            add(fields_name, rest);
        }
        if is_whole {
            add(body_name, "record");
        }
        if !encoded.is_empty() {
            add(base64_name, &encoded);
        }
        if body.len() <= body_max {
            events.push(body, &headers);
            return 0;
        }
        let pieces = body.chunks(body_max.max(1));
        let count = pieces.len();
        for (number, piece) in (1..).zip(pieces) {
            let number = format!("{number}/{count}");
            let mut headers = headers.clone();
            headers.push((piece_name, &number));
            events.push(piece, &headers);
        }
        count - 1
    }
}

/// A record with one field as the body.
struct Apart {
    body: Vec<u8>,
    /// The other fields as JSON; empty if there are none.
    rest: String,
    encoded: Vec<String>,
}

impl Record<'_> {
    /// Separates the text of a field from the rest; `None` if the field has no text, or the rest is
    /// too large for a header.
    fn apart(&self, field: &str) -> Option<Apart> {
        let (_, json) = self.fields.iter().find(|(name, _)| name == field)?;
        let text: String = serde_json::from_str(json).ok()?;
        let is_encoded = self.encoded.iter().any(|name| name == field);
        let body = match is_encoded {
            true => BASE64_STANDARD.decode(text).ok()?,
            false => text.into_bytes(),
        };
        let others = self.fields.iter().filter(|(name, _)| name != field);
        let rest = object(others.map(|(name, json)| (&**name, &**json)));
        let encoded = self.encoded.iter().filter(|name| *name != field).cloned().collect();
        let rest = if rest == "{}" { String::new() } else { rest };
        (rest.len() <= FIELDS_BYTES_MAX).then_some(Apart { body, rest, encoded })
    }

    /// Returns a header's value for a field: its text, or its JSON. A name with dots is the name of
    /// a field, or else a path through nested fields.
    fn text(&self, path: &str) -> Option<String> {
        /// Maximum length of a JSON escape per byte of text.
        const ESCAPE: usize = 6;
        let find = |name: &str| self.fields.iter().find(|(field, _)| field == name);
        let json = match find(path) {
            Some((_, json)) => json,
            None => {
                let (first, rest) = path.split_once('.')?;
                within(&find(first)?.1, rest)?
            }
        };
        // A longer value would be omitted anyway, so it is not decoded.
        if json.len() > ESCAPE * PICKED_BYTES_MAX + 2 {
            return None;
        }
        let text = match serde_json::from_str::<Value>(json).ok()? {
            Value::Null => return None,
            Value::String(text) => text,
            other => other.to_string(),
        };
        (text.len() <= PICKED_BYTES_MAX).then_some(text)
    }
}

fn within<'a>(object: &'a str, path: &str) -> Option<&'a str> {
    if let Some(found) = field(object, path) {
        return Some(found);
    }
    let (first, rest) = path.split_once('.')?;
    within(field(object, first)?, rest)
}

/// Returns the JSON of a field of an object, without allocating the others. The last value of a
/// duplicate name counts.
fn field<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    struct Find<'n>(&'n str);

    #[derive(Deserialize)]
    struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

    impl<'de> Visitor<'de> for Find<'_> {
        type Value = Option<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(Name(name)) = map.next_key()? {
                let value = map.next_value()?;
                if name == self.0 {
                    found = Some(value);
                }
            }
            Ok(found)
        }
    }

    let mut json = serde_json::Deserializer::from_str(object);
    json.deserialize_map(Find(name)).ok()?.map(RawValue::get)
}

/// Builds a JSON object from fields with JSON values.
pub(crate) fn object<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::from("{");
    for (name, json) in fields {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&Value::from(name).to_string());
        out.push(':');
        out.push_str(json);
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record<'static> {
        let fields = [
            ("log", r#""GET /\n""#),
            ("host", r#"{"name":"a","os":{"k.v":1}}"#),
            ("raw", r#""/w==""#),
            ("n", "7"),
        ];
        Record {
            whole: object(fields.into_iter()).into(),
            fields: fields.map(|(name, json)| (name.into(), json.into())).to_vec(),
            encoded: vec!["raw".into()],
            millis: Some(1_700_000_000_123),
        }
    }

    fn mapped(body_field: Option<&str>, headers: &[(&str, &str)]) -> (Vec<u8>, Vec<String>) {
        let headers = headers.iter().map(|(name, field)| (name.to_string(), field.to_string()));
        let mapping = Mapping::new("x", body_field.map(str::to_owned), &headers.collect());
        let mut events = BatchBuilder::default();
        mapping.unwrap().push(&record(), &[("x.tag", "t")], usize::MAX, &mut events);
        let batch = events.finish();
        let event = batch.iter().next().unwrap();
        let mut headers: Vec<_> = event.headers().map(|(k, v)| format!("{k}={v}")).collect();
        headers.sort();
        (event.body().to_vec(), headers)
    }

    #[test]
    fn the_body_is_the_record_or_one_field_of_it_and_nothing_is_left_out() {
        let (body, headers) = mapped(None, &[]);
        assert_eq!(body, record().whole.as_bytes());
        assert_eq!(headers, ["timestamp=1700000000123", "x.base64=raw", "x.tag=t"]);
        let (body, headers) = mapped(Some("log"), &[]);
        assert_eq!(body, b"GET /\n");
        let rest = r#"x.fields={"host":{"name":"a","os":{"k.v":1}},"raw":"/w==","n":7}"#;
        assert_eq!(headers, ["timestamp=1700000000123", "x.base64=raw", rest, "x.tag=t"]);
        let (body, headers) = mapped(Some("raw"), &[]);
        assert_eq!(body, [0xff]);
        assert!(!headers.iter().any(|it| it.starts_with("x.base64")), "{headers:?}");
        for absent in ["n", "nothing"] {
            let (body, headers) = mapped(Some(absent), &[]);
            assert_eq!(body, record().whole.as_bytes());
            assert!(headers.contains(&"x.body=record".into()), "{headers:?}");
        }
    }

    #[test]
    fn a_header_shows_a_field_or_one_below_it() {
        let wanted = [("a", "host.name"), ("b", "host.os.k.v"), ("c", "n"), ("d", "host.none")];
        let (_, headers) = mapped(None, &wanted);
        let shown: Vec<_> = headers.iter().filter(|it| it.as_bytes()[1] == b'=').collect();
        assert_eq!(shown, ["a=a", "b=1", "c=7"]);
    }

    #[test]
    fn names_that_are_none_are_refused_with_their_setting() {
        for (name, field) in [("x.tag", "a"), ("timestamp", "a"), ("", "a"), ("h", "")] {
            let headers = BTreeMap::from([(name.to_owned(), field.to_owned())]);
            let error = Mapping::new("x", None, &headers).unwrap_err().to_string();
            assert!(error.contains(&format!("headers.{name}")), "{error}");
        }
        assert!(Mapping::new("x", Some(String::new()), &BTreeMap::new()).is_err());
    }

    #[test]
    fn a_body_that_is_too_long_becomes_pieces_that_say_their_place() {
        let mapping = Mapping::new("x", Some("log".into()), &BTreeMap::new()).unwrap();
        let mut events = BatchBuilder::default();
        assert_eq!(mapping.push(&record(), &[], 4, &mut events), 1);
        let batch = events.finish();
        let pieces: Vec<_> = batch.iter().map(|it| (it.body(), it.header("x.piece"))).collect();
        assert_eq!(pieces, [(&b"GET "[..], Some("1/2")), (b"/\n", Some("2/2"))]);
    }
}
