//! One put into the required channels, for the adapters that retry it.
//!
//! ```text
//!   begin ──► wait for room ──► commit ──► ended
//!                  │ stop                    │ some channels lack it
//!                  └──► nothing is stored    └──► begin again: pause, put into those that lack it
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pipeline::env::Entropy;
use pipeline::{Batch, IntakeError, PositionIntake, Rest, SourcePosition};
use support::backoff::jittered;
use support::causes::chain;
use support::failure_log::{FailureLog, seconds};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

/// Pauses between attempts to store a batch.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// The part of a batch to store, and where.
pub(crate) enum Part {
    /// All of it, in every required channel.
    Whole(Batch),
    /// All of it, in the channels at these indices.
    Into(Batch, Vec<usize>),
    /// The part that some channels lack of an earlier put.
    Rest(Rest),
}

/// A put under way.
pub(crate) struct Put {
    /// A task of its own, because a put that has begun must run to its end.
    task: JoinHandle<Result<(), IntakeError>>,
    /// Without it, the put no longer waits for room or for its turn.
    waits: Option<DropGuard>,
}

impl Put {
    /// Begins a put after a pause. A stop ends the wait for room, and the pause.
    pub(crate) fn begin(
        part: Part,
        pause: Duration,
        intake: Arc<dyn PositionIntake>,
        stop: &CancellationToken,
    ) -> Self {
        let stop = stop.child_token();
        let waits = Some(stop.clone().drop_guard());
        let task = tokio::spawn(async move {
            let paused = async {
                if !pause.is_zero() {
                    sleep(pause).await;
                }
            };
            stop.run_until_cancelled(paused).await.ok_or(IntakeError::Stopping)?;
            match part {
                Part::Whole(batch) => {
                    let reserved = stop.run_until_cancelled(intake.reserve(batch.size())).await;
                    reserved.unwrap_or(Err(IntakeError::Stopping))?.commit(batch).await
                }
                Part::Into(batch, channels) => intake.accept_into(batch, &channels).await,
                Part::Rest(rest) => intake.accept_rest(rest).await,
            }
        });
        Self { task, waits }
    }

    /// Ends the put if it waits for room or for its turn.
    pub(crate) fn stop_waiting(&mut self) {
        self.waits = None;
    }

    /// Waits for its end. Cancel safe.
    ///
    /// # Errors
    /// Some required channel has not stored its part.
    pub(crate) async fn ended(&mut self) -> Result<(), IntakeError> {
        // The task ends without a result only when the runtime ends.
        (&mut self.task).await.unwrap_or(Err(IntakeError::Stopping))
    }
}

/// Returns true if a channel with these positions lacks a put with `positions`, the last one that
/// was begun.
pub(crate) fn lacks(known: &[(Bytes, Bytes)], positions: &[SourcePosition]) -> bool {
    positions.iter().any(|position| {
        let stored = known.iter().find(|(key, _)| *key == position.key);
        stored.map(|(_, value)| value) != position.value.as_ref()
    })
}

/// Leaves out the channels whose positions show that they have the put after all.
pub(crate) fn leave_out_stored(
    rest: &mut Rest,
    positions: &[SourcePosition],
    source: &str,
    intake: &dyn PositionIntake,
) {
    if !positions.is_empty() {
        let known = intake.positions(source);
        rest.parts
            .retain(|(channel, _)| known.get(*channel).is_none_or(|known| lacks(known, positions)));
    }
}

/// Failed attempts to store a batch: the pauses after them, and their log.
pub(crate) struct Retries {
    source: Arc<str>,
    entropy: Arc<dyn Entropy>,
    failures: FailureLog,
}

impl Retries {
    pub(crate) fn new(source: Arc<str>, entropy: Arc<dyn Entropy>) -> Self {
        Self { source, entropy, failures: FailureLog::default() }
    }

    /// Records a failure; returns the pause after it.
    pub(crate) fn failed(&mut self, error: &(dyn std::error::Error + 'static)) -> Duration {
        let (now, text) = (Instant::now(), chain(error));
        self.failures.count(now);
        if let Some((failures, lasts)) = self.failures.should_log(now, &text) {
            warn!(
                source = %self.source, error = %text, failures, lasts_seconds = seconds(lasts),
                "cannot store a batch in every required channel; retrying in those that lack it; \
                 no event is lost; fix the cause in `error`"
            );
        }
        jittered(RETRY.0, RETRY.1, self.failures.failures(), self.entropy.next_u64())
    }

    /// Records that a batch is stored.
    pub(crate) fn worked(&mut self) {
        if let Some((failures, lasted)) = self.failures.over(Instant::now()) {
            info!(
                source = %self.source, failures, lasted_seconds = seconds(lasted),
                "every required channel stores batches again"
            );
        }
    }
}
