//! Merges files of one directory in one step: builds a copy of the directory, with the merged file
//! and one more name for each of the other files, and exchanges it with the old one.
//!
//! ```text
//!  build:    desk/x.new  exclusive lock    abc written, durable
//!  exchange: d exclusive lock              d: a b c y       x.new: abc
//!            check that all parts exist    link the rest    x.new: abc y      durable
//!            x.new ◄─exchange─► d          d: abc y         x.new: a b c y    durable
//!            scan the old one              foreign files are moved into d
//!            x.new ─► x.old-<now>          unlock both
//!  tidy:     some seconds later            x.old deleted; its readers are done
//! ```
//!
//! # Rules (the tests plant a bug for each)
//!
//! 1. Names in a directory change only under its shared lock, and it is exchanged only under its
//!    exclusive lock: nothing changes between listing and exchanging it ([`super::hold`]).
//! 2. The lock holder checks that the path still names the locked directory.
//! 3. If any of the files is missing, nothing is built: a late exchange has no effect.
//! 4. A directory with subdirectories stays as it is, because these cannot have second names.
//! 5. A directory on the desk is exclusively locked until it is a leftover. Only unlocked ones are
//!    tidied up.
//! 6. Foreign programs use no lock. Files that they put into the old directory in the meantime are
//!    found there after the exchange, and moved.
//! 7. The old directory stays for a while for readers that have it open.
//!
//! After a kill `d` is in its old or its new state, with a leftover on the desk; the system
//! releases both locks. A process that is stopped blocks only its own directory.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use pipeline::env::{Disk, FileKind, FileStat, OpenDirectory, OpenMode};

use super::hold;

#[cfg(test)]
mod tests;

/// How long the old directory stays, in milliseconds.
const KEPT_MILLIS: u64 = 10_000;
/// Bytes copied per step.
const PIECE: usize = 1 << 20;
/// Ending of a directory that is being built.
const NEW: &str = ".new";
/// Ending of one that is a leftover, before the milliseconds since 1970 at which it became one.
const OLD: &str = ".old-";

/// The rules in force: all, except in tests that show the purpose of each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) publishers_hold: bool,
    pub(super) mergers_hold_alone: bool,
    pub(super) path_is_looked_at_again: bool,
    pub(super) parts_are_looked_for: bool,
    pub(super) directories_are_refused: bool,
    pub(super) desk_is_held: bool,
    pub(super) old_is_looked_through: bool,
    pub(super) old_is_kept: bool,
}

impl Rules {
    pub(super) const IN_FORCE: Self = Self {
        publishers_hold: true,
        mergers_hold_alone: true,
        path_is_looked_at_again: true,
        parts_are_looked_for: true,
        directories_are_refused: true,
        desk_is_held: true,
        old_is_looked_through: true,
        old_is_kept: true,
    };
}

/// Files of one directory that are to become one.
pub(super) struct MergeInputs {
    directory: PathBuf,
    /// The target, and then the others in order.
    files: Vec<OsString>,
    desk: PathBuf,
    /// The directory that is built.
    fresh: PathBuf,
    rules: Rules,
}

/// A directory with the merged file.
pub(super) struct Built {
    /// Its exclusive lock.
    _held: Option<Box<dyn OpenDirectory>>,
    /// The files from which it was made.
    parts: Vec<(OsString, FileStat)>,
    /// True if it may already be the visible one.
    may_be_visible: AtomicBool,
}

fn unsupported(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, problem)
}

/// Checks that there are no directories among these names.
fn flat(names: &[(OsString, FileKind)]) -> io::Result<()> {
    match names.iter().any(|(_, kind)| *kind == FileKind::Directory) {
        true => Err(unsupported(
            "the directory has subdirectories, which cannot be hard-linked; move them away, or \
             remove `compact`",
        )),
        false => Ok(()),
    }
}

/// Checks that files of `directory` can be merged, using the existing `desk`.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] if they cannot; otherwise the system's error.
pub(super) fn fits(
    disk: &dyn Disk,
    directory: &Path,
    desk: &Path,
    unique: u64,
    rules: Rules,
) -> io::Result<()> {
    hold::alone(disk, directory, rules)?;
    if disk.is_link(directory)? {
        return Err(unsupported("the directory is a symbolic link: use its target path"));
    }
    if disk.stat(directory)?.device != disk.stat(desk)?.device {
        return Err(unsupported(
            "the directory is on another file system than the store; move it to the file system of \
             the store, or remove `compact`",
        ));
    }
    // Its owner and its access lists can be copied to another directory.
    let alike = desk.join(format!("{unique:016x}{NEW}"));
    disk.create_dir_like(&alike, directory)?;
    disk.remove_dir_all(&alike)?;
    flat(&disk.entries(directory)?)
}

/// Checks that directories on the existing `desk` can be locked and exchanged.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] if they cannot; otherwise the system's error.
pub(super) fn works(disk: &dyn Disk, desk: &Path, unique: u64, rules: Rules) -> io::Result<()> {
    let [one, other] = ["a", "b"].map(|name| desk.join(format!("{unique:016x}{name}{NEW}")));
    for directory in [&one, &other] {
        disk.create_dir_like(directory, desk)?;
    }
    let held = hold::alone(disk, &one, rules);
    let works = held.and_then(|_held| disk.exchange(&one, &other));
    for directory in [&one, &other] {
        disk.remove_dir_all(directory)?;
    }
    works
}

impl MergeInputs {
    /// Creates a merge of `files`; the first one keeps its name, and `unique` names the directory
    /// on the desk.
    pub(super) fn new(
        directory: &Path,
        files: Vec<OsString>,
        desk: &Path,
        unique: u64,
        rules: Rules,
    ) -> Self {
        let fresh = desk.join(format!("{unique:016x}{NEW}"));
        Self { directory: directory.into(), files, desk: desk.into(), fresh, rules }
    }

    /// Builds the directory, with only the merged file.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] for one of the files; otherwise the system's error. The caller
    /// must remove the built directory.
    pub(super) fn build(&self, disk: &dyn Disk) -> io::Result<Built> {
        disk.create_dir_like(&self.fresh, &self.directory)?;
        let held = match self.rules.desk_is_held {
            true => Some(hold::alone(disk, &self.fresh, self.rules)?),
            false => None,
        };
        let mode =
            OpenMode { write: true, create_new: true, uncached: true, ..OpenMode::default() };
        let whole = disk.open(&self.fresh.join(&self.files[0]), mode)?;
        let (mut parts, mut len) = (Vec::new(), 0);
        for name in &self.files {
            let file = disk.open(&self.directory.join(name), OpenMode::default())?;
            let stat = file.stat()?;
            let mut at = 0;
            while at < stat.len {
                let piece = file.read(at, PIECE)?;
                if piece.is_empty() {
                    return Err(changed());
                }
                whole.write_at(&[IoSlice::new(&piece)], len, false)?;
                (at, len) = (at + piece.len() as u64, len + piece.len() as u64);
            }
            parts.push((name.clone(), stat));
        }
        whole.sync()?;
        Ok(Built { _held: held, parts, may_be_visible: AtomicBool::new(false) })
    }

    /// Exchanges the directory with the built one. Durable when it returns.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`]: retry. [`io::ErrorKind::NotFound`] for one of the files;
    /// otherwise the system's error.
    pub(super) fn exchange(&self, disk: &dyn Disk, built: &Built, now: u64) -> io::Result<()> {
        let (directory, fresh) = (&self.directory, &self.fresh);
        let _held = hold::alone(disk, directory, self.rules)?;
        let before = disk.entries(directory)?;
        if self.rules.directories_are_refused {
            flat(&before)?;
        }
        for (name, part) in &built.parts {
            let found = disk.stat_link(&directory.join(name));
            if !self.rules.parts_are_looked_for {
                continue;
            }
            let found = found?;
            if (found.inode, found.len) != (part.inode, part.len) {
                return Err(changed());
            }
        }
        let parts: BTreeSet<&OsString> = self.files.iter().collect();
        for (name, kind) in &before {
            if !parts.contains(name) && *kind != FileKind::Directory {
                disk.link(&directory.join(name), &fresh.join(name))?;
            }
        }
        disk.sync_dir(fresh)?;
        built.may_be_visible.store(true, Ordering::SeqCst);
        disk.exchange(fresh, directory)?;
        disk.sync_dir(directory.parent().unwrap_or(directory))?;
        disk.sync_dir(&self.desk)?;
        self.look_through(disk, &before)?;
        let old = leftover(fresh, now);
        disk.rename(fresh, &old)?;
        if !self.rules.old_is_kept {
            disk.remove_dir_all(&old)?;
        }
        Ok(())
    }

    /// Moves files that were put into the old directory after it was listed.
    fn look_through(&self, disk: &dyn Disk, before: &[(OsString, FileKind)]) -> io::Result<()> {
        if !self.rules.old_is_looked_through {
            return Ok(());
        }
        let mut came = false;
        for (name, _) in disk.entries(&self.fresh)? {
            if before.binary_search_by(|(known, _)| known.cmp(&name)).is_err() {
                disk.rename_new(&self.fresh.join(&name), &self.directory.join(&name))?;
                came = true;
            }
        }
        if came { disk.sync_dir(&self.directory) } else { Ok(()) }
    }

    /// Removes the built directory, unless it is or may be visible.
    pub(super) fn give_up(&self, disk: &dyn Disk, built: Option<&Built>) -> io::Result<()> {
        if built.is_some_and(|built| built.may_be_visible.load(Ordering::SeqCst)) {
            return Ok(());
        }
        disk.remove_dir_all(&self.fresh)
    }
}

fn changed() -> io::Error {
    io::Error::other(
        "another program changed a file while it was copied; find that program, and stop it from \
         changing files of this sink",
    )
}

/// Returns the name of the leftover of `directory` at `now`.
fn leftover(directory: &Path, now: u64) -> PathBuf {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let name = name.split('.').next().unwrap_or_default();
    directory.with_file_name(format!("{name}{OLD}{now}"))
}

/// Deletes leftovers on `desk` that are old enough, in milliseconds since 1970.
///
/// # Errors
/// The system's error.
pub(super) fn tidy(disk: &dyn Disk, desk: &Path, now: u64, rules: Rules) -> io::Result<()> {
    let names = match disk.entries(desk) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names?,
    };
    for (name, _) in names {
        let path = desk.join(&name);
        // A locked or missing directory belongs to another process.
        let Ok(_held) = hold::alone(disk, &path, rules) else { continue };
        let since = name.to_str().and_then(|name| name.split_once(OLD)?.1.parse::<u64>().ok());
        match since {
            Some(since) if since <= now && now - since < KEPT_MILLIS => {}
            Some(since) if since <= now => disk.remove_dir_all(&path)?,
            // It was left half built, or the clock went back.
            Some(_) | None => disk.rename(&path, &leftover(&path, now))?,
        }
    }
    Ok(())
}
