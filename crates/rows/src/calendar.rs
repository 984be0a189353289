//! Dates and times as text, over the ranges of databases: years from 4713 BC on, and `infinity`.
//!
//! ```text
//!   date                 2026-11-26    0044-03-15 BC    infinity
//!   time of day          16:00:00.25
//!   time without zone    2026-11-26T16:00:00.25
//!   point in time        2026-11-26T16:00:00.25Z
//! ```

use crate::{Moment, NANOS};

const SECONDS_OF_DAY: i64 = 86_400;

/// Form of a written time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeForm {
    /// `2026-11-26T16:00:00.25Z`.
    Utc,
    /// `2026-11-26T16:00:00.25`.
    Local,
    /// `2026-11-26 16:00:00.25`.
    Spaced,
}

/// Appends the date of a day since 1970.
pub fn put_day(day: i32, out: &mut Vec<u8>) {
    match day {
        i32::MAX => out.extend_from_slice(b"infinity"),
        i32::MIN => out.extend_from_slice(b"-infinity"),
        day => {
            let is_bc = put_date(day.into(), out);
            put_era(is_bc, out);
        }
    }
}

/// Appends a time.
pub fn put_moment(moment: Moment, form: TimeForm, out: &mut Vec<u8>) {
    match moment {
        Moment::INFINITY => return out.extend_from_slice(b"infinity"),
        Moment::NEG_INFINITY => return out.extend_from_slice(b"-infinity"),
        _ => {}
    }
    let is_bc = put_date(moment.seconds.div_euclid(SECONDS_OF_DAY), out);
    out.push(if form == TimeForm::Spaced { b' ' } else { b'T' });
    put_clock(moment.seconds.rem_euclid(SECONDS_OF_DAY), moment.nanos, out);
    if form == TimeForm::Utc {
        out.push(b'Z');
    }
    put_era(is_bc, out);
}

/// Appends a time of day in nanoseconds since midnight.
pub fn put_time_of_day(nanos: i64, out: &mut Vec<u8>) {
    let of_second = i64::from(NANOS);
    put_clock(nanos / of_second, (nanos % of_second).unsigned_abs() as u32, out);
}

fn put_clock(seconds: i64, nanos: u32, out: &mut Vec<u8>) {
    put_two(seconds / 3600, out);
    out.push(b':');
    put_two(seconds / 60 % 60, out);
    out.push(b':');
    put_two(seconds % 60, out);
    if nanos != 0 {
        out.push(b'.');
        let mut rest = nanos;
        let mut unit = NANOS / 10;
        while rest > 0 {
            out.push(b'0' + (rest / unit) as u8);
            rest %= unit;
            unit /= 10;
        }
    }
}

fn put_era(is_bc: bool, out: &mut Vec<u8>) {
    if is_bc {
        out.extend_from_slice(b" BC");
    }
}

/// Appends a number of at least two digits.
fn put_two(number: i64, out: &mut Vec<u8>) {
    match number {
        0..100 => out.extend_from_slice(&[b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]),
        _ => crate::text::put_integer(number, out),
    }
}

/// Appends the date of a day since 1970, without its era, by Howard Hinnant's algorithm. Returns
/// whether it is BC.
fn put_date(days: i64, out: &mut Vec<u8>) -> bool {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let is_bc = year <= 0;
    let year = if is_bc { 1 - year } else { year };
    match year {
        0..10_000 => {
            put_two(year / 100, out);
            put_two(year % 100, out);
        }
        _ => crate::text::put_integer(year, out),
    }
    out.push(b'-');
    put_two(month, out);
    out.push(b'-');
    put_two(day, out);
    is_bc
}
