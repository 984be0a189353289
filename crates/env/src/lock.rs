//! Locks of files.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use pipeline::env::{Lock, LockError, is_full};
use rustix::fs::{FlockOperation, Mode, OFlags, fcntl_lock, flock, open};
use rustix::io::Errno;

use crate::no_links::open_file;

/// A lock of the whole file, with the pid of its owner in it.
pub(crate) fn lock(path: &Path) -> Result<Box<dyn Lock>, LockError> {
    // Through a link, a file that is another's would be written over.
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    let mut file = File::from(open_file(path, flags, Mode::from_raw_mode(0o640))?);
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid)?;
            return Err(LockError::Held { pid: pid.trim().to_owned() });
        }
        Err(other) => return Err(LockError::Io(other.into())),
    }
    // The lock does not depend on writing the pid: a full disk does not prevent it.
    match write_pid(&mut file) {
        Err(error) if is_full(&error) => {}
        written => written?,
    }
    Ok(Box::new(RealLock { _file: file }))
}

/// Takes a POSIX lock, like Java.
pub(crate) fn lock_record(path: &Path) -> Result<Box<dyn Lock>, LockError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = open(path, flags, Mode::from_raw_mode(0o640)).map_err(io::Error::from)?;
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Box::new(RealLock { _file: File::from(file) })),
        Err(Errno::ACCESS | Errno::AGAIN) => Err(LockError::Held { pid: String::new() }),
        Err(other) => Err(LockError::Io(other.into())),
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    let pid = format!("{}\n", std::process::id());
    // Overwrites the existing block, before the rest of a longer pid is cut off.
    file.rewind()?;
    file.write_all(pid.as_bytes())?;
    file.set_len(pid.len() as u64)
}

/// The lock is released with the descriptor.
struct RealLock {
    _file: File,
}

impl Lock for RealLock {}
