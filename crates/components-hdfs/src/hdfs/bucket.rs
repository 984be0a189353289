//! Which directory an event belongs in: the path of the URL with its escapes.
//!
//! ```text
//! /logs/%Y-%m-%d/%{app}      prefix /logs, below it 2026-11-20/shop
//! └prefix┘└── template ─┘
//! ```
//!
//! The names up to the first escape are the prefix, and nothing leads out of it: a value is one
//! name or a part of one. In a value every byte outside `A-Za-z0-9._=-` becomes `%XX`; an empty or
//! missing one and `.` and `..` become `_`; what is longer than [`VALUE_MAX`] is cut.
//!
//! Time is the header `timestamp` (milliseconds since 1970) in UTC, and the clock of this host
//! where an event has none that can be read: an odd header must not cost an event.
//!
//! A batch is parted into so many directories at most as one roll may hold; the rest of it is one
//! part more, for [`OVERFLOW`]. So routing costs a few times the batch's own bytes, also where each
//! event has another value.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ledger::BOOKS;
use pipeline::{EventRef, Events};

/// Where the events go whose directories are more than one roll may hold.
pub(super) const OVERFLOW: &str = "_overflow";
/// The part of those, until it has a number.
const OVER: usize = usize::MAX;
/// Bytes of a rendered value at most.
const VALUE_MAX: usize = 128;
/// Names of a path at most.
const DEPTH_MAX: usize = 12;
/// The header that time is taken from.
const TIMESTAMP: &str = "timestamp";

/// The escapes of time, each with the milliseconds after which its text can change.
const TIMES: [(char, i64); 14] = [
    ('Y', DAY),
    ('y', DAY),
    ('m', DAY),
    ('d', DAY),
    ('e', DAY),
    ('j', DAY),
    ('a', DAY),
    ('A', DAY),
    ('b', DAY),
    ('B', DAY),
    ('H', 3_600_000),
    ('M', 60_000),
    ('S', 1_000),
    ('s', 1_000),
];
const DAY: i64 = 86_400_000;

/// A path with escapes, split into the prefix and what is rendered below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    prefix: String,
    names: Vec<Vec<Piece>>,
    /// Milliseconds within which every rendered time is the same; `None` without such escapes.
    period: Option<i64>,
    headers: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Time(String),
    /// Index into [`Template::headers`].
    Header(usize),
}

impl Template {
    /// Takes a path apart.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn parse(path: &str) -> Result<Self, String> {
        let names: Vec<&str> = path.split('/').skip(1).collect();
        if names.len() > DEPTH_MAX {
            return Err(format!("the path has more than {DEPTH_MAX} names"));
        }
        let literal = names.iter().take_while(|name| !name.contains('%')).count();
        let prefix = names[..literal].iter().fold(String::new(), |path, name| path + "/" + name);
        if prefix.is_empty() {
            return Err("a directory must stand in front of the first escape".into());
        }
        if names[..literal].contains(&BOOKS) {
            return Err(format!("`{BOOKS}` is where the books of the datasets are kept"));
        }
        let mut template = Self { prefix, names: Vec::new(), period: None, headers: Vec::new() };
        for name in &names[literal..] {
            let pieces = template.pieces(name)?;
            template.names.push(pieces);
        }
        Ok(template)
    }

    fn pieces(&mut self, name: &str) -> Result<Vec<Piece>, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = name;
        while let Some(at) = rest.find('%') {
            literal.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let escape = rest.chars().next().ok_or("a `%` stands at the end of a name")?;
            if escape == '%' {
                literal.push('%');
                rest = &rest[1..];
                continue;
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            if escape == '{' {
                let end = rest.find('}').ok_or("a `%{` has no `}`")?;
                pieces.push(Piece::Header(self.header(&rest[1..end])?));
                rest = &rest[end + 1..];
            } else if let Some((_, period)) = TIMES.iter().find(|(known, _)| *known == escape) {
                self.period = Some(self.period.map_or(*period, |old| old.min(*period)));
                pieces.push(Piece::Time(format!("%{escape}")));
                rest = &rest[1..];
            } else {
                let known: String = TIMES.iter().map(|(known, _)| format!(" %{known}")).collect();
                return Err(format!("unknown escape `%{escape}`; known: %{{header}} %%{known}"));
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(pieces)
    }

    fn header(&mut self, name: &str) -> Result<usize, String> {
        if name.is_empty() {
            return Err("`%{}` names no header".into());
        }
        let known = self.headers.iter().position(|header| header == name);
        Ok(known.unwrap_or_else(|| {
            self.headers.push(name.into());
            self.headers.len() - 1
        }))
    }

    /// The directory in front of the first escape.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The events by directory, below the prefix: `parts_max` of them at most, in the order in
    /// which they first appear, and [`OVERFLOW`]. Events whose headers are shared stay in one piece
    /// and are looked at once. `now` is in milliseconds since 1970.
    pub(super) fn route(
        &self,
        events: &Events,
        now: i64,
        parts_max: usize,
    ) -> Vec<(String, Events)> {
        let own_time = self.period.is_some() && events.has_own(TIMESTAMP);
        let own: Vec<bool> = self.headers.iter().map(|name| events.has_own(name)).collect();
        let Some(first) = events.iter().next() else { return Vec::new() };
        if !own_time && !own.contains(&true) {
            return vec![(self.render(first, now), events.clone())];
        }
        // What can differ between two events of this batch, and nothing else.
        let mut part_of = vec![0; events.len()];
        if let Some(period) = self.period.filter(|_| own_time) {
            let times = events.values(TIMESTAMP).map(|stated| time_of(stated, now));
            part_by(&mut part_of, times.map(|time| time.div_euclid(period)), parts_max);
        }
        for (name, _) in self.headers.iter().zip(own).filter(|(_, own)| *own) {
            part_by(&mut part_of, events.values(name), parts_max);
        }
        let named = part_of.iter().filter(|part| **part != OVER).max().map_or(0, |last| last + 1);
        part_of.iter_mut().filter(|part| **part == OVER).for_each(|part| *part = named);
        let parts = events.split(&part_of).into_iter().enumerate().filter_map(|(number, part)| {
            let first = part.iter().next()?;
            let directory = if number < named { self.render(first, now) } else { OVERFLOW.into() };
            Some((directory, part))
        });
        parts.collect()
    }

    fn render(&self, event: EventRef<'_>, now: i64) -> String {
        let at = Timestamp::from_millisecond(time_of(event.header(TIMESTAMP), now));
        let at = at.unwrap_or(Timestamp::UNIX_EPOCH);
        let at = at.to_zoned(TimeZone::UTC);
        let mut path = String::new();
        for pieces in &self.names {
            let mut name = String::new();
            for piece in pieces {
                match piece {
                    Piece::Literal(text) => name.push_str(text),
                    Piece::Time(format) => name.push_str(&at.strftime(format).to_string()),
                    Piece::Header(header) => {
                        name.push_str(&confined(event.header(&self.headers[*header])));
                    }
                }
            }
            if name == BOOKS {
                name = format!("%5F{}", &BOOKS[1..]);
            }
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(&name);
        }
        path
    }
}

/// Parts what is together still and differs in `values`: `part_of` has the number of each event's
/// part. Parts are numbered as they first appear; the events of those beyond `parts_max` are over.
fn part_by<V: Copy + Eq + Hash>(
    part_of: &mut [usize],
    values: impl Iterator<Item = V>,
    parts_max: usize,
) {
    let mut known: HashMap<(usize, V), usize, RandomState> = HashMap::default();
    // Events that are alike often follow each other.
    let mut last = None;
    for (part, value) in part_of.iter_mut().zip(values) {
        let key = (*part, value);
        let number = match last {
            Some((before, number)) if before == key => number,
            _ if *part == OVER => OVER,
            _ if known.len() < parts_max => {
                let next = known.len();
                *known.entry(key).or_insert(next)
            }
            _ => known.get(&key).copied().unwrap_or(OVER),
        };
        last = Some((key, number));
        *part = number;
    }
}

/// When an event happened that states this time, in milliseconds since 1970.
fn time_of(stated: Option<&str>, now: i64) -> i64 {
    let known = Timestamp::MIN.as_millisecond()..=Timestamp::MAX.as_millisecond();
    let stated = stated.and_then(|value| value.parse::<i64>().ok());
    stated.filter(|at| known.contains(at)).unwrap_or(now)
}

/// A value as a name, or a part of one.
pub(super) fn confined(value: Option<&str>) -> String {
    let mut name = String::new();
    for byte in value.unwrap_or_default().bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"._=-".contains(&byte);
        if name.len() + if plain { 1 } else { 3 } > VALUE_MAX {
            break;
        }
        if plain {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    if matches!(name.as_str(), "" | "." | "..") { "_".into() } else { name }
}

#[cfg(test)]
mod tests {
    use pipeline::{Batch, BatchBuilder, Existing};
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-20T09:05:07.008Z.
    const NOW: i64 = 1_795_165_507_008;

    fn routed(path: &str, batch: &Batch) -> Vec<(String, usize)> {
        let template = Template::parse(path).unwrap();
        template.route(batch, NOW, 3).into_iter().map(|(path, part)| (path, part.len())).collect()
    }

    #[test]
    fn a_shared_header_and_the_time_of_the_event_make_the_path() {
        let mut batch = Batch::of(["a", "b"]);
        assert_eq!(routed("/logs/%Y-%m-%d/%H%M%S", &batch), [("2026-11-20/090507".into(), 2)]);
        batch.set_header("timestamp", "1000", Existing::Replace);
        batch.set_header("app", "shop", Existing::Replace);
        let path = "/logs/x-%{app}/y=%y/%%/%j";
        assert_eq!(routed(path, &batch), [("x-shop/y=70/%/001".into(), 2)]);
        assert_eq!(routed("/logs/plain", &batch), [(String::new(), 2)]);
    }

    #[test]
    fn events_of_other_hours_and_headers_are_parted_and_no_others() {
        let mut builder = BatchBuilder::default();
        for (time, app) in [("0", "a"), ("3599999", "a"), ("3600000", "a"), ("1", "b")] {
            builder.push(b"x", &[("timestamp", time), ("app", app), ("other", time)]);
        }
        let parted = routed("/logs/%H/%{app}", &builder.finish());
        let expected = [("00/a", 2), ("01/a", 1), ("00/b", 1)];
        assert_eq!(parted, expected.map(|(path, events)| (path.to_owned(), events)));
    }

    #[test]
    fn what_needs_more_directories_than_a_roll_may_hold_stays_together() {
        let mut builder = BatchBuilder::default();
        for (time, app) in
            [("0", "a"), ("3600000", "a"), ("0", "b"), ("0", "a"), ("9", "c"), ("0", "d")]
        {
            builder.push(b"x", &[("timestamp", time), ("app", app)]);
        }
        let parted = routed("/logs/%H/%{app}", &builder.finish());
        let expected = [("00/a", 2), ("01/a", 1), ("00/b", 1), (OVERFLOW, 2)];
        assert_eq!(parted, expected.map(|(path, events)| (path.to_owned(), events)));
    }

    #[test]
    fn a_timestamp_that_cannot_be_read_is_taken_for_none() {
        for odd in ["", "yesterday", "-", "99999999999999999999", "9223372036854775807"] {
            let mut batch = Batch::of(["a"]);
            batch.set_header("timestamp", odd, Existing::Replace);
            assert_eq!(routed("/logs/%Y", &batch), [("2026".into(), 1)], "{odd:?}");
        }
    }

    #[test]
    fn a_template_that_cannot_be_rendered_is_refused() {
        for path in [
            "/%Y/logs",
            "/logs/%Q",
            "/logs/%{app",
            "/logs/%{}",
            "/logs/50%",
            "/logs/_aqueduct/%Y",
            "/1/2/3/4/5/6/7/8/9/10/11/12/13",
        ] {
            assert!(Template::parse(path).is_err(), "{path}");
        }
    }

    #[test]
    fn the_books_cannot_be_named_by_a_header() {
        let mut batch = Batch::of(["a"]);
        batch.set_header("app", "_aqueduct", Existing::Replace);
        assert_eq!(routed("/logs/%{app}", &batch), [("%5Faqueduct".into(), 1)]);
    }

    proptest! {
        #[test]
        fn no_value_leads_out_of_its_directory(value in ".*") {
            let mut batch = Batch::of(["a"]);
            batch.set_header("app", &value, Existing::Replace);
            let path = routed("/logs/%{app}/%{missing}", &batch).remove(0).0;
            let names: Vec<&str> = path.split('/').collect();
            prop_assert_eq!(names.len(), 2);
            prop_assert!(!matches!(names[0], "" | "." | ".." | BOOKS));
            prop_assert!(names[0].len() <= VALUE_MAX && names[1] == "_");
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._=-%".contains(&b);
            prop_assert!(names[0].bytes().all(plain));
        }
    }
}
