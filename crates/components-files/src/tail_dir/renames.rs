//! Files that were renamed between two surveys, before the first one found them.
//!
//! A log that fills within milliseconds is gone from its name when the next survey looks. Where the
//! system tells of moves, a file is followed from the name that a pattern would have found it by to
//! the one that it has at the survey, over as many names as it had between them.

use std::collections::{BTreeMap, HashSet};
use std::mem::take;
use std::path::{Path, PathBuf};

use pipeline::env::FileKind;

use super::candidates::Candidate;
use super::tailer::Tailer;

/// Where files lie that may not have been found, with the names that patterns would have found them
/// by.
pub(super) type PendingRenames = BTreeMap<PathBuf, PathBuf>;

impl Tailer {
    /// Takes note that a file has another name. Whether it is one that is followed is found out at
    /// the survey: by its name alone it cannot be recognised.
    pub(super) fn note_move(&mut self, from: &Path, to: &Path) {
        let found_as = self.pending_renames.remove(from);
        // What lay there before is no more.
        self.pending_renames.remove(to);
        if self.would_find(to) {
            return;
        }
        let found_as = found_as.or_else(|| self.would_find(from).then(|| from.to_owned()));
        if let Some(found_as) = found_as {
            self.pending_renames.insert(to.to_owned(), found_as);
        }
    }

    /// Adds those that are not followed to the candidates, unless they are among them already.
    pub(super) fn add_renamed(&mut self, candidates: &mut Vec<Candidate>) {
        let pending_renames = take(&mut self.pending_renames);
        if pending_renames.is_empty() {
            return;
        }
        let mut met: HashSet<_> = candidates.iter().map(Candidate::inode).collect();
        for (path, found_as) in pending_renames {
            let Ok(stat) = self.env.disk.stat(&path) else { continue };
            let candidate = Candidate { path, found_as, stat };
            let inode = candidate.inode();
            let is_known = self.files.at_inode(inode).is_some() || self.seen.is_held(inode);
            if stat.kind == FileKind::File && !is_known && met.insert(inode) {
                candidates.push(candidate);
            }
        }
    }
}
