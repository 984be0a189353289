//! Two collectors get the same batches at the same time: each batch is published by one of them.

use serde_json::json;
use storage::memory::Memory;

use super::harness::{Collector, drive, lines_of, numbered, numbered_lines};

const BATCHES: u64 = 24;

#[tokio::test(start_paused = true)]
async fn two_collectors_with_the_same_batches_publish_each_once() {
    // Rolls of different sizes, so that the entries of one overlap with those of the other in part.
    for (left_count, right_count) in [(1, 1), (2, 6), (4, 10), (100, 2), (100, 100)] {
        let store = Memory::new();
        let collector = |count| {
            let roll = json!({ "count_max": count });
            Collector::new(json!({ "url": "file:///logs/%{app}", "roll": roll }))
        };
        let (left, right) = (collector(left_count), collector(right_count));
        let (mut left, mut right) = (left.sink(&store), right.sink(&store));
        let forth = numbered(BATCHES);
        let mut back = forth.clone();
        // The tickets differ from one channel to the other.
        back.iter_mut().for_each(|(ticket, _)| *ticket = 1_000 - *ticket);
        let done = tokio::join!(drive(&mut left, &forth), drive(&mut right, &back));
        assert_eq!(done, (true, true));
        assert_eq!(lines_of(&store), numbered_lines(BATCHES), "{left_count} and {right_count}");
    }
}
