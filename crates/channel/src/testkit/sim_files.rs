//! Files and names of a [`SimDisk`](super::SimDisk): their current state, and their state after a
//! power cut.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The unit of torn writes: a disk writes whole sectors.
pub(super) const SECTOR: usize = 512;

/// A change of a file that is not durable yet.
#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

/// A file: its visible contents, and its contents on the disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    pub(super) now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

fn write(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if content.len() < offset + bytes.len() {
        content.resize(offset + bytes.len(), 0);
    }
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl Inode {
    /// A file with this content, which is on the disk.
    pub(super) fn durable(content: Vec<u8>) -> Self {
        Self { durable: content.clone(), now: content, pending: Vec::new() }
    }

    /// Writes; a durable write is on the disk when it returns, and nothing else is by it.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8], durable: bool) {
        write(&mut self.now, offset, bytes);
        if durable && self.durable.len() >= offset + bytes.len() {
            write(&mut self.durable, offset, bytes);
        } else if durable {
            // It changes the length, which makes all metadata of the file durable.
            self.sync();
        } else {
            self.pending.push(Change::Write { offset, bytes: bytes.to_vec() });
        }
    }

    /// A write that an immediate power cut tears: any part of it may be stored.
    pub(super) fn write_torn(&mut self, offset: usize, bytes: &[u8]) {
        write(&mut self.now, offset, bytes);
        self.pending.push(Change::Write { offset, bytes: bytes.to_vec() });
    }

    pub(super) fn set_len(&mut self, len: usize) {
        self.now.resize(len, 0);
        self.pending.push(Change::Length(len));
    }

    pub(super) fn sync(&mut self) {
        self.pending.clear();
        self.durable.clone_from(&self.now);
    }

    /// Cuts the power: any sectors of unsynced writes may be stored.
    pub(super) fn crash(&mut self, mut random: impl FnMut() -> u64) {
        // Sometimes all of it is stored, sometimes nothing, mostly a part.
        let mode = random() % 4;
        let mut arrives = || match mode {
            0 => false,
            1 => true,
            _ => random().is_multiple_of(2),
        };
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Length(len) if arrives() => self.durable.resize(len, 0),
                Change::Length(_) => {}
                Change::Write { offset, bytes } => {
                    let mut at = 0;
                    while at < bytes.len() {
                        let to_border = SECTOR - (offset + at) % SECTOR;
                        let end = (at + to_border).min(bytes.len());
                        if arrives() {
                            write(&mut self.durable, offset + at, &bytes[at..end]);
                        }
                        at = end;
                    }
                }
            }
        }
        self.now.clone_from(&self.durable);
    }
}

/// A change of names that is not durable yet; `None` removes.
type NameChange = Vec<(PathBuf, Option<u64>)>;

/// Names: the visible ones, those on the disk, and the changes between them per directory, in
/// order.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    pub(super) now: BTreeMap<PathBuf, u64>,
    durable: BTreeMap<PathBuf, u64>,
    pending: Vec<(PathBuf, NameChange)>,
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, change: &NameChange) {
    for (path, inode) in change {
        match inode {
            Some(inode) => names.insert(path.clone(), *inode),
            None => names.remove(path),
        };
    }
}

impl Names {
    /// Changes names within `directory`, atomically.
    pub(super) fn change(&mut self, directory: &Path, change: NameChange) {
        apply(&mut self.now, &change);
        self.pending.push((directory.to_owned(), change));
    }

    /// All names below `directory` are these, durably.
    pub(super) fn replace(&mut self, directory: &Path, names: &[(PathBuf, u64)]) {
        self.pending.retain(|(of, _)| !of.starts_with(directory));
        for all in [&mut self.now, &mut self.durable] {
            all.retain(|path, _| !path.starts_with(directory));
            all.extend(names.iter().cloned());
        }
    }

    /// The names in `directory` are durable.
    pub(super) fn sync(&mut self, directory: &Path) {
        for (_, change) in self.pending.extract_if(.., |(of, _)| of == directory) {
            apply(&mut self.durable, &change);
        }
    }

    /// The power is cut: of each directory's changes the first few arrived.
    pub(super) fn crash(&mut self, mut random: impl FnMut() -> u64) {
        let mut cut: BTreeMap<PathBuf, bool> = BTreeMap::new();
        for (directory, change) in std::mem::take(&mut self.pending) {
            let lost = cut.entry(directory).or_insert(false);
            *lost |= random().is_multiple_of(2);
            if !*lost {
                apply(&mut self.durable, &change);
            }
        }
        self.now.clone_from(&self.durable);
    }
}
