//! What the channels know of files, and which files need no look now. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use pipeline::env::FileStat;
use tokio::time::Instant;

use super::RETRY;
use super::listing::Found;
use super::mark::{self, DONE, Mark, Sight};

/// How long the file of a position is waited for before the position is forgotten: its directory
/// may be mounted late.
const FORGET_AFTER: Duration = Duration::from_secs(60 * 60);

/// A file that is not looked at while it stays as it is.
struct Passed {
    len: u64,
    modified: u64,
    /// Until then; `None`: permanently.
    until: Option<Instant>,
}

impl Passed {
    fn is_as(&self, stat: &FileStat) -> bool {
        (self.len, self.modified) == (stat.len, mark::nanos(stat.modified))
    }
}

/// Files that were seen or are known of.
pub(super) struct Known {
    channels: usize,
    /// How long a file must not change before it is looked at.
    settle: Duration,
    /// By key, for each channel.
    marks: BTreeMap<Bytes, Vec<Option<Mark>>>,
    /// Keys with a position whose files are not seen, and since when.
    unseen: BTreeMap<Bytes, Instant>,
    passed: BTreeMap<Bytes, Passed>,
    /// What was said to be unreadable, and when.
    said: BTreeMap<PathBuf, Instant>,
}

/// A position whose file is gone.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) key: Bytes,
    /// Its path, if it was read in part only.
    pub(super) unread: Option<PathBuf>,
}

impl Known {
    /// What each channel knows, as [`pipeline::PositionIntake::positions`] says it.
    pub(super) fn recalled(positions: &[Vec<(Bytes, Bytes)>], settle: Duration) -> Self {
        let mut known = Self {
            channels: positions.len(),
            settle,
            marks: BTreeMap::new(),
            unseen: BTreeMap::new(),
            passed: BTreeMap::new(),
            said: BTreeMap::new(),
        };
        for (channel, positions) in positions.iter().enumerate() {
            for (key, value) in positions {
                // Positions of a source that had this name before are left alone.
                if let Some(mark) = Mark::decode(value) {
                    known.note(key.clone(), channel, mark);
                }
            }
        }
        known
    }

    /// What each channel keeps of this key.
    pub(super) fn marks(&self, key: &Bytes) -> Vec<Option<Mark>> {
        self.marks.get(key).cloned().unwrap_or_else(|| vec![None; self.channels])
    }

    /// A channel keeps this now.
    pub(super) fn note(&mut self, key: Bytes, channel: usize, mark: Mark) {
        let channels = self.channels;
        self.marks.entry(key).or_insert_with(|| vec![None; channels])[channel] = Some(mark);
    }

    /// The channels are to forget this key.
    pub(super) fn forget(&mut self, key: &Bytes) {
        self.marks.remove(key);
        self.unseen.remove(key);
    }

    /// Takes note of all files that are there; answers what has been gone for long.
    pub(super) fn gone(&mut self, files: &[Found], now: Instant) -> Vec<Gone> {
        let key = |found: &Found| mark::key(found.stat.device, found.stat.inode);
        let seen: BTreeSet<Bytes> = files.iter().map(key).collect();
        self.passed.retain(|key, _| seen.contains(key));
        self.unseen.retain(|key, _| !seen.contains(key));
        let unseen = self.marks.keys().filter(|key| !seen.contains(*key));
        for key in unseen {
            self.unseen.entry(key.clone()).or_insert(now);
        }
        let is_over = |since: &Instant| now - *since >= FORGET_AFTER;
        let over = self.unseen.extract_if(.., |_, since| is_over(since));
        let over: Vec<Bytes> = over.map(|(key, _)| key).collect();
        let gone = |key: Bytes| {
            let marks = self.marks.remove(&key).unwrap_or_default();
            let unread = marks.into_iter().flatten().find(|mark| mark.at != DONE);
            Gone { key, unread: unread.map(|mark| mark.sight.path) }
        };
        over.into_iter().map(gone).collect()
    }

    /// Whether a file is to be looked at. One that is new or has changed is due once it has not
    /// changed for `settle`.
    pub(super) fn is_due(&mut self, stat: &FileStat, now: Instant) -> bool {
        let key = mark::key(stat.device, stat.inode);
        if let Some(passed) = self.passed.get(&key).filter(|passed| passed.is_as(stat)) {
            return passed.until.is_some_and(|until| until <= now);
        }
        self.pass_over(stat, now.checked_add(self.settle));
        self.settle.is_zero()
    }

    /// When a file that was just read may be finished, unless it changes before.
    pub(super) fn settles_at(&self, now: Instant) -> Option<Instant> {
        (!self.settle.is_zero()).then(|| now.checked_add(self.settle))?
    }

    /// The file needs no look until then, or ever, while it stays as it is now.
    pub(super) fn pass_over(&mut self, stat: &FileStat, until: Option<Instant>) {
        let passed = Passed { len: stat.len, modified: mark::nanos(stat.modified), until };
        self.passed.insert(mark::key(stat.device, stat.inode), passed);
    }

    /// The same, while it stays as it was.
    pub(super) fn pass_over_sight(&mut self, sight: &Sight, until: Option<Instant>) {
        let passed = Passed { len: sight.len, modified: sight.modified, until };
        self.passed.insert(sight.key(), passed);
    }

    /// Whether it was not said lately that this is unreadable; it is now.
    pub(super) fn is_news(&mut self, path: &Path, now: Instant) -> bool {
        self.said.retain(|_, said| now - *said < RETRY);
        let is_news = !self.said.contains_key(path);
        self.said.entry(path.to_owned()).or_insert(now);
        is_news
    }
}
