//! The tailer: follows the files and schedules their reads. Synchronous; one turn is one job for a
//! thread that may block.
//!
//! ```text
//!              a survey finds it                 a name elsewhere, or none
//!   (unknown) ───────────────────► Here ◄────────────────────────────────► Away
//!      ▲  copy of one that is here  │ its content is not in it any more      │ deleted, read to
//!      └── held back, looked at     ▼                                        ▼ its end
//!          again each survey       Lost ── found under another name ──► Here, Away
//!                                   └──── nowhere ──► Leaving ── forgotten by all channels
//! ```
//!
//! # Rules
//!
//! 1. The content decides which file it is ([`identity`](super::identity)); each read checks this
//!    before it passes on lines.
//! 2. If the content is gone from its inode (truncated, replaced), the source follows the content:
//!    to a renamed file, or to the copy of copytruncate. The inode then counts as a new file.
//! 3. A file that is named like a copy and contains only the beginning of a followed file is a copy
//!    in progress: it is not read until the original is truncated or the two differ.
//! 4. Files are read in rounds, one read each, so that none starves.
//! 5. A position increases with each chunk, and the chunks of a file enter the channels in order.
//! 6. A file of an earlier run is followed only if today's patterns name the path by which it was
//!    found ([`named`](super::named)).
//! 7. Only one file, in the stage Here or Away, owns an inode. Others only remember the number: the
//!    file that has it now may be new.
//!
//! Change notifications ([`changes`](super::changes)) select the files to read and trigger surveys;
//! timed surveys continue at a lower rate.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics::Metrics;
use pipeline::env::{Change, FileKind, FileStat, Moment, Watch};
use pipeline::{Env, FileBoard, FollowedFiles};
use tokio::time::Instant;

use super::agreed::Agreed;
use super::buffers::Buffers;
use super::bundle::Bundle;
use super::chunk::{Chunk, Outcome, Part};
use super::config::Options;
use super::file::{File, FileId, READS_AHEAD, Stage};
use super::flume_positions::FlumePositions;
use super::followed::Followed;
use super::identity::new_key;
use super::names::shown;
use super::open_events::OpenEvents;
use super::open_handles::Handles;
use super::reported::Report;
use super::schedule::Schedule;
use super::seen::Seen;
use super::watched::Watched;

/// Current paths of files that no survey may have found, with the paths by which patterns would
/// have found them.
type PendingRenames = BTreeMap<PathBuf, PathBuf>;

/// Amount that may be read before something is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) reads: usize,
    /// The read that exceeds it is the last one, unless a bundle is full before.
    pub(super) bytes: u64,
}

pub(super) struct Tailer {
    pub(super) source: Arc<str>,
    pub(super) options: Options,
    pub(super) env: Env,
    metrics: Metrics,
    pub(super) files: Followed,
    /// Files that need a read, in order.
    ready: VecDeque<FileId>,
    turns: u64,
    /// Start of the last survey.
    surveyed_at: Option<Moment>,
    /// Result of the last survey, apart from the files.
    pub(super) seen: Seen,
    /// Files that were renamed since the last survey.
    pub(super) pending_renames: PendingRenames,
    /// Change notifications, if the system has them.
    pub(super) watched: Watched,
    pub(super) schedule: Schedule,
    /// State of the log lines about files and patterns.
    pub(super) report: Report,
    pub(super) handles: Handles,
    pub(super) buffers: Buffers,
    /// Small reads of this turn.
    pub(super) bundle: Bundle,
    pub(super) agreed: Agreed,
    pub(super) open_events: OpenEvents,
    /// Status page data of the files, as of the last survey.
    pub(super) shown: FollowedFiles,
    /// Status page board that receives it.
    board: FileBoard,
    /// Flume's positions, until the first survey.
    pub(super) flume: Option<FlumePositions>,
    /// Channels that know nothing of the source although others do, if Flume's positions are set.
    pub(super) lacking: Vec<usize>,
    /// True until the notes of the first survey are stored: reading starts only then, because a
    /// channel that already has lines would never get the notes.
    is_waiting_for_notes: bool,
}

impl Tailer {
    /// Follows `files`, which an earlier run read, and all files that the patterns match.
    pub(super) fn new(
        source: Arc<str>,
        options: Options,
        env: Env,
        metrics: Metrics,
        files: Vec<File>,
        watch: Option<Arc<dyn Watch>>,
    ) -> Self {
        let now = Instant::now();
        let seen = Seen::new(files.is_empty() && options.from_end);
        let each = options.metrics_per_file;
        let timeout = options.joining.as_ref().map_or(Duration::ZERO, |joining| joining.timeout);
        let mut tailer = Self {
            files: Followed::new(source.clone(), metrics.clone(), each, files),
            ready: VecDeque::new(),
            turns: 0,
            surveyed_at: None,
            seen,
            pending_renames: PendingRenames::new(),
            watched: Watched::new(watch),
            schedule: Schedule::new(now, options.poll_min),
            report: Report::new(options.patterns.len(), now),
            handles: Handles::default(),
            buffers: Buffers::new(),
            bundle: Bundle::new(options.limits, options.file_header.as_deref()),
            agreed: Agreed::new(options.limits),
            open_events: OpenEvents::new(timeout),
            shown: FollowedFiles::default(),
            board: FileBoard::default(),
            flume: None,
            lacking: Vec::new(),
            is_waiting_for_notes: false,
            source,
            options,
            env,
            metrics,
        };
        tailer.set_aside_the_unnamed();
        tailer
    }

    /// Runs one turn: processes `settled` parts and `changes`, surveys if due, and reads as much as
    /// `room` allows. Every channel of a settled part has stored it. The chunks of a file are in
    /// order.
    pub(super) fn turn(
        &mut self,
        settled: &[Part],
        changes: &BTreeSet<Change>,
        room: Room,
    ) -> Vec<Chunk> {
        let now = Instant::now();
        self.turns += 1;
        // Between two turns the bundle is empty.
        if let Some(limits) = self.agreed.update(&self.source) {
            self.options.limits = limits;
            self.bundle.limit(limits);
        }
        settled.iter().for_each(|settled| self.files.settle(*settled));
        // While notes are in flight, nothing else is.
        self.is_waiting_for_notes &= settled.is_empty();
        changes.iter().for_each(|change| self.on_change(change, now));
        let mut chunks = Vec::new();
        if now >= self.schedule.next() {
            let is_first = self.seen.is_first();
            self.surveyed_at = Some(self.env.moment());
            chunks.extend(self.survey(now));
            self.is_waiting_for_notes |= is_first && !chunks.is_empty();
            let cost = now.elapsed();
            let found = self.enqueue(now);
            self.files.show_lags();
            self.show_files();
            self.hold_open();
            if self.ready.is_empty() {
                self.buffers.release();
                self.bundle.release();
            }
            let pauses = self.rearm_watches();
            // With notifications, unread data is no reason for an early survey.
            let is_busy = if pauses.told { found } else { !self.ready.is_empty() };
            self.schedule.after(now, cost, is_busy, &pauses);
        }
        self.open_events.take_due(&self.files, now).into_iter().for_each(|id| self.queue(id));
        if self.is_waiting_for_notes {
            return chunks;
        }
        let (mut reads, noted) = (0, chunks.len());
        for _ in 0..self.ready.len() {
            let bytes: u64 = chunks[noted..].iter().map(Chunk::bytes).sum();
            if reads == room.reads || bytes + self.bundle.bytes() >= room.bytes {
                break;
            }
            let Some(id) = self.ready.pop_front() else { break };
            let Some(file) = self.files.get_mut(id) else { continue };
            if file.outstanding >= READS_AHEAD {
                self.ready.push_back(id);
                continue;
            }
            file.queued = false;
            file.used = self.turns;
            reads += 1;
            match self.read(id, now, &mut chunks) {
                Outcome::End => {}
                Outcome::More => self.queue(id),
                Outcome::BundleFull => {
                    // It stays the next one.
                    self.queue(id);
                    self.ready.rotate_right(1);
                    break;
                }
            }
        }
        chunks.extend(self.bundle.finish());
        self.close_idle();
        self.shown.unread_bytes = self.files.unread_bytes();
        self.board.set(Some(self.shown.clone()));
        chunks
    }

    /// Sets the board that shows the files.
    pub(super) fn show_on(&mut self, board: FileBoard) {
        self.board = board;
    }

    /// Returns the moment before which every line of the files is stored in every channel: the
    /// start of the last survey, if each file was read to its end since then. `None` while a line
    /// is unread, incomplete or on its way, or a file cannot be read.
    pub(super) fn stored_before(&self) -> Option<Moment> {
        let is_idle = self.ready.is_empty() && !self.is_waiting_for_notes;
        let is_readable = self.seen.problems().is_empty() && !self.seen.may_miss;
        let is_stored = || self.files.iter().all(|(_, file)| file.is_all_stored());
        self.surveyed_at.filter(|_| is_idle && is_readable && is_stored())
    }

    /// Returns when the next turn is due, if nothing is settled before.
    pub(super) fn wake_at(&self) -> Instant {
        let survey = self.schedule.next();
        self.open_events.next().map_or(survey, |due| survey.min(due))
    }

    /// Returns true if some file can be read now.
    pub(super) fn can_read(&self) -> bool {
        let free = |id: &FileId| self.files.get(*id).is_some_and(|f| f.outstanding < READS_AHEAD);
        !self.is_waiting_for_notes && self.ready.iter().any(free)
    }

    /// Handles a file whose content is gone from its inode: searches the content elsewhere, and
    /// follows the inode as a new file.
    pub(super) fn truncated(&mut self, id: FileId, now: Instant) {
        /// Short, because a copy is complete before its original is truncated.
        const SEARCH: Duration = Duration::from_secs(2);
        let Some(file) = self.files.get_mut(id) else { return };
        let (device, inode) = file.inode();
        let key = new_key(device, inode, &*self.env.entropy);
        let stat = FileStat {
            device,
            inode,
            len: file.len,
            modified: file.modified,
            kind: FileKind::File,
            links: 1,
            mode: 0o600,
        };
        let (place, found_as) = (file.place.clone(), file.position.path.clone());
        // If the patterns do not match its place, a later run checks the path by which it was
        // found.
        let found_as = if self.would_find(&place) { &place } else { &found_as };
        let mut fresh = File::new(key, found_as, place.clone(), &stat, now);
        let Some(file) = self.files.get_mut(id) else { return };
        fresh.stage = file.stage;
        fresh.handle = file.handle.take();
        (file.position.device, file.position.inode) = (0, 0);
        file.stage = Stage::Lost { until: now + SEARCH, searched: false };
        tracing::info!(source = %self.source, file = %shown(&file.place),
            offset = file.position.offset,
            "file was truncated or replaced; reading it from the start");
        self.count_anomaly("truncated", 1);
        let fresh = self.files.add(fresh);
        self.handles.opened(fresh);
        self.queue(fresh);
        self.schedule.soon(now);
    }

    /// Counts an anomaly.
    pub(super) fn count_anomaly(&self, reason: &'static str, count: u64) {
        self.metrics.count_anomaly(&self.source, reason, count);
    }

    /// Queues every file that needs a read; returns whether it added any.
    fn enqueue(&mut self, now: Instant) -> bool {
        let late = self.options.late_line_after;
        let wanting = self.files.iter().filter(|(_, f)| !f.queued && f.wants_read(now, late));
        let wanting: Vec<FileId> = wanting.map(|(id, _)| id).collect();
        let found = !wanting.is_empty();
        wanting.into_iter().for_each(|id| self.queue(id));
        found
    }

    pub(super) fn queue(&mut self, id: FileId) {
        if let Some(file) = self.files.get_mut(id)
            && !file.queued
        {
            file.queued = true;
            self.ready.push_back(id);
        }
    }
}
