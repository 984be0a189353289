//! A plug-in that is restarted after a failure, with a back-off.

use kit::plug_in::Pause;
use support::mutant;
use tokio::sync::Mutex;

use crate::config::Options;
use crate::error::{Fault, PluginError};
use crate::running::Running;
use crate::v1::{from_agent, from_plugin};

/// A plug-in of an interceptor, a selector, a sink or an encoder. It is started with its first
/// request, and after a failure with the next one. Calls wait for each other, and for the back-off.
pub(crate) struct Plugin {
    options: Options,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The process, unless a call uses it, or has failed.
    running: Option<Running>,
    /// Number of the last process.
    process: u64,
    /// The back-off.
    pause: Pause,
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
        self.call_of(None, request, check).await.map(|(value, _)| value)
    }

    /// As [`call`](Self::call), only if the process with this number still runs. Returns the number
    /// of the process, too.
    ///
    /// # Errors
    /// As [`call`](Self::call); or another process runs, or none.
    pub(crate) async fn call_of<T>(
        &self,
        process: Option<u64>,
        request: impl FnOnce(u64) -> from_agent::Message,
        check: impl FnOnce(from_plugin::Message, u64) -> Result<T, Fault>,
    ) -> Result<(T, u64), PluginError> {
        let mut state = self.state.lock().await;
        let is_lost = |process| process != state.process || state.running.is_none();
        if process.is_some_and(is_lost) && !mutant!("plugin_file_continued_elsewhere") {
            return Err(self.error(Fault::Lost));
        }
        let mut running = self.running(&mut state).await?;
        let number = running.next_number();
        let answer = running.ask(request(number), self.options.timeout).await;
        match answer.and_then(|answer| check(answer, number)) {
            Ok(value) => {
                let process = state.process;
                *state = State { running: Some(running), process, ..State::default() };
                Ok((value, process))
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
        state.pause.ended().await;
        state.process += 1;
        let started = Running::start(&self.options, &[]).await;
        started.map_err(|fault| self.failed(state, fault))
    }

    fn failed(&self, state: &mut State, fault: Fault) -> PluginError {
        state.pause.begin(&*self.options.env.entropy);
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
