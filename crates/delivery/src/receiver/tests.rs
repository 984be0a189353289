//! Goal: the sender gets each reply that is due, exactly once, and no false reply. Method: one test
//! for each rule; then any order of calls, compared with a plain model.

use std::collections::BTreeSet;

use pipeline::{IntervalSet, Sequence};
use proptest::prelude::*;

use super::*;

const ORIGIN: Origin = Origin([1; 16]);
const EPOCH: Epoch = Epoch(1);
const WINDOW: Window = Window { batches: 3, bytes: 100 };

fn key(sequence: u64) -> Identity {
    Identity { origin: ORIGIN, epoch: EPOCH, sequence: Sequence(sequence) }
}

fn keys(sequences: impl IntoIterator<Item = u64>) -> KeySet {
    sequences.into_iter().map(key).collect()
}

fn known(stored: &[u64], committed: &[u64]) -> Known {
    let set = |numbers: &[u64]| numbers.iter().copied().collect::<IntervalSet>();
    Known { stored: set(stored), committed: set(committed) }
}

fn greeted() -> Receiver {
    let mut receiver = Receiver::new(WINDOW);
    receiver.hello(&KeySet::default(), |_, _| Known::default()).unwrap();
    receiver
}

#[test]
fn welcome_speaks_of_what_was_asked_and_of_nothing_else() {
    let mut receiver = Receiver::new(WINDOW);
    let answer = receiver.hello(&keys([1, 2, 3]), |_, _| known(&[1, 2, 9], &[1, 8])).unwrap();
    assert_eq!(answer, Answer { stored: keys([1, 2]), committed: keys([1]) });
    receiver.committed(&keys([1, 2, 8]));
    assert_eq!(receiver.next_reply(), Some(Reply::Committed(keys([2]))));
}

#[test]
fn committed_batches_count_as_stored_after_the_channel_forgot_them() {
    let mut receiver = Receiver::new(WINDOW);
    let answer = receiver.hello(&keys([1]), |_, _| known(&[], &[1])).unwrap();
    assert_eq!(answer.stored, keys([1]));
}

#[test]
fn a_put_before_hello_is_a_violation() {
    let mut receiver = Receiver::new(WINDOW);
    assert_eq!(receiver.put(key(1), 1), Err(Violation::NotGreeted { identity: key(1) }));
}

#[test]
fn the_window_bounds_batches_and_bytes_and_one_large_batch_alone_may_pass() {
    let mut receiver = greeted();
    assert_eq!(receiver.put(key(0), 5_000), Ok(()));
    assert!(receiver.put(key(1), 1).is_err());
    receiver.stored(key(0), 5_000, &Known::default()).unwrap();
    for n in 1..=3 {
        assert_eq!(receiver.put(key(n), 10), Ok(()));
    }
    let violation = Violation::OverWindow { identity: key(4), batches: 3, bytes: 30 };
    assert_eq!(receiver.put(key(4), 10), Err(violation));
    receiver.answered(10);
    assert!(receiver.put(key(4), 81).is_err());
    assert_eq!(receiver.put(key(4), 80), Ok(()));
}

#[test]
fn answers_that_are_due_together_are_one_message() {
    let mut receiver = greeted();
    for n in [2, 0, 1] {
        receiver.put(key(n), 1).unwrap();
        receiver.stored(key(n), 1, &known(&[n], &[])).unwrap();
    }
    assert_eq!(receiver.next_reply(), Some(Reply::Stored(keys([0, 1, 2]))));
    assert_eq!(receiver.next_reply(), None);
    assert!(receiver.owes());
}

/// Without this reply the sender would wait forever: the notification of the commit was sent, or
/// lost, before this stream began.
#[test]
fn reports_an_earlier_commit_of_a_resent_batch_immediately() {
    let mut receiver = greeted();
    receiver.put(key(7), 1).unwrap();
    receiver.stored(key(7), 1, &known(&[7], &[7])).unwrap();
    assert_eq!(receiver.next_reply(), Some(Reply::Stored(keys([7]))));
    assert_eq!(receiver.next_reply(), Some(Reply::Committed(keys([7]))));
    assert!(!receiver.owes());
}

#[test]
fn a_missed_word_is_made_good() {
    let mut receiver = Receiver::new(WINDOW);
    receiver.hello(&keys([1, 2]), |_, _| Known::default()).unwrap();
    receiver.recount(|_, _| known(&[1, 2, 3], &[2, 3]));
    assert_eq!(receiver.next_reply(), Some(Reply::Committed(keys([2]))));
}

/// A sender that names ever more batches cannot fill the memory; a sender that gets its commits can
/// continue forever.
#[test]
fn limits_the_runs_that_a_sender_may_wait_for() {
    let unknown = |_, _| Known::default();
    let scattered = |from: usize| keys((0..400_000).map(|n| 2 * (from + n) as u64));
    let mut receiver = greeted();
    receiver.hello(&scattered(0), unknown).unwrap();
    receiver.hello(&scattered(400_000), unknown).unwrap();
    receiver.committed(&scattered(0));
    receiver.hello(&scattered(800_000), unknown).unwrap();
    assert!(matches!(
        receiver.hello(&scattered(1_200_000), unknown),
        Err(Violation::Awaited { runs: 1_200_000 }),
    ));
}

#[derive(Debug, Clone)]
enum Op {
    Hello(u64),
    Put(u64),
    Commit(u64),
    Recount,
    Reply,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0u64..12).prop_map(Op::Hello),
        (0u64..12).prop_map(Op::Put),
        (0u64..12).prop_map(Op::Commit),
        Just(Op::Recount),
        Just(Op::Reply),
    ]
}

proptest! {
    /// The model has two sets: stored batches, and committed ones. In any order of calls, the
    /// sender finally knows the true state of each batch that it named.
    #[test]
    fn in_the_end_the_sender_knows_what_is_so(ops in prop::collection::vec(op(), 0..60)) {
        let mut receiver = greeted();
        let (mut stored, mut committed) = (BTreeSet::new(), BTreeSet::new());
        let (mut named, mut told) = (BTreeSet::new(), BTreeSet::new());
        for op in ops.into_iter().chain([Op::Reply, Op::Reply]) {
            let state = known(
                &stored.iter().copied().collect::<Vec<_>>(),
                &committed.iter().copied().collect::<Vec<_>>(),
            );
            match op {
                Op::Hello(n) => {
                    named.insert(n);
                    let answer = receiver.hello(&keys([n]), |_, _| state.clone()).unwrap();
                    prop_assert_eq!(answer.committed.contains(key(n)), committed.contains(&n));
                    told.extend(committed.contains(&n).then_some(n));
                }
                Op::Put(n) => {
                    named.insert(n);
                    stored.insert(n);
                    prop_assert!(receiver.put(key(n), 1).is_ok());
                    prop_assert!(receiver.stored(key(n), 1, &state).is_ok());
                }
                // Half of the notifications are missed; a recount makes up for them.
                Op::Commit(n) => {
                    if stored.contains(&n) {
                        committed.insert(n);
                        if n % 2 == 0 {
                            receiver.committed(&keys([n]));
                        }
                    }
                }
                Op::Recount => receiver.recount(|_, _| state.clone()),
                Op::Reply => match receiver.next_reply() {
                    Some(Reply::Stored(set)) => {
                        let is_stored = |n| stored.contains(&n);
                        prop_assert!(set.iter().all(|(_, _, s)| s.iter().all(is_stored)));
                    }
                    Some(Reply::Committed(set)) => {
                        for n in set.iter().flat_map(|(_, _, s)| s.iter()) {
                            prop_assert!(committed.contains(&n) && named.contains(&n));
                            told.insert(n);
                        }
                    }
                    None => {}
                },
            }
        }
        let state = known(&[], &committed.iter().copied().collect::<Vec<_>>());
        receiver.recount(|_, _| state.clone());
        while let Some(reply) = receiver.next_reply() {
            if let Reply::Committed(set) = reply {
                told.extend(set.iter().flat_map(|(_, _, s)| s.iter().collect::<Vec<_>>()));
            }
        }
        prop_assert_eq!(told, named.intersection(&committed).copied().collect());
    }
}
