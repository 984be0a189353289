//! What ends an agent: signals from outside, or a failure inside that needs a person.

use std::sync::{Arc, OnceLock};

use futures::stream::{self, Stream};
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

    /// The signals' names, as they come.
    pub(crate) fn into_stream(self) -> impl Stream<Item = &'static str> {
        stream::unfold(self, |mut signals| async move {
            let name = tokio::select! {
                biased;
                _ = signals.terminate.recv() => "SIGTERM",
                _ = signals.interrupt.recv() => "SIGINT",
            };
            Some((name, signals))
        })
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
