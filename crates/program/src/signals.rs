//! Signals that stop an agent, or request a reload.

use futures::stream::{self, Stream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

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
