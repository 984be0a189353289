//! Which names are tailed: patterns, and the walk that finds what they match.
//!
//! A pattern is taken apart at its slashes, so the walk goes only where it can match: from the
//! literal beginning, name by name. `**` stands for any number of directories; links to directories
//! are followed except there, where they could lead in circles.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::mem::take;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use pipeline::env::{Disk, FileKind, FileStat};

/// A pattern for paths.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
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

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Regular files by path.
    pub(super) files: BTreeMap<PathBuf, FileStat>,
    /// Directories and files that could not be looked at, with the reason.
    pub(super) problems: BTreeMap<PathBuf, io::ErrorKind>,
    /// Names among the files that may be links: others are listed as what they are.
    pub(super) may_be_links: HashSet<PathBuf>,
    /// Directories that were looked into; `true` = for files.
    pub(super) directories: BTreeMap<PathBuf, bool>,
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
        Ok(Self { root: PathBuf::from(root), parts })
    }

    /// Whether a walk would find a file that lies there, in directories that it looked into.
    pub(super) fn matches(&self, path: &Path) -> bool {
        let Ok(path) = path.strip_prefix(&self.root) else { return false };
        let names: Option<Vec<&str>> = path.iter().map(OsStr::to_str).collect();
        names.is_some_and(|names| matches(&self.parts, &names))
    }

    /// Adds every file that matches now.
    pub(super) fn walk(&self, disk: &dyn Disk, found: &mut Found) {
        walk(disk, &self.root, &self.parts, found);
        found.files.append(&mut take(&mut found.walked).into_iter().collect());
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

fn matches(parts: &[Part], names: &[&str]) -> bool {
    let (Some((part, rest)), Some((name, deeper))) = (parts.split_first(), names.split_first())
    else {
        return parts.is_empty() && names.is_empty();
    };
    match part {
        Part::Name(expected) => expected == name && matches(rest, deeper),
        Part::Wild(matcher) => matcher.is_match(name) && matches(rest, deeper),
        Part::Deep => matches(rest, names) || matches(parts, deeper),
    }
}

fn walk(disk: &dyn Disk, directory: &Path, parts: &[Part], found: &mut Found) {
    let Some((part, rest)) = parts.split_first() else { return };
    *found.directories.entry(directory.to_owned()).or_default() |= rest.is_empty();
    match part {
        Part::Name(name) => step(disk, &directory.join(name), true, rest, found),
        Part::Wild(matcher) => {
            for (name, kind) in list(disk, directory, found) {
                let possible = match kind {
                    FileKind::File => rest.is_empty(),
                    FileKind::Directory => !rest.is_empty(),
                    FileKind::Link => true,
                    FileKind::Other => false,
                };
                if possible && matcher.is_match(&name) {
                    step(disk, &directory.join(name), kind == FileKind::Link, rest, found);
                }
            }
        }
        Part::Deep => {
            walk(disk, directory, rest, found);
            for (name, kind) in list(disk, directory, found) {
                if kind == FileKind::Directory {
                    walk(disk, &directory.join(name), parts, found);
                }
            }
        }
    }
}

/// A name that matches so far: the file itself, or a directory on the way.
fn step(disk: &dyn Disk, path: &Path, may_be_link: bool, rest: &[Part], found: &mut Found) {
    if !rest.is_empty() {
        return walk(disk, path, rest, found);
    }
    match disk.stat(path) {
        Ok(stat) if stat.kind == FileKind::File => {
            found.walked.push((path.to_owned(), stat));
            if may_be_link {
                found.may_be_links.insert(path.to_owned());
            }
        }
        Ok(_) => {}
        Err(error) => found.note(path, &error),
    }
}

fn list(disk: &dyn Disk, directory: &Path, found: &mut Found) -> Vec<(String, FileKind)> {
    disk.list(directory).unwrap_or_else(|error| {
        found.note(directory, &error);
        Vec::new()
    })
}

impl Found {
    /// What is not there may come later, and what is no directory holds nothing: both are no
    /// problem.
    pub(super) fn note(&mut self, path: &Path, error: &io::Error) {
        if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            self.problems.insert(path.to_owned(), error.kind());
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test lays out real files")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn found(root: &Path, pattern: &str) -> Vec<String> {
        let mut found = Found::default();
        let pattern = format!("{}/{pattern}", root.display());
        Pattern::new(&pattern).unwrap().walk(&*env::real().disk, &mut found);
        let short = |path: &PathBuf| path.strip_prefix(root).unwrap().display().to_string();
        found.files.keys().map(short).collect()
    }

    #[test]
    fn the_walk_finds_what_the_pattern_matches_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for path in ["a.log", "b.txt", "x/a.log", "x/y/c.log", "x/y/z/d.log", "w/a.log"] {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        symlink(root.join("x"), root.join("link")).unwrap();
        symlink(root.join("a.log"), root.join("s.log")).unwrap();
        symlink("nowhere", root.join("broken.log")).unwrap();
        let all = ["a.log", "b.txt", "s.log", "x/a.log", "x/y/c.log", "x/y/z/d.log", "w/a.log"];
        for (pattern, expected) in [
            ("a.log", vec!["a.log"]),
            ("*.log", vec!["a.log", "s.log"]),
            ("*/a.log", vec!["link/a.log", "w/a.log", "x/a.log"]),
            ("x/**/*.log", vec!["x/a.log", "x/y/c.log", "x/y/z/d.log"]),
            ("**/d.log", vec!["x/y/z/d.log"]),
            ("x/y/**", vec!["x/y/c.log", "x/y/z/d.log"]),
            ("[bw]*/{a,b}.log", vec!["w/a.log"]),
            ("missing/*.log", vec![]),
        ] {
            assert_eq!(found(root, pattern), expected, "{pattern}");
            let absolute = Pattern::new(&format!("{}/{pattern}", root.display())).unwrap();
            for path in all.iter().chain(&expected) {
                let is_found = expected.contains(path);
                assert_eq!(absolute.matches(&root.join(path)), is_found, "{pattern}, {path}");
            }
        }
    }

    #[test]
    fn a_pattern_that_cannot_be_read_says_why() {
        for pattern in ["", "/", "/a/../b", "/{a/b,c}", "/[z"] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn exclusions_are_of_names_or_of_whole_paths() {
        let covers = |text: &str, path: &str| Exclusion::new(text).unwrap().covers(Path::new(path));
        assert!(covers("*.gz", "/var/log/a.gz") && !covers("*.gz", "/var/log.gz/a"));
        assert!(covers("/var/**/old/*", "/var/log/old/a") && !covers("/var/*", "/var/log/a"));
    }
}
