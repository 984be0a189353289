//! A disk without direct I/O: what the channel falls back to is measured as well.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipeline::env::{Disk, DiskFile, Env, FileKind, FileStat, Lock, LockError, OpenMode, Space};

/// The real world, but no file can be opened past the page cache.
pub(super) fn world() -> Env {
    Env { disk: Arc::new(Buffered(env::RealDisk)), ..env::real() }
}

struct Buffered(env::RealDisk);

impl Disk for Buffered {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        if mode.direct {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.0.open(path, mode)
    }

    fn stat(&self, path: &Path) -> io::Result<FileStat> {
        self.0.stat(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<(String, FileKind)>> {
        self.0.list(directory)
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.0.canonical(path)
    }

    fn create_dir_all(&self, directory: &Path) -> io::Result<()> {
        self.0.create_dir_all(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename_new(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.remove_dir_all(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.0.sync_dir(directory)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.0.space(path)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError> {
        self.0.lock(path)
    }
}
