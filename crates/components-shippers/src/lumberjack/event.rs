//! Converts an event of a Beat. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::record::{FIELDS_MAX, Record, object};

/// Field with the time of an event in Beats.
const TIME: &str = "@timestamp";

/// Converts an event in JSON, and keeps its text.
///
/// # Errors
/// Fails if it is not an object, or has too many fields.
pub(super) fn of_json(json: &[u8]) -> Result<Record<'_>, String> {
    let whole =
        std::str::from_utf8(json).map_err(|error| format!("an event is not UTF-8: {error}"))?;
    let Fields(fields) = serde_json::from_str(whole)
        .map_err(|error| format!("an event is not a JSON object: {error}"))?;
    let time = fields.get(TIME).and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    let fields = fields.into_iter().map(|(name, raw)| (name, Cow::Borrowed(raw.get()))).collect();
    let whole = Cow::Borrowed(whole);
    Ok(Record { whole, fields, encoded: Vec::new(), millis: time.and_then(|it| millis(&it)) })
}

/// Fields of an object with their JSON text.
struct Fields<'a>(BTreeMap<Cow<'a, str>, &'a RawValue>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfMap;

        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

        impl<'de> Visitor<'de> for OfMap {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    fields.insert(name, value);
                    if fields.len() > FIELDS_MAX {
                        return Err(A::Error::custom(too_many_fields()));
                    }
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(OfMap)
    }
}

fn too_many_fields() -> String {
    format!("it has more than {FIELDS_MAX} fields")
}

/// Converts an event of names and values.
///
/// # Errors
/// Fails if it has too many fields, or more than `max` bytes as JSON.
pub(super) fn of_pairs(pairs: &[(&[u8], &[u8])], max: usize) -> Result<Record<'static>, String> {
    if pairs.len() > FIELDS_MAX {
        return Err(format!("cannot accept an event: {}", too_many_fields()));
    }
    let (mut record, mut bytes) = (Record::default(), 0);
    for (name, value) in pairs {
        let name = String::from_utf8_lossy(name).into_owned();
        let json = match std::str::from_utf8(value) {
            Ok(text) => serde_json::Value::from(text).to_string(),
            Err(_) => {
                record.encoded.push(name.clone());
                serde_json::Value::from(BASE64_STANDARD.encode(value)).to_string()
            }
        };
        if name == TIME {
            record.millis = std::str::from_utf8(value).ok().and_then(millis);
        }
        bytes += name.len() + json.len();
        if bytes > max {
            return Err(format!(
                "an event has over {max} bytes as JSON (`message_max`); raise it, or let the \
                 client send smaller events"
            ));
        }
        record.fields.push((name.into(), json.into()));
    }
    record.whole = object(record.fields.iter().map(|(name, json)| (&**name, &**json))).into();
    Ok(record)
}

fn millis(time: &str) -> Option<i64> {
    Some(time.parse::<Timestamp>().ok()?.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_kept_as_it_was_written_and_its_time_is_read() {
        let json =
            br#"{ "@timestamp":"2026-11-27T08:00:00.250Z", "n": 1.50, "message":"a\u00e4" }"#;
        let record = of_json(json).unwrap();
        assert_eq!(record.whole.as_bytes(), json);
        assert_eq!(record.millis, Some(1_795_766_400_250));
        let fields: Vec<_> = record.fields.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(fields[1..], [r#"message="a\u00e4""#, "n=1.50"]);
        assert_eq!(of_json(br#"{"@timestamp":7}"#).unwrap().millis, None);
        for bad in [&b"[]"[..], b"{", b"\xff"] {
            assert!(of_json(bad).is_err());
        }
    }

    #[test]
    fn names_and_values_are_an_object_of_texts() {
        let record = of_pairs(&[(b"line", b"a\"b"), (b"raw", b"\xff")], 99).unwrap();
        assert_eq!(record.whole, r#"{"line":"a\"b","raw":"/w=="}"#);
        assert_eq!(record.encoded, ["raw"]);
    }
}
