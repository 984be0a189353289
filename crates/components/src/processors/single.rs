//! `single`: the one sink of a group gets everything. What a sink outside a group does.

use pipeline::{
    BuildContext, BuildError, Component, MemberView, Origin, Report, Selection, SinkProcessor,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

use super::pauses;
use super::penalty::Penalties;
use pipeline::units::Period;

/// Settings of the `single` sink processor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Pause after the sink's first failure; each further one doubles it.
    #[serde(default = "default_backoff_min")]
    backoff_min: Period,
    /// Longest pause.
    #[serde(default = "default_backoff_max")]
    backoff_max: Period,
    /// The group's sinks: one. Filled in by the agent, not by hand.
    sinks: Vec<String>,
}

fn default_backoff_min() -> Period {
    Period(std::time::Duration::from_millis(200))
}

fn default_backoff_max() -> Period {
    Period(std::time::Duration::from_secs(10))
}

impl Component for Config {
    const KIND: &'static str = "single";
    type Role = dyn SinkProcessor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn SinkProcessor>, BuildError> {
        if self.sinks.len() != 1 {
            let problem = format!("this group takes one, not {}", self.sinks.len());
            return Err(BuildError::invalid("sinks", problem));
        }
        let pauses = pauses(self.backoff_min, self.backoff_max, cx)?;
        Ok(Box::new(Single { penalties: Penalties::new(pauses, 1) }))
    }
}

struct Single {
    penalties: Penalties,
}

impl SinkProcessor for Single {
    fn select(&mut self, _: Option<Origin>, members: &[MemberView], now: Instant) -> Selection {
        if self.penalties.is_live(0, &members[0], now) {
            Selection::Use(0)
        } else {
            Selection::WaitUntil(self.penalties.ask_again(now))
        }
    }

    fn report(&mut self, member: usize, report: Report, now: Instant) {
        self.penalties.report(member, report, now);
    }
}

#[cfg(test)]
mod tests {
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
    fn more_than_one_sink_is_refused() {
        let error = built::<Config>(&json!({ "sinks": ["s1", "s2"] })).err().unwrap();
        assert_eq!(error.path, "sinks");
    }
}
