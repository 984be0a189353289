//! The text at the start of the demo: what it does, how long it takes, and what it uses.

use std::fmt;
use std::path::Path;

use crate::input::{Measured, WRITTEN_LINES};
use crate::progress::{grouped, megabytes};

/// Bytes of the log that the demo writes, about.
const WRITTEN_BYTES: u64 = 49_000_000;

/// Disk space of the segments that the channels of three agents allocate in advance.
const DISK_BASE: u64 = 250_000_000;

/// Disk space per byte of input, in addition: the log, the channels and the store.
const DISK_FACTOR: u64 = 3;

/// Facts about a demo that has not started yet.
pub(crate) struct Intro<'a> {
    /// What the collectors do with lines.
    pub(crate) summary: &'a str,
    /// The seed of the log that the demo writes; none with files of the user.
    pub(crate) seed: Option<u64>,
    /// The files of the user.
    pub(crate) due: &'a [Measured],
    /// The folder of the demo.
    pub(crate) folder: &'a Path,
}

impl fmt::Display for Intro<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "An edge sends log lines to two collectors, which {}.\n\
             Half-way one collector is killed (kill -9) and restarted 2 s later.\n\
             At the end every line in the store is compared with the log.\n",
            self.summary
        )?;
        let bytes = match self.seed {
            Some(seed) => {
                let (lines, size) = (grouped(WRITTEN_LINES), megabytes(WRITTEN_BYTES));
                writeln!(f, "input  a log of {lines} lines, {size}, written now (--seed {seed})")?;
                writeln!(f, "time   about 12 seconds")?;
                WRITTEN_BYTES
            }
            None => {
                let lines = grouped(self.due.iter().map(|file| file.lines).sum());
                let bytes = self.due.iter().map(|file| file.bytes).sum();
                let (files, size) = (self.due.len(), megabytes(bytes));
                writeln!(f, "input  {lines} lines, {size}, in {files} of your files; only read")?;
                writeln!(f, "time   a few seconds, and about a second for every 10 MB")?;
                bytes
            }
        };
        let (disk, folder) = (megabytes(DISK_BASE + bytes * DISK_FACTOR), self.folder.display());
        writeln!(f, "disk   up to {disk} below {folder}, nothing elsewhere")?;
        writeln!(f, "ports  five, on 127.0.0.1 only")?;
        writeln!(f, "stop   Ctrl-C stops all processes and removes the folder")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_input_disk_and_folder() {
        let folder = Path::new("/tmp/aqueduct-demo-x");
        let summary = "store them in files";
        let text = Intro { summary, seed: Some(7), due: &[], folder }.to_string();
        for part in [
            "which store them in files.\nHalf-way",
            "400,000 lines",
            "--seed 7",
            "below /tmp/aqueduct-demo-x",
            "127.0.0.1",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let due = [Measured { path: "/a".into(), bytes: 2_000_000, lines: 1_000, unended: 0 }];
        let text = Intro { summary, seed: None, due: &due, folder }.to_string();
        assert!(text.contains("1,000 lines, 2.0 MB, in 1 of your files"), "{text}");
        assert!(!text.contains("--seed"), "{text}");
    }
}
