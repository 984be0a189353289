//! The position stored with the events. Pure.
//!
//! One key, `state`, as JSON. Files are read in path order, so the current file implies all earlier
//! ones; a digest of their paths detects changes.

use std::sync::Arc;

use bytes::Bytes;
use pipeline::SourcePosition;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const STATE: &[u8] = b"state";
/// Maximum size of a position.
const VALUE_BYTES_MAX: usize = 4096;

/// Where to continue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// Incremented with each batch. Earlier versions read it.
    pub(super) number: u64,
    /// Digest of the settings.
    pub(super) of: u64,
    /// The last started file, if any.
    pub(super) file: Option<Mark>,
}

/// A file, and the position in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) path: String,
    #[serde(flatten)]
    pub(super) sight: Sight,
    /// Digest of the paths before it.
    pub(super) before: u64,
    /// Number of stored events.
    pub(super) events: u64,
    pub(super) is_done: bool,
}

/// Identifies the version of a file: a rewritten file differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sight {
    pub(super) len: u64,
    /// In milliseconds since 1970, if the store knows it.
    pub(super) modified: Option<u64>,
}

/// The remaining files.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// Index of the first one.
    pub(super) first: usize,
    /// Its mark, if it was started.
    pub(super) begun: Option<Mark>,
    /// Digest of the paths before it.
    pub(super) before: u64,
}

/// Extends a digest by one path.
pub(super) fn and(before: u64, path: &str) -> u64 {
    xxh3_64_with_seed(path.as_bytes(), before)
}

impl State {
    /// Reads the position from a channel.
    ///
    /// # Errors
    /// It has an unknown version, or belongs to other files.
    pub(super) fn read(known: &[(Bytes, Bytes)], of: u64) -> Result<Self, String> {
        let value = known.iter().find(|(key, _)| key == STATE).map(|(_, value)| value);
        let Some(value) = value else { return Ok(Self { of, ..Self::default() }) };
        let state: Self = serde_json::from_slice(value)
            .map_err(|error| format!("cannot decode the position in the channel: {error}"))?;
        if state.of != of {
            return Err("the position in the channel belongs to another `url`; restore the old \
                        `url`, or rename the source to read from the start"
                .to_owned());
        }
        Ok(state)
    }

    /// Encodes the position.
    pub(super) fn stored(&self, source: &Arc<str>) -> Result<SourcePosition, String> {
        let value = serde_json::to_vec(self).map_err(|error| error.to_string())?;
        if value.len() > VALUE_BYTES_MAX {
            let path = self.file.as_ref().map_or("", |mark| &mark.path);
            return Err(format!("the path is too long to store as a position; shorten it: {path}"));
        }
        let (key, value) = (Bytes::from_static(STATE), Some(value.into()));
        Ok(SourcePosition { source: source.clone(), key, value, after: None })
    }

    /// Returns which of `files`, in order, remain to be read.
    ///
    /// # Errors
    /// The files differ from those that were started.
    pub(super) fn left(&self, files: &[String]) -> Result<Left, String> {
        let Some(mark) = &self.file else {
            return Ok(Left { first: 0, begun: None, before: 0 });
        };
        let Ok(place) = files.binary_search(&mark.path) else {
            return Err(match mark.is_done {
                true => format!("{} was read and no longer exists; {AGAIN}", mark.path),
                false => format!("{} was read in part and no longer exists; {AGAIN}", mark.path),
            });
        };
        let before = files[..place].iter().fold(0, |before, path| and(before, path));
        if before != mark.before {
            return Err(format!(
                "files with names before the last file read, {}, were added or removed; {AGAIN}",
                mark.path
            ));
        }
        Ok(match mark.is_done {
            true => Left { first: place + 1, begun: None, before: and(before, &mark.path) },
            false => Left { first: place, begun: Some(mark.clone()), before },
        })
    }
}

/// The hint in error messages.
const AGAIN: &str = "the source stops here, because it finds its position by the sorted list of \
                     paths: restore the previous files (new files need names after the last file \
                     read), or rename the source to read all files again, which stores their \
                     events twice";

#[cfg(test)]
mod tests {
    use super::*;

    fn state(files: &[&str], events: u64, is_done: bool) -> State {
        let (last, others) = files.split_last().unwrap();
        let before = others.iter().fold(0, |before, path| and(before, path));
        let sight = Sight { len: 7, modified: None };
        let path = (*last).to_owned();
        let file = Some(Mark { path, sight, before, events, is_done });
        State { number: 1, of: 5, file }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn reading_goes_on_in_the_file_that_was_begun_or_behind_it() {
        let new = State::default();
        assert_eq!(new.left(&names(&["/a"])).unwrap().first, 0);
        let begun = state(&["/a", "/b"], 3, false);
        let left = begun.left(&names(&["/a", "/b", "/c"])).unwrap();
        assert_eq!((left.first, left.begun.map(|mark| mark.events)), (1, Some(3)));
        let done = state(&["/a", "/b"], 3, true);
        let left = done.left(&names(&["/a", "/b", "/c"])).unwrap();
        assert_eq!((left.first, left.begun), (2, None));
        assert_eq!(left.before, and(and(0, "/a"), "/b"));
        assert_eq!(done.left(&names(&["/a", "/b"])).unwrap().first, 2);
    }

    #[test]
    fn other_files_than_those_that_were_read_are_refused() {
        for files in [&["/a0", "/b"][..], &["/b"], &["/0", "/a", "/b"], &["/a", "/c"]] {
            let problem = state(&["/a", "/b"], 3, true).left(&names(files)).unwrap_err();
            assert!(problem.contains("/b") && problem.contains("rename the source"), "{problem}");
        }
    }

    #[test]
    fn position_belongs_to_one_url() {
        let state = state(&["/a"], 3, false);
        let stored = state.stored(&"s".into()).unwrap();
        let known = [(stored.key, stored.value.unwrap())];
        assert_eq!(State::read(&known, 5), Ok(state));
        assert!(State::read(&known, 6).unwrap_err().contains("another `url`"));
    }
}
