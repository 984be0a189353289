//! Identifies files under any name: fingerprints, and the position of a file as a source stores it
//! in its channels. A channel that finds a damaged batch uses the position to locate the lines, and
//! reads them again.
//!
//! A file is identified by its device and inode *and* by its contents: a fingerprint of its first
//! bytes, and one of the bytes just before the position. Names prove nothing (rotation changes
//! them), inodes alone prove little (they are reused). Together with the contents, a truncated,
//! replaced or copied file is distinguished from one that only grew.
//!
//! Layout of a stored position, all numbers little-endian:
//!
//! ```text
//! 0   u8   version = 1
//! 1   u8   flags: bit 0 = in the middle of a truncated line; its rest is skipped
//! 2   u64  device        10  u64  inode       18  u64  offset
//! 26  u16  bytes of the head's print          28  u64  the head's print
//! 36  u16  bytes of the tail's print          38  u64  the tail's print
//! 46  path that it was found by, in the bytes of its name; if the file lies elsewhere, NUL and its
//!     path there; then NUL and, as a u64, the length of the file when it was read. With a length,
//!     both NULs are present. Programs before 0.2 ignore it and find the file by its inode.
//! ```

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use support::text::text_of;
use xxhash_rust::xxh3::xxh3_64;

use crate::env::{Disk, DiskFile, FileKind, OpenMode};

/// Bytes at the beginning of a file that identify it.
pub const HEAD_BYTES: usize = 1024;
/// Bytes before the position that show whether the file only grew.
pub const TAIL_BYTES: usize = 64;
/// Longest path of a file; the stored position must stay below 4 KiB.
pub const PATH_BYTES_MAX: usize = STORED_BYTES_MAX - FIXED_BYTES;

const VERSION: u8 = 1;
const SKIPPING: u8 = 1;
const FIXED_BYTES: usize = 46;
const STORED_BYTES_MAX: usize = 4096;

/// A fingerprint of bytes, to distinguish them from others of the same length: XXH3-64.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// Number of bytes that it covers.
    pub len: u16,
    hash: u64,
}

impl Fingerprint {
    /// Returns the fingerprint of all of `bytes`: at most [`HEAD_BYTES`].
    pub fn new(bytes: &[u8]) -> Self {
        let len = u16::try_from(bytes.len()).expect("prints are of at most HEAD_BYTES");
        Self { len, hash: if bytes.is_empty() { 0 } else { xxh3_64(bytes) } }
    }

    /// Returns `true` if `bytes` begin with the bytes of this fingerprint.
    pub fn fits(self, bytes: &[u8]) -> bool {
        bytes.get(..usize::from(self.len)).is_some_and(|bytes| Self::new(bytes) == self)
    }

    /// Returns `true` if it covers the maximum number of bytes.
    pub fn is_full(self) -> bool {
        usize::from(self.len) == HEAD_BYTES
    }
}

/// The position of reading in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Device of the file.
    pub device: u64,
    /// Inode of the file.
    pub inode: u64,
    /// Bytes up to the end of the last line that was passed on.
    pub offset: u64,
    /// True if the offset is in a truncated line, whose rest is skipped.
    pub skipping: bool,
    /// Of the first bytes of the file.
    pub head: Fingerprint,
    /// The fingerprint of the bytes before the offset.
    pub tail: Fingerprint,
    /// The path that a pattern found it by, which headers show.
    pub path: PathBuf,
}

impl Position {
    /// Encodes it for a file at `place`.
    pub fn encode(&self, place: &Path) -> Bytes {
        self.encode_paths(place).into()
    }

    /// Encodes it for a file at `place` that had `len` bytes when it was read.
    pub fn encode_with_len(&self, place: &Path, len: u64) -> Bytes {
        let mut out = self.encode_paths(place);
        let nuls = 2 - out[FIXED_BYTES..].iter().filter(|byte| **byte == 0).count();
        if out.len() + nuls + size_of::<u64>() <= STORED_BYTES_MAX {
            out.resize(out.len() + nuls, 0);
            out.extend(len.to_le_bytes());
        }
        out.into()
    }

    /// The length that the file had when it was read, if `bytes` are a position with one.
    pub fn file_len(bytes: &[u8]) -> Option<u64> {
        let len = bytes.get(FIXED_BYTES..)?.splitn(3, |byte| *byte == 0).nth(2)?;
        len.try_into().map(u64::from_le_bytes).ok()
    }

    fn encode_paths(&self, place: &Path) -> Vec<u8> {
        let path = self.path.as_os_str().as_bytes();
        let mut out = Vec::with_capacity(FIXED_BYTES + path.len());
        out.extend([VERSION, if self.skipping { SKIPPING } else { 0 }]);
        for number in [self.device, self.inode, self.offset] {
            out.extend(number.to_le_bytes());
        }
        for print in [self.head, self.tail] {
            out.extend(print.len.to_le_bytes());
            out.extend(print.hash.to_le_bytes());
        }
        out.extend(path);
        let place = place.as_os_str().as_bytes();
        // If there is no room for the place, the file is searched next to its first path.
        if place != path && out.len() + 1 + place.len() <= STORED_BYTES_MAX {
            out.push(0);
            out.extend(place);
        }
        out
    }

    /// Decodes the output of [`Position::encode`], with the place; `None` for other bytes.
    pub fn decode(bytes: &[u8]) -> Option<(Self, PathBuf)> {
        let (fixed, paths) = bytes.split_at_checked(FIXED_BYTES)?;
        let mut parts = paths.splitn(3, |byte| *byte == 0);
        let path = parts.next().unwrap_or_default();
        let place = parts.next().filter(|place| !place.is_empty()).unwrap_or(path);
        let [path, place] = [path, place].map(|bytes| PathBuf::from(OsStr::from_bytes(bytes)));
        let wide = |at: usize| fixed[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let print = |at: usize| {
            let len = u16::from_le_bytes([fixed[at], fixed[at + 1]]);
            Some(Fingerprint { len, hash: wide(at + 2)? })
        };
        let known = fixed[0] == VERSION && fixed[1] & !SKIPPING == 0;
        let position = Self {
            device: wide(2)?,
            inode: wide(10)?,
            offset: wide(18)?,
            skipping: fixed[1] & SKIPPING != 0,
            head: print(26)?,
            tail: print(36)?,
            path,
        };
        known.then_some((position, place))
    }

    /// Returns `true` if `file` contains everything that was read up to this position. If nothing
    /// was read, there is nothing to compare, and nothing to repeat.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn is_in(&self, file: &dyn DiskFile) -> io::Result<bool> {
        let tail_bytes = usize::from(self.tail.len);
        let Some(tail_at) = self.offset.checked_sub(tail_bytes as u64) else { return Ok(false) };
        Ok(file.stat()?.len >= self.offset
            && self.head.fits(&file.read(0, usize::from(self.head.len))?)
            && self.tail.fits(&file.read(tail_at, tail_bytes)?))
    }
}

/// The position of a file, as Flume's source `taildir` writes it into the JSON array in its
/// position file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlumePosition {
    /// Inode of the file.
    pub inode: u64,
    /// Bytes that were read.
    pub pos: u64,
    /// Path of the file: Flume continues there if a pattern finds this inode by this path.
    pub file: PathBuf,
}

/// The location of lines that a source read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineRange {
    /// The path that the file was found by.
    pub path: PathBuf,
    /// Their beginning.
    pub from: u64,
    /// Their end.
    pub to: u64,
    after: Position,
    place: PathBuf,
}

impl LineRange {
    /// Maximum number of bytes to read again: a batch has no more.
    const BYTES_MAX: u64 = 256 << 20;

    /// Returns the bytes between two stored positions of one file, the first of which may be
    /// missing; `None` if they are not positions in a file.
    pub fn between(before: Option<&[u8]>, after: &[u8]) -> Option<Self> {
        let (after, place) = Position::decode(after)?;
        let before = before.and_then(Position::decode);
        let from = before.map_or(0, |(before, _)| before.offset);
        let (path, to) = (after.path.clone(), after.offset);
        (from <= to).then_some(Self { path, from, to, after, place })
    }

    /// Returns `true` if they are in the file with this device and inode.
    pub fn is_in_file(&self, device: u64, inode: u64) -> bool {
        (self.after.device, self.after.inode) == (device, inode)
    }

    /// Reads the bytes, if the file still exists with the contents that were read: at its place, or
    /// under another name in the same directory.
    pub fn read(&self, disk: &dyn Disk) -> Option<Vec<u8>> {
        if self.to - self.from > Self::BYTES_MAX {
            return None;
        }
        let known = [self.place.clone(), self.path.clone()];
        known.iter().find_map(|path| self.read_in(disk, path)).or_else(|| {
            let directory = self.place.parent()?;
            let names = disk.entries(directory).ok()?;
            let files = names.into_iter().filter(|(_, kind)| *kind == FileKind::File);
            let mut paths = files.map(|(name, _)| directory.join(name));
            paths.find_map(|path| self.read_in(disk, &path))
        })
    }

    fn read_in(&self, disk: &dyn Disk, path: &Path) -> Option<Vec<u8>> {
        let stat = disk.stat(path).ok()?;
        if stat.kind != FileKind::File
            || (stat.device, stat.inode) != (self.after.device, self.after.inode)
        {
            return None;
        }
        let file = disk.open(path, OpenMode::default()).ok()?;
        if !self.after.is_in(&*file).ok()? {
            return None;
        }
        let bytes = usize::try_from(self.to - self.from).ok()?;
        file.read(self.from, bytes).ok().filter(|read| read.len() == bytes)
    }
}

/// The file and the bytes; control characters of its name are escaped.
impl fmt::Display for LineRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It is also printed on terminals.
        for c in shown(&self.path).chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
        }
        write!(f, " bytes {} to {}", self.from, self.to)
    }
}

/// Formats a path for headers, labels and log lines: a byte that is not UTF-8 is written as `\xff`.
/// Control characters stay unchanged: the log writer and the metrics escape them.
pub fn shown(path: &Path) -> Cow<'_, str> {
    text_of(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_file_is_stored_next_to_its_position() {
        let mut position = Position {
            device: 1,
            inode: 2,
            offset: 7,
            skipping: false,
            head: Fingerprint::default(),
            tail: Fingerprint::default(),
            path: "/a.log".into(),
        };
        for (place, len) in [("/a.log", 0), ("/a.log.1", 9), ("/a.log", u64::MAX)] {
            let place = PathBuf::from(place);
            let bytes = position.encode_with_len(&place, len);
            assert_eq!(Position::decode(&bytes), Some((position.clone(), place.clone())));
            assert_eq!(Position::file_len(&bytes), Some(len));
            assert_eq!(Position::file_len(&position.encode(&place)), None);
        }
        position.path = "x".repeat(PATH_BYTES_MAX).into();
        let bytes = position.encode_with_len(&position.path, 9);
        assert_eq!((bytes.len(), Position::file_len(&bytes)), (STORED_BYTES_MAX, None));
    }

    #[test]
    fn a_position_comes_back_from_its_bytes_and_foreign_bytes_do_not() {
        let position = Position {
            device: 1,
            inode: u64::MAX,
            offset: 1 << 40,
            skipping: true,
            head: Fingerprint::new(b"head"),
            tail: Fingerprint::new(b"tail of it"),
            path: "/var/log/ä.log".into(),
        };
        for place in ["/var/log/ä.log", "/mnt/ä.log.1"].map(PathBuf::from) {
            let bytes = position.encode(&place);
            assert_eq!(Position::decode(&bytes), Some((position.clone(), place)));
        }
        let bytes = position.encode(Path::new(&"x".repeat(PATH_BYTES_MAX)));
        assert!(bytes.len() <= STORED_BYTES_MAX);
        assert_eq!(Position::decode(&bytes).unwrap().1, position.path);
        let odd = PathBuf::from(OsStr::from_bytes(b"/var/log/\xff.log"));
        let odd = Position { path: odd, ..position };
        for place in [odd.path.clone(), OsStr::from_bytes(b"/\xfe").into()] {
            assert_eq!(Position::decode(&odd.encode(&place)), Some((odd.clone(), place)));
        }
        assert_eq!(Position::decode(&bytes[..40]), None);
        let mut newer = bytes.to_vec();
        newer[0] = 2;
        assert_eq!(Position::decode(&newer), None);
    }

    #[test]
    fn a_stretch_is_what_lies_between_two_positions_of_one_file() {
        let at = |offset| {
            let (head, tail) = (Fingerprint::default(), Fingerprint::default());
            let path = PathBuf::from("/a\n.log");
            let position =
                Position { device: 1, inode: 2, offset, skipping: false, head, tail, path };
            position.encode(Path::new("/a\n.log"))
        };
        let text = |before: Option<u64>, after| {
            let stretch = LineRange::between(before.map(at).as_deref(), &at(after));
            stretch.map(|stretch| stretch.to_string())
        };
        assert_eq!(text(Some(5), 9).as_deref(), Some("/a\\n.log bytes 5 to 9"));
        assert_eq!(text(None, 9).as_deref(), Some("/a\\n.log bytes 0 to 9"));
        assert_eq!(text(Some(10), 9), None);
        assert_eq!(LineRange::between(None, b"something else"), None);
    }

    #[test]
    fn a_name_that_is_not_text_is_shown_with_its_bytes() {
        assert_eq!(shown(Path::new("/a/ä\n.log")), "/a/ä\n.log");
        let odd = OsStr::from_bytes(b"/a/\xff-\xc3\xa4.log\xc3");
        assert_eq!(shown(Path::new(odd)), "/a/\\xff-ä.log\\xc3");
    }

    #[test]
    fn a_print_fits_what_begins_alike_and_nothing_shorter() {
        let print = Fingerprint::new(b"first\n");
        assert!(print.fits(b"first\n") && print.fits(b"first\nsecond"));
        assert!(!print.fits(b"first") && !print.fits(b"First\n"));
        assert!(Fingerprint::default().fits(b""));
    }
}
