//! Stores a batch with positions in its channels, and retries until it succeeds: in the channels
//! that lack it, judged by their own positions.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pipeline::env::Entropy;
use pipeline::{Batch, Classify, ErrorClass, IntakeError, PositionIntake, SourceError};
use support::backoff::jittered;
use support::failure_log::{FailureLog, seconds};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

/// Pauses between attempts to store a batch.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Reason why a batch is not stored.
#[derive(Debug)]
pub enum Refused {
    /// The channels reject it permanently.
    Batch(String),
    /// The source cannot continue.
    Source(SourceError),
    /// The agent is stopping.
    Stopping,
}

/// Stores batches with positions.
pub struct UntilStored {
    source: Arc<str>,
    entropy: Arc<dyn Entropy>,
    intake: Arc<dyn PositionIntake>,
    /// Batches that are being stored: they run to their end.
    work: TaskTracker,
    trouble: FailureLog,
}

impl UntilStored {
    /// Creates it for the source of this name.
    pub fn new(
        source: Arc<str>,
        entropy: Arc<dyn Entropy>,
        intake: Arc<dyn PositionIntake>,
    ) -> Self {
        let work = TaskTracker::new();
        Self { source, entropy, intake, work, trouble: FailureLog::default() }
    }

    /// Stores a batch in the channels that lack it by `lacks`.
    ///
    /// # Errors
    /// Fails if it is not in all of them, and is not retried.
    pub async fn put(
        &mut self,
        batch: Batch,
        mut targets: Option<Vec<usize>>,
        lacks: impl Fn(&[(Bytes, Bytes)]) -> bool,
    ) -> Result<(), Refused> {
        loop {
            let (intake, batch, into) = (self.intake.clone(), batch.clone(), targets.clone());
            let bytes = batch.size().bytes;
            let stored = self.work.spawn(async move {
                match into {
                    None => intake.accept(batch).await,
                    Some(channels) => intake.accept_into(batch, &channels).await,
                }
            });
            let error = match stored.await.unwrap_or(Err(IntakeError::Stopping)) {
                Ok(()) => break,
                Err(IntakeError::Stopping) => return Err(Refused::Stopping),
                Err(error) => error,
            };
            match error.class() {
                ErrorClass::Transient | ErrorClass::Indeterminate => {}
                ErrorClass::Poison => {
                    let problem = format!("a channel rejected a batch of {bytes} bytes: {error}");
                    return Err(Refused::Batch(problem));
                }
                class @ (ErrorClass::Blocked | ErrorClass::Fatal) => {
                    let message = format!("cannot store a batch of {bytes} bytes");
                    let source: Option<Box<dyn std::error::Error + Send + Sync>> =
                        Some(Box::new(error));
                    return Err(Refused::Source(SourceError { class, message, source }));
                }
            }
            self.pause(&error).await;
            // Some channels may have it: ask them for their positions.
            let known = self.intake.positions(&self.source);
            let lacking = (0..).zip(&known).filter(|(_, known)| lacks(known));
            let lacking: Vec<usize> = lacking.map(|(channel, _)| channel).collect();
            if lacking.is_empty() {
                break;
            }
            targets = Some(lacking);
        }
        if let Some((failures, lasted)) = self.trouble.over(Instant::now()) {
            tracing::info!(
                source = %self.source, failures, lasted_seconds = seconds(lasted),
                "batches are stored again",
            );
        }
        Ok(())
    }

    async fn pause(&mut self, error: &IntakeError) {
        let (now, text) = (Instant::now(), error.to_string());
        self.trouble.count(now);
        if let Some((failures, lasts)) = self.trouble.should_log(now, &text) {
            tracing::warn!(
                source = %self.source, error = %text, failures, lasts_seconds = seconds(lasts),
                "cannot store a batch; retrying",
            );
        }
        let random = self.entropy.next_u64();
        sleep(jittered(RETRY.0, RETRY.1, self.trouble.failures(), random)).await;
    }

    /// Waits for batches in flight, for `limit` at most.
    pub async fn finish(&self, limit: Duration) {
        self.work.close();
        if timeout(limit, self.work.wait()).await.is_err() {
            tracing::debug!(source = %self.source, "stopped while a batch waited for its channels");
        }
    }
}
