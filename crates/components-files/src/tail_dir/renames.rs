//! Files that were renamed between two surveys, before a survey found them.
//!
//! A log that fills within milliseconds may lose its name before the next survey. If the system
//! reports renames, the source follows such a file from the name that a pattern matches, over any
//! number of renames, to its name at the survey.

use std::collections::HashSet;
use std::mem::take;
use std::path::Path;

use pipeline::env::FileKind;

use super::candidates::Candidate;
use super::tailer::Tailer;

impl Tailer {
    /// Records a rename. The name alone does not identify a followed file; the survey finds that
    /// out.
    pub(super) fn note_move(&mut self, from: &Path, to: &Path) {
        let found_as = self.pending_renames.remove(from);
        // A file that had this name is gone.
        self.pending_renames.remove(to);
        if self.would_find(to) {
            return;
        }
        let found_as = found_as.or_else(|| self.would_find(from).then(|| from.to_owned()));
        if let Some(found_as) = found_as {
            self.pending_renames.insert(to.to_owned(), found_as);
        }
    }

    /// Adds the renamed files that are not followed to the candidates, each once.
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
