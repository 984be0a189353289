//! Triggers that stop an agent, or request a reload: signals from outside, or a failure inside that
//! needs an operator.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::stream::{self, Stream};
use pipeline::ChannelError;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::RunError;

/// SIGTERM and SIGINT; and signals that would end the process silently if they were not caught.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

impl Signals {
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Returns the names of received signals: those that stop an agent, and the one that requests a
    /// reload. Other signals are ignored and logged.
    pub(crate) fn into_stream(self) -> impl Stream<Item = &'static str> {
        stream::unfold(self, |mut signals| async move {
            loop {
                let ignored = tokio::select! {
                    biased;
                    _ = signals.terminate.recv() => return Some(("SIGTERM", signals)),
                    _ = signals.interrupt.recv() => return Some(("SIGINT", signals)),
                    _ = signals.hangup.recv() => return Some(("SIGHUP", signals)),
                    _ = signals.user1.recv() => "SIGUSR1",
                    _ = signals.user2.recv() => "SIGUSR2",
                };
                warn!(signal = ignored, "signal ignored; send SIGHUP to reload the configuration");
            }
        })
    }
}

/// The first failure that has to end the agent. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Failure {
    first: Arc<Mutex<Option<RunError>>>,
    raised: CancellationToken,
}

impl Failure {
    /// Ends the agent because of a source; only the first one counts.
    pub(crate) fn source_failed(&self, source: &str, problem: String) {
        self.record(RunError::Source { source_name: source.to_owned(), problem });
    }

    /// Ends the agent because of a channel that cannot be opened; only the first one counts.
    pub(crate) fn channel_failed(&self, error: ChannelError) {
        self.record(error.into());
    }

    fn first(&self) -> MutexGuard<'_, Option<RunError>> {
        // It is complete between two calls, even after a panic elsewhere.
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, error: RunError) {
        // A second failure while stopping adds nothing to the first.
        self.first().get_or_insert(error);
        self.raised.cancel();
    }

    /// Waits for a failure, once.
    pub(crate) async fn cancelled_with(&self) -> RunError {
        self.raised.cancelled().await;
        let first = self.first().take();
        match first {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }
}
