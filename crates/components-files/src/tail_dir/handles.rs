//! Open files: keeps files open that wait to be read, within a limit.
//!
//! The limit is `open_max`, and at most half of the process's limit of open files; the other half
//! is for channels and connections. If the system still refuses to open a file, the source closes
//! enough files to open one, and lowers its limit.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pipeline::env::{DiskFile, FileStat, OpenMode};
use tokio::time::Instant;

use super::file::{FileId, Stage};
use super::open_handles::{OPEN_MIN, is_out_of_files};
use super::tailer::Tailer;

/// Minimum time between two log lines about the limit of open files.
const SAY_AFTER: Duration = Duration::from_secs(10 * 60);

impl Tailer {
    /// Lowers `open_max` to half of the process's limit of open files.
    pub(super) fn fit_open_max(&mut self) {
        let Some(limit) = self.env.disk.open_files_max() else { return };
        let half = usize::try_from(limit / 2).unwrap_or(usize::MAX).max(OPEN_MIN);
        let wanted = self.options.open_max;
        if wanted > half {
            self.options.open_max = half;
            tracing::info!(source = %self.source, open_max = half, wanted, limit,
                "the limit of open files of this process is too low for `open_max`, so fewer files \
                 stay open; raise it (`ulimit -n`, `LimitNOFILE=`)");
        }
    }

    /// Lowers the limit because too many files are open. Returns whether it closed any.
    pub(super) fn hold_fewer(&mut self, now: Instant) -> bool {
        self.handles.forget_closed(&self.files);
        let before = self.handles.count();
        self.options.open_max = (before * 3 / 4).max(OPEN_MIN).min(self.options.open_max);
        self.handles.close_down_to(self.options.open_max / 2, &mut self.files);
        let is_due = |said: Instant| now.duration_since(said) >= SAY_AFTER;
        if self.report.out_of_files.is_none_or(is_due) {
            self.report.out_of_files = Some(now);
            tracing::warn!(source = %self.source, open_max = self.options.open_max, before,
                "too many open files; keeping fewer open from now on; no event is lost; raise the \
                 limit of open files (`ulimit -n`, `LimitNOFILE=`) or lower `open_max`");
        }
        self.handles.count() < before
    }

    /// Opens a file for reading; closes others if too many are open.
    ///
    /// # Errors
    /// Returns the operating system's error.
    pub(super) fn open_at(&mut self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        match self.env.disk.open(path, OpenMode::default()) {
            Err(error) if is_out_of_files(&error) && self.hold_fewer(Instant::now()) => {
                self.env.disk.open(path, OpenMode::default())
            }
            opened => opened,
        }
    }

    /// Returns the file, opened or already open, and its current state. Returns `None` if the file
    /// is not followed, or if another file has replaced it.
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
        let Some(file) = self.files.get_mut(id).filter(|file| file.is(&stat)) else {
            return Ok(None);
        };
        file.handle = Some(opened.clone());
        self.handles.opened(id);
        Ok(Some((opened, stat)))
    }

    /// Opens as many waiting files as the limit allows: if they are deleted while the channels are
    /// full, they can still be read.
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
            // The read logs the error.
            let _ = self.open(id);
        }
    }

    /// Closes files when too many are open: first those read to the end, then the least recently
    /// read. Keeps deleted files, which could not be reopened.
    pub(super) fn close_idle(&mut self) {
        if self.handles.count() <= self.options.open_max {
            return;
        }
        self.handles.forget_closed(&self.files);
        if self.handles.count() > self.options.open_max {
            // Close more than necessary, so that the next file does not sort them again.
            self.handles.close_down_to(self.options.open_max / 2, &mut self.files);
        }
    }
}
