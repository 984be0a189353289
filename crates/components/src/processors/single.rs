//! `single`: sends everything to the only sink of a group. Sinks outside of a group use it too.
//!
//! If the sink is discovered, all members share the work, each origin with one of them.

use pipeline::units::Period;
use pipeline::{BuildContext, BuildError, Component, SinkProcessor};
use schemars::JsonSchema;
use serde::Deserialize;

use super::balance::{Balance, Policy, Tiered};
use super::pauses;
use super::penalty::Penalties;

/// Settings of the `single` sink processor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Backoff after the first failure of the sink; it doubles with each further failure.
    #[serde(default = "pipeline::units::millis::<200>")]
    backoff_min: Period,
    /// Longest backoff, also between two attempts to open a sink.
    #[serde(default = "pipeline::units::seconds::<10>")]
    backoff_max: Period,
    /// Sink of the group; it occurs once for each place if it is discovered. Set by the agent.
    sinks: Vec<String>,
}

impl Component for Config {
    const KIND: &'static str = "single";
    type Role = dyn SinkProcessor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn SinkProcessor>, BuildError> {
        if self.sinks.is_empty() || self.sinks.iter().any(|name| *name != self.sinks[0]) {
            let problem = format!("must name one sink, not {}", self.sinks.len());
            return Err(BuildError::invalid("sinks", problem));
        }
        let pauses = pauses(self.backoff_min, self.backoff_max, cx)?;
        let penalties = Penalties::new(pauses, self.sinks.len());
        let tiers = vec![(0..self.sinks.len()).collect()];
        let entropy = cx.env.entropy.clone();
        let balance = Balance::new(Policy::default(), true, self.sinks, entropy);
        Ok(Box::new(Tiered { tiers, balance, penalties }))
    }
}

#[cfg(test)]
mod tests {
    use pipeline::Selection;
    use serde_json::json;

    use super::super::drive::{Group, built};
    use super::*;

    #[test]
    fn the_sink_is_left_alone_for_a_while_after_a_failure() {
        let processor = built::<Config>(&json!({ "sinks": ["s1"] })).unwrap();
        let mut group = Group::new(processor, &[3]);
        assert_eq!(group.offer(5, None), 3);
        assert_eq!(group.refused, [1]);
        assert!(matches!(group.select(None), Selection::WaitUntil(at) if at > group.now));
        group.room[0] = 2;
        group.wait(1);
        assert_eq!(group.offer(2, None), 2);
    }

    #[test]
    fn all_seats_of_a_discovered_sink_are_one_sink() {
        let processor = built::<Config>(&json!({ "sinks": ["s1", "s1"] })).unwrap();
        let mut group = Group::new(processor, &[50, 50]);
        assert_eq!(group.offer(100, None), 100);
        assert_eq!(group.taken, [50, 50]);
    }

    #[test]
    fn more_than_one_sink_is_refused() {
        let error = built::<Config>(&json!({ "sinks": ["s1", "s2"] })).err().unwrap();
        assert_eq!(error.path, "sinks");
    }
}
