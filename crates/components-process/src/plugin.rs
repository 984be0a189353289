//! A plug-in that is restarted after a failure, with a back-off.

use std::time::Duration;

use support::backoff::jittered;
use support::mutant;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::config::Options;
use crate::error::{Fault, PluginError};
use crate::running::Running;
use crate::v1::{from_agent, from_plugin};

/// Pauses before a restart: the first and the longest.
const RESTART: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// A plug-in of an interceptor or a sink. It is started with its first request, and after a
/// failure with the next one. Calls wait for each other, and for the back-off.
pub(crate) struct Plugin {
    options: Options,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The process, unless a call uses it, or has failed.
    running: Option<Running>,
    /// Consecutive failures.
    failures: u32,
    /// The end of the back-off.
    not_before: Option<Instant>,
}

impl Plugin {
    pub(crate) fn new(options: Options) -> Self {
        Self { options, state: Mutex::default() }
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Starts the process if it does not run, and no call uses or starts it.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) async fn open(&self) -> Result<(), PluginError> {
        // A call in flight is not polled while a sink opens, so waiting for it could never end.
        let Ok(mut state) = self.state.try_lock() else { return Ok(()) };
        state.running = Some(self.running(&mut state).await?);
        Ok(())
    }

    /// Sends the request that `request` makes of its number. Returns the answer as `check` has
    /// accepted it. Dropped before its end, the call kills the process.
    ///
    /// # Errors
    /// There is no process, no answer in time, or an answer that `check` refuses. The process is
    /// killed then.
    pub(crate) async fn call<T>(
        &self,
        request: impl FnOnce(u64) -> from_agent::Message,
        check: impl FnOnce(from_plugin::Message, u64) -> Result<T, Fault>,
    ) -> Result<T, PluginError> {
        let mut state = self.state.lock().await;
        let mut running = self.running(&mut state).await?;
        let number = running.next_number();
        let answer = running.ask(request(number), self.options.timeout).await;
        match answer.and_then(|answer| check(answer, number)) {
            Ok(value) => {
                *state = State { running: Some(running), ..State::default() };
                Ok(value)
            }
            Err(fault) if mutant!("plugin_kept_after_fault") => {
                state.running = Some(running);
                Err(self.error(fault))
            }
            Err(fault) => {
                let fault = running.end(fault).await;
                Err(self.failed(&mut state, fault))
            }
        }
    }

    /// Stops the process, if it runs.
    pub(crate) async fn close(&self) {
        if let Some(running) = self.state.lock().await.running.take() {
            running.stop().await;
        }
    }

    /// Returns the process, and starts it after the back-off if it does not run.
    async fn running(&self, state: &mut State) -> Result<Running, PluginError> {
        if let Some(running) = state.running.take() {
            return Ok(running);
        }
        if let Some(not_before) = state.not_before {
            sleep_until(not_before).await;
        }
        let started = Running::start(&self.options, &[]).await;
        started.map_err(|fault| self.failed(state, fault))
    }

    fn failed(&self, state: &mut State, fault: Fault) -> PluginError {
        state.failures = state.failures.saturating_add(1);
        let random = self.options.env.entropy.next_u64();
        let pause = jittered(RESTART.0, RESTART.1, state.failures, random);
        state.not_before = Some(Instant::now() + pause);
        self.error(fault)
    }

    pub(crate) fn error(&self, fault: Fault) -> PluginError {
        PluginError { command: self.options.shown.clone(), fault }
    }
}

impl Drop for Plugin {
    /// Stops the process if there is still a runtime; otherwise it is killed.
    fn drop(&mut self) {
        if let Some(running) = self.state.get_mut().running.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(running.stop());
        }
    }
}
