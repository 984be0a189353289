//! Which names are tailed: patterns, and the walk that finds what they match.
//!
//! A pattern is taken apart at its slashes, so the walk goes only where it can match: from the
//! literal beginning, name by name. `**` stands for any number of directories; links to directories
//! are followed except there, where they could lead in circles.
//!
//! Without `follow_symlinks` no link is followed that lies below the literal beginning of a
//! pattern, and no file that is one. The directories that a pattern spells out before its first
//! wildcard are the operator's own word, and may be links.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::take;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use pipeline::env::{Disk, FileKind, FileStat};

use super::handles::is_out_of_files;
use super::names::is_unasked;

/// A pattern for paths.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    text: String,
    root: PathBuf,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    /// One name, as it is.
    Name(String),
    /// One name that matches.
    Wild(GlobMatcher),
    /// Any number of directories.
    Deep,
}

/// Names that are left out.
#[derive(Debug, Clone)]
pub(super) struct Exclusion {
    matcher: GlobMatcher,
    whole_path: bool,
}

/// Why a name that matches is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PassedOver {
    /// A compressed file that no pattern asks for.
    Compressed,
    /// A pipe, socket or device.
    Special,
    /// A directory.
    Directory,
    /// A symbolic link, which is not to be followed.
    Link,
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Whether links are followed.
    follow_links: bool,
    /// Regular files by path.
    pub(super) files: BTreeMap<PathBuf, FileStat>,
    /// Directories and files that could not be looked at, with the reason.
    pub(super) problems: BTreeMap<PathBuf, io::ErrorKind>,
    /// Names among the files that may be links: others are listed as what they are.
    pub(super) may_be_links: HashSet<PathBuf>,
    /// Directories that were looked into; `true` = for files.
    pub(super) directories: BTreeMap<PathBuf, bool>,
    /// Names that match and are not followed.
    pub(super) passed_over: BTreeMap<PathBuf, PassedOver>,
    /// Links to directories that were gone through, below the literal beginning of a pattern.
    pub(super) linked: BTreeSet<PathBuf>,
    /// Whether something was not looked at because too many files are open.
    pub(super) is_out_of_files: bool,
    /// Files of the walk that goes on, nearly in order: to add thousands one by one, each would be
    /// compared with a dozen paths.
    walked: Vec<(PathBuf, FileStat)>,
}

fn matcher(text: &str, literal_separator: bool) -> Result<GlobMatcher, String> {
    let glob = GlobBuilder::new(text).literal_separator(literal_separator).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|error| error.kind().to_string())
}

impl Pattern {
    /// Reads a pattern; the error says what is wrong with it.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        refuse_mistakes(text)?;
        let root = if text.starts_with('/') { "/" } else { "." };
        let mut parts = Vec::new();
        for name in text.split('/').filter(|name| !name.is_empty() && *name != ".") {
            parts.push(match name {
                "**" => Part::Deep,
                ".." => return Err("`..` cannot stand in a pattern".to_owned()),
                name if name.contains(['*', '?', '[', '{', '\\', '}', ']']) => {
                    if name.matches('{').count() != name.matches('}').count() {
                        return Err("a `/` cannot stand between `{` and `}`".to_owned());
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
            return Err("it names no file".to_owned());
        }
        Ok(Self { text: text.to_owned(), root: PathBuf::from(root), parts })
    }

    /// As it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is looked for below the working directory.
    pub(super) fn is_relative(&self) -> bool {
        !self.text.starts_with('/')
    }

    /// The directory that it spells out before its first wildcard.
    pub(super) fn literal_directory(&self) -> PathBuf {
        let mut directory = self.root.clone();
        for part in &self.parts[..self.parts.len() - 1] {
            let Part::Name(name) = part else { break };
            directory.push(name);
        }
        directory
    }

    /// Whether a walk would find a file that lies there, in directories that it looked into.
    pub(super) fn matches(&self, path: &Path) -> bool {
        let Ok(path) = path.strip_prefix(&self.root) else { return false };
        let names: Vec<&OsStr> = path.iter().collect();
        matches(&self.parts, &names)
    }

    /// Adds every file that matches now, except those that `excluded` names; answers how many.
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
    /// Reads a pattern for names, or for whole paths if it holds a slash.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let whole_path = text.contains('/');
        Ok(Self { matcher: matcher(text, true)?, whole_path })
    }

    /// Whether the file is left out.
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

/// What is right in a shell and wrong here, with what to write instead.
fn refuse_mistakes(text: &str) -> Result<(), String> {
    if text.starts_with('~') {
        return Err("`~` is not replaced here; write the whole path, for example \
                    `/home/app/logs/*.log`"
            .to_owned());
    }
    let variable = text.starts_with('$')
        || text.contains("${")
        || text.match_indices("/$").any(|(at, _)| {
            text[at + 2..].starts_with(|c: char| c.is_ascii_uppercase() || c == '{')
        });
    if variable {
        return Err(
            "variables are written `${NAME}`, and replaced in configuration files alone; write \
                    their value"
                .to_owned(),
        );
    }
    if text.len() > 1 && text.ends_with('/') {
        return Err(format!("it names a directory; name the files in it, as in `{text}*.log`"));
    }
    Ok(())
}

/// The rest of a pattern, and whether there was no wildcard before it.
type Rest<'a> = (&'a [Part], bool);

fn walk(disk: &dyn Disk, directory: &Path, (parts, is_literal): Rest<'_>, found: &mut Found) {
    let Some((part, rest)) = parts.split_first() else { return };
    *found.directories.entry(directory.to_owned()).or_default() |= rest.is_empty();
    match part {
        Part::Name(name) => {
            let path = directory.join(name);
            // What stands below a wildcard may be a link that others made.
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

/// A name that matches so far: the file itself, or a directory on the way.
fn step(disk: &dyn Disk, path: &Path, may_be_link: bool, rest: Rest<'_>, found: &mut Found) {
    if !rest.0.is_empty() {
        return walk(disk, path, rest, found);
    }
    // The number of a link itself is no file's: what is exchanged meanwhile is not followed either.
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
    /// Nothing yet.
    pub(super) fn new(follow_links: bool) -> Self {
        Self { follow_links, ..Self::default() }
    }

    /// What is not there may come later, and what is no directory holds nothing: both are no
    /// problem.
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
