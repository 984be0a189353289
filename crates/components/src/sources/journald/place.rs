//! Position in the journal, and detection of missing entries. Pure.
//!
//! A cursor identifies an entry: `s=…;i=…;b=…;m=…;t=…;x=…` are the journal's sequence and the
//! number in it, the boot, the times, and a hash of the entry.
//!
//! ```text
//!   stored:  the cursor of the last entry that the channel has
//!   next:    journalctl from this cursor on, including its entry
//!              ├─ the same entry:  no entry is missing; it is skipped
//!              └─ a later entry:   the stored one is gone; entries in between may be missing
//! ```
//!
//! The source does not use `--after-cursor`: if the entry is gone, journalctl before version 255
//! skips the first remaining entry.

use std::sync::Arc;

use bytes::Bytes;
use pipeline::SourcePosition;
use serde::{Deserialize, Serialize};

/// The only key of this source's positions.
const KEY: &str = "place";

/// Maximum size of a cursor. The journal's have about 130 bytes.
pub(super) const CURSOR_BYTES_MAX: usize = 1024;

/// Position of the source, as stored with the events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// Increases with each batch. Earlier versions read it.
    pub(super) number: u64,
    /// Hash of the selection: a cursor of another selection cannot prove a gap.
    pub(super) of: u64,
    /// Start time in microseconds since 1970, until there is a cursor.
    #[serde(default)]
    pub(super) since: Option<u64>,
    /// The last stored entry.
    #[serde(default)]
    pub(super) cursor: Option<String>,
}

impl Place {
    /// Reads the position that the channel stores.
    ///
    /// # Errors
    /// Fails if it has another version.
    pub(super) fn read(known: &[(Bytes, Bytes)]) -> Result<Option<Self>, String> {
        let value = known.iter().find(|(key, _)| *key == KEY.as_bytes()).map(|(_, value)| value);
        let place = value.map(|value| serde_json::from_slice(value)).transpose();
        place.map_err(|error| format!("the position in the channel cannot be read: {error}"))
    }

    /// Returns the position to store with a batch.
    pub(super) fn position(&self, source: &Arc<str>) -> SourcePosition {
        let value = serde_json::to_vec(self).expect("numbers and texts are JSON");
        let (source, key) = (source.clone(), Bytes::from_static(KEY.as_bytes()));
        SourcePosition { source, key, value: Some(value.into()), after: None }
    }
}

/// The parts of a cursor.
#[derive(Debug, Default, PartialEq, Eq)]
struct Cursor<'a> {
    sequence: Option<&'a str>,
    number: Option<u64>,
    boot: Option<&'a str>,
    monotonic: Option<u64>,
    realtime: Option<u64>,
    hash: Option<&'a str>,
}

impl<'a> Cursor<'a> {
    fn of(text: &'a str) -> Self {
        let hexadecimal = |text| u64::from_str_radix(text, 16).ok();
        let mut cursor = Self::default();
        for (name, value) in text.split(';').filter_map(|part| part.split_once('=')) {
            match name {
                "s" => cursor.sequence = Some(value),
                "i" => cursor.number = hexadecimal(value),
                "b" => cursor.boot = Some(value),
                "m" => cursor.monotonic = hexadecimal(value),
                "t" => cursor.realtime = hexadecimal(value),
                "x" => cursor.hash = Some(value),
                _ => {}
            }
        }
        cursor
    }

    /// Returns true for the same entry, perhaps in another file: the journal copies entries from
    /// memory to the disk.
    fn is_same(&self, other: &Self) -> bool {
        let content = |it: &Self| (it.monotonic, it.realtime, it.hash.map(str::to_owned));
        self.boot.is_some() && self.boot == other.boot && content(self) == content(other)
    }

    /// Returns by how much its number is larger than that of `other`, if both are of the same
    /// sequence.
    fn ahead_of(&self, other: &Self) -> Option<i128> {
        let is_one = self.sequence.is_some() && self.sequence == other.sequence;
        let (here, there) = (self.number?, other.number?);
        is_one.then(|| i128::from(here) - i128::from(there))
    }
}

/// Relation of an entry to the stored one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Met {
    /// The same or an earlier entry: it is stored.
    Stored,
    /// The next entry: no entry is missing.
    Follows,
    /// The stored entry is gone. This many entries of the journal, of any selection, may be
    /// missing; `None`: unknown.
    Gap(Option<u64>),
}

/// Compares the first entries of a call with the stored one.
#[derive(Debug)]
pub(super) struct Resumed {
    stored: String,
    /// Only entries of this boot are read.
    within_boot: bool,
    /// The selection is unchanged.
    is_same_selection: bool,
    met_it: bool,
}

impl Resumed {
    /// Resumes at the entry of this cursor.
    pub(super) fn at(stored: String, within_boot: bool, is_same_selection: bool) -> Self {
        Self { stored, within_boot, is_same_selection, met_it: false }
    }

    /// Classifies the next entry. Do not call it again after a result other than [`Met::Stored`].
    pub(super) fn meet(&mut self, cursor: &str) -> Met {
        let (stored, met) = (Cursor::of(&self.stored), Cursor::of(cursor));
        if stored.is_same(&met) {
            self.met_it = true;
            return Met::Stored;
        }
        let ahead = met.ahead_of(&stored);
        match ahead {
            Some(..=0) => return Met::Stored,
            Some(1) => return Met::Follows,
            _ => {}
        }
        let is_meant = self.within_boot && stored.boot != met.boot;
        if self.met_it || is_meant || !self.is_same_selection {
            return Met::Follows;
        }
        Met::Gap(ahead.and_then(|ahead| u64::try_from(ahead - 1).ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(sequence: &str, number: u64, boot: &str) -> String {
        format!(
            "s={sequence};i={number:x};b={boot};m={number:x};t=6615985b{number:04x};x=ab{number}"
        )
    }

    /// Classifies the entries of these cursors, up to the first new one.
    fn met(resumed: &mut Resumed, cursors: &[String]) -> Vec<Met> {
        let mut all = Vec::new();
        for cursor in cursors {
            all.push(resumed.meet(cursor));
            if all.last() != Some(&Met::Stored) {
                break;
            }
        }
        all
    }

    fn at(stored: &str) -> Resumed {
        Resumed::at(stored.to_owned(), false, true)
    }

    #[test]
    fn skips_the_stored_entry_and_reads_all_later_ones() {
        let entries = [cursor("a", 20, "b"), cursor("a", 500, "b")];
        assert_eq!(met(&mut at(&entries[0]), &entries), [Met::Stored, Met::Follows]);
        let other_boot = [cursor("a", 20, "b"), cursor("c", 1, "d")];
        assert_eq!(met(&mut at(&other_boot[0]), &other_boot), [Met::Stored, Met::Follows]);
    }

    #[test]
    fn an_entry_that_was_copied_to_another_file_is_known_again() {
        let copied = cursor("a", 20, "b").replace("s=a;i=14", "s=c;i=1");
        assert_eq!(at(&cursor("a", 20, "b")).meet(&copied), Met::Stored);
        let other_hash = cursor("a", 20, "b").replace("s=a;", "s=c;").replace("x=ab", "x=cd");
        assert_eq!(at(&cursor("a", 20, "b")).meet(&other_hash), Met::Gap(None));
    }

    #[test]
    fn where_the_stored_entry_is_gone_the_gap_is_said_with_its_size() {
        let stored = cursor("a", 20, "b");
        assert_eq!(at(&stored).meet(&cursor("a", 21, "b")), Met::Follows, "nothing lay between");
        assert_eq!(at(&stored).meet(&cursor("a", 23, "d")), Met::Gap(Some(2)));
        assert_eq!(at(&stored).meet(&cursor("c", 1, "b")), Met::Gap(None));
        let before = [cursor("a", 18, "b"), cursor("a", 19, "b"), cursor("a", 24, "b")];
        let expected = [Met::Stored, Met::Stored, Met::Gap(Some(3))];
        assert_eq!(met(&mut at(&stored), &before), expected, "a seek may end before it");
    }

    #[test]
    fn unrequested_entries_are_not_a_gap() {
        let (stored, next) = (cursor("a", 20, "b"), cursor("a", 30, "d"));
        assert_eq!(Resumed::at(stored.clone(), true, true).meet(&next), Met::Follows);
        assert_eq!(Resumed::at(stored.clone(), false, false).meet(&next), Met::Follows);
        let same_boot = cursor("a", 30, "b");
        assert_eq!(Resumed::at(stored, true, true).meet(&same_boot), Met::Gap(Some(9)));
    }

    #[test]
    fn place_is_read_as_it_is_stored() {
        let place = Place { number: 7, of: 9, since: None, cursor: Some(cursor("a", 1, "b")) };
        let position = place.position(&"in".into());
        let known = [(position.key, position.value.unwrap())];
        assert_eq!(Place::read(&known), Ok(Some(place)));
        assert_eq!(Place::read(&[]), Ok(None));
        assert!(Place::read(&[(KEY.into(), "x".into())]).is_err());
    }
}
