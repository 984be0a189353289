//! State that a survey keeps for the next one, apart from the followed files.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use pipeline::env::FileKind;

use super::followed::Inode;

/// Result of the last survey, apart from the followed files.
pub(super) struct Seen {
    /// True before the first survey.
    pub(super) is_first: bool,
    /// True if the first survey starts new files at their end.
    pub(super) from_end: bool,
    /// Exceptions, which start at the beginning: Flume read a file of that name.
    pub(super) read_by_flume: HashSet<PathBuf>,
    /// Paths that could not be read.
    pub(super) problems: BTreeMap<PathBuf, io::ErrorKind>,
    /// True if the survey may have missed a file: it moved meanwhile, or too many files are open.
    pub(super) may_miss: bool,
    /// Listings of directories, if a survey needed them.
    pub(super) listings: HashMap<PathBuf, Vec<(OsString, FileKind)>>,
    /// Names that may be links.
    pub(super) may_be_links: HashSet<PathBuf>,
    /// Files held back as copies.
    pub(super) held: BTreeMap<Inode, PathBuf>,
}

impl Seen {
    /// Creates the state before the first survey.
    pub(super) fn new(from_end: bool) -> Self {
        Self {
            is_first: true,
            from_end,
            read_by_flume: HashSet::new(),
            problems: BTreeMap::new(),
            may_miss: false,
            listings: HashMap::new(),
            may_be_links: HashSet::new(),
            held: BTreeMap::new(),
        }
    }

    /// Returns true before the first survey.
    pub(super) fn is_first(&self) -> bool {
        self.is_first
    }

    /// Returns true if a file found by this name now must be read from its end.
    pub(super) fn begins_at_end(&self, path: &Path) -> bool {
        self.is_first && self.from_end && !self.read_by_flume.contains(path)
    }

    /// Returns true if this name may be a link.
    pub(super) fn may_be_link(&self, path: &Path) -> bool {
        self.may_be_links.contains(path)
    }

    /// Marks a file as a copy that is not read; returns true if that is new.
    pub(super) fn hold(&mut self, inode: Inode, path: &Path) -> bool {
        self.held.insert(inode, path.to_owned()).is_none()
    }

    /// Removes the mark of a copy.
    pub(super) fn unmark_copy(&mut self, inode: Inode) {
        self.held.remove(&inode);
    }

    /// Returns true if the file is marked as a copy.
    pub(super) fn is_held(&self, inode: Inode) -> bool {
        self.held.contains_key(&inode)
    }

    /// Returns the paths that could not be read.
    pub(super) fn problems(&self) -> &BTreeMap<PathBuf, io::ErrorKind> {
        &self.problems
    }

    /// Returns true if no decision waits for time to pass.
    pub(super) fn is_calm(&self) -> bool {
        self.held.is_empty() && self.problems.is_empty()
    }
}
