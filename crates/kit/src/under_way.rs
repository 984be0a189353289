//! A put under way, for sources that acknowledge messages of a broker behind it.

use std::sync::Arc;

use pipeline::{Batch, IntakeError, PositionIntake, SourceContext};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A put under way, with what is acknowledged when it has ended.
pub struct Storing<R> {
    /// What belongs to the batch.
    pub round: R,
    /// A put that has begun must run to its end: it is a task of its own.
    pub put: JoinHandle<Result<(), IntakeError>>,
    /// Without it the put waits for room no longer, so that no task stays behind the source.
    pub waits: Option<DropGuard>,
}

impl<R> Storing<R> {
    /// Begins to put the events of a round.
    pub fn begin(round: R, batch: Batch, cx: &SourceContext) -> Self {
        let stop = cx.stop.child_token();
        let put = tokio::spawn(put(cx.positions.clone(), batch, stop.clone()));
        Self { round, put, waits: Some(stop.drop_guard()) }
    }
}

/// The end of a put, if there is one; else it never ends. Cancel safe.
///
/// # Errors
/// The batch is not stored.
pub async fn put_of<R>(storing: &mut Option<Storing<R>>) -> Result<(), IntakeError> {
    match storing {
        // The task is gone without a result only when the runtime ends.
        Some(storing) => (&mut storing.put).await.unwrap_or(Err(IntakeError::Stopping)),
        None => std::future::pending().await,
    }
}

/// Waits for the end of a put that has its room, if there is one; one that waits for room ends now.
/// Answers what belongs to it, and whether it is stored. Cancel safe.
pub async fn settled<R>(storing: &mut Option<Storing<R>>) -> Option<(R, Result<(), IntakeError>)> {
    storing.as_mut()?.waits = None;
    let result = put_of(storing).await;
    Some((storing.take()?.round, result))
}

/// Puts a batch when there is room for it; a stop ends the waiting.
async fn put(
    intake: Arc<dyn PositionIntake>,
    batch: Batch,
    stop: CancellationToken,
) -> Result<(), IntakeError> {
    let reserved = stop.run_until_cancelled(intake.reserve(batch.size())).await;
    reserved.unwrap_or(Err(IntakeError::Stopping))?.commit(batch).await
}
