//! Dates and times over the ranges of databases: years from 4713 BC on, and `infinity`. Pure.
//!
//! The time library ends with the year 9999 in every zone, so a valid time of the last day in UTC
//! is out of its range. PostgreSQL has dates up to the year 5,874,897 and times up to 294,276.
//!
//! ```text
//!   text                               date (days)        time (units since 1970)
//!   2026-11-26T16:00:00.25Z                               1795708800250000
//!   9999-12-31T23:59:59.999999+00:00                      253402300799999999
//!   0044-03-15 BC                      -735160
//!   infinity, -infinity                i32::MAX, MIN      i64::MAX, MIN, in any unit
//! ```
//!
//! `infinity` has the numbers of PostgreSQL's own binary form.

pub use ::rows::calendar::TimeForm;
use ::rows::{Moment, calendar as rows};
use jiff::Timestamp;

const NANOS: i128 = 1_000_000_000;
const SECONDS_OF_DAY: i64 = 86_400;
/// Limit of a year: later days do not fit in 32 bits.
const YEAR_MAX: i64 = 5_900_000;

/// Why a text is not a time in the requested unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTime {
    /// It is not a time with an offset.
    Text,
    /// It has more fractional digits than the unit.
    Finer,
    /// It is too far from 1970.
    Range,
}

/// Parses a date such as `2026-11-26`, `0044-03-15 BC` or `infinity`, to days since 1970.
pub fn day(text: &str) -> Option<i32> {
    match text {
        "infinity" => return Some(i32::MAX),
        "-infinity" => return Some(i32::MIN),
        _ => {}
    }
    let (date, is_bc) = without_era(text);
    // The last numbers are the infinities.
    i32::try_from(days_of(date, is_bc)?).ok().filter(|day| *day != i32::MAX && *day != i32::MIN)
}

/// Parses a time with an offset to nanoseconds since 1970.
pub fn nanos(text: &str) -> Option<i128> {
    match text.parse::<Timestamp>() {
        Ok(at) => Some(at.as_nanosecond()),
        Err(_) => far(text),
    }
}

/// Parses a time with an offset, or `infinity`, to a count of units since 1970; `parts` units are a
/// second.
///
/// # Errors
/// Why the text has no such count.
pub fn count(text: &str, parts: i64) -> Result<i64, NotTime> {
    match text {
        "infinity" => return Ok(i64::MAX),
        "-infinity" => return Ok(i64::MIN),
        _ => {}
    }
    let nanos = nanos(text).ok_or(NotTime::Text)?;
    let unit = NANOS / i128::from(parts);
    if nanos % unit != 0 {
        return Err(NotTime::Finer);
    }
    let count = i64::try_from(nanos / unit).map_err(|_| NotTime::Range)?;
    let is_finite = count != i64::MAX && count != i64::MIN;
    if is_finite { Ok(count) } else { Err(NotTime::Range) }
}

/// Appends the date of a day since 1970.
pub fn put_day(day: i32, out: &mut String) {
    append(out, |text| rows::put_day(day, text));
}

/// Appends a time: a count of units since 1970, with `parts` units in a second.
pub fn put_count(count: i64, parts: i64, form: TimeForm, out: &mut String) {
    match count {
        i64::MAX => out.push_str("infinity"),
        i64::MIN => out.push_str("-infinity"),
        count => put_nanos(i128::from(count) * NANOS / i128::from(parts), form, out),
    }
}

/// Appends a time in nanoseconds since 1970.
pub fn put_nanos(nanos: i128, form: TimeForm, out: &mut String) {
    let moment = Moment::from_nanos(nanos).expect("seconds of a time fit into 64 bits");
    append(out, |text| rows::put_moment(moment, form, text));
}

/// Appends a time of day in nanoseconds since midnight, as `16:00:00.25`.
pub fn put_time_of_day(nanos: i64, out: &mut String) {
    append(out, |text| rows::put_time_of_day(nanos, text));
}

fn append(out: &mut String, put: impl FnOnce(&mut Vec<u8>)) {
    let mut text = Vec::with_capacity(40);
    put(&mut text);
    out.push_str(str::from_utf8(&text).expect("dates and times are ASCII"));
}

fn without_era(text: &str) -> (&str, bool) {
    match text.strip_suffix(" BC") {
        Some(text) => (text, true),
        None => (text, false),
    }
}

/// Returns days since 1970, by Howard Hinnant's algorithm for the Gregorian calendar.
fn days_of(date: &str, is_bc: bool) -> Option<i64> {
    let mut parts = date.splitn(3, '-');
    let year: i64 = digits(parts.next()?, 4..=7)?;
    let (month, day): (i64, i64) = (digits(parts.next()?, 2..=2)?, digits(parts.next()?, 2..=2)?);
    // 1 BC is the year 0.
    let year = if is_bc { 1 - year } else { year };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return None,
    };
    let has_era = if is_bc { year <= 0 } else { year >= 1 };
    if !(1..=last).contains(&day) || !has_era || year.abs() > YEAR_MAX {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    Some(era * 146_097 + of_era - 719_468)
}

fn digits<N: std::str::FromStr>(text: &str, count: std::ops::RangeInclusive<usize>) -> Option<N> {
    let is_number = count.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Parses a time outside of the library's range.
fn far(text: &str) -> Option<i128> {
    let (text, is_bc) = without_era(text);
    let (date, rest) = text.split_once(['T', ' '])?;
    let (time, offset) = match rest.strip_suffix('Z') {
        Some(time) => (time, 0),
        None => {
            let at = rest.rfind(['+', '-'])?;
            let sign = if rest[at..].starts_with('-') { -1 } else { 1 };
            (&rest[..at], sign * seconds(&rest[at + 1..])?)
        }
    };
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let seconds = if time.len() == "16:00:00".len() { seconds(time)? } else { return None };
    let nanos: i128 = format!("{fraction:0<9}").parse().ok()?;
    digits::<u32>(fraction, 1..=9)?;
    let days = days_of(date, is_bc)?;
    Some((i128::from(days * SECONDS_OF_DAY + seconds - offset)) * NANOS + nanos)
}

/// Parses `16`, `16:00` or `16:00:00`.
fn seconds(text: &str) -> Option<i64> {
    let mut seconds = 0;
    let mut parts = text.splitn(3, ':');
    for (unit, below) in [(3600, 24), (60, 60), (1, 60)] {
        let Some(part) = parts.next() else { break };
        let part: i64 = digits(part, 2..=2).filter(|part| *part < below)?;
        seconds += part * unit;
    }
    Some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(count: i64, parts: i64) -> String {
        let mut out = String::new();
        put_count(count, parts, TimeForm::Utc, &mut out);
        out
    }

    /// The numbers are from PostgreSQL: `extract(epoch FROM …)`.
    #[test]
    fn times_of_databases_survive_there_and_back() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", 0),
            ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
            ("10000-01-01T00:00:00Z", 253_402_300_800_000_000),
            ("290000-06-01T12:30:15.5Z", 9_089_362_038_615_500_000),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
            ("0001-12-31T23:59:59.000001Z BC", -62_135_596_800_999_999),
            ("4713-01-01T00:00:00Z BC", -210_863_520_000_000_000),
            ("infinity", i64::MAX),
            ("-infinity", i64::MIN),
        ] {
            assert_eq!(count(text, 1_000_000), Ok(micros), "{text}");
            assert_eq!(written(micros, 1_000_000), text);
        }
        for (text, same) in [
            ("9999-12-31 23:59:59.5+00", "9999-12-31T23:59:59.5Z"),
            ("9999-12-31T23:59:59-01:30", "10000-01-01T01:29:59Z"),
            ("10000-01-01T00:30:00+01:00", "9999-12-31T23:30:00Z"),
        ] {
            assert_eq!(nanos(text), nanos(same), "{text}");
            assert!(nanos(text).is_some(), "{text}");
        }
    }

    #[test]
    fn days_of_databases_survive_there_and_back() {
        for (text, days) in [
            ("1970-01-01", 0),
            ("2024-02-29", 19_782),
            ("9999-12-31", 2_932_896),
            ("10000-01-01", 2_932_897),
            ("5874897-12-31", 2_145_042_905),
            ("0044-03-15 BC", -735_160),
            ("4713-01-01 BC", -2_440_550),
            ("infinity", i32::MAX),
            ("-infinity", i32::MIN),
        ] {
            assert_eq!(day(text), Some(days), "{text}");
            let mut out = String::new();
            put_day(days, &mut out);
            assert_eq!(out, text);
        }
        for day in (-2_500_000..2_500_000).step_by(97) {
            let mut out = String::new();
            put_day(day, &mut out);
            assert_eq!(super::day(&out), Some(day), "{out}");
            if let Ok(date) = out.parse::<jiff::civil::Date>() {
                let since = date.duration_since(jiff::civil::date(1970, 1, 1)).as_hours() / 24;
                assert_eq!(since, i64::from(day), "{out}");
            }
        }
    }

    #[test]
    fn other_texts_are_not_times() {
        for text in [
            "",
            "noon",
            "10000-01-01T00:00:00",
            "10000-01-01T00:00Z",
            "10000-13-01T00:00:00Z",
            "10000-02-30T00:00:00Z",
            "10000-01-01T24:00:00Z",
            "10000-01-01T00:00:60Z",
            "10000-01-01T00:00:00.Z",
            "10000-01-01T00:00:00.0000000001Z",
            "10000-01-01T00:00:00+1",
            "0000-00-00T00:00:00Z",
            "0000-01-01T00:00:00Z BC",
            "99999999-01-01T00:00:00Z",
        ] {
            assert_eq!(count(text, 1_000_000), Err(NotTime::Text), "{text}");
        }
        assert_eq!(count("294276-12-31T23:59:59Z", 1_000_000), Err(NotTime::Range));
        assert_eq!(count("9999-12-31T23:59:59.9999999Z", 1_000_000), Err(NotTime::Finer));
        for text in ["2025-02-29", "2026-1-01", "0000-00-00", "0000-01-01", "26-01-01", "2026-01"] {
            assert_eq!(day(text), None, "{text}");
        }
    }
}
