//! One file as the tailer knows it, and what each new fact about it means. No I/O here.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use kit::multiline::Joining;
use metrics::Gauge;
use pipeline::SourcePosition;
use pipeline::env::{DiskFile, FileStat};
use tokio::time::Instant;

use super::identity::{Position, Print};
use super::lines::End;

/// Names a file within one run of the source; never used again.
pub(super) type FileId = u64;

/// Reads of one file that may be on their way into the channels at once.
pub(super) const READS_AHEAD: usize = 3;

/// A file that is followed under one identity, through renames and copies.
pub(super) struct File {
    /// Key of its positions.
    pub(super) key: Bytes,
    /// Behind what was read.
    pub(super) position: Position,
    /// Where channels stand that have more than the others; empty once all stand alike.
    pub(super) marks: Vec<Mark>,
    /// Where it lies now; for a link, where it leads.
    pub(super) place: PathBuf,
    /// Where its writer opens it.
    pub(super) home: PathBuf,
    /// Bytes and time of change when it was last seen.
    pub(super) len: u64,
    pub(super) modified: SystemTime,
    /// Bytes and time of change when it was last read to its end.
    pub(super) looked: Option<(u64, SystemTime)>,
    /// Since when it has not grown.
    pub(super) quiet_since: Instant,
    pub(super) stage: Stage,
    pub(super) handle: Option<Arc<dyn DiskFile>>,
    /// Turn in which it was last read.
    pub(super) used: u64,
    /// Reads on their way into the channels.
    pub(super) outstanding: usize,
    /// Bytes that are in every channel.
    pub(super) accepted: u64,
    /// What of [`File::lag`] is in the sum of its source.
    pub(super) lag_counted: i64,
    /// Where [`File::lag`] is shown, once it is.
    pub(super) lag_shown: Option<Gauge>,
    /// Whether some channel knows the key, or will.
    pub(super) stored: bool,
    /// Whether it waits to be read.
    pub(super) queued: bool,
    /// Whether its last event may go on, where lines are joined.
    pub(super) has_open_event: bool,
    /// Why it could not be read the last time.
    pub(super) problem: Option<std::io::ErrorKind>,
    /// Bytes that it had when an earlier run read it last, if the channels know that.
    pub(super) len_when_read: Option<u64>,
    /// Since when it is looked for, if an earlier run read it and this one has not found it;
    /// nothing once it was found, or reported missing.
    pub(super) missing_since: Option<Instant>,
}

/// Where one channel stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) offset: u64,
    pub(super) skipping: bool,
}

/// What is to be done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It lies where the patterns look.
    Here,
    /// It was moved out of sight or deleted: its writer will stop soon. `gone` = no name of
    /// it is known.
    Away { gone: bool },
    /// Its content is looked for under another name, and given up at this time.
    Lost { until: Instant, searched: bool },
    /// The patterns do not name it any more: it is not read. Its position is kept as long as it
    /// lies where it was, which is looked at again at this time.
    Unnamed { until: Instant },
    /// It is read to its end and will not come back: the channels forget it.
    Leaving,
}

/// How far the next read goes and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leg {
    /// The channels that lack it; `None` = all.
    pub(super) targets: Option<Vec<usize>>,
    /// Where another channel goes on.
    pub(super) limit: Option<Mark>,
}

impl Leg {
    /// On and on, for all channels.
    pub(super) const ALL: Self = Self { targets: None, limit: None };
}

impl File {
    /// A file of which nothing was read: found as `path`, and lying at `place` unless that is a
    /// link.
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
            head: Print::default(),
            tail: Print::default(),
            path: path.to_owned(),
        };
        let mut file = Self::at(key, position, place, Vec::new(), Stage::Here, now);
        (file.home, file.stored) = (file.place.clone(), false);
        (file.len, file.modified) = (stat.len, stat.modified);
        file
    }

    /// A file that an earlier run read, not found yet.
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

    /// Whether it has an inode, which no other file follows then.
    pub(super) fn is_followed(&self) -> bool {
        matches!(self.stage, Stage::Here | Stage::Away { .. })
    }

    /// Whether what it holds may be found in a file that is not followed.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.stage, Stage::Lost { .. } | Stage::Unnamed { .. })
    }

    /// Takes note of what the file is now; says whether it still holds what was read.
    pub(super) fn note(&mut self, stat: &FileStat, now: Instant) -> bool {
        if (stat.len, stat.modified) != (self.len, self.modified) {
            (self.len, self.modified, self.quiet_since) = (stat.len, stat.modified, now);
        }
        stat.len >= self.position.offset
    }

    /// Whether a read may bring something.
    pub(super) fn wants_read(&self, now: Instant, late_line_after: Duration) -> bool {
        self.is_followed()
            && (self.looked != Some((self.len, self.modified))
                || self.late_line_is_due(now, late_line_after))
    }

    /// Whether it was moved from where its writer opens it: renamed, copied away or deleted.
    pub(super) fn is_rotated(&self) -> bool {
        matches!(self.stage, Stage::Away { .. }) || self.place != self.home
    }

    /// Whether a last line without LF will never get one: nothing was written for long to a file
    /// that was rotated.
    pub(super) fn late_line_is_due(&self, now: Instant, late_line_after: Duration) -> bool {
        self.is_rotated()
            && self.len > self.position.offset
            && now.duration_since(self.quiet_since) >= late_line_after
    }

    /// Whether the last event counts as ended, where lines are joined.
    pub(super) fn is_quiet(&self, now: Instant, joining: Option<&Joining>) -> bool {
        joining.is_some_and(|it| now.duration_since(self.quiet_since) >= it.timeout)
    }

    /// Whether nothing more can come: deleted, quiet for long, all of it read and accepted.
    pub(super) fn is_done(&self, now: Instant, late_line_after: Duration) -> bool {
        self.stage == Stage::Away { gone: true }
            && self.outstanding == 0
            && now.duration_since(self.quiet_since) >= late_line_after
            && (self.handle.is_none() || self.position.offset >= self.len)
    }

    /// How far the next read goes, and for which channels it is.
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

    /// What follows behind a read that ends at `read_end`.
    pub(super) fn end(&self, read_end: u64, limit: Option<Mark>, late: bool, quiet: bool) -> End {
        match limit {
            Some(mark) if mark.offset == read_end && mark.skipping => End::Cut,
            Some(mark) if mark.offset == read_end => End::Line,
            _ if late && read_end >= self.len => End::Line,
            _ if quiet && read_end >= self.len => End::Quiet,
            _ => End::Open,
        }
    }

    /// The position to be stored with what was read.
    pub(super) fn stored_position(&self, source: &Arc<str>) -> SourcePosition {
        let (source, key) = (source.clone(), self.key.clone());
        // A chunk may be of a read that has gone further than the last look at the file.
        let len = self.len.max(self.position.offset);
        let value = Some(self.position.encode_with_len(&self.place, len));
        SourcePosition { source, key, value, after: None }
    }

    /// Bytes that are not in every channel yet.
    pub(super) fn lag(&self) -> u64 {
        self.len.saturating_sub(self.accepted)
    }

    /// Brings the sum of its source up to date.
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
    fn what_one_channel_lacks_is_read_for_it_alone_up_to_the_others() {
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
