//! Files of this system.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pipeline::env::{
    Disk, DiskFile, FileKind, FileStat, Lock, LockError, OpenDirectory, OpenMode, Space, Watch,
};
use rustix::buffer::spare_capacity;
use rustix::fs::{
    CWD, FallocateFlags, Mode, OFlags, RenameFlags, fallocate, fdatasync, open, renameat_with,
    statvfs,
};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};

use crate::directory::{self, RealDirectory};
use crate::lock;
use crate::no_links;
use crate::watch::Inotify;

/// Files of this system.
#[derive(Debug, Clone, Copy)]
pub struct RealDisk;

fn kind(file_type: fs::FileType) -> FileKind {
    if file_type.is_file() {
        FileKind::File
    } else if file_type.is_dir() {
        FileKind::Directory
    } else if file_type.is_symlink() {
        FileKind::Link
    } else {
        FileKind::Other
    }
}

pub(crate) fn file_stat(metadata: &fs::Metadata) -> io::Result<FileStat> {
    Ok(FileStat {
        device: metadata.dev(),
        inode: metadata.ino(),
        len: metadata.len(),
        modified: metadata.modified()?,
        kind: kind(metadata.file_type()),
        links: metadata.nlink(),
        mode: metadata.mode() & 0o7777,
    })
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut flags = OFlags::CLOEXEC;
        // Opening a pipe that a pattern happens to match must not block.
        flags |= if mode.write { OFlags::RDWR } else { OFlags::RDONLY | OFlags::NONBLOCK };
        flags.set(OFlags::CREATE, mode.create || mode.create_new);
        flags.set(OFlags::EXCL, mode.create_new);
        flags.set(OFlags::DIRECT, mode.direct);
        let rights = Mode::from_raw_mode(0o640);
        let opened = match mode.no_links {
            true => no_links::open_file(path, flags, rights),
            false => open(path, flags, rights).map_err(io::Error::from),
        };
        let fd = opened.map_err(|error| match Errno::from_io_error(&error) {
            // A file system without O_DIRECT.
            Some(Errno::INVAL) if mode.direct => io::Error::from(io::ErrorKind::Unsupported),
            _ => error,
        })?;
        Ok(Arc::new(RealFile { file: fd.into(), uncached: AtomicBool::new(mode.uncached) }))
    }

    fn stat(&self, path: &Path) -> io::Result<FileStat> {
        file_stat(&fs::metadata(path)?)
    }

    fn stat_link(&self, path: &Path) -> io::Result<FileStat> {
        file_stat(&fs::symlink_metadata(path)?)
    }

    fn entries(&self, directory: &Path) -> io::Result<Vec<(OsString, FileKind)>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            names.push((entry.file_name(), kind(entry.file_type()?)));
        }
        names.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        Ok(names)
    }

    fn open_files_max(&self) -> Option<u64> {
        crate::limits::files_max()
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn create_dir_all(&self, directory: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // Some network file systems lack the flag: a hard link refuses a taken name as well.
            Err(Errno::INVAL | Errno::NOSYS) if fs::metadata(from)?.is_file() => {
                fs::hard_link(from, to)?;
                fs::remove_file(from)
            }
            result => Ok(result?),
        }
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        directory::exchange(one, other)
    }

    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        fs::hard_link(file, name)
    }

    fn create_dir_like(&self, directory: &Path, like: &Path) -> io::Result<()> {
        directory::create_like(directory, like)
    }

    fn open_directory(&self, path: &Path) -> io::Result<Box<dyn OpenDirectory>> {
        Ok(Box::new(RealDirectory::open(path)?))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = statvfs(path)?;
        Ok(Space {
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            available: stat.f_bavail.saturating_mul(stat.f_frsize),
            // btrfs and others create inodes on demand, and report a total of 0.
            files: (stat.f_files > 0).then_some(stat.f_favail),
        })
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError> {
        lock::lock(path)
    }

    fn lock_record(&self, path: &Path) -> Result<Box<dyn Lock>, LockError> {
        lock::lock_record(path)
    }

    fn users(&self, directory: &Path) -> Vec<u32> {
        let Ok(directory) = directory.canonicalize() else { return Vec::new() };
        let own = std::process::id();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = processes.filter_map(|it| it.file_name().to_str()?.parse().ok());
        let has_open = |pid: &u32| {
            let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            files
                .filter_map(|it| fs::read_link(it.path()).ok())
                .any(|it| it.starts_with(&directory))
        };
        pids.filter(|pid| *pid != own).filter(has_open).collect()
    }

    fn watch(&self) -> io::Result<Arc<dyn Watch>> {
        Ok(Arc::new(Inotify::new()?))
    }
}

/// `RWF_DONTCACHE`, of Linux 6.14 and later; not every file system has it.
const DONTCACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);
/// Smaller writes are left to the page cache, which combines many of them into few large ones:
/// otherwise a disk with a moving head would do little else.
const UNCACHED_MIN: usize = 128 << 10;

struct RealFile {
    file: File,
    /// Large writes leave the page cache, unless that is known to fail.
    uncached: AtomicBool,
}

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn read(&self, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut buffer = Vec::with_capacity(bytes);
        while buffer.len() < bytes {
            let at = offset + buffer.len() as u64;
            match rustix::io::pread(&self.file, spare_capacity(&mut buffer), at) {
                Ok(0) => break,
                // A vector may have more room than was asked for, and the system has filled that
                // too.
                Ok(_) => buffer.truncate(bytes),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(buffer)
    }

    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64, durable: bool) -> io::Result<()> {
        let mut flags = if durable { ReadWriteFlags::DSYNC } else { ReadWriteFlags::empty() };
        if self.uncached.load(Ordering::Relaxed) {
            let bytes: usize = buffers.iter().map(|buffer| buffer.len()).sum();
            flags.set(DONTCACHE, bytes >= UNCACHED_MIN);
        }
        let mut owned = buffers.to_vec();
        let mut left = owned.as_mut_slice();
        let mut offset = offset;
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            let written = match pwritev2(self.file.as_fd(), left, offset, flags) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(Errno::INTR) => continue,
                Err(Errno::OPNOTSUPP | Errno::INVAL) if flags.contains(DONTCACHE) => {
                    self.uncached.store(false, Ordering::Relaxed);
                    flags.remove(DONTCACHE);
                    continue;
                }
                Err(other) => return Err(other.into()),
            };
            offset += written as u64;
            IoSlice::advance_slices(&mut left, written);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(fdatasync(&self.file)?)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            // The room is reserved only if the file system supports it; the length is what counts.
            Err(Errno::OPNOTSUPP) => self.file.set_len(len),
            result => Ok(result?),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn stat(&self) -> io::Result<FileStat> {
        file_stat(&self.file.metadata()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: OpenMode = OpenMode {
        write: true,
        create: true,
        create_new: false,
        no_links: false,
        direct: false,
        uncached: false,
    };

    #[test]
    fn a_rename_to_a_taken_name_is_refused_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        for (path, text) in [(&from, "new"), (&to, "old")] {
            RealDisk
                .open(path, WRITE)
                .unwrap()
                .write_at(&[IoSlice::new(text.as_bytes())], 0, true)
                .unwrap();
        }
        let error = RealDisk.rename_new(&from, &to).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&to).unwrap(), "old");
        assert_eq!(fs::read_to_string(&from).unwrap(), "new");
    }

    #[test]
    fn many_buffers_arrive_in_order_at_their_offset() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.open(&dir.path().join("f"), WRITE).unwrap();
        let parts: Vec<Vec<u8>> = (0..40u8).map(|n| vec![n; 300]).collect();
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        file.write_at(&slices, 100, true).unwrap();
        let mut back = vec![0; 40 * 300 + 50];
        assert_eq!(file.read_at(&mut back, 100).unwrap(), 40 * 300);
        assert_eq!(back[..40 * 300], parts.concat());
    }

    #[test]
    fn a_second_owner_learns_the_pid_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LOCK");
        let held = RealDisk.lock(&path).unwrap();
        let Err(LockError::Held { pid }) = RealDisk.lock(&path) else { panic!("locked twice") };
        assert_eq!(pid, std::process::id().to_string());
        drop(held);
        assert!(RealDisk.lock(&path).is_ok());
    }

    #[test]
    fn a_lock_is_never_opened_through_a_link_and_is_not_for_all() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, path) = (dir.path().join("victim"), dir.path().join("LOCK"));
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        let Err(LockError::Io(error)) = RealDisk.lock(&path) else { panic!("followed") };
        assert!(error.to_string().contains("symbolic link"), "{error}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        let _held = RealDisk.lock(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o027, 0, "others can read it");
        let below = dir.path().join("a/b");
        RealDisk.create_dir_all(&below).unwrap();
        RealDisk.create_dir_all(&below).unwrap();
        assert_eq!(fs::metadata(dir.path().join("a")).unwrap().mode() & 0o027, 0);
    }

    #[test]
    fn allocated_room_is_there_and_can_be_written_past_the_cache() {
        // A temporary folder may be in memory, without O_DIRECT; this one is on a disk.
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let file = RealDisk.open(&dir.path().join("f"), WRITE).unwrap();
        file.allocate(8192).unwrap();
        assert_eq!(file.stat().unwrap().len, 8192);
        let direct = OpenMode { direct: true, ..WRITE };
        match RealDisk.open(&dir.path().join("f"), direct) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported),
        }
    }

    #[test]
    fn uncached_files_are_read_back_on_any_file_system() {
        // In memory, where the system may refuse it, and on a disk.
        let below = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let memory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        for dir in [below, memory] {
            let mode = OpenMode { uncached: true, ..WRITE };
            let file = RealDisk.open(&dir.path().join("f"), mode).unwrap();
            let mut text = Vec::new();
            for (fill, len) in [(b'a', UNCACHED_MIN), (b'b', 5_000), (b'c', UNCACHED_MIN + 1)] {
                let piece = vec![fill; len];
                file.write_at(&[IoSlice::new(&piece)], text.len() as u64, false).unwrap();
                text.extend_from_slice(&piece);
            }
            file.sync().unwrap();
            assert!(file.read(0, text.len() + 1).unwrap() == text);
        }
    }
}
