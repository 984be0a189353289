//! Any operations on a durable channel, in any order, with power cuts in between: acknowledged
//! batches are stored, once, in order.
//!
//! Method: random operations run on the real channel, on a simulated disk that keeps any subset of
//! unsynced sectors, and on the model below, which is a list. The model marks a result as open if a
//! crash leaves it open (an unanswered put, an unwritten commit), and then accepts any allowed
//! state that the channel shows. Every run ends with a crash and a drain. With
//! `PROPTEST_CASES=28000` it is a campaign of more than a million operations; it prints their
//! number (`--nocapture`).

use std::sync::atomic::{AtomicU64, Ordering};

use crate::driver::{Operation, run};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

fn operation() -> impl Strategy<Value = Operation> {
    let consumer = 0usize..2;
    prop_oneof![
        9 => (prop::collection::vec((0u32..4, prop::option::of(0u64..12)), 1..3), 1usize..50_000)
            .prop_map(|(batches, bytes)| Operation::Put { batches, bytes }),
        6 => consumer.clone().prop_map(Operation::Take),
        4 => (consumer.clone(), any::<usize>()).prop_map(|(c, n)| Operation::Commit(c, n)),
        2 => (consumer.clone(), any::<usize>()).prop_map(|(c, n)| Operation::Rollback(c, n)),
        1 => consumer.clone().prop_map(Operation::DropTake),
        3 => consumer.prop_map(Operation::Drain),
        1 => Just(Operation::Wait),
        1 => Just(Operation::Reopen),
        1 => Just(Operation::Crash),
        1 => (1u64..9).prop_map(Operation::PowerFailsAt),
        1 => (1u32..4).prop_map(Operation::WritesFail),
    ]
}

#[test]
#[expect(clippy::print_stdout, reason = "a campaign says how large it was")]
fn loses_no_acknowledged_put_and_repeats_only_after_a_crash() {
    let operations = prop::collection::vec(operation(), 1..80);
    let life = (any::<u64>(), prop::bool::ANY, prop::bool::ANY, operations);
    let done = AtomicU64::new(0);
    let mut runner = TestRunner::default();
    let result = runner.run(&life, |(seed, tail, sealed, operations)| {
        run(seed, tail, sealed, &operations);
        done.fetch_add(operations.len() as u64, Ordering::Relaxed);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    println!("{} operations, 0 violations", done.into_inner());
}
