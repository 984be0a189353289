//! A directory is held while names in it change.
//!
//! ```text
//!  publisher: hold d with others ─► d is still what its path names? ─► rename into d ─► let go
//!  merger:    hold d alone ───────► the same ─► list, link, exchange, look through ──► let go
//! ```
//!
//! What is held is the directory itself, not its name. One that waited for a merger may hold the
//! old directory afterwards, so it looks at the path again. The system lets go of what a killed
//! process has held. Where a directory cannot be held, none is ever exchanged.

use std::io;
use std::path::Path;

use pipeline::env::{Disk, OpenDirectory};

use super::exchange::Rules;

/// What is said of a directory that is held otherwise.
const BUSY: &str = "small files of its directory are being merged, or others write into it just \
     now; it is tried again. If it stays so, a collector is stopped there: continue it, or end it";

/// What is held, until it is dropped; `None` where directories cannot be held.
pub(super) type Held = Option<Box<dyn OpenDirectory>>;

/// Holds a directory with others: names in it may change.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] while it is held alone; else as the system says.
pub(super) fn shared(disk: &dyn Disk, directory: &Path, rules: Rules) -> io::Result<Held> {
    if !rules.publishers_hold {
        return Ok(None);
    }
    hold(disk, directory, false, rules)
}

/// Holds a directory alone: it may be exchanged.
///
/// # Errors
/// As [`shared`], and [`io::ErrorKind::Unsupported`] where directories cannot be held.
pub(super) fn alone(
    disk: &dyn Disk,
    directory: &Path,
    rules: Rules,
) -> io::Result<Box<dyn OpenDirectory>> {
    hold(disk, directory, rules.mergers_hold_alone, rules)?.ok_or_else(|| {
        let problem = "it is not on ext4, XFS, Btrfs, F2FS, ZFS, bcachefs, tmpfs or overlayfs: on \
                       others a lock may not hold off all that write there";
        io::Error::new(io::ErrorKind::Unsupported, problem)
    })
}

fn hold(disk: &dyn Disk, directory: &Path, alone: bool, rules: Rules) -> io::Result<Held> {
    let opened = disk.open_directory(directory).and_then(|open| Ok((open.hold(alone)?, open)));
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
