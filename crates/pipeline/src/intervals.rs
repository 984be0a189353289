//! Sets of numbers that are mostly runs: sequences seen, tickets settled.
//!
//! Stored as sorted, disjoint, non-adjacent half-open runs, so `n` numbers in order cost one run of
//! 16 bytes, and no other memory. Inserting at the end, the usual case, is constant time.
//!
//! Encoding (all varints LEB128): `runs`, then for each run `gap` to the end of the one before it
//! and `length - 1`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;

use bytes::{Buf, BufMut};

/// A set of `u64`, as runs.
#[derive(Clone)]
pub struct IntervalSet {
    runs: Runs,
}

/// A single run needs no allocation: most sets have one.
#[derive(Clone)]
enum Runs {
    One(Range<u64>),
    /// No run, or at least two.
    Many(Vec<Range<u64>>),
}

/// Up to this many runs are inserted or removed one by one; more of them in one pass over both
/// sets, so that sets full of holes cost no more than their length.
const FEW_RUNS: usize = 4;

/// Why bytes are not an encoded set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an encoded set of batch numbers is damaged; check the disk, and the versions of the agents"
)]
pub struct MalformedIntervals;

impl IntervalSet {
    /// The set of nothing.
    pub const EMPTY: Self = Self { runs: Runs::Many(Vec::new()) };

    /// Creates a set of these runs, which must be ordered, disjoint and not adjacent.
    fn of_runs(mut runs: Vec<Range<u64>>) -> Self {
        let single = if runs.len() == 1 { runs.pop() } else { None };
        Self { runs: single.map_or(Runs::Many(runs), Runs::One) }
    }

    /// Returns `true` if the set is empty.
    pub fn is_empty(&self) -> bool {
        self.runs().is_empty()
    }

    /// Returns the number of values in the set.
    pub fn count(&self) -> u64 {
        self.runs().iter().map(|run| run.end - run.start).sum()
    }

    /// The runs, in order, each half open.
    pub fn runs(&self) -> &[Range<u64>] {
        match &self.runs {
            Runs::One(run) => std::slice::from_ref(run),
            Runs::Many(runs) => runs,
        }
    }

    /// Every number, in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.runs().iter().cloned().flatten()
    }

    /// The lowest number.
    pub fn first(&self) -> Option<u64> {
        self.runs().first().map(|run| run.start)
    }

    /// The highest number.
    pub fn last(&self) -> Option<u64> {
        self.runs().last().map(|run| run.end - 1)
    }

    /// Returns `true` if `value` is in the set.
    pub fn contains(&self, value: u64) -> bool {
        let runs = self.runs();
        let after = runs.partition_point(|run| run.start <= value);
        after > 0 && value < runs[after - 1].end
    }

    /// Adds `value`; returns whether it was new. `u64::MAX` is never added, because no half-open
    /// run can contain it.
    pub fn insert(&mut self, value: u64) -> bool {
        let Some(end) = value.checked_add(1).filter(|_| !self.contains(value)) else {
            return false;
        };
        self.insert_range(value..end);
        true
    }

    /// Adds every number of `range`.
    pub fn insert_range(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        match &mut self.runs {
            Runs::One(run) if run.start <= range.end && range.start <= run.end => {
                *run = run.start.min(range.start)..run.end.max(range.end);
            }
            Runs::One(run) => {
                let mut two = vec![run.clone(), range];
                two.sort_unstable_by_key(|run| run.start);
                self.runs = Runs::Many(two);
            }
            Runs::Many(runs) if runs.is_empty() => self.runs = Runs::One(range),
            Runs::Many(runs) => {
                // The runs that touch or overlap the range become one with it.
                let low = runs.partition_point(|run| run.end < range.start);
                let high = runs.partition_point(|run| run.start <= range.end);
                if low == high {
                    runs.insert(low, range);
                    return;
                }
                let start = range.start.min(runs[low].start);
                let end = range.end.max(runs[high - 1].end);
                runs[low] = start..end;
                runs.drain(low + 1..high);
                if runs.len() == 1 {
                    self.runs = Runs::One(start..end);
                }
            }
        }
    }

    /// Removes `value`; returns whether it was in the set.
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
        let runs = self.runs();
        let low = runs.partition_point(|run| run.end <= range.start);
        let high = runs.partition_point(|run| run.start < range.end);
        if low >= high {
            return;
        }
        let before = runs[low].start..range.start;
        let after = range.end..runs[high - 1].end;
        let rest = [before, after].into_iter().filter(|run| !run.is_empty());
        match &mut self.runs {
            Runs::One(_) => *self = Self::of_runs(rest.collect()),
            Runs::Many(runs) => {
                runs.splice(low..high, rest);
                if runs.len() == 1 {
                    *self = Self::of_runs(std::mem::take(runs));
                }
            }
        }
    }

    /// Adds every number of `other`.
    pub fn insert_all(&mut self, other: &Self) {
        let (mine, theirs) = (self.runs(), other.runs());
        if theirs.len() <= FEW_RUNS {
            theirs.iter().for_each(|run| self.insert_range(run.clone()));
            return;
        }
        let mut both = Vec::with_capacity(mine.len() + theirs.len());
        let (mut left, mut right) = (mine.iter().peekable(), theirs.iter().peekable());
        while let Some(run) = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) if a.start <= b.start => left.next(),
            (_, Some(_)) => right.next(),
            (_, None) => left.next(),
        } {
            append(&mut both, run.clone());
        }
        *self = Self::of_runs(both);
    }

    /// Removes every number of `other`.
    pub fn remove_all(&mut self, other: &Self) {
        let (mine, theirs) = (self.runs(), other.runs());
        if theirs.len() <= FEW_RUNS {
            theirs.iter().for_each(|run| self.remove_range(run.clone()));
            return;
        }
        let mut rest = Vec::with_capacity(mine.len());
        let mut gone = theirs.iter().peekable();
        for run in mine {
            let mut start = run.start;
            while let Some(hole) = gone.peek().filter(|hole| hole.start < run.end) {
                append(&mut rest, start..hole.start.max(start));
                start = start.max(hole.end).min(run.end);
                // A hole beyond the end of this run may reach into the next one.
                if hole.end > run.end {
                    break;
                }
                gone.next();
            }
            append(&mut rest, start..run.end);
        }
        *self = Self::of_runs(rest);
    }

    /// The numbers that are in both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Vec::new();
        let (mine, theirs) = (self.runs(), other.runs());
        if let ([a], [b]) = (mine, theirs) {
            return Self::from(a.start.max(b.start)..a.end.min(b.end));
        }
        let (mut left, mut right) = (0, 0);
        while let (Some(a), Some(b)) = (mine.get(left), theirs.get(right)) {
            append(&mut both, a.start.max(b.start)..a.end.min(b.end));
            if a.end <= b.end {
                left += 1;
            } else {
                right += 1;
            }
        }
        Self::of_runs(both)
    }

    /// Returns the numbers of this set that are not in `other`.
    pub fn difference(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.remove_all(other);
        rest
    }

    /// Appends the encoding to `out`.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_varint(out, self.runs().len() as u64);
        let mut end = 0;
        for run in self.runs() {
            put_varint(out, run.start - end);
            put_varint(out, run.end - run.start - 1);
            end = run.end;
        }
    }

    /// Decodes one set from the front of `input`.
    ///
    /// # Errors
    /// The bytes end too early, or a run exceeds `u64`.
    pub fn decode(input: &mut impl Buf) -> Result<Self, MalformedIntervals> {
        let count = get_varint(input).ok_or(MalformedIntervals)?;
        // Each run takes at least two bytes, which bounds the allocation for a forged count.
        if count > input.remaining() as u64 / 2 {
            return Err(MalformedIntervals);
        }
        let mut runs = Vec::with_capacity(if count == 1 { 0 } else { count as usize });
        let mut end: u64 = 0;
        for _ in 0..count {
            let gap = get_varint(input).ok_or(MalformedIntervals)?;
            let more = get_varint(input).ok_or(MalformedIntervals)?;
            let start = end.checked_add(gap).ok_or(MalformedIntervals)?;
            end =
                start.checked_add(more).and_then(|e| e.checked_add(1)).ok_or(MalformedIntervals)?;
            if count == 1 {
                return Ok(Self { runs: Runs::One(start..end) });
            }
            append(&mut runs, start..end);
        }
        Ok(Self::of_runs(runs))
    }
}

/// Adds a range that does not begin before the last run.
fn append(runs: &mut Vec<Range<u64>>, range: Range<u64>) {
    match runs.last_mut() {
        _ if range.is_empty() => {}
        Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
        _ => runs.push(range),
    }
}

impl Default for IntervalSet {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl PartialEq for IntervalSet {
    fn eq(&self, other: &Self) -> bool {
        self.runs() == other.runs()
    }
}

impl Eq for IntervalSet {}

impl Hash for IntervalSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.runs().hash(state);
    }
}

impl fmt::Debug for IntervalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.runs()).finish()
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
mod tests;
