//! Which file is which, and how far each channel has its events. Pure.
//!
//! A file is known by its device and inode, which are the key of its position. The position keeps
//! what it looked like when its reading began, because a file must not change then.
//!
//! Layout of a stored position, numbers little-endian:
//!
//! ```text
//! 0   u8   'S'        1   u8   what `at` counts: 0 bytes, 1 events, 2 bytes of a transfer
//! 2   u64  bytes of the file             10  u64  its last change, ns since 1970
//! 18  the rest as `file_position` has it, with `at` as the offset; all ones = all is stored
//! ```

use std::path::PathBuf;
use std::time::SystemTime;

use bytes::Bytes;
use pipeline::env::FileStat;
use pipeline::file_position::{PATH_BYTES_MAX, Position, Print};

/// All events of the file are stored.
pub(super) const DONE: u64 = u64::MAX;

const TAG: u8 = b'S';
const FIXED_BYTES: usize = 18;
/// Longest path of a file.
pub(super) const PATH_MAX: usize = PATH_BYTES_MAX - FIXED_BYTES;

/// What a stored position counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Bytes after decompression.
    Bytes = 0,
    /// Events.
    Events = 1,
    /// Bytes of a file that is transferred as it is.
    BytesOfPieces = 2,
}

/// A file as it looked when its reading began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sight {
    pub(super) path: PathBuf,
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) len: u64,
    /// Nanoseconds since 1970.
    pub(super) modified: u64,
    /// Of its first bytes.
    pub(super) head: Print,
}

impl Sight {
    /// A file that looks like this, and whose first bytes these are.
    pub(super) fn new(path: PathBuf, stat: &FileStat, head: Print) -> Self {
        let FileStat { device, inode, len, .. } = *stat;
        Self { path, device, inode, len, modified: nanos(stat.modified), head }
    }

    /// The key of its position.
    pub(super) fn key(&self) -> Bytes {
        key(self.device, self.inode)
    }

    /// Reports that the file has changed and has `len` bytes now.
    pub(super) fn change(&self, len: u64) -> String {
        let was = self.len;
        format!(
            "it changed after its reading began, from {was} to {len} bytes; the new content is not \
             stored: write files elsewhere and move them in, or raise `settle`"
        )
    }

    /// Whether this is the file, and it has not changed since.
    pub(super) fn is_unchanged(&self, stat: &FileStat) -> bool {
        self.is_same(stat) && (self.len, self.modified) == (stat.len, nanos(stat.modified))
    }

    /// Whether this is the file.
    pub(super) fn is_same(&self, stat: &FileStat) -> bool {
        (self.device, self.inode) == (stat.device, stat.inode)
    }
}

/// Nanoseconds since 1970.
pub(super) fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The key of a file's position.
pub(super) fn key(device: u64, inode: u64) -> Bytes {
    [device.to_le_bytes(), inode.to_le_bytes()].concat().into()
}

/// How far a channel has the events of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) sight: Sight,
    pub(super) unit: Unit,
    pub(super) at: u64,
}

impl Mark {
    /// As it is stored.
    pub(super) fn encode(&self) -> Bytes {
        let Sight { path, device, inode, len, modified, head } = &self.sight;
        let position = Position {
            device: *device,
            inode: *inode,
            offset: self.at,
            skipping: false,
            head: *head,
            tail: Print::default(),
            path: path.clone(),
        };
        let fixed = [&[TAG, self.unit as u8][..], &len.to_le_bytes(), &modified.to_le_bytes()];
        [&fixed.concat()[..], &position.encode(path)].concat().into()
    }

    /// Reads what [`Mark::encode`] made; `None` if it is something else.
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

/// What is to be done with a file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Each channel has its events up to there.
    At(Vec<u64>),
    /// It is to be set aside, because of this.
    Bad(String),
}

/// Where the channels stand in a file that looks like this and begins with `head`, by what each
/// keeps of its inode.
pub(super) fn standing(sight: &Sight, head: &[u8], unit: Unit, marks: &[Option<Mark>]) -> Standing {
    let mut all = Vec::with_capacity(marks.len());
    for mark in marks {
        let at = match mark {
            None => 0,
            Some(mark) => {
                let was = &mark.sight;
                let is_as_it_was = (was.len, was.modified) == (sight.len, sight.modified);
                if is_as_it_was && was.head.fits(head) {
                    if mark.unit != unit && mark.at != DONE {
                        let problem =
                            "its reading began with another `decoder`, or without `pieces`";
                        return Standing::Bad(problem.to_owned());
                    }
                    mark.at
                } else if was.head.fits(head) || (mark.at != DONE && was.path == sight.path) {
                    return Standing::Bad(was.change(sight.len));
                } else {
                    // Another file had this inode: one with another name, or one that was read to
                    // its end and deleted.
                    0
                }
            }
        };
        all.push(at);
    }
    Standing::At(all)
}

/// The path that the file had when its reading began, if some channel has events of it.
pub(super) fn began_as(standing: &[u64], marks: &[Option<Mark>]) -> Option<PathBuf> {
    let begun = standing.iter().zip(marks).filter(|(at, _)| **at > 0);
    begun.filter_map(|(_, mark)| mark.as_ref()).map(|mark| mark.sight.path.clone()).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(path: &str, len: u64, head: &[u8]) -> Sight {
        let (device, inode, modified) = (1, 2, 3);
        Sight { path: path.into(), device, inode, len, modified, head: Print::of(head) }
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
        assert_eq!(decide(&[None, None]), Standing::At(vec![0, 0]));
        assert_eq!(decide(&[mark(&now, 5), None]), Standing::At(vec![5, 0]));
        assert_eq!(decide(&[mark(&sight("/b", 9, b"head"), DONE)]), Standing::At(vec![DONE]));
        let other = sight("/b", 9, b"other");
        assert_eq!(decide(&[mark(&other, 5)]), Standing::At(vec![0]), "the inode is used again");
        let before = sight("/a", 9, b"of yesterday");
        let before = Sight { modified: 1, ..before };
        assert_eq!(decide(&[mark(&before, DONE)]), Standing::At(vec![0]), "and the name too");
        assert!(matches!(decide(&[mark(&before, 5)]), Standing::Bad(_)));
        for changed in [sight("/a", 8, b"head"), sight("/a", 8, b"more"), sight("/b", 8, b"he")] {
            assert!(matches!(decide(&[mark(&changed, 5)]), Standing::Bad(_)), "{changed:?}");
        }
        let events = Some(Mark { sight: now.clone(), unit: Unit::Events, at: 1 });
        assert!(matches!(decide(&[events]), Standing::Bad(_)));
    }
}
