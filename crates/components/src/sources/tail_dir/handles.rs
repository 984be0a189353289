//! Which files are held open: those that wait to be read, and never too many.

use std::io;
use std::sync::Arc;

use pipeline::env::{DiskFile, OpenMode};

use super::file::{File, FileId, Stage};
use super::tailer::Tailer;

impl Tailer {
    /// The file, open, as it is found at its place or already held. One that is not followed is not
    /// there any more: what lies at its place may be a new file that was given its inode.
    pub(super) fn open(&mut self, id: FileId) -> io::Result<Option<Arc<dyn DiskFile>>> {
        let file = self.files.get_mut(&id).filter(|file| file.is_followed());
        let Some(file) = file else { return Ok(None) };
        if file.handle.is_none() {
            let opened = self.env.disk.open(&file.place, OpenMode::default())?;
            let stat = opened.stat()?;
            if (stat.device, stat.inode) != file.inode() {
                return Ok(None);
            }
            file.handle = Some(opened);
            self.open_most += 1;
        }
        Ok(file.handle.clone())
    }

    /// Opens files that wait to be read, as many as may be: if they are deleted while the channels
    /// are full, they are still there.
    pub(super) fn hold_open(&mut self) {
        let open = self.files.values().filter(|file| file.handle.is_some()).count();
        let waiting = self.files.iter().filter(|(_, file)| {
            file.stage == Stage::Here && file.handle.is_none() && file.len > file.position.offset
        });
        let room = self.options.open_max.saturating_sub(open);
        let waiting: Vec<FileId> = waiting.map(|(id, _)| *id).take(room).collect();
        for id in waiting {
            // Why it cannot be opened is said when it is read.
            let _ = self.open(id);
        }
    }

    /// Closes files when too many are open: first those that are read to their end, then those not
    /// read for longest. One whose name is gone could not be opened again.
    ///
    /// They are counted when there may be too many: with thousands of files, each turn would
    /// otherwise do little else.
    pub(super) fn close_idle(&mut self) {
        if self.open_most <= self.options.open_max {
            return;
        }
        let count = self.files.values().filter(|file| file.handle.is_some()).count();
        self.open_most = count;
        if count <= self.options.open_max {
            return;
        }
        // Down to less than the limit, so that not every further file has them sorted.
        let keep = self.options.open_max * 3 / 4;
        let closable = self.files.values_mut();
        let mut closable: Vec<&mut File> = closable
            .filter(|file| file.handle.is_some() && file.stage != Stage::Away { gone: true })
            .collect();
        closable.sort_by_key(|file| (file.len > file.position.offset, file.used));
        let closed = closable.into_iter().take(count - keep).map(|file| file.handle = None).count();
        self.open_most = count - closed;
    }
}
