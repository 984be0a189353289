//! The way of chunks into the channels: several files side by side, each file strictly in order.
//!
//! A position must never be ahead of its events in any channel. Where the channels store in turn, the
//! next chunks of a file are handed to the intake while the one before them is being stored, each of
//! them to come after it: when it is not stored, they are not either. Elsewhere the next one waits
//! until every required channel has the one before it, and the reading goes on meanwhile. If a channel
//! did not store a chunk, the channels are asked where they stand, and only those that lack it are
//! given it again.
//!
//! ```text
//!   lane of a file    on their way                                waiting
//!                     chunk, after 0 ─► chunk, after 1 ─► ···     chunk   chunk   ···
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use pipeline::backoff::jittered;
use pipeline::env::Entropy;
use pipeline::{ChannelError, Class, Classify, Intake, IntakeError, SourceError};
use tokio::sync::oneshot;

use super::file::FileId;
use super::identity::Position;
use super::tailer::{Chunk, Room, Settled};

/// Chunks that are handed to the intake at once: a durable channel makes one write of those that come
/// together. They are many or large, not both: what is stored faster than it is sent has to be read
/// back from the disk.
const ACCEPTS_MAX: usize = 32;
/// Bytes that are handed to the intake at once; the chunk that goes over it is the last one.
const ACCEPTS_BYTES_MAX: u64 = 2 << 20;
/// Reads on their way into the channels at once, of all files, and their bytes.
const READS_MAX: usize = 64;
const BYTES_MAX: u64 = 3 << 20;
/// Pauses between tries to store a chunk.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// What every accept needs.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) source: Arc<str>,
    pub(super) intake: Arc<dyn Intake>,
    pub(super) entropy: Arc<dyn Entropy>,
}

/// A chunk that is stored; `None` if the agent stopped before.
type Stored = Option<Settled>;

/// The last chunk of a file that went on its way.
struct Sent {
    /// The position behind it; `None` if it forgets the file.
    position: Option<Bytes>,
    targets: Option<Vec<usize>>,
    /// Ends when it is stored.
    stored: oneshot::Receiver<()>,
}

/// A chunk on its way, between its neighbours.
struct Going {
    chunk: Chunk,
    /// Ends when the one that it is to come after is stored.
    before: Option<oneshot::Receiver<()>>,
    /// Dropped when it is stored.
    stored: oneshot::Sender<()>,
}

/// The chunks of one file.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<Chunk>,
    /// How many are on their way, and the last of them.
    under_way: usize,
    sent: Option<Sent>,
    /// It is among those whose turn comes.
    is_queued: bool,
}

impl Lane {
    /// Whether its next chunk may go; `in_turn` = behind one that is on its way, where that goes into
    /// the same channels.
    fn may_go(&self, in_turn: bool) -> bool {
        let Some(next) = self.waiting.front() else { return false };
        let follows = |sent: &Sent| sent.position.is_some() && sent.targets == next.targets;
        self.under_way == 0 || (in_turn && self.sent.as_ref().is_some_and(follows))
    }

    /// Its next chunk, to come after the one that is on its way.
    fn send(&mut self) -> Option<Going> {
        let mut chunk = self.waiting.pop_front()?;
        let (stored, is_stored) = oneshot::channel();
        let targets = chunk.targets.clone();
        let position = chunk.batch.positions.first_mut();
        let value = position.as_ref().and_then(|position| position.value.clone());
        let sent = Sent { position: value, targets, stored: is_stored };
        let before = self.sent.replace(sent).filter(|_| self.under_way > 0);
        self.under_way += 1;
        let before = before.map(|sent| {
            position.into_iter().for_each(|position| position.after.clone_from(&sent.position));
            sent.stored
        });
        Some(Going { chunk, before, stored })
    }
}

/// Chunks that wait and chunks that are on their way.
pub(super) struct Feed {
    target: Target,
    /// Whether a chunk may go before the one before it is stored.
    in_turn: bool,
    /// Files with chunks.
    lanes: BTreeMap<FileId, Lane>,
    /// Files whose next chunk may go, first come first.
    queue: VecDeque<FileId>,
    running: FuturesUnordered<BoxFuture<'static, Result<Stored, SourceError>>>,
    /// Bytes of what is running.
    running_bytes: u64,
    /// Reads that are waiting or running, and their bytes.
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

    /// What may be read now.
    pub(super) fn room(&self) -> Room {
        let reads = READS_MAX.saturating_sub(self.reads);
        Room { reads, bytes: BYTES_MAX.saturating_sub(self.bytes) }
    }

    /// Adds chunks; those of one file in the order in which they were read.
    pub(super) fn push(&mut self, chunks: Vec<Chunk>) {
        for chunk in chunks {
            let file = chunk.file;
            self.reads += usize::from(chunk.ends_read);
            self.bytes += chunk.bytes;
            self.lanes.entry(file).or_default().waiting.push_back(chunk);
            self.queue(file);
        }
        self.start();
    }

    /// The next chunk that is stored; waits for ever when there is none. Cancel safe.
    ///
    /// # Errors
    /// A chunk can never be stored.
    pub(super) async fn next(&mut self) -> Result<Settled, SourceError> {
        let settled = loop {
            match self.running.next().await {
                Some(stored) => match stored? {
                    Some(settled) => break settled,
                    // The source is told to stop as well.
                    None => continue,
                },
                None => std::future::pending().await,
            }
        };
        self.reads -= usize::from(settled.ends_read);
        self.bytes -= settled.bytes;
        self.running_bytes -= settled.bytes;
        if let Some(lane) = self.lanes.get_mut(&settled.file) {
            lane.under_way -= 1;
            if lane.under_way == 0 && lane.waiting.is_empty() {
                self.lanes.remove(&settled.file);
            }
        }
        self.queue(settled.file);
        self.start();
        Ok(settled)
    }

    /// Starts nothing more and waits until what is on its way has arrived.
    pub(super) async fn finish(&mut self) {
        self.queue.clear();
        self.lanes.clear();
        while self.running.next().await.is_some() {}
    }

    /// Notes that the next chunk of the file may go, if it may.
    fn queue(&mut self, file: FileId) {
        if let Some(lane) = self.lanes.get_mut(&file)
            && !lane.is_queued
            && lane.may_go(self.in_turn)
        {
            lane.is_queued = true;
            self.queue.push_back(file);
        }
    }

    fn start(&mut self) {
        while self.running.len() < ACCEPTS_MAX && self.running_bytes < ACCEPTS_BYTES_MAX {
            let Some(file) = self.queue.pop_front() else { return };
            let Some(lane) = self.lanes.get_mut(&file) else { continue };
            lane.is_queued = false;
            let Some(going) = lane.send() else { continue };
            self.running_bytes += going.chunk.bytes;
            self.running.push(Box::pin(store(self.target.clone(), going)));
            self.queue(file);
        }
    }
}

/// Puts a chunk into every channel that lacks it, however long that takes.
async fn store(target: Target, going: Going) -> Result<Stored, SourceError> {
    let Target { source, intake, entropy } = target;
    let Going { chunk, mut before, stored: _until_stored } = going;
    let Chunk { file, end, bytes, ends_read, .. } = chunk;
    let settled = Settled { file, end, bytes, ends_read };
    let mut channels = chunk.targets.clone();
    let mut failures = 0;
    loop {
        let batch = chunk.batch.clone();
        let stored = match &channels {
            None => intake.accept(batch).await,
            Some(channels) => intake.accept_into(batch, channels).await,
        };
        let error = match stored {
            Ok(()) => break,
            Err(IntakeError::Stopping) => return Ok(None),
            Err(error) => error,
        };
        match error.class() {
            Class::Transient | Class::Indeterminate => {}
            class @ (Class::Poison | Class::Fatal) => {
                let message =
                    format!("a batch of {} bytes cannot be stored", chunk.batch.size().bytes);
                return Err(SourceError { class, message, source: Some(Box::new(error)) });
            }
        }
        // Where only the one before it failed, that one says so.
        let is_early = matches!(error, IntakeError::Channel(ChannelError::OutOfTurn { .. }));
        let before = before.take();
        let has_waited = before.is_some();
        if let Some(before) = before {
            // Until then this one could not be stored.
            let _ = before.await;
        }
        if !(is_early && has_waited) {
            failures += 1;
            if failures == 1 {
                tracing::warn!(%source, %error, "batch is not stored; trying on");
            }
            let pause = jittered(RETRY_MIN, RETRY_MAX, failures, entropy.next_u64());
            tokio::time::sleep(pause).await;
        }
        let lacking = lacking(&chunk, &intake.positions(&source));
        if lacking.is_empty() {
            break;
        }
        channels = Some(lacking);
    }
    if failures > 0 {
        tracing::info!(%source, failures, "batch is stored");
    }
    Ok(Some(settled))
}

/// The channels that do not stand behind the chunk, by what they say themselves.
fn lacking(chunk: &Chunk, known: &[Vec<(Bytes, Bytes)>]) -> Vec<usize> {
    let key = chunk.batch.positions.first().map(|position| &position.key);
    let lacks = |positions: &Vec<(Bytes, Bytes)>| {
        let value = positions.iter().find(|(known, _)| Some(known) == key);
        let offset = value.and_then(|(_, value)| Position::decode(value)).map(|(at, _)| at.offset);
        match chunk.end {
            Some(end) => offset.is_none_or(|offset| offset < end),
            None => offset.is_some(),
        }
    };
    (0..).zip(known).filter(|(_, positions)| lacks(positions)).map(|(channel, _)| channel).collect()
}
