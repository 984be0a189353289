//! Small files of the data directory that are written in whole: an identity, positions, state.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use super::{Disk, DiskFile, OpenMode};

/// The file, open to be read; `None` if there is none.
///
/// # Errors
/// The disk refused.
pub fn find(disk: &dyn Disk, path: &Path) -> io::Result<Option<Arc<dyn DiskFile>>> {
    match disk.open(path, OpenMode { no_links: true, ..OpenMode::default() }) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes the file in whole, durably, in the place of the old one. Its directory is there.
///
/// # Errors
/// The disk refused; the old content stands.
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
