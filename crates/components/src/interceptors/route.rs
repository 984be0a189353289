//! `route`: sets a header by the first rule whose conditions are met, for use in a multiplexing
//! selector or a path.

use metrics::{Counter, MetricSpec};
use pipeline::{BuildContext, BuildError, Component, Events, Interceptor, Rejects, Values};
use schemars::JsonSchema;
use serde::Deserialize;

use super::conditions::{self, Compiled, Condition};

/// Settings of the `route` interceptor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Header for the value of the first matching rule.
    header: String,
    /// Rules, tried in order.
    rules: Vec<Rule>,
    /// Value if no rule matches. Default: the header is left unchanged.
    #[serde(default)]
    default: Option<String>,
    /// Whether an event keeps an existing header.
    #[serde(default)]
    preserve_existing: bool,
}

/// One rule.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// Value of the header.
    value: String,
    /// Conditions that must all be true.
    when: Vec<Condition>,
}

impl Component for Config {
    const KIND: &'static str = "route";
    const METRICS: &'static [MetricSpec] =
        &[MetricSpec::counter("unmatched_events", "Events that no rule matches.")];
    type Role = dyn Interceptor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Interceptor>, BuildError> {
        super::check_name("header", &self.header)?;
        if self.rules.is_empty() {
            let problem = "must have at least one rule; write for example [{ value = \"errors\", \
                           when = [{ matches = \"ERR\" }] }]";
            return Err(BuildError::invalid("rules", problem));
        }
        let compiled = |(at, rule): (usize, &Rule)| {
            conditions::compile(&format!("rules.{at}.when"), &rule.when, cx)
        };
        Ok(Box::new(Route {
            rules: self.rules.iter().enumerate().map(compiled).collect::<Result<_, _>>()?,
            unmatched: cx.scope::<Self>().counter("unmatched_events")?,
            config: self,
        }))
    }
}

struct Route {
    config: Config,
    rules: Vec<Vec<Compiled>>,
    unmatched: Counter,
}

impl Interceptor for Route {
    fn intercept(&self, batch: &mut Events, _rejects: &mut Rejects) {
        let mut left = vec![true; batch.len()];
        let mut found: Vec<Option<&str>> = vec![self.config.default.as_deref(); batch.len()];
        let mut holds = Vec::new();
        for (rule, settings) in self.rules.iter().zip(&self.config.rules) {
            holds.clone_from(&left);
            conditions::narrow(rule, batch, &mut holds);
            for at in (0..holds.len()).filter(|at| holds[*at]) {
                (found[at], left[at]) = (Some(settings.value.as_str()), false);
            }
        }
        let mut values = Values::default();
        found.into_iter().for_each(|value| values.push(value));
        let unmatched = left.iter().filter(|left| **left).count() as u64;
        let existing = super::existing(self.config.preserve_existing);
        batch.merge_values(&self.config.header, values, existing);
        self.unmatched.inc_by(unmatched);
    }

    fn routing_effect(&self, header: Option<&str>) -> Option<String> {
        (header == Some(&*self.config.header)).then(|| format!("by {:?}", self.config))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Batch;
    use serde_json::json;

    use super::super::testing::{built, refused, through, values};
    use super::*;

    #[test]
    fn the_first_rule_that_holds_counts() {
        let rules = json!([
            { "value": "audit", "when": [{ "matches": "LOGIN" }, { "header": "app" }] },
            { "value": "errors", "when": [{ "matches": "ERROR|LOGIN" }] },
        ]);
        for (default, rest) in [(json!(null), "old"), (json!("other"), "other")] {
            let mut settings = json!({ "header": "to", "rules": rules.clone() });
            if default.is_string() {
                settings["default"] = default;
            }
            let mut batch = Batch::of(["LOGIN a", "LOGIN b", "an ERROR", "note"]);
            batch.set_column("app", [Some("shop"), None, None, None].into_iter());
            batch.set_column("to", [None, None, None, Some("old")].into_iter());
            let batch = through::<Config>(&settings, batch);
            assert_eq!(values(&batch, "to"), ["audit", "errors", "errors", rest]);
        }
    }

    #[test]
    fn an_event_keeps_its_own_value_where_the_setting_says_so() {
        let settings = json!({
            "header": "to", "rules": [{ "value": "all", "when": [] }], "preserve_existing": true,
        });
        let mut batch = Batch::of(["a", "b"]);
        batch.set_column("to", [Some("own"), None].into_iter());
        assert_eq!(values(&through::<Config>(&settings, batch), "to"), ["own", "all"]);
    }

    #[test]
    fn a_selector_that_looks_at_the_header_sees_the_rules() {
        let route = built::<Config>(&json!({
            "header": "to", "rules": [{ "value": "all", "when": [] }],
        }));
        let route = route.unwrap();
        assert!(route.routing_effect(Some("to")).unwrap().contains("all"));
        assert_eq!(route.routing_effect(Some("other")), None);
    }

    #[test]
    fn wrong_settings_are_refused_by_name() {
        let rule = json!([{ "value": "x", "when": [{ "matches": "(" }] }]);
        assert_eq!(
            refused::<Config>(&json!({ "header": "to", "rules": rule })),
            "rules.0.when.0.matches"
        );
        assert_eq!(refused::<Config>(&json!({ "header": "to", "rules": [] })), "rules");
        let rule = json!([{ "value": "x", "when": [] }]);
        assert_eq!(refused::<Config>(&json!({ "header": "", "rules": rule })), "header");
    }
}
