//! A disk that fails for one channel.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::park_timeout;
use std::time::Duration;

use pipeline::env::over::{DiskOver, FileOver};
use pipeline::env::{Disk, DiskFile, OpenMode};

/// Interval at which a held write checks whether it may end.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// A disk that refuses to write below one directory, or does not answer, while a test asks for it.
pub struct Refusing {
    /// The disk that does the rest.
    pub disk: Arc<dyn Disk>,
    /// The directory.
    pub below: PathBuf,
    /// True while writes fail.
    pub refuse: Arc<AtomicBool>,
    /// True while no write ends.
    pub hold: Arc<AtomicBool>,
}

struct RefusingFile {
    file: Arc<dyn DiskFile>,
    refuse: Arc<AtomicBool>,
    hold: Arc<AtomicBool>,
}

impl FileOver for RefusingFile {
    fn below(&self) -> &dyn DiskFile {
        &*self.file
    }

    fn write_over(&self, buffers: &[IoSlice<'_>], offset: u64, durable: bool) -> io::Result<()> {
        while self.hold.load(Ordering::SeqCst) {
            park_timeout(POLL_INTERVAL);
        }
        if self.refuse.load(Ordering::SeqCst) {
            return Err(io::Error::other("refused for the test"));
        }
        self.file.write_at(buffers, offset, durable)
    }
}

impl DiskOver for Refusing {
    fn below(&self) -> &dyn Disk {
        &*self.disk
    }

    fn open_over(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, mode)?;
        if path.starts_with(&self.below) {
            let (refuse, hold) = (self.refuse.clone(), self.hold.clone());
            return Ok(Arc::new(RefusingFile { file, refuse, hold }));
        }
        Ok(file)
    }
}
