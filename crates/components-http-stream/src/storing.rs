//! One put after the other, with the position in the same write.

use std::time::Duration;

use bytes::Bytes;
use kit::until_stored::{Refused, UntilStored};
use pipeline::{Batch, Env, ErrorClass, SourceContext, SourceError};
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::progress::Progress;

/// How long a stop waits for what is on its way.
pub(crate) const DRAIN: Duration = Duration::from_secs(2);

/// What is being stored: one put, and one more that waits for it.
pub(crate) struct Storing {
    send: mpsc::Sender<(Batch, u64)>,
    task: AbortOnDropHandle<Result<(), Refused>>,
    has_ended: bool,
}

impl Storing {
    /// Nothing yet, of the source that stands here.
    pub(crate) fn begin(progress: &Progress, env: &Env, cx: &SourceContext) -> Self {
        let (source, key) = (progress.source().clone(), progress.key().clone());
        let (send, puts) = mpsc::channel(1);
        let until_stored = UntilStored::new(source, env.entropy.clone(), cx.positions.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(store(puts, until_stored, key)));
        Self { send, task, has_ended: false }
    }

    /// Waits until a put can be handed over. Cancel safe.
    ///
    /// # Errors
    /// Nothing is stored any more; the result is that of the source's run.
    pub(crate) async fn room(&mut self) -> Result<(), Result<(), SourceError>> {
        tokio::select! {
            biased;
            ended = &mut self.task => {
                self.has_ended = true;
                Err(result(ended))
            }
            permit = self.send.reserve() => match permit {
                Ok(_) => Ok(()),
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Hands a put over, after [`Storing::room`].
    pub(crate) fn put(&mut self, mut batch: Batch, progress: &mut Progress) {
        batch.envelope.positions.extend(progress.next_put());
        // Room is there; a task that has ended shows it to the next call of `room`.
        let _ = self.send.try_send((batch, progress.standing.puts));
    }

    /// Waits for what was handed over. A stop waits for a time; a run that is to be followed by
    /// another one waits for all of it, for that one begins where the channels stand.
    ///
    /// # Errors
    /// Something is not stored.
    pub(crate) async fn finish(self, cx: &SourceContext) -> Result<(), SourceError> {
        let Self { send, mut task, has_ended } = self;
        drop(send);
        if has_ended {
            return Ok(());
        }
        tokio::select! {
            biased;
            ended = &mut task => return result(ended),
            () = cx.stop.cancelled() => {}
        }
        match timeout(DRAIN, task).await {
            Ok(ended) => result(ended),
            Err(_) => Ok(()),
        }
    }
}

async fn store(
    mut puts: mpsc::Receiver<(Batch, u64)>,
    mut until_stored: UntilStored,
    key: Bytes,
) -> Result<(), Refused> {
    while let Some((batch, put)) = puts.recv().await {
        until_stored.put(batch, None, |known| Progress::lacks(known, &key, put)).await?;
    }
    Ok(())
}

/// What the end of storing means for the source.
fn result(ended: Result<Result<(), Refused>, JoinError>) -> Result<(), SourceError> {
    let failed = |class, message| Err(SourceError { class, message, source: None });
    match ended {
        Ok(Ok(()) | Err(Refused::Stopping)) => Ok(()),
        Ok(Err(Refused::Source(error))) => Err(error),
        Ok(Err(Refused::Batch(message))) => failed(ErrorClass::Blocked, message),
        Err(error) => failed(ErrorClass::Transient, format!("storing has ended: {error}")),
    }
}
