//! Every line that was read against every line that is stored, however often each is there.
//!
//! A line is known by a 64-bit hash, so a line costs eight bytes on each side, whatever its length.
//! Two different lines with the same hash would hide an error only if one of them were lost and the
//! other repeated: for ten million lines that is a chance of one in 300,000 that any two are alike.

use xxhash_rust::xxh3::xxh3_64;

/// Lines, counted one by one: identical ones count as often as they are there.
#[derive(Debug, Default)]
pub(super) struct Lines {
    hashes: Vec<u64>,
    /// Lines that were longer than an edge keeps.
    cut: u64,
    /// The beginning of a line whose end was not seen yet.
    open: Vec<u8>,
}

/// What is different.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Differences {
    /// Lines that were read and are not stored, or not as often.
    pub(super) missing: u64,
    /// Lines that are stored more often than they were read.
    pub(super) repeated: u64,
    /// Lines that are stored and were in no file.
    pub(super) foreign: u64,
}

impl Lines {
    /// Takes a piece of a file; lines may go on in the next one. A line is cut at `LINE_MAX`, as
    /// the edge does it.
    pub(super) fn take(&mut self, piece: &[u8]) {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', piece) {
            if self.open.is_empty() {
                self.line(&piece[start..end]);
            } else {
                let mut line = std::mem::take(&mut self.open);
                line.extend_from_slice(&piece[start..end]);
                self.line(&line);
                line.clear();
                self.open = line;
            }
            start = end + 1;
        }
        self.open.extend_from_slice(&piece[start..]);
    }

    /// Ends a file: what has no line end is no line.
    pub(super) fn end_file(&mut self) {
        self.open.clear();
    }

    pub(super) fn count(&self) -> u64 {
        self.hashes.len() as u64
    }

    /// Lines that are stored up to [`LINE_MAX`].
    pub(super) fn cut(&self) -> u64 {
        self.cut
    }

    fn line(&mut self, line: &[u8]) {
        self.cut += u64::from(line.len() > LINE_MAX);
        self.hashes.push(xxh3_64(&line[..line.len().min(LINE_MAX)]));
    }
}

/// Longest line that an edge keeps whole, unless its configuration says otherwise.
const LINE_MAX: usize = 1 << 20;

/// Compares what must be stored, what may be stored in addition, and what is.
pub(super) fn compare(mut due: Lines, mut allowed: Lines, mut stored: Lines) -> Differences {
    for lines in [&mut due, &mut allowed, &mut stored] {
        lines.hashes.sort_unstable();
    }
    let mut differences = Differences::default();
    let (mut due, mut allowed, mut stored) =
        (Runs(&due.hashes), Runs(&allowed.hashes), Runs(&stored.hashes));
    while let Some(hash) = [due.next(), allowed.next(), stored.next()].into_iter().flatten().min() {
        let (due, allowed, stored) = (due.take(hash), allowed.take(hash), stored.take(hash));
        differences.missing += due.saturating_sub(stored);
        let extra = stored.saturating_sub(due + allowed);
        if due + allowed > 0 {
            differences.repeated += extra;
        } else {
            differences.foreign += extra;
        }
    }
    differences
}

/// Sorted hashes, taken run by run.
struct Runs<'a>(&'a [u64]);

impl Runs<'_> {
    fn next(&self) -> Option<u64> {
        self.0.first().copied()
    }

    /// How often `hash` comes next.
    fn take(&mut self, hash: u64) -> u64 {
        let run = self.0.partition_point(|other| *other <= hash);
        let (taken, rest) = self.0.split_at(run);
        self.0 = rest;
        taken.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn identical_lines_count_as_often_as_they_are_there() {
        let found = compare(lines("a\na\nb\n"), lines(""), lines("a\nb\nb\nc\n"));
        assert_eq!(found, Differences { missing: 1, repeated: 1, foreign: 1 });
    }

    #[test]
    fn what_came_later_may_be_stored_and_need_not() {
        let later = || lines("x\ny\n");
        assert_eq!(compare(lines("a\n"), later(), lines("x\na\n")), Differences::default());
        let found = compare(lines("a\n"), later(), lines("x\na\nx\n"));
        assert_eq!(found, Differences { repeated: 1, ..Differences::default() });
    }

    #[test]
    fn a_line_without_its_end_is_no_line() {
        let mut taken = lines("a\nb");
        taken.end_file();
        taken.take(b"c\n");
        assert_eq!(compare(lines("a\nc\n"), lines(""), taken), Differences::default());
    }

    proptest! {
        #[test]
        fn it_is_the_difference_of_multisets_however_files_are_cut(
            due in proptest::collection::vec("[ab]{0,2}\n", 0..30),
            stored in proptest::collection::vec("[abc]{0,2}\n", 0..30),
            cut in 1usize..7,
        ) {
            let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
            for line in &due { *counts.entry(line).or_default() += 1; }
            let known = counts.clone();
            for line in &stored { *counts.entry(line).or_default() -= 1; }
            let missing: i64 = counts.values().filter(|n| **n > 0).sum();
            let over = |known_line: bool| -> i64 {
                let is_known = |line: &str| known.contains_key(line) == known_line;
                let over = counts.iter().filter(|(line, n)| **n < 0 && is_known(line));
                over.map(|(_, n)| -n).sum()
            };
            let mut taken = Lines::default();
            for piece in stored.concat().as_bytes().chunks(cut) { taken.take(piece); }
            let found = compare(lines(&due.concat()), lines(""), taken);
            prop_assert_eq!(found, Differences {
                missing: missing as u64,
                repeated: over(true) as u64,
                foreign: over(false) as u64,
            });
        }
    }

    fn lines(text: &str) -> Lines {
        let mut lines = Lines::default();
        lines.take(text.as_bytes());
        lines
    }
}
