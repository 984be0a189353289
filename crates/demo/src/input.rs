//! The input of the demo: files of the user, or a log that the demo writes.

use std::io::IoSlice;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pipeline::Env;
use pipeline::env::{DiskFile, FileKind, OpenMode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep_until};

use crate::DemoError;

/// Lines of the log that the demo writes.
pub(crate) const WRITTEN_LINES: u64 = 400_000;

/// Time to write them.
const WRITING: Duration = Duration::from_secs(8);

/// Interval between two pieces of the log.
const TICK: Duration = Duration::from_millis(20);

/// Most bytes of a file in memory at a time.
pub(crate) const CHUNK: usize = 1 << 20;

/// Bytes of an agent's log to show if the agent exits.
const LOG_END: u64 = 2_000;

fn at<T>(path: &Path, result: std::io::Result<T>) -> Result<T, DemoError> {
    result.map_err(|source| DemoError::File { path: path.to_owned(), source })
}

/// Writes a new file.
///
/// # Errors
/// The file cannot be written.
pub fn write(env: &Env, path: &Path, bytes: &[u8]) -> Result<(), DemoError> {
    let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
    let file = at(path, env.disk.open(path, mode))?;
    at(path, file.write_at(&[IoSlice::new(bytes)], 0, false))
}

/// Returns the last lines of a log; nothing if it cannot be read.
pub fn read_end(env: &Env, path: &Path) -> String {
    let read = || {
        let file = env.disk.open(path, OpenMode::default()).ok()?;
        let start = file.stat().ok()?.len.saturating_sub(LOG_END);
        let bytes = file.read(start, LOG_END as usize).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

/// Calls `each` with the bytes of a part of a file, piece by piece.
pub(crate) fn read(
    env: &Env,
    path: &Path,
    part: Range<u64>,
    mut each: impl FnMut(&[u8]),
) -> Result<(), DemoError> {
    let file = at(path, env.disk.open(path, OpenMode::default()))?;
    let mut buffer = vec![0; CHUNK];
    let mut offset = part.start;
    while offset < part.end {
        let wanted = usize::try_from(part.end - offset).unwrap_or(CHUNK).min(CHUNK);
        let length = at(path, file.read_at(&mut buffer[..wanted], offset))?;
        if length == 0 {
            break;
        }
        each(&buffer[..length]);
        offset += length as u64;
    }
    Ok(())
}

/// The size of a followed file at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Measured {
    pub(crate) path: PathBuf,
    /// Bytes up to and including the last line end.
    pub(crate) bytes: u64,
    pub(crate) lines: u64,
    /// Bytes after the last line end: an incomplete line.
    pub(crate) unended: u64,
}

/// Counts the lines of a file.
pub(crate) fn measure(env: &Env, path: &Path) -> Result<Measured, DemoError> {
    let end = at(path, env.disk.stat(path))?.len;
    let (mut lines, mut bytes, mut seen) = (0, 0, 0);
    read(env, path, 0..end, |piece| {
        lines += memchr::memchr_iter(b'\n', piece).count() as u64;
        if let Some(last) = memchr::memrchr(b'\n', piece) {
            bytes = seen + last as u64 + 1;
        }
        seen += piece.len() as u64;
    })?;
    Ok(Measured { path: path.to_owned(), bytes, lines, unended: seen - bytes })
}

/// Returns the canonical paths of the user's files, without duplicates.
pub(crate) fn given(env: &Env, files: &[PathBuf]) -> Result<Vec<PathBuf>, DemoError> {
    let mut paths = Vec::new();
    for file in files {
        let path = at(file, env.disk.canonical(file))?;
        if at(file, env.disk.stat(&path))?.kind != FileKind::File {
            return Err(DemoError::NoLines(format!("{} is not a regular file", file.display())));
        }
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// Returns a pattern that matches only this path.
pub(crate) fn pattern(path: &Path) -> String {
    let mut pattern = String::new();
    for letter in path.to_string_lossy().chars() {
        if "*?[]{}\\".contains(letter) {
            pattern.extend(['[', letter, ']']);
        } else {
            pattern.push(letter);
        }
    }
    pattern
}

/// Writes an access log at a constant rate, and renames it once, as logrotate does.
pub(crate) struct Writer {
    env: Env,
    log: PathBuf,
    rotated: PathBuf,
    random: StdRng,
}

impl Writer {
    /// Creates a writer of `directory/access.log`. The same seed writes the same lines.
    pub(crate) fn new(env: &Env, directory: &Path, seed: u64) -> Result<Self, DemoError> {
        at(directory, env.disk.create_dir_all(directory))?;
        Ok(Self {
            env: env.clone(),
            log: directory.join("access.log"),
            rotated: directory.join("access.log.1"),
            random: StdRng::seed_from_u64(seed),
        })
    }

    /// The pattern for the edge: the file that grows.
    pub(crate) fn pattern(&self) -> String {
        pattern(&self.log)
    }

    /// Every written file.
    pub(crate) fn files(&self) -> [PathBuf; 2] {
        [self.rotated.clone(), self.log.clone()]
    }

    /// Writes all lines.
    pub(crate) async fn run(&mut self) -> Result<(), DemoError> {
        let begin = Instant::now();
        let ticks = (WRITING.as_millis() / TICK.as_millis()) as u64;
        let (mut file, mut offset) = (self.open()?, 0);
        for tick in 0..ticks {
            if tick == ticks * 3 / 10 {
                at(&self.log, self.env.disk.rename(&self.log, &self.rotated))?;
                (file, offset) = (self.open()?, 0);
            }
            let lines = WRITTEN_LINES * tick / ticks..WRITTEN_LINES * (tick + 1) / ticks;
            let text = self.lines(lines);
            at(&self.log, file.write_at(&[IoSlice::new(text.as_bytes())], offset, false))?;
            offset += text.len() as u64;
            sleep_until(begin + TICK * u32::try_from(tick + 1).unwrap_or(u32::MAX)).await;
        }
        Ok(())
    }

    fn open(&self) -> Result<std::sync::Arc<dyn DiskFile>, DemoError> {
        let mode = OpenMode { write: true, create_new: true, ..OpenMode::default() };
        at(&self.log, self.env.disk.open(&self.log, mode))
    }

    fn lines(&mut self, numbers: Range<u64>) -> String {
        const PAGES: [&str; 4] = ["/", "/products", "/basket", "/static/main.css"];
        const STATUS: [u16; 5] = [200, 200, 200, 304, 404];
        let mut text = String::new();
        for number in numbers {
            let page = PAGES[self.random.random_range(0..PAGES.len())];
            let status = STATUS[self.random.random_range(0..STATUS.len())];
            let (a, b): (u8, u8) = self.random.random();
            let bytes: u16 = self.random.random();
            let line = format!(
                "10.0.{a}.{b} - - \"GET {page}?request={number} HTTP/1.1\" {status} {bytes} \
                 \"https://shop.example/\" \"Mozilla/5.0 (X11; Linux x86_64)\"\n"
            );
            text.push_str(&line);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_a_file_up_to_its_last_line_end() {
        let (dir, env) = (tempfile::tempdir().unwrap(), env::real());
        let path = dir.path().join("a.log");
        write(&env, &path, b"one\n\nthree\nnot en").unwrap();
        let measured = measure(&env, &path).unwrap();
        assert_eq!((measured.bytes, measured.lines, measured.unended), (11, 3, 6));
    }

    #[test]
    fn escapes_a_path_for_a_pattern() {
        let text = pattern(Path::new("/a/[b]*.log"));
        assert_eq!(text, "/a/[[]b[]][*].log");
    }

    #[test]
    fn same_seed_writes_same_lines() {
        let (dir, env) = (tempfile::tempdir().unwrap(), env::real());
        let lines = |seed| Writer::new(&env, dir.path(), seed).unwrap().lines(0..3);
        assert_eq!(lines(7), lines(7));
        assert_ne!(lines(7), lines(8));
        assert_eq!(lines(7).lines().count(), 3);
    }
}
