//! Sets of numbers behave as sets do, and their encoding reads back.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

proptest! {
    /// Method: every operation is done on a plain set as well, over numbers close enough to
    /// touch, overlap and split.
    #[test]
    fn behaves_as_a_plain_set(
        ops in prop::collection::vec((any::<bool>(), 0u64..60, 0u64..9), 0..60),
    ) {
        let (mut set, mut model) = (IntervalSet::EMPTY, BTreeSet::new());
        for (insert, start, length) in ops {
            if insert {
                set.insert_range(start..start + length);
                model.extend(start..start + length);
            } else {
                set.remove_range(start..start + length);
                model.retain(|v| !(start..start + length).contains(v));
            }
            let expected: Vec<_> = model.iter().copied().collect();
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), expected);
            prop_assert!(set.runs().windows(2).all(|w| w[0].end < w[1].start));
            prop_assert_eq!(set.count(), model.len() as u64);
        }
        let mut bytes = Vec::new();
        set.encode(&mut bytes);
        prop_assert_eq!(IntervalSet::decode(&mut bytes.as_slice()), Ok(set));
    }

    #[test]
    fn intersection_and_difference_are_those_of_sets(
        a in prop::collection::btree_set(0u64..50, 0..30),
        b in prop::collection::btree_set(0u64..50, 0..30),
    ) {
        let left: IntervalSet = a.iter().copied().collect();
        let right: IntervalSet = b.iter().copied().collect();
        prop_assert_eq!(left.intersection(&right), a.intersection(&b).copied().collect());
        prop_assert_eq!(left.difference(&right), a.difference(&b).copied().collect());
        let mut union = left;
        union.insert_all(&right);
        prop_assert_eq!(union, a.union(&b).copied().collect());
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = IntervalSet::decode(&mut bytes.as_slice());
    }
}

#[test]
fn the_end_of_the_range_is_in_no_set() {
    let mut set = IntervalSet::from(3..5);
    assert!(!set.insert(u64::MAX) && !set.contains(u64::MAX) && !set.remove(u64::MAX));
    assert_eq!(set, IntervalSet::from(3..5));
    assert!(set.insert(u64::MAX - 1) && set.contains(u64::MAX - 1));
    assert!(!set.insert(u64::MAX - 1), "it is there");
}

#[test]
fn a_long_run_takes_a_few_bytes() {
    let mut bytes = Vec::new();
    IntervalSet::from(0..1_000_000).encode(&mut bytes);
    assert_eq!(bytes.len(), 5);
}
