//! Which file is which, whatever it is called: fingerprints, and the position as it is stored.
//!
//! A file is known by its device and inode *and* by what it holds: a print of its first bytes, and
//! one of the bytes just in front of the position. Names say nothing (rotation moves them), inodes
//! alone say little (they are used again), and together with the content a truncated, replaced or
//! copied file is told from one that only grew.
//!
//! Layout of a stored position, all numbers little-endian:
//!
//! ```text
//! 0   u8   version = 1
//! 1   u8   flags: bit 0 = in the middle of a line that was cut; its rest is passed over
//! 2   u64  device        10  u64  inode       18  u64  offset
//! 26  u16  bytes of the head's print          28  u64  the head's print
//! 36  u16  bytes of the tail's print          38  u64  the tail's print
//! 46  path that it was found by, in the bytes of its name; if the file lies elsewhere, NUL and its
//!     path there
//! ```

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use pipeline::env::{DiskFile, Entropy};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes at the beginning of a file that tell it from others.
pub(super) const HEAD_BYTES: usize = 1024;
/// Bytes in front of the position that tell whether the file only grew.
pub(super) const TAIL_BYTES: usize = 64;
/// Longest path that a file is found by; what is stored of it has to stay below 4 KiB.
pub(super) const PATH_BYTES_MAX: usize = STORED_BYTES_MAX - FIXED_BYTES;

const VERSION: u8 = 1;
const SKIPPING: u8 = 1;
const FIXED_BYTES: usize = 46;
const STORED_BYTES_MAX: usize = 4096;

/// Tells a run of bytes from others of its length: XXH3-64.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Print {
    /// How many bytes it is of.
    pub(super) len: u16,
    hash: u64,
}

impl Print {
    /// The print of all of `bytes`: at most [`HEAD_BYTES`].
    pub(super) fn of(bytes: &[u8]) -> Self {
        let len = u16::try_from(bytes.len()).expect("prints are of at most HEAD_BYTES");
        Self { len, hash: if bytes.is_empty() { 0 } else { xxh3_64(bytes) } }
    }

    /// Whether `bytes` begin with what this is the print of.
    pub(super) fn fits(self, bytes: &[u8]) -> bool {
        bytes.get(..usize::from(self.len)).is_some_and(|bytes| Self::of(bytes) == self)
    }

    /// Whether it is of as many bytes as it can be.
    pub(super) fn is_full(self) -> bool {
        usize::from(self.len) == HEAD_BYTES
    }
}

/// Where the reading of a file stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// Device of the file.
    pub(super) device: u64,
    /// Inode of the file.
    pub(super) inode: u64,
    /// Bytes behind the last line that was handed on.
    pub(super) offset: u64,
    /// Whether the offset is in a line that was cut, whose rest is passed over.
    pub(super) skipping: bool,
    /// Of the first bytes of the file.
    pub(super) head: Print,
    /// Of the bytes in front of the offset.
    pub(super) tail: Print,
    /// The path that a pattern found it by, which headers show.
    pub(super) path: PathBuf,
}

impl Position {
    /// As it is stored, for a file that lies at `place`.
    pub(super) fn encode(&self, place: &Path) -> Bytes {
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
        // Where there is no room for it, the file is looked for beside its first path.
        if place != path && out.len() + 1 + place.len() <= STORED_BYTES_MAX {
            out.push(0);
            out.extend(place);
        }
        out.into()
    }

    /// Reads what [`Position::encode`] made, with the place; `None` if it is something else.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, PathBuf)> {
        let (fixed, paths) = bytes.split_at_checked(FIXED_BYTES)?;
        let mut parts = paths.splitn(2, |byte| *byte == 0);
        let path = parts.next().unwrap_or_default();
        let place = parts.next().unwrap_or(path);
        let [path, place] = [path, place].map(|bytes| PathBuf::from(OsStr::from_bytes(bytes)));
        let wide = |at: usize| fixed[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let print = |at: usize| {
            let len = u16::from_le_bytes([fixed[at], fixed[at + 1]]);
            Some(Print { len, hash: wide(at + 2)? })
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

    /// Whether `file` holds what was read up to this position. Without anything read there is
    /// nothing to tell by, and nothing to repeat.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn is_in(&self, file: &dyn DiskFile) -> io::Result<bool> {
        let tail_bytes = usize::from(self.tail.len);
        let Some(tail_at) = self.offset.checked_sub(tail_bytes as u64) else { return Ok(false) };
        Ok(file.stat()?.len >= self.offset
            && self.head.fits(&file.read(0, usize::from(self.head.len))?)
            && self.tail.fits(&file.read(tail_at, tail_bytes)?))
    }
}

/// A key for a file's positions that no other file ever has: its device and inode, for people, and
/// 64 random bits, since inodes are used again.
pub(super) fn new_key(device: u64, inode: u64, entropy: &dyn Entropy) -> Bytes {
    let parts = [device, inode, entropy.next_u64()];
    parts.iter().flat_map(|part| part.to_be_bytes()).collect::<Vec<u8>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_comes_back_from_its_bytes_and_foreign_bytes_do_not() {
        let position = Position {
            device: 1,
            inode: u64::MAX,
            offset: 1 << 40,
            skipping: true,
            head: Print::of(b"head"),
            tail: Print::of(b"tail of it"),
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
    fn a_print_fits_what_begins_alike_and_nothing_shorter() {
        let print = Print::of(b"first\n");
        assert!(print.fits(b"first\n") && print.fits(b"first\nsecond"));
        assert!(!print.fits(b"first") && !print.fits(b"First\n"));
        assert!(Print::default().fits(b""));
    }
}
