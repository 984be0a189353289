//! The lines that a reader finds in each directory. Each step of a merge must preserve them, which
//! is checked after every call on one of its files.

use std::collections::BTreeMap;

use ledger::Merge;
use storage::memory::Memory;

use crate::asked::{PREFIX, ROOT};
use crate::form::{Form, Found};

/// The lines of each directory, and the merges that entries name.
#[derive(Debug, Default)]
pub(crate) struct Shelves {
    /// Format of the files.
    form: Form,
    lines: BTreeMap<String, Lines>,
    /// With their dataset.
    merges: Vec<(String, Merge)>,
}

/// A multiset of lines: their number, and the sum of their hashes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Lines {
    count: u64,
    sum: u64,
}

impl Lines {
    fn add(&mut self, events: &[Found]) {
        for event in events {
            // FNV-1a, because a plain sum of bytes cannot tell similar lines apart.
            let hash = event.body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
            });
            self.count += 1;
            self.sum = self.sum.wrapping_add(hash);
        }
    }
}

impl Shelves {
    /// Creates empty shelves for files of this form.
    pub(crate) fn new(form: Form) -> Self {
        Self { form, ..Self::default() }
    }

    /// Adds a visible file.
    pub(crate) fn add(&mut self, path: &str, events: &[Found]) {
        let (directory, _) = storage::split(path);
        self.lines.entry(directory.to_owned()).or_default().add(events);
    }

    /// Records a merge named by an entry. Returns an error in it.
    pub(crate) fn merge(&mut self, memory: &Memory, dataset: &str, merge: Merge) -> Option<String> {
        let files = [&merge.target].into_iter().chain(&merge.sources);
        let mut told = None;
        for file in files {
            let there = memory.file(&format!("{PREFIX}/{}", file.target));
            if there.is_none_or(|content| content.len() as u64 != file.len) {
                told = Some(format!("merges {}, which is not so", file.target));
            }
        }
        let copy = memory.file(&format!("{ROOT}{dataset}/{}", merge.copy));
        // It may be deleted at any time, but is complete while it exists.
        if copy.is_some_and(|copy| copy.len() as u64 != merge.bytes()) {
            told = Some(format!("merges into {}, which is not whole", merge.copy));
        }
        self.merges.push((dataset.to_owned(), merge));
        told
    }

    /// Checks files that were concatenated. Returns an error.
    pub(crate) fn put_together(
        &self,
        memory: &Memory,
        target: &str,
        sources: &[String],
    ) -> Vec<String> {
        let path = |below: &str| format!("{PREFIX}/{below}");
        let is_named = self.merges.iter().any(|(_, merge)| {
            let named = merge.sources.iter().map(|file| path(&file.target));
            path(&merge.target.target) == target && named.eq(sources.iter().cloned())
        });
        let foreign = format!("files were put into {target} without an entry");
        let mut told = if is_named { Vec::new() } else { vec![foreign] };
        told.extend(self.changed(memory, target));
        told
    }

    /// Checks a file that replaced another one. Returns the errors.
    pub(crate) fn replaced(&self, memory: &Memory, from: &str, to: &str) -> Vec<String> {
        let is_named = self.merges.iter().any(|(dataset, merge)| {
            format!("{ROOT}{dataset}/{}", merge.copy) == from
                && format!("{PREFIX}/{}", merge.target.target) == to
        });
        let foreign = format!("{to} was replaced without an entry");
        let mut told = if is_named { Vec::new() } else { vec![foreign] };
        told.extend(self.changed(memory, to));
        told
    }

    /// Returns an error if a reader of this file's directory finds other lines than were written.
    fn changed(&self, memory: &Memory, path: &str) -> Option<String> {
        let (directory, _) = storage::split(path);
        let mut found = Lines::default();
        for (path, content) in memory.files() {
            if storage::split(&path).0 == directory {
                match self.form.events(&content) {
                    Ok(events) => found.add(&events),
                    Err(damage) => return Some(format!("{path} is no whole file: {damage}")),
                }
            }
        }
        let expected = self.lines.get(directory).copied().unwrap_or_default();
        (found != expected).then(|| {
            let (found, expected) = (found.count, expected.count);
            format!("a reader of {directory} finds {found} lines, of {expected}, or others")
        })
    }
}
