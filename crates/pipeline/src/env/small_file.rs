//! Small files of the data directory that are written in whole: an identity, positions, state.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use super::{Disk, DiskFile, OpenMode};

/// Opens the file for reading; `None` if it does not exist.
///
/// # Errors
/// The disk failed.
pub fn find(disk: &dyn Disk, path: &Path) -> io::Result<Option<Arc<dyn DiskFile>>> {
    match disk.open(path, OpenMode { no_links: true, ..OpenMode::default() }) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces the whole file, durably. Its directory must exist.
///
/// # Errors
/// The disk failed; the old content stays.
pub fn replace(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mode = OpenMode { write: true, create: true, no_links: true, ..OpenMode::default() };
    let file = disk.open(&temporary, mode)?;
    file.set_len(0)?;
    file.write_at(&[IoSlice::new(content)], 0, false)?;
    file.sync()?;
    disk.rename(&temporary, path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new("/")))
}
