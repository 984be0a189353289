//! Ends a call. A module cannot be paused, so the epoch of its engine moves, and the callback of
//! the deadline ends the call whose flag is set.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

use wasmtime::Engine;

use crate::error::Fault;

/// Ends a call.
pub(crate) struct Interrupt {
    engine: Engine,
    is_set: AtomicBool,
    after: Duration,
}

impl Interrupt {
    /// Creates the flag of a call that may last this long.
    pub(crate) fn new(engine: &Engine, after: Duration) -> Arc<Self> {
        Arc::new(Self { engine: engine.clone(), is_set: AtomicBool::new(false), after })
    }

    /// Ends the call at its next branch or call of a function. The flag is set before the epoch
    /// moves, and a call sets its deadline before it looks at the flag, so it sees one of the two.
    fn set(&self) {
        self.is_set.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.engine.increment_epoch();
    }

    /// Returns an error if the call has to end.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        fence(Ordering::SeqCst);
        match self.is_set.load(Ordering::SeqCst) {
            true => Err(Fault::Slow(self.after)),
            false => Ok(()),
        }
    }
}

/// Ends a call when it is dropped.
pub(crate) struct EndOnDrop(Arc<Interrupt>);

impl EndOnDrop {
    /// Ends this call when it is dropped.
    pub(crate) fn new(call: Arc<Interrupt>) -> Self {
        Self(call)
    }

    /// Ends the call now.
    pub(crate) fn end(&self) {
        self.0.set();
    }
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.set();
    }
}
