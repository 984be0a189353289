//! Positions in the channels, and files that need no check now. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use pipeline::env::FileStat;
use tokio::time::Instant;

use super::RETRY;
use super::listing::Found;
use super::mark::{self, DONE, Mark, Sight};

/// How long a position is kept without its file: the directory may be mounted late.
const FORGET_AFTER: Duration = Duration::from_secs(60 * 60);

/// A file that is skipped while it is unchanged.
struct SkippedFile {
    len: u64,
    modified: u64,
    /// End of the skipping; `None`: none.
    until: Option<Instant>,
}

impl SkippedFile {
    fn is_as(&self, stat: &FileStat) -> bool {
        (self.len, self.modified) == (stat.len, mark::nanos(stat.modified))
    }
}

/// Known files.
pub(super) struct Known {
    channels: usize,
    /// How long a file must be unchanged before it is read.
    settle: Duration,
    /// Positions by key, one for each channel.
    marks: BTreeMap<Bytes, Vec<Option<Mark>>>,
    /// Keys whose files are missing, with the time when that was noticed.
    unseen: BTreeMap<Bytes, Instant>,
    passed: BTreeMap<Bytes, SkippedFile>,
    /// Paths that were logged as unreadable, with the time.
    said: BTreeMap<PathBuf, Instant>,
}

/// A position without a file.
#[derive(Debug)]
pub(super) struct OrphanPosition {
    pub(super) key: Bytes,
    /// Its path, if only a part was read.
    pub(super) unread: Option<PathBuf>,
}

impl Known {
    /// Creates the state from the channels' positions, see [`pipeline::PositionIntake::positions`].
    pub(super) fn from_positions(positions: &[Vec<(Bytes, Bytes)>], settle: Duration) -> Self {
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
                // Ignore positions of another source that had this name.
                if let Some(mark) = Mark::decode(value) {
                    known.note(key.clone(), channel, mark);
                }
            }
        }
        known
    }

    /// Returns each channel's position for this key.
    pub(super) fn marks(&self, key: &Bytes) -> Vec<Option<Mark>> {
        self.marks.get(key).cloned().unwrap_or_else(|| vec![None; self.channels])
    }

    /// Records the position of a channel.
    pub(super) fn note(&mut self, key: Bytes, channel: usize, mark: Mark) {
        let channels = self.channels;
        self.marks.entry(key).or_insert_with(|| vec![None; channels])[channel] = Some(mark);
    }

    /// Removes the key.
    pub(super) fn forget(&mut self, key: &Bytes) {
        self.marks.remove(key);
        self.unseen.remove(key);
    }

    /// Updates the missing files; returns the positions whose file has been missing for long.
    pub(super) fn update_missing(&mut self, files: &[Found], now: Instant) -> Vec<OrphanPosition> {
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
            OrphanPosition { key, unread: unread.map(|mark| mark.sight.path) }
        };
        over.into_iter().map(gone).collect()
    }

    /// Returns the keys of files that are not stored in every channel: of those listed, and of
    /// missing ones that were read in part. A file that is skipped permanently is not delivered.
    pub(super) fn unread(&self, files: &[Found]) -> BTreeSet<Bytes> {
        let is_done = |key: &Bytes, stat: &FileStat| {
            let is_stored = |mark: &Option<Mark>| {
                mark.as_ref().is_some_and(|it| it.at == DONE && it.sight.is_unchanged(stat))
            };
            let skipped = self.passed.get(key).filter(|passed| passed.is_as(stat));
            self.marks.get(key).is_some_and(|marks| marks.iter().all(is_stored))
                || skipped.is_some_and(|passed| passed.until.is_none())
        };
        let listed = files.iter().map(|it| (mark::key(it.stat.device, it.stat.inode), &it.stat));
        let listed = listed.filter(|(key, stat)| !is_done(key, stat)).map(|(key, _)| key);
        let is_partial = |key: &&Bytes| {
            let mut marks = self.marks.get(*key).into_iter().flatten().flatten();
            marks.any(|mark| mark.at != DONE)
        };
        listed.chain(self.unseen.keys().filter(is_partial).cloned()).collect()
    }

    /// Returns true if a file must be read. A new or changed file is due once it has been unchanged
    /// for `settle`.
    pub(super) fn is_due(&mut self, stat: &FileStat, now: Instant) -> bool {
        let key = mark::key(stat.device, stat.inode);
        if let Some(passed) = self.passed.get(&key).filter(|passed| passed.is_as(stat)) {
            return passed.until.is_some_and(|until| until <= now);
        }
        self.pass_over(stat, now.checked_add(self.settle));
        self.settle.is_zero()
    }

    /// Returns when a file that was just read may be finished, if it stays unchanged.
    pub(super) fn settles_at(&self, now: Instant) -> Option<Instant> {
        (!self.settle.is_zero()).then(|| now.checked_add(self.settle))?
    }

    /// Skips the file until then, or without end, while it stays unchanged.
    pub(super) fn pass_over(&mut self, stat: &FileStat, until: Option<Instant>) {
        let passed = SkippedFile { len: stat.len, modified: mark::nanos(stat.modified), until };
        self.passed.insert(mark::key(stat.device, stat.inode), passed);
    }

    /// As `pass_over`, while it equals `sight`.
    pub(super) fn pass_over_sight(&mut self, sight: &Sight, until: Option<Instant>) {
        let passed = SkippedFile { len: sight.len, modified: sight.modified, until };
        self.passed.insert(sight.key(), passed);
    }

    /// Returns true if this unreadable path was not logged recently, and records it as logged.
    pub(super) fn is_news(&mut self, path: &Path, now: Instant) -> bool {
        self.said.retain(|_, said| now - *said < RETRY);
        let is_news = !self.said.contains_key(path);
        self.said.entry(path.to_owned()).or_insert(now);
        is_news
    }
}
