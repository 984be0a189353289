//! The put under way.
//!
//! ```text
//!   begin ──► wait for room ──► commit ──► ended
//!                  │ stop                    │ only some channels have it
//!                  └──► nothing is stored    └──► again: pause, put into those that lack it
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pipeline::{Batch, IntakeError, PositionIntake, Rest, SourceContext};
use support::mutant;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::round::Round;

/// A put under way, with the messages that are acknowledged after it.
pub(super) struct Storing<A> {
    pub(super) round: Round<A>,
    /// A task of its own, because a put that has begun must run to its end.
    put: JoinHandle<Result<(), IntakeError>>,
    /// Without it, the put does not wait for room or for its turn any longer.
    waits: Option<DropGuard>,
}

impl<A> Storing<A> {
    /// Begins to store a round in every required channel.
    pub(super) fn begin(round: Round<A>, cx: &SourceContext) -> Self {
        let stop = cx.stop.child_token();
        let put = tokio::spawn(put(cx.positions.clone(), round.batch.clone(), stop.clone()));
        Self { round, put, waits: Some(stop.drop_guard()) }
    }

    /// Begins to store what some channels lack of a round, after a pause.
    pub(super) fn again(round: Round<A>, rest: Rest, pause: Duration, cx: &SourceContext) -> Self {
        let stop = cx.stop.child_token();
        let (intake, paused) = (cx.positions.clone(), stop.clone());
        let put = tokio::spawn(async move {
            let pause = tokio::time::sleep(pause);
            paused.run_until_cancelled(pause).await.ok_or(IntakeError::Stopping)?;
            intake.accept_rest(rest).await
        });
        Self { round, put, waits: Some(stop.drop_guard()) }
    }

    /// Ends a put that waits for room or for its turn.
    pub(super) fn stop_waiting(&mut self) {
        self.waits = None;
    }

    /// Leaves out the channels whose positions show that they have the round after all.
    pub(super) fn leave_out_stored(
        &self,
        rest: &mut Rest,
        source: &str,
        intake: &dyn PositionIntake,
    ) {
        let positions = &self.round.batch.envelope.positions;
        if !positions.is_empty() {
            let known = intake.positions(source);
            let lacks = |known: &[(Bytes, Bytes)]| {
                positions.iter().any(|position| {
                    let stored = known.iter().find(|(key, _)| *key == position.key);
                    stored.map(|(_, value)| value) != position.value.as_ref()
                })
            };
            rest.parts.retain(|(channel, _)| known.get(*channel).is_none_or(|it| lacks(it)));
        }
        if mutant!("consume_retried_everywhere") {
            let channels = 0..intake.positions(source).len();
            rest.parts = channels.map(|channel| (channel, self.round.batch.clone())).collect();
        }
    }
}

/// Waits for the end of the put, if there is one; otherwise forever. Cancel safe.
///
/// # Errors
/// Some required channel has not stored the round.
pub(super) async fn ended<A>(storing: &mut Option<Storing<A>>) -> Result<(), IntakeError> {
    match storing {
        Some(_) if mutant!("consume_acknowledged_before_stored") => Ok(()),
        // The task ends without a result only when the runtime ends.
        Some(storing) => (&mut storing.put).await.unwrap_or(Err(IntakeError::Stopping)),
        None => std::future::pending().await,
    }
}

/// Puts a batch when every required channel has room for it. A stop ends the wait.
async fn put(
    intake: Arc<dyn PositionIntake>,
    batch: Batch,
    stop: CancellationToken,
) -> Result<(), IntakeError> {
    let reserved = stop.run_until_cancelled(intake.reserve(batch.size())).await;
    reserved.unwrap_or(Err(IntakeError::Stopping))?.commit(batch).await
}
