//! Finds the line around a byte of a file.

use std::io;
use std::path::Path;

use pipeline::Env;
use pipeline::env::{DiskFile, OpenMode};
use pipeline::file_position::shown;
use serde::Serialize;

/// How far to look for the line's ends, in bytes on each side of the given byte. Longer lines need
/// unusual settings.
const SIDE_MAX: u64 = 16 << 20;

/// Bytes per read.
const STEP: u64 = 64 << 10;

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    /// The current name of the file.
    pub(super) file: String,
    /// Its device.
    pub(super) device: u64,
    /// The inode, by which channels identify the file after a rename.
    pub(super) inode: u64,
    /// Start of the line.
    pub(super) from: u64,
    /// End of the line, after its line feed.
    pub(super) to: u64,
    /// The line without its line feed.
    #[serde(skip)]
    pub(super) text: Vec<u8>,
}

/// Reads the line that contains this byte.
///
/// # Errors
/// The file has no such byte, the line has no end, or the file cannot be read.
pub(super) fn read(path: &Path, offset: u64, env: &Env) -> Result<Line, String> {
    let file = shown(path).into_owned();
    let problem = |error: io::Error| {
        format!("{file}: {error}; pass the file on the host that it was written on")
    };
    let stat = env.disk.stat(path).map_err(problem)?;
    let opened = env.disk.open(path, OpenMode::default()).map_err(problem)?;
    if offset >= stat.len {
        return Err(format!(
            "{file} has only {} bytes, so no line at {offset}; pass a smaller --offset",
            stat.len
        ));
    }
    let from = begin(&*opened, offset).map_err(problem)?;
    let to = end(&*opened, offset, stat.len).map_err(problem)?;
    let (Some(from), Some(to)) = (from, to) else {
        return Err(format!(
            "{file}: the line around byte {offset} has no end within {SIDE_MAX} bytes; sources \
             read only complete lines, so no batch contains it"
        ));
    };
    let mut text = opened.read(from, (to - from) as usize).map_err(problem)?;
    text.pop();
    // Sources treat a carriage return as part of the line end.
    if text.last() == Some(&b'\r') {
        text.pop();
    }
    Ok(Line { file, device: stat.device, inode: stat.inode, from, to, text })
}

/// Returns the start of the line around the byte at `offset`.
fn begin(file: &dyn DiskFile, offset: u64) -> io::Result<Option<u64>> {
    let mut end = offset;
    while end > 0 && offset - end < SIDE_MAX {
        let start = end.saturating_sub(STEP);
        let bytes = file.read(start, (end - start) as usize)?;
        if let Some(at) = memchr::memrchr(b'\n', &bytes) {
            return Ok(Some(start + at as u64 + 1));
        }
        end = start;
    }
    Ok((end == 0).then_some(0))
}

/// Returns the end of the line, after its line feed.
fn end(file: &dyn DiskFile, offset: u64, len: u64) -> io::Result<Option<u64>> {
    let mut start = offset;
    while start < len && start - offset < SIDE_MAX {
        let bytes = file.read(start, STEP.min(len - start) as usize)?;
        if let Some(at) = memchr::memchr(b'\n', &bytes) {
            return Ok(Some(start + at as u64 + 1));
        }
        if bytes.is_empty() {
            break;
        }
        start += bytes.len() as u64;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a file of the test")]
    fn each_byte_of_a_line_leads_to_the_whole_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let long = "x".repeat(200_000);
        std::fs::write(&path, format!("one\r\n{long}\n\nlast without an end")).unwrap();
        let read = |offset| read(&path, offset, &env::real());
        for offset in 0..5 {
            let line = read(offset).unwrap();
            assert_eq!((line.from, line.to, &line.text[..]), (0, 5, &b"one"[..]), "{offset}");
        }
        for offset in [5, 100_000, 200_005] {
            let line = read(offset).unwrap();
            assert_eq!((line.from, line.to), (5, 200_006), "{offset}");
            assert_eq!(line.text, long.as_bytes());
        }
        assert_eq!(read(200_006).unwrap().text, b"");
        assert!(read(200_010).is_err_and(|problem| problem.contains("has no end")));
        assert!(read(1 << 20).is_err_and(|problem| problem.contains("no line at 1048576")));
    }
}
