//! Compares the lines in the input with the lines in the store, as multisets.
//!
//! Each line is kept as a 64-bit hash: eight bytes per line and side. A collision hides an error
//! only if one of the two lines is missing and the other one repeated. Among ten million lines the
//! probability of any collision is 1 in 300,000.

use xxhash_rust::xxh3::xxh3_64;

/// A multiset of lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    hashes: Vec<u64>,
    /// Lines longer than the maximum of the edge.
    cut: u64,
    /// The beginning of an incomplete line.
    open: Vec<u8>,
}

/// Differences between input and store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Differences {
    /// Input lines that are not stored, or not as often.
    pub(crate) missing: u64,
    /// Lines that are stored more often than they are in the input.
    pub(crate) repeated: u64,
    /// Stored lines that are in no input file.
    pub(crate) foreign: u64,
}

impl Lines {
    /// Adds a piece of a file; its last line may continue in the next piece. Lines are cut at
    /// `LINE_MAX`, as the edge does.
    pub(crate) fn take(&mut self, piece: &[u8]) {
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

    /// Ends a file, and drops an incomplete line.
    pub(crate) fn end_file(&mut self) {
        self.open.clear();
    }

    pub(crate) fn count(&self) -> u64 {
        self.hashes.len() as u64
    }

    /// Lines that are cut at [`LINE_MAX`].
    pub(crate) fn cut(&self) -> u64 {
        self.cut
    }

    /// Adds a line without its end.
    pub(crate) fn line(&mut self, line: &[u8]) {
        self.cut += u64::from(line.len() > LINE_MAX);
        self.hashes.push(xxh3_64(&line[..line.len().min(LINE_MAX)]));
    }
}

/// The default maximum of a line at the edge.
const LINE_MAX: usize = 1 << 20;

/// Compares the lines that must be stored, and those that may be, with the stored ones.
pub(crate) fn compare(mut due: Lines, mut allowed: Lines, mut stored: Lines) -> Differences {
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

/// Sorted hashes, consumed run by run.
struct Runs<'a>(&'a [u64]);

impl Runs<'_> {
    fn next(&self) -> Option<u64> {
        self.0.first().copied()
    }

    /// Consumes the run of `hash`, and returns its length.
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
    fn counts_identical_lines() {
        let found = compare(lines("a\na\nb\n"), lines(""), lines("a\nb\nb\nc\n"));
        assert_eq!(found, Differences { missing: 1, repeated: 1, foreign: 1 });
    }

    #[test]
    fn accepts_later_lines_stored_or_not() {
        let later = || lines("x\ny\n");
        assert_eq!(compare(lines("a\n"), later(), lines("x\na\n")), Differences::default());
        let found = compare(lines("a\n"), later(), lines("x\na\nx\n"));
        assert_eq!(found, Differences { repeated: 1, ..Differences::default() });
    }

    #[test]
    fn ignores_an_incomplete_line() {
        let mut taken = lines("a\nb");
        taken.end_file();
        taken.take(b"c\n");
        assert_eq!(compare(lines("a\nc\n"), lines(""), taken), Differences::default());
    }

    proptest! {
        #[test]
        fn equals_the_difference_of_multisets_for_any_pieces(
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
