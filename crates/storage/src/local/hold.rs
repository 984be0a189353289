//! Locks directories while names in them change.
//!
//! ```text
//!  publisher: shared lock of d ────► is d still at its path? ─► rename into d ─► unlock
//!  merger:    exclusive lock of d ─► the same ─► list, link, exchange, scan ──► unlock
//! ```
//!
//! The lock is on the directory itself, not on its name. After waiting for a merger, a publisher
//! may have locked the old directory, so it checks the path again. The system releases the locks of
//! a killed process. Where directories cannot be locked, none is ever exchanged.

use std::io;
use std::path::Path;

use pipeline::env::{Disk, OpenDirectory};

use super::exchange::Rules;

/// The error for a directory that another process has locked.
const BUSY: &str = "the directory is locked: its small files are being merged, or others write \
                    into it; it is retried. If this persists, a collector process is suspended: \
                    resume it (`kill -CONT`), or stop it";

/// A lock, until it is dropped; `None` where directories cannot be locked.
pub(super) type Held = Option<Box<dyn OpenDirectory>>;

/// Takes a shared lock of a directory: names in it may change.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] during an exclusive lock; otherwise the system's error.
pub(super) fn shared(disk: &dyn Disk, directory: &Path, rules: Rules) -> io::Result<Held> {
    if !rules.publishers_hold {
        return Ok(None);
    }
    hold(disk, directory, false, rules)
}

/// Takes an exclusive lock of a directory: it may be exchanged.
///
/// # Errors
/// As [`shared`], and [`io::ErrorKind::Unsupported`] where directories cannot be locked.
pub(super) fn alone(
    disk: &dyn Disk,
    directory: &Path,
    rules: Rules,
) -> io::Result<Box<dyn OpenDirectory>> {
    hold(disk, directory, rules.mergers_hold_alone, rules)?.ok_or_else(|| {
        let problem = "the directory is not on ext4, XFS, Btrfs, F2FS, ZFS, bcachefs, tmpfs or \
                       overlayfs; other file systems do not lock directories reliably; move it to \
                       one of these";
        io::Error::new(io::ErrorKind::Unsupported, problem)
    })
}

fn hold(disk: &dyn Disk, directory: &Path, alone: bool, rules: Rules) -> io::Result<Held> {
    let opened = disk.open_directory(directory).and_then(|open| Ok((open.try_lock(alone)?, open)));
    let (is_held, open) = match opened {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(None),
        opened => opened?,
    };
    if !is_held {
        return Err(io::Error::new(io::ErrorKind::WouldBlock, BUSY));
    }
    let (held, named) = (open.stat()?, disk.stat(directory)?);
    let is_same = (held.device, held.inode) == (named.device, named.inode);
    if !is_same && rules.path_is_looked_at_again {
        return Err(io::Error::new(io::ErrorKind::WouldBlock, BUSY));
    }
    Ok(Some(open))
}
