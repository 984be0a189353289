//! `regex_extractor`: puts the groups of a pattern's first match into headers.
//!
//! The first serializer gets the first group, and so on, as in Flume: groups beyond the list are
//! ignored, and an event without a match is unchanged. The pattern works on bytes; a group that is
//! not UTF-8 sets no header.

use formats::dates::{self, Calendar, Format};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use metrics::{Counter, MetricSpec};
use pipeline::{
    BuildContext, BuildError, Component, Env, Events, Existing, Interceptor, Rejects, Values,
};
use regex::bytes::Regex;
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the `regex_extractor` interceptor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Pattern to find in the body. Only the first match is used.
    regex: String,
    /// Names and types of the groups, in their order.
    serializers: Vec<Serializer>,
}

/// What is made of one group.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Serializer {
    /// Header for the value.
    name: String,
    /// Date pattern of the group, such as `yyyy-MM-dd HH:mm:ss` or `%Y-%m-%d %H:%M:%S`: the header
    /// gets milliseconds since 1970, as in Flume's `RegexExtractorInterceptorMillisSerializer`.
    /// Without it the header gets the group unchanged.
    #[serde(default)]
    date: Option<String>,
    /// Time zone of dates without a zone: a name such as `Europe/Berlin`, or an offset. Default:
    /// UTC.
    #[serde(default)]
    zone: Option<String>,
}

impl Component for Config {
    const KIND: &'static str = "regex_extractor";
    const METRICS: &'static [MetricSpec] = &[
        MetricSpec::counter("unmatched_events", "Events that do not match the pattern."),
        MetricSpec::counter("failed_values", "Groups that are not a date or not UTF-8."),
    ];
    type Role = dyn Interceptor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        let regex = super::pattern("regex", &self.regex)?;
        if self.serializers.is_empty() {
            let problem = "must name at least one header; write for example [{ name = \"user\" }]";
            return Err(BuildError::invalid("serializers", problem));
        }
        let groups = regex.captures_len() - 1;
        if self.serializers.len() > groups {
            let problem = format!(
                "the pattern has {groups} groups, fewer than the {} serializers; add groups `(…)` \
                 to `regex`, or remove serializers",
                self.serializers.len()
            );
            return Err(BuildError::invalid("serializers", problem));
        }
        let outputs = self.serializers.into_iter().map(Output::of).collect::<Result<_, _>>()?;
        let scope = cx.scope::<Self>();
        Ok(Box::new(RegexExtractor {
            regex,
            outputs,
            env: cx.env.clone(),
            unmatched: scope.counter("unmatched_events")?,
            failed: scope.counter("failed_values")?,
        }))
    }
}

struct RegexExtractor {
    regex: Regex,
    outputs: Vec<Output>,
    env: Env,
    unmatched: Counter,
    failed: Counter,
}

struct Output {
    header: String,
    date: Option<(Format, TimeZone)>,
}

impl Output {
    fn of(serializer: Serializer) -> Result<Self, BuildError> {
        let Serializer { name, date, zone } = serializer;
        super::check_name("serializers", &name)?;
        let Some(date) = date else {
            return match zone {
                Some(_) => Err(BuildError::invalid(
                    "serializers",
                    "`zone` has an effect only with `date`; set `date`, or remove `zone`",
                )),
                None => Ok(Self { header: name, date: None }),
            };
        };
        let pattern = if date.contains('%') || Format::new("serializers", &date).is_ok() {
            date
        } else {
            let read = dates::strftime_of_joda(&date);
            read.map_err(|problem| BuildError::invalid("serializers", problem))?
        };
        let zone = dates::zone("serializers", zone.as_deref().unwrap_or("UTC"))?;
        Ok(Self { header: name, date: Some((Format::new("serializers", &pattern)?, zone)) })
    }

    /// Returns the header's value; `scratch` holds a new text.
    fn value<'a>(
        &self,
        group: &'a [u8],
        now: Timestamp,
        scratch: &'a mut String,
    ) -> Option<&'a str> {
        use std::fmt::Write;
        let text = std::str::from_utf8(group).ok()?;
        let Some((format, zone)) = &self.date else { return Some(text) };
        let millis = format.millis(text, &Calendar { zone, now })?;
        scratch.clear();
        write!(scratch, "{millis}").ok()?;
        Some(scratch)
    }
}

impl Interceptor for RegexExtractor {
    fn intercept(&self, batch: &mut Events, _rejects: &mut Rejects) {
        let now = dates::now(&*self.env.clock);
        let mut columns: Vec<Values> = self.outputs.iter().map(|_| Values::default()).collect();
        let mut groups = self.regex.capture_locations();
        let (mut unmatched, mut failed, mut scratch) = (0, 0, String::new());
        for event in batch.iter() {
            let found = self.regex.captures_read(&mut groups, event.body()).is_some();
            unmatched += u64::from(!found);
            for (at, (output, column)) in self.outputs.iter().zip(&mut columns).enumerate() {
                let place = groups.get(at + 1).filter(|_| found);
                let group = place.map(|(start, end)| &event.body()[start..end]);
                let value = group.and_then(|group| output.value(group, now, &mut scratch));
                failed += u64::from(group.is_some() && value.is_none());
                column.push(value);
            }
        }
        for (output, column) in self.outputs.iter().zip(columns) {
            batch.merge_values(&output.header, column, Existing::Replace);
        }
        self.unmatched.inc_by(unmatched);
        self.failed.inc_by(failed);
    }

    fn routing_effect(&self, header: Option<&str>) -> Option<String> {
        let named = |output: &Output| Some(&*output.header) == header;
        let at = self.outputs.iter().position(named)?;
        let date = self.outputs[at].date.as_ref().map(|(format, _)| format!(" as {format:?}"));
        let date = date.unwrap_or_default();
        Some(format!("group {} of {:?}{date}", at + 1, self.regex.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Batch;
    use serde_json::json;

    use super::super::testing::{refused, through, values};
    use super::*;

    #[test]
    fn groups_become_headers_in_their_order() {
        let settings = json!({
            "regex": "(\\d):(\\d):(\\d)",
            "serializers": [{ "name": "one" }, { "name": "two" }],
        });
        let batch = through::<Config>(&settings, Batch::of(["1:2:3.4foobar5", "none", "x7:8:9"]));
        assert_eq!(values(&batch, "one"), ["1", "-", "7"]);
        assert_eq!(values(&batch, "two"), ["2", "-", "8"]);
        assert_eq!(batch.header_names().count(), 2, "the third group has no serializer");
    }

    #[test]
    fn a_date_becomes_milliseconds_in_both_ways_to_write_it() {
        for date in ["yyyy-MM-dd HH:mm:ss,SSS", "%Y-%m-%d %H:%M:%S,%f"] {
            let settings = json!({
                "regex": "^(\\S+ \\S+) (\\w+)?",
                "serializers": [
                    { "name": "timestamp", "date": date, "zone": "Europe/Berlin" },
                    { "name": "level" },
                ],
            });
            let batch = Batch::of(["2012-10-18 18:47:57,614 INFO", "no date", "a 2012-10-18 WARN"]);
            let batch = through::<Config>(&settings, batch);
            assert_eq!(values(&batch, "timestamp"), ["1350578877614", "-", "-"]);
            assert_eq!(values(&batch, "level"), ["INFO", "-", "WARN"]);
        }
    }

    #[test]
    fn an_event_without_a_match_keeps_its_header() {
        let settings = json!({ "regex": "u=(\\w+)", "serializers": [{ "name": "user" }] });
        let mut batch = Batch::of(["u=ann", "nothing"]);
        batch.set_header("user", "old", Existing::Keep);
        assert_eq!(values(&through::<Config>(&settings, batch), "user"), ["ann", "old"]);
    }

    #[test]
    fn wrong_settings_are_refused_by_name() {
        for (settings, path) in [
            (json!({ "regex": "(a", "serializers": [{ "name": "x" }] }), "regex"),
            (json!({ "regex": "(a)", "serializers": [] }), "serializers"),
            (json!({ "regex": "a", "serializers": [{ "name": "x" }] }), "serializers"),
            (
                json!({ "regex": "(a)", "serializers": [{ "name": "x", "date": "ww" }] }),
                "serializers",
            ),
            (
                json!({ "regex": "(a)", "serializers": [{ "name": "x", "zone": "UTC" }] }),
                "serializers",
            ),
        ] {
            assert_eq!(refused::<Config>(&settings), path, "{settings}");
        }
    }
}
