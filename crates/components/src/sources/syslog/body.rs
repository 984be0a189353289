//! The body of an event: the text of a message, with the fields that a user wants in it. Pure.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Deserialize;

use super::events::{Fields, Layout};

/// What the body keeps in front of the text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Keep {
    /// The whole message, or only the text.
    All(bool),
    /// The text with some fields in front of it.
    Some(Vec<Field>),
}

impl Default for Keep {
    fn default() -> Self {
        Self::All(false)
    }
}

/// A field in front of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Field {
    /// Facility and severity in one number, in angle brackets.
    Priority,
    /// The version of RFC 5424.
    Version,
    /// The time, as it was sent.
    Timestamp,
    /// The name of the host.
    Hostname,
}

/// Returns the body of an event. Fields are in the order of a message, whatever order is set. A
/// message in an unknown format is its own body.
pub(super) fn body<'a>(
    keep: &Keep,
    layout: Layout,
    fields: &Fields<'a>,
    message: &'a [u8],
) -> Cow<'a, [u8]> {
    let wanted = match keep {
        Keep::All(true) => return message.into(),
        // As in Flume, a message without a text is kept whole.
        Keep::All(false) if fields.body.is_empty() && layout == Layout::Flume => {
            return message.into();
        }
        Keep::All(false) => return fields.body.into(),
        Keep::Some(_) if fields.is_unparsed => return message.into(),
        Keep::Some(wanted) => wanted,
    };
    let has = |field| wanted.contains(&field);
    // The text of Java, or of RFC 5424, for a field that is not there.
    let nil: &[u8] = if layout == Layout::Flume { b"null" } else { b"-" };
    let mut body = Vec::with_capacity(message.len());
    if let (true, Some(priority)) = (has(Field::Priority), &fields.priority) {
        body.extend([b"<", priority.as_bytes(), b">"].concat());
    }
    if let (true, Some(version)) = (has(Field::Version), fields.version) {
        body.extend([version.as_bytes(), b" "].concat());
    }
    if has(Field::Timestamp) {
        body.extend([fields.time.unwrap_or(nil), b" "].concat());
    }
    if has(Field::Hostname) {
        body.extend([fields.host.map_or(nil, str::as_bytes), b" "].concat());
    }
    body.extend(fields.body);
    body.into()
}

#[cfg(test)]
mod tests {
    use Field::{Hostname, Priority, Timestamp, Version};
    use jiff::tz::TimeZone;
    use pipeline::Frame;

    use super::super::flume;
    use super::super::times::Calendar;
    use super::*;

    fn of(layout: Layout, keep: &Keep, message: &str) -> String {
        let now = "2026-11-20T12:00:00Z".parse().unwrap();
        let calendar = Calendar { zone: TimeZone::UTC, now };
        let frame = Frame { message: message.to_owned().into(), is_cut: false };
        let fields = match layout {
            Layout::Standard => Fields::standard(&frame, &calendar),
            Layout::Flume => flume::fields(&frame, &calendar),
        };
        String::from_utf8(body(keep, layout, &fields, &frame.message).into_owned()).unwrap()
    }

    #[test]
    fn the_text_has_the_wanted_fields_in_front() {
        let old = "<34>Oct  1 22:14:15 web-1 su: failed";
        let new = "<34>1 2026-10-11T22:14:15.003Z web-1 su - failed";
        for layout in [Layout::Standard, Layout::Flume] {
            for (wanted, message, body) in [
                (&[Timestamp, Hostname][..], old, "Oct  1 22:14:15 web-1 su: failed"),
                (&[Hostname, Timestamp], old, "Oct  1 22:14:15 web-1 su: failed"),
                (&[Hostname], old, "web-1 su: failed"),
                (&[Priority, Version], old, "<34>su: failed"),
                (&[Priority, Version], new, "<34>1 su - failed"),
                (&[Timestamp], new, "2026-10-11T22:14:15.003Z su - failed"),
                (&[Priority, Version, Timestamp, Hostname], new, new),
                (&[], new, "su - failed"),
                // Unknown formats.
                (&[Hostname], "<34>su: no time", "<34>su: no time"),
                (&[Hostname], "plain", "plain"),
            ] {
                let keep = Keep::Some(wanted.to_vec());
                assert_eq!(of(layout, &keep, message), body, "{layout:?} {wanted:?} {message}");
            }
        }
    }

    #[test]
    fn an_absent_field_is_the_nil_of_the_layout() {
        let keep = Keep::Some(vec![Timestamp, Hostname]);
        let message = "<34>1 - - app";
        assert_eq!(of(Layout::Standard, &keep, message), "- - app");
        assert_eq!(of(Layout::Flume, &keep, message), "null null app");
        let without_text = "<34>Oct 11 22:14:15 web-1 ";
        assert_eq!(of(Layout::Flume, &keep, without_text), "Oct 11 22:14:15 web-1 ");
        assert_eq!(of(Layout::Flume, &Keep::default(), without_text), without_text);
    }
}
