//! The open files, and the order in which they are closed.

use std::io;
use std::sync::Arc;

use pipeline::env::DiskFile;

use super::file::{File, FileId, Stage};
use super::followed::Followed;

/// Minimum number of open files.
pub(super) const OPEN_MIN: usize = 8;
/// Returns true if the cause is too many open files, in this process or in the system.
pub(super) fn is_out_of_files(error: &io::Error) -> bool {
    /// `ENFILE` and `EMFILE`, which have no kind in the standard library.
    const TOO_MANY: [i32; 2] = [23, 24];
    error.raw_os_error().is_some_and(|code| TOO_MANY.contains(&code))
}

/// The open files.
#[derive(Default)]
pub(super) struct Handles {
    /// Open files, and some that were closed.
    pub(super) open: Vec<FileId>,
    /// Deleted files that are no longer needed. Closing the last handle blocks while the system
    /// frees the blocks, 40 ms for 128 MiB, so a turn must not do it.
    pub(super) deleted: Vec<Arc<dyn DiskFile>>,
}

impl Handles {
    /// Records an opened file.
    pub(super) fn opened(&mut self, id: FileId) {
        self.open.push(id);
    }

    /// Keeps the handle of a deleted file, to be closed on another thread.
    pub(super) fn close_later(&mut self, handle: Arc<dyn DiskFile>) {
        self.deleted.push(handle);
    }

    /// Takes the handles to close on another thread.
    pub(super) fn take_deleted(&mut self) -> Vec<Arc<dyn DiskFile>> {
        std::mem::take(&mut self.deleted)
    }

    /// Number of recorded files, including some that were closed.
    pub(super) fn count(&self) -> usize {
        self.open.len()
    }

    /// Keeps only open files, each once.
    pub(super) fn forget_closed(&mut self, files: &Followed) {
        self.open.sort_unstable();
        self.open.dedup();
        self.open.retain(|id| files.get(*id).is_some_and(|file| file.handle.is_some()));
    }

    /// Closes all but `keep` open files. Requires that each is recorded once.
    pub(super) fn close_down_to(&mut self, keep: usize, files: &mut Followed) {
        let is_gone = |file: &File| file.stage == Stage::Away { gone: true };
        let order =
            |id: &FileId| files.get(*id).map(|f| (is_gone(f), f.len > f.position.offset, f.used));
        self.open.sort_by_cached_key(order);
        let most = self.open.len().saturating_sub(keep);
        let stays = |id: &FileId| files.get(*id).is_some_and(is_gone);
        let closable = self.open.partition_point(|id| !stays(id)).min(most);
        for id in self.open.drain(..closable) {
            if let Some(file) = files.get_mut(id) {
                file.handle = None;
            }
        }
    }
}
