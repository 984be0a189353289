//! State of one file and its transitions. No I/O here.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use kit::multiline::Joining;
use metrics::Gauge;
use pipeline::SourcePosition;
use pipeline::env::{DiskFile, FileStat};
use tokio::time::Instant;

use super::identity::{Fingerprint, Position};
use super::lines::End;

/// Identifies a file within one run of the source; never reused.
pub(super) type FileId = u64;

/// Maximum number of reads of one file in flight.
pub(super) const READS_AHEAD: usize = 3;

/// A file that is followed under one identity, through renames and copies.
pub(super) struct File {
    /// Key of its positions.
    pub(super) key: Bytes,
    /// Position after the last read.
    pub(super) position: Position,
    /// Positions of channels that are ahead of the others; empty when all are equal.
    pub(super) marks: Vec<Mark>,
    /// Current path; for a link, its target.
    pub(super) place: PathBuf,
    /// Path at which its writer opens it.
    pub(super) home: PathBuf,
    /// Size and modification time when last seen.
    pub(super) len: u64,
    pub(super) modified: SystemTime,
    /// Size and modification time when last read to the end.
    pub(super) looked: Option<(u64, SystemTime)>,
    /// Time of the last growth.
    pub(super) quiet_since: Instant,
    pub(super) stage: Stage,
    pub(super) handle: Option<Arc<dyn DiskFile>>,
    /// Turn of the last read.
    pub(super) used: u64,
    /// Reads in flight.
    pub(super) outstanding: usize,
    /// Bytes that every channel has.
    pub(super) accepted: u64,
    /// Part of [`File::lag`] that is included in the source's total.
    pub(super) lag_counted: i64,
    /// Gauge of [`File::lag`], once it is published.
    pub(super) lag_shown: Option<Gauge>,
    /// True if some channel knows the key, or will.
    pub(super) stored: bool,
    /// True if it waits to be read.
    pub(super) queued: bool,
    /// True if its last event may have further lines, if lines are joined.
    pub(super) has_open_event: bool,
    /// Error of the last read.
    pub(super) problem: Option<std::io::ErrorKind>,
    /// Size at the last read of an earlier run, if the channels know it.
    pub(super) len_when_read: Option<u64>,
    /// Start of the search for a file of an earlier run; `None` once it was found or reported
    /// missing.
    pub(super) missing_since: Option<Instant>,
}

/// Position of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) offset: u64,
    pub(super) skipping: bool,
}

/// State of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The patterns find it.
    Here,
    /// It was moved out of the patterns' reach or deleted: its writer will stop soon. `gone` = it
    /// has no known name.
    Away { gone: bool },
    /// The source looks for its content under another name, until this time.
    Lost { until: Instant, searched: bool },
    /// The patterns do not name it any more: it is not read. Its position is kept while the file
    /// stays at its place, which is checked again at this time.
    Unnamed { until: Instant },
    /// It was read to its end and is gone permanently: the channels forget it.
    Leaving,
}

/// Extent of the next read, and its channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leg {
    /// The channels that lack it; `None` = all.
    pub(super) targets: Option<Vec<usize>>,
    /// Position of another channel, at which the read ends.
    pub(super) limit: Option<Mark>,
}

impl Leg {
    /// Without limit, for all channels.
    pub(super) const ALL: Self = Self { targets: None, limit: None };
}

impl File {
    /// Creates a file of which nothing was read: found as `path`, and located at `place`, which
    /// differs for a link.
    pub(super) fn new(
        key: Bytes,
        path: &Path,
        place: PathBuf,
        stat: &FileStat,
        now: Instant,
    ) -> Self {
        let position = Position {
            device: stat.device,
            inode: stat.inode,
            offset: 0,
            skipping: false,
            head: Fingerprint::default(),
            tail: Fingerprint::default(),
            path: path.to_owned(),
        };
        let mut file = Self::at(key, position, place, Vec::new(), Stage::Here, now);
        (file.home, file.stored) = (file.place.clone(), false);
        (file.len, file.modified) = (stat.len, stat.modified);
        file
    }

    /// Creates a file that an earlier run read and this one has not found yet.
    pub(super) fn at(
        key: Bytes,
        position: Position,
        place: PathBuf,
        marks: Vec<Mark>,
        stage: Stage,
        now: Instant,
    ) -> Self {
        Self {
            key,
            place,
            home: position.path.clone(),
            marks,
            len: 0,
            modified: SystemTime::UNIX_EPOCH,
            looked: None,
            quiet_since: now,
            stage,
            handle: None,
            used: 0,
            outstanding: 0,
            accepted: position.offset,
            position,
            lag_counted: 0,
            lag_shown: None,
            stored: true,
            queued: false,
            has_open_event: false,
            problem: None,
            len_when_read: None,
            missing_since: None,
        }
    }

    /// Device and inode.
    pub(super) fn inode(&self) -> (u64, u64) {
        (self.position.device, self.position.inode)
    }

    /// Returns true if `stat` has the device and inode of the file.
    pub(super) fn is(&self, stat: &FileStat) -> bool {
        (stat.device, stat.inode) == self.inode()
    }

    /// Returns true if the file owns its inode: no other file follows it.
    pub(super) fn is_followed(&self) -> bool {
        matches!(self.stage, Stage::Here | Stage::Away { .. })
    }

    /// Returns true if its content may be in a file that is not followed.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.stage, Stage::Lost { .. } | Stage::Unnamed { .. })
    }

    /// Records the file's state; returns whether it still contains what was read.
    pub(super) fn note(&mut self, stat: &FileStat, now: Instant) -> bool {
        if (stat.len, stat.modified) != (self.len, self.modified) {
            (self.len, self.modified, self.quiet_since) = (stat.len, stat.modified, now);
        }
        stat.len >= self.position.offset
    }

    /// Returns true if a read may return data.
    pub(super) fn wants_read(&self, now: Instant, late_line_after: Duration) -> bool {
        self.is_followed()
            && (self.looked != Some((self.len, self.modified))
                || self.late_line_is_due(now, late_line_after))
    }

    /// Returns true if every channel has all of its content, as of the last survey or read. False
    /// if its last line or event is not complete, and while its content is searched elsewhere.
    pub(super) fn is_all_stored(&self) -> bool {
        match self.stage {
            Stage::Here | Stage::Away { .. } => {
                self.problem.is_none()
                    && self.outstanding == 0
                    && self.marks.is_empty()
                    && self.position.offset >= self.len
            }
            Stage::Lost { .. } => false,
            Stage::Unnamed { .. } | Stage::Leaving => self.outstanding == 0,
        }
    }

    /// Returns true if it was moved from its writer's path: renamed, copied or deleted.
    pub(super) fn is_rotated(&self) -> bool {
        matches!(self.stage, Stage::Away { .. }) || self.place != self.home
    }

    /// Returns true if a last line without LF will never get one: a rotated file that has not grown
    /// for `late_line_after`.
    pub(super) fn late_line_is_due(&self, now: Instant, late_line_after: Duration) -> bool {
        self.is_rotated()
            && self.len > self.position.offset
            && now.duration_since(self.quiet_since) >= late_line_after
    }

    /// Returns true if the last event counts as ended, where lines are joined.
    pub(super) fn is_quiet(&self, now: Instant, joining: Option<&Joining>) -> bool {
        joining.is_some_and(|it| now.duration_since(self.quiet_since) >= it.timeout)
    }

    /// Returns true if no more data can follow: deleted, quiet for long, all of it read and stored.
    pub(super) fn is_done(&self, now: Instant, late_line_after: Duration) -> bool {
        self.stage == Stage::Away { gone: true }
            && self.outstanding == 0
            && now.duration_since(self.quiet_since) >= late_line_after
            && (self.handle.is_none() || self.position.offset >= self.len)
    }

    /// Returns the extent of the next read, and its channels.
    pub(super) fn leg(&mut self) -> Leg {
        let offset = self.position.offset;
        if self.marks.iter().all(|mark| mark.offset <= offset) {
            self.marks.clear();
            return Leg::ALL;
        }
        let lacking = self.marks.iter().enumerate().filter(|(_, mark)| mark.offset <= offset);
        let targets = Some(lacking.map(|(channel, _)| channel).collect());
        let further = self.marks.iter().filter(|mark| mark.offset > offset);
        Leg { targets, limit: further.min_by_key(|mark| mark.offset).copied() }
    }

    /// Returns what follows a read that ends at `read_end`.
    pub(super) fn end(&self, read_end: u64, limit: Option<Mark>, late: bool, quiet: bool) -> End {
        match limit {
            Some(mark) if mark.offset == read_end && mark.skipping => End::Cut,
            Some(mark) if mark.offset == read_end => End::Line,
            _ if late && read_end >= self.len => End::Line,
            _ if quiet && read_end >= self.len => End::Quiet,
            _ => End::Open,
        }
    }

    /// Returns the position to store with the last read.
    pub(super) fn stored_position(&self, source: &Arc<str>) -> SourcePosition {
        let (source, key) = (source.clone(), self.key.clone());
        // The last read may extend beyond the size that was last seen.
        let len = self.len.max(self.position.offset);
        let value = Some(self.position.encode_with_len(&self.place, len));
        SourcePosition { source, key, value, after: None }
    }

    /// Returns the bytes that some channel lacks.
    pub(super) fn lag(&self) -> u64 {
        self.len.saturating_sub(self.accepted)
    }

    /// Updates the source's total.
    pub(super) fn count_lag(&mut self, sum: &Gauge) {
        let lag = i64::try_from(self.lag()).unwrap_or(i64::MAX);
        sum.inc_by(lag - self.lag_counted);
        self.lag_counted = lag;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(offset: u64, marks: &[u64]) -> File {
        let stat = FileStat {
            device: 1,
            inode: 2,
            len: 100,
            modified: SystemTime::UNIX_EPOCH,
            kind: pipeline::env::FileKind::File,
            links: 1,
            mode: 0o600,
        };
        let mut file =
            File::new(Bytes::new(), Path::new("/a.log"), "/a.log".into(), &stat, Instant::now());
        file.position.offset = offset;
        file.marks = marks.iter().map(|at| Mark { offset: *at, skipping: false }).collect();
        file
    }

    #[test]
    fn rereads_the_missing_part_for_one_channel_only() {
        let mut file = file(10, &[30, 10, 70]);
        let leg = file.leg();
        assert_eq!((leg.targets, leg.limit.map(|mark| mark.offset)), (Some(vec![1]), Some(30)));
        file.position.offset = 30;
        let leg = file.leg();
        assert_eq!((leg.targets, leg.limit.map(|mark| mark.offset)), (Some(vec![0, 1]), Some(70)));
        file.position.offset = 70;
        assert_eq!(file.leg(), Leg::ALL);
    }

    #[test]
    fn a_line_without_an_end_is_late_only_where_nobody_writes_any_more() {
        let mut file = file(90, &[]);
        let (now, late) = (Instant::now(), Duration::from_secs(5));
        file.looked = Some((file.len, file.modified));
        assert!(!file.wants_read(now + late, late), "a file in its place is waited for");
        file.stage = Stage::Away { gone: false };
        assert!(!file.wants_read(now + late / 2, late));
        assert!(file.wants_read(now + late, late));
    }
}
