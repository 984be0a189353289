//! The last words of the demo: one row for each number, so that a script can read them too.

use std::fmt;
use std::time::Duration;

use super::progress::{grouped, megabytes};
use super::reconcile::Differences;

/// What came out.
#[derive(Debug)]
pub(super) struct Report {
    /// Lines that had to be stored.
    pub(super) read: u64,
    /// Lines in the store.
    pub(super) stored: u64,
    /// Lines that came while the demo ran: stored as far as they were read.
    pub(super) later: u64,
    /// Lines that were longer than an edge keeps.
    pub(super) cut: u64,
    /// Bytes of lines that have no end yet.
    pub(super) unended: u64,
    pub(super) differences: Differences,
    /// Whether the edge's account and the ledger say the same.
    pub(super) proved: bool,
    pub(super) read_bytes: u64,
    pub(super) read_files: usize,
    pub(super) stored_bytes: u64,
    pub(super) stored_files: usize,
    /// From the first line to the last visible file.
    pub(super) elapsed: Duration,
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
            ("unknown", foreign, "lines that were in no file"),
            ("later", self.later, "lines came meanwhile: stored as far as they were read"),
            ("cut", self.cut, "lines longer than an edge keeps: stored up to there"),
            ("waiting", self.unended, "bytes behind the last line end: no line yet"),
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
    fn what_is_not_there_has_no_row_but_missing_and_repeated_always_have() {
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
        assert!(text.contains("\nunknown              2 lines that were in no file\n"), "{text}");
        assert!(text.contains("\nlater                7 lines came meanwhile"), "{text}");
    }
}
