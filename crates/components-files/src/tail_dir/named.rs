//! Selects which files of an earlier run to follow.
//!
//! The source follows files by content, not by name, so the patterns alone do not decide what it
//! reads: it reads `app.log` to its end after a rename to `app.log.1`, although no pattern names
//! `app.log.1`. But it must not send a file that `paths` does not name any more, or that `exclude`
//! names now. The path by which the file was found, which its position contains, distinguishes the
//! two cases:
//!
//! | found by, in the stored position | current location | what happens |
//! |---|---|---|
//! | a path that today's patterns name | the same | it is followed |
//! | a path that today's patterns name | another name in the same directory | rotation: read to its end |
//! | a path that they do not name | a path that they do not name | set aside: not read |
//! | a path that they do not name | a path that today's patterns name | it is followed |
//!
//! The source keeps the position of a file that is set aside while the file keeps its path and
//! inode, and for another hour. If the patterns name the file again in that time, reading resumes
//! at the position. Without `follow_symlinks`, the target of a link counts as not named.

use std::path::Path;

use tokio::time::Instant;

use super::file::Stage;
use super::names::shown;
use super::recover::FORGET_AFTER;
use super::tailer::Tailer;

impl Tailer {
    /// Sets aside files of an earlier run that the patterns do not name any more.
    pub(super) fn set_aside_the_unnamed(&mut self) {
        let unnamed: Vec<_> =
            self.files.iter().filter(|(_, f)| !self.is_named(&f.position.path)).collect();
        let unnamed: Vec<_> = unnamed.into_iter().map(|(id, _)| id).collect();
        let until = Instant::now() + FORGET_AFTER;
        for id in &unnamed {
            let Some(file) = self.files.get_mut(*id) else { continue };
            (file.stage, file.missing_since) = (Stage::Unnamed { until }, None);
            tracing::debug!(source = %self.source, file = %shown(&file.position.path),
                offset = file.position.offset, "file no longer matches `paths`; its position is \
                                                kept");
        }
        if !unnamed.is_empty() {
            tracing::info!(source = %self.source, files = unnamed.len(),
                "files of an earlier run are not read, because `paths` no longer matches them or \
                 `exclude` does; their positions are kept while the files exist");
        }
    }

    /// Returns true if the patterns find, or would find, a file by this path.
    pub(super) fn is_named(&self, path: &Path) -> bool {
        self.would_find(path) && (self.options.follow_symlinks || !self.leads_over_a_link(path))
    }

    /// Returns true if the path is or passes a link, below the directory that the patterns spell
    /// out.
    fn leads_over_a_link(&self, path: &Path) -> bool {
        let patterns = self.options.patterns.iter().filter(|pattern| pattern.matches(path));
        let spelled: Vec<_> = patterns.map(super::glob::Pattern::literal_directory).collect();
        let below = path.ancestors().take_while(|at| !spelled.iter().any(|known| known == at));
        below.into_iter().any(|at| self.env.disk.is_link(at).unwrap_or(false))
    }
}
