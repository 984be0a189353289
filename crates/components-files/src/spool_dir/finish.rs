//! Final step for a file. Blocks; changes are on the disk when it returns.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use pipeline::env::Disk;

use super::config::{Completion, Options};
use super::mark::Sight;

/// Maximum number of names to try for one file.
const NAMES_MAX: u32 = 1_000;

/// Result for a file whose events are stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finished {
    /// It was renamed, moved or deleted.
    Completed,
    /// As `Completed`, but the name was taken: it has this name.
    Numbered(PathBuf),
    /// The event is kept unchanged.
    Kept,
    /// Its name is gone, or belongs to another file.
    Vanished,
    /// It has changed since reading began, and has this size now.
    Changed(u64),
}

/// Finishes a file whose events are stored.
///
/// # Errors
/// Returns the operating system's error; the file may already have its final state.
pub(super) fn complete(disk: &dyn Disk, options: &Options, sight: &Sight) -> io::Result<Finished> {
    let stat = match disk.stat_link(&sight.path) {
        Ok(stat) if sight.is_same(&stat) => stat,
        Ok(_) => return Ok(Finished::Vanished),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Finished::Vanished),
        Err(error) => return Err(error),
    };
    if !sight.is_unchanged(&stat) {
        return Ok(Finished::Changed(stat.len));
    }
    let target = match &options.completion {
        Completion::Keep => return Ok(Finished::Kept),
        Completion::Delete => {
            disk.remove_file(&sight.path)?;
            sync_parent(disk, &sight.path)?;
            return Ok(Finished::Completed);
        }
        Completion::Suffix(_) => sight.path.clone(),
        Completion::Move(directory) => {
            let place = sight.path.strip_prefix(&options.directory).unwrap_or(&sight.path);
            directory.join(place)
        }
    };
    let suffix = match &options.completion {
        Completion::Suffix(suffix) => suffix,
        Completion::Delete | Completion::Move(_) | Completion::Keep => "",
    };
    let (name, is_first) = rename(disk, &sight.path, &target, suffix)?;
    Ok(if is_first { Finished::Completed } else { Finished::Numbered(name) })
}

/// Sets a bad file aside; returns its new name.
///
/// # Errors
/// Returns the operating system's error.
pub(super) fn set_aside(disk: &dyn Disk, options: &Options, path: &Path) -> io::Result<PathBuf> {
    if options.completion == Completion::Keep {
        return Ok(path.to_owned());
    }
    rename(disk, path, path, &options.failed_suffix).map(|(name, _)| name)
}

/// Renames to `target` with `suffix`, and inserts a number if that name exists. Returns the new
/// name, and whether it is the first one tried.
fn rename(
    disk: &dyn Disk,
    path: &Path,
    target: &Path,
    suffix: &str,
) -> io::Result<(PathBuf, bool)> {
    if let Some(parent) = target.parent() {
        disk.create_dir_all(parent)?;
    }
    for number in 1..=NAMES_MAX {
        let mut name = OsString::from(target);
        if number > 1 {
            name.push(format!(".{number}"));
        }
        name.push(suffix);
        let name = PathBuf::from(name);
        match disk.rename_new(path, &name) {
            Ok(()) => {
                sync_parent(disk, &name)?;
                sync_parent(disk, path)?;
                return Ok((name, number == 1));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    let problem = format!(
        "all {NAMES_MAX} numbered names of {} are taken; move old files away",
        target.display()
    );
    Err(io::Error::new(io::ErrorKind::AlreadyExists, problem))
}

fn sync_parent(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    disk.sync_dir(path.parent().unwrap_or(Path::new("/")))
}
