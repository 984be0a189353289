//! A put in progress, for sources that acknowledge a broker's messages after it.

use std::sync::Arc;

use pipeline::{Batch, IntakeError, PositionIntake, SourceContext};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A put in progress, with the data to acknowledge after it.
pub struct Storing<R> {
    /// Data that belongs to the batch.
    pub round: R,
    /// A put must run to its end once it has begun: it has its own task.
    pub put: JoinHandle<Result<(), IntakeError>>,
    /// Dropping it ends the wait for room, so that no task outlives the source.
    pub waits: Option<DropGuard>,
}

impl<R> Storing<R> {
    /// Starts to put the events of a round.
    pub fn begin(round: R, batch: Batch, cx: &SourceContext) -> Self {
        let stop = cx.stop.child_token();
        let put = tokio::spawn(put(cx.positions.clone(), batch, stop.clone()));
        Self { round, put, waits: Some(stop.drop_guard()) }
    }
}

/// Waits for the put, if there is one; otherwise never resolves. Cancel safe.
///
/// # Errors
/// Fails if the batch is not stored.
pub async fn put_of<R>(storing: &mut Option<Storing<R>>) -> Result<(), IntakeError> {
    match storing {
        // The task ends without a result only when the runtime shuts down.
        Some(storing) => (&mut storing.put).await.unwrap_or(Err(IntakeError::Stopping)),
        None => std::future::pending().await,
    }
}

/// Waits for a put that has its room, and ends one that waits for room. Returns its data, and
/// whether it is stored. Cancel safe.
pub async fn settled<R>(storing: &mut Option<Storing<R>>) -> Option<(R, Result<(), IntakeError>)> {
    storing.as_mut()?.waits = None;
    let result = put_of(storing).await;
    Some((storing.take()?.round, result))
}

/// Puts a batch when there is room; a stop ends the wait.
async fn put(
    intake: Arc<dyn PositionIntake>,
    batch: Batch,
    stop: CancellationToken,
) -> Result<(), IntakeError> {
    let reserved = stop.run_until_cancelled(intake.reserve(batch.size())).await;
    reserved.unwrap_or(Err(IntakeError::Stopping))?.commit(batch).await
}
