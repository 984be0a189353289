//! The tailer: every file it follows, and whose turn it is. Synchronous; one turn is one piece of
//! work for a thread that may block.
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
//! 1. What a file holds decides which file it is ([`identity`](super::identity)); this is checked
//!    after each read, before its lines go on.
//! 2. A file whose content is gone from its inode (truncated, replaced) is followed to wherever
//!    that content went: a rename, or the copy of copytruncate. The inode is a new file.
//! 3. A file called like a copy, holding nothing but the beginning of a file that is here, is a
//!    copy in the making: it is left alone until the original is cut or the two differ.
//! 4. Files are read in rounds, one read each, so that none starves another.
//! 5. A position rises with each chunk, and the chunks of a file enter the channels in order.
//! 6. A file that an earlier run read is followed only if today's patterns name the path that it
//!    was found by ([`named`](super::named)).
//! 7. An inode is followed by one file, which is Here or Away. The others only remember the number
//!    of theirs: what lies where they were, under that number, may be a new file.
//!
//! Where changes are notified ([`changes`](super::changes)), they say which file to read and when
//! to survey; surveys by the clock go on, less often.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use metrics::Metrics;
use pipeline::env::{Change, FileKind, FileStat, Watch};
use pipeline::{Batch, Env, FileBoard, FollowedFiles};
use tokio::time::Instant;

use super::agreed::Agreed;
use super::buffers::Buffers;
use super::bundle::Bundle;
use super::changes::Watched;
use super::config::Options;
use super::file::{File, FileId, READS_AHEAD, Stage};
use super::flume::FlumePositions;
use super::followed::Followed;
use super::handles::Handles;
use super::identity::new_key;
use super::names::shown;
use super::open_events::OpenEvents;
use super::read::Outcome;
use super::renames::PendingRenames;
use super::report::Report;
use super::schedule::Schedule;
use super::survey::Seen;

/// Lines on their way into the channels, or a mere note about a file.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    /// Lines, with the positions behind them; no lines for a note.
    pub(super) batch: Batch,
    /// The channels that lack it; `None` = all.
    pub(super) targets: Option<Vec<usize>>,
    /// What it holds of each file, in the order of the positions. Where that is more than one,
    /// nothing else of them is on its way.
    pub(super) parts: Vec<Part>,
}

/// What a chunk holds of one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) file: FileId,
    /// The offset behind it; `None` if it tells the channels to forget the file.
    pub(super) end: Option<u64>,
    /// Bytes of its lines.
    pub(super) bytes: u64,
    /// Whether nothing more comes of the read.
    pub(super) ends_read: bool,
}

impl Chunk {
    /// Bytes of its lines.
    pub(super) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

/// What may be read before something is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) reads: usize,
    /// The read that goes over it is the last one, unless a batch of several files is full before.
    pub(super) bytes: u64,
}

pub(super) struct Tailer {
    pub(super) source: Arc<str>,
    pub(super) options: Options,
    pub(super) env: Env,
    metrics: Metrics,
    pub(super) files: Followed,
    /// Files that want to be read, in turn.
    ready: VecDeque<FileId>,
    turns: u64,
    /// What the last survey found, besides files.
    pub(super) seen: Seen,
    /// Files that were renamed since the last survey.
    pub(super) pending_renames: PendingRenames,
    /// Tells of changes, where there is such a thing.
    pub(super) watched: Watched,
    pub(super) schedule: Schedule,
    /// What is said of files and patterns.
    pub(super) report: Report,
    pub(super) handles: Handles,
    pub(super) buffers: Buffers,
    /// What this turn has read in little.
    pub(super) bundle: Bundle,
    pub(super) agreed: Agreed,
    pub(super) open_events: OpenEvents,
    /// What status pages show of the files, as of the last survey.
    pub(super) shown: FollowedFiles,
    /// Where they show it.
    board: FileBoard,
    /// Where Flume stood, until the first survey.
    pub(super) flume: Option<FlumePositions>,
    /// Channels that know nothing of the source, where others do and Flume's positions are set.
    pub(super) lacking: Vec<usize>,
    /// Whether nothing is read until the notes of the first survey are stored: a channel that knew
    /// of lines and not of the notes would not get these any more.
    is_waiting_for_notes: bool,
}

impl Tailer {
    /// Follows `files`, which an earlier run read, and whatever the patterns find.
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

    /// One turn: takes note of what is settled and what changed, looks around if it is time to, and
    /// reads as much as there is room for. The chunks of a file come in order. `settled` is in
    /// every channel that it was for.
    pub(super) fn turn(
        &mut self,
        settled: &[Part],
        changes: &BTreeSet<Change>,
        room: Room,
    ) -> Vec<Chunk> {
        let now = Instant::now();
        self.turns += 1;
        self.note_agreed();
        settled.iter().for_each(|settled| self.files.settle(*settled));
        // Nothing else is on its way while they are.
        self.is_waiting_for_notes &= settled.is_empty();
        changes.iter().for_each(|change| self.on_change(change, now));
        let mut chunks = Vec::new();
        if now >= self.schedule.next() {
            let is_first = self.seen.is_first();
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
            // Where changes are notified, that there is still something to read is no reason.
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
                    // It is the next one all the same.
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

    /// Shows the files on this board from now on.
    pub(super) fn show_on(&mut self, board: FileBoard) {
        self.board = board;
    }

    /// When the next turn is due, if nothing is settled before.
    pub(super) fn wake_at(&self) -> Instant {
        let survey = self.schedule.next();
        self.open_events.next().map_or(survey, |due| survey.min(due))
    }

    /// Whether some file could be read now.
    pub(super) fn can_read(&self) -> bool {
        let free = |id: &FileId| self.files.get(*id).is_some_and(|f| f.outstanding < READS_AHEAD);
        !self.is_waiting_for_notes && self.ready.iter().any(free)
    }

    /// The content of the file is not in its inode any more. It is looked for elsewhere, and the
    /// inode is followed as a new file.
    pub(super) fn truncated(&mut self, id: FileId, now: Instant) {
        /// A copy is complete before its original is cut.
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
        // Where the patterns do not find it by its place, a new run asks whether they name what it
        // was found by.
        let found_as = if self.would_find(&place) { &place } else { &found_as };
        let mut fresh = File::new(key, found_as, place.clone(), &stat, now);
        let Some(file) = self.files.get_mut(id) else { return };
        fresh.stage = file.stage;
        fresh.handle = file.handle.take();
        (file.position.device, file.position.inode) = (0, 0);
        file.stage = Stage::Lost { until: now + SEARCH, searched: false };
        tracing::info!(source = %self.source, file = %shown(&file.place),
            offset = file.position.offset, "file was truncated or replaced; reading it anew");
        self.count_anomaly("truncated", 1);
        let fresh = self.files.add(fresh);
        self.handles.opened(fresh);
        self.queue(fresh);
        self.schedule.soon(now);
    }

    /// Counts something unusual that was treated as documented.
    pub(super) fn count_anomaly(&self, reason: &'static str, count: u64) {
        self.metrics.count_anomaly(&self.source, reason, count);
    }

    /// Queues every file that wants to be read; says whether any was not queued before.
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
