//! The report of the demo: one row for each number, which a script can read, too.

use std::fmt;
use std::time::Duration;

use crate::progress::{grouped, megabytes};
use crate::reconcile::Differences;

/// The result of the demo.
#[derive(Debug)]
pub(crate) struct Report {
    /// Lines that must be stored.
    pub(crate) read: u64,
    /// Lines in the store.
    pub(crate) stored: u64,
    /// Lines that were added while the demo ran; the edge may have read some of them.
    pub(crate) later: u64,
    /// Lines that the edge cut to its maximum.
    pub(crate) cut: u64,
    /// Bytes of incomplete lines.
    pub(crate) unended: u64,
    pub(crate) differences: Differences,
    /// Whether the edge's account and the commit ledger agree.
    pub(crate) proved: bool,
    pub(crate) read_bytes: u64,
    pub(crate) read_files: usize,
    pub(crate) stored_bytes: u64,
    pub(crate) stored_files: usize,
    /// From the first line to the last visible file.
    pub(crate) elapsed: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Differences { missing, repeated, foreign } = self.differences;
        for (name, number, unit) in [
            ("read", self.read, " lines"),
            ("stored", self.stored, " lines"),
            ("missing", missing, ""),
            ("repeated", repeated, ""),
        ] {
            writeln!(f, "{name:<9} {:>12}{unit}", grouped(number))?;
        }
        let proved = if self.proved { "yes" } else { "NO" };
        writeln!(f, "proved    {proved:>12} by the edge's account and the commit ledger")?;
        for (name, number, what) in [
            ("unknown", foreign, "lines that are in no input file"),
            (
                "later",
                self.later,
                "lines added during the demo: stored as far as the edge read them",
            ),
            ("cut", self.cut, "lines longer than the maximum of the edge: cut there"),
            ("waiting", self.unended, "bytes after the last line end: not a line yet"),
        ] {
            if number > 0 {
                writeln!(f, "{name:<9} {:>12} {what}", grouped(number))?;
            }
        }
        let Self { read_files, stored_files, .. } = self;
        let (read, stored) = (megabytes(self.read_bytes), megabytes(self.stored_bytes));
        writeln!(
            f,
            "size      {read:>12} in {read_files} files, {stored} in {stored_files} files"
        )?;
        let seconds = self.elapsed.as_secs_f64();
        let lines = grouped((self.read as f64 / seconds) as u64);
        let bytes = megabytes((self.read_bytes as f64 / seconds) as u64);
        writeln!(
            f,
            "rate      {lines:>12} lines/s, {bytes}/s, from first line to last visible file"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_missing_and_repeated_always_and_other_rows_if_not_zero() {
        let mut report = Report {
            read: 1_000,
            stored: 1_001,
            later: 0,
            cut: 0,
            unended: 0,
            differences: Differences { missing: 0, repeated: 1, foreign: 0 },
            proved: true,
            read_bytes: 2_000_000,
            read_files: 1,
            stored_bytes: 2_002_000,
            stored_files: 3,
            elapsed: Duration::from_secs(2),
        };
        let expected = "\
read             1,000 lines
stored           1,001 lines
missing              0
repeated             1
proved             yes by the edge's account and the commit ledger
size            2.0 MB in 1 files, 2.0 MB in 3 files
rate               500 lines/s, 1.0 MB/s, from first line to last visible file
";
        assert_eq!(report.to_string(), expected);

        report.later = 7;
        report.differences.foreign = 2;
        let text = report.to_string();
        assert!(
            text.contains("\nunknown              2 lines that are in no input file\n"),
            "{text}"
        );
        assert!(text.contains("\nlater                7 lines added during the demo"), "{text}");
    }
}
