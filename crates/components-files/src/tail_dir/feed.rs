//! Sends chunks to the channels: several files in parallel, each file strictly in order.
//!
//! A position must never be ahead of its events in any channel. If the channels can store in turn,
//! the next chunks of a file are handed to the intake while it still stores the earlier ones; if
//! one chunk fails, so do those after it. Otherwise a chunk waits until every required channel has
//! the one before it, while reading continues. If a channel did not store a chunk, the feed asks
//! the channels for their positions and sends the chunk again only to those that lack it.
//!
//! ```text
//!   lane of a file    in flight                                   waiting
//!                     chunk, after 0 ─► chunk, after 1 ─► ···     chunk   chunk   ···
//! ```
//!
//! A chunk of several files waits for none of them, and counts as in flight in each of their lanes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use pipeline::env::Entropy;
use pipeline::{ChannelError, Classify, ErrorClass, IntakeError, PositionIntake, SourceError};
use support::backoff::jittered;
use support::failure_log::{FailureLog, seconds};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::chunk::{Chunk, Part};
use super::file::FileId;
use super::identity::Position;
use super::tailer::Room;

/// Maximum number of chunks handed to the intake together: a durable channel stores them in one
/// write. Chunks are many or large, not both: storing faster than sending forces the channel to
/// read them back from the disk.
const ACCEPTS_MAX: usize = 32;
/// Maximum size of the chunks handed to the intake; the chunk that exceeds it is the last one.
const ACCEPTS_BYTES_MAX: u64 = 2 << 20;
/// Maximum number and size of reads in flight, of all files: a batch is read while the two before
/// it are stored. With 2 MiB, ten files took a sixth longer than one; 4 MiB were no faster and took
/// more memory.
const READS_MAX: usize = 256;
const BYTES_MAX: u64 = 3 << 20;
/// Smallest free room for which the tailer reads: one batch.
const BYTES_MIN: u64 = 1 << 20;
/// Pauses between attempts to store a chunk.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Shared state of every accept.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) source: Arc<str>,
    pub(super) intake: Arc<dyn PositionIntake>,
    pub(super) entropy: Arc<dyn Entropy>,
    /// Failures of all batches in flight: they mostly have the same cause.
    pub(super) failure_log: Arc<Mutex<FailureLog>>,
}

impl Target {
    /// Records another failed attempt to store a batch.
    fn not_stored(&self, error: &IntakeError) {
        let (now, text) = (Instant::now(), error.to_string());
        let mut trouble = self.failure_log.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.count(now);
        if let Some((failures, lasts)) = trouble.should_log(now, &text) {
            tracing::warn!(
                source = %self.source, error = %text, failures, lasts_seconds = seconds(lasts),
                "cannot store a batch in the channel; its file waits; retrying; no event is lost; \
                 fix the cause in `error`",
            );
        }
    }

    /// Records that a batch was stored after failures.
    fn stored_at_last(&self) {
        let mut trouble = self.failure_log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((failures, lasted)) = trouble.over(Instant::now()) {
            tracing::info!(
                source = %self.source, failures, lasted_seconds = seconds(lasted),
                "batches are stored again",
            );
        }
    }
}

/// Stored parts; empty if the agent stopped before.
type Stored = Vec<Part>;

/// The last chunk of a file in flight.
struct Sent {
    /// The position after it; `None` if it makes the channels forget the file.
    position: Option<Bytes>,
    targets: Option<Vec<usize>>,
    /// Resolves when it is stored.
    stored: oneshot::Receiver<()>,
}

/// A chunk in flight, with its order relative to others.
struct Going {
    chunk: Chunk,
    /// Resolves when the chunk before it is stored.
    before: Option<oneshot::Receiver<()>>,
    /// One for each of its files; dropped when it is stored.
    stored: Vec<oneshot::Sender<()>>,
}

/// The next chunk to send.
enum Next {
    /// The next chunk of a lane.
    Of(FileId),
    /// A chunk of several files.
    Bundle(Box<Going>),
}

/// The chunks of one file.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<Chunk>,
    /// Number of chunks in flight, and the last of them.
    under_way: usize,
    sent: Option<Sent>,
    /// True if it is in the queue.
    is_queued: bool,
}

impl Lane {
    /// Returns true if its next chunk may be sent; `in_turn` allows that while one is in flight, if
    /// both go to the same channels.
    fn may_go(&self, in_turn: bool) -> bool {
        let Some(next) = self.waiting.front() else { return false };
        let follows = |sent: &Sent| sent.position.is_some() && sent.targets == next.targets;
        self.under_way == 0 || (in_turn && self.sent.as_ref().is_some_and(follows))
    }

    /// Takes its next chunk, to be stored after the one in flight.
    fn send(&mut self) -> Option<Going> {
        let mut chunk = self.waiting.pop_front()?;
        let targets = chunk.targets.clone();
        let position = chunk.batch.envelope.positions.first_mut();
        let value = position.as_ref().and_then(|position| position.value.clone());
        let (before, stored) = self.sends(value, targets);
        let before = before.map(|sent| {
            position.into_iter().for_each(|position| position.after.clone_from(&sent.position));
            sent.stored
        });
        Some(Going { chunk, before, stored: vec![stored] })
    }

    /// Records a chunk in flight that ends at `position`. Returns the chunk in flight before it.
    fn sends(
        &mut self,
        position: Option<Bytes>,
        targets: Option<Vec<usize>>,
    ) -> (Option<Sent>, oneshot::Sender<()>) {
        let (stored, is_stored) = oneshot::channel();
        let sent = Sent { position, targets, stored: is_stored };
        let before = self.sent.replace(sent).filter(|_| self.under_way > 0);
        self.under_way += 1;
        (before, stored)
    }
}

/// Waiting chunks and chunks in flight.
pub(super) struct Feed {
    target: Target,
    /// True if a chunk may be sent before the one before it is stored.
    in_turn: bool,
    /// Files with chunks.
    lanes: BTreeMap<FileId, Lane>,
    /// Chunks that may be sent, first in, first out.
    queue: VecDeque<Next>,
    running: FuturesUnordered<BoxFuture<'static, Result<Stored, SourceError>>>,
    /// Bytes in flight.
    running_bytes: u64,
    /// Reads that are waiting or in flight, and their bytes.
    reads: usize,
    bytes: u64,
}

impl Feed {
    pub(super) fn new(target: Target) -> Self {
        Self {
            in_turn: target.intake.stores_in_turn(),
            target,
            lanes: BTreeMap::new(),
            queue: VecDeque::new(),
            running: FuturesUnordered::new(),
            running_bytes: 0,
            reads: 0,
            bytes: 0,
        }
    }

    /// Returns how much may be read now.
    pub(super) fn room(&self) -> Room {
        let reads = READS_MAX.saturating_sub(self.reads);
        let bytes = BYTES_MAX.saturating_sub(self.bytes);
        Room { reads, bytes: if bytes < BYTES_MIN { 0 } else { bytes } }
    }

    /// Adds chunks; the chunks of one file must be in reading order.
    pub(super) fn push(&mut self, chunks: Vec<Chunk>) {
        for chunk in chunks {
            self.reads += chunk.parts.iter().filter(|part| part.ends_read).count();
            self.bytes += chunk.bytes();
            match *chunk.parts {
                [Part { file, .. }] => {
                    self.lanes.entry(file).or_default().waiting.push_back(chunk);
                    self.queue(file);
                }
                _ => {
                    let stored = chunk.parts.iter().zip(&chunk.batch.envelope.positions);
                    let stored = stored.map(|(part, position)| {
                        let lane = self.lanes.entry(part.file).or_default();
                        lane.sends(position.value.clone(), None).1
                    });
                    let stored = stored.collect();
                    let going = Going { chunk, before: None, stored };
                    self.queue.push_back(Next::Bundle(Box::new(going)));
                }
            }
        }
        self.start();
    }

    /// Returns the next stored parts; pending while nothing is in flight. Cancel safe.
    ///
    /// # Errors
    /// Fails if a chunk can never be stored.
    pub(super) async fn next(&mut self) -> Result<Vec<Part>, SourceError> {
        let settled = loop {
            match self.running.next().await {
                Some(stored) => match stored? {
                    // The source stops as well.
                    nothing if nothing.is_empty() => {}
                    settled => break settled,
                },
                None => std::future::pending().await,
            }
        };
        for part in &settled {
            self.reads -= usize::from(part.ends_read);
            self.bytes -= part.bytes;
            self.running_bytes -= part.bytes;
            if let Some(lane) = self.lanes.get_mut(&part.file) {
                lane.under_way -= 1;
                if lane.under_way == 0 && lane.waiting.is_empty() {
                    self.lanes.remove(&part.file);
                }
            }
            self.queue(part.file);
        }
        self.start();
        Ok(settled)
    }

    /// Starts no further chunk and waits until all chunks in flight are stored.
    pub(super) async fn finish(&mut self) {
        self.queue.clear();
        self.lanes.clear();
        while self.running.next().await.is_some() {}
    }

    /// Queues the next chunk of the file, if it may be sent.
    fn queue(&mut self, file: FileId) {
        if let Some(lane) = self.lanes.get_mut(&file)
            && !lane.is_queued
            && lane.may_go(self.in_turn)
        {
            lane.is_queued = true;
            self.queue.push_back(Next::Of(file));
        }
    }

    fn start(&mut self) {
        while self.running.len() < ACCEPTS_MAX && self.running_bytes < ACCEPTS_BYTES_MAX {
            let going = match self.queue.pop_front() {
                Some(Next::Of(file)) => {
                    let Some(lane) = self.lanes.get_mut(&file) else { continue };
                    lane.is_queued = false;
                    let Some(going) = lane.send() else { continue };
                    self.queue(file);
                    going
                }
                Some(Next::Bundle(going)) => *going,
                None => return,
            };
            self.running_bytes += going.chunk.bytes();
            self.running.push(Box::pin(store(self.target.clone(), going)));
        }
    }
}

/// Stores a chunk in every channel that lacks it, and retries until it succeeds.
async fn store(target: Target, going: Going) -> Result<Stored, SourceError> {
    let Going { chunk, mut before, stored: _until_stored } = going;
    let mut channels = chunk.targets.clone();
    let mut failures = 0;
    loop {
        let batch = chunk.batch.clone();
        let stored = match &channels {
            None => target.intake.accept(batch).await,
            Some(channels) => target.intake.accept_into(batch, channels).await,
        };
        let error = match stored {
            Ok(()) => break,
            Err(IntakeError::Stopping) => return Ok(Vec::new()),
            Err(error) => error,
        };
        match error.class() {
            ErrorClass::Transient | ErrorClass::Indeterminate => {}
            class @ (ErrorClass::Poison | ErrorClass::Blocked | ErrorClass::Fatal) => {
                let message = format!("cannot store a batch of {} bytes", chunk.batch.size().bytes);
                return Err(SourceError { class, message, source: Some(Box::new(error)) });
            }
        }
        // Where only the one before it failed, that one says so.
        let is_early = matches!(
            error,
            IntakeError::Channel(ChannelError::OutOfTurn { .. })
                | IntakeError::Partly { source: ChannelError::OutOfTurn { .. }, .. }
        );
        let before = before.take();
        let has_waited = before.is_some();
        if let Some(before) = before {
            // Until then this one cannot be stored.
            let _ = before.await;
        }
        if !(is_early && has_waited) {
            failures += 1;
            target.not_stored(&error);
            let pause = jittered(RETRY_MIN, RETRY_MAX, failures, target.entropy.next_u64());
            tokio::time::sleep(pause).await;
        }
        let lacking = lacking(&chunk, &target.intake.positions(&target.source));
        if lacking.is_empty() {
            break;
        }
        channels = Some(lacking);
    }
    if failures > 0 {
        target.stored_at_last();
    }
    Ok(chunk.parts)
}

/// Returns the channels whose own position is before the chunk's end.
fn lacking(chunk: &Chunk, known: &[Vec<(Bytes, Bytes)>]) -> Vec<usize> {
    let lacks_part = |positions: &[(Bytes, Bytes)], part: &Part, key: &Bytes| {
        let value = positions.iter().find(|(known, _)| known == key);
        let offset = value.and_then(|(_, value)| Position::decode(value)).map(|(at, _)| at.offset);
        match part.end {
            Some(end) => offset.is_none_or(|offset| offset < end),
            None => offset.is_some(),
        }
    };
    let lacks = |positions: &[(Bytes, Bytes)]| {
        let mut parts = chunk.parts.iter().zip(&chunk.batch.envelope.positions);
        parts.any(|(part, position)| lacks_part(positions, part, &position.key))
    };
    (0..).zip(known).filter(|(_, positions)| lacks(positions)).map(|(channel, _)| channel).collect()
}
