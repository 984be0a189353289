//! Applications that write log files on an edge's disk: numbered lines, with rotation.
//!
//! Every write is synced: the guarantee covers lines on the disk, not lines that the application
//! lost itself.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipeline::env::{Disk, OpenMode};

use crate::dice::Dice;
use crate::machine::Machine;

/// Directory of the log files.
pub(crate) const DIRECTORY: &str = "/logs";

/// Size at which a file is rotated.
const ROTATE_BYTES: u64 = 12 << 10;

/// An application that writes log files.
pub(crate) struct Application {
    machine: Arc<Machine>,
    dice: Dice,
    body_bytes: usize,
    /// Number of the next line.
    next: u64,
    end: u64,
    len: u64,
    rotated: u32,
}

impl Application {
    /// Creates an application that will write `count` lines of this size.
    pub(crate) fn new(machine: Arc<Machine>, dice: Dice, count: u64, body_bytes: usize) -> Self {
        let (next, len, rotated) = (0, 0, 0);
        Self { machine, dice, body_bytes, next, end: count, len, rotated }
    }

    /// Returns whether it has written all of its lines.
    pub(crate) fn is_done(&self) -> bool {
        self.next == self.end
    }

    /// Writes a few lines. After a disk error, it retries later.
    pub(crate) fn work(&mut self) {
        if !self.machine.takes_writes() {
            return;
        }
        let lines = self.dice.between(1, 12).min(self.end - self.next);
        let mut text = String::new();
        for number in self.next..self.next + lines {
            let width = self.body_bytes;
            text.push_str(&format!("{number:.<width$}\n"));
        }
        if self.append(text.as_bytes()).is_ok() {
            self.next += lines;
            self.len += text.len() as u64;
        }
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        let (disk, directory) = (self.machine.disk(), Path::new(DIRECTORY));
        let path = directory.join("app.log");
        if self.len > ROTATE_BYTES {
            let to: PathBuf = directory.join(format!("app.log.{}", self.rotated + 1));
            disk.rename(&path, &to)?;
            disk.sync_dir(directory)?;
            (self.rotated, self.len) = (self.rotated + 1, 0);
        }
        disk.create_dir_all(directory)?;
        let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
        let file = disk.open(&path, mode)?;
        disk.sync_dir(directory)?;
        file.write_at(&[IoSlice::new(text)], self.len, true)
    }
}
