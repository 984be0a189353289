//! Ctrl-C and SIGTERM, which stop a demo.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::DemoError;

/// The signals that stop a demo.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Catches the signals from now on.
    ///
    /// # Errors
    /// The system refuses to deliver them.
    pub fn listen() -> Result<Self, DemoError> {
        let listen = |kind| signal(kind).map_err(DemoError::Signals);
        let interrupt = listen(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for a signal.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Runs `work` until it finishes or a signal arrives, which drops it.
    ///
    /// # Errors
    /// Those of `work`, or [`DemoError::Interrupted`].
    pub async fn or<T, E: From<DemoError>>(
        &mut self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        tokio::select! {
            biased;
            () = self.next() => Err(DemoError::Interrupted.into()),
            result = work => result,
        }
    }
}
