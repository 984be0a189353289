//! Files and their locks.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::Watch;

/// Options for opening a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenMode {
    /// For writing as well as reading.
    pub write: bool,
    /// Create it if it does not exist.
    pub create: bool,
    /// Fail if it exists.
    pub create_new: bool,
    /// Fail if a component of the path is a symbolic link: for files in directories that only the
    /// agent should write to, and for files that others may write to. First resolve the directory
    /// that the operator has named, by [`Disk::canonical`] or [`resolved`].
    pub no_links: bool,
    /// Past the page cache: buffers, offsets and lengths are multiples of 4,096 bytes.
    /// [`io::ErrorKind::Unsupported`] if the file system does not support it.
    pub direct: bool,
    /// For content that is not read soon: the system starts a large write to the disk immediately,
    /// and drops it from the page cache afterwards. Otherwise the system collects written data up
    /// to a part of the memory, and then the writer waits while the disk writes all of it. A write
    /// should end at a multiple of 4,096 bytes, or its last page is read again for the next one. No
    /// effect if the system or the file system does not support it.
    pub uncached: bool,
}

/// Metadata of a file. Two names with the same device and inode are the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// Device of the file.
    pub device: u64,
    /// Number of the file on its device; reused after the file is deleted.
    pub inode: u64,
    /// Bytes.
    pub len: u64,
    /// Last change of its content.
    pub modified: SystemTime,
    /// File, directory, or something else (pipe, socket, device).
    pub kind: FileKind,
    /// Number of names of the file; 0 once it is deleted and only held open.
    pub links: u64,
    /// Permissions of its owner, group and others: the last twelve bits of its mode.
    pub mode: u32,
}

/// File, directory or something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; only if links are not followed.
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
    /// Free inodes, which limit new files. `None` if the file system has no such limit.
    pub files: Option<u64>,
}

/// Returns `true` if an error means a lack of room: on the disk, of inodes, or by a quota.
pub fn is_full(error: &io::Error) -> bool {
    [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded].contains(&error.kind())
}

/// Files. All calls are synchronous.
pub trait Disk: Send + Sync {
    /// Opens a file; symbolic links are followed.
    ///
    /// # Errors
    /// The system's error.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// Returns the metadata of the file; follows symbolic links.
    ///
    /// # Errors
    /// The system's error.
    fn stat(&self, path: &Path) -> io::Result<FileStat>;

    /// Returns the metadata of the name itself; a symbolic link is not followed and is a
    /// [`FileKind::Link`].
    ///
    /// # Errors
    /// The system's error.
    fn stat_link(&self, path: &Path) -> io::Result<FileStat>;

    /// Returns `true` if the name itself is a symbolic link.
    ///
    /// # Errors
    /// The system's error.
    fn is_link(&self, path: &Path) -> io::Result<bool> {
        Ok(self.stat_link(path)?.kind == FileKind::Link)
    }

    /// Returns all names in a directory with their kinds, sorted by name; links are reported as
    /// links. Names are bytes, because names by others need not be UTF-8.
    ///
    /// # Errors
    /// The system's error.
    fn entries(&self, directory: &Path) -> io::Result<Vec<(OsString, FileKind)>>;

    /// Does the same for a directory of this program, whose names are UTF-8: skips other names.
    ///
    /// # Errors
    /// The system's error.
    fn list(&self, directory: &Path) -> io::Result<Vec<(String, FileKind)>> {
        let text = |(name, kind): (OsString, FileKind)| Some((name.into_string().ok()?, kind));
        Ok(self.entries(directory)?.into_iter().filter_map(text).collect())
    }

    /// Returns the maximum number of open files of this process; `None` without a limit.
    fn open_files_max(&self) -> Option<u64> {
        None
    }

    /// Returns the path without links, `.` and `..`.
    ///
    /// # Errors
    /// The system's error.
    fn canonical(&self, path: &Path) -> io::Result<PathBuf>;

    /// Creates the directory and its missing parents.
    ///
    /// # Errors
    /// The system's error.
    fn create_dir_all(&self, directory: &Path) -> io::Result<()>;

    /// Renames, replacing an existing file. Durable after [`Disk::sync_dir`] of both directories.
    ///
    /// # Errors
    /// The system's error.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Renames; [`io::ErrorKind::AlreadyExists`] if the target exists. Atomic.
    ///
    /// # Errors
    /// The system's error.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Exchanges two names, in one step. Durable after [`Disk::sync_dir`] of both directories.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] if unsupported; otherwise the system's error.
    fn exchange(&self, _one: &Path, _other: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Adds a name to a file; the name must be free. A symbolic link is not followed.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] if unsupported; otherwise the system's error.
    fn link(&self, _file: &Path, _name: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Creates a directory with the read and write permissions of `like`.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] if unsupported; otherwise the system's error.
    fn create_dir_like(&self, _directory: &Path, _like: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Opens a directory, to lock it.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] if unsupported; otherwise the system's error.
    fn open_directory(&self, _path: &Path) -> io::Result<Box<dyn OpenDirectory>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Removes a file.
    ///
    /// # Errors
    /// The system's error.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory and its contents.
    ///
    /// # Errors
    /// The system's error.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Makes names in this directory durable.
    ///
    /// # Errors
    /// The system's error.
    fn sync_dir(&self, directory: &Path) -> io::Result<()>;

    /// Returns the free space of the file system of `path`.
    ///
    /// # Errors
    /// The system's error.
    fn space(&self, path: &Path) -> io::Result<Space>;

    /// Locks `path` for this process, until the result is dropped, and writes the pid into it.
    ///
    /// # Errors
    /// [`LockError::Held`] names the process that holds it.
    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError>;

    /// Locks like Java's `FileLock`, by a POSIX lock; writes nothing into the file.
    ///
    /// # Errors
    /// [`LockError::Held`]; [`io::ErrorKind::Unsupported`] if the system does not support it.
    fn lock_record(&self, _path: &Path) -> Result<Box<dyn Lock>, LockError> {
        Err(LockError::Io(io::ErrorKind::Unsupported.into()))
    }

    /// Returns the other processes that have a file in `directory` open, as far as this process may
    /// see them; empty if the system does not support it.
    fn users(&self, _directory: &Path) -> Vec<u32> {
        Vec::new()
    }

    /// Creates a watch without directories. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] if unsupported; otherwise the system's error.
    fn watch(&self) -> io::Result<Arc<dyn Watch>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// An open directory. Its lock is released when it is dropped, also by the end of the process.
pub trait OpenDirectory: Send + Sync {
    /// Locks it, shared or exclusively. `false`: another process has a conflicting lock.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] if programs may write to it that do not see the lock, because
    /// they run on another machine. Otherwise the system's error.
    fn try_lock(&self, alone: bool) -> io::Result<bool>;

    /// Returns the metadata of the opened directory, even after a rename.
    ///
    /// # Errors
    /// The system's error.
    fn stat(&self) -> io::Result<FileStat>;
}

/// Held while it lives.
pub trait Lock: Send + Sync {}

/// Why a lock was not got.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("process {pid} holds the lock file; stop that process first")]
    Held {
        /// The contents of the lock file; empty if it could not be read.
        pid: String,
    },
    /// The lock file cannot be used.
    #[error(
        "cannot open or lock the lock file; check its permissions, and that the file system \
         supports locks"
    )]
    Io(#[from] io::Error),
}

/// An open file. Each call has a position, so it may be shared.
pub trait DiskFile: Send + Sync {
    /// Reads at `offset`; fewer bytes than asked for only at the end of the file.
    ///
    /// # Errors
    /// The system's error.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Returns up to `bytes` at `offset` in a new buffer; fewer only at the end of the file. A real
    /// file does not zero the buffer first.
    ///
    /// # Errors
    /// The system's error.
    fn read(&self, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; bytes];
        let read = self.read_at(&mut buffer, offset)?;
        buffer.truncate(read);
        Ok(buffer)
    }

    /// Writes all of `buffers` at `offset`; if `durable` is set, the data is durable on return.
    ///
    /// # Errors
    /// The system's error. A part may have been written.
    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64, durable: bool) -> io::Result<()>;

    /// Makes the contents durable, and the metadata that is needed to read them.
    ///
    /// # Errors
    /// The system's error. Data written before must not be trusted then.
    fn sync(&self) -> io::Result<()>;

    /// Reserves room up to `len` bytes and makes the file that long.
    ///
    /// # Errors
    /// The system's error.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Truncates or extends the file.
    ///
    /// # Errors
    /// The system's error.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Returns the current metadata of the file.
    ///
    /// # Errors
    /// The system's error.
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
