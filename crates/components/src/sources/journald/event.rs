//! Converts an entry to an event: its body and headers.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::export::{Entry, Kept, MESSAGE};

/// The cursor of an entry.
pub(super) const CURSOR: &str = "__CURSOR";
/// Time at which the journal received it, in microseconds.
const RECEIVED: &str = "__REALTIME_TIMESTAMP";
/// Time at which it was sent, by the kernel or the library.
const SENT: &str = "_SOURCE_REALTIME_TIMESTAMP";

/// Layout of the event.
#[derive(Debug)]
pub(super) struct Form {
    /// True if the body is the whole entry.
    pub(super) is_json: bool,
    /// Headers and the fields that they contain.
    pub(super) headers: Vec<(String, String)>,
}

impl Form {
    /// Returns the fields that it needs.
    pub(super) fn kept(&self) -> Kept {
        if self.is_json {
            return Kept::All;
        }
        let own = [CURSOR, RECEIVED, SENT, MESSAGE].map(str::to_owned);
        Kept::Named(own.into_iter().chain(self.headers.iter().map(|it| it.1.clone())).collect())
    }

    /// Returns the body. It is empty for an entry without a message.
    pub(super) fn body<'a>(&self, entry: &'a Entry) -> Cow<'a, [u8]> {
        if !self.is_json {
            return Cow::Borrowed(entry.get(MESSAGE).unwrap_or_default());
        }
        let mut object = Map::new();
        for (name, value) in entry.fields() {
            let value = as_json(value);
            match object.get_mut(name) {
                None => drop(object.insert(name.to_owned(), value)),
                Some(Value::Array(values)) if values.iter().any(|it| !it.is_number()) => {
                    values.push(value);
                }
                Some(first) => *first = Value::Array(vec![first.take(), value]),
            }
        }
        Cow::Owned(serde_json::to_vec(&object).expect("texts and lists are JSON"))
    }

    /// Returns the headers of an entry.
    pub(super) fn headers<'a>(&'a self, entry: &'a Entry) -> Vec<(&'a str, Cow<'a, str>)> {
        let mut headers = Vec::with_capacity(self.headers.len() + 2);
        for (header, field) in &self.headers {
            headers
                .extend(entry.get(field).map(|value| (&**header, String::from_utf8_lossy(value))));
        }
        let micros = |field| entry.text(field).and_then(|text| text.parse::<u64>().ok());
        if let Some(micros) = micros(SENT).or_else(|| micros(RECEIVED)) {
            headers.push(("timestamp", Cow::Owned((micros / 1000).to_string())));
        }
        if entry.is_cut {
            headers.push(("truncated", Cow::Borrowed("true")));
        }
        headers
    }
}

/// Returns a value as in `--output=json` of journalctl: a string, or its bytes as numbers.
fn as_json(value: &[u8]) -> Value {
    match str::from_utf8(value) {
        Ok(text) => Value::from(text),
        Err(_) => Value::from(value),
    }
}

#[cfg(test)]
mod tests {
    use super::super::export::Export;
    use super::*;

    fn entry(bytes: &[u8]) -> Entry {
        let mut input = bytes;
        Export::new(Kept::All, 1 << 20).next(&mut input).unwrap().unwrap()
    }

    fn form(is_json: bool) -> Form {
        Form { is_json, headers: vec![("unit".into(), "_SYSTEMD_UNIT".into())] }
    }

    const BYTES: &[u8] = b"__CURSOR=c\n__REALTIME_TIMESTAMP=1795886983237113\nA=1\nA=2\nA=3\n\
        B\n\x02\0\0\0\0\0\0\0\xff\n\nB\n\x02\0\0\0\0\0\0\0\xfe\n\nMESSAGE=m\n\n";

    #[test]
    fn the_body_is_the_message_or_the_entry_as_json() {
        let entry = entry(BYTES);
        assert_eq!(*form(false).body(&entry), *b"m");
        let json: Value = serde_json::from_slice(&form(true).body(&entry)).unwrap();
        let expected = serde_json::json!({
            "__CURSOR": "c", "__REALTIME_TIMESTAMP": "1795886983237113", "A": ["1", "2", "3"],
            "B": [[255, 10], [254, 10]], "MESSAGE": "m",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn uses_the_time_of_the_sender_and_shows_the_unit_if_known() {
        let headers = |bytes: &[u8]| {
            let (form, entry) = (form(false), entry(bytes));
            let headers = form.headers(&entry).into_iter();
            headers.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(headers(BYTES), ["timestamp=1795886983237"]);
        let sent =
            b"_SYSTEMD_UNIT=a\n_SOURCE_REALTIME_TIMESTAMP=2000\n__REALTIME_TIMESTAMP=9000\n\n";
        assert_eq!(headers(sent), ["unit=a", "timestamp=2"]);
    }
}
