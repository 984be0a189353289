//! A failure inside an agent that stops it, because it needs an operator.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pipeline::ChannelError;
use tokio_util::sync::CancellationToken;

use crate::error::AgentError;

/// The first failure that has to end the agent. Cheap to clone.
#[derive(Clone, Default)]
pub struct Failure {
    first: Arc<Mutex<Option<AgentError>>>,
    raised: CancellationToken,
}

impl Failure {
    /// Ends the agent because of a source; only the first one counts.
    pub fn source_failed(&self, source: &str, problem: String) {
        self.record(AgentError::Source { source_name: source.to_owned(), problem });
    }

    /// Ends the agent because of a channel that cannot be opened; only the first one counts.
    pub fn channel_failed(&self, error: ChannelError) {
        self.record(error.into());
    }

    fn first(&self) -> MutexGuard<'_, Option<AgentError>> {
        // It is complete between two calls, even after a panic elsewhere.
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, error: AgentError) {
        // A second failure while stopping adds nothing to the first.
        self.first().get_or_insert(error);
        self.raised.cancel();
    }

    /// Waits for a failure, once.
    pub async fn cancelled_with(&self) -> AgentError {
        self.raised.cancelled().await;
        let first = self.first().take();
        match first {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }
}
