//! The visibility of this process's data to other users of its host.

use std::io;

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, set_dumpable_behavior, umask};

/// Makes new files and directories of this process, and of its children, accessible only to their
/// owner.
pub fn keep_files_to_owner() {
    let closed = Mode::RWXG | Mode::RWXO;
    // It can only be read by setting it.
    let before = umask(closed);
    umask(before | closed);
}

/// Disables core dumps of this process, in files and by programs that collect them, and debuggers
/// of users other than root. Child processes are not affected.
///
/// # Errors
/// The system refuses.
pub fn forbid_core_dumps() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
