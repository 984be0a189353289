//! Gathers events into batches and stores them, for sources without positions.

use std::sync::Arc;

use metrics::Metrics;
use peers::limits::Cut;
use pipeline::units::ByteSize;
use pipeline::{Batch, BatchBuilder, FramingLost, Intake, IntakeError};
use support::log_rate::LogRate;
use tokio::time::{Duration, Instant, timeout};
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::serve::{Connections, Limits};
use crate::tenants::Client;

/// Size of bodies at which a batch is full.
pub const BATCH_BYTES: usize = 256 << 10;

/// Reason label of streams whose framing was lost.
pub const FRAMING_LOST: &str = "framing_lost";

/// Maximum number of log lines per minute about streams whose framing was lost.
const LOG_LINES: u32 = 5;

/// Returns the limits of a source whose connections hold at most a batch and a message each, and
/// wait for room without a time limit.
pub fn limits<P>(message_max: (&'static str, ByteSize), connections: &Connections<P>) -> Limits {
    let held = (BATCH_BYTES as u64 + message_max.1.0) * u64::from(connections.connections_max);
    Limits { message_max, in_flight_max: ByteSize(held), wait_max: Duration::MAX }
}

/// Destination of gathered events. Clones share the batches in flight.
#[derive(Clone)]
pub struct Destination {
    /// Name of the source.
    pub source: Arc<str>,
    metrics: Metrics,
    intake: Arc<dyn Intake>,
    batch_events: usize,
    /// Batches that are being stored: they run to their end.
    work: TaskTracker,
    log: Arc<LogRate>,
}

impl Destination {
    /// Creates a destination that sends batches of at most `batch_events` to `intake`.
    pub fn new(
        source: Arc<str>,
        metrics: Metrics,
        intake: Arc<dyn Intake>,
        batch_events: usize,
    ) -> Self {
        let shared = (TaskTracker::new(), Arc::new(LogRate::new(LOG_LINES)));
        Self::within((source, metrics, intake), batch_events, shared)
    }

    /// As [`Destination::new`], with shared puts under way and a shared limit of log lines.
    pub(crate) fn within(
        (source, metrics, intake): (Arc<str>, Metrics, Arc<dyn Intake>),
        batch_events: usize,
        (work, log): (TaskTracker, Arc<LogRate>),
    ) -> Self {
        Self { source, metrics, intake, batch_events, work, log }
    }

    /// Returns the size of an event that the downstream agents always accept.
    pub fn event_bytes_max(&self) -> usize {
        let agreed = self.intake.batch_bytes_max().map(|bytes| Cut::within(bytes).body_bytes);
        agreed.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX)
    }

    /// Counts a loss or an anomaly.
    pub fn count(&self, reason: &'static str, times: u64) {
        self.metrics.count_anomaly(&self.source, reason, times);
    }

    /// Counts and logs a lost framing of the stream of `peer`; returns true if reading continues.
    pub fn lost_framing(&self, peer: &str, lost: &FramingLost) -> bool {
        self.count(FRAMING_LOST, 1);
        if let Some(left_out) = self.log.allow(Instant::now()) {
            let action = match lost.is_found_again {
                true => "continuing at the next message",
                false => "closing the connection",
            };
            let source = &self.source;
            warn!(
                %source, peer, error = %lost, action, left_out,
                "cannot find the end of a message in the stream of `peer`; events at this point \
                 may be cut or lost; check `framing` and the sender"
            );
        }
        lost.is_found_again
    }

    /// Stores a batch, to its end even if this future is dropped.
    ///
    /// # Errors
    /// Fails if a channel rejected it.
    pub async fn store(&self, batch: Batch) -> Result<(), IntakeError> {
        let intake = self.intake.clone();
        let stored = self.work.spawn(async move { intake.accept(batch).await }).await;
        // The task ends without a result only when the runtime shuts down.
        stored.unwrap_or(Err(IntakeError::Stopping))
    }

    /// Stores a batch of a tenant, which waits for room in its turn; once it has its turn, to its
    /// end even if this future is dropped.
    ///
    /// # Errors
    /// Fails if a channel rejected it.
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

    /// Waits for batches in flight, for `limit` at most. Nothing is stored after that.
    pub async fn finish(&self, limit: Duration) {
        self.work.close();
        let _ = timeout(limit, self.work.wait()).await;
    }
}

/// Events of the next batch.
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

    /// Returns true if there is no event.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Returns true if the next event, of `next_bytes` bytes, must go into another batch.
    pub fn is_full(&self, next_bytes: usize, to: &Destination) -> bool {
        /// Overhead of an event with its headers, as a multiple of a plain event.
        const HEADERS: u64 = 4;
        let (events, bytes) = (self.events.len(), self.events.body_bytes());
        let is_over = |limit: u64| {
            let cut = Cut::within(limit);
            let is_too_long = (bytes + next_bytes) as u64 > cut.body_bytes;
            events > 0 && (is_too_long || events as u64 >= cut.events / HEADERS)
        };
        self.is_complete(to) || to.intake.batch_bytes_max().is_some_and(is_over)
    }

    /// Returns true if the batch is complete.
    pub fn is_complete(&self, to: &Destination) -> bool {
        self.events.len() >= to.batch_events || self.events.body_bytes() >= BATCH_BYTES
    }

    /// Takes the batch.
    pub fn take(&mut self) -> Batch {
        std::mem::take(&mut self.events).finish()
    }

    /// Stores the batch, if it has events, in the turn of its client, and waits for that. A batch
    /// that a channel rejects is lost, logged, and counted as `lost`.
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
            warn!(
                source = %to.source, events, %error,
                "a channel rejected events, which are lost; fix the cause in `error`"
            );
            to.count(lost, events);
        }
    }
}
