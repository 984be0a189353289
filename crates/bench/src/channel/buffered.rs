//! A disk without direct I/O, to measure the channel's fallback.

use std::io;
use std::path::Path;
use std::sync::Arc;

use pipeline::env::over::DiskOver;
use pipeline::env::{Disk, DiskFile, Env, OpenMode};

/// Returns the real environment, in which no file supports direct I/O.
pub(super) fn world() -> Env {
    Env { disk: Arc::new(Buffered(env::RealDisk)), ..env::real() }
}

struct Buffered(env::RealDisk);

impl DiskOver for Buffered {
    fn below(&self) -> &dyn Disk {
        &self.0
    }

    fn open_over(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        if mode.direct {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.0.open(path, mode)
    }
}
