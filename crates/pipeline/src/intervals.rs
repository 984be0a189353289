//! Sets of numbers that are mostly runs: sequences seen, tickets settled.
//!
//! Kept as sorted, disjoint, non-adjacent half-open runs, so `n` numbers in order cost one run of
//! 16 bytes. Inserting at the end, the usual case, is constant time.
//!
//! Encoding (all varints LEB128): `runs`, then for each run `gap` to the end of the one before it
//! and `length - 1`.

use std::ops::Range;

use bytes::{Buf, BufMut};

/// A set of `u64`, as runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct IntervalSet {
    runs: Vec<Range<u64>>,
}

/// Up to so many runs are put in or taken out one by one; more of them in one pass over both sets,
/// so that sets full of holes cost no more than their length.
const FEW_RUNS: usize = 4;

/// Why bytes are not an encoded set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an encoded set of intervals")]
pub struct MalformedIntervals;

impl IntervalSet {
    /// The set of nothing.
    pub const EMPTY: Self = Self { runs: Vec::new() };

    /// Whether there is no number in the set.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many numbers are in the set.
    pub fn count(&self) -> u64 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }

    /// The runs, in order, each half open.
    pub fn runs(&self) -> &[Range<u64>] {
        &self.runs
    }

    /// Every number, in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.runs.iter().cloned().flatten()
    }

    /// The lowest number.
    pub fn first(&self) -> Option<u64> {
        self.runs.first().map(|run| run.start)
    }

    /// The highest number.
    pub fn last(&self) -> Option<u64> {
        self.runs.last().map(|run| run.end - 1)
    }

    /// Whether `value` is in the set.
    pub fn contains(&self, value: u64) -> bool {
        let after = self.runs.partition_point(|run| run.start <= value);
        after > 0 && value < self.runs[after - 1].end
    }

    /// Adds `value`; says whether it was new.
    pub fn insert(&mut self, value: u64) -> bool {
        if self.contains(value) {
            return false;
        }
        self.insert_range(value..value + 1);
        true
    }

    /// Adds every number of `range`.
    pub fn insert_range(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        // The runs that touch or overlap the range become one with it.
        let low = self.runs.partition_point(|run| run.end < range.start);
        let high = self.runs.partition_point(|run| run.start <= range.end);
        if low == high {
            self.runs.insert(low, range);
            return;
        }
        let start = range.start.min(self.runs[low].start);
        let end = range.end.max(self.runs[high - 1].end);
        self.runs[low] = start..end;
        self.runs.drain(low + 1..high);
    }

    /// Takes `value` out; says whether it was there.
    pub fn remove(&mut self, value: u64) -> bool {
        let there = self.contains(value);
        if there {
            self.remove_range(value..value + 1);
        }
        there
    }

    /// Takes every number of `range` out.
    pub fn remove_range(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let low = self.runs.partition_point(|run| run.end <= range.start);
        let high = self.runs.partition_point(|run| run.start < range.end);
        if low >= high {
            return;
        }
        let before = self.runs[low].start..range.start;
        let after = range.end..self.runs[high - 1].end;
        let rest = [before, after].into_iter().filter(|run| !run.is_empty());
        self.runs.splice(low..high, rest);
    }

    /// Adds every number of `other`.
    pub fn insert_all(&mut self, other: &Self) {
        if other.runs.len() <= FEW_RUNS {
            other.runs.iter().for_each(|run| self.insert_range(run.clone()));
            return;
        }
        let mut both = Self { runs: Vec::with_capacity(self.runs.len() + other.runs.len()) };
        let (mut left, mut right) = (self.runs.iter().peekable(), other.runs.iter().peekable());
        while let Some(run) = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) if a.start <= b.start => left.next(),
            (_, Some(_)) => right.next(),
            (_, None) => left.next(),
        } {
            both.insert_range(run.clone());
        }
        *self = both;
    }

    /// Takes every number of `other` out.
    pub fn remove_all(&mut self, other: &Self) {
        if other.runs.len() <= FEW_RUNS {
            other.runs.iter().for_each(|run| self.remove_range(run.clone()));
            return;
        }
        let mut rest = Self { runs: Vec::with_capacity(self.runs.len()) };
        let mut gone = other.runs.iter().peekable();
        for run in &self.runs {
            let mut start = run.start;
            while let Some(hole) = gone.peek().filter(|hole| hole.start < run.end) {
                rest.insert_range(start..hole.start.max(start));
                start = start.max(hole.end).min(run.end);
                // A hole that goes beyond this run may reach into the next one.
                if hole.end > run.end {
                    break;
                }
                gone.next();
            }
            rest.insert_range(start..run.end);
        }
        *self = rest;
    }

    /// The numbers that are in both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self::EMPTY;
        let (mut left, mut right) = (0, 0);
        while let (Some(a), Some(b)) = (self.runs.get(left), other.runs.get(right)) {
            both.insert_range(a.start.max(b.start)..a.end.min(b.end));
            if a.end <= b.end {
                left += 1;
            } else {
                right += 1;
            }
        }
        both
    }

    /// The numbers of this set that are not in `other`.
    pub fn difference(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.remove_all(other);
        rest
    }

    /// Appends the encoding to `out`.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_varint(out, self.runs.len() as u64);
        let mut end = 0;
        for run in &self.runs {
            put_varint(out, run.start - end);
            put_varint(out, run.end - run.start - 1);
            end = run.end;
        }
    }

    /// Reads one encoded set from the front of `input`.
    ///
    /// # Errors
    /// The bytes end too early, or a run goes beyond `u64`.
    pub fn decode(input: &mut impl Buf) -> Result<Self, MalformedIntervals> {
        let count = get_varint(input).ok_or(MalformedIntervals)?;
        // Each run takes two bytes at the least, which bounds what a lying count can reserve.
        if count > input.remaining() as u64 / 2 {
            return Err(MalformedIntervals);
        }
        let mut set = Self { runs: Vec::with_capacity(count as usize) };
        let mut end: u64 = 0;
        for _ in 0..count {
            let gap = get_varint(input).ok_or(MalformedIntervals)?;
            let more = get_varint(input).ok_or(MalformedIntervals)?;
            let start = end.checked_add(gap).ok_or(MalformedIntervals)?;
            end =
                start.checked_add(more).and_then(|e| e.checked_add(1)).ok_or(MalformedIntervals)?;
            set.insert_range(start..end);
        }
        Ok(set)
    }
}

impl FromIterator<u64> for IntervalSet {
    fn from_iter<I: IntoIterator<Item = u64>>(values: I) -> Self {
        let mut set = Self::EMPTY;
        for value in values {
            set.insert(value);
        }
        set
    }
}

impl From<Range<u64>> for IntervalSet {
    fn from(range: Range<u64>) -> Self {
        let mut set = Self::EMPTY;
        set.insert_range(range);
        set
    }
}

/// Appends `value` as a LEB128 varint: seven bits a byte, lowest first.
pub fn put_varint(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Reads a LEB128 varint; `None` when the bytes end or the number does not fit.
pub fn get_varint(input: &mut impl Buf) -> Option<u64> {
    let mut value: u64 = 0;
    for shift in (0..64).step_by(7) {
        let byte = input.has_remaining().then(|| input.get_u8())?;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Method: every operation is done on a plain set as well, over numbers close enough to
        /// touch, overlap and split.
        #[test]
        fn behaves_as_a_plain_set(ops in prop::collection::vec((any::<bool>(), 0u64..60, 0u64..9), 0..60)) {
            let (mut set, mut model) = (IntervalSet::EMPTY, BTreeSet::new());
            for (insert, start, length) in ops {
                if insert {
                    set.insert_range(start..start + length);
                    model.extend(start..start + length);
                } else {
                    set.remove_range(start..start + length);
                    model.retain(|v| !(start..start + length).contains(v));
                }
                prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
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
    fn a_long_run_takes_a_few_bytes() {
        let mut bytes = Vec::new();
        IntervalSet::from(0..1_000_000).encode(&mut bytes);
        assert_eq!(bytes.len(), 5);
    }
}
