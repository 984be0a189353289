//! The fields of a message as in Flume's sources `syslogtcp` and `syslogudp`. Pure.
//!
//! Flume understands two formats, RFC 5424 and RFC 3164, by regular expressions. If neither
//! matches, the body is the whole message, and its headers are facility and severity. If the
//! priority is invalid too, the status is `Invalid`, with facility 0 and severity 0. A message
//! without a text has an empty one here.
//!
//! Flume leaves `priority` and `version` of an earlier message of the connection on a message that
//! has none. These headers are omitted here.

use std::sync::LazyLock;

use pipeline::Frame;
use regex::bytes::Regex;

use super::events::Fields;
use super::times::{Calendar, time};

/// Flume's `SYSLOG_MSG_RFC5424_0` and `SYSLOG_MSG_RFC3164_0`, with the same groups: priority,
/// version, time, host, text.
static FORMATS: LazyLock<[Regex; 2]> = LazyLock::new(|| {
    let text = [
        concat!(
            r"(?-u)\A<(\d{1,3})>(\d?)\s?",
            r"(?:(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}",
            r"(?:\.\d{1,6})?(?:[+-]\d{2}:\d{2}|Z)?)|-)",
            r"\s(?:(\w[\w.@-]*)|-)\s([^\r\n]*)\z",
        ),
        concat!(
            r"(?-u)\A<(\d{1,3})>(\d)?\s?",
            r"([A-Z][a-z][a-z]\s{1,2}\d{1,2}\s\d{2}:\d{2}:\d{2})",
            r"\s(\w[\w.@-]*)\s([^\r\n]*)\z",
        ),
    ];
    text.map(|text| Regex::new(text).expect("a constant expression"))
});

/// Returns the fields of a message.
pub(super) fn fields<'a>(frame: &'a Frame, calendar: &Calendar) -> Fields<'a> {
    let message = &frame.message[..];
    let Some(priority) = priority(message) else {
        return Fields {
            facility: Some("0".to_owned()),
            severity: Some("0".to_owned()),
            status: Some("Invalid"),
            body: message,
            is_unparsed: true,
            ..Fields::default()
        };
    };
    let fields = Fields {
        facility: Some((priority / 8).to_string()),
        severity: Some((priority % 8).to_string()),
        status: frame.is_cut.then_some("Incomplete"),
        body: message,
        ..Fields::default()
    };
    let Some(groups) = FORMATS.iter().find_map(|format| format.captures(message)) else {
        return Fields { is_unparsed: true, ..fields };
    };
    let group = |number| groups.get(number).map(|group| group.as_bytes());
    let text = |number| {
        let text = std::str::from_utf8(group(number)?).ok()?;
        (!text.is_empty()).then_some(text)
    };
    let timestamp = group(3).and_then(|text| time(text, calendar)).map(|(millis, _)| millis);
    let (time, body) = (group(3), group(5).unwrap_or_default());
    let (priority, version) = (text(1).map(str::to_owned), text(2));
    Fields { priority, version, timestamp, time, host: text(4), body, ..fields }
}

/// Returns a valid priority: up to three digits, of any value.
fn priority(message: &[u8]) -> Option<u16> {
    let digits = message.strip_prefix(b"<")?.split(|byte| *byte == b'>').next()?;
    let is_valid = (1..=3).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
        && message.len() > digits.len() + 1;
    is_valid.then(|| digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::tz::TimeZone;

    use super::*;

    fn of(message: &str, is_cut: bool) -> (Vec<(&'static str, String)>, String) {
        let now = "2026-11-20T12:00:00Z".parse().unwrap();
        let calendar = Calendar { zone: TimeZone::UTC, now };
        let frame = Frame { message: Bytes::copy_from_slice(message.as_bytes()), is_cut };
        let fields = fields(&frame, &calendar);
        let named = [
            ("priority", fields.priority),
            ("Facility", fields.facility),
            ("Severity", fields.severity),
            ("version", fields.version.map(str::to_owned)),
            ("timestamp", fields.timestamp.map(|millis| millis.to_string())),
            ("host", fields.host.map(str::to_owned)),
            ("status", fields.status.map(str::to_owned)),
        ];
        let named = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
        (named.collect(), String::from_utf8(fields.body.to_vec()).unwrap())
    }

    #[test]
    fn messages_have_the_headers_and_the_body_of_flume() {
        let none: &[(&str, &str)] = &[];
        let time = ("timestamp", "1791756855000");
        let invalid = [("Facility", "0"), ("Severity", "0"), ("status", "Invalid")];
        let auth = [("Facility", "4"), ("Severity", "2")];
        let host = ("host", "web-1");
        for (message, headers, body) in [
            (
                "<34>Oct 11 22:14:15 web-1 su: failed",
                [&[("priority", "34")], &auth[..], &[time, host]].concat(),
                "su: failed",
            ),
            (
                "<34>1 2026-10-11T22:14:15.003Z web-1 app - - x",
                [
                    &[("priority", "34")],
                    &auth[..],
                    &[("version", "1"), ("timestamp", "1791756855003"), host],
                ]
                .concat(),
                "app - - x",
            ),
            (
                "<34>1 - - app",
                [&[("priority", "34")], &auth[..], &[("version", "1")]].concat(),
                "app",
            ),
            (
                "<34>Oct 11 22:14:15 web-1 ",
                [&[("priority", "34")], &auth[..], &[time, host]].concat(),
                "",
            ),
            // A form of a device, a CR: the body is the whole message.
            ("<34>su: no time", [none, &auth].concat(), "<34>su: no time"),
            ("<34>Oct 11 22:14:15 h x\r", [none, &auth].concat(), "<34>Oct 11 22:14:15 h x\r"),
            ("<34>", [none, &auth].concat(), "<34>"),
            ("plain text", invalid.to_vec(), "plain text"),
            ("<3x>text", invalid.to_vec(), "<3x>text"),
            ("<1234>text", invalid.to_vec(), "<1234>text"),
            ("<>text", invalid.to_vec(), "<>text"),
            ("<34", invalid.to_vec(), "<34"),
        ] {
            let expected: Vec<_> =
                headers.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
            assert_eq!(of(message, false), (expected, body.to_owned()), "{message:?}");
        }
        assert!(of("<34>Oct 11 22:14:15 h x", true).0.contains(&("status", "Incomplete".into())));
        assert!(of("rest", true).0.contains(&("status", "Invalid".into())));
    }
}
