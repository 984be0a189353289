//! What this process shows to others of its host.

use std::io;

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, set_dumpable_behavior, umask};

/// Files and directories that this process, and those that it starts, make from now on are for
/// their owner alone.
pub fn keep_files_to_owner() {
    let closed = Mode::RWXG | Mode::RWXO;
    // It can only be read by setting it.
    let before = umask(closed);
    umask(before | closed);
}

/// A crash leaves no memory of this process behind, neither in a file nor with a program that
/// collects such files, and a debugger cannot attach to it unless it is root's. Programs that it
/// starts are as they would be without it.
///
/// # Errors
/// The system refuses.
pub fn forbid_core_dumps() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
