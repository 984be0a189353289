//! The way of pieces into the channels: each batch with the position behind it, into those channels
//! that lack it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peers::limits::Cut;
use pipeline::env::Entropy;
use pipeline::{
    Batch, Classify, ErrorClass, IntakeError, PieceLimits, PositionIntake, SourceError,
    SourcePosition,
};
use support::backoff::jittered;
use support::failure_log::{FailureLog, seconds};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use super::mark::Mark;

/// Bytes of bodies of a batch.
pub(super) const BATCH_BYTES: usize = 1 << 20;
/// Positions that are forgotten with one batch.
const FORGET_MAX: usize = 1_000;
/// Pauses between tries to store a batch.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// What becomes of a batch that is not stored.
pub(super) enum Refused {
    /// No channel will ever take it.
    Batch(String),
    /// The source cannot go on.
    Source(SourceError),
    /// The agent is stopping.
    Stopping,
}

/// Hands batches over.
pub(super) struct Feed {
    source: Arc<str>,
    entropy: Arc<dyn Entropy>,
    intake: Arc<dyn PositionIntake>,
    /// Batches that are being stored: they go on to their end.
    work: TaskTracker,
    /// Keys to be forgotten with the next batch that goes into all channels.
    forget: BTreeSet<Bytes>,
    trouble: FailureLog,
}

impl Feed {
    pub(super) fn new(
        source: Arc<str>,
        entropy: Arc<dyn Entropy>,
        intake: Arc<dyn PositionIntake>,
    ) -> Self {
        let (work, forget) = (TaskTracker::new(), BTreeSet::new());
        Self { source, entropy, intake, work, forget, trouble: FailureLog::default() }
    }

    /// The most of a batch: as set, and as the next agents take.
    pub(super) fn limits(&self, batch_events: usize) -> PieceLimits {
        let set = PieceLimits { bytes: BATCH_BYTES, events: batch_events };
        let Some(cut) = self.intake.batch_bytes_max().map(Cut::within) else { return set };
        let smaller = |set: usize, most: u64| set.min(usize::try_from(most).unwrap_or(usize::MAX));
        PieceLimits {
            bytes: smaller(set.bytes, cut.body_bytes),
            events: smaller(set.events, cut.events),
        }
    }

    /// The key is forgotten with one of the next batches.
    pub(super) fn forget_with_next(&mut self, key: Bytes) {
        self.forget.insert(key);
    }

    /// Whether so much is to be forgotten that it is not put off.
    pub(super) fn has_much_to_forget(&self) -> bool {
        self.forget.len() >= FORGET_MAX
    }

    /// Forgets what is to be forgotten, now.
    pub(super) async fn forget(&mut self) -> Result<(), Refused> {
        while !self.forget.is_empty() {
            let mut batch = Batch::default();
            self.add_forgotten(&mut batch);
            let keys: Vec<Bytes> =
                batch.envelope.positions.iter().map(|it| it.key.clone()).collect();
            let lacks = |known: &[(Bytes, Bytes)]| known.iter().any(|(key, _)| keys.contains(key));
            self.put(batch, None, lacks).await?;
        }
        Ok(())
    }

    /// Stores a batch of the file with the mark behind it, however long that takes: in `targets`,
    /// or in all channels.
    pub(super) async fn store(
        &mut self,
        mut batch: Batch,
        mark: &Mark,
        targets: Option<Vec<usize>>,
    ) -> Result<(), Refused> {
        let (key, value) = (mark.sight.key(), Some(mark.encode()));
        // Another file that is gone may have had its inode.
        self.forget.remove(&key);
        if targets.is_none() {
            self.add_forgotten(&mut batch);
        }
        let source = self.source.clone();
        batch.envelope.positions.push(SourcePosition {
            source,
            key: key.clone(),
            value,
            after: None,
        });
        let lacks = |known: &[(Bytes, Bytes)]| {
            let value = known.iter().find(|(known, _)| *known == key).map(|(_, value)| value);
            let has = value.and_then(|value| Mark::decode(value));
            has.is_none_or(|has| has.sight != mark.sight || has.at < mark.at)
        };
        self.put(batch, targets, lacks).await
    }

    fn add_forgotten(&mut self, batch: &mut Batch) {
        for _ in 0..FORGET_MAX {
            let Some(key) = self.forget.pop_first() else { return };
            let source = self.source.clone();
            batch.envelope.positions.push(SourcePosition { source, key, value: None, after: None });
        }
    }

    /// Puts a batch into the channels of which `lacks` says that they lack it.
    async fn put(
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
                    let problem = format!("a batch of {bytes} bytes is refused: {error}");
                    return Err(Refused::Batch(problem));
                }
                class @ (ErrorClass::Blocked | ErrorClass::Fatal) => {
                    let message = format!("a batch of {bytes} bytes cannot be stored");
                    let source: Option<Box<dyn std::error::Error + Send + Sync>> =
                        Some(Box::new(error));
                    return Err(Refused::Source(SourceError { class, message, source }));
                }
            }
            self.pause(&error).await;
            // Some channels may have it: they say so themselves.
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
                "a batch is not stored; trying on",
            );
        }
        let random = self.entropy.next_u64();
        sleep(jittered(RETRY.0, RETRY.1, self.trouble.failures(), random)).await;
    }

    /// Waits for what is being stored, for so long at most.
    pub(super) async fn finish(&self, limit: Duration) {
        self.work.close();
        if timeout(limit, self.work.wait()).await.is_err() {
            tracing::debug!(source = %self.source, "stopped while a batch waited for its channels");
        }
    }
}
