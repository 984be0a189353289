//! `event_time`: parses the time of an event from its text, so that paths such as `%Y-%m-%d` use
//! that time instead of the arrival time.
//!
//! The text is a header, or a part of the body that a pattern finds. The formats are tried in
//! order. A time without a year gets the year that brings it closest to the arrival.

use formats::dates::{self, Calendar, Format};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use metrics::{Counter, MetricSpec};
use pipeline::{
    BuildContext, BuildError, Component, Env, Events, Existing, Interceptor, Rejects, Values,
};
use regex::bytes::{CaptureLocations, Regex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the `event_time` interceptor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Header with the time as text, such as a field of `parse`. Default: the body.
    #[serde(default)]
    from: Option<String>,
    /// Pattern of the time in that text: its first group, or the whole match. Default: the whole
    /// text.
    #[serde(default)]
    pattern: Option<String>,
    /// Formats of the time, tried in order: `rfc3339`, `unix_s`, `unix_ms`, `unix_us`, `unix_ns`,
    /// or a pattern such as `%d/%b/%Y:%H:%M:%S %z`.
    #[serde(default = "default_formats")]
    formats: Vec<String>,
    /// Time zone of times without a zone: a name such as `Europe/Berlin`, or an offset.
    #[serde(default = "default_zone")]
    zone: String,
    /// Header for the time in milliseconds since 1970, as decimal text.
    #[serde(default = "default_header")]
    header: String,
    /// Handling of an event whose text contains no time.
    #[serde(default)]
    on_failure: OnFailure,
}

/// Handling of an event whose text contains no time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OnFailure {
    /// The event keeps the time of the header, or gets the time at which the agent receives it.
    #[default]
    Arrival,
    /// The event keeps its header, if it has one.
    Keep,
    /// The event becomes a dead letter.
    DeadLetters,
}

fn default_formats() -> Vec<String> {
    vec!["rfc3339".to_owned()]
}

fn default_zone() -> String {
    "UTC".to_owned()
}

fn default_header() -> String {
    "timestamp".to_owned()
}

impl Component for Config {
    const KIND: &'static str = "event_time";
    const LETTERS: &[&str] = &["no_time"];
    const METRICS: &'static [MetricSpec] = &[MetricSpec::counter(
        "failed_events",
        "Events whose text has no time in any of the formats.",
    )];
    type Role = dyn Interceptor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        super::check_name("header", &self.header)?;
        let pattern = self.pattern.as_deref().map(|text| super::pattern("pattern", text));
        if self.formats.is_empty() {
            return Err(BuildError::invalid("formats", "must have at least one format"));
        }
        let formats = self.formats.iter().map(|text| Format::new("formats", text));
        Ok(Box::new(EventTime {
            pattern: pattern.transpose()?,
            formats: formats.collect::<Result<_, _>>()?,
            zone: dates::zone("zone", &self.zone)?,
            env: cx.env.clone(),
            failed: cx.scope::<Self>().counter("failed_events")?,
            config: self,
        }))
    }
}

struct EventTime {
    config: Config,
    pattern: Option<Regex>,
    formats: Vec<Format>,
    zone: TimeZone,
    env: Env,
    failed: Counter,
}

impl EventTime {
    /// Parses the time in a text, in milliseconds. `groups` is reused.
    fn millis(&self, text: &[u8], now: Timestamp, groups: &mut CaptureLocations) -> Option<i64> {
        let text = match &self.pattern {
            Some(pattern) => {
                pattern.captures_read(groups, text)?;
                let (start, end) = groups.get(usize::from(groups.len() > 1))?;
                &text[start..end]
            }
            None => text,
        };
        let text = std::str::from_utf8(text).ok()?;
        let calendar = Calendar { zone: &self.zone, now };
        // Times before 1970 cannot be used in paths.
        let read = |format: &Format| format.millis(text, &calendar).filter(|millis| *millis >= 0);
        self.formats.iter().find_map(read)
    }
}

impl Interceptor for EventTime {
    fn intercept(&self, batch: &mut Events, rejects: &mut Rejects) {
        use std::fmt::Write;
        let now = dates::now(&*self.env.clock);
        let Config { from, header, on_failure, .. } = &self.config;
        let (mut times, mut scratch, mut failed) = (Values::default(), String::new(), 0);
        let mut groups = super::locations(self.pattern.as_ref());
        // Consecutive events often have equal text, or share a header.
        let mut last: Option<(&[u8], Option<i64>)> = None;
        let mut has_time = Vec::with_capacity(batch.len());
        for (event, text) in super::looked_at(batch, from.as_deref()) {
            let known = last.filter(|(known, _)| text.is_some_and(|text| text == *known));
            let millis = match (known, text) {
                (Some((_, millis)), _) => millis,
                (None, Some(text)) => self.millis(text, now, &mut groups),
                (None, None) => None,
            };
            last = text.map(|text| (text, millis));
            failed += u64::from(millis.is_none());
            has_time.push(millis.is_some());
            let arrival = || match on_failure {
                OnFailure::Arrival => Some(now.as_millisecond()),
                OnFailure::Keep | OnFailure::DeadLetters => None,
            };
            let own = event.header(header).is_some();
            times.push(millis.or_else(|| arrival().filter(|_| !own)).map(|millis| {
                scratch.clear();
                // Writing to a `String` cannot fail.
                let _ = write!(scratch, "{millis}");
                &*scratch
            }));
        }
        batch.merge_values(header, times, Existing::Replace);
        self.failed.inc_by(failed);
        if failed > 0 && *on_failure == OnFailure::DeadLetters {
            let detail = "the text of the event has no time in any of `formats` of this \
                          interceptor; add its format, or set `on_failure` to `keep` or `arrival`";
            rejects.take(batch, "no_time", detail, |event| !has_time[event.index()]);
        }
    }

    fn routing_effect(&self, header: Option<&str>) -> Option<String> {
        (header == Some(&*self.config.header)).then(|| format!("times of {:?}", self.config))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Batch;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use pipeline::env::Clock;
    use serde_json::{Value, json};

    use super::super::testing::{cx, refused, values};
    use super::*;

    /// 2026-01-01T00:10:00Z.
    const NOW_MS: u64 = 1_767_226_200_000;

    struct At(u64);

    impl Clock for At {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + Duration::from_millis(self.0)
        }
    }

    /// Returns the times of the batch, and the number of failures.
    fn timed(settings: &Value, mut batch: Batch) -> (Vec<String>, String) {
        let mut cx = cx();
        cx.env.clock = Arc::new(At(NOW_MS));
        let interceptor = pipeline::testkit::build::<Config>(settings, &cx).unwrap();
        interceptor.intercept(&mut batch, &mut Rejects::default());
        let text = cx.metrics.text();
        let failed = "aqueduct_event_time_failed_events_total{component=\"test\"} ";
        let failed = text.split_once(failed).unwrap().1.lines().next().unwrap().to_owned();
        (values(&batch, "timestamp"), failed)
    }

    #[test]
    fn the_time_is_taken_from_a_pattern_in_the_body() {
        let settings = json!({
            "pattern": "\\[([^\\]]+)\\]",
            "formats": ["%d/%b/%Y:%H:%M:%S %z", "unix_s"],
        });
        let lines = ["a [25/Nov/2026:10:20:30 +0100] b", "x [1700000000] y", "none", "[never]"];
        let (times, failed) = timed(&settings, Batch::of(lines));
        let now = NOW_MS.to_string();
        assert_eq!(times, ["1795598430000", "1700000000000", &now, &now]);
        assert_eq!(failed, "2");
    }

    #[test]
    fn the_time_is_taken_from_a_header_in_the_zone_that_is_set() {
        let settings = json!({
            "from": "time", "formats": ["%Y-%m-%d %H:%M"], "zone": "Europe/Berlin",
            "on_failure": "keep",
        });
        let mut batch = Batch::of(["a", "b", "c", "d"]);
        let texts = [Some("2026-07-01 12:00"), None, Some("bad"), Some("2026-01-01 12:00")];
        batch.set_column("time", texts.into_iter());
        let (times, failed) = timed(&settings, batch);
        assert_eq!(times, ["1782900000000", "-", "-", "1767265200000"]);
        assert_eq!(failed, "2");
    }

    #[test]
    fn keeps_the_event_time_if_parsing_fails() {
        for on_failure in ["arrival", "keep"] {
            let mut batch = Batch::of(["x", "1970-01-01T00:00:01Z"]);
            batch.set_header("timestamp", "5", Existing::Keep);
            let (times, _) = timed(&json!({ "on_failure": on_failure }), batch);
            assert_eq!(times, ["5", "1000"], "{on_failure}");
        }
    }

    #[test]
    fn a_time_without_a_year_is_of_the_closest_year() {
        let settings = json!({ "pattern": "^.{15}", "formats": ["%b %e %H:%M:%S"] });
        let (times, failed) =
            timed(&settings, Batch::of(["Dec 31 23:59:59 a", "Jan  1 00:09:00 b"]));
        assert_eq!((times, &*failed), (vec!["1767225599000".into(), "1767226140000".into()], "0"));
    }

    #[test]
    fn wrong_settings_are_refused_by_name() {
        for (settings, path) in [
            (json!({ "formats": [] }), "formats"),
            (json!({ "formats": ["%H:%M"] }), "formats"),
            (json!({ "zone": "Mars" }), "zone"),
            (json!({ "pattern": "(" }), "pattern"),
            (json!({ "header": "" }), "header"),
        ] {
            assert_eq!(refused::<Config>(&settings), path, "{settings}");
        }
    }

    #[test]
    fn an_event_without_a_time_goes_to_the_dead_letters_if_that_is_asked_for() {
        let settings = json!({ "on_failure": "dead_letters" });
        let mut batch = Batch::of(["x", "1970-01-01T00:00:01Z"]);
        batch.set_header("timestamp", "7", Existing::Keep);
        let mut rejects = Rejects::default();
        let interceptor = super::super::testing::built::<Config>(&settings).unwrap();
        interceptor.intercept(&mut batch, &mut rejects);
        assert_eq!(values(&batch, "timestamp"), ["1000"]);
        let rejects: Vec<_> = rejects.into_iter().collect();
        assert_eq!((rejects.len(), rejects[0].reason), (1, "no_time"));
        assert_eq!(values(&rejects[0].events, "timestamp"), ["7"]);
    }
}
