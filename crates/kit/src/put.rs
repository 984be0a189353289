//! Stores the events of a call in the channels.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use pipeline::{Batch, Classify, ErrorClass, Intake};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::storing::{self, NotStored};

/// Result of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// Every event is in every required channel.
    All,
    /// Nothing is stored, now or later.
    Nothing(String),
    /// Nothing is stored, and nothing of the batch ever can be.
    Never(String),
    /// A channel failed while it stored.
    Unknown,
}

/// Channels of one run of a source.
pub struct Storing {
    /// Name of the source.
    pub source: Arc<str>,
    /// Receives the batches.
    pub intake: Arc<dyn Intake>,
    /// Signals that the source stops and reserves no more room.
    pub stop: CancellationToken,
    /// How long a batch waits for room.
    pub wait_max: Duration,
    /// Batches that are being stored: they continue even if their client disconnects.
    pub work: TaskTracker,
}

impl Storing {
    /// Stores a batch, which waits for room in this turn; it continues if this future is dropped.
    /// Drops `held` once the batch is stored.
    pub async fn store<H: Send + 'static, T: Send + 'static>(
        self: &Arc<Self>,
        batch: Batch,
        held: H,
        turn: impl Future<Output = T> + Send + 'static,
    ) -> Stored {
        let this = self.clone();
        let storing = AssertUnwindSafe(async move {
            let _held = held;
            let (intake, within) = (&*this.intake, (this.wait_max, turn));
            let stored = storing::store(intake, batch, within, &this.stop).await;
            stored.map_or_else(|not_stored| this.explain(not_stored), |()| Stored::All)
        });
        let mut storing = Box::pin(storing.catch_unwind());
        // A channel in memory with room stores immediately, without a task. A put that has to wait
        // continues in its own task.
        let stored = match futures::poll!(&mut storing) {
            Poll::Ready(stored) => stored,
            Poll::Pending => match self.work.spawn(storing).await {
                Ok(stored) => stored,
                Err(_) => return Stored::Unknown,
            },
        };
        stored.unwrap_or(Stored::Unknown)
    }

    fn explain(&self, not_stored: NotStored) -> Stored {
        match not_stored {
            NotStored::Full => Stored::Nothing("a channel is full".into()),
            NotStored::Stopping => Stored::Nothing("the agent is stopping".into()),
            NotStored::Refused(error) if error.class() == ErrorClass::Poison => {
                Stored::Never(error.to_string())
            }
            NotStored::Refused(error) => {
                warn!(source = %self.source, %error, "no channel takes a batch");
                Stored::Nothing(error.to_string())
            }
            NotStored::Failed(error) => {
                warn!(source = %self.source, %error, "events of a batch are not stored");
                Stored::Unknown
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use async_trait::async_trait;
    use pipeline::{BatchSize, IntakeError, Permit};

    use super::*;

    struct Panics;

    #[async_trait]
    impl Intake for Panics {
        async fn accept(&self, _batch: Batch) -> Result<(), IntakeError> {
            panic!("planted")
        }

        async fn reserve(&self, _size: BatchSize) -> Result<Box<dyn Permit + '_>, IntakeError> {
            panic!("planted")
        }

        fn batch_bytes_max(&self) -> Option<u64> {
            None
        }
    }

    #[tokio::test]
    async fn a_panic_of_what_stores_leaves_it_unknown_and_the_connection_goes_on() {
        let storing = Arc::new(Storing {
            source: "in".into(),
            intake: Arc::new(Panics),
            stop: CancellationToken::new(),
            wait_max: Duration::from_secs(1),
            work: TaskTracker::new(),
        });
        assert_eq!(storing.store(Batch::of(["x"]), (), ready(())).await, Stored::Unknown);
    }
}
