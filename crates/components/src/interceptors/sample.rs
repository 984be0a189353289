//! `sample`: keeps a share of the events, selected by a hash of the body or of a header.
//!
//! The selection depends only on the event: a resent batch has the same result on any agent, and
//! with a header such as a session or a trace, all events of a session are kept or none.

use metrics::{Counter, MetricSpec};
use pipeline::{BuildContext, BuildError, Component, EventRef, Events, Interceptor, Rejects};
use schemars::JsonSchema;
use serde::Deserialize;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::conditions::{self, Compiled, Condition};

/// Settings of the `sample` interceptor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Fraction of the events to keep, greater than 0 and at most 1.
    rate: f64,
    /// Header whose value selects events: events with the same value are kept or dropped together.
    /// Default, also for an event without the header: the body.
    #[serde(default)]
    by: Option<String>,
    /// Salt of the selection: samples with different salts select different events.
    #[serde(default)]
    salt: String,
    /// Conditions of events that are always kept. An event that meets one of them is kept.
    #[serde(default)]
    keep: Vec<Condition>,
}

impl Component for Config {
    const KIND: &'static str = "sample";
    const METRICS: &'static [MetricSpec] =
        &[MetricSpec::counter("dropped_events", "Events that were not selected.")];
    type Role = dyn Interceptor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        if !(self.rate > 0.0 && self.rate <= 1.0) {
            return Err(BuildError::invalid("rate", "must be greater than 0 and at most 1"));
        }
        if let Some(by) = &self.by {
            super::check_name("by", by)?;
        }
        // A float becomes the nearest integer in range.
        let last = (self.rate * 2f64.powi(64)) as u64;
        Ok(Box::new(Sample {
            last,
            seed: xxh3_64(self.salt.as_bytes()),
            keep: conditions::compile("keep", &self.keep, cx)?,
            dropped: cx.scope::<Self>().counter("dropped_events")?,
            config: self,
        }))
    }
}

struct Sample {
    config: Config,
    /// Highest hash to keep.
    last: u64,
    seed: u64,
    keep: Vec<Compiled>,
    dropped: Counter,
}

impl Interceptor for Sample {
    fn intercept(&self, batch: &mut Events, _rejects: &mut Rejects) {
        let before = batch.len();
        let is_over = |event: EventRef<'_>| {
            let by = self.config.by.as_ref().and_then(|name| event.header(name));
            let key = by.map_or(event.body(), str::as_bytes);
            xxh3_64_with_seed(key, self.seed) > self.last
        };
        let mut goes: Vec<bool> = batch.iter().map(is_over).collect();
        let mut holds = Vec::new();
        for condition in &self.keep {
            holds.clone_from(&goes);
            condition.narrow(batch, &mut holds);
            goes.iter_mut().zip(&holds).for_each(|(goes, holds)| *goes &= !holds);
        }
        batch.retain(|event| !goes[event.index()]);
        self.dropped.inc_by((before - batch.len()) as u64);
    }

    fn routing_effect(&self, _header: Option<&str>) -> Option<String> {
        Some(format!("a share as {:?}", self.config))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Batch;
    use pipeline::Existing;
    use serde_json::json;

    use super::super::testing::{bodies, refused, through};
    use super::*;

    fn numbers(count: usize) -> Batch {
        Batch::of((0..count).map(|n| format!("event {n}")))
    }

    #[test]
    fn a_share_is_kept_and_always_the_same() {
        for (rate, range) in [(0.1, 900..1100), (0.5, 4800..5200), (1.0, 10_000..10_001)] {
            let settings = json!({ "rate": rate });
            let once = bodies(&through::<Config>(&settings, numbers(10_000)));
            assert!(range.contains(&once.len()), "{rate}: {}", once.len());
            // In other batches, and after a first sample, the same events are selected.
            let parts = numbers(10_000).split(&(0..10_000).map(|n| n % 3).collect::<Vec<_>>());
            let mut again: Vec<String> = Vec::new();
            parts.into_iter().for_each(|part| {
                let twice = through::<Config>(&settings, through::<Config>(&settings, part.into()));
                again.extend(bodies(&twice));
            });
            let mut sorted = once.clone();
            sorted.sort();
            again.sort();
            assert_eq!(again, sorted);
            let salted = json!({ "rate": rate, "salt": "b" });
            let other = bodies(&through::<Config>(&salted, numbers(10_000)));
            assert_eq!(other == once, rate == 1.0, "another salt, another choice");
        }
    }

    #[test]
    fn the_choice_is_the_same_in_every_version() {
        let kept = bodies(&through::<Config>(&json!({ "rate": 0.2 }), numbers(20)));
        assert_eq!(kept, ["event 6", "event 12", "event 17", "event 18"]);
    }

    #[test]
    fn events_with_the_same_value_go_together_and_some_are_all_kept() {
        let settings = json!({ "rate": 0.5, "by": "trace", "keep": [{ "matches": "ERROR" }] });
        for trace in 0..50 {
            let mut batch = Batch::of(["a", "b", "an ERROR", "c"]);
            batch.set_header("trace", &trace.to_string(), Existing::Keep);
            let kept = bodies(&through::<Config>(&settings, batch));
            assert!(kept.len() == 4 || kept == ["an ERROR"], "{kept:?}");
        }
    }

    #[test]
    fn wrong_settings_are_refused_by_name() {
        for rate in [0.0, -1.0, 1.5] {
            assert_eq!(refused::<Config>(&json!({ "rate": rate })), "rate");
        }
        assert_eq!(refused::<Config>(&json!({ "rate": 0.5, "keep": [{}] })), "keep.0");
        assert_eq!(refused::<Config>(&json!({ "rate": 0.5, "by": "" })), "by");
    }
}
