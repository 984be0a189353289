//! The sink `hdfs`: which time its path shows.

use pipeline::Settings;
use pipeline::settings::Place;

use super::super::{Translator, plain, value};
use crate::agent::{Bag, Prop};
use crate::lookup::Text;
use crate::report::Outcome;

/// The time escapes, by resolution: days and longer, hours, minutes, seconds.
const ESCAPES: [(&str, u64); 4] =
    [("aAbBdDejmnyYz", 86_400), ("HIklp", 3_600), ("M", 60), ("Ssct", 1)];

impl Translator<'_> {
    /// Translates time zone, rounding, and the source of the time.
    pub(super) fn time(
        &mut self,
        bag: &mut Bag,
        path: &Prop,
        settings: &mut Settings,
        target: &str,
    ) {
        let finest = finest(&path.text);
        match bag.take("hdfs.timeZone") {
            Some(prop) if finest.is_none() => {
                self.add(Outcome::Ignored, &prop, "no effect: the path has no time escapes");
            }
            Some(prop) => match zone(&prop.text.value) {
                Some(zone) => {
                    settings.set("zone", plain(&zone, &prop.place));
                    self.carried(&prop, target, "zone");
                }
                None => {
                    let what = "the time zone is unknown: use a name of the time zone database \
                                such as `Europe/Berlin`, or an offset such as `+02:00`";
                    self.add(Outcome::Decision, &prop, what);
                }
            },
            None if finest.is_some() => {
                let at = (path.key.as_str(), &path.place);
                if let Some(zone) = self.host_zone(at, "times in the path") {
                    settings.set("zone", plain(&zone, &path.place));
                }
            }
            None => {}
        }
        self.rounding(bag, finest, settings, target);
        if let Some(prop) = bag.take("hdfs.useLocalTimeStamp") {
            match prop.text.value.eq_ignore_ascii_case("true") {
                true => {
                    settings.set("time_from", plain("arrival", &prop.place));
                    self.carried(&prop, target, "time_from");
                }
                false => self.add(
                    Outcome::Carried,
                    &prop,
                    "the time is taken from the header `timestamp`",
                ),
            }
        }
    }

    /// Returns the time zone of this host, which is Java's default, unless it is UTC; reports which
    /// times have it. A printed configuration may be for another host.
    pub(in crate::translate) fn host_zone(
        &mut self,
        (key, place): (&str, &Place),
        times: &str,
    ) -> Option<String> {
        let zone = self.world.zone().and_then(|java| zone(&java));
        let is_utc = zone.as_deref() == Some("UTC");
        let is_known = zone.is_some() && (is_utc || !self.options.keep_references);
        let text = match &zone {
            Some(zone) => format!("{times} use `{zone}`, the time zone of this host"),
            None => format!("{times} use UTC; Flume uses the time zone of its host"),
        };
        let outcome = if is_known { Outcome::Carried } else { Outcome::Differs };
        self.report.add(outcome, place, key, text);
        zone.filter(|_| !is_utc)
    }

    /// Rounding matters if a path has a higher resolution than the rounding.
    fn rounding(
        &mut self,
        bag: &mut Bag,
        finest: Option<u64>,
        settings: &mut Settings,
        target: &str,
    ) {
        let is_on = Self::is_on(bag, "hdfs.round");
        let (unit, most) = match bag.value("hdfs.roundUnit", "second").to_lowercase().as_str() {
            "hour" => (3_600, 24),
            "minute" => (60, 60),
            _ => (1, 60),
        };
        let count = value::unsigned(bag.value("hdfs.roundValue", "1")).unwrap_or(1);
        let has_effect = finest.is_some_and(|it| it < unit || (it == unit && count > 1));
        let is_set = is_on && has_effect && (1..=most).contains(&count);
        if is_set {
            let step = plain(&value::seconds(unit * count), &bag.place.clone());
            settings.set("round", step);
        }
        for name in ["hdfs.round", "hdfs.roundValue", "hdfs.roundUnit"] {
            let Some(prop) = bag.take(name) else { continue };
            match (is_on, has_effect) {
                (true, true) if is_set => self.carried(&prop, target, "round"),
                (true, true) => {
                    let what = format!("must be from 1 to {most} for this unit");
                    self.add(Outcome::Decision, &prop, what);
                }
                (true, false) => self.add(
                    Outcome::Carried,
                    &prop,
                    "no effect: the path has no finer time escapes",
                ),
                (false, _) => self.add(
                    Outcome::Ignored,
                    &prop,
                    "no effect: `hdfs.round` is not true; remove the key",
                ),
            }
        }
    }
}

/// A zone of Java as the time zone database names it, or as an offset. Java's names of three
/// letters, such as `PST`, mean several zones.
fn zone(java: &str) -> Option<String> {
    let offset = java.trim_start_matches("GMT").trim_start_matches("UTC");
    if matches!(java, "UTC" | "GMT" | "Z" | "Etc/UTC") {
        return Some("UTC".to_owned());
    }
    if let Some((sign, digits)) = offset.split_at_checked(1).filter(|(it, _)| "+-".contains(it)) {
        let (hours, minutes) = digits.split_once(':').unwrap_or((digits, "00"));
        let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok()?);
        return Some(format!("{sign}{hours:02}:{minutes:02}"));
    }
    java.contains('/').then(|| java.to_owned())
}

/// The shortest time, in seconds, that two paths can differ by; nothing without a time in it.
fn finest(path: &Text) -> Option<u64> {
    let mut rest = path.value.chars();
    let mut finest: Option<u64> = None;
    while let Some(c) = rest.next() {
        if c != '%' {
            continue;
        }
        let letter = rest.next()?;
        let seconds = ESCAPES.iter().find(|(letters, _)| letters.contains(letter));
        let seconds = seconds.map(|(_, seconds)| *seconds);
        finest = match (finest, seconds) {
            (Some(before), Some(seconds)) => Some(before.min(seconds)),
            (before, seconds) => seconds.or(before),
        };
    }
    finest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_shows_of_the_time_is_known() {
        for (path, seconds) in [
            ("/a/%{host}", None),
            ("/a/%Y-%m-%d", Some(86_400)),
            ("/a/%Y/%H", Some(3_600)),
            ("/a/%Y/%H%M", Some(60)),
            ("/a/%s", Some(1)),
            ("/a/%%S", None),
            ("/a/%", None),
        ] {
            assert_eq!(finest(&Text::plain(path)), seconds, "{path}");
        }
    }

    #[test]
    fn a_zone_of_java_is_one_of_the_database_or_an_offset() {
        for (java, expected) in [
            ("UTC", Some("UTC")),
            ("Europe/Berlin", Some("Europe/Berlin")),
            ("GMT+2", Some("+02:00")),
            ("GMT-05:30", Some("-05:30")),
            ("+01:00", Some("+01:00")),
            ("PST", None),
            ("GMT+x", None),
        ] {
            assert_eq!(zone(java).as_deref(), expected, "{java}");
        }
    }
}
