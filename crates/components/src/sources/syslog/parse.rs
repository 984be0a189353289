//! Parser of syslog messages: RFC 3164, RFC 5424, and similar formats. Pure.
//!
//! ```text
//!   <34>Oct 11 22:14:15 web-1 su: failed            RFC 3164: no year, no zone
//!   <34>2026-10-11T22:14:15Z web-1 su: failed       the same with a full time, as many write it
//!   <34>1 2026-10-11T22:14:15.003Z web-1 su - ID47 - failed    RFC 5424
//!   └pri┘ └version, time, host┘ └ rest ┘
//!
//!   <189>29: r1: *Oct 11 22:14:15.123 UTC: %SYS-5-…  Cisco IOS: number, host, `*`: unsure clock
//!   <166>Oct 11 2026 22:14:15 fw-1 : %ASA-6-…        Cisco ASA
//!   <187>: 2026 Oct 11 22:14:15 UTC: %ETHPORT-5-…    Cisco NX-OS
//!   <190>49: r1 RP/0/RSP0/CPU0:Oct 11 22:14:15 : …   Cisco IOS XR
//! ```
//!
//! As in Flume, the body is the text after the host; it includes tag, process and structured data.
//! Sequence numbers and nodes of Cisco are only in the whole message.

use super::times::{Calendar, time};

/// Highest priority: facility 23, severity 7.
const PRIORITY_MAX: u8 = 191;

/// Parts of a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed<'a> {
    /// Facility and severity combined, 0 to 191; `None`: not a syslog message.
    pub(super) priority: Option<u8>,
    /// Version of the protocol, which only RFC 5424 contains.
    pub(super) version: Option<&'a str>,
    /// Milliseconds since 1970.
    pub(super) timestamp: Option<i64>,
    /// The time as it was sent.
    pub(super) time: Option<&'a [u8]>,
    /// Host name in the message.
    pub(super) host: Option<&'a str>,
    /// Text after the other parts.
    pub(super) rest: &'a [u8],
    /// True if the format is unknown: the rest then contains time and host, if any.
    pub(super) is_unparsed: bool,
}

/// Parses a message.
pub(super) fn parse<'a>(message: &'a [u8], calendar: &Calendar) -> Parsed<'a> {
    let Some((priority, behind)) = priority(message) else {
        return Parsed { rest: message, is_unparsed: true, ..Parsed::default() };
    };
    let priority = Some(priority);
    let (version, behind) = version(behind);
    let Some((timestamp, time, (host, rest))) = head(behind, calendar) else {
        // Without a time, host and text cannot be distinguished.
        return Parsed { priority, version, rest: behind, is_unparsed: true, ..Parsed::default() };
    };
    Parsed { priority, version, timestamp, time, host, rest, is_unparsed: false }
}

/// The host, and the text after it.
type HostAndRest<'a> = (Option<&'a str>, &'a [u8]);

/// The time in milliseconds and as it was sent, the host, and the text after it.
type Head<'a> = (Option<i64>, Option<&'a [u8]>, HostAndRest<'a>);

/// Parses the time, which can be the `-` of RFC 5424, the host, and the text after them.
fn head<'a>(text: &'a [u8], calendar: &Calendar) -> Option<Head<'a>> {
    if let Some(behind) = text.strip_prefix(b"- ") {
        return Some((None, None, host(behind)));
    }
    let prefix = prefix(text, calendar);
    let unmarked = match prefix.rest {
        [b'*' | b'.', unmarked @ ..] => unmarked,
        unmarked => unmarked,
    };
    let (timestamp, behind) = time(unmarked, calendar)?;
    let sent = &unmarked[..unmarked.len() - behind.len()];
    let (host, rest) = match behind.trim_ascii_start() {
        // A colon after the time: no host follows.
        [b':', text @ ..] => (prefix.host, text.trim_ascii_start()),
        _ if prefix.host.is_some() => (prefix.host, behind.strip_prefix(b" ").unwrap_or(behind)),
        _ => host(behind.strip_prefix(b" ").unwrap_or(behind)),
    };
    // A tag may precede a time too. Only Cisco has the host there.
    let is_prefix_known = prefix.host.is_none() || prefix.is_numbered || is_mnemonic(rest);
    is_prefix_known.then_some((Some(timestamp), Some(sent), (host, rest)))
}

/// Cisco's parts before the time.
struct Prefix<'a> {
    is_numbered: bool,
    host: Option<&'a str>,
    rest: &'a [u8],
}

/// Parses sequence numbers and the host, each with a colon after it; then the node of IOS XR.
fn prefix<'a>(text: &'a [u8], calendar: &Calendar) -> Prefix<'a> {
    let mut prefix = Prefix { is_numbered: false, host: None, rest: text };
    for _ in 0..4 {
        let word = word(prefix.rest);
        let Some(name) = word.strip_suffix(b":") else { break };
        if name.iter().all(u8::is_ascii_digit) {
            prefix.is_numbered = true;
        } else if prefix.host.is_none() && is_host(name) && time(prefix.rest, calendar).is_none() {
            prefix.host = std::str::from_utf8(name).ok();
        } else {
            break;
        }
        prefix.rest = prefix.rest[word.len()..].trim_ascii_start();
    }
    if let [b':', rest @ ..] = prefix.rest {
        // EMBLEM, the format of Cisco's management station.
        (prefix.is_numbered, prefix.rest) = (true, rest);
    }
    if prefix.is_numbered {
        let first = word(prefix.rest);
        let (host, rest) = match node_end(first) {
            Some(end) => (None, &prefix.rest[end..]),
            None => {
                let second = behind(prefix.rest, first.len());
                let Some(end) = node_end(word(second)) else { return prefix };
                (std::str::from_utf8(first).ok().filter(|_| is_host(first)), &second[end..])
            }
        };
        (prefix.host, prefix.rest) = (prefix.host.or(host), rest);
    }
    prefix
}

/// Returns the end of IOS XR's node in a word, `RP/0/RSP0/CPU0:`, including the colon.
fn node_end(word: &[u8]) -> Option<usize> {
    let node = word.split(|byte| *byte == b':').next()?;
    let is_node = node.len() < word.len()
        && node.contains(&b'/')
        && node.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'/');
    is_node.then_some(node.len() + 1)
}

fn priority(message: &[u8]) -> Option<(u8, &[u8])> {
    let behind = message.strip_prefix(b"<")?;
    let end = behind.iter().take(4).position(|byte| *byte == b'>')?;
    let digits = std::str::from_utf8(&behind[..end]).ok()?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let priority: u8 = digits.parse().ok().filter(|_| is_number)?;
    (priority <= PRIORITY_MAX).then_some((priority, &behind[end + 1..]))
}

fn version(text: &[u8]) -> (Option<&str>, &[u8]) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if (1..=2).contains(&digits) && text.get(digits) == Some(&b' ') && text[0] != b'0' {
        return (std::str::from_utf8(&text[..digits]).ok(), &text[digits + 1..]);
    }
    (None, text)
}

fn host(text: &[u8]) -> HostAndRest<'_> {
    let word = word(text);
    let rest = behind(text, word.len());
    if word == b"-" {
        return (None, rest);
    }
    // A tag instead of the host: `su: failed`, `cron[12]: …`. Cisco also ends its host with a
    // colon.
    let (name, rest) = match (word.strip_suffix(b":"), rest) {
        (Some(name), text) if is_mnemonic(text) => (name, text),
        (None, [b':', b' ', text @ ..]) if is_mnemonic(text) => (word, text),
        (Some(_), _) => return (None, text),
        (None, _) => (word, rest),
    };
    match std::str::from_utf8(name).ok().filter(|_| is_host(name)) {
        Some(name) => (Some(name), rest),
        None => (None, text),
    }
}

/// Returns true if a text begins with Cisco's name of a message: `%SYS-5-CONFIG_I`.
fn is_mnemonic(text: &[u8]) -> bool {
    let Some(name) = text.strip_prefix(b"%") else { return false };
    let is_part = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    let length = name.iter().take_while(|byte| is_part(byte)).count();
    length > 0 && name.get(length) == Some(&b'-')
}

fn is_host(name: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_@:%".contains(byte);
    !name.is_empty() && name.iter().all(is_part) && !name.ends_with(b":")
}

/// Returns the text up to the first blank.
fn word(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == b' ').next().unwrap_or_default()
}

/// Returns the text after `bytes` bytes and a blank.
fn behind(text: &[u8], bytes: usize) -> &[u8] {
    let rest = &text[bytes..];
    rest.strip_prefix(b" ").unwrap_or(rest)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::*;

    fn calendar(now: &str) -> Calendar {
        Calendar { zone: TimeZone::UTC, now: now.parse().unwrap() }
    }

    fn parsed(message: &str) -> Parsed<'_> {
        parse(message.as_bytes(), &calendar("2026-11-20T12:00:00Z"))
    }

    fn millis(time: &str) -> Option<i64> {
        Some(time.parse::<Timestamp>().unwrap().as_millisecond())
    }

    #[test]
    fn the_examples_of_both_standards_are_taken_apart() {
        let old = parsed("<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick");
        assert_eq!(old.priority, Some(34));
        assert_eq!(old.timestamp, millis("2026-10-11T22:14:15Z"));
        assert_eq!(old.host, Some("mymachine"));
        assert_eq!(old.rest, b"su: 'su root' failed for lonvick");
        let new = parsed(
            "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [x@1 a=\"b\"] \
             An",
        );
        assert_eq!((new.priority, new.version), (Some(165), Some("1")));
        assert_eq!(new.timestamp, millis("2003-10-11T22:14:15.003Z"));
        assert_eq!(new.host, Some("mymachine.example.com"));
        assert_eq!(new.rest, b"evntslog - ID47 [x@1 a=\"b\"] An");
        let offset = parsed("<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - x");
        assert_eq!(offset.timestamp, millis("2003-08-24T12:14:15Z"));
        assert_eq!(offset.host, Some("192.0.2.1"));
    }

    #[test]
    fn parses_almost_valid_messages_as_far_as_possible() {
        let full = parsed("<13>2026-10-11T22:14:15+02:00 web-1 app: x");
        assert_eq!((full.version, full.host), (None, Some("web-1")));
        assert_eq!(full.timestamp, millis("2026-10-11T20:14:15Z"));
        let one_digit = parsed("<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!");
        assert_eq!(one_digit.timestamp, millis("2026-02-05T17:32:18Z"));
        assert_eq!(one_digit.host, Some("10.0.0.99"));
        let nothing = parsed("<13>1 - - - - - - text");
        assert_eq!((nothing.timestamp, nothing.host), (None, None));
        assert_eq!(nothing.rest, b"- - - - text");
        let bare = parsed("<13>su: no time at all");
        assert_eq!((bare.priority, bare.rest), (Some(13), &b"su: no time at all"[..]));
        assert!(bare.is_unparsed && !nothing.is_unparsed);
        let percent = parsed("<13>Oct 11 22:14:15 su: %text");
        assert_eq!((percent.host, percent.rest), (None, &b"su: %text"[..]));
        let no_host = parsed("<13>Oct 11 22:14:15 su: text");
        assert_eq!((no_host.host, no_host.rest), (None, &b"su: text"[..]));
    }

    #[test]
    fn forms_of_devices_are_read_with_their_time_and_host() {
        let plain = "2026-10-11T22:14:15Z";
        let exact = "2026-10-11T22:14:15.123Z";
        let last_year = "2025-10-11T22:14:15Z";
        for (message, time, host, rest) in [
            // Cisco IOS, with and without numbers, host, fractions and zone.
            ("29: *Oct 11 22:14:15.123: %SYS-5-X: t", exact, None, "%SYS-5-X: t"),
            ("29: .Oct 11 22:14:15.123 UTC: %SYS-5-X: t", exact, None, "%SYS-5-X: t"),
            ("29: Oct 11 22:14:15 PST: %SYS-5-X: t", plain, None, "%SYS-5-X: t"),
            ("29: 000031: *Oct 11 2026 22:14:15.123 UTC: %S: t", exact, None, "%S: t"),
            ("29: r-1.x: 000031: *Oct 11 22:14:15: %S: t", plain, Some("r-1.x"), "%S: t"),
            ("29: 10.0.0.1: Oct 11 22:14:15: %S: t", plain, Some("10.0.0.1"), "%S: t"),
            ("29: 2001:db8::1: Oct 11 22:14:15: %S: t", plain, Some("2001:db8::1"), "%S: t"),
            ("r1: *Oct 11 22:14:15.123: %S-1-X: t", exact, Some("r1"), "%S-1-X: t"),
            ("*Oct 11 22:14:15.123: %S: t", exact, None, "%S: t"),
            // Cisco ASA.
            ("Oct 11 2025 22:14:15: %ASA-6-1: t", last_year, None, "%ASA-6-1: t"),
            ("Oct 11 2025 22:14:15 fw-1 : %ASA-6-1: t", last_year, Some("fw-1"), "%ASA-6-1: t"),
            ("Oct 11 2025 22:14:15 fw-1: %ASA-6-1: t", last_year, Some("fw-1"), "%ASA-6-1: t"),
            (":Oct 11 22:14:15 UTC: %ASA-6-1: t", plain, None, "%ASA-6-1: t"),
            ("2026-10-11T22:14:15Z fw-1 : %ASA-6-1: t", plain, Some("fw-1"), "%ASA-6-1: t"),
            ("2026-10-11T22:14:15Z: %ASA-6-1: t", plain, None, "%ASA-6-1: t"),
            ("29: 2026-10-11T22:14:15Z: %SYS-5-X: t", plain, None, "%SYS-5-X: t"),
            // Cisco NX-OS and IOS XR.
            (": 2025 Oct 11 22:14:15 UTC: %E-5-X: t", last_year, None, "%E-5-X: t"),
            (
                "2026 Oct 11 22:14:15.123 sw1 %$ VDC-1 %$ %E: t",
                exact,
                Some("sw1"),
                "%$ VDC-1 %$ %E: t",
            ),
            (
                "132: RP/0/RSP0/CPU0:Oct 11 22:14:15.123 : ifmgr[1]: %P: t",
                exact,
                None,
                "ifmgr[1]: %P: t",
            ),
            (
                "49: r1 RP/0/0/CPU0:Oct 11 22:14:15 UTC: x[1]: %P: t",
                plain,
                Some("r1"),
                "x[1]: %P: t",
            ),
            // Other devices.
            ("Oct 11 22:14:15.123 web-1 su: t", exact, Some("web-1"), "su: t"),
            ("Oct 11 22:14:15,123 web-1 su: t", exact, Some("web-1"), "su: t"),
            ("Oct 11 22:14:15 UTC web-1 su: t", plain, Some("web-1"), "su: t"),
            ("Oct 11 22:14:15.123 2026 j1 mgd[1]: t", exact, Some("j1"), "mgd[1]: t"),
            ("Oct 12 2026 00:14:15+02:00 hw1 %%01IF/4/X: t", plain, Some("hw1"), "%%01IF/4/X: t"),
            ("Oct 11 2026 20:14:15.123 -0200 h t", exact, Some("h"), "t"),
        ] {
            let message = format!("<189>{message}");
            let parsed = parsed(&message);
            assert_eq!(parsed.timestamp, millis(time), "{message}");
            assert_eq!((parsed.host, parsed.is_unparsed), (host, false), "{message}");
            assert_eq!(std::str::from_utf8(parsed.rest), Ok(rest), "{message}");
        }
    }

    #[test]
    fn a_message_in_an_unknown_form_keeps_its_text() {
        for text in [
            "su: Oct 11 22:14:15 is when it was",
            "Oct 41 22:14:15 h t",
            "Oct 11 22:14:15h t",
            "29: Oct 11 22:14 h t",
            "Octo 11 22:14:15 h t",
            "Oct 11 22:14:15. h t",
            "Oct 11 22:14:15+2 h t",
        ] {
            let message = format!("<189>{text}");
            let parsed = parsed(&message);
            assert_eq!((parsed.timestamp, parsed.host), (None, None), "{text}");
            assert!(parsed.is_unparsed, "{text}");
            assert_eq!(std::str::from_utf8(parsed.rest), Ok(text));
        }
    }

    #[test]
    fn keeps_a_foreign_message_whole() {
        for text in ["plain text", "<>x", "<192>x", "<12x>y", "<+1>x", "<1", ""] {
            let parsed = parsed(text);
            assert_eq!((parsed.priority, parsed.rest), (None, text.as_bytes()), "{text}");
            assert!(parsed.is_unparsed, "{text}");
        }
    }

    #[test]
    fn a_time_without_year_is_at_most_a_month_ahead() {
        for (now, time, year) in [
            ("2027-01-01T00:00:10Z", "Dec 31 23:59:59", 2026),
            ("2026-12-31T23:59:50Z", "Jan  1 00:00:05", 2027),
            ("2028-03-01T00:00:00Z", "Feb 29 12:00:00", 2028),
            ("2026-06-01T00:00:00Z", "May 31 00:00:00", 2026),
            ("2026-06-01T00:00:00Z", "Jul  1 00:00:00", 2026),
            ("2026-06-01T00:00:00Z", "Jul  1 00:00:01", 2025),
            ("2026-11-30T00:00:00Z", "Feb  5 00:00:00", 2026),
            ("2027-06-01T00:00:00Z", "Feb 29 12:00:00", 2024),
        ] {
            let message = format!("<1>{time} h x");
            let parsed = parse(message.as_bytes(), &calendar(now));
            let read = Timestamp::from_millisecond(parsed.timestamp.unwrap()).unwrap();
            assert_eq!(read.to_zoned(TimeZone::UTC).year(), year, "{now} {time}");
        }
    }

    #[test]
    fn a_time_without_zone_is_read_in_the_one_that_is_set() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let calendar = Calendar { zone, now: "2026-11-20T12:00:00Z".parse().unwrap() };
        let parsed = parse(b"<1>Nov 20 14:00:00 h x", &calendar);
        assert_eq!(parsed.timestamp, millis("2026-11-20T12:00:00Z"));
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic_and_the_rest_is_its_end(
            start in "(<[0-9]{0,4}>)?([0-9] )?([0-9]{1,3}: )?(r: )?[*]?",
            time in "((2026 )?Oct 11 (2026 )?22:14:15([.][0-9]{0,9})?)?",
            text in ".{0,60}",
            tail in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            let bytes = [start.as_bytes(), time.as_bytes(), text.as_bytes(), &tail].concat();
            let parsed = parse(&bytes, &calendar("2026-11-20T12:00:00Z"));
            prop_assert!(bytes.ends_with(parsed.rest));
        }
    }
}
