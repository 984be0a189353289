//! A disk that wraps another one and changes some of its behaviour: a disk without direct I/O, one
//! whose syncs do nothing, one whose writes fail. All other calls go to the disk below.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{
    Disk, DiskFile, FileKind, FileStat, Lock, LockError, OpenDirectory, OpenMode, Space, Watch,
};

/// The calls that such a disk can change. A type that implements it is a [`Disk`].
pub trait DiskOver: Send + Sync {
    /// The disk that does the rest.
    fn below(&self) -> &dyn Disk;

    /// As [`Disk::open`].
    ///
    /// # Errors
    /// The error of the disk below.
    fn open_over(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// Called before every call except [`Disk::open_files_max`].
    ///
    /// # Errors
    /// The call fails with this error.
    fn before(&self) -> io::Result<()> {
        Ok(())
    }

    /// As [`Disk::open_directory`].
    ///
    /// # Errors
    /// The error of the disk below.
    fn open_directory_over(&self, path: &Path) -> io::Result<Box<dyn OpenDirectory>> {
        self.below().open_directory(path)
    }

    /// As [`Disk::open_files_max`].
    fn open_files_max_over(&self) -> Option<u64> {
        self.below().open_files_max()
    }

    /// As [`Disk::sync_dir`].
    ///
    /// # Errors
    /// The error of the disk below.
    fn sync_dir_over(&self, directory: &Path) -> io::Result<()> {
        self.below().sync_dir(directory)
    }
}

/// The calls that a file of such a disk can change. A type that implements it is a [`DiskFile`].
pub trait FileOver: Send + Sync {
    /// The file that does the rest.
    fn below(&self) -> &dyn DiskFile;

    /// As [`DiskFile::write_at`].
    ///
    /// # Errors
    /// The error of the file below.
    fn write_over(&self, buffers: &[IoSlice<'_>], offset: u64, durable: bool) -> io::Result<()>;

    /// As [`DiskFile::sync`].
    ///
    /// # Errors
    /// The error of the file below.
    fn sync_over(&self) -> io::Result<()> {
        self.below().sync()
    }
}

impl<T: DiskOver> Disk for T {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.before()?;
        self.open_over(path, mode)
    }

    fn stat(&self, path: &Path) -> io::Result<FileStat> {
        self.before()?;
        self.below().stat(path)
    }

    fn stat_link(&self, path: &Path) -> io::Result<FileStat> {
        self.before()?;
        self.below().stat_link(path)
    }

    fn entries(&self, directory: &Path) -> io::Result<Vec<(OsString, FileKind)>> {
        self.before()?;
        self.below().entries(directory)
    }

    fn open_files_max(&self) -> Option<u64> {
        self.open_files_max_over()
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.before()?;
        self.below().canonical(path)
    }

    fn create_dir_all(&self, directory: &Path) -> io::Result<()> {
        self.before()?;
        self.below().create_dir_all(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.before()?;
        self.below().rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.before()?;
        self.below().rename_new(from, to)
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        self.before()?;
        self.below().exchange(one, other)
    }

    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        self.before()?;
        self.below().link(file, name)
    }

    fn create_dir_like(&self, directory: &Path, like: &Path) -> io::Result<()> {
        self.before()?;
        self.below().create_dir_like(directory, like)
    }

    fn open_directory(&self, path: &Path) -> io::Result<Box<dyn OpenDirectory>> {
        self.before()?;
        self.open_directory_over(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.before()?;
        self.below().remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.before()?;
        self.below().remove_dir_all(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.before()?;
        self.sync_dir_over(directory)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.before()?;
        self.below().space(path)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError> {
        self.before()?;
        self.below().lock(path)
    }

    fn watch(&self) -> io::Result<Arc<dyn Watch>> {
        self.before()?;
        self.below().watch()
    }
}

impl<T: FileOver> DiskFile for T {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.below().read_at(buffer, offset)
    }

    fn read(&self, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        self.below().read(offset, bytes)
    }

    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64, durable: bool) -> io::Result<()> {
        self.write_over(buffers, offset, durable)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_over()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.below().allocate(len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.below().set_len(len)
    }

    fn stat(&self) -> io::Result<FileStat> {
        self.below().stat()
    }
}
