//! Counts how often the store shows every serial number.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::load::rest_of_line;
use crate::store::Store;

/// Differences between stored and written lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Difference {
    /// Written but not stored.
    pub(crate) missing: u64,
    /// Number of duplicates.
    pub(crate) repeated: u64,
    /// Stored, but never written like this.
    pub(crate) foreign: u64,
}

impl Difference {
    /// Returns whether every line is stored once.
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Adds other counts.
    pub(crate) fn add(&mut self, other: &Self) {
        self.missing += other.missing;
        self.repeated += other.repeated;
        self.foreign += other.foreign;
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { missing, repeated, foreign } = self;
        write!(f, "{missing} missing, {repeated} repeated, {foreign} foreign")
    }
}

/// The lines seen so far. If finished files never change, each is read once.
#[derive(Debug, Default)]
pub(crate) struct Count {
    files: BTreeSet<String>,
    /// For each writer, how often each serial was seen.
    seen: BTreeMap<String, Vec<u8>>,
    foreign: u64,
}

impl Count {
    /// Reads new files, or all files if they may have changed. Returns whether none has disappeared
    /// meanwhile.
    pub(crate) fn read(&mut self, store: &Store) -> bool {
        if store.changes_files() {
            *self = Self::default();
        }
        let listed = store.files();
        let new: Vec<&String> = listed.iter().filter(|path| !self.files.contains(*path)).collect();
        for some in new.chunks(200) {
            let some: Vec<&str> = some.iter().map(|path| path.as_str()).collect();
            let Some(lines) = store.lines(&some) else { return false };
            self.add(&lines);
        }
        self.files.extend(listed);
        true
    }

    fn add(&mut self, bytes: &[u8]) {
        for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            match parse(line) {
                Some((name, serial)) => {
                    let seen = self.seen.entry(name.to_owned()).or_default();
                    seen.resize(seen.len().max(serial + 1), 0);
                    seen[serial] = seen[serial].saturating_add(1);
                }
                None => self.foreign += 1,
            }
        }
    }

    /// Compares with the number of lines that each writer has written.
    pub(crate) fn against(&self, written: &[(&str, u64)]) -> Difference {
        let mut found = Difference { foreign: self.foreign, ..Difference::default() };
        for (name, seen) in &self.seen {
            let lines = written.iter().find(|(known, _)| known == name).map_or(0, |(_, n)| *n);
            let beyond = seen.iter().skip(lines as usize).filter(|&&count| count > 0).count();
            found.foreign += beyond as u64;
        }
        for &(name, lines) in written {
            let seen = self.seen.get(name).map_or(&[][..], Vec::as_slice);
            let lines = lines as usize;
            let known = &seen[..seen.len().min(lines)];
            found.missing += (lines - known.len()) as u64;
            found.missing += known.iter().filter(|&&count| count == 0).count() as u64;
            found.repeated += known.iter().map(|&n| u64::from(n.saturating_sub(1))).sum::<u64>();
        }
        found
    }
}

/// Parses writer and serial number of a line, if it is complete and unchanged.
fn parse(line: &[u8]) -> Option<(&str, usize)> {
    let mut words = std::str::from_utf8(line).ok()?.splitn(3, ' ');
    let (name, serial, rest) = (words.next()?, words.next()?, words.next()?);
    let serial = serial.parse().ok()?;
    (rest == rest_of_line(serial)).then_some((name, serial as usize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::line;

    #[test]
    fn each_kind_of_difference_is_counted() {
        let mut count = Count::default();
        let stored = [line("a", 0), line("a", 2), line("a", 2), line("b", 0), line("a", 9)];
        count.add(stored.concat().as_bytes());
        count.add(b"a 000000000001 GET /\n");
        let found = count.against(&[("a", 4), ("b", 1), ("c", 2)]);
        assert_eq!(found, Difference { missing: 2 + 2, repeated: 1, foreign: 2 }, "{found}");
    }
}
