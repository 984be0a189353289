//! What the demo reads: files of the user, or a log that it writes itself.

use std::io::IoSlice;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pipeline::Env;
use pipeline::env::{DiskFile, FileKind, OpenMode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep_until};

use super::DemoError;

/// Lines of the log that the demo writes.
pub(super) const WRITTEN_LINES: u64 = 400_000;

/// How long it takes to write it.
const WRITING: Duration = Duration::from_secs(8);

/// The log grows this often.
const TICK: Duration = Duration::from_millis(20);

/// How much of a file is in memory at a time.
pub(super) const CHUNK: usize = 1 << 20;

/// How much of an agent's log is shown when it ends by itself.
const LOG_END: u64 = 2_000;

fn at<T>(path: &Path, result: std::io::Result<T>) -> Result<T, DemoError> {
    result.map_err(|source| DemoError::File { path: path.to_owned(), source })
}

/// Writes a whole new file.
pub(super) fn write(env: &Env, path: &Path, bytes: &[u8]) -> Result<(), DemoError> {
    let mode = OpenMode { write: true, create: true, ..OpenMode::default() };
    let file = at(path, env.disk.open(path, mode))?;
    at(path, file.write_at(&[IoSlice::new(bytes)], 0, false))
}

/// The last lines of a log, as far as they can be read.
pub(super) fn read_end(env: &Env, path: &Path) -> String {
    let read = || {
        let file = env.disk.open(path, OpenMode::default()).ok()?;
        let start = file.stat().ok()?.len.saturating_sub(LOG_END);
        let bytes = file.read(start, LOG_END as usize).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

/// Calls `each` with the bytes of a part of a file, piece by piece.
pub(super) fn read(
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

/// A file that is tailed, as it was when it was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) path: PathBuf,
    /// Bytes up to and with the last line end.
    pub(super) bytes: u64,
    pub(super) lines: u64,
    /// Bytes behind the last line end: a line that is not written to its end yet.
    pub(super) unended: u64,
}

/// Counts the lines of a file.
pub(super) fn measure(env: &Env, path: &Path) -> Result<Measured, DemoError> {
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

/// The user's files, each once, by their real paths.
pub(super) fn given(env: &Env, files: &[PathBuf]) -> Result<Vec<PathBuf>, DemoError> {
    let mut paths = Vec::new();
    for file in files {
        let path = at(file, env.disk.canonical(file))?;
        if at(file, env.disk.stat(&path))?.kind != FileKind::File {
            return Err(DemoError::NoLines(format!("{} is no file", file.display())));
        }
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// A pattern that matches this path and no other.
pub(super) fn pattern(path: &Path) -> String {
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

/// Writes an access log at an even pace, and renames it once on the way, as logrotate does.
pub(super) struct Writer {
    env: Env,
    log: PathBuf,
    rotated: PathBuf,
    random: StdRng,
}

impl Writer {
    /// A writer of `directory/access.log`; the same seed writes the same lines.
    pub(super) fn new(env: &Env, directory: &Path, seed: u64) -> Result<Self, DemoError> {
        at(directory, env.disk.create_dir_all(directory))?;
        Ok(Self {
            env: env.clone(),
            log: directory.join("access.log"),
            rotated: directory.join("access.log.1"),
            random: StdRng::seed_from_u64(seed),
        })
    }

    /// What is to be tailed: the name that is written to.
    pub(super) fn pattern(&self) -> String {
        pattern(&self.log)
    }

    /// Every file that was written.
    pub(super) fn files(&self) -> [PathBuf; 2] {
        [self.rotated.clone(), self.log.clone()]
    }

    /// Writes all lines.
    pub(super) async fn run(&mut self) -> Result<(), DemoError> {
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
    fn a_file_is_measured_up_to_its_last_line_end() {
        let (dir, env) = (tempfile::tempdir().unwrap(), env::real());
        let path = dir.path().join("a.log");
        write(&env, &path, b"one\n\nthree\nnot en").unwrap();
        let measured = measure(&env, &path).unwrap();
        assert_eq!((measured.bytes, measured.lines, measured.unended), (11, 3, 6));
    }

    #[test]
    fn a_pattern_matches_only_its_path() {
        let text = pattern(Path::new("/a/[b]*.log"));
        assert_eq!(text, "/a/[[]b[]][*].log");
    }

    #[test]
    fn the_same_seed_writes_the_same_lines() {
        let (dir, env) = (tempfile::tempdir().unwrap(), env::real());
        let lines = |seed| Writer::new(&env, dir.path(), seed).unwrap().lines(0..3);
        assert_eq!(lines(7), lines(7));
        assert_ne!(lines(7), lines(8));
        assert_eq!(lines(7).lines().count(), 3);
    }
}
