//! `failover`: the best sink that works gets everything; the others stand by.

use std::collections::BTreeMap;
use std::time::Duration;

use pipeline::units::Period;
use pipeline::{
    BuildContext, BuildError, Class, Component, FlumeKey, MemberView, Origin, Selection,
    SinkProcessor, Unit,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

use super::penalty::Penalties;
use super::{check_members, pauses};

/// Settings of the `failover` sink processor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Priority of each sink by its name; the highest that works is used. All sinks have one and no
    /// two the same, or none has and the order in which the group names them counts.
    #[serde(default)]
    priorities: BTreeMap<String, i64>,
    /// Pause after a sink's first failure; each further one doubles it.
    #[serde(default = "default_backoff_min")]
    backoff_min: Period,
    /// Longest pause.
    #[serde(default = "default_backoff_max")]
    backoff_max: Period,
    /// The group's sinks. Filled in by the agent, not by hand.
    sinks: Vec<String>,
}

fn default_backoff_min() -> Period {
    Period(Duration::from_secs(1))
}

fn default_backoff_max() -> Period {
    Period(Duration::from_secs(30))
}

impl Component for Config {
    const KIND: &'static str = "failover";
    const FLUME: &'static [FlumeKey] = &[FlumeKey::new("maxpenalty", "backoff_max", Unit::Millis)];
    type Role = dyn SinkProcessor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn SinkProcessor>, BuildError> {
        check_members(&self.sinks, 1)?;
        let order = order(&self.sinks, &self.priorities)?;
        let pauses = pauses(self.backoff_min, self.backoff_max, cx)?;
        Ok(Box::new(Failover { penalties: Penalties::new(pauses, order.len()), order }))
    }
}

/// The members, best first.
fn order(sinks: &[String], priorities: &BTreeMap<String, i64>) -> Result<Vec<usize>, BuildError> {
    let mut order: Vec<usize> = (0..sinks.len()).collect();
    if priorities.is_empty() {
        return Ok(order);
    }
    if let Some(name) = priorities.keys().find(|name| !sinks.contains(name)) {
        let problem = format!("`{name}` is not a sink of this group");
        return Err(BuildError::invalid(format!("priorities.{name}"), problem));
    }
    if let Some(name) = sinks.iter().find(|name| !priorities.contains_key(*name)) {
        let problem = format!("`{name}` has none; give each sink of the group one, or no sink");
        return Err(BuildError::invalid("priorities", problem));
    }
    order.sort_by_key(|member| std::cmp::Reverse(priorities[&sinks[*member]]));
    for pair in order.windows(2) {
        let (one, other) = (&sinks[pair[0]], &sinks[pair[1]]);
        if priorities[one] == priorities[other] {
            let problem = format!("`{one}` has the same; each sink needs its own");
            return Err(BuildError::invalid(format!("priorities.{other}"), problem));
        }
    }
    Ok(order)
}

struct Failover {
    /// The members, best first.
    order: Vec<usize>,
    penalties: Penalties,
}

impl SinkProcessor for Failover {
    fn select(&mut self, _: Option<Origin>, _: &[MemberView], now: Instant) -> Selection {
        match self.order.iter().find(|member| self.penalties.is_live(**member, now)) {
            Some(member) => Selection::Use(*member),
            None => Selection::WaitUntil(self.penalties.first_live().unwrap_or(now)),
        }
    }

    fn report(&mut self, member: usize, result: Result<(), Class>, now: Instant) {
        self.penalties.report(member, result, now);
    }
}

#[cfg(test)]
mod tests {
    //! The cases of Flume's own test of this processor, and what it leaves out: equal priorities.

    use serde_json::json;

    use super::super::drive::{Group, built};
    use super::*;

    #[test]
    fn the_best_sink_that_works_gets_everything_and_a_revived_one_is_used_again() {
        let settings = json!({
            "sinks": ["s1", "s2", "s3"], "priorities": { "s1": 3, "s2": 2, "s3": 1 },
        });
        let mut group = Group::new(built::<Config>(&settings).unwrap(), &[10, 50, 100]);
        assert_eq!(group.offer(15, None), 15);
        assert_eq!(group.taken, [10, 5, 0]);
        assert_eq!(group.offer(50, None), 50);
        assert_eq!(group.taken, [10, 50, 5]);
        group.room[1] += 20;
        group.wait(5);
        assert_eq!(group.offer(100, None), 100);
        assert_eq!(group.taken, [10, 70, 85]);
    }

    #[test]
    fn when_all_fail_the_group_waits_for_the_first_to_be_tried_again() {
        let processor = built::<Config>(&json!({ "sinks": ["s1", "s2"] })).unwrap();
        let mut group = Group::new(processor, &[0, 0]);
        assert_eq!(group.offer(1, None), 0);
        assert_eq!(group.refused, [1, 1]);
        let Selection::WaitUntil(at) = group.select(None) else { panic!("all are down") };
        assert!(at > group.now && at <= group.now + Duration::from_secs(1));
        (group.room[1], group.now) = (1, group.now + Duration::from_secs(1));
        assert_eq!(group.offer(1, None), 1);
        assert_eq!(group.taken, [0, 1]);
    }

    #[test]
    fn without_priorities_the_order_of_the_group_counts() {
        let processor = built::<Config>(&json!({ "sinks": ["z", "a"] })).unwrap();
        assert_eq!(Group::new(processor, &[1, 1]).select(None), Selection::Use(0));
    }

    #[test]
    fn a_slow_sink_is_not_a_broken_one() {
        let processor = built::<Config>(&json!({ "sinks": ["s1", "s2"] })).unwrap();
        let mut group = Group::new(processor, &[1, 1]);
        group.views[0].has_room = false;
        assert_eq!(group.select(None), Selection::Use(0));
    }

    #[test]
    fn priorities_that_leave_a_question_open_are_refused_by_name() {
        for (priorities, path) in [
            (json!({ "s1": 1, "s2": 1 }), "priorities.s2"),
            (json!({ "s1": 1 }), "priorities"),
            (json!({ "s1": 1, "s2": 2, "s9": 3 }), "priorities.s9"),
        ] {
            let settings = json!({ "sinks": ["s1", "s2"], "priorities": priorities });
            assert_eq!(built::<Config>(&settings).err().unwrap().path, path);
        }
    }
}
