//! The way of chunks into the channels: several files side by side, each file strictly in order.
//!
//! A position must never be ahead of its events in any channel. So the next chunk of a file is
//! handed to the intake when every required channel has the one before it; the reading goes on
//! meanwhile. If a channel did not store a chunk, the channels are asked where they stand, and only
//! those that lack it are given it again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use pipeline::backoff::jittered;
use pipeline::env::Entropy;
use pipeline::{Class, Classify, Intake, IntakeError, SourceError};

use super::file::FileId;
use super::identity::Position;
use super::tailer::{Chunk, Room, Settled};

/// Chunks that are handed to the intake at once, each of another file: a durable channel makes one
/// write of those that come together. They are many or large, not both: what is stored faster than
/// it is sent has to be read back from the disk.
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

/// Chunks that wait and chunks that are on their way.
pub(super) struct Feed {
    target: Target,
    lanes: BTreeMap<FileId, VecDeque<Chunk>>,
    /// Files whose next chunk may go, first come first.
    waiting: VecDeque<FileId>,
    /// Files with a chunk on its way.
    busy: BTreeSet<FileId>,
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
            target,
            lanes: BTreeMap::new(),
            waiting: VecDeque::new(),
            busy: BTreeSet::new(),
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
            let lane = self.lanes.entry(file).or_default();
            lane.push_back(chunk);
            if lane.len() == 1 && !self.busy.contains(&file) {
                self.waiting.push_back(file);
            }
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
        self.busy.remove(&settled.file);
        match self.lanes.get(&settled.file).map(VecDeque::is_empty) {
            Some(false) => self.waiting.push_back(settled.file),
            _ => drop(self.lanes.remove(&settled.file)),
        }
        self.start();
        Ok(settled)
    }

    /// Starts nothing more and waits until what is on its way has arrived.
    pub(super) async fn finish(&mut self) {
        self.waiting.clear();
        self.lanes.clear();
        while self.running.next().await.is_some() {}
    }

    fn start(&mut self) {
        while self.running.len() < ACCEPTS_MAX && self.running_bytes < ACCEPTS_BYTES_MAX {
            let Some(file) = self.waiting.pop_front() else { return };
            let Some(chunk) = self.lanes.get_mut(&file).and_then(VecDeque::pop_front) else {
                continue;
            };
            self.busy.insert(file);
            self.running_bytes += chunk.bytes;
            self.running.push(Box::pin(store(self.target.clone(), chunk)));
        }
    }
}

/// Puts a chunk into every channel that lacks it, however long that takes.
async fn store(target: Target, chunk: Chunk) -> Result<Stored, SourceError> {
    let Target { source, intake, entropy } = target;
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
        failures += 1;
        if failures == 1 {
            tracing::warn!(%source, %error, "batch is not stored; trying on");
        }
        tokio::time::sleep(jittered(RETRY_MIN, RETRY_MAX, failures, entropy.next_u64())).await;
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
