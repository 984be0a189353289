//! Which files of an earlier run are followed by this one.
//!
//! Files are followed by what they hold, whatever they are called, so the patterns alone do not say
//! what is read: `app.log` that was renamed to `app.log.1` is read to its end although no pattern
//! names `app.log.1`. But a file that `paths` does not name any more, or `exclude` names now, is
//! not to be sent any more. The path that a file was found by, which its position holds, tells the
//! two apart:
//!
//! | found by, in the stored position | lies now | what happens |
//! |---|---|---|
//! | a path that today's patterns name | there | it is followed |
//! | a path that today's patterns name | in the same directory, under another name | rotation: read to its end |
//! | a path that they do not name | anywhere that they do not name | set aside: not read |
//! | a path that they do not name | where today's patterns find it | it is followed |
//!
//! The position of a file that is set aside is kept as long as the file lies where it was, under
//! its number, and for an hour longer: named again by then, it goes on where it was. Without
//! `follow_symlinks`, what a link leads to counts as not named.

use std::path::Path;

use tokio::time::Instant;

use super::file::Stage;
use super::names::shown;
use super::recover::FORGET_AFTER;
use super::tailer::Tailer;

impl Tailer {
    /// Sets aside what an earlier run read and the patterns do not name any more.
    pub(super) fn set_aside_the_unnamed(&mut self) {
        let unnamed: Vec<_> =
            self.files.iter().filter(|(_, f)| !self.is_named(&f.position.path)).collect();
        let unnamed: Vec<_> = unnamed.into_iter().map(|(id, _)| id).collect();
        let until = Instant::now() + FORGET_AFTER;
        for id in &unnamed {
            let Some(file) = self.files.get_mut(*id) else { continue };
            (file.stage, file.missing_since) = (Stage::Unnamed { until }, None);
            tracing::debug!(source = %self.source, file = %shown(&file.position.path),
                offset = file.position.offset, "file is not named any more; its position is kept");
        }
        if !unnamed.is_empty() {
            tracing::info!(source = %self.source, files = unnamed.len(),
                "files of an earlier run are not read: `paths` does not name them any more, or \
                 `exclude` does; their positions are kept while they lie there");
        }
    }

    /// Whether the patterns find, or would find, a file by this path.
    pub(super) fn is_named(&self, path: &Path) -> bool {
        self.would_find(path) && (self.options.follow_symlinks || !self.leads_over_a_link(path))
    }

    /// Whether the path, below what the patterns spell out, is or passes a link.
    fn leads_over_a_link(&self, path: &Path) -> bool {
        let patterns = self.options.patterns.iter().filter(|pattern| pattern.matches(path));
        let spelled: Vec<_> = patterns.map(super::glob::Pattern::literal_directory).collect();
        let below = path.ancestors().take_while(|at| !spelled.iter().any(|known| known == at));
        below.into_iter().any(|at| self.env.disk.is_link(at).unwrap_or(false))
    }
}
