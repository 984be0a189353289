//! Times as in `java.sql`: milliseconds since 1970, in Java's calendar.
//!
//! Java uses the Gregorian calendar from 1582-10-15 on, and the Julian one before: early dates
//! differ from those in databases.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;

const DAY_MS: i64 = 86_400_000;
/// Days from 1970 to 1582-10-15, and the offset to Julian day numbers.
const GREGORIAN: i64 = -141_427;
const JULIAN: i64 = 2_440_588;

/// Parts of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Day,
    OfDay,
    Moment { nanos: u32 },
}

/// Appends a time, in UTC unless a zone is set; timestamps end with `Z` in this case.
///
/// # Errors
/// Why the time has no text.
pub(super) fn put(
    ms: i64,
    part: Part,
    zone: Option<&TimeZone>,
    out: &mut String,
) -> Result<(), String> {
    let offset = match zone {
        None => 0,
        Some(zone) => {
            let at = Timestamp::from_millisecond(ms);
            let at =
                at.map_err(|_| format!("the time {ms} (ms since 1970) is after the year 9999"))?;
            i64::from(zone.to_offset(at).seconds()) * 1000
        }
    };
    let local = ms.saturating_add(offset);
    let (days, of_day) = (local.div_euclid(DAY_MS), local.rem_euclid(DAY_MS));
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60);
    let write = match part {
        Part::OfDay => write!(out, "\"{hour:02}:{minute:02}:{second:02}\""),
        Part::Day if of_day != 0 => {
            return Err(format!(
                "the time {ms} (ms since 1970) is not midnight in this zone: set `zone` of the \
                 decoder to the time zone of the Java process that wrote the file"
            ));
        }
        Part::Day => {
            let (year, month, day) = civil(days)?;
            write!(out, "\"{year:04}-{month:02}-{day:02}\"")
        }
        Part::Moment { nanos } => {
            let (year, month, day) = civil(days)?;
            let digits = format!("{nanos:09}");
            let fraction = digits.trim_end_matches('0');
            let point = if fraction.is_empty() { "" } else { "." };
            let end = if zone.is_some() { "" } else { "Z" };
            write!(
                out,
                "\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{point}\
                 {fraction}{end}\""
            )
        }
    };
    write.expect("a string takes it");
    Ok(())
}

/// Returns year, month and day.
fn civil(days: i64) -> Result<(i64, i64, i64), String> {
    let beyond = || format!("the day {days} (days since 1970) is not in the years 1 to 9999");
    // Beyond the supported range of both calendars.
    if days.abs() > 4_000_000 {
        return Err(beyond());
    }
    let date = match days >= GREGORIAN {
        true => {
            let at = i32::try_from(days).ok().and_then(|days| {
                let begin = jiff::civil::date(1970, 1, 1);
                begin.checked_add(jiff::Span::new().try_days(days).ok()?).ok()
            });
            let at = at.ok_or_else(beyond)?;
            (i64::from(at.year()), i64::from(at.month()), i64::from(at.day()))
        }
        false => julian(days),
    };
    if date.0 < 1 { Err(beyond()) } else { Ok(date) }
}

/// Same in the Julian calendar, by the algorithm of E. G. Richards.
fn julian(days: i64) -> (i64, i64, i64) {
    let count = days + JULIAN + 32_082;
    let year = (4 * count + 3).div_euclid(1461);
    let of_year = count - (1461 * year).div_euclid(4);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    (year - 4800 + month / 10, month + 3 - 12 * (month / 10), day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(days: i64) -> String {
        let mut out = String::new();
        put(days * DAY_MS, Part::Day, None, &mut out).map_or_else(|problem| problem, |()| out)
    }

    #[test]
    fn days_are_those_of_javas_calendar() {
        // Expected values are from `new java.sql.Date(days * 86400000L).toString()` in UTC.
        for (days, expected) in [
            (0, "\"1970-01-01\""),
            (-141_427, "\"1582-10-15\""),
            (-141_428, "\"1582-10-04\""),
            (-719_164, "\"0001-01-01\""),
            (-171_498, "\"1500-06-06\""),
            (-500_000, "\"0601-01-15\""),
            (2_932_896, "\"9999-12-31\""),
        ] {
            assert_eq!(day(days), expected, "{days}");
        }
        assert!(day(-719_165).contains("not in the years"), "{}", day(-719_165));
        assert!(day(2_932_897).contains("not in the years"));
        assert!(day(i64::MAX / DAY_MS).contains("not in the years"));
    }

    #[test]
    fn a_day_of_another_zone_is_named_and_not_moved() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let midnight = 1_767_222_000_000; // 2026-01-01T00:00 in Berlin
        let mut out = String::new();
        put(midnight, Part::Day, Some(&berlin), &mut out).unwrap();
        put(midnight, Part::Moment { nanos: 5_000 }, Some(&berlin), &mut out).unwrap();
        put(midnight, Part::Moment { nanos: 0 }, None, &mut out).unwrap();
        put(midnight, Part::OfDay, Some(&berlin), &mut out).unwrap();
        let expected = "\"2026-01-01\"\"2026-01-01T00:00:00.000005\"\"2025-12-31T23:00:00Z\"\
                        \"00:00:00\"";
        assert_eq!(out, expected);
        let problem = put(midnight, Part::Day, None, &mut out).unwrap_err();
        assert!(problem.contains("set `zone`"), "{problem}");
    }
}
