//! Lists the files of the directory in reading order.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use pipeline::env::{Disk, Entropy, FileKind, FileStat};
use pipeline::file_position::shown;

use super::config::{Completion, ConsumeOrder, Options};
use super::mark::PATH_MAX;

/// Maximum number of files per listing; the next one finds the others.
const FILES_MAX: usize = 100_000;

/// A file to be read.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) stat: FileStat,
}

/// Result of a listing.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// In reading order.
    pub(super) files: Vec<Found>,
    /// Files and directories that cannot be read.
    pub(super) unreadable: Vec<(PathBuf, io::Error)>,
    /// True if the directory has more files than the limit.
    pub(super) is_cut: bool,
}

/// Lists the directory.
///
/// # Errors
/// Fails if the directory cannot be listed.
pub(super) fn list(
    disk: &dyn Disk,
    entropy: &dyn Entropy,
    options: &Options,
) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let mut directories = vec![options.directory.clone()];
    while let Some(directory) = directories.pop() {
        let entries = match disk.entries(&directory) {
            Ok(entries) => entries,
            Err(error) if directory == options.directory => return Err(error),
            Err(error) => {
                listing.unreadable.push((directory, error));
                continue;
            }
        };
        for (name, kind) in entries {
            let path = directory.join(&name);
            match kind {
                FileKind::Directory if options.recursive && is_read(options, &name, &path) => {
                    directories.push(path);
                }
                FileKind::File if is_file_read(options, &name) => listing.look_at(disk, path),
                // A link may lead to a file that only the agent may read.
                FileKind::File | FileKind::Directory | FileKind::Link | FileKind::Other => {}
            }
        }
    }
    sort(&mut listing.files, options.order, entropy);
    listing.is_cut = listing.files.len() > FILES_MAX;
    listing.files.truncate(FILES_MAX);
    Ok(listing)
}

impl Listing {
    fn look_at(&mut self, disk: &dyn Disk, path: PathBuf) {
        if path.as_os_str().len() > PATH_MAX {
            let error = io::Error::other(format!(
                "the path exceeds {PATH_MAX} bytes; rename the file or its directories"
            ));
            self.unreadable.push((path, error));
            return;
        }
        match disk.stat_link(&path) {
            Ok(stat) => self.files.push(Found { path, stat }),
            // It was removed in between.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.unreadable.push((path, error)),
        }
    }
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

fn is_read(options: &Options, name: &OsStr, path: &Path) -> bool {
    let is_completed = matches!(&options.completion, Completion::Move(to) if to == path);
    !is_hidden(name) && !is_completed
}

/// Returns true if a file of this name is read.
fn is_file_read(options: &Options, name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    let ends = |suffix: &str| bytes.ends_with(suffix.as_bytes());
    let text = shown(Path::new(name));
    !is_hidden(name)
        && !ends(&options.completed_suffix)
        && !ends(&options.failed_suffix)
        && !options.ignore.is_match(&text)
        && options.include.is_match(&text)
}

fn sort(files: &mut [Found], order: ConsumeOrder, entropy: &dyn Entropy) {
    let by_age = |a: &Found, b: &Found| a.stat.modified.cmp(&b.stat.modified);
    match order {
        ConsumeOrder::Oldest => {
            files.sort_by(|a, b| by_age(a, b).then_with(|| a.path.cmp(&b.path)));
        }
        ConsumeOrder::Youngest => {
            files.sort_by(|a, b| by_age(b, a).then_with(|| a.path.cmp(&b.path)));
        }
        ConsumeOrder::Random => files.sort_by_cached_key(|_| entropy.next_u64()),
    }
}
