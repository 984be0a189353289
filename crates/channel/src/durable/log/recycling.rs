//! Files of released segments: reused, or removed.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use pipeline::env::OpenMode;
use tokio::time::Instant;

use super::files::{Files, Spare, locked};
use super::segment_pool::SegmentPool;

/// The extension of a file that is being removed in parts.
const TRIMMING: &str = "gone";

/// A file that is being removed in parts.
pub(super) struct Trim {
    path: PathBuf,
    /// Its remaining size.
    len: u64,
}

/// Files of released segments.
pub(super) struct FreeFiles {
    /// Number and room of each free file, the oldest first: reusable files, surplus files, and
    /// files of another size than the next ones.
    pub(super) files: VecDeque<(u64, u64)>,
    /// Estimates how many of them will be needed.
    pub(super) pool: SegmentPool,
}

impl FreeFiles {
    pub(super) fn note_number(&mut self) {
        self.pool.changed(Instant::now(), self.files.len());
    }
}

impl Files {
    /// Announces the release of segments with this many bytes; [`Files::arrive`] follows for each.
    pub(crate) fn leave(&self, bytes: u64) {
        self.leaving.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A segment that left is free.
    pub(crate) fn arrive(&self, id: u64, room: u64) {
        self.recycle(id, room);
        self.leaving.fetch_sub(room, Ordering::Relaxed);
    }

    /// Handles a released segment's file: keeps it for reuse, or queues it for removal.
    pub(crate) fn recycle(&self, id: u64, room: u64) {
        if self.return_to_reserve(id, room) {
            return;
        }
        let mut free = locked(&self.free);
        free.files.push_back((id, room));
        free.note_number();
        if free.files.len() > self.pool || room != self.usual_room() {
            self.emptied.notify_one();
        }
    }

    /// Returns `true` if there are more free files than the pool needs, so that some of them may
    /// become surplus.
    pub(crate) fn has_surplus(&self) -> bool {
        locked(&self.free).files.len() > self.pool
    }

    /// Returns the free file to remove next: one that cannot be reused, or the oldest surplus one.
    /// If the disk `is_short` of room, all files beyond the pool are surplus.
    fn surplus(&self, free: &mut FreeFiles, is_short: bool) -> Option<usize> {
        let usual = self.usual_room();
        let useless = free.files.iter().position(|(_, room)| *room != usual);
        let mut too_many = || match is_short {
            true => free.files.len() > self.pool,
            false => free.pool.unneeded(Instant::now()) > self.pool,
        };
        useless.or_else(|| too_many().then_some(0))
    }

    /// Gives up to `bytes` of a file back to the disk that is too much; answers whether there was
    /// one.
    pub(crate) fn release_surplus(&self, bytes: u64, is_short: bool) -> bool {
        // Not locked during the removal: beginning a segment reads the number of idle bytes.
        let trim = locked(&self.trimming).take();
        let trim = trim.or_else(|| self.begin_trim(is_short));
        let Some(mut file) = trim else { return false };
        file.len = file.len.saturating_sub(bytes);
        if file.len > 0 && self.shorten(&file).is_ok() {
            *locked(&self.trimming) = Some(file);
        } else {
            self.remove(&file.path);
        }
        true
    }

    /// Takes a surplus file and gives it a name that is not a segment's: a truncated file must not
    /// be mistaken for a segment.
    fn begin_trim(&self, is_short: bool) -> Option<Trim> {
        let (id, len) = {
            let mut free = locked(&self.free);
            let at = self.surplus(&mut free, is_short)?;
            free.pool.parted();
            free.files.remove(at)?
        };
        let path = self.path(id);
        let gone = path.with_extension(TRIMMING);
        let renamed = self.disk.rename(&path, &gone);
        match renamed.and_then(|()| self.disk.sync_dir(&self.directory)) {
            Ok(()) => Some(Trim { path: gone, len }),
            // It is complete under either name, and removed as a whole.
            Err(_) => {
                Some(Trim { path: if self.disk.stat(&gone).is_ok() { gone } else { path }, len: 0 })
            }
        }
    }

    fn shorten(&self, file: &Trim) -> io::Result<()> {
        let mode = OpenMode { write: true, no_links: true, ..OpenMode::default() };
        self.disk.open(&file.path, mode)?.set_len(file.len)
    }

    /// Removes files that an earlier life had begun to remove.
    pub(crate) fn remove_trimmed(&self) -> io::Result<()> {
        for (name, _) in self.disk.list(&self.directory)? {
            let path = self.directory.join(name);
            if path.extension().is_some_and(|extension| extension == TRIMMING) {
                self.remove(&path);
            }
        }
        Ok(())
    }

    fn remove(&self, path: &Path) {
        // If that fails the file is found and removed at the next start.
        let _ = self.disk.remove_file(path);
    }

    /// Returns the bytes of files without content: released segments' files and the next segment's.
    /// Unknown while a file is being made.
    pub(crate) fn idle_bytes(&self) -> Option<u64> {
        let spare = match &locked(&self.next).spare {
            Spare::Ready(prepared) => prepared.room,
            Spare::None | Spare::Preparing => 0,
        };
        if self.making.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let trimming = locked(&self.trimming).as_ref().map_or(0, |file| file.len);
        let free: u64 = locked(&self.free).files.iter().map(|(_, room)| room).sum();
        Some(spare + trimming + free + self.leaving.load(Ordering::Relaxed))
    }
}

#[cfg(all(test, feature = "testkit"))]
mod tests;
