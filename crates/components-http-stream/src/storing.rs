//! Stores one put after the other, with the position in the same write.

use std::time::Duration;

use bytes::Bytes;
use kit::until_stored::{Refused, UntilStored};
use pipeline::{Batch, Env, ErrorClass, SourceContext, SourceError};
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::progress::Progress;

/// How long a stop waits for puts in flight.
pub(crate) const DRAIN: Duration = Duration::from_secs(2);

/// Puts being stored: one, and another one that waits.
pub(crate) struct Storing {
    send: mpsc::Sender<(Batch, u64)>,
    task: AbortOnDropHandle<Result<(), Refused>>,
    has_ended: bool,
}

impl Storing {
    /// Starts without puts, at the position of the source.
    pub(crate) fn begin(progress: &Progress, env: &Env, cx: &SourceContext) -> Self {
        let (source, key) = (progress.source().clone(), progress.key().clone());
        let (send, puts) = mpsc::channel(1);
        let until_stored = UntilStored::new(source, env.entropy.clone(), cx.positions.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(store(puts, until_stored, key)));
        Self { send, task, has_ended: false }
    }

    /// Waits until another put is possible. Cancel-safe.
    ///
    /// # Errors
    /// Storing has ended; contains the result of the source's run.
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

    /// Hands over a put, after [`Storing::room`].
    pub(crate) fn put(&mut self, mut batch: Batch, progress: &mut Progress) {
        batch.envelope.positions.extend(progress.next_put());
        // There is space; if the task has ended, the next `room` call reports it.
        let _ = self.send.try_send((batch, progress.standing.puts));
    }

    /// Waits for puts in flight: on a stop, for a limited time; before another run, for all of
    /// them, because it continues at the channels' position.
    ///
    /// # Errors
    /// A put is not stored.
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

/// Converts the result of the storing task to the result of the source.
fn result(ended: Result<Result<(), Refused>, JoinError>) -> Result<(), SourceError> {
    let failed = |class, message| Err(SourceError { class, message, source: None });
    match ended {
        Ok(Ok(()) | Err(Refused::Stopping)) => Ok(()),
        Ok(Err(Refused::Source(error))) => Err(error),
        Ok(Err(Refused::Batch(message))) => failed(ErrorClass::Blocked, message),
        Err(error) => {
            failed(ErrorClass::Transient, format!("the task that stores batches failed: {error}"))
        }
    }
}
