//! `load_balance`: the sinks of a group share the work; a failed sink is skipped for a while.
//!
//! With `sticky`, the default, all batches of an origin go to the same sink while it works; see
//! `balance`. Without an origin, or with `sticky` off, `policy` chooses a sink for each batch.

use pipeline::{BuildContext, BuildError, Component, SinkProcessor};
use schemars::JsonSchema;
use serde::Deserialize;

use super::balance::Balanced;
use super::check_members;

/// Settings of the `load_balance` sink processor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Settings of a balanced group.
    #[serde(rename = "..")]
    #[schemars(flatten)]
    balanced: Balanced,
}

impl Component for Config {
    const KIND: &'static str = "load_balance";
    type Role = dyn SinkProcessor;

    fn build(self, cx: &BuildContext) -> Result<Box<dyn SinkProcessor>, BuildError> {
        check_members(&self.balanced.sinks, 2)?;
        // All sinks are in one tier.
        let tiers = vec![(0..self.balanced.sinks.len()).collect()];
        self.balanced.tiered(tiers, cx)
    }
}

#[cfg(test)]
mod tests {
    //! The cases of Flume's own test of this processor, which always backs off here: the work of a
    //! failed sink goes to all others, not to its neighbour. Then a feature that Flume lacks:
    //! stickiness.

    use std::time::Duration;

    use pipeline::{Origin, SeatView, Selection};
    use serde_json::{Value, json};

    use super::super::drive::{Group, built};
    use super::*;

    const PLENTY: u32 = 10_000;

    fn group(more: &Value, room: &[u32]) -> Group {
        let mut settings = json!({ "sinks": ["s1", "s2", "s3"] });
        for (key, value) in more.as_object().unwrap() {
            settings[key] = value.clone();
        }
        Group::new(built::<Config>(&settings).unwrap(), room)
    }

    fn origin(number: u128) -> Option<Origin> {
        Some(Origin(number.to_be_bytes()))
    }

    #[test]
    fn round_robin_gives_each_sink_the_same() {
        let mut group = group(&json!({}), &[PLENTY; 3]);
        assert_eq!(group.offer(300, None), 300);
        assert_eq!(group.taken, [100; 3]);
    }

    #[test]
    fn one_live_sink_gets_everything() {
        let mut group = group(&json!({}), &[0, PLENTY, 0]);
        assert_eq!(group.offer(300, None), 300);
        assert_eq!((group.taken[1], group.refused[0], group.refused[2]), (300, 1, 1));
    }

    #[test]
    fn the_share_of_a_failed_sink_goes_to_all_others() {
        let mut group = group(&json!({}), &[PLENTY, 0, PLENTY]);
        assert_eq!(group.offer(299, None), 299);
        let (one, other) = (group.taken[0], group.taken[2]);
        assert_eq!((one + other, one.abs_diff(other) <= 2), (299, true), "{one} and {other}");
        assert_eq!(group.refused, [0, 1, 0]);
    }

    #[test]
    fn pauses_grow_while_a_sink_fails_and_it_is_used_again_once_it_works() {
        let mut group = group(&json!({ "backoff_min": "2s" }), &[PLENTY, 0, PLENTY]);
        group.offer(3, None);
        group.wait(2);
        group.offer(3, None);
        assert_eq!(group.refused[1], 2, "after the first pause, of at most 2 s");
        group.now += Duration::from_millis(1_999);
        group.offer(3, None);
        assert_eq!(group.refused[1], 2, "the second pause is at least 2 s");
        (group.room[1], group.now) = (PLENTY, group.now + Duration::from_secs(3));
        group.offer(300, None);
        assert_eq!(group.taken[1], 100);
    }

    #[test]
    fn when_all_fail_the_group_waits() {
        let mut group = group(&json!({}), &[0; 3]);
        assert_eq!(group.offer(1, None), 0);
        assert_eq!(group.refused, [1; 3]);
        assert!(matches!(group.select(None), Selection::WaitUntil(at) if at > group.now));
    }

    #[test]
    fn random_is_complete_and_reaches_everybody() {
        let mut group = group(&json!({ "policy": "random" }), &[PLENTY; 3]);
        assert_eq!(group.offer(3_000, None), 3_000);
        assert!(group.taken.iter().all(|taken| (700..1_300).contains(taken)), "{:?}", group.taken);
    }

    #[test]
    fn least_loaded_is_the_one_with_the_fewest_bytes_in_flight() {
        let mut group = group(&json!({ "policy": "least_loaded" }), &[PLENTY; 3]);
        for (member, bytes) in [30, 10, 20].into_iter().enumerate() {
            group.views[member].unacknowledged_bytes = bytes;
        }
        assert_eq!(group.select(None), Selection::Use(1));
        group.views[1].has_room = false;
        assert_eq!(group.select(None), Selection::Use(2), "a full one does not hold up the rest");
    }

    #[test]
    fn many_origins_spread_evenly_and_each_stays_with_its_sink() {
        let mut group = group(&json!({}), &[PLENTY; 3]);
        (0..3_000).for_each(|number| assert_eq!(group.offer(1, origin(number)), 1));
        assert!(group.taken.iter().all(|taken| (900..1_100).contains(taken)), "{:?}", group.taken);
        let first = group.select(origin(7));
        assert!((0..50).all(|_| group.select(origin(7)) == first));
    }

    #[test]
    fn an_origin_leaves_a_failed_sink_and_comes_back_to_it() {
        let mut group = group(&json!({}), &[PLENTY; 3]);
        let Selection::Use(home) = group.select(origin(1)) else { panic!("all work") };
        group.room[home] = 0;
        assert_eq!(group.offer(10, origin(1)), 10);
        assert_eq!((group.refused[home], group.taken.iter().max()), (1, Some(&10)));
        (group.room[home], group.now) = (PLENTY, group.now + Duration::from_secs(1));
        assert_eq!(group.select(origin(1)), Selection::Use(home));
    }

    /// Creates seats of collectors with these keys and weights.
    fn seated(group: &mut Group, seats: &[(u64, u16)]) {
        for (view, (key, weight)) in group.views.iter_mut().zip(seats.iter().copied()) {
            let seat = SeatView { is_present: true, key, weight, ..SeatView::default() };
            view.seat = Some(seat);
        }
    }

    /// Adding or removing a member moves only its own origins, whatever the seats are.
    #[test]
    fn a_discovered_sink_more_or_less_moves_only_its_own_origins() {
        let home = |group: &mut Group, number| {
            let Selection::Use(member) = group.select(origin(number)) else { panic!("all work") };
            group.views[member].seat.unwrap().key
        };
        let mut before = group(&json!({}), &[PLENTY; 3]);
        seated(&mut before, &[(1, 1), (2, 1), (3, 1)]);
        let mut after = group(&json!({}), &[PLENTY; 3]);
        seated(&mut after, &[(3, 1), (4, 1), (1, 1)]);
        let mut moved = 0;
        for number in 0..3_000 {
            let (old, new) = (home(&mut before, number), home(&mut after, number));
            assert!(old == new || old == 2 || new == 4, "from {old} to {new}");
            moved += u32::from(old != new);
        }
        assert!((1_300..1_900).contains(&moved), "{moved}: a third comes and a third goes");
    }

    #[test]
    fn origins_are_shared_by_weight() {
        let mut group = group(&json!({}), &[PLENTY; 3]);
        seated(&mut group, &[(1, 1), (2, 2), (3, 0)]);
        (0..4_000).for_each(|number| assert_eq!(group.offer(1, origin(number)), 1));
        let around = |share: u32| share - 120..share + 120;
        for (taken, share) in group.taken.iter().zip([1_000, 2_000, 1_000]) {
            assert!(around(share).contains(taken), "{:?}", group.taken);
        }
    }

    #[test]
    fn one_sink_alone_cannot_share() {
        let error = built::<Config>(&json!({ "sinks": ["s1"] })).err().unwrap();
        assert_eq!(error.path, "sinks");
    }
}
