//! Files and their locks.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::Watch;

/// How to open a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenMode {
    /// For writing as well as reading.
    pub write: bool,
    /// Make it if it is not there.
    pub create: bool,
    /// Fail if it is there.
    pub create_new: bool,
    /// Fail if a component of the path is a symbolic link: for files in directories that only the
    /// agent should write to, and for those that others may write to. Resolve the directory that
    /// the operator has named first, by [`Disk::canonical`] or [`resolved`].
    pub no_links: bool,
    /// Past the page cache: buffers, offsets and lengths in multiples of 4,096 bytes.
    /// [`io::ErrorKind::Unsupported`] where the file system cannot.
    pub direct: bool,
    /// For content that is not read soon: a large write is on its way to the disk at once, and
    /// leaves the page cache when it is there. Otherwise the system collects what is written until
    /// it is a part of the memory, and then the disk has to take it all while the writer waits. A
    /// write should end at a multiple of 4,096 bytes, or its last page is read again for the next
    /// one. No effect where the system or the file system cannot.
    pub uncached: bool,
}

/// What a file is. Two names with the same device and inode are the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// Device that the file lies on.
    pub device: u64,
    /// Number of the file on its device; used again after it is deleted.
    pub inode: u64,
    /// Bytes.
    pub len: u64,
    /// Last change of its content.
    pub modified: SystemTime,
    /// File, directory, or something else (pipe, socket, device).
    pub kind: FileKind,
    /// Names that the file has; 0 once it is deleted and only held open.
    pub links: u64,
    /// What its owner, group and others may do: the last twelve bits of its mode.
    pub mode: u32,
}

/// File, directory or something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; only where links are not followed.
    Link,
    /// A pipe, socket or device.
    Other,
}

/// Room of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All of it, in bytes.
    pub total: u64,
    /// Bytes that this process may still use.
    pub available: u64,
    /// Files that can still be made: free inodes. `None` where the file system has no such limit.
    pub files: Option<u64>,
}

/// Whether an error says that there is no room: of the disk, of its inodes, or of a quota.
pub fn is_full(error: &io::Error) -> bool {
    [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded].contains(&error.kind())
}

/// Files. All calls are synchronous.
pub trait Disk: Send + Sync {
    /// Opens a file; symbolic links are followed.
    ///
    /// # Errors
    /// As the system says.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// What the file is; symbolic links are followed.
    ///
    /// # Errors
    /// As the system says.
    fn stat(&self, path: &Path) -> io::Result<FileStat>;

    /// What the name itself is; a symbolic link is not followed and is a [`FileKind::Link`].
    ///
    /// # Errors
    /// As the system says.
    fn stat_link(&self, path: &Path) -> io::Result<FileStat>;

    /// Whether the name itself is a symbolic link.
    ///
    /// # Errors
    /// As the system says.
    fn is_link(&self, path: &Path) -> io::Result<bool> {
        Ok(self.stat_link(path)?.kind == FileKind::Link)
    }

    /// All names in a directory with their kinds, sorted by name; links are shown as links. Names
    /// are bytes: others give them, and they need not be UTF-8.
    ///
    /// # Errors
    /// As the system says.
    fn entries(&self, directory: &Path) -> io::Result<Vec<(OsString, FileKind)>>;

    /// The same for a directory of this program, whose names are UTF-8: others are left out.
    ///
    /// # Errors
    /// As the system says.
    fn list(&self, directory: &Path) -> io::Result<Vec<(String, FileKind)>> {
        let text = |(name, kind): (OsString, FileKind)| Some((name.into_string().ok()?, kind));
        Ok(self.entries(directory)?.into_iter().filter_map(text).collect())
    }

    /// The most files that this process can have open at once; `None` without a limit.
    fn open_files_max(&self) -> Option<u64> {
        None
    }

    /// The path without links, `.` and `..`.
    ///
    /// # Errors
    /// As the system says.
    fn canonical(&self, path: &Path) -> io::Result<PathBuf>;

    /// Makes the directory and those above it.
    ///
    /// # Errors
    /// As the system says.
    fn create_dir_all(&self, directory: &Path) -> io::Result<()>;

    /// Renames, over what is there. Durable after [`Disk::sync_dir`] of both directories.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Renames; [`io::ErrorKind::AlreadyExists`] if something is there. Atomic.
    ///
    /// # Errors
    /// As the system says.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Exchanges what two names are, in one step. Durable after [`Disk::sync_dir`] of both
    /// directories.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where there is no such thing; else as the system says.
    fn exchange(&self, _one: &Path, _other: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Gives a file one more name, which must be free. A symbolic link is not followed.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where there is no such thing; else as the system says.
    fn link(&self, _file: &Path, _name: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes a directory that may be read and written by whatever may read and write `like`.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where there is no such thing; else as the system says.
    fn create_dir_like(&self, _directory: &Path, _like: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Opens a directory, to hold it.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where there is no such thing; else as the system says.
    fn open_directory(&self, _path: &Path) -> io::Result<Box<dyn OpenDirectory>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Removes a file.
    ///
    /// # Errors
    /// As the system says.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and all in it.
    ///
    /// # Errors
    /// As the system says.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Makes names in this directory durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync_dir(&self, directory: &Path) -> io::Result<()>;

    /// Room of the file system that `path` lies on.
    ///
    /// # Errors
    /// As the system says.
    fn space(&self, path: &Path) -> io::Result<Space>;

    /// Locks `path` for this process, until the result is dropped, and writes the pid into it.
    ///
    /// # Errors
    /// [`LockError::Held`] names the process that holds it.
    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError>;

    /// The same as Java's `FileLock` does it, by a lock of POSIX; nothing is written into the file.
    ///
    /// # Errors
    /// [`LockError::Held`]; [`io::ErrorKind::Unsupported`] where there is no such thing.
    fn lock_record(&self, _path: &Path) -> Result<Box<dyn Lock>, LockError> {
        Err(LockError::Io(io::ErrorKind::Unsupported.into()))
    }

    /// The other processes that have a file in `directory` open, as far as this process may see
    /// them; none where there is no such thing.
    fn users(&self, _directory: &Path) -> Vec<u32> {
        Vec::new()
    }

    /// A watch that looks at nothing yet. Asked for in a tokio runtime.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where there is no such thing; else as the system says.
    fn watch(&self) -> io::Result<Arc<dyn Watch>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// An open directory. What it holds is let go when it is dropped, also by the end of the process.
pub trait OpenDirectory: Send + Sync {
    /// Holds it, together with others or alone. `false`: it is held otherwise.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where programs write to it that see nothing of this: another
    /// machine does, or may. Else as the system says.
    fn hold(&self, alone: bool) -> io::Result<bool>;

    /// What was opened, wherever it is by now.
    ///
    /// # Errors
    /// As the system says.
    fn stat(&self) -> io::Result<FileStat>;
}

/// Held while it lives.
pub trait Lock: Send + Sync {}

/// Why a lock was not got.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("process {pid} has it")]
    Held {
        /// What stands in the lock file; empty if nothing could be read.
        pid: String,
    },
    /// The lock file cannot be used.
    #[error("the lock file cannot be used")]
    Io(#[from] io::Error),
}

/// An open file. Positions are given with each call, so it may be shared.
pub trait DiskFile: Send + Sync {
    /// Reads at `offset`; fewer bytes than asked for only at the end of the file.
    ///
    /// # Errors
    /// As the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Up to `bytes` at `offset`, in memory of their own; fewer only at the end of the file. A real
    /// file does not set that memory to zero first.
    ///
    /// # Errors
    /// As the system says.
    fn read(&self, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; bytes];
        let read = self.read_at(&mut buffer, offset)?;
        buffer.truncate(read);
        Ok(buffer)
    }

    /// Writes all of `buffers` at `offset`; durable when it returns if `durable` says so.
    ///
    /// # Errors
    /// As the system says. Some of it may have been written.
    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64, durable: bool) -> io::Result<()>;

    /// Makes the content durable, and what is needed to read it.
    ///
    /// # Errors
    /// As the system says. What was written before must not be trusted then.
    fn sync(&self) -> io::Result<()>;

    /// Reserves room up to `len` bytes and makes the file that long.
    ///
    /// # Errors
    /// As the system says.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Cuts or lengthens the file.
    ///
    /// # Errors
    /// As the system says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// What the file is now.
    ///
    /// # Errors
    /// As the system says.
    fn stat(&self) -> io::Result<FileStat>;
}

/// The path without symbolic links, as far as it exists.
pub fn resolved(disk: &dyn Disk, path: &Path) -> PathBuf {
    let found = path.ancestors().find_map(|it| Some((it, disk.canonical(it).ok()?)));
    let Some((existing, mut whole)) = found else { return path.to_owned() };
    let rest = path.strip_prefix(existing).unwrap_or(Path::new(""));
    whole.extend(rest);
    whole
}
