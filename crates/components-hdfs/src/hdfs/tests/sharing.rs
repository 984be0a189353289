//! Two collectors receive the same batches at the same time: one of them publishes each batch.

use std::time::Duration;

use serde_json::json;
use storage::faults::Fault;
use storage::memory::Memory;

use super::faults::{self, at_every_call};
use super::harness::{Collector, deliver, drive, lines_of, numbered, numbered_lines};

const BATCHES: u64 = 24;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[tokio::test(start_paused = true)]
async fn two_collectors_with_the_same_batches_publish_each_once() {
    // Different roll sizes, so that the entries of both overlap partially.
    let counts = [(1, 1), (2, 6), (4, 10), (100, 2), (100, 100)];
    for (latency, (left_count, right_count)) in
        [1, 3, 4, 6, 9].into_iter().flat_map(|ms| counts.map(|c| (ms, c)))
    {
        let store = Memory::new();
        let slow = |millis| store.with_latency(ms(millis));
        let collector = |count| {
            let roll = json!({ "count_max": count });
            Collector::new(json!({ "url": "file:///logs/%{app}", "roll": roll }))
        };
        let (left, right) = (collector(left_count), collector(right_count));
        let (mut left, mut right) = (left.sink(&slow(4)), right.sink(&slow(latency)));
        let forth = numbered(BATCHES);
        let mut back = forth.clone();
        // Tickets differ between channels.
        back.iter_mut().for_each(|(ticket, _)| *ticket = 1_000 - *ticket);
        let done = tokio::join!(drive(&mut left, &forth), drive(&mut right, &back));
        assert_eq!(done, (true, true));
        assert_eq!(lines_of(&store), numbered_lines(BATCHES), "{left_count} and {right_count}");
        let generations = |path: &String| path.contains("/ledger/g") && !path.contains("/next-");
        let left: Vec<String> = store.directories().into_iter().filter(generations).collect();
        assert!(left.len() <= 2, "old generations are deleted: {left:?}");
    }
}

/// The live collector publishes committed files of the dead one before it starts a generation.
#[tokio::test(start_paused = true)]
async fn a_collector_that_dies_beside_another_at_work_loses_and_repeats_nothing() {
    let faults = [Fault::DiesBefore, Fault::DiesAfter];
    for (latency, fault) in [3, 7].into_iter().flat_map(|ms| faults.clone().map(|f| (ms, f))) {
        let calls = at_every_call(fault, async |faulty, store, _| {
            let (dead, alive) =
                (Collector::new(faults::settings()), Collector::new(faults::settings()));
            let (mut dying, mut other) =
                (dead.sink_on(faulty), alive.sink(&store.with_latency(ms(latency))));
            let batches = numbered(faults::BATCHES);
            let (_, done) = tokio::join!(drive(&mut dying, &batches), drive(&mut other, &batches));
            assert!(done);
            drop(dying);
            deliver(&mut dead.sink(store), &batches).await;
        });
        assert!(calls.await > 30);
    }
}
