//! Path patterns, and the directory walk that finds matching files.
//!
//! A pattern is split at its slashes. The walk starts at the literal prefix and enters only
//! directories that can match. `**` matches any number of directories. Links to directories are
//! followed except below `**`, where they could form a cycle.
//!
//! Without `follow_symlinks` the walk follows no link below the literal prefix of a pattern,
//! neither to a directory nor to a file. Directories that a pattern spells out before its first
//! wildcard may be links: the operator named them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::take;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use pipeline::env::{Disk, FileKind, FileStat};

use super::names::is_unasked;
use super::open_handles::is_out_of_files;

/// A path pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    text: String,
    root: PathBuf,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    /// A literal name.
    Name(String),
    /// A name with wildcards.
    Wild(GlobMatcher),
    /// Any number of directories.
    Deep,
}

/// Names to exclude.
#[derive(Debug, Clone)]
pub(super) struct Exclusion {
    matcher: GlobMatcher,
    whole_path: bool,
}

/// Reason why a matching name is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PassedOver {
    /// A compressed file whose ending no pattern names.
    Compressed,
    /// A pipe, socket or device.
    Special,
    /// A directory.
    Directory,
    /// A symbolic link, while links are not followed.
    Link,
}

/// Result of a walk.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// True if links are followed.
    follow_links: bool,
    /// Regular files by path.
    pub(super) files: BTreeMap<PathBuf, FileStat>,
    /// Directories and files that could not be read, with the error.
    pub(super) problems: BTreeMap<PathBuf, io::ErrorKind>,
    /// Names among the files that may be links: other entries were listed with their type.
    pub(super) may_be_links: HashSet<PathBuf>,
    /// Directories that were listed; `true` = for files.
    pub(super) directories: BTreeMap<PathBuf, bool>,
    /// Matching names that are not followed.
    pub(super) passed_over: BTreeMap<PathBuf, PassedOver>,
    /// Links to directories that the walk followed, below the literal prefix of a pattern.
    pub(super) linked: BTreeSet<PathBuf>,
    /// True if something was skipped because too many files are open.
    pub(super) is_out_of_files: bool,
    /// Files of the current walk, nearly sorted: inserting thousands one by one into the map would
    /// cost a dozen path comparisons each.
    walked: Vec<(PathBuf, FileStat)>,
}

fn matcher(text: &str, literal_separator: bool) -> Result<GlobMatcher, String> {
    let glob = GlobBuilder::new(text).literal_separator(literal_separator).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|error| error.kind().to_string())
}

impl Pattern {
    /// Parses a pattern; the error explains what is wrong.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        refuse_mistakes(text)?;
        let root = if text.starts_with('/') { "/" } else { "." };
        let mut parts = Vec::new();
        for name in text.split('/').filter(|name| !name.is_empty() && *name != ".") {
            parts.push(match name {
                "**" => Part::Deep,
                ".." => return Err("must not contain `..`".to_owned()),
                name if name.contains(['*', '?', '[', '{', '\\', '}', ']']) => {
                    if name.matches('{').count() != name.matches('}').count() {
                        return Err("must not have a `/` between `{` and `}`".to_owned());
                    }
                    Part::Wild(matcher(name, true)?)
                }
                name => Part::Name(name.to_owned()),
            });
        }
        if matches!(parts.last(), Some(Part::Deep)) {
            parts.push(Part::Wild(matcher("*", true)?));
        }
        if parts.is_empty() {
            return Err("must not be empty".to_owned());
        }
        Ok(Self { text: text.to_owned(), root: PathBuf::from(root), parts })
    }

    /// Returns the pattern as written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns true if it is relative to the working directory.
    pub(super) fn is_relative(&self) -> bool {
        !self.text.starts_with('/')
    }

    /// Returns the directory that the pattern spells out before its first wildcard.
    pub(super) fn literal_directory(&self) -> PathBuf {
        let mut directory = self.root.clone();
        for part in &self.parts[..self.parts.len() - 1] {
            let Part::Name(name) = part else { break };
            directory.push(name);
        }
        directory
    }

    /// Returns true if a walk would find a file at this path, in directories that it lists.
    pub(super) fn matches(&self, path: &Path) -> bool {
        let Ok(path) = path.strip_prefix(&self.root) else { return false };
        let names: Vec<&OsStr> = path.iter().collect();
        matches(&self.parts, &names)
    }

    /// Adds every file that matches now and is not `excluded`; returns their number.
    pub(super) fn walk(
        &self,
        disk: &dyn Disk,
        excluded: impl Fn(&Path) -> bool,
        found: &mut Found,
    ) -> usize {
        walk(disk, &self.root, (&self.parts, true), found);
        let mut walked = take(&mut found.walked);
        walked.retain(|(path, _)| !excluded(path));
        let count = walked.len();
        found.files.append(&mut walked.into_iter().collect());
        count
    }
}

impl Exclusion {
    /// Parses a pattern for names, or for whole paths if it contains a slash.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let whole_path = text.contains('/');
        Ok(Self { matcher: matcher(text, true)?, whole_path })
    }

    /// Returns true if the file is excluded.
    pub(super) fn covers(&self, path: &Path) -> bool {
        if self.whole_path {
            return self.matcher.is_match(path);
        }
        path.file_name().is_some_and(|name| self.matcher.is_match(name))
    }
}

fn matches(parts: &[Part], names: &[&OsStr]) -> bool {
    let (Some((part, rest)), Some((name, deeper))) = (parts.split_first(), names.split_first())
    else {
        return parts.is_empty() && names.is_empty();
    };
    match part {
        Part::Name(expected) => OsStr::new(expected) == *name && matches(rest, deeper),
        Part::Wild(matcher) => {
            matcher.is_match(name)
                && matches(rest, deeper)
                && (!rest.is_empty() || !is_unasked(name, |name| matcher.is_match(name)))
        }
        Part::Deep => matches(rest, names) || matches(parts, deeper),
    }
}

/// Rejects syntax that works in a shell and not here, with the correct spelling.
fn refuse_mistakes(text: &str) -> Result<(), String> {
    if text.starts_with('~') {
        return Err(
            "`~` is not expanded here; write the whole path, for example `/home/app/logs/*.log`"
                .to_owned(),
        );
    }
    let variable = text.starts_with('$')
        || text.contains("${")
        || text.match_indices("/$").any(|(at, _)| {
            text[at + 2..].starts_with(|c: char| c.is_ascii_uppercase() || c == '{')
        });
    if variable {
        return Err(
            "only `${NAME}` in configuration files is expanded; write the value of the variable"
                .to_owned(),
        );
    }
    if text.len() > 1 && text.ends_with('/') {
        return Err(format!("must not be a directory; name the files in it, as in `{text}*.log`"));
    }
    Ok(())
}

/// Rest of a pattern, and whether no wildcard came before it.
type Rest<'a> = (&'a [Part], bool);

fn walk(disk: &dyn Disk, directory: &Path, (parts, is_literal): Rest<'_>, found: &mut Found) {
    let Some((part, rest)) = parts.split_first() else { return };
    *found.directories.entry(directory.to_owned()).or_default() |= rest.is_empty();
    match part {
        Part::Name(name) => {
            let path = directory.join(name);
            // An entry below a wildcard may be a link of another user.
            let is_link = !is_literal
                && !rest.is_empty()
                && !found.follow_links
                && disk.is_link(&path).unwrap_or(false);
            if is_link {
                found.passed_over.insert(path, PassedOver::Link);
                return;
            }
            step(disk, &path, true, (rest, is_literal), found);
        }
        Part::Wild(matcher) => {
            for (name, kind) in list(disk, directory, found) {
                let may_match = match kind {
                    FileKind::File | FileKind::Other => rest.is_empty(),
                    FileKind::Directory => !rest.is_empty(),
                    FileKind::Link => true,
                };
                if !may_match || !matcher.is_match(&name) {
                    continue;
                }
                let path = directory.join(&name);
                let unasked = || is_unasked(&name, |name| matcher.is_match(name));
                let passed_over = match kind {
                    FileKind::Other => Some(PassedOver::Special),
                    FileKind::Link if !found.follow_links => Some(PassedOver::Link),
                    _ if rest.is_empty() && unasked() => Some(PassedOver::Compressed),
                    _ => None,
                };
                if let Some(why) = passed_over {
                    found.passed_over.insert(path, why);
                    continue;
                }
                if kind == FileKind::Link && !rest.is_empty() {
                    found.linked.insert(path.clone());
                }
                step(disk, &path, kind == FileKind::Link, (rest, false), found);
            }
        }
        Part::Deep => {
            walk(disk, directory, (rest, false), found);
            for (name, kind) in list(disk, directory, found) {
                if kind == FileKind::Directory {
                    walk(disk, &directory.join(name), (parts, false), found);
                }
            }
        }
    }
}

/// Continues with a name that matches so far: the file itself, or a directory on the way.
fn step(disk: &dyn Disk, path: &Path, may_be_link: bool, rest: Rest<'_>, found: &mut Found) {
    if !rest.0.is_empty() {
        return walk(disk, path, rest, found);
    }
    // A link's own inode is never a file's inode, so a link swapped in now is not followed either.
    let stat = if found.follow_links { disk.stat(path) } else { disk.stat_link(path) };
    let stat = match stat {
        Ok(stat) => stat,
        Err(error) => return found.note(path, &error),
    };
    let why = match stat.kind {
        FileKind::File => {
            found.walked.push((path.to_owned(), stat));
            if may_be_link {
                found.may_be_links.insert(path.to_owned());
            }
            return;
        }
        FileKind::Directory => PassedOver::Directory,
        FileKind::Link => PassedOver::Link,
        FileKind::Other => PassedOver::Special,
    };
    found.passed_over.insert(path.to_owned(), why);
}

fn list(disk: &dyn Disk, directory: &Path, found: &mut Found) -> Vec<(OsString, FileKind)> {
    disk.entries(directory).unwrap_or_else(|error| {
        found.note(directory, &error);
        Vec::new()
    })
}

impl Found {
    /// Creates an empty result.
    pub(super) fn new(follow_links: bool) -> Self {
        Self { follow_links, ..Self::default() }
    }

    /// Records an error. A missing path may appear later, and a non-directory contains nothing:
    /// neither is a problem.
    pub(super) fn note(&mut self, path: &Path, error: &io::Error) {
        if is_out_of_files(error) {
            self.is_out_of_files = true;
        } else if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            self.problems.insert(path.to_owned(), error.kind());
        }
    }
}

#[cfg(test)]
mod tests;
