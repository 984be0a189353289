//! Which files are held open: those that wait to be read, and never too many.
//!
//! How many that is, `open_max` says, and the process's limit of open files, of which half is left
//! to channels and connections. Where the system has no more to give all the same, as many are
//! closed that one can be opened, and fewer are held open from then on.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pipeline::env::{DiskFile, FileStat, OpenMode};
use tokio::time::Instant;

use super::file::{File, FileId, Stage};
use super::followed::Followed;
use super::survey::is;
use super::tailer::Tailer;

/// Files that are held open at least.
pub(super) const OPEN_MIN: usize = 8;
/// Least time between two lines about the limit of open files.
const SAY_AFTER: Duration = Duration::from_secs(10 * 60);

/// Whether it failed because too many files are open, in this process or on this system.
pub(super) fn is_out_of_files(error: &io::Error) -> bool {
    /// `ENFILE` and `EMFILE`, for which the standard library has no kind.
    const TOO_MANY: [i32; 2] = [23, 24];
    error.raw_os_error().is_some_and(|code| TOO_MANY.contains(&code))
}

/// The files that are held open.
#[derive(Default)]
pub(super) struct Handles {
    /// Files that are open, and some that were.
    open: Vec<FileId>,
    /// Files that are done with and have no name any more. Closing the last handle of one waits
    /// while the system frees what it holds, 40 ms for 128 MiB: it is not done in a turn.
    deleted: Vec<Arc<dyn DiskFile>>,
}

impl Handles {
    /// Takes note that a file was opened.
    pub(super) fn opened(&mut self, id: FileId) {
        self.open.push(id);
    }

    /// Keeps the handle of a file without a name, to be closed elsewhere.
    pub(super) fn close_later(&mut self, handle: Arc<dyn DiskFile>) {
        self.deleted.push(handle);
    }

    /// What is to be closed elsewhere.
    pub(super) fn take_deleted(&mut self) -> Vec<Arc<dyn DiskFile>> {
        std::mem::take(&mut self.deleted)
    }

    /// How many are open, and some that were.
    fn count(&self) -> usize {
        self.open.len()
    }

    /// Leaves only files that are open, each once.
    fn forget_closed(&mut self, files: &Followed) {
        self.open.sort_unstable();
        self.open.dedup();
        self.open.retain(|id| files.get(*id).is_some_and(|file| file.handle.is_some()));
    }

    /// Closes all but so many of those that are open, each of which is named once.
    fn close_down_to(&mut self, keep: usize, files: &mut Followed) {
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

impl Tailer {
    /// Takes no more than half of the files that the process can have open.
    pub(super) fn fit_open_max(&mut self) {
        let Some(limit) = self.env.disk.open_files_max() else { return };
        let half = usize::try_from(limit / 2).unwrap_or(usize::MAX).max(OPEN_MIN);
        let wanted = self.options.open_max;
        if wanted > half {
            self.options.open_max = half;
            tracing::info!(source = %self.source, open_max = half, wanted, limit,
                "fewer files are held open than `open_max` allows: the limit of open files of this \
                 process is low; raise it (`ulimit -n`, `LimitNOFILE=`)");
        }
    }

    /// Too many files are open: holds fewer of them from now on. Answers whether some were closed.
    pub(super) fn hold_fewer(&mut self, now: Instant) -> bool {
        self.handles.forget_closed(&self.files);
        let before = self.handles.count();
        self.options.open_max = (before * 3 / 4).max(OPEN_MIN).min(self.options.open_max);
        self.handles.close_down_to(self.options.open_max / 2, &mut self.files);
        let is_due = |said: Instant| now.duration_since(said) >= SAY_AFTER;
        if self.report.out_of_files.is_none_or(is_due) {
            self.report.out_of_files = Some(now);
            tracing::warn!(source = %self.source, open_max = self.options.open_max, before,
                "too many files are open; holding fewer from now on. Raise the limit of open files \
                 (`ulimit -n`, `LimitNOFILE=`) or lower `open_max`");
        }
        self.handles.count() < before
    }

    /// Opens a file for reading; where too many are open, others are closed for it.
    ///
    /// # Errors
    /// As the system says.
    pub(super) fn open_at(&mut self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        match self.env.disk.open(path, OpenMode::default()) {
            Err(error) if is_out_of_files(&error) && self.hold_fewer(Instant::now()) => {
                self.env.disk.open(path, OpenMode::default())
            }
            opened => opened,
        }
    }

    /// The file, open, as it is found at its place or already held, and what it is now. One that is
    /// not followed is not there any more: what lies at its place may be a new file that was given
    /// its inode.
    pub(super) fn open(&mut self, id: FileId) -> io::Result<Option<(Arc<dyn DiskFile>, FileStat)>> {
        let file = self.files.get_mut(id).filter(|file| file.is_followed());
        let Some(file) = file else { return Ok(None) };
        if let Some(held) = &file.handle {
            return Ok(Some((held.clone(), held.stat()?)));
        }
        let place = file.place.clone();
        if self.handles.count() > self.options.open_max {
            self.close_idle();
        }
        let opened = self.open_at(&place)?;
        let stat = opened.stat()?;
        let Some(file) = self.files.get_mut(id).filter(|file| is(&stat, file)) else {
            return Ok(None);
        };
        file.handle = Some(opened.clone());
        self.handles.opened(id);
        Ok(Some((opened, stat)))
    }

    /// Opens files that wait to be read, as many as may be: if they are deleted while the channels
    /// are full, they are still there.
    pub(super) fn hold_open(&mut self) {
        self.handles.forget_closed(&self.files);
        let waiting = self.files.iter().filter(|(_, file)| {
            file.stage == Stage::Here && file.handle.is_none() && file.len > file.position.offset
        });
        let room = self.options.open_max.saturating_sub(self.handles.count());
        let waiting: Vec<FileId> = waiting.map(|(id, _)| id).take(room).collect();
        for id in waiting {
            if self.handles.count() >= self.options.open_max {
                break;
            }
            // Why it cannot be opened is said when it is read.
            let _ = self.open(id);
        }
    }

    /// Closes files when too many are open: first those that are read to their end, then those not
    /// read for longest. One whose name is gone could not be opened again.
    pub(super) fn close_idle(&mut self) {
        if self.handles.count() <= self.options.open_max {
            return;
        }
        self.handles.forget_closed(&self.files);
        if self.handles.count() > self.options.open_max {
            // Down to less than the limit, so that not every further file has them sorted.
            self.handles.close_down_to(self.options.open_max / 2, &mut self.files);
        }
    }
}
