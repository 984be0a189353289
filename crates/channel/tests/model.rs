//! Whatever is done to a durable channel, in whatever order, with power cuts in between: what it
//! said yes to is there, once, in order.
//!
//! Method: random operations run on the real channel, on a simulated disk that keeps any subset of
//! unsynced sectors, and on the model below, which is a list. What a crash leaves open (a put that
//! was not answered, a commit that was not yet written) the model notes as open, and takes what the
//! channel shows next as the answer, if it is one of the allowed ones. Every run ends with a crash
//! and a drain. `PROPTEST_CASES=20000` is a campaign of about a million operations.

mod common;
mod driver;

use driver::{Operation, run};
use proptest::prelude::*;

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
        1 => Just(Operation::WriteFails),
    ]
}

proptest! {
    #[test]
    fn nothing_acknowledged_is_lost_and_nothing_committed_comes_again_but_after_a_crash(
        seed in any::<u64>(),
        tail in prop::bool::ANY,
        sealed in prop::bool::ANY,
        operations in prop::collection::vec(operation(), 1..80),
    ) {
        run(seed, tail, sealed, &operations);
    }
}
