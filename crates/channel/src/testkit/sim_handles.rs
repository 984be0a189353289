//! Open files and locks of a [`SimDisk`].

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::MutexGuard;

use pipeline::env::{DiskFile, FileStat, Lock};

use super::sim_disk::{SimDisk, State, dead, not_found};

const DIRECT_ALIGNMENT: usize = 4096;

/// Held until it is dropped, or until the power is cut.
pub(super) struct SimLock {
    pub(super) disk: SimDisk,
    pub(super) path: PathBuf,
    pub(super) life: u64,
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.lock_state();
        if state.locks.get(&self.path) == Some(&self.life) {
            state.locks.remove(&self.path);
        }
    }
}

/// An open file; dead after a crash.
pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) id: u64,
    pub(super) direct: bool,
    pub(super) life: u64,
}

impl SimFile {
    /// The disk, if this file was not opened before a crash.
    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.lock_state();
        if state.life == self.life && state.changes_left != Some(0) {
            Ok(state)
        } else {
            Err(dead())
        }
    }

    fn check(&self, address: usize, len: usize, offset: u64) {
        let aligned = |n: usize| n.is_multiple_of(DIRECT_ALIGNMENT);
        let sound = aligned(address) && aligned(len) && aligned(offset as usize);
        assert!(!self.direct || sound, "direct I/O is done in aligned blocks");
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.check(buffer.as_ptr().addr(), buffer.len(), offset);
        let state = self.alive()?;
        let inode = state.inodes.get(&self.id).ok_or_else(not_found)?;
        let from = (offset as usize).min(inode.now.len());
        let to = (from + buffer.len()).min(inode.now.len());
        buffer[..to - from].copy_from_slice(&inode.now[from..to]);
        Ok(to - from)
    }

    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64, durable: bool) -> io::Result<()> {
        buffers.iter().for_each(|b| self.check(b.as_ptr().addr(), b.len(), offset));
        let mut bytes = Vec::with_capacity(buffers.iter().map(|buffer| buffer.len()).sum());
        buffers.iter().for_each(|buffer| bytes.extend_from_slice(buffer));
        let mut state = self.alive()?;
        let power_fails = state.change()?;
        let fails = state.failing_writes > 0;
        state.failing_writes = state.failing_writes.saturating_sub(1);
        let random = state.random();
        let inode = state.inodes.get(&self.id).ok_or_else(not_found)?;
        let grows = (offset + bytes.len() as u64).saturating_sub(inode.now.len() as u64);
        state.room_for(grows)?;
        let inode = state.inodes.get_mut(&self.id).ok_or_else(not_found)?;
        if power_fails {
            inode.write_torn(offset as usize, &bytes);
            return Err(dead());
        }
        if fails {
            let arrived = (random % (bytes.len() as u64 + 1)) as usize;
            inode.write(offset as usize, &bytes[..arrived], durable);
            return Err(io::Error::other("input/output error"));
        }
        inode.write(offset as usize, &bytes, durable);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.alive()?;
        if state.change()? {
            return Err(dead());
        }
        if state.failing_syncs {
            return Err(io::Error::other("input/output error"));
        }
        state.inodes.get_mut(&self.id).ok_or_else(not_found)?.sync();
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let old = self.stat()?.len;
        if len > old { self.set_len(len) } else { Ok(()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let old = self.stat()?.len;
        let mut state = self.alive()?;
        state.change()?;
        state.room_for(len.saturating_sub(old))?;
        state.inodes.get_mut(&self.id).ok_or_else(not_found)?.set_len(len as usize);
        Ok(())
    }

    fn stat(&self) -> io::Result<FileStat> {
        SimDisk::file_stat(&*self.alive()?, self.id)
    }
}
