//! Which files are held open: those that wait to be read, and never too many.

use std::io;
use std::sync::Arc;

use pipeline::env::{DiskFile, FileStat, OpenMode};

use super::file::{File, FileId, Stage};
use super::tailer::Tailer;

impl Tailer {
    /// The file, open, as it is found at its place or already held, and what it is now. One that is not
    /// followed is not there any more: what lies at its place may be a new file that was given its
    /// inode.
    pub(super) fn open(&mut self, id: FileId) -> io::Result<Option<(Arc<dyn DiskFile>, FileStat)>> {
        let file = self.files.get_mut(&id).filter(|file| file.is_followed());
        let Some(file) = file else { return Ok(None) };
        if let Some(held) = &file.handle {
            return Ok(Some((held.clone(), held.stat()?)));
        }
        let opened = self.env.disk.open(&file.place, OpenMode::default())?;
        let stat = opened.stat()?;
        if (stat.device, stat.inode) != file.inode() {
            return Ok(None);
        }
        file.handle = Some(opened.clone());
        self.opened.push(id);
        Ok(Some((opened, stat)))
    }

    /// Opens files that wait to be read, as many as may be: if they are deleted while the channels
    /// are full, they are still there.
    pub(super) fn hold_open(&mut self) {
        self.forget_closed();
        let waiting = self.files.iter().filter(|(_, file)| {
            file.stage == Stage::Here && file.handle.is_none() && file.len > file.position.offset
        });
        let room = self.options.open_max.saturating_sub(self.opened.len());
        let waiting: Vec<FileId> = waiting.map(|(id, _)| *id).take(room).collect();
        for id in waiting {
            // Why it cannot be opened is said when it is read.
            let _ = self.open(id);
        }
    }

    /// Closes files when too many are open: first those that are read to their end, then those not
    /// read for longest. One whose name is gone could not be opened again.
    pub(super) fn close_idle(&mut self) {
        if self.opened.len() <= self.options.open_max {
            return;
        }
        self.forget_closed();
        if self.opened.len() <= self.options.open_max {
            return;
        }
        let Self { files, opened, .. } = self;
        let is_gone = |file: &File| file.stage == Stage::Away { gone: true };
        opened.sort_by_cached_key(|id| {
            let file = &files[id];
            (is_gone(file), file.len > file.position.offset, file.used)
        });
        // Down to less than the limit, so that not every further file has them sorted.
        let keep = self.options.open_max / 2;
        let closable = opened.partition_point(|id| !is_gone(&files[id])).min(opened.len() - keep);
        for id in opened.drain(..closable) {
            files.entry(id).and_modify(|file| file.handle = None);
        }
    }

    /// Leaves only files that are open, each once, in `opened`.
    fn forget_closed(&mut self) {
        let Self { files, opened, .. } = self;
        opened.sort_unstable();
        opened.dedup();
        opened.retain(|id| files.get(id).is_some_and(|file| file.handle.is_some()));
    }
}
