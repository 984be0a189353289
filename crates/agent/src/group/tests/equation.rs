//! The event equation of an agent: each event that its sources hand over is delivered, held, among
//! the dead letters, rejected, or counted as dropped.
//!
//! Method: batches meet any fate, in the order of the steps that a group takes, by the counters of
//! sources and groups themselves.

use proptest::collection::vec;
use proptest::prelude::*;
use support::meter::Volume;

use super::super::tally::Tally;
use super::super::view::{Outflow, Passed};
use super::*;
use crate::status::{BatchFlow, Conservation, SourceFlow};

/// The fate of a batch.
#[derive(Debug, Clone)]
struct Fate {
    events: u64,
    /// Events that interceptors reject, and filter.
    rejected: u64,
    filtered: u64,
    /// Events that a sink refuses, each time the batch is sent.
    refused: Vec<u64>,
    /// Events that become dead letters at the next agents.
    downstream: u64,
    leaves: bool,
}

fn fate() -> impl Strategy<Value = Fate> {
    let parts = (1..30_u64, 0..9_u64, 0..9_u64, vec(0..30_u64, 1..3), 0..30_u64, any::<bool>());
    parts.prop_map(|(events, rejected, filtered, refused, downstream, leaves)| Fate {
        events: events + rejected + filtered,
        rejected,
        filtered,
        refused: refused.into_iter().map(|part| part.min(events)).collect(),
        downstream,
        leaves,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_event_is_accounted_for_once(fates in vec(fate(), 1..9)) {
        support::mutants::plant_by_environment();
        let now = Instant::now();
        let (mut source, mut tally) = (SourceFlow::new(now), Tally::default());
        let passed = Arc::new(Passed::default());
        let mut outflow = Outflow::new(1, now, passed.clone());
        let (mut held, mut letters) = (0, 0);
        for (ticket, fate) in (0..).zip(&fates) {
            let Fate { events, rejected, filtered, .. } = *fate;
            let volume = |events| Volume { events, bytes: events };
            let kept = events - rejected - filtered;
            let given = volume(events);
            let stored = kept;
            let passage = BatchFlow { given, kept, rejected, stored, ..BatchFlow::default() };
            source.accepted(now, passage);
            letters += rejected;
            for refused in &fate.refused {
                tally.sent(ticket, volume(kept), now);
                tally.refused(ticket, *refused);
            }
            if !fate.leaves {
                held += kept;
                continue;
            }
            let refused = fate.refused.last().copied().unwrap_or_default();
            tally.refused_downstream(ticket, fate.downstream);
            let one = IntervalSet::from(ticket..ticket + 1);
            if refused < kept {
                tally.committed(&one, 0, now);
            }
            tally.left(&one, now).into_iter().for_each(|left| outflow.left(now, left));
            letters += refused;
        }
        let mut sum = Conservation { held_events: held, ..Conservation::default() };
        source.add_to(&mut sum);
        sum.add_channel(0, passed.read());
        let sum = sum.balanced();
        prop_assert_eq!(sum.difference_events, 0, "the events of {:?}", sum);
        let rejected = sum.dropped_events.get("rejected_by_interceptor").copied();
        let counted = sum.dead_letter_events + rejected.unwrap_or_default();
        prop_assert_eq!(counted, letters, "dead letters of {:?}", sum);
    }
}

#[cfg(feature = "mutants")]
#[test]
fn each_planted_bug_is_found() {
    let test = "group::tests::equation::each_event_is_accounted_for_once";
    for bug in ["rejected_not_counted", "letters_not_counted", "split_counted_twice"] {
        support::mutants::is_found(bug, test, "the events of Conservation");
    }
}
