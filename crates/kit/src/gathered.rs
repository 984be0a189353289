//! For sources without positions: events are gathered into a batch and stored.

use std::sync::Arc;

use metrics::Metrics;
use peers::limits::Cut;
use pipeline::{Batch, BatchBuilder, FramingLost, Intake, IntakeError};
use support::log_rate::LogRate;
use tokio::time::{Duration, Instant, timeout};
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::tenants::Client;

/// Bytes of bodies from which on a batch is full.
pub const BATCH_BYTES: usize = 256 << 10;

/// Counts streams whose framing was lost.
pub const FRAMING_LOST: &str = "framing_lost";

/// Lines a minute about streams whose framing was lost.
const LOG_LINES: u32 = 5;

/// Where gathered events go. Clones share what is being stored.
#[derive(Clone)]
pub struct Destination {
    /// The source's name.
    pub source: Arc<str>,
    metrics: Metrics,
    intake: Arc<dyn Intake>,
    batch_events: usize,
    /// Batches that are being stored: they go on to their end.
    work: TaskTracker,
    log: Arc<LogRate>,
}

impl Destination {
    /// Batches of at most `batch_events` go to `intake`.
    pub fn new(
        source: Arc<str>,
        metrics: Metrics,
        intake: Arc<dyn Intake>,
        batch_events: usize,
    ) -> Self {
        let log = Arc::new(LogRate::new(LOG_LINES));
        Self { source, metrics, intake, batch_events, work: TaskTracker::new(), log }
    }

    /// Bytes of an event that the next agents take in any case.
    pub fn event_bytes_max(&self) -> usize {
        let agreed = self.intake.batch_bytes_max().map(|bytes| Cut::within(bytes).body_bytes);
        agreed.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX)
    }

    /// Counts what was lost or odd.
    pub fn count(&self, reason: &'static str, times: u64) {
        self.metrics.count_anomaly(&self.source, reason, times);
    }

    /// Counts and logs that the framing of the stream of `peer` was lost; returns whether it is
    /// read on.
    pub fn lost_framing(&self, peer: &str, lost: &FramingLost) -> bool {
        self.count(FRAMING_LOST, 1);
        if let Some(left_out) = self.log.allow(Instant::now()) {
            let action = match lost.is_found_again {
                true => "reading on at the next message",
                false => "closing the connection",
            };
            let source = &self.source;
            warn!(%source, peer, error = %lost, action, left_out, "framing of a stream lost");
        }
        lost.is_found_again
    }

    /// Stores a batch, to its end also when this future is dropped.
    ///
    /// # Errors
    /// A channel refused it.
    pub async fn store(&self, batch: Batch) -> Result<(), IntakeError> {
        let intake = self.intake.clone();
        let stored = self.work.spawn(async move { intake.accept(batch).await }).await;
        // The task is gone without a result only when the runtime ends.
        stored.unwrap_or(Err(IntakeError::Stopping))
    }

    /// Stores a batch of a tenant, for which room is asked in its turn; to its end also when this
    /// future is dropped after that.
    ///
    /// # Errors
    /// A channel refused it.
    pub async fn store_in_turn(&self, batch: Batch, client: &Client) -> Result<(), IntakeError> {
        let (size, member, sharing) = (batch.size(), client.member(), client.sharing());
        member.count(batch.len() as u64, size.bytes, Instant::now());
        let memory = sharing.memory(member, size.bytes).await;
        let turn = sharing.channel_turn(member, size.bytes);
        let intake = self.intake.clone();
        let storing = async move {
            let _memory = memory;
            let turn = turn.await;
            let permit = intake.reserve(size).await;
            drop(turn);
            permit?.commit(batch).await
        };
        self.work.spawn(storing).await.unwrap_or(Err(IntakeError::Stopping))
    }

    /// Waits for what is being stored, for so long at most. Nothing is stored after it.
    pub async fn finish(&self, limit: Duration) {
        self.work.close();
        let _ = timeout(limit, self.work.wait()).await;
    }
}

/// Events that become one batch.
#[derive(Default)]
pub struct Gathered {
    events: BatchBuilder,
}

impl Gathered {
    /// Adds an event.
    pub fn push(&mut self, body: &[u8], headers: &[(&str, &str)]) {
        self.events.push(body, headers);
    }

    /// Number of events.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Whether the next event, of so many bytes, belongs into another batch.
    pub fn is_full(&self, next_bytes: usize, to: &Destination) -> bool {
        /// Overhead of an event, with its headers, in that of a plain one.
        const HEADERS: u64 = 4;
        let (events, bytes) = (self.events.len(), self.events.body_bytes());
        let is_over = |limit: u64| {
            let cut = Cut::within(limit);
            let is_too_long = (bytes + next_bytes) as u64 > cut.body_bytes;
            events > 0 && (is_too_long || events as u64 >= cut.events / HEADERS)
        };
        self.is_complete(to) || to.intake.batch_bytes_max().is_some_and(is_over)
    }

    /// Whether it makes a batch as it is.
    pub fn is_complete(&self, to: &Destination) -> bool {
        self.events.len() >= to.batch_events || self.events.body_bytes() >= BATCH_BYTES
    }

    /// What was gathered; nothing is left.
    pub fn take(&mut self) -> Batch {
        std::mem::take(&mut self.events).finish()
    }

    /// Stores what was gathered, if that is anything, in the turn of the client that it came from,
    /// and waits for it. A batch that a channel
    /// refuses is lost, logged, and counted as `lost`.
    pub async fn store_or_lose(
        &mut self,
        to: &Destination,
        client: Option<&Client>,
        lost: &'static str,
    ) {
        if self.is_empty() {
            return;
        }
        let batch = self.take();
        let events = batch.len() as u64;
        let stored = match client {
            Some(client) => to.store_in_turn(batch, client).await,
            None => to.store(batch).await,
        };
        if let Err(error) = stored {
            warn!(source = %to.source, events, %error, "events are lost: a channel refused them");
            to.count(lost, events);
        }
    }
}
