//! Identifies files and records how far each channel has stored their events. Pure.
//!
//! The key of a file's position is its device and inode. The position also contains the state of
//! the file when reading began, because the file must not change after that.
//!
//! Layout of a stored position, numbers little-endian:
//!
//! ```text
//! 0   u8   'S'        1   u8   unit of `at`: 0 bytes, 1 events, 2 bytes of a transfer
//! 2   u64  size of the file             10  u64  its last change, ns since 1970
//! 18  the rest as in `file_position`, with `at` as the offset; all ones = all is stored
//! ```

use std::path::PathBuf;
use std::time::SystemTime;

use bytes::Bytes;
use pipeline::env::FileStat;
use pipeline::file_position::{Fingerprint, PATH_BYTES_MAX, Position};

/// Position after all events of the file.
pub(super) const DONE: u64 = u64::MAX;

const TAG: u8 = b'S';
const FIXED_BYTES: usize = 18;
/// Maximum length of a file's path.
pub(super) const PATH_MAX: usize = PATH_BYTES_MAX - FIXED_BYTES;

/// Unit of a stored position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Bytes after decompression.
    Bytes = 0,
    /// Events.
    Events = 1,
    /// Bytes of a file that is transferred unchanged.
    BytesOfPieces = 2,
}

/// State of a file when reading began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sight {
    pub(super) path: PathBuf,
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) len: u64,
    /// Nanoseconds since 1970.
    pub(super) modified: u64,
    /// Hash of the first bytes.
    pub(super) head: Fingerprint,
}

impl Sight {
    /// Creates the state of a file from its path, metadata and first bytes.
    pub(super) fn new(path: PathBuf, stat: &FileStat, head: Fingerprint) -> Self {
        let FileStat { device, inode, len, .. } = *stat;
        Self { path, device, inode, len, modified: nanos(stat.modified), head }
    }

    /// Returns the key of its position.
    pub(super) fn key(&self) -> Bytes {
        key(self.device, self.inode)
    }

    /// Describes a change of the file, whose size is now `len` bytes.
    pub(super) fn change(&self, len: u64) -> String {
        let was = self.len;
        format!(
            "the file changed from {was} to {len} bytes after reading began, and the new content \
             is not stored: write files in another directory and move them in, or raise `settle`"
        )
    }

    /// Returns true if `stat` is of this file and the file is unchanged.
    pub(super) fn is_unchanged(&self, stat: &FileStat) -> bool {
        self.is_same(stat) && (self.len, self.modified) == (stat.len, nanos(stat.modified))
    }

    /// Returns true if `stat` is of this file.
    pub(super) fn is_same(&self, stat: &FileStat) -> bool {
        (self.device, self.inode) == (stat.device, stat.inode)
    }
}

/// Returns nanoseconds since 1970.
pub(super) fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns the key of a file's position.
pub(super) fn key(device: u64, inode: u64) -> Bytes {
    [device.to_le_bytes(), inode.to_le_bytes()].concat().into()
}

/// Position of a channel in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) sight: Sight,
    pub(super) unit: Unit,
    pub(super) at: u64,
}

impl Mark {
    /// Encodes it for storage.
    pub(super) fn encode(&self) -> Bytes {
        let Sight { path, device, inode, len, modified, head } = &self.sight;
        let position = Position {
            device: *device,
            inode: *inode,
            offset: self.at,
            skipping: false,
            head: *head,
            tail: Fingerprint::default(),
            path: path.clone(),
        };
        let fixed = [&[TAG, self.unit as u8][..], &len.to_le_bytes(), &modified.to_le_bytes()];
        [&fixed.concat()[..], &position.encode(path)].concat().into()
    }

    /// Decodes the result of [`Mark::encode`]; `None` for anything else.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_at_checked(FIXED_BYTES)?;
        let wide = |at: usize| fixed[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let unit = match fixed[..2] {
            [TAG, 0] => Unit::Bytes,
            [TAG, 1] => Unit::Events,
            [TAG, 2] => Unit::BytesOfPieces,
            _ => return None,
        };
        let (position, _) = Position::decode(rest)?;
        let Position { device, inode, offset, head, path, .. } = position;
        let sight = Sight { path, device, inode, len: wide(2)?, modified: wide(10)?, head };
        Some(Self { sight, unit, at: offset })
    }
}

/// Decision about a file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MarkState {
    /// Read it; each channel has its events up to this position.
    At(Vec<u64>),
    /// Set it aside, for this reason.
    Bad(String),
    /// The same of a file that was read in part or in whole, and has changed since.
    Changed(String),
}

/// Compares the file, which begins with `head`, with the positions that the channels store for its
/// inode.
pub(super) fn standing(
    sight: &Sight,
    head: &[u8],
    unit: Unit,
    marks: &[Option<Mark>],
) -> MarkState {
    let mut all = Vec::with_capacity(marks.len());
    for mark in marks {
        let at = match mark {
            None => 0,
            Some(mark) => {
                let was = &mark.sight;
                let is_as_it_was = (was.len, was.modified) == (sight.len, sight.modified);
                if is_as_it_was && was.head.fits(head) {
                    if mark.unit != unit && mark.at != DONE {
                        let problem = "the file was partly read with another `decoder` or \
                                       `pieces`; restore the setting, or copy the file into the \
                                       directory again";
                        return MarkState::Bad(problem.to_owned());
                    }
                    mark.at
                } else if was.head.fits(head) || (mark.at != DONE && was.path == sight.path) {
                    return MarkState::Changed(was.change(sight.len));
                } else {
                    // Another file had this inode: with another name, or read to its end and
                    // deleted.
                    0
                }
            }
        };
        all.push(at);
    }
    MarkState::At(all)
}

/// Returns the path that the file had when reading began, if some channel has events of it.
pub(super) fn began_as(standing: &[u64], marks: &[Option<Mark>]) -> Option<PathBuf> {
    let begun = standing.iter().zip(marks).filter(|(at, _)| **at > 0);
    begun.filter_map(|(_, mark)| mark.as_ref()).map(|mark| mark.sight.path.clone()).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(path: &str, len: u64, head: &[u8]) -> Sight {
        let (device, inode, modified) = (1, 2, 3);
        Sight { path: path.into(), device, inode, len, modified, head: Fingerprint::new(head) }
    }

    #[test]
    fn a_mark_comes_back_from_its_bytes_and_is_no_position_of_another_source() {
        for (unit, at) in [(Unit::Bytes, 7), (Unit::Events, DONE), (Unit::BytesOfPieces, 9)] {
            let mark = Mark { sight: sight("/spool/ä", 9, b"head"), unit, at };
            let bytes = mark.encode();
            assert_eq!(Mark::decode(&bytes), Some(mark));
            assert_eq!(Position::decode(&bytes), None);
            assert_eq!(Mark::decode(&bytes[..30]), None);
        }
        let path = "x".repeat(PATH_MAX);
        let mark = Mark { sight: sight(&path, 9, b""), unit: Unit::Bytes, at: 0 };
        assert!(mark.encode().len() <= 4096);
    }

    #[test]
    fn a_file_goes_on_where_each_channel_stands_unless_it_changed() {
        let now = sight("/a", 9, b"head");
        let mark = |sight: &Sight, at| Some(Mark { sight: sight.clone(), unit: Unit::Bytes, at });
        let decide = |marks: &[Option<Mark>]| standing(&now, b"head", Unit::Bytes, marks);
        assert_eq!(decide(&[None, None]), MarkState::At(vec![0, 0]));
        assert_eq!(decide(&[mark(&now, 5), None]), MarkState::At(vec![5, 0]));
        assert_eq!(decide(&[mark(&sight("/b", 9, b"head"), DONE)]), MarkState::At(vec![DONE]));
        let other = sight("/b", 9, b"other");
        assert_eq!(decide(&[mark(&other, 5)]), MarkState::At(vec![0]), "the inode is used again");
        let before = sight("/a", 9, b"of yesterday");
        let before = Sight { modified: 1, ..before };
        assert_eq!(decide(&[mark(&before, DONE)]), MarkState::At(vec![0]), "and the name too");
        assert!(matches!(decide(&[mark(&before, 5)]), MarkState::Changed(_)));
        for changed in [sight("/a", 8, b"head"), sight("/a", 8, b"more"), sight("/b", 8, b"he")] {
            let decided = decide(&[mark(&changed, 5)]);
            assert!(matches!(decided, MarkState::Changed(_)), "{changed:?}");
        }
        let events = Some(Mark { sight: now.clone(), unit: Unit::Events, at: 1 });
        assert!(matches!(decide(&[events]), MarkState::Bad(_)));
    }
}
