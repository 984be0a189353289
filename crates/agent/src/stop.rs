//! What ends an agent: signals from outside, or a failure inside that needs a person.

use std::sync::{Arc, OnceLock};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::RunError;

/// SIGTERM and SIGINT.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next signal's name.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// The first failure that has to end the agent. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Failure {
    first: Arc<OnceLock<(String, String)>>,
    raised: CancellationToken,
}

impl Failure {
    /// Ends the agent because of a source; only the first one counts.
    pub(crate) fn of_source(&self, source: &str, problem: String) {
        // A second failure while stopping adds nothing to the first.
        let _ = self.first.set((source.to_owned(), problem));
        self.raised.cancel();
    }

    /// Waits for a failure.
    pub(crate) async fn cancelled_with(&self) -> RunError {
        self.raised.cancelled().await;
        let (source_name, problem) = self.first.get().cloned().unwrap_or_default();
        RunError::Source { source_name, problem }
    }
}
