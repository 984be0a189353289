//! Compares written with stored lines: two multisets, byte by byte.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fmt, fs};

use crate::agent::program;

/// Differences between stored and written lines.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Lines written.
    pub written: usize,
    /// Lines found in the store.
    pub stored: usize,
    /// Stored fewer times than written.
    pub missing: usize,
    /// Stored more often than written.
    pub repeated: usize,
    /// Stored, but never written.
    pub foreign: usize,
    /// The first few different lines, each prefixed with its kind.
    pub examples: Vec<String>,
}

impl Differences {
    /// Returns whether every line is stored exactly as often as it was written.
    pub fn is_none(&self) -> bool {
        self.missing + self.repeated + self.foreign == 0
    }

    fn example(&mut self, kind: &str, line: &[u8]) {
        if self.examples.len() < 10 {
            self.examples.push(format!("{kind}: {}", String::from_utf8_lossy(line)));
        }
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { written, stored, missing, repeated, foreign, examples } = self;
        write!(f, "{written} written, {stored} stored, {missing} missing, ")?;
        write!(f, "{repeated} repeated, {foreign} foreign")?;
        examples.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// Returns the complete lines of all files in a folder, each once. A killed agent may have
/// truncated the last line of a file.
pub fn whole_lines(folder: &Path) -> BTreeSet<String> {
    let Ok(files) = fs::read_dir(folder) else { return BTreeSet::new() };
    let mut lines = BTreeSet::new();
    for file in files {
        let bytes = fs::read(file.expect("an entry").path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        lines.extend(whole.lines().map(str::to_owned));
    }
    lines
}

/// Compares all lines of `written` with all lines of `stored`, in any order.
///
/// Bytes after the last LF count as a line, too, which detects a torn file.
pub fn compare(written: &[u8], stored: &[u8]) -> Differences {
    let (left, right) = (sorted_lines(written), sorted_lines(stored));
    let mut found =
        Differences { written: left.len(), stored: right.len(), ..Differences::default() };
    let (mut left, mut right) = (runs(&left).peekable(), runs(&right).peekable());
    loop {
        match (left.peek().copied(), right.peek().copied()) {
            (None, None) => return found,
            (Some((line, count)), other) if other.is_none_or(|(stored, _)| line < stored) => {
                found.missing += count;
                found.example("missing", line);
                left.next();
            }
            (one, Some((line, count))) if one.is_none_or(|(written, _)| line < written) => {
                found.foreign += count;
                found.example("foreign", line);
                right.next();
            }
            (one, other) => {
                let pair = one.zip(other).expect("the arms above take the cases with one side");
                let ((line, written), (_, stored)) = pair;
                found.missing += written.saturating_sub(stored);
                found.repeated += stored.saturating_sub(written);
                if written != stored {
                    found.example(if written > stored { "missing" } else { "repeated" }, line);
                }
                left.next();
                right.next();
            }
        }
    }
}

/// Makes `aqueduct verify` prove from the accounts of `channels`, and the ledger and files of the
/// store at `url`, that everything accepted is visible, once.
///
/// # Panics
///
/// When it does not prove it.
pub fn prove(url: &str, conf_dir: Option<&Path>, channels: &[PathBuf]) {
    if let Err(said) = proof(url, conf_dir, channels, true) {
        panic!("{said}");
    }
}

/// Runs the proof of [`prove`]; reads the files of the store only if `deep`.
///
/// # Errors
///
/// It is not proved; contains the output of `aqueduct verify`.
///
/// # Panics
///
/// When the program does not start.
pub fn proof(
    url: &str,
    conf_dir: Option<&Path>,
    channels: &[PathBuf],
    deep: bool,
) -> Result<(), String> {
    let mut command = verify(url, channels);
    if deep {
        command.arg("--deep");
    }
    if let Some(conf_dir) = conf_dir {
        command.env("HADOOP_CONF_DIR", conf_dir);
    }
    proved(command)
}

/// Returns `aqueduct verify` for everything that `channels` have accepted for the store at `url`.
///
/// # Panics
///
/// When the program does not exist.
pub fn verify(url: &str, channels: &[PathBuf]) -> Command {
    let mut command = program("aqueduct");
    command.args(["verify", "--complete", "--store", url]).args(channels);
    command.env_remove("HADOOP_CONF_DIR");
    command
}

/// Runs the command of [`verify`].
///
/// # Errors
///
/// It is not proved; contains the output of `aqueduct verify`.
///
/// # Panics
///
/// When the program does not start.
pub fn proved(mut command: Command) -> Result<(), String> {
    let output = command.output().expect("the program starts");
    let (said, problem) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let failed = || format!("aqueduct verify: {said}{problem}");
    if output.status.success() { Ok(()) } else { Err(failed()) }
}

fn sorted_lines(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    if lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    lines.sort_unstable();
    lines
}

fn runs<'a>(sorted: &'a [&'a [u8]]) -> impl Iterator<Item = (&'a [u8], usize)> {
    sorted.chunk_by(|a, b| a == b).map(|run| (run[0], run.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_lines_in_another_order_do_not_differ() {
        let found = compare(b"b\na\n\na\n", b"a\n\na\nb\n");
        assert!(found.is_none(), "{found}");
        assert_eq!((found.written, found.stored), (4, 4));
    }

    #[test]
    fn each_kind_of_difference_is_counted() {
        let found = compare(b"a\nb\nc\nc\n", b"b\nb\nc\nd\n");
        assert_eq!((found.missing, found.repeated, found.foreign), (2, 1, 1), "{found}");
    }

    #[test]
    fn an_empty_store_misses_everything() {
        assert_eq!(compare(b"a\nb\n", b"").missing, 2);
        assert_eq!(compare(b"", b"a\n").foreign, 1);
        assert!(compare(b"", b"").is_none());
    }

    #[test]
    fn a_torn_last_line_is_seen() {
        let found = compare(b"one\ntwo\n", b"one\ntw");
        assert_eq!((found.missing, found.foreign), (1, 1), "{found}");
    }
}
