//! What a syslog message says: RFC 3164, RFC 5424, and what is written in their likeness. Pure.
//!
//! ```text
//!   <34>Oct 11 22:14:15 web-1 su: failed            RFC 3164: no year, no zone
//!   <34>2026-10-11T22:14:15Z web-1 su: failed       the same with a full time, as many write it
//!   <34>1 2026-10-11T22:14:15.003Z web-1 su - ID47 - failed    RFC 5424
//!   └pri┘ └version, time, host┘ └ rest ┘
//! ```
//!
//! As Flume does, the body is what stands behind the host; tag, process and structured data stay in
//! it.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Highest priority: facility 23, severity 7.
const PRIORITY_MAX: u8 = 191;

/// A message in its parts, as far as it has them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed<'a> {
    /// Facility and severity in one, 0 to 191; `None`: not a syslog message.
    pub(super) priority: Option<u8>,
    /// Version of the protocol, which only RFC 5424 names.
    pub(super) version: Option<&'a str>,
    /// Milliseconds since 1970.
    pub(super) timestamp: Option<i64>,
    /// Host as the message names it.
    pub(super) host: Option<&'a str>,
    /// What stands behind all that.
    pub(super) rest: &'a [u8],
}

/// What completes a time without year and zone.
pub(super) struct Calendar {
    /// Where the sender's clock is read.
    pub(super) zone: TimeZone,
    /// Now.
    pub(super) now: Timestamp,
}

/// Takes a message apart.
pub(super) fn parse<'a>(message: &'a [u8], calendar: &Calendar) -> Parsed<'a> {
    let Some((priority, behind)) = priority(message) else {
        return Parsed { rest: message, ..Parsed::default() };
    };
    let priority = Some(priority);
    let (version, behind) = version(behind);
    let (time, behind) = time(behind, calendar);
    let Some(timestamp) = time else {
        // Without a time nothing says what is host and what is text.
        return Parsed { priority, version, rest: behind, ..Parsed::default() };
    };
    let (host, rest) = host(behind);
    Parsed { priority, version, timestamp, host, rest }
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

/// The time in milliseconds, `Some(None)` for the `-` of RFC 5424, and what follows its blank.
fn time<'a>(text: &'a [u8], calendar: &Calendar) -> (Option<Option<i64>>, &'a [u8]) {
    if let Some(behind) = text.strip_prefix(b"- ") {
        return (Some(None), behind);
    }
    let word = word(text);
    if let Some(time) = std::str::from_utf8(word).ok().and_then(|word| full(word, calendar)) {
        return (Some(Some(time)), behind(text, word.len()));
    }
    // `Oct 11 22:14:15`: the day may be one digit behind two blanks.
    const LEN: usize = "Oct 11 22:14:15".len();
    let short = text.get(..LEN).and_then(|text| std::str::from_utf8(text).ok());
    let ends = matches!(text.get(LEN), None | Some(b' ' | b':'));
    match short.filter(|_| ends).and_then(|short| without_year(short, calendar)) {
        Some(time) => (Some(Some(time)), behind(text, LEN)),
        None => (None, text),
    }
}

/// A time with its year: RFC 3339, with or without a zone.
fn full(word: &str, calendar: &Calendar) -> Option<i64> {
    if word.len() < "2026-10-11T22:14:15".len() {
        return None;
    }
    if let Ok(timestamp) = word.parse::<Timestamp>() {
        return Some(timestamp.as_millisecond());
    }
    let civil: DateTime = word.parse().ok()?;
    Some(civil.to_zoned(calendar.zone.clone()).ok()?.timestamp().as_millisecond())
}

/// `Oct 11 22:14:15` of the year in which it is closest to now: a clock that is a little ahead, and
/// a message of last December, are both read right.
fn without_year(text: &str, calendar: &Calendar) -> Option<i64> {
    let now = calendar.now.to_zoned(calendar.zone.clone());
    let padded = text.replacen("  ", " ", 1);
    let years = [-1, 0, 1].map(|years| now.checked_add(years.years()).map(|then| then.year()));
    let candidates = years.into_iter().flatten().filter_map(|year| {
        let civil = DateTime::strptime("%Y %b %d %H:%M:%S", format!("{year} {padded}")).ok()?;
        Some(civil.to_zoned(calendar.zone.clone()).ok()?.timestamp().as_millisecond())
    });
    candidates.min_by_key(|millis| millis.abs_diff(calendar.now.as_millisecond()))
}

fn host(text: &[u8]) -> (Option<&str>, &[u8]) {
    let word = word(text);
    // A tag in the place of the host: `su: failed`, `cron[12]: …`.
    let is_name = !word.is_empty()
        && word.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-_@:%".contains(byte))
        && !word.ends_with(b":");
    let name = std::str::from_utf8(word).ok().filter(|_| is_name);
    match name {
        Some("-") => (None, behind(text, 1)),
        Some(name) => (Some(name), behind(text, name.len())),
        None => (None, text),
    }
}

/// Up to the first blank.
fn word(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == b' ').next().unwrap_or_default()
}

/// Behind so many bytes and a blank.
fn behind(text: &[u8], bytes: usize) -> &[u8] {
    let rest = &text[bytes..];
    rest.strip_prefix(b" ").unwrap_or(rest)
}

#[cfg(test)]
mod tests {
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
    fn what_is_written_in_their_likeness_is_read_as_far_as_it_goes() {
        let full = parsed("<13>2026-10-11T22:14:15+02:00 web-1 app: x");
        assert_eq!((full.version, full.host), (None, Some("web-1")));
        assert_eq!(full.timestamp, millis("2026-10-11T20:14:15Z"));
        let one_digit = parsed("<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!");
        assert_eq!(one_digit.timestamp, millis("2027-02-05T17:32:18Z"));
        assert_eq!(one_digit.host, Some("10.0.0.99"));
        let nothing = parsed("<13>1 - - - - - - text");
        assert_eq!((nothing.timestamp, nothing.host), (None, None));
        assert_eq!(nothing.rest, b"- - - - text");
        let bare = parsed("<13>su: no time at all");
        assert_eq!((bare.priority, bare.rest), (Some(13), &b"su: no time at all"[..]));
        let no_host = parsed("<13>Oct 11 22:14:15 su: text");
        assert_eq!((no_host.host, no_host.rest), (None, &b"su: text"[..]));
    }

    #[test]
    fn what_is_no_syslog_message_is_kept_whole() {
        for text in ["plain text", "<>x", "<192>x", "<12x>y", "<+1>x", "<1", ""] {
            let parsed = parsed(text);
            assert_eq!((parsed.priority, parsed.rest), (None, text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_time_without_year_is_of_the_year_in_which_it_is_closest() {
        for (now, time, year) in [
            ("2027-01-01T00:00:10Z", "Dec 31 23:59:59", 2026),
            ("2026-12-31T23:59:50Z", "Jan  1 00:00:05", 2027),
            ("2028-03-01T00:00:00Z", "Feb 29 12:00:00", 2028),
            ("2026-06-01T00:00:00Z", "May 31 00:00:00", 2026),
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
            message in "(<[0-9]{0,4}>)?([0-9] )?.{0,60}",
            tail in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            let bytes = [message.as_bytes(), &tail].concat();
            let parsed = parse(&bytes, &calendar("2026-11-20T12:00:00Z"));
            prop_assert!(bytes.ends_with(parsed.rest));
        }
    }
}
