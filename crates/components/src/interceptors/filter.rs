//! `filter`: drops events by conditions on their headers and bodies.
//!
//! A dropped event counts as delivered, because the drop is intentional.

use metrics::{Counter, MetricSpec};
use pipeline::{BuildContext, BuildError, Component, Events, Interceptor, Rejects};
use schemars::JsonSchema;
use serde::Deserialize;

use super::conditions::{self, Compiled, Condition};

/// Settings of the `filter` interceptor: `keep`, `drop`, or both.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Conditions of events to keep. An event that does not meet all of them is dropped. Without
    /// conditions every event is kept.
    #[serde(default)]
    keep: Vec<Condition>,
    /// Conditions of events to drop. An event that meets all of them is dropped. Without conditions
    /// no event is dropped.
    #[serde(default)]
    drop: Vec<Condition>,
}

impl Component for Config {
    const KIND: &'static str = "filter";
    const METRICS: &'static [MetricSpec] =
        &[MetricSpec::counter("dropped_events", "Events dropped by the conditions.")];
    type Role = dyn Interceptor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        if self.keep.is_empty() && self.drop.is_empty() {
            let problem = "must have a condition if `keep` has none; write for example drop = [{ \
                           header = \"level\", one_of = [\"debug\"] }]";
            return Err(BuildError::invalid("drop", problem));
        }
        Ok(Box::new(Filter {
            keep: conditions::compile("keep", &self.keep, cx)?,
            drop: conditions::compile("drop", &self.drop, cx)?,
            dropped: cx.scope::<Self>().counter("dropped_events")?,
            config: self,
        }))
    }
}

struct Filter {
    config: Config,
    keep: Vec<Compiled>,
    drop: Vec<Compiled>,
    dropped: Counter,
}

impl Interceptor for Filter {
    fn intercept(&self, batch: &mut Events, _rejects: &mut Rejects) {
        let before = batch.len();
        let mut stays = vec![true; before];
        conditions::narrow(&self.keep, batch, &mut stays);
        if !self.drop.is_empty() {
            let mut goes = stays.clone();
            conditions::narrow(&self.drop, batch, &mut goes);
            stays.iter_mut().zip(goes).for_each(|(stays, goes)| *stays &= !goes);
        }
        batch.retain(|event| stays[event.index()]);
        self.dropped.inc_by((before - batch.len()) as u64);
    }

    fn routing_effect(&self, _header: Option<&str>) -> Option<String> {
        Some(format!("only as {:?}", self.config))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Batch;
    use pipeline::testkit::build;
    use serde_json::json;

    use super::super::testing::{bodies, built, cx, refused};
    use super::*;

    fn lines() -> Batch {
        let mut batch = Batch::of(["a 1", "b 2", "c 3", "d 4"]);
        let levels = [Some("debug"), Some("info"), None, Some("debug")];
        batch.set_column("level", levels.into_iter());
        batch
    }

    #[test]
    fn events_stay_or_go_by_all_conditions_and_are_counted() {
        let debug = json!({ "header": "level", "one_of": ["debug"] });
        let a = json!({ "matches": "^a" });
        for (settings, left) in [
            (json!({ "drop": [debug] }), "b 2,c 3"),
            (json!({ "drop": [debug, a] }), "b 2,c 3,d 4"),
            (json!({ "keep": [debug] }), "a 1,d 4"),
            (json!({ "keep": [debug, a] }), "a 1"),
            (json!({ "keep": [debug], "drop": [a] }), "d 4"),
        ] {
            let (cx, mut batch) = (cx(), lines());
            build::<Config>(&settings, &cx).unwrap().intercept(&mut batch, &mut Rejects::default());
            assert_eq!(bodies(&batch).join(","), left, "{settings}");
            let dropped = "aqueduct_filter_dropped_events_total{component=\"test\"}";
            let counted = format!("{dropped} {}\n", 4 - batch.len());
            assert!(cx.metrics.text().contains(&counted), "{}", cx.metrics.text());
        }
    }

    #[test]
    fn a_routing_tells_one_filter_from_another() {
        let effect = |settings| built::<Config>(&settings).unwrap().routing_effect(None);
        let condition = json!([{ "matches": "x" }]);
        assert_ne!(effect(json!({ "keep": condition })), effect(json!({ "drop": condition })));
    }

    #[test]
    fn a_filter_without_conditions_is_refused() {
        assert_eq!(refused::<Config>(&json!({})), "drop");
        assert_eq!(refused::<Config>(&json!({ "keep": [{ "matches": "(" }] })), "keep.0.matches");
    }
}
