//! Stores a batch with positions, and retries until every channel has it.

use std::sync::Arc;
use std::time::Duration;

use pipeline::env::Entropy;
use pipeline::{Batch, Classify, ErrorClass, IntakeError, PositionIntake, SourceError};
use support::mutant;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::puts::{Part, Put, Retries, lacks, leave_out_stored};

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

/// Stores batches with positions, one after the other. Dropping it ends the wait for room of a put.
pub struct Store {
    source: Arc<str>,
    intake: Arc<dyn PositionIntake>,
    retries: Retries,
    /// Ends waits for room.
    stop: CancellationToken,
    /// Kept here, so that it can be waited for if the future of [`put`](Self::put) is dropped.
    under_way: Option<Put>,
}

impl Store {
    /// Creates it for the source of this name.
    pub fn new(
        source: Arc<str>,
        entropy: Arc<dyn Entropy>,
        intake: Arc<dyn PositionIntake>,
    ) -> Self {
        let (retries, stop) = (Retries::new(source.clone(), entropy), CancellationToken::new());
        Self { source, intake, retries, stop, under_way: None }
    }

    /// Ends the wait for room of each put.
    pub(super) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Stores a batch in all channels, or in those at these indices.
    ///
    /// # Errors
    /// Some of them lacks it, and it is not retried.
    pub async fn put(&mut self, batch: Batch, into: Option<Vec<usize>>) -> Result<(), Refused> {
        let bytes = batch.size().bytes;
        let mut part = match &into {
            None => Part::Whole(batch.clone()),
            Some(channels) => Part::Into(batch.clone(), channels.clone()),
        };
        loop {
            let error = match self.attempt(part).await {
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
                    let source = Some(error.into());
                    return Err(Refused::Source(SourceError { class, message, source }));
                }
            }
            let pause = sleep(self.retries.failed(&error));
            self.stop.run_until_cancelled(pause).await.ok_or(Refused::Stopping)?;
            let Some(rest) = self.rest(error, &batch, into.as_deref()) else { break };
            part = rest;
        }
        self.retries.worked();
        Ok(())
    }

    async fn attempt(&mut self, part: Part) -> Result<(), IntakeError> {
        let put = Put::begin(part, Duration::ZERO, self.intake.clone(), &self.stop);
        let ended = self.under_way.insert(put).ended().await;
        self.under_way = None;
        ended
    }

    /// Waits for the put under way, for `limit` at most.
    pub async fn finish(&mut self, limit: Duration) {
        if let Some(put) = &mut self.under_way
            && timeout(limit, put.ended()).await.is_err()
        {
            debug!(source = %self.source, "stopped while a batch waited for its channels");
        }
    }

    /// Returns the part that some channels lack after a failure; `None`: all have it.
    fn rest(&self, error: IntakeError, batch: &Batch, into: Option<&[usize]>) -> Option<Part> {
        let positions = &batch.envelope.positions;
        if mutant!("follow_retried_everywhere") {
            return Some(Part::Whole(batch.clone()));
        }
        if let IntakeError::Partly { mut rest, .. } = error {
            leave_out_stored(&mut rest, positions, &self.source, &*self.intake);
            let is_stored = rest.parts.is_empty() || mutant!("follow_partly_stored_is_stored");
            return (!is_stored).then_some(Part::Rest(*rest));
        }
        let known = self.intake.positions(&self.source);
        let is_lacking = |channel: &usize| {
            into.is_none_or(|into| into.contains(channel)) && lacks(&known[*channel], positions)
        };
        let lacking: Vec<usize> = (0..known.len()).filter(is_lacking).collect();
        match lacking.len() {
            0 => None,
            all if into.is_none() && all == known.len() => Some(Part::Whole(batch.clone())),
            _ => Some(Part::Into(batch.clone(), lacking)),
        }
    }
}
