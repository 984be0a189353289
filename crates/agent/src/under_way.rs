//! Tracks work in progress, and whether any of it makes progress.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// Counts steps that are under way. Clones share it.
#[derive(Clone)]
pub(crate) struct StepsInProgress(Arc<Mutex<State>>);

struct State {
    /// Steps that have not ended.
    open: u64,
    /// The last end of a step, or the beginning of the first open one if that is later.
    moved: Instant,
}

/// A step is under way while this lives.
pub(crate) struct Step<'a>(&'a StepsInProgress);

impl Drop for Step<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.open -= 1;
        state.moved = Instant::now();
    }
}

impl Default for StepsInProgress {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { open: 0, moved: Instant::now() })))
    }
}

impl StepsInProgress {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A step begins.
    pub(crate) fn begin(&self, now: Instant) -> Step<'_> {
        let mut state = self.state();
        if state.open == 0 {
            state.moved = now;
        }
        state.open += 1;
        drop(state);
        Step(self)
    }

    /// Returns since when steps are in progress and none has ended; `None` without any.
    pub(crate) fn stalled_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.open > 0).then_some(state.moved)
    }
}
