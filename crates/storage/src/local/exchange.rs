//! Files of one directory become one in one step: a directory is built anew, with the merged file
//! and one more name for each of the others, and exchanged with the old one.
//!
//! ```text
//!  build:    desk/x.new  held alone        abc written, durable
//!  exchange: d held alone                  d: a b c y       x.new: abc
//!            all parts are there           link the rest    x.new: abc y      durable
//!            x.new ◄─exchange─► d          d: abc y         x.new: a b c y    durable
//!            look through the old one      what came from outside goes into d
//!            x.new ─► x.old-<now>          let go of both
//!  tidy:     some seconds later            x.old deleted; its readers are gone
//! ```
//!
//! # Rules (the tests plant a bug for each)
//!
//! 1. Names in a directory change only while it is held with others, and it is exchanged only while
//!    it is held alone: nothing comes between listing it and exchanging it ([`super::hold`]).
//! 2. What is held is what the path names, looked at after it is held.
//! 3. Of files that are not all there nothing is made: an exchange that comes late does nothing.
//! 4. A directory with others in it stays as it is: they have no second names.
//! 5. What is on the desk is held alone until it is a leftover, and only what is not held is tidied
//!    up.
//! 6. Programs from outside hold nothing. What they put into the old directory meanwhile is found
//!    there after the exchange, and brought along.
//! 7. The old directory stays for a while for the readers that have it open.
//!
//! A kill leaves `d` as it was, or as it is to be, and something on the desk; the system lets go of
//! both directories. A process that is stopped holds up its own directory alone.

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
/// Bytes that are copied at once.
const PIECE: usize = 1 << 20;
/// Ending of a directory that is being built.
const NEW: &str = ".new";
/// Ending of one that is a leftover, before the milliseconds since 1970 at which it became one.
const OLD: &str = ".old-";

/// Which rules are in force: all of them, but in the tests that show what each is for.
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
pub(super) struct Joining {
    directory: PathBuf,
    /// The target, and then the others in their order.
    files: Vec<OsString>,
    desk: PathBuf,
    /// The directory that is built.
    fresh: PathBuf,
    rules: Rules,
}

/// A directory that holds the merged file.
pub(super) struct Built {
    /// Held alone.
    _held: Option<Box<dyn OpenDirectory>>,
    /// The files that it was made of.
    parts: Vec<(OsString, FileStat)>,
    /// Whether it may be the visible one by now.
    may_be_visible: AtomicBool,
}

fn unsupported(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, problem)
}

/// That there are no directories among these names.
fn flat(names: &[(OsString, FileKind)]) -> io::Result<()> {
    match names.iter().any(|(_, kind)| *kind == FileKind::Directory) {
        true => Err(unsupported("it has directories in it, which have no second names")),
        false => Ok(()),
    }
}

/// That files of `directory` can become one, prepared on `desk`, which is there.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] where they cannot; else as the system says.
pub(super) fn fits(
    disk: &dyn Disk,
    directory: &Path,
    desk: &Path,
    unique: u64,
    rules: Rules,
) -> io::Result<()> {
    hold::alone(disk, directory, rules)?;
    if disk.is_link(directory)? {
        return Err(unsupported("it is a symbolic link: write the path that it leads to"));
    }
    if disk.stat(directory)?.device != disk.stat(desk)?.device {
        return Err(unsupported("it is on another disk than the store"));
    }
    // Its owner and its access lists can be given to another one.
    let alike = desk.join(format!("{unique:016x}{NEW}"));
    disk.create_dir_like(&alike, directory)?;
    disk.remove_dir_all(&alike)?;
    flat(&disk.entries(directory)?)
}

/// That directories on `desk`, which is there, can be held and exchanged.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] where they cannot; else as the system says.
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

impl Joining {
    /// `files`, of which the first one keeps its name; `unique` names what is built on the desk.
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

    /// Builds the directory, with the merged file alone.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] for one of the files; else as the system says. What was built is
    /// to be thrown away.
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

    /// Exchanges the directory with what was built. Durable when it returns.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`]: to be tried again. [`io::ErrorKind::NotFound`] for one of the
    /// files; else as the system says.
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

    /// Brings along what was put into the old directory after it was listed.
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

    /// Throws away what was built, unless it is visible, or may be.
    pub(super) fn give_up(&self, disk: &dyn Disk, built: Option<&Built>) -> io::Result<()> {
        if built.is_some_and(|built| built.may_be_visible.load(Ordering::SeqCst)) {
            return Ok(());
        }
        disk.remove_dir_all(&self.fresh)
    }
}

fn changed() -> io::Error {
    io::Error::other("a file is not as it was read: another program has changed it")
}

/// The name of what is left of `directory` at `now`.
fn leftover(directory: &Path, now: u64) -> PathBuf {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let name = name.split('.').next().unwrap_or_default();
    directory.with_file_name(format!("{name}{OLD}{now}"))
}

/// Deletes the leftovers on `desk` that have been ones for long enough, in milliseconds since 1970.
///
/// # Errors
/// As the system says.
pub(super) fn tidy(disk: &dyn Disk, desk: &Path, now: u64, rules: Rules) -> io::Result<()> {
    let names = match disk.entries(desk) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names?,
    };
    for (name, _) in names {
        let path = desk.join(&name);
        // What is held, or gone, is another one's.
        let Ok(_held) = hold::alone(disk, &path, rules) else { continue };
        let since = name.to_str().and_then(|name| name.split_once(OLD)?.1.parse::<u64>().ok());
        match since {
            Some(since) if since <= now && now - since < KEPT_MILLIS => {}
            Some(since) if since <= now => disk.remove_dir_all(&path)?,
            // One that was left half built, or the clock went back.
            Some(_) | None => disk.rename(&path, &leftover(&path, now))?,
        }
    }
    Ok(())
}
