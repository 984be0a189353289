//! `cel`: a condition that is an expression in CEL, the Common Expression Language.
//!
//! The library parses an expression into a tree in which every part has a type, so a mistake is
//! found with the configuration. The tree has no loops and allocates no text, so an event costs
//! bounded time and no memory. See ADR 38.

mod compile;
mod functions;
mod numbers;
mod tree;

#[cfg(test)]
mod tests;

use metrics::{Counter, MetricSpec};
use pipeline::{BuildContext, BuildError, Component, Condition, Events};
use schemars::JsonSchema;
use serde::Deserialize;

use tree::{Bool, Look};

/// Settings of the condition `cel`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// CEL expression, true or false for each event; at most 4,096 bytes.
    expression: String,
    /// Result for an event for which the expression cannot be evaluated: a header is missing, a
    /// text is not a number, a number is out of range, or a text is too long.
    #[serde(default)]
    holds_on_error: bool,
}

impl Component for Config {
    const KIND: &'static str = "cel";
    const METRICS: &'static [MetricSpec] = &[MetricSpec::counter(
        "failed_events",
        "Events for which an expression could not be evaluated.",
    )];
    type Role = dyn Condition;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn Condition>, BuildError> {
        let test = compile::compile(&self.expression)
            .map_err(|problem| BuildError::invalid("expression", problem))?;
        let failed = cx.scope::<Self>().counter("failed_events")?;
        Ok(Box::new(Cel { test, holds_on_error: self.holds_on_error, failed }))
    }
}

struct Cel {
    test: Bool,
    holds_on_error: bool,
    failed: Counter,
}

impl Condition for Cel {
    fn narrow(&self, events: &Events, wanted: &mut [bool]) {
        let mut failed = 0;
        for (event, wanted) in events.iter().zip(wanted).filter(|(_, wanted)| **wanted) {
            *wanted = self.test.of(&mut Look::at(event)).unwrap_or_else(|_| {
                failed += 1;
                self.holds_on_error
            });
        }
        self.failed.inc_by(failed);
    }
}
