//! Parses times in texts: the formats in settings, and the completion of a time without a year or a
//! zone. Pure.

mod joda;

use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use pipeline::BuildError;
use pipeline::env::{Clock, unix_millis};

pub use joda::strftime_of_joda;

/// Format of a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// A number since 1970: so many of its unit are a millisecond, or so many milliseconds a unit.
    Epoch(Unit),
    /// RFC 3339, as in most JSON logs.
    Rfc3339,
    /// A pattern with `%`.
    Pattern {
        /// The pattern.
        text: String,
        /// True if it contains the year.
        has_year: bool,
    },
}

/// Unit of a number since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds, with a fraction where there is one.
    Seconds,
    /// 1/1,000 s.
    Millis,
    /// 1/1,000,000 s.
    Micros,
    /// 1/1,000,000,000 s.
    Nanos,
}

/// What completes a time that lacks its zone or its year.
pub struct Calendar<'a> {
    /// Zone of times that name none.
    pub zone: &'a TimeZone,
    /// When the event arrived.
    pub now: Timestamp,
}

/// Returns the zone of a name in the time zone database, or of an offset such as `+02:00`. The
/// database is part of the program: a name means the same on every host.
///
/// # Errors
/// Fails if the name is unknown; the error names `setting`.
pub fn zone(setting: &str, name: &str) -> Result<TimeZone, BuildError> {
    let offset = BrokenDownTime::parse("%:z", name).ok().and_then(|offset| offset.offset());
    if let Some(offset) = offset {
        return Ok(TimeZone::fixed(offset));
    }
    TimeZone::get(name).map_err(|_| {
        let problem = format!("unknown time zone `{name}`");
        BuildError::invalid(setting, format!("{problem}; write for example `Europe/Berlin`"))
    })
}

/// The moment; the start of 1970 for a clock that is out of all range.
pub fn now(clock: &dyn Clock) -> Timestamp {
    let now = i64::try_from(unix_millis(clock.now())).unwrap_or_default();
    Timestamp::from_millisecond(now).unwrap_or_default()
}

impl Format {
    /// What a setting says: the name of a format, or a pattern with `%`.
    pub fn new(setting: &str, text: &str) -> Result<Self, BuildError> {
        let format = match text {
            "unix_s" => Self::Epoch(Unit::Seconds),
            "unix_ms" => Self::Epoch(Unit::Millis),
            "unix_us" => Self::Epoch(Unit::Micros),
            "unix_ns" => Self::Epoch(Unit::Nanos),
            "rfc3339" => Self::Rfc3339,
            _ => Self::pattern(setting, text)?,
        };
        Ok(format)
    }

    fn pattern(setting: &str, text: &str) -> Result<Self, BuildError> {
        let invalid = |problem: String| Err(BuildError::invalid(setting, problem));
        let says = |directives: &str| letters(text).any(|letter| directives.contains(letter));
        if !text.contains('%') {
            return invalid(format!(
                "`{text}` is not a format; write `rfc3339`, `unix_s`, `unix_ms`, `unix_us`, \
                 `unix_ns`, or a pattern such as `%Y-%m-%d %H:%M:%S`"
            ));
        }
        if !says("dejFDs") {
            return invalid(format!("`{text}` has no day; add `%d`, `%e`, `%j` or `%F`"));
        }
        // Finds a directive that the library does not know now, not at the first event.
        let example = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        let known = BrokenDownTime::from(&example).to_string(text);
        let known = known.and_then(|text_of_it| BrokenDownTime::parse(text, text_of_it));
        match known {
            Ok(_) => Ok(Self::Pattern { text: text.to_owned(), has_year: says("YyFDGgs") }),
            Err(error) => invalid(error.to_string()),
        }
    }

    /// Milliseconds since 1970; `None`: the text is not written so.
    pub fn millis(&self, text: &str, calendar: &Calendar<'_>) -> Option<i64> {
        match self {
            Self::Epoch(unit) => unit.millis(text),
            Self::Rfc3339 => rfc3339(text, calendar),
            Self::Pattern { text: pattern, has_year } => {
                let mut time = BrokenDownTime::parse(pattern, text).ok()?;
                if *has_year {
                    return moment(&time, calendar);
                }
                let now = calendar.zone.to_datetime(calendar.now);
                let years = [-1, 0, 1].map(|n| Some(now.checked_add(n.years()).ok()?.year()));
                let candidates = years.into_iter().flatten().filter_map(|year| {
                    time.set_year(Some(year)).ok()?;
                    moment(&time, calendar)
                });
                let now = calendar.now.as_millisecond();
                candidates.min_by_key(|millis| millis.abs_diff(now))
            }
        }
    }
}

/// Iterates over the letters of a pattern's directives: `%-d` and `%3f` are `d` and `f`.
fn letters(pattern: &str) -> impl Iterator<Item = char> {
    let mut rest = pattern.chars();
    std::iter::from_fn(move || {
        rest.find(|c| *c == '%')?;
        rest.find(|c| c.is_ascii_alphabetic() || *c == '%')
    })
}

/// Converts a time with a year to milliseconds.
fn moment(time: &BrokenDownTime, calendar: &Calendar<'_>) -> Option<i64> {
    if time.timestamp().is_some() || time.offset().is_some() || time.iana_time_zone().is_some() {
        let zoned = time.to_zoned().map(|zoned| zoned.timestamp()).or_else(|_| time.to_timestamp());
        return Some(zoned.ok()?.as_millisecond());
    }
    Some(calendar.zone.to_timestamp(time.to_datetime().ok()?).ok()?.as_millisecond())
}

fn rfc3339(text: &str, calendar: &Calendar<'_>) -> Option<i64> {
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp.as_millisecond());
    }
    // A lone date means midnight; a time without a zone is in the default zone.
    let civil: DateTime = text.parse().ok()?;
    Some(calendar.zone.to_timestamp(civil).ok()?.as_millisecond())
}

impl Unit {
    /// Parses whole units, or units with a fraction, in digits only: exponents are invalid.
    fn millis(self, text: &str) -> Option<i64> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole.strip_prefix('-').unwrap_or(whole)) || !is_number(fraction) {
            return None;
        }
        let units: i64 = whole.parse().ok()?;
        match self {
            Self::Seconds => {
                let mut thousandths = 0;
                for place in 0..3 {
                    let digit = fraction.as_bytes().get(place).map_or(0, |byte| byte - b'0');
                    thousandths = thousandths * 10 + i64::from(digit);
                }
                let sign = if whole.starts_with('-') { -1 } else { 1 };
                units.checked_mul(1_000)?.checked_add(sign * thousandths)
            }
            Self::Millis => Some(units),
            Self::Micros => Some(units.div_euclid(1_000)),
            Self::Nanos => Some(units.div_euclid(1_000_000)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &str, text: &str, (zone, now): (&str, &str)) -> Option<String> {
        let zone = &super::zone("zone", zone).unwrap();
        let calendar = &Calendar { zone, now: now.parse().unwrap() };
        let millis = Format::new("formats", format).unwrap().millis(text, calendar)?;
        Some(Timestamp::from_millisecond(millis).unwrap().to_string())
    }

    #[test]
    fn times_are_read_in_each_format() {
        let utc = ("UTC", "2026-06-01T00:00:00Z");
        for (format, text, expected) in [
            ("unix_s", "1700000000", "2023-11-14T22:13:20Z"),
            ("unix_s", "1700000000.12345", "2023-11-14T22:13:20.123Z"),
            ("unix_s", "-1.5", "1969-12-31T23:59:58.5Z"),
            ("unix_ms", "1700000000123", "2023-11-14T22:13:20.123Z"),
            ("unix_us", "1700000000123456", "2023-11-14T22:13:20.123Z"),
            ("unix_ns", "1700000000123456789", "2023-11-14T22:13:20.123Z"),
            ("rfc3339", "2026-10-11T22:14:15.003+02:00", "2026-10-11T20:14:15.003Z"),
            ("rfc3339", "2026-10-11 22:14:15", "2026-10-11T22:14:15Z"),
            ("%d/%b/%Y:%H:%M:%S %z", "10/Oct/2000:13:55:36 -0700", "2000-10-10T20:55:36Z"),
            ("%Y-%m-%d %H:%M:%S,%3f", "2026-01-02 03:04:05,678", "2026-01-02T03:04:05.678Z"),
            ("%Y-%m-%d", "2026-01-02", "2026-01-02T00:00:00Z"),
            ("%s", "1700000000", "2023-11-14T22:13:20Z"),
        ] {
            assert_eq!(read(format, text, utc).as_deref(), Some(expected), "{format} {text}");
        }
        for (format, text) in [
            ("unix_s", "1e9"),
            ("unix_s", ""),
            ("unix_s", "12:3"),
            ("unix_ms", "+5 "),
            ("rfc3339", "yesterday"),
            ("%Y-%m-%d", "2026-13-01"),
            ("%Y-%m-%d", "2026-01-02x"),
            ("unix_s", "99999999999999999"),
        ] {
            assert_eq!(read(format, text, utc), None, "{format} {text}");
        }
    }

    #[test]
    fn a_time_without_a_zone_is_of_the_zone_that_is_set() {
        for (zone, expected) in [
            ("Europe/Berlin", "2026-07-01T10:00:00Z"),
            ("America/New_York", "2026-07-01T16:00:00Z"),
            ("+02:00", "2026-07-01T10:00:00Z"),
            ("UTC", "2026-07-01T12:00:00Z"),
        ] {
            let calendar = (zone, "2026-06-01T00:00:00Z");
            let read = read("%Y-%m-%d %H:%M", "2026-07-01 12:00", calendar);
            assert_eq!(read.as_deref(), Some(expected), "{zone}");
        }
        assert!(zone("zone", "Mars/Olympus").is_err());
    }

    #[test]
    fn a_time_without_a_year_is_of_the_year_in_which_it_is_closest() {
        for (now, text, expected) in [
            ("2026-01-01T00:10:00Z", "Dec 31 23:59:59", Some("2025-12-31T23:59:59Z")),
            ("2025-12-31T23:59:00Z", "Jan  1 00:00:10", Some("2026-01-01T00:00:10Z")),
            ("2026-06-01T00:00:00Z", "May  9 01:02:03", Some("2026-05-09T01:02:03Z")),
            ("2024-03-01T00:00:00Z", "Feb 29 01:02:03", Some("2024-02-29T01:02:03Z")),
            ("2026-03-01T00:00:00Z", "Feb 29 01:02:03", None),
        ] {
            assert_eq!(read("%b %e %T", text, ("UTC", now)).as_deref(), expected, "{now}");
        }
    }

    #[test]
    fn refuses_an_invalid_format() {
        for text in ["", "iso", "%H:%M", "%Y-%m-%d %K", "%Y-%m-%"] {
            assert!(Format::new("formats", text).is_err(), "{text}");
        }
    }
}
