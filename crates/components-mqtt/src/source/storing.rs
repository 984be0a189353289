//! A put under way.

use std::sync::Arc;

use pipeline::{Batch, IntakeError, PositionIntake, SourceContext};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::round::Round;

/// A put under way, with what is answered when it has ended.
pub(super) struct Storing {
    pub(super) round: Round,
    /// A put that has begun must run to its end: it is a task of its own.
    pub(super) put: JoinHandle<Result<(), IntakeError>>,
    /// Without it the put waits for room no longer, so that no task stays behind the source.
    pub(super) waits: Option<DropGuard>,
}

impl Storing {
    /// Begins to put the events of a round.
    pub(super) fn begin(round: Round, batch: Batch, cx: &SourceContext) -> Self {
        let stop = cx.stop.child_token();
        let put = tokio::spawn(put(cx.positions.clone(), batch, stop.clone()));
        Self { round, put, waits: Some(stop.drop_guard()) }
    }
}

/// The end of a put, if there is one.
pub(super) async fn put_of(storing: &mut Option<Storing>) -> Result<(), IntakeError> {
    match storing {
        // The task is gone without a result only when the runtime ends.
        Some(storing) => (&mut storing.put).await.unwrap_or(Err(IntakeError::Stopping)),
        None => std::future::pending().await,
    }
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
