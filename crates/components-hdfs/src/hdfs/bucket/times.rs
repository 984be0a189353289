//! Formats times in paths. Pure.
//!
//! A moment is converted to local time in the configured zone and rounded down. When the clocks go
//! back, two hours have the same text, so their events share a directory; nothing is lost or
//! duplicated. `%z` distinguishes them.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

/// The time escapes, each with the milliseconds after which its text can change.
const TIMES: [(char, i64); 23] = [
    ('Y', DAY),
    ('y', DAY),
    ('m', DAY),
    ('n', DAY),
    ('d', DAY),
    ('e', DAY),
    ('j', DAY),
    ('a', DAY),
    ('A', DAY),
    ('b', DAY),
    ('B', DAY),
    ('p', HOUR),
    ('H', HOUR),
    ('I', HOUR),
    ('k', HOUR),
    ('l', HOUR),
    ('M', MINUTE),
    ('S', SECOND),
    ('c', SECOND),
    ('s', SECOND),
    ('z', DAY),
    ('t', 1),
    // Contains three names, so it is expanded before the path is parsed.
    ('D', DAY),
];
const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// Maximum distance of a local time from UTC, including rounding.
const MARGIN: i64 = 3 * DAY;

/// Returns the milliseconds after which the text of an escape can change; `None` for other escapes.
pub(super) fn period(escape: char) -> Option<i64> {
    TIMES.iter().find(|(known, _)| *known == escape).map(|(_, period)| *period)
}

/// Returns the letters of the time escapes.
pub(super) fn letters() -> impl Iterator<Item = char> {
    TIMES.iter().map(|(letter, _)| *letter)
}

/// Parses milliseconds since 1970 from a header; `None` if it contains no time.
pub(super) fn stated(value: Option<&str>) -> Option<i64> {
    value?.parse().ok().filter(|at| *at == within_range(*at))
}

/// Clamps a time to the range that all zones can show.
pub(super) fn within_range(at: i64) -> i64 {
    let (first, last) = (Timestamp::MIN.as_millisecond(), Timestamp::MAX.as_millisecond());
    at.clamp(first + MARGIN, last - MARGIN)
}

/// Rounding as in Flume: seconds within their minute, minutes within their hour, hours within their
/// day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hdfs) struct Round {
    step: i64,
    within: i64,
}

impl Round {
    /// Rounds down to multiples of this step.
    ///
    /// # Errors
    /// The problem with the step.
    pub(in crate::hdfs) fn to(step: Duration) -> Result<Self, String> {
        let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        let units = [(SECOND, MINUTE), (MINUTE, HOUR), (HOUR, DAY)];
        let unit = units.into_iter().find(|(_, within)| step <= *within);
        match unit {
            Some((unit, within)) if step > 0 && step % unit == 0 => Ok(Self { step, within }),
            _ => {
                Err("must be whole seconds up to a minute, whole minutes up to an hour, or whole \
                     hours up to a day, such as `10m`"
                    .into())
            }
        }
    }

    fn down(self, local: i64) -> i64 {
        local - local.rem_euclid(self.within).rem_euclid(self.step)
    }
}

/// The zone and rounding of times in paths.
#[derive(Debug, Clone)]
pub(in crate::hdfs) struct Calendar {
    /// The zone.
    pub(in crate::hdfs) zone: TimeZone,
    /// `None`: no rounding.
    pub(in crate::hdfs) round: Option<Round>,
}

impl Calendar {
    /// Returns the first later moment that has the same local time again, or one that rounds to the
    /// same, if the clocks go back within a day.
    pub(super) fn repeated(&self, at: i64) -> Option<i64> {
        let offset = |at: Timestamp| i64::from(self.zone.to_offset(at).seconds()) * SECOND;
        let from = Timestamp::from_millisecond(at).ok()?;
        let change = self.zone.following(from).next()?.timestamp();
        let back = offset(from) - offset(change);
        let change = change.as_millisecond();
        (back > 0 && change - at <= DAY).then(|| (at + back).max(change))
    }

    /// Creates a clock for the zone. It caches the last offset, which is valid for months.
    pub(super) fn clock(&self) -> Clock<'_> {
        Clock { calendar: self, from: 0, until: 0, offset: 0 }
    }
}

/// A moment, as a path shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Milliseconds since 1970, not rounded.
    exact: i64,
    /// Rounded local time in milliseconds, as if it were UTC.
    pub(super) local: i64,
    /// Offset of the zone from UTC, in milliseconds.
    pub(super) offset: i64,
}

/// Converts moments to a zone.
pub(super) struct Clock<'a> {
    calendar: &'a Calendar,
    /// Start of the cached offset.
    from: i64,
    /// End of the cached offset; empty at first.
    until: i64,
    offset: i64,
}

impl Clock<'_> {
    /// Converts a time in milliseconds since 1970, within the range of [`stated`].
    pub(super) fn at(&mut self, exact: i64) -> Moment {
        if !(self.from..self.until).contains(&exact) {
            self.look_up(exact);
        }
        let local = exact + self.offset;
        let local = self.calendar.round.map_or(local, |round| round.down(local));
        Moment { exact, local, offset: self.offset }
    }

    fn look_up(&mut self, exact: i64) {
        let zone = &self.calendar.zone;
        let at = Timestamp::from_millisecond(exact).unwrap_or_default();
        self.offset = i64::from(zone.to_offset(at).seconds()) * SECOND;
        let next = zone.following(at).next();
        self.until = next.map_or(i64::MAX, |change| change.timestamp().as_millisecond());
        self.until = self.until.max(exact + 1);
        // A change at this very moment counts, too.
        let last = zone.preceding(Timestamp::from_millisecond(exact + 1).unwrap_or(at)).next();
        let last = last.map_or(i64::MIN, |change| change.timestamp().as_millisecond());
        self.from = last.min(exact);
    }
}

impl Moment {
    /// Returns the milliseconds for `%t`, which are not rounded, as in Flume.
    pub(super) fn exact(&self) -> i64 {
        self.exact
    }

    fn civil(&self) -> DateTime {
        let local = Timestamp::from_millisecond(self.local).unwrap_or_default();
        Offset::UTC.to_datetime(local)
    }

    /// Appends the text of `%escape`, in characters that every store accepts.
    pub(super) fn show(&self, escape: char, name: &mut String) {
        let at = self.civil();
        let date = at.date();
        let twelve = |hour: i8| if hour % 12 == 0 { 12 } else { hour % 12 };
        let day = || DAYS[usize::from(date.weekday().to_sunday_zero_offset().unsigned_abs())];
        let month = || MONTHS[usize::from(date.month().unsigned_abs()) - 1];
        let (hour, minute, second) = (at.hour(), at.minute(), at.second());
        let written = match escape {
            'Y' => write!(name, "{:04}", date.year()),
            'y' => write!(name, "{:02}", date.year().rem_euclid(100)),
            'm' => write!(name, "{:02}", date.month()),
            'n' => write!(name, "{}", date.month()),
            'd' => write!(name, "{:02}", date.day()),
            'e' => write!(name, "{}", date.day()),
            'j' => write!(name, "{:03}", date.day_of_year()),
            'a' => name.write_str(&day()[..3]),
            'A' => name.write_str(day()),
            'b' => name.write_str(&month()[..3]),
            'B' => name.write_str(month()),
            'p' => name.write_str(if hour < 12 { "AM" } else { "PM" }),
            'H' => write!(name, "{hour:02}"),
            'I' => write!(name, "{:02}", twelve(hour)),
            'k' => write!(name, "{hour}"),
            'l' => write!(name, "{}", twelve(hour)),
            'M' => write!(name, "{minute:02}"),
            'S' => write!(name, "{second:02}"),
            's' => write!(name, "{}", (self.local - self.offset).div_euclid(SECOND)),
            't' => write!(name, "{}", self.exact),
            'z' => {
                let minutes = self.offset / MINUTE;
                let sign = if minutes < 0 { '-' } else { '+' };
                let minutes = minutes.unsigned_abs();
                write!(name, "{sign}{:02}{:02}", minutes / 60, minutes % 60)
            }
            'c' => {
                let (day, month) = (&day()[..3], &month()[..3]);
                write!(
                    name,
                    "{day}%20{month}%20{}%20{hour:02}%3A{minute:02}%3A{second:02}%20{:04}",
                    date.day(),
                    date.year(),
                )
            }
            _ => Ok(()),
        };
        written.expect("a string takes every write");
    }
}

const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(zone: &str, round: Option<&str>, at: &str, escapes: &str) -> String {
        let zone = TimeZone::get(zone).unwrap();
        let round = round.map(|text| Round::to(humane(text)).unwrap());
        let calendar = Calendar { zone, round };
        let at: Timestamp = at.parse().unwrap();
        let moment = calendar.clock().at(at.as_millisecond());
        let mut text = String::new();
        escapes.chars().for_each(|escape| {
            moment.show(escape, &mut text);
            text.push(' ');
        });
        text.trim_end().to_owned()
    }

    fn humane(text: &str) -> Duration {
        let (count, unit) = text.split_at(text.len() - 1);
        let unit = match unit {
            "s" => 1,
            "m" => 60,
            _ => 3_600,
        };
        Duration::from_secs(count.parse::<u64>().unwrap() * unit)
    }

    #[test]
    fn each_escape_shows_what_flume_shows() {
        let at = "2026-03-05T14:07:09.250Z";
        let all = "a A b B d e j H I k l m n M p S y Y z s t".replace(' ', "");
        let expected = "Thu Thursday Mar March 05 5 064 14 02 14 2 03 3 07 PM 09 26 2026 +0000 \
                        1772719629 1772719629250";
        assert_eq!(shown("UTC", None, at, &all), expected);
        assert_eq!(shown("UTC", None, at, "c"), "Thu%20Mar%205%2014%3A07%3A09%202026");
        assert_eq!(shown("UTC", None, "2026-03-05T00:30:00Z", "HIklp"), "00 12 0 12 AM");
        assert_eq!(shown("Asia/Kolkata", None, at, "Hz"), "19 +0530");
        assert_eq!(shown("America/St_Johns", None, at, "Hz"), "10 -0330");
    }

    #[test]
    fn times_are_rounded_as_flume_rounds_them() {
        let at = "2026-03-05T14:47:59.999Z";
        for (round, expected) in [
            ("10m", "14 40 00"),
            ("7m", "14 42 00"),
            ("1m", "14 47 00"),
            ("60m", "14 00 00"),
            ("1h", "14 00 00"),
            ("6h", "12 00 00"),
            ("24h", "00 00 00"),
            ("25s", "14 47 50"),
        ] {
            assert_eq!(shown("UTC", Some(round), at, "HMS"), expected, "{round}");
        }
        // Hours of the zone, not of UTC; `%t` is never rounded.
        assert_eq!(shown("Asia/Kolkata", Some("6h"), at, "HMst"), "18 00 1772713800 1772722079999");
        for wrong in [0, 90, 3_660, 25 * 3_600] {
            assert!(Round::to(Duration::from_secs(wrong)).is_err(), "{wrong}");
        }
        assert!(Round::to(Duration::from_millis(1_500)).is_err());
    }

    #[test]
    fn only_the_offset_distinguishes_a_repeated_hour() {
        let calendar = Calendar {
            zone: TimeZone::get("Europe/Berlin").unwrap(),
            round: Round::to(humane("30m")).ok(),
        };
        let mut clock = calendar.clock();
        // One clock for all, because its cached offset must not outlive the change.
        let texts = ["00:45", "01:45", "00:15", "02:45", "01:00", "00:59"].map(|time| {
            let at: Timestamp = format!("2026-10-25T{time}:00Z").parse().unwrap();
            let moment = clock.at(at.as_millisecond());
            let mut text = String::new();
            ['H', 'M', 'z'].into_iter().for_each(|escape| moment.show(escape, &mut text));
            text
        });
        let expected =
            ["0230+0200", "0230+0100", "0200+0200", "0330+0100", "0200+0100", "0230+0200"];
        assert_eq!(texts, expected);
        // In spring one hour is missing, and has no events.
        assert_eq!(shown("Europe/Berlin", None, "2026-03-29T00:59:59Z", "HM"), "01 59");
        assert_eq!(shown("Europe/Berlin", None, "2026-03-29T01:00:00Z", "HM"), "03 00");
    }

    #[test]
    fn a_civil_time_is_repeated_where_the_clocks_go_back() {
        let repeated = |zone: &str, at: &str| {
            let calendar = Calendar { zone: TimeZone::get(zone).unwrap(), round: None };
            let at: Timestamp = at.parse().unwrap();
            let again = calendar.repeated(at.as_millisecond());
            again.map(|again| Timestamp::from_millisecond(again).unwrap().to_string())
        };
        for (zone, at, again) in [
            ("Europe/Berlin", "2026-10-25T00:05:00Z", Some("2026-10-25T01:05:00Z")),
            // Before both hours, but possibly rounded to the same time.
            ("Europe/Berlin", "2026-10-24T23:59:00Z", Some("2026-10-25T01:00:00Z")),
            ("Europe/Berlin", "2026-10-25T01:05:00Z", None),
            ("Europe/Berlin", "2026-10-23T00:05:00Z", None),
            ("Europe/Berlin", "2026-03-29T00:59:00Z", None),
            ("Australia/Lord_Howe", "2026-04-04T14:45:00Z", Some("2026-04-04T15:15:00Z")),
            ("UTC", "2026-10-25T00:05:00Z", None),
        ] {
            assert_eq!(repeated(zone, at).as_deref(), again, "{zone} {at}");
        }
    }

    #[test]
    fn the_clock_matches_the_zone_at_every_change() {
        for name in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Tehran"] {
            let calendar = Calendar { zone: TimeZone::get(name).unwrap(), round: None };
            let mut clock = calendar.clock();
            let first: Timestamp = "1965-01-01T00:00:00Z".parse().unwrap();
            for change in calendar.zone.following(first).take(120) {
                let change = change.timestamp().as_millisecond();
                for at in [change + 1, change - 1, change, change - 1, change] {
                    let of_zone = Timestamp::from_millisecond(at).unwrap();
                    let of_zone = i64::from(calendar.zone.to_offset(of_zone).seconds()) * SECOND;
                    assert_eq!(clock.at(at).offset, of_zone, "{name} at {at}");
                }
            }
        }
    }
}
