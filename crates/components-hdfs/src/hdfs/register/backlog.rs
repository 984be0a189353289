//! Decides which partitions are due, from the notes of all collectors. Pure.
//!
//! # Rules (each has a test that fails without it)
//!
//! 1. A directory is due when it has a visible file, and not before.
//! 2. A directory without files is dropped only when everything that was on the stage at the first
//!    look is gone: until then, one of those files may become visible in it.
//! 3. A note is done when none of its directories is due.
//!
//! ```text
//!  UNKNOWN ─files─► READY ─registered─► done
//!     └─none─► EMPTY (with the staged files) ─files─► READY
//!                └─all of those are gone, and no files─► done
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Maximum number of directories in memory; further notes are read later.
const DUE_MAX: usize = 65_536;

/// The known notes, and the due directories of each.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    notes: BTreeMap<String, BTreeMap<String, Found>>,
}

/// State of a directory.
#[derive(Debug, Clone)]
enum Found {
    /// Not yet checked.
    Unknown,
    /// It had no files, while these were on the stage.
    Empty(Arc<BTreeSet<String>>),
    /// It has files.
    Ready,
}

impl Backlog {
    /// Updates the notes in the store. Returns the notes to read.
    pub(super) fn sees(&mut self, notes: Vec<String>) -> Vec<String> {
        let there: BTreeSet<String> = notes.into_iter().collect();
        // Another collector may have completed a note.
        self.notes.retain(|note, _| there.contains(note));
        let room = DUE_MAX.saturating_sub(self.notes.values().map(BTreeMap::len).sum());
        let new = there.into_iter().filter(|note| !self.notes.contains_key(note));
        new.take(room).collect()
    }

    /// Adds the directories of a note.
    pub(super) fn takes(&mut self, note: String, directories: impl Iterator<Item = String>) {
        let due = directories.map(|directory| (directory, Found::Unknown));
        self.notes.insert(note, due.collect());
    }

    /// Returns the directories to check.
    pub(super) fn unknown(&self) -> BTreeSet<String> {
        let due = self.notes.values().flatten();
        let unknown = due.filter(|(_, found)| !matches!(found, Found::Ready));
        unknown.map(|(directory, _)| directory.clone()).collect()
    }

    /// Records whether a directory has files. `staged` was on the stage before the check.
    pub(super) fn looked(
        &mut self,
        directory: &str,
        has_files: bool,
        staged: &Arc<BTreeSet<String>>,
    ) {
        for due in self.notes.values_mut() {
            let Some(found) = due.get_mut(directory) else { continue };
            let before = match found {
                Found::Ready => continue,
                Found::Unknown => staged.clone(),
                Found::Empty(before) => before.clone(),
            };
            if has_files {
                *found = Found::Ready;
            } else if before.is_disjoint(staged) {
                due.remove(directory);
            } else {
                *found = Found::Empty(before);
            }
        }
    }

    /// Returns the due directories, without duplicates.
    pub(super) fn ready(&self) -> impl Iterator<Item = &str> {
        let due = self.notes.values().flatten();
        let ready = due.filter(|(_, found)| matches!(found, Found::Ready));
        ready.map(|(directory, _)| directory.as_str()).collect::<BTreeSet<_>>().into_iter()
    }

    /// Records that a directory is registered.
    pub(super) fn registered(&mut self, directory: &str) {
        self.notes.values_mut().for_each(|due| drop(due.remove(directory)));
    }

    /// Returns the notes without due directories.
    pub(super) fn done(&self) -> Vec<String> {
        let done = self.notes.iter().filter(|(_, due)| due.is_empty());
        done.map(|(note, _)| note.clone()).collect()
    }

    /// Records that a note was removed.
    pub(super) fn forget(&mut self, note: &str) {
        self.notes.remove(note);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staged(names: &[&str]) -> Arc<BTreeSet<String>> {
        Arc::new(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn backlog(notes: &[(&str, &[&str])]) -> Backlog {
        let mut backlog = Backlog::default();
        let all = notes.iter().map(|(note, _)| (*note).to_owned()).collect();
        assert_eq!(backlog.sees(all).len(), notes.len());
        for (note, directories) in notes {
            let directories = directories.iter().map(|it| (*it).to_owned());
            backlog.takes((*note).to_owned(), directories);
        }
        backlog
    }

    fn ready(backlog: &Backlog) -> Vec<&str> {
        backlog.ready().collect()
    }

    #[test]
    fn directories_are_due_with_a_file_and_notes_end_with_the_last_one() {
        let mut backlog = backlog(&[("n1", &["a", "b"]), ("n2", &["a"])]);
        assert_eq!(ready(&backlog), [""; 0]);
        backlog.looked("a", true, &staged(&["x"]));
        backlog.looked("b", false, &staged(&["x"]));
        assert_eq!(ready(&backlog), ["a"]);
        backlog.registered("a");
        assert_eq!(backlog.done(), ["n2"]);
        backlog.forget("n2");
        assert_eq!(Vec::from_iter(backlog.unknown()), ["b"]);
        backlog.looked("b", true, &staged(&[]));
        assert_eq!(ready(&backlog), ["b"]);
        backlog.registered("b");
        assert_eq!(backlog.done(), ["n1"]);
    }

    #[test]
    fn waits_for_staged_files() {
        let mut backlog = backlog(&[("n", &["a"])]);
        backlog.looked("a", false, &staged(&["x", "y"]));
        backlog.looked("a", false, &staged(&["y", "of another roll"]));
        assert_eq!(backlog.done(), [""; 0], "y may be of this directory");
        backlog.looked("a", false, &staged(&["of another roll"]));
        assert_eq!(backlog.done(), ["n"], "nothing of it is left");
    }

    #[test]
    fn forgets_work_of_others_and_reads_nothing_twice() {
        let mut backlog = backlog(&[("n1", &["a"]), ("n2", &["b"])]);
        assert_eq!(backlog.sees(vec!["n2".to_owned(), "n3".to_owned()]), ["n3"]);
        assert_eq!(Vec::from_iter(backlog.unknown()), ["b"]);
    }

    #[test]
    fn more_than_fits_in_memory_waits_in_the_store() {
        let mut backlog = Backlog::default();
        backlog.takes("n".to_owned(), (0..DUE_MAX - 1).map(|number| number.to_string()));
        let notes = || ["n", "n1", "n2"].map(str::to_owned).to_vec();
        assert_eq!(backlog.sees(notes()), ["n1"]);
        backlog.registered("0");
        assert_eq!(backlog.sees(notes()), ["n1", "n2"]);
    }
}
