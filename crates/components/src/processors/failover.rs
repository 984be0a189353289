//! `failover`: the best working sinks get everything; the others are on standby.
//!
//! ```text
//!   priority 20   collector-1  collector-2     share the work while one of them works
//!   priority 10   collector-3                  on standby
//! ```
//!
//! A failed sink is reopened before it gets a batch: a `grpc` sink exchanges Hello and Welcome, an
//! `hdfs` sink checks the ledger and a file. A `grpc` sink then gets one batch, and its tier gets
//! the work back when that batch is stored.
//!
//! All seats of a discovered sink are in its tier. The members with the best working priority of
//! their SRV records share the work of the tier.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use pipeline::{BuildContext, BuildError, Component, SinkProcessor};
use schemars::JsonSchema;
use serde::Deserialize;

use super::balance::Balanced;
use super::check_members;

/// Settings of the `failover` sink processor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Priority of each sink, by name. The working sink with the highest priority is used; sinks
    /// with the same priority share the load. Set it for all sinks or for none: without priorities
    /// the order in the group counts.
    #[serde(default)]
    priorities: BTreeMap<String, i64>,
    /// Settings of a balanced group.
    #[serde(rename = "..")]
    #[schemars(flatten)]
    balanced: Balanced,
}

impl Component for Config {
    const KIND: &'static str = "failover";
    type Role = dyn SinkProcessor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn SinkProcessor>, BuildError> {
        check_members(&self.balanced.sinks, 1)?;
        let tiers = tiers(&self.balanced.sinks, &self.priorities)?;
        self.balanced.tiered(tiers, cx)
    }
}

/// Returns the members by priority, best first; a tier has members of equal priority.
fn tiers(
    sinks: &[String],
    priorities: &BTreeMap<String, i64>,
) -> Result<Vec<Vec<usize>>, BuildError> {
    if priorities.is_empty() {
        let mut tiers: Vec<Vec<usize>> = Vec::new();
        for (member, name) in sinks.iter().enumerate() {
            match tiers.last_mut() {
                Some(tier) if sinks[tier[0]] == *name => tier.push(member),
                _ => tiers.push(vec![member]),
            }
        }
        return Ok(tiers);
    }
    if let Some(name) = priorities.keys().find(|name| !sinks.contains(name)) {
        let problem = format!("`{name}` is not a sink of this group");
        return Err(BuildError::invalid(format!("priorities.{name}"), problem));
    }
    let mut tiers: BTreeMap<Reverse<i64>, Vec<usize>> = BTreeMap::new();
    for (member, name) in sinks.iter().enumerate() {
        let Some(priority) = priorities.get(name) else {
            let problem = format!(
                "must have a priority for `{name}`: set one for each sink of the group, or for none"
            );
            return Err(BuildError::invalid("priorities", problem));
        };
        tiers.entry(Reverse(*priority)).or_default().push(member);
    }
    Ok(tiers.into_values().collect())
}

#[cfg(test)]
mod tests {
    //! The cases of Flume's own test of this processor, and a feature that Flume lacks: equal
    //! priorities.

    use std::time::Duration;

    use pipeline::{Origin, SeatView, Selection};
    use serde_json::json;

    use super::super::drive::{Group, built};
    use super::*;

    #[test]
    fn uses_the_best_working_sink_and_returns_to_a_recovered_one() {
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
    fn a_discovered_sink_is_one_tier_and_its_own_priorities_make_tiers_of_it() {
        let settings = json!({ "sinks": ["found", "found", "found", "reserve"] });
        let mut group = Group::new(built::<Config>(&settings).unwrap(), &[100, 50, 50, 50]);
        for (member, priority) in [(0, 20), (1, 10), (2, 10)] {
            let seat = SeatView { is_present: true, priority, ..SeatView::default() };
            group.views[member].seat = Some(seat);
        }
        assert_eq!(group.offer(60, None), 60);
        assert_eq!(group.taken, [0, 30, 30, 0]);
        assert_eq!(group.offer(60, None), 60);
        assert_eq!(group.taken, [20, 50, 50, 0], "the next priority when the best has failed");
        group.views[0].seat = Some(SeatView::default());
        assert_eq!(group.offer(10, None), 10);
        assert_eq!(group.taken, [20, 50, 50, 10], "the next sink when none is there");
    }

    #[test]
    fn a_slow_sink_is_not_a_broken_one() {
        let processor = built::<Config>(&json!({ "sinks": ["s1", "s2"] })).unwrap();
        let mut group = Group::new(processor, &[1, 1]);
        group.views[0].has_room = false;
        assert_eq!(group.select(None), Selection::Use(0));
    }

    #[test]
    fn shares_work_within_a_priority_and_fails_over_to_the_next() {
        let settings = json!({
            "sinks": ["low", "a", "b"], "priorities": { "a": 7, "b": 7, "low": 1 },
        });
        let mut group = Group::new(built::<Config>(&settings).unwrap(), &[1000, 50, 100]);
        assert_eq!(group.offer(80, None), 80);
        assert_eq!(group.taken, [0, 40, 40]);
        assert_eq!(group.offer(80, None), 80);
        assert_eq!(group.taken, [10, 50, 100], "each as long as it works, then the tier below");
        group.room[1] = 100;
        group.wait(5);
        assert_eq!(group.offer(50, None), 50);
        assert_eq!(group.taken, [10, 100, 100], "a revived sink has its tier's work again");
    }

    #[test]
    fn an_origin_stays_with_one_sink_of_its_tier() {
        let settings =
            json!({ "sinks": ["a", "b", "c"], "priorities": { "a": 1, "b": 1, "c": 1 } });
        let mut group = Group::new(built::<Config>(&settings).unwrap(), &[10_000; 3]);
        for number in 0..300_u128 {
            let origin = Some(Origin(number.to_be_bytes()));
            let first = group.select(origin);
            assert!((0..5).all(|_| group.select(origin) == first));
            group.offer(1, origin);
        }
        assert!(group.taken.iter().all(|taken| (70..130).contains(taken)), "{:?}", group.taken);
    }

    #[test]
    fn priorities_that_leave_a_question_open_are_refused_by_name() {
        for (priorities, path) in [
            (json!({ "s1": 1 }), "priorities"),
            (json!({ "s1": 1, "s2": 2, "s9": 3 }), "priorities.s9"),
        ] {
            let settings = json!({ "sinks": ["s1", "s2"], "priorities": priorities });
            assert_eq!(built::<Config>(&settings).err().unwrap().path, path);
        }
    }

    #[test]
    fn a_member_that_cannot_store_is_used_only_when_no_able_one_is_open() {
        let settings = json!({ "sinks": ["s1", "s2", "s3"] });
        let mut group = Group::new(built::<Config>(&settings).unwrap(), &[9; 3]);
        group.views[0].is_unable = true;
        assert_eq!(group.select(None), Selection::Use(1));
        group.views[1].is_open = false;
        assert_eq!(group.select(None), Selection::Use(2), "it does not wait for a closed one");
        group.views[2].is_unable = true;
        assert_eq!(group.select(None), Selection::Use(0), "any is a buffer");
        group.views[0].is_unable = false;
        assert_eq!(group.select(None), Selection::Use(0));
    }

    #[test]
    fn a_batch_that_is_too_large_for_a_member_waits_for_one_that_takes_it() {
        let settings = json!({ "sinks": ["s1", "s2", "s3"] });
        let mut group = Group::new(built::<Config>(&settings).unwrap(), &[9, 0, 0]);
        (0..2).for_each(|at| group.views[at].is_too_small = true);
        assert_eq!(group.select(None), Selection::Use(2));
        assert_eq!(group.offer(1, None), 0);
        assert!(matches!(group.select(None), Selection::WaitUntil(_)), "it has just failed");
        (0..2).for_each(|at| group.views[at].is_too_small = false);
        assert_eq!(group.select(None), Selection::Use(0), "smaller ones go on");
    }
}
