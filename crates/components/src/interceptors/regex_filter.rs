//! `regex_filter`: keeps or drops events by a pattern for their bodies.
//!
//! The pattern can match anywhere in the body, as in Flume. It works on bytes: a body need not be
//! UTF-8. The library has no look-around and no back-references, so that matching takes time linear
//! in the body. A dropped event counts as delivered, because the drop is intentional.

use metrics::{Counter, MetricSpec};
use pipeline::{BuildContext, BuildError, Component, EventRef, Events, Interceptor, Rejects};
use regex::bytes::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the `regex_filter` interceptor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Pattern to find anywhere in the body.
    regex: String,
    /// Whether matching events are dropped. Otherwise they are kept, and all others are dropped.
    #[serde(default)]
    exclude: bool,
    /// Destination of dropped events: `discard`, or `dead_letters`, where `aqueduct dlq` shows
    /// them.
    #[serde(default)]
    dropped: Dropped,
}

/// Where the events go that do not stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Dropped {
    /// Discarded. They count as delivered.
    #[default]
    Discard,
    /// The dead letters of the agent.
    DeadLetters,
}

impl Component for Config {
    const KIND: &'static str = "regex_filter";
    const LETTERS: &[&str] = &["filtered"];
    const METRICS: &'static [MetricSpec] =
        &[MetricSpec::counter("dropped_events", "Events dropped by the pattern.")];
    type Role = dyn Interceptor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        let regex = super::pattern("regex", &self.regex)?;
        let dropped = cx.scope::<Self>().counter("dropped_events")?;
        let (exclude, to) = (self.exclude, self.dropped);
        Ok(Box::new(RegexFilter { regex, exclude, to, dropped }))
    }
}

struct RegexFilter {
    regex: Regex,
    exclude: bool,
    to: Dropped,
    dropped: Counter,
}

impl Interceptor for RegexFilter {
    fn intercept(&self, events: &mut Events, rejects: &mut Rejects) {
        let before = events.len();
        let stays = |event: EventRef<'_>| self.regex.is_match(event.body()) != self.exclude;
        match self.to {
            Dropped::Discard => events.retain(stays),
            Dropped::DeadLetters => {
                let verb = if self.exclude { "matches" } else { "does not match" };
                let detail = format!("the body {verb} `{}`", self.regex.as_str());
                rejects.take(events, "filtered", &detail, |event| !stays(event));
            }
        }
        self.dropped.inc_by((before - events.len()) as u64);
    }

    fn routing_effect(&self, _header: Option<&str>) -> Option<String> {
        let verb = if self.exclude { "without" } else { "only" };
        Some(format!("{verb} bodies that match {:?}", self.regex.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Batch;
    use pipeline::testkit::build;
    use serde_json::{Value, json};

    use super::*;

    fn filter(settings: &Value) -> Result<Box<dyn Interceptor>, pipeline::SettingsError> {
        let cx = BuildContext::alone("filter", std::path::Path::new("unused"), env::real());
        build::<Config>(settings, &cx)
    }

    #[test]
    fn filters_by_match_and_keeps_order_and_headers() {
        for (exclude, expected) in [(false, ["an error", "err\u{f6}r"]), (true, ["a note", "done"])]
        {
            let filter = filter(&json!({ "regex": "err.+r", "exclude": exclude })).unwrap();
            let mut batch = Batch::of(["an error", "a note", "err\u{f6}r", "done"]);
            batch.set_header("host", "web-1", pipeline::Existing::Keep);
            filter.intercept(&mut batch, &mut Rejects::default());
            let bodies: Vec<&[u8]> = batch.iter().map(|event| event.body()).collect();
            assert_eq!(bodies, expected.map(str::as_bytes), "exclude = {exclude}");
            assert_eq!(batch.shared_header("host"), Some("web-1"));
        }
    }

    #[test]
    fn counts_dropped_events_by_component() {
        let cx = BuildContext::alone("in-0", std::path::Path::new("unused"), env::real());
        let filter = build::<Config>(&json!({ "regex": "error" }), &cx).unwrap();
        filter.intercept(&mut Batch::of(["an error", "a note", "done"]), &mut Rejects::default());
        filter.intercept(&mut Batch::of(["an error"]), &mut Rejects::default());
        let line = "aqueduct_regex_filter_dropped_events_total{component=\"in-0\"} 2\n";
        assert!(cx.metrics.text().contains(line), "{}", cx.metrics.text());
    }

    #[test]
    fn moves_filtered_events_to_the_dead_letters_if_set() {
        let settings = json!({ "regex": "^ok", "dropped": "dead_letters" });
        let (mut batch, mut rejects) = (Batch::of(["ok 1", "bad", "ok 2"]), Rejects::default());
        filter(&settings).unwrap().intercept(&mut batch, &mut rejects);
        assert_eq!(batch.events, Batch::of(["ok 1", "ok 2"]).events);
        let rejects: Vec<_> = rejects.into_iter().collect();
        assert_eq!(rejects.len(), 1);
        assert_eq!(rejects[0].events, Batch::of(["bad"]).events);
        assert_eq!(rejects[0].reason, "filtered");
        assert_eq!(rejects[0].detail, "the body does not match `^ok`");
    }

    #[test]
    fn bodies_that_are_not_utf_8_are_matched_by_their_bytes() {
        let filter = filter(&json!({ "regex": "(?-u)\\xff$" })).unwrap();
        let mut batch = Batch::of([&b"\xfe\xff"[..], b"\xff\xfe"]);
        filter.intercept(&mut batch, &mut Rejects::default());
        assert_eq!(batch.iter().map(|event| event.body()).collect::<Vec<_>>(), [b"\xfe\xff"]);
    }

    #[test]
    fn a_wrong_pattern_is_refused_with_its_place() {
        let error = filter(&json!({ "regex": "a(b" })).err().unwrap();
        assert_eq!(error.path, "regex");
        assert!(error.problem.contains("unclosed group"), "{error}");
    }

    #[test]
    fn the_routing_tells_one_filter_from_another() {
        let text = |exclude| {
            filter(&json!({ "regex": "x", "exclude": exclude })).unwrap().routing_effect(None)
        };
        assert_ne!(text(true), text(false));
    }
}
