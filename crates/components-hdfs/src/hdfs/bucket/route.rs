//! Splits a batch by directory.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use foldhash::fast::RandomState;
use pipeline::{EventRef, Events};
use support::mutant;

use super::Template;
use super::times::{self, Calendar, Clock, Moment};

/// Directory of the events for which a batch has too many directories.
pub(in crate::hdfs) const OVERFLOW: &str = "_overflow";
/// Temporary part number of those events.
const OVER: usize = usize::MAX;
/// The header that contains the time.
const TIMESTAMP: &str = "timestamp";

/// What to do with an event without a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::hdfs) enum WithoutTime {
    /// Use the time of its arrival.
    Arrival,
    /// Reject it: it goes to the dead letters.
    Reject,
    /// Use the time of its arrival, below this path.
    Below(String),
}

/// Maps events to directories.
#[derive(Debug, Clone)]
pub(in crate::hdfs) struct Rules {
    /// The template of the path.
    pub(in crate::hdfs) template: Template,
    /// Zone and rounding of times.
    pub(in crate::hdfs) calendar: Calendar,
    /// Whether to use the arrival time for all events.
    pub(in crate::hdfs) by_arrival: bool,
    /// For events without a time.
    pub(in crate::hdfs) without_time: WithoutTime,
    /// Events older than this go below this path, with their arrival time. This limits the number
    /// of directories, however old the events are.
    pub(in crate::hdfs) late: Option<(Duration, String)>,
}

/// A batch, split by directory.
#[derive(Debug, Default)]
pub(in crate::hdfs) struct Routed {
    /// Directories below the prefix, and their events.
    pub(in crate::hdfs) parts: Vec<(String, Events)>,
    /// Rejected events without a time.
    pub(in crate::hdfs) rejected: Events,
    /// Number of late events.
    pub(in crate::hdfs) late: u64,
}

/// Equivalence class of an event's time: equal classes have the same time in their path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum When {
    /// The period of the time, and other parts of the moment that are shown.
    At(i64, i64),
    Late,
    WithoutTime,
}

impl Rules {
    /// Splits events by directory below the prefix: at most `parts_max`, in the order of their
    /// first event, and [`OVERFLOW`]. Events with shared headers stay together and are examined
    /// once. `now` is in milliseconds since 1970.
    pub(in crate::hdfs) fn route(&self, events: &Events, now: i64, parts_max: usize) -> Routed {
        let mut routed = Routed::default();
        let now = times::within_range(now);
        let mut kept;
        let mut events = events;
        let counts = self.template.period.is_some() && !self.by_arrival;
        let rejects = counts && self.without_time == WithoutTime::Reject;
        if rejects && events.values(TIMESTAMP).any(|value| times::stated(value).is_none()) {
            kept = events.clone();
            let is_without = |event: EventRef<'_>| times::stated(event.header(TIMESTAMP)).is_none();
            routed.rejected = kept.extract(is_without);
            events = &kept;
        }
        self.split(events, now, parts_max, &mut routed);
        routed
    }

    /// Returns the time in the directory of this event; `None` if the event goes elsewhere because
    /// it is late or has no time.
    pub(in crate::hdfs) fn time_shown(&self, event: EventRef<'_>, now: i64) -> Option<i64> {
        let now = times::within_range(now);
        if self.by_arrival || self.template.period.is_none() {
            return Some(now);
        }
        match self.dated(times::stated(event.header(TIMESTAMP)), now) {
            Dated::At(at) => Some(at),
            Dated::Late => None,
            Dated::WithoutTime => {
                (!matches!(self.without_time, WithoutTime::Below(_))).then_some(now)
            }
        }
    }

    /// Returns whether the period of a directory with an event of time `at` is over at `now`: the
    /// text has changed, and will not return when the clocks go back.
    pub(in crate::hdfs) fn is_over(&self, at: i64, now: i64) -> bool {
        let now = times::within_range(now);
        let mut clock = self.calendar.clock();
        let text = self.template.times(clock.at(at));
        if at >= now || text == self.template.times(clock.at(now)) {
            return false;
        }
        let again = self.calendar.repeated(at).filter(|_| !mutant!("marked_before_clocks_back"));
        again.is_none_or(|again| again < now || self.template.times(clock.at(again)) != text)
    }

    fn split(&self, events: &Events, now: i64, parts_max: usize, routed: &mut Routed) {
        let Self { template, calendar, .. } = self;
        let period = template.period.filter(|_| !self.by_arrival);
        let own_time = period.is_some() && events.has_own(TIMESTAMP);
        let own: Vec<bool> = template.headers.iter().map(|name| events.has_own(name)).collect();
        let Some(first) = events.iter().next() else { return };
        let mut clock = calendar.clock();
        if !own_time && !own.contains(&true) {
            let (path, late) = self.path(first, now, &mut clock);
            routed.late += if late { events.len() as u64 } else { 0 };
            routed.parts.push((path, events.clone()));
            return;
        }
        // Split only by what can differ between two events of this batch.
        let mut part_of = vec![0; events.len()];
        if own_time {
            let mut late = 0;
            let times = events.values(TIMESTAMP).map(|value| {
                let when = self.when(times::stated(value), now, &mut clock);
                late += u64::from(when == When::Late);
                when
            });
            part_by(&mut part_of, times, parts_max);
            routed.late += late;
        }
        for (name, _) in template.headers.iter().zip(own).filter(|(_, own)| *own) {
            part_by(&mut part_of, events.values(name), parts_max);
        }
        let named = part_of.iter().filter(|part| **part != OVER).max().map_or(0, |last| last + 1);
        part_of.iter_mut().filter(|part| **part == OVER).for_each(|part| *part = named);
        for (number, part) in events.split(&part_of).into_iter().enumerate() {
            let Some(first) = part.iter().next() else { continue };
            let (directory, late) = match number < named {
                true => self.path(first, now, &mut clock),
                false => (OVERFLOW.into(), false),
            };
            // Events with their own time are already counted; a shared time is counted here.
            routed.late += if late && !own_time { part.len() as u64 } else { 0 };
            routed.parts.push((directory, part));
        }
    }

    /// Classifies an event with this stated time.
    fn when(&self, stated: Option<i64>, now: i64, clock: &mut Clock<'_>) -> When {
        match self.dated(stated, now) {
            Dated::Late => When::Late,
            Dated::WithoutTime => When::WithoutTime,
            Dated::At(at) => {
                let (moment, period) = (clock.at(at), self.template.period.unwrap_or(1));
                if period == 1 {
                    return When::At(moment.exact(), 0);
                }
                let offset = if self.template.shows_offset { moment.offset } else { 0 };
                When::At(moment.local.div_euclid(period), offset)
            }
        }
    }

    fn dated(&self, stated: Option<i64>, now: i64) -> Dated {
        let Some(at) = stated else {
            return match self.without_time {
                WithoutTime::Arrival => Dated::At(now),
                WithoutTime::Below(_) | WithoutTime::Reject => Dated::WithoutTime,
            };
        };
        let late = self.late.as_ref().is_some_and(|(after, _)| {
            let after = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
            at < now.saturating_sub(after)
        });
        if late { Dated::Late } else { Dated::At(at) }
    }

    /// Returns the directory of an event, and whether it is late.
    fn path(&self, event: EventRef<'_>, now: i64, clock: &mut Clock<'_>) -> (String, bool) {
        let render = |moment: Moment| self.template.render(event, moment);
        if self.by_arrival || self.template.period.is_none() {
            return (render(clock.at(now)), false);
        }
        match self.dated(times::stated(event.header(TIMESTAMP)), now) {
            Dated::At(at) => (render(clock.at(at)), false),
            Dated::Late => {
                let below = self.late.as_ref().map_or("", |(_, path)| path);
                (format!("{below}/{}", render(clock.at(now))), true)
            }
            Dated::WithoutTime => match &self.without_time {
                WithoutTime::Below(path) => (format!("{path}/{}", render(clock.at(now))), false),
                WithoutTime::Arrival | WithoutTime::Reject => (render(clock.at(now)), false),
            },
        }
    }
}

/// The time of an event.
enum Dated {
    At(i64),
    Late,
    WithoutTime,
}

/// Splits parts further by `values`: `part_of` has the part number of each event. Parts are
/// numbered in order of appearance. Events beyond `parts_max` parts go to the overflow.
fn part_by<V: Copy + Eq + Hash>(
    part_of: &mut [usize],
    values: impl Iterator<Item = V>,
    parts_max: usize,
) {
    let mut known: HashMap<(usize, V), usize, RandomState> = HashMap::default();
    // Equal events are often adjacent.
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
