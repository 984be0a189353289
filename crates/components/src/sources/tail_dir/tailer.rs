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
//! 1. What a file holds decides who it is ([`identity`](super::identity)); this is checked after
//!    each read, before its lines go on.
//! 2. A file whose content is gone from its inode (truncated, replaced) is followed to wherever
//!    that content went: a rename, or the copy of copytruncate. The inode is a new file.
//! 3. A file called like a copy, holding nothing but the beginning of a file that is here, is a
//!    copy in the making: it is left alone until the original is cut or the two differ.
//! 4. Files are read in rounds, one read each, so that none starves another.
//! 5. A position rises with each chunk, and the chunks of a file enter the channels in order.
//! 6. A file that an earlier run read is followed only if today's patterns name the path that it was
//!    found by ([`named`](super::named)).
//! 7. An inode is followed by one file, which is Here or Away. The others only remember the number of
//!    theirs: what lies where they were, under that number, may be a new file.
//!
//! Where changes are told ([`heed`](super::heed)), they say which file to read and when to survey;
//! surveys by the clock go on, less often.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use metrics::{FileLabel, Gauge, Metrics, SourceLabel, SourceReason, Text};
use pipeline::env::{Change, DiskFile, FileKind, FileStat, Watch};
use pipeline::{Batch, Env, SourcePosition};
use tokio::time::Instant;

use super::agreed::Agreed;
use super::buffers::Buffers;
use super::bundle::Bundle;
use super::file::{File, FileId, READS_AHEAD, Stage};
use super::glob::{Exclusion, Pattern};
use super::identity::new_key;
use super::lines::Limits;
use super::names::shown;
use super::read::Outcome;
use super::report::Report;
use super::unmet::Unmet;

/// Settings as the tailer uses them.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) patterns: Vec<Pattern>,
    pub(super) exclusions: Vec<Exclusion>,
    pub(super) limits: Limits,
    /// Header that gets the path.
    pub(super) file_header: Option<String>,
    /// Header that gets the offset of each line.
    pub(super) offset_header: Option<String>,
    /// Whether files that are there at the very first start are read from their end on.
    pub(super) from_end: bool,
    pub(super) late_line_after: Duration,
    /// Least and most time between two surveys.
    pub(super) poll_min: Duration,
    pub(super) poll_max: Duration,
    /// Files that are held open at once.
    pub(super) open_max: usize,
    /// Whether each file's lag is shown by itself too.
    pub(super) metrics_per_file: bool,
    /// Whether symbolic links are followed.
    pub(super) follow_symlinks: bool,
}

/// Lines on their way into the channels, or a mere note about a file.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    /// Lines, with the positions behind them; no lines for a note.
    pub(super) batch: Batch,
    /// The channels that lack it; `None` = all.
    pub(super) targets: Option<Vec<usize>>,
    /// What it holds of each file, in the order of the positions. Where that is more than one, nothing
    /// else of them is on its way.
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
    /// The lag of all files.
    lag: Gauge,
    /// How many they are.
    followed: Gauge,
    pub(super) files: BTreeMap<FileId, File>,
    /// Whether the lag of some file is not shown any more since all were shown: another file that lies
    /// at the same place may have been shown there as well.
    lags_removed: bool,
    /// Files that are here or away, by device and inode.
    pub(super) by_inode: HashMap<(u64, u64), FileId>,
    next_id: FileId,
    /// Files that want to be read, in turn.
    ready: VecDeque<FileId>,
    /// What could not be looked at the last time.
    pub(super) problems: BTreeMap<PathBuf, io::ErrorKind>,
    /// Directories as the last survey found them, where it needed to.
    pub(super) listings: HashMap<PathBuf, Vec<(OsString, FileKind)>>,
    /// Names that the last survey found and that may be links.
    pub(super) may_be_links: HashSet<PathBuf>,
    /// What is said of files and patterns.
    pub(super) report: Report,
    /// Files held back as copies, by device and inode.
    pub(super) held: BTreeMap<(u64, u64), PathBuf>,
    /// Files that were renamed since the last survey.
    pub(super) unmet: Unmet,
    pub(super) surveyed: bool,
    /// Tells of changes, where there is such a thing.
    pub(super) watch: Option<Arc<dyn Watch>>,
    /// Directories that the last survey looked into; `true` = for files.
    pub(super) directories: BTreeMap<PathBuf, bool>,
    /// Files by where they lie, for changes that are told: as the last survey left them.
    pub(super) by_place: HashMap<PathBuf, FileId>,
    /// Whether some file has come, gone or moved since.
    pub(super) places_changed: bool,
    pub(super) next_survey: Instant,
    /// No change that is told brings the next survey before this.
    pub(super) earliest_survey: Instant,
    pause: Duration,
    turns: u64,
    /// Files that are open, and some that were.
    pub(super) opened: Vec<FileId>,
    pub(super) buffers: Buffers,
    /// What this turn has read in little.
    pub(super) bundle: Bundle,
    pub(super) agreed: Agreed,
    /// Files that are done with and have no name any more. Whoever closes the last of them waits while
    /// the system frees what it holds, 40 ms for 128 MiB: it is not done in a turn.
    pub(super) deleted: Vec<Arc<dyn DiskFile>>,
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
        let next_id = files.len() as FileId;
        let label = SourceLabel { source: source.to_string() };
        let lag = metrics.source_lag.get_or_create(&label).clone();
        lag.set(0);
        let followed = metrics.source_files.get_or_create(&label).clone();
        followed.set(i64::from(u32::try_from(files.len()).unwrap_or(u32::MAX)));
        let report = Report::new(options.patterns.len(), Instant::now());
        let mut tailer = Self {
            report,
            source,
            env,
            metrics,
            lag,
            followed,
            surveyed: !files.is_empty() || !options.from_end,
            files: (0..).zip(files).collect(),
            lags_removed: false,
            by_inode: HashMap::new(),
            next_id,
            ready: VecDeque::new(),
            problems: BTreeMap::new(),
            listings: HashMap::new(),
            may_be_links: HashSet::new(),
            held: BTreeMap::new(),
            unmet: Unmet::new(),
            watch,
            directories: BTreeMap::new(),
            by_place: HashMap::new(),
            places_changed: true,
            next_survey: Instant::now(),
            earliest_survey: Instant::now(),
            pause: options.poll_min,
            turns: 0,
            opened: Vec::new(),
            buffers: Buffers::new(),
            agreed: Agreed::new(options.limits),
            bundle: Bundle::new(options.limits, options.file_header.as_deref()),
            deleted: Vec::new(),
            options,
        };
        tailer.set_aside_the_unnamed();
        tailer
    }

    /// One turn: takes note of what is settled and what changed, looks around if it is time to, and
    /// reads as much as there is room for. The chunks of a file come in order. `settled` is in every
    /// channel that it was for.
    pub(super) fn turn(
        &mut self,
        settled: &[Part],
        changes: &BTreeSet<Change>,
        room: Room,
    ) -> Vec<Chunk> {
        let now = Instant::now();
        self.turns += 1;
        self.heed_agreed();
        settled.iter().for_each(|settled| self.settle(*settled));
        changes.iter().for_each(|change| self.heed(change, now));
        let mut chunks = Vec::new();
        if now >= self.next_survey {
            self.survey(now, &mut chunks);
            let cost = now.elapsed();
            let found = self.enqueue(now);
            self.show_lags();
            self.hold_open();
            if self.ready.is_empty() {
                self.buffers.release();
                self.bundle.release();
            }
            let pauses = self.look_on();
            // Where changes are told, that there is still something to read is no reason.
            let is_busy = if pauses.told { found } else { !self.ready.is_empty() };
            let pause = if is_busy { pauses.busy } else { self.pause * 2 };
            // Looking around takes at most a twentieth of the time, however many files there are.
            let least = self.options.poll_min.max(cost * 20);
            self.pause = pause.min(pauses.longest).max(least);
            self.next_survey = now + self.pause;
            self.earliest_survey = now + least;
        }
        let (mut reads, noted) = (0, chunks.len());
        for _ in 0..self.ready.len() {
            let bytes: u64 = chunks[noted..].iter().map(Chunk::bytes).sum();
            if reads == room.reads || bytes + self.bundle.bytes() >= room.bytes {
                break;
            }
            let Some(id) = self.ready.pop_front() else { break };
            let Some(file) = self.files.get_mut(&id) else { continue };
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
        chunks
    }

    /// When the next turn is due, if nothing is settled before.
    pub(super) fn wake_at(&self) -> Instant {
        self.next_survey
    }

    /// Whether some file could be read now.
    pub(super) fn can_read(&self) -> bool {
        let free = |id: &FileId| self.files.get(id).is_some_and(|f| f.outstanding < READS_AHEAD);
        self.ready.iter().any(free)
    }

    /// The next survey comes at once: something moved.
    pub(super) fn survey_soon(&mut self, now: Instant) {
        self.next_survey = now;
    }

    /// Starts following a file, in an inode that nobody follows.
    pub(super) fn add(&mut self, file: File) -> FileId {
        let id = self.next_id;
        self.next_id += 1;
        let before = self.by_inode.insert(file.inode(), id);
        let before = before.and_then(|before| self.files.get(&before));
        debug_assert!(before.is_none_or(|before| !before.is_followed()), "followed twice");
        self.files.insert(id, file);
        self.followed.inc();
        self.places_changed = true;
        id
    }

    /// The content of the file is not in its inode any more. It is looked for elsewhere, and the
    /// inode is followed as a new file.
    pub(super) fn truncated(&mut self, id: FileId, now: Instant) {
        /// A copy is complete before its original is cut.
        const SEARCH: Duration = Duration::from_secs(2);
        let Some(file) = self.files.get_mut(&id) else { return };
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
        // Where the patterns do not find it by its place, a new run asks whether they name what it was
        // found by.
        let found_as = if self.would_find(&place) { &place } else { &found_as };
        let mut fresh = File::new(key, found_as, place.clone(), &stat, now);
        let Some(file) = self.files.get_mut(&id) else { return };
        fresh.stage = file.stage;
        fresh.handle = file.handle.take();
        (file.position.device, file.position.inode) = (0, 0);
        file.stage = Stage::Lost { until: now + SEARCH, searched: false };
        tracing::info!(source = %self.source, file = %shown(&file.place),
            offset = file.position.offset, "file was truncated or replaced; reading it anew");
        self.odd("truncated", 1);
        let fresh = self.add(fresh);
        self.opened.push(fresh);
        self.queue(fresh);
        self.survey_soon(now);
    }

    /// Counts something odd that was treated as documented.
    pub(super) fn odd(&self, reason: &'static str, count: u64) {
        let label = SourceReason { source: self.source.to_string(), reason };
        self.metrics.source_anomalies.get_or_create(&label).inc_by(count);
    }

    /// Takes note of the name that the file has now.
    pub(super) fn moved(&mut self, id: FileId, to: PathBuf) {
        let Some(file) = self.files.get_mut(&id) else { return };
        if file.place == to {
            return;
        }
        tracing::debug!(source = %self.source, from = %shown(&file.place), to = %shown(&to),
            "file has another name");
        if file.lag_shown.take().is_some() {
            self.metrics.tail_lag.remove(&lag_label(&self.source, file));
            self.lags_removed = true;
        }
        file.place = to;
        self.places_changed = true;
    }

    /// Shows how far each file is behind.
    fn show_lags(&mut self) {
        let anew = std::mem::take(&mut self.lags_removed);
        let Self { files, metrics, source, .. } = self;
        files.values_mut().for_each(|file| file.count_lag(&self.lag));
        if self.options.metrics_per_file {
            files.values_mut().for_each(|file| show_lag(metrics, source, file, anew));
        }
    }

    /// An empty batch that tells the channels where the file stands, or to forget it.
    pub(super) fn note(&mut self, id: FileId, forget: bool) -> Option<Chunk> {
        let file = self.files.get_mut(&id)?;
        file.outstanding += 1;
        file.stored = true;
        let mut position: SourcePosition = file.stored_position(&self.source);
        if forget {
            position.value = None;
        }
        let mut batch = Batch::default();
        batch.positions.push(position);
        let end = (!forget).then_some(file.position.offset);
        let part = Part { file: id, end, bytes: 0, ends_read: true };
        Some(Chunk { batch, targets: None, parts: vec![part] })
    }

    /// Lets the file go.
    pub(super) fn remove(&mut self, id: FileId) {
        let Some(file) = self.files.remove(&id) else { return };
        self.places_changed = true;
        self.lag.dec_by(file.lag_counted);
        self.followed.dec();
        if self.by_inode.get(&file.inode()) == Some(&id) {
            self.by_inode.remove(&file.inode());
        }
        if file.lag_shown.is_some() {
            self.metrics.tail_lag.remove(&lag_label(&self.source, &file));
            self.lags_removed = true;
        }
    }

    fn settle(&mut self, settled: Part) {
        let Some(file) = self.files.get_mut(&settled.file) else { return };
        file.outstanding -= usize::from(settled.ends_read);
        match settled.end {
            Some(end) => {
                file.accepted = file.accepted.max(end);
                file.count_lag(&self.lag);
                if self.options.metrics_per_file {
                    show_lag(&self.metrics, &self.source, file, self.lags_removed);
                }
            }
            None => self.remove(settled.file),
        }
    }

    /// Queues every file that wants to be read; says whether any was not queued before.
    fn enqueue(&mut self, now: Instant) -> bool {
        let late = self.options.late_line_after;
        let wanting = self.files.iter().filter(|(_, f)| !f.queued && f.wants_read(now, late));
        let wanting: Vec<FileId> = wanting.map(|(id, _)| *id).collect();
        let found = !wanting.is_empty();
        wanting.into_iter().for_each(|id| self.queue(id));
        found
    }

    pub(super) fn queue(&mut self, id: FileId) {
        if let Some(file) = self.files.get_mut(&id)
            && !file.queued
        {
            file.queued = true;
            self.ready.push_back(id);
        }
    }
}

/// Shows how far the file is behind. `anew` = where that was shown may be gone.
fn show_lag(metrics: &Metrics, source: &str, file: &mut File, anew: bool) {
    if anew {
        file.lag_shown = None;
    }
    let lag = i64::try_from(file.lag()).unwrap_or(i64::MAX);
    if let Some(gauge) = &file.lag_shown {
        gauge.set(lag);
        return;
    }
    let gauge = metrics.tail_lag.get_or_create(&lag_label(source, file)).clone();
    gauge.set(lag);
    file.lag_shown = Some(gauge);
}

fn lag_label(source: &str, file: &File) -> FileLabel {
    FileLabel { source: source.to_owned(), file: Text(shown(&file.place).into_owned()) }
}
