//! The way of a connection's events into the channels.
//!
//! ```text
//!   batch ─► turn of its tenant ─► room in every channel ─► commit ─► All
//!                       │ wait_max, stop          │           └ a channel fails ─► Unknown
//!                       └► Nothing                └ too large ─► Never
//!
//! A batch that only some channels have stored is retried in the others, for `wait_max` at most.
//! ```

use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use metrics::Metrics;
use peers::limits::Cut;
use pipeline::{
    Batch, BatchBuilder, Classify, Env, ErrorClass, Intake, PositionIntake, SourceContext,
};
use support::log_rate::LogRate;
use support::mutant;
use thiserror::Error;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::Report;
use crate::decoding::{Decoding, INLINE_BYTES, Undecoded};
use crate::gathered::Destination;
use crate::listening::DRAIN;
use crate::repeats::{Call, Calls};
use crate::storing::{self, NotStored};
use crate::tenants::{Member, Memory, Sharing};

/// Maximum number of log lines per minute about the input of clients.
const LOG_LINES: u32 = 5;

/// Maximum number of events that are hashed on the reactor.
const INLINE_EVENTS: usize = 1000;

/// Result of a put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// Every event is in every required channel.
    All,
    /// Nothing is stored, now or later. A retry may succeed.
    Nothing(NoRoom),
    /// Nothing is stored, and nothing of the batch ever can be, for this reason.
    Never(String),
    /// A channel failed during the put, for this reason: the events may be stored or not.
    Unknown(String),
}

/// Why there is no room.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoRoom {
    /// The time limit has expired.
    #[error("a channel of this source is full; retry later")]
    Full,
    /// The source stops.
    #[error("the agent is stopping; retry later")]
    Stopping,
    /// A channel cannot store events now.
    #[error("{0}")]
    Refused(String),
    /// The messages of other clients use the shared memory.
    #[error("other messages use all of the memory of this source (`in_flight_max`); retry later")]
    Memory,
}

/// The way to the channels of one run of a source, for all of its connections.
pub struct Put {
    /// Name of the source.
    pub source: Arc<str>,
    /// Environment of the source.
    pub env: Env,
    /// Cancelled when the source stops.
    pub stop: CancellationToken,
    /// How long a put waits for room.
    pub wait_max: Duration,
    /// Memory and turns of the tenants.
    pub sharing: Arc<Sharing>,
    metrics: Metrics,
    intake: Arc<dyn PositionIntake>,
    /// Puts under way. They continue even if their client disconnects.
    work: TaskTracker,
    log: Arc<LogRate>,
}

impl Put {
    pub(super) fn new(
        (source, env, metrics): (Arc<str>, Env, Metrics),
        cx: SourceContext,
        sharing: Arc<Sharing>,
        wait_max: Duration,
    ) -> Self {
        let (work, log) = (TaskTracker::new(), Arc::new(LogRate::new(LOG_LINES)));
        let SourceContext { positions: intake, stop, .. } = cx;
        Self { source, env, stop, wait_max, sharing, metrics, intake, work, log }
    }

    /// Waits for the puts that have reserved room, at most for [`DRAIN`].
    pub(super) async fn finish(&self) {
        self.work.close();
        if !mutant!("serve_put_not_awaited") {
            let _ = timeout(DRAIN, self.work.wait()).await;
        }
    }

    /// Counts an anomaly.
    pub fn count(&self, reason: &'static str, times: u64) {
        self.metrics.count_anomaly(&self.source, reason, times);
    }

    /// Returns whether a line about the input of a client may be logged now, and the number of
    /// lines that were left out before it.
    pub fn may_log(&self) -> Option<Option<u64>> {
        self.log.allow(Instant::now())
    }

    /// Reports the end of a connection.
    pub(super) fn closed(&self, peer: &str, error: &dyn Error, report: Report) {
        let source = &self.source;
        if let Some(reason) = report.anomaly {
            self.count(reason, 1);
        }
        if !report.is_warning {
            debug!(%source, peer, %error, "connection closed");
        } else if let Some(left_out) = self.may_log() {
            warn!(%source, peer, %error, left_out,
                "closed the connection of a client; it has to resend unacknowledged events; \
                 `error` names the cause and the remedy");
        }
    }

    /// Returns the size of the largest batch that the downstream agents accept.
    pub fn batch_bytes_max(&self) -> Option<u64> {
        self.intake.batch_bytes_max()
    }

    /// Returns the size of a body that the downstream agents always accept.
    pub fn body_max(&self) -> usize {
        let agreed = self.batch_bytes_max().map(|bytes| Cut::within(bytes).body_bytes);
        agreed.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX)
    }

    /// Reserves memory for a message of `bytes` bytes; `None` if none is free within `wait_max`.
    pub async fn memory(&self, member: &Member, bytes: u64) -> Option<Memory> {
        timeout(self.wait_max, self.sharing.memory(member, bytes)).await.ok()
    }

    /// Decodes a message: as [`Decoding::decode`].
    ///
    /// # Errors
    /// The message does not yield a batch.
    pub async fn decode<T: Send + 'static, E: Send + 'static>(
        &self,
        member: &Member,
        (size, memory): (usize, &mut Option<Memory>),
        read: impl Fn(&mut BatchBuilder) -> Result<T, E> + Clone + Send + 'static,
    ) -> Result<(T, Batch), Undecoded<E>> {
        let decoding =
            Decoding { env: &self.env, sharing: &self.sharing, member, wait_max: self.wait_max };
        decoding.decode(size, memory, read).await
    }

    /// Stores a batch of a tenant, if there is room within `wait_max`. It continues if this future
    /// is dropped. Drops `held`, most often the memory of the batch, once the batch is stored.
    pub async fn store<H: Send + 'static>(
        self: &Arc<Self>,
        batch: Batch,
        held: H,
        member: &Arc<Member>,
    ) -> Stored {
        if mutant!("serve_acknowledged_before_stored") {
            let intake = self.intake.clone();
            self.work.spawn(async move { intake.accept(batch).await });
            return Stored::All;
        }
        let turn = self.sharing.channel_turn(member, batch.size().bytes);
        let this = self.clone();
        let storing = AssertUnwindSafe(async move {
            let _held = held;
            let (intake, within) = (&*this.intake, (this.wait_max, turn));
            let stored = storing::store(intake, batch, within, &this.stop).await;
            stored.map_or_else(|not_stored| this.explain(not_stored), |()| Stored::All)
        });
        let mut storing = Box::pin(storing.catch_unwind());
        // A channel in memory with room stores immediately, without a task. A put that has to wait
        // continues in its own task.
        let stored = match futures::poll!(&mut storing) {
            Poll::Ready(stored) => stored.ok(),
            Poll::Pending if mutant!("serve_put_dropped_with_client") => storing.await.ok(),
            Poll::Pending => self.work.spawn(storing).await.ok().and_then(Result::ok),
        };
        stored.unwrap_or_else(|| {
            Stored::Unknown(
                "the task that stores the batch failed; the client has to resend it; report this \
                 as a bug"
                    .into(),
            )
        })
    }

    fn explain(&self, not_stored: NotStored) -> Stored {
        match not_stored {
            NotStored::Full => Stored::Nothing(NoRoom::Full),
            NotStored::Stopping => Stored::Nothing(NoRoom::Stopping),
            NotStored::Refused(error) if error.class() == ErrorClass::Poison => {
                Stored::Never(error.to_string())
            }
            NotStored::Refused(error) => {
                warn!(source = %self.source, %error, "no channel can store a batch; its client is \
                                                      asked to retry, so no event is lost; fix the \
                                                      cause in `error`");
                Stored::Nothing(NoRoom::Refused(error.to_string()))
            }
            NotStored::Failed(_) if mutant!("serve_failed_is_stored") => Stored::All,
            NotStored::Failed(error) => {
                warn!(source = %self.source, %error, "a channel failed while it stored a batch; \
                                                      the client has to resend it, so its events \
                                                      may be stored twice; fix the cause in \
                                                      `error`");
                Stored::Unknown(error.to_string())
            }
        }
    }

    /// Begins a call of `host`: as [`Calls::begin`], off the reactor if that takes milliseconds.
    /// `held`, most often the memory of the batch, lives as long as the work.
    pub async fn begin<H: Send + 'static>(
        &self,
        calls: &Calls,
        host: &Arc<str>,
        (batch, held): (Batch, H),
    ) -> (Call, H) {
        if is_quick(&batch) || calls.lengths(host).is_empty() {
            return (calls.begin(host, batch), held);
        }
        let (calls, host) = (calls.clone(), host.clone());
        self.env.offload(move || (calls.begin(&host, batch), held)).await
    }

    /// Records the reply to a call whose events are stored.
    pub async fn answered(&self, call: Call, host: &str, is_answered: bool) {
        let repeated = match is_answered || is_quick(call.batch()) {
            true => call.stored(is_answered),
            false => self.env.offload(move || call.stored(false)).await,
        };
        if repeated > 0 {
            self.repeated(host, repeated);
        }
    }

    /// Counts events that `host` has resent, and that are not stored again.
    pub fn repeated(&self, host: &str, events: usize) {
        self.count("repeated_events", events as u64);
        let source = &self.source;
        debug!(%source, host, events, "resent events are not stored again");
    }

    /// Returns the destination of events that are gathered into batches of `batch_events`.
    pub fn destination(&self, batch_events: usize) -> Destination {
        let intake: Arc<dyn Intake> = self.intake.clone();
        let to = (self.source.clone(), self.metrics.clone(), intake);
        Destination::within(to, batch_events, (self.work.clone(), self.log.clone()))
    }
}

/// Returns true if the events can be hashed on the reactor.
fn is_quick(batch: &Batch) -> bool {
    batch.size().bytes <= INLINE_BYTES as u64 && batch.len() <= INLINE_EVENTS
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use pipeline::testkit::plain_context;
    use pipeline::{BatchSize, IntakeError, Permit};

    use super::*;
    use crate::tenants::Peer;

    struct Panics;

    #[async_trait]
    impl Intake for Panics {
        async fn accept(&self, _batch: Batch) -> Result<(), IntakeError> {
            panic!("planted")
        }

        async fn reserve(&self, _size: BatchSize) -> Result<Box<dyn Permit + '_>, IntakeError> {
            panic!("planted")
        }
    }

    #[tokio::test]
    async fn panic_of_a_channel_leaves_the_result_unknown() {
        let (source, metrics) = (Arc::<str>::from("in"), Metrics::default());
        let of = (&source, &metrics);
        let sharing = Sharing::new(of, &Default::default(), 1 << 20, &Default::default());
        let cx = plain_context(Arc::new(Panics), CancellationToken::new());
        let peer = Peer { address: "192.0.2.1:7".into(), names: Default::default() };
        let member = sharing.enter(&peer);
        let of = (source.clone(), env::real(), metrics.clone());
        let put = Arc::new(Put::new(of, cx, sharing, Duration::from_secs(1)));
        let stored = put.store(Batch::of(["x"]), (), &member).await;
        let Stored::Unknown(problem) = stored else { panic!("{stored:?}") };
        assert!(problem.starts_with("the task that stores the batch failed"), "{problem}");
    }
}
