//! Timestamps of syslog messages, as in the standards and on devices. Pure.
//!
//! ```text
//!   2026-10-11T22:14:15.003Z      RFC 5424, with or without a zone
//!   Oct  1 22:14:15               RFC 3164
//!   Oct 11 22:14:15.123 UTC       Cisco IOS
//!   Oct 11 2026 22:14:15          Cisco ASA
//!   Oct 11 2026 22:14:15+02:00    Huawei
//!   2026 Oct 11 22:14:15.123      Cisco NX-OS
//!   Oct 11 22:14:15.123 2026      Juniper
//! ```

use std::ops::RangeInclusive;

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan};

const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// Context that completes a timestamp without year and zone.
pub(super) struct Calendar {
    /// Zone of the sender's clock.
    pub(super) zone: TimeZone,
    /// Current time.
    pub(super) now: Timestamp,
}

/// Parses the time at the beginning of a text, in milliseconds; returns it with the rest, which is
/// empty or starts with a blank or a colon.
pub(super) fn time<'a>(text: &'a [u8], calendar: &Calendar) -> Option<(i64, &'a [u8])> {
    standard(text, calendar).or_else(|| device(text, calendar))
}

/// Parses a time of RFC 3339, with or without a zone.
fn standard<'a>(text: &'a [u8], calendar: &Calendar) -> Option<(i64, &'a [u8])> {
    let word = text.split(|byte| *byte == b' ').next()?;
    let word = word.strip_suffix(b":").unwrap_or(word);
    if word.len() < "2026-10-11T22:14:15".len() {
        return None;
    }
    let text_of_time = std::str::from_utf8(word).ok()?;
    let rest = &text[word.len()..];
    if let Ok(timestamp) = text_of_time.parse::<Timestamp>() {
        return Some((timestamp.as_millisecond(), rest));
    }
    let civil: DateTime = text_of_time.parse().ok()?;
    Some((millis(civil, calendar.zone.clone())?, rest))
}

/// Parses a time with the name of a month.
fn device<'a>(text: &'a [u8], calendar: &Calendar) -> Option<(i64, &'a [u8])> {
    let mut reader = Reader { rest: text };
    let mut year = reader.attempt(|it| it.year(Reader::blank));
    let month = reader.month()?;
    reader.blank()?;
    let _ = reader.blank();
    let day = reader.number(1..=2)?;
    reader.blank()?;
    year = year.or_else(|| reader.attempt(|it| it.year(Reader::blank)));
    let hour = reader.number(1..=2)?;
    reader.byte(b":")?;
    let minute = reader.number(2..=2)?;
    reader.byte(b":")?;
    // Treat a leap second as the last second of its minute.
    let second = reader.number(2..=2)?.min(59);
    let nanos = reader.attempt(Reader::fraction).unwrap_or_default();
    let mut offset = reader.attempt(Reader::offset);
    year = year.or_else(|| {
        reader.attempt(|it| {
            it.blank()?;
            it.year(Reader::end)
        })
    });
    let zone = reader.attempt(Reader::zone);
    offset = offset.or(zone.flatten());
    reader.end()?;
    let zone = offset.map_or_else(|| calendar.zone.clone(), TimeZone::fixed);
    let of_year = |year: i16| {
        let [month, day, hour, minute, second] =
            [month, day, hour, minute, second].map(|number| number as i8);
        let civil = DateTime::new(year, month, day, hour, minute, second, nanos).ok()?;
        millis(civil, zone.clone())
    };
    let millis = match year {
        Some(year) => of_year(year as i16)?,
        None => latest(calendar, of_year)?,
    };
    Some((millis, reader.rest))
}

/// Years before and after the current one in which a time can be: February 29 exists every fourth.
const YEARS: RangeInclusive<i16> = -4..=1;

/// Returns the time in the latest year in which it is at most a month ahead, as Flume does: a clock
/// may be a little ahead, and logs are not from the future.
fn latest(calendar: &Calendar, of_year: impl Fn(i16) -> Option<i64>) -> Option<i64> {
    let now = calendar.now.to_zoned(calendar.zone.clone());
    let most = now.checked_add(1.month()).ok()?.timestamp().as_millisecond();
    let mut candidates = YEARS.rev().filter_map(|years| of_year(now.year() + years));
    candidates.find(|millis| *millis <= most)
}

fn millis(civil: DateTime, zone: TimeZone) -> Option<i64> {
    Some(civil.to_zoned(zone).ok()?.timestamp().as_millisecond())
}

/// Parses a time from left to right.
#[derive(Clone, Copy)]
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Parses an optional part: consumes nothing if it is missing.
    fn attempt<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let before = *self;
        let read = read(self);
        if read.is_none() {
            *self = before;
        }
        read
    }

    /// Consumes one of these bytes.
    fn byte(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.rest.split_first().filter(|(first, _)| bytes.contains(first))?;
        self.rest = rest;
        Some(*first)
    }

    fn blank(&mut self) -> Option<()> {
        self.byte(b" ").map(drop)
    }

    /// Succeeds if the time may end here.
    fn end(&mut self) -> Option<()> {
        matches!(self.rest.first(), None | Some(b' ' | b':')).then_some(())
    }

    /// Parses that many digits, with no further digit after them.
    fn number(&mut self, digits: RangeInclusive<usize>) -> Option<u32> {
        let found = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = self.rest.split_at(found);
        self.rest = rest;
        digits
            .contains(&found)
            .then(|| number.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
    }

    fn month(&mut self) -> Option<u32> {
        let (name, rest) = self.rest.split_at_checked(3)?;
        let month = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))?;
        self.rest = rest;
        Some(month as u32 + 1)
    }

    fn year(&mut self, then: impl FnOnce(&mut Self) -> Option<()>) -> Option<u32> {
        let year = self.number(4..=4).filter(|year| (1970..2200).contains(year))?;
        then(self)?;
        Some(year)
    }

    /// Parses a fraction of a second, in nanoseconds.
    fn fraction(&mut self) -> Option<i32> {
        self.byte(b".,")?;
        let before = self.rest;
        let number = self.number(1..=9)?;
        let missing = 9 - (before.len() - self.rest.len()) as u32;
        i32::try_from(number * 10_u32.pow(missing)).ok()
    }

    /// Parses `Z`, `+02:00` or `+0200`.
    fn offset(&mut self) -> Option<Offset> {
        if self.byte(b"Z").is_some() {
            return Some(Offset::UTC);
        }
        let sign = if self.byte(b"+-")? == b'-' { -1 } else { 1 };
        let hours_and_minutes = self.attempt(|it| it.number(4..=4));
        let (hours, minutes) = match hours_and_minutes {
            Some(both) => (both / 100, both % 100),
            None => {
                let hours = self.number(2..=2)?;
                self.byte(b":")?;
                (hours, self.number(2..=2)?)
            }
        };
        Offset::from_seconds(sign * (hours * 3_600 + minutes * 60) as i32).ok()
    }

    /// Parses a zone after a blank, and returns its offset if it is known. Accepts other names,
    /// such as `PST`, only where Cisco writes them: before a colon and the `%` of the text.
    fn zone(&mut self) -> Option<Option<Offset>> {
        self.blank()?;
        if let Some(offset) = self.attempt(|it| {
            let offset = it.offset()?;
            it.end().map(|()| offset)
        }) {
            return Some(Some(offset));
        }
        let letters = self.rest.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
        let (name, rest) = self.rest.split_at(letters);
        self.rest = rest;
        if matches!(name, b"UTC" | b"GMT") {
            return self.end().map(|()| Some(Offset::UTC));
        }
        ((2..=5).contains(&letters) && rest.starts_with(b": %")).then_some(None)
    }
}
