//! The state of opening a channel, for everything that waits for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pipeline::ChannelError;
use support::causes::chain;
use tokio::sync::SetOnce;
use tokio::time::{Duration, Instant};

/// The state of opening a channel. Clones share it.
#[derive(Clone)]
pub struct Opened(Arc<Inner>);

struct Inner {
    /// Its contents when it was opened. Set once.
    held: SetOnce<Stock>,
    began: Instant,
    /// Why it is not open yet.
    cause: Mutex<String>,
}

/// The contents of a channel when it was opened.
#[derive(Debug, Default)]
struct Stock {
    events: u64,
    /// Batches that each consumer had not committed.
    batches: BTreeMap<Arc<str>, u64>,
}

/// A channel that is not open yet.
#[derive(Debug, Clone, PartialEq)]
pub struct NotOpen {
    /// How long it has waited.
    pub waits: Duration,
    /// The cause.
    pub cause: String,
}

impl Default for Opened {
    fn default() -> Self {
        let (held, began, cause) = (SetOnce::new(), Instant::now(), Mutex::default());
        Self(Arc::new(Inner { held, began, cause }))
    }
}

impl Opened {
    fn cause(&self) -> MutexGuard<'_, String> {
        // It is complete between two calls, even after a panic elsewhere.
        self.0.cause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that it is open with this many events, and with this many batches that each
    /// consumer has not committed.
    pub fn open_with(&self, events: u64, batches: BTreeMap<Arc<str>, u64>) {
        // A channel is opened once.
        let _ = self.0.held.set(Stock { events, batches });
    }

    /// Records that it is not open, for this reason.
    pub fn failed(&self, cause: &ChannelError) {
        // It is shown line by line.
        *self.cause() = chain(cause).replace(char::is_control, " ");
    }

    /// Returns `true` if it is open.
    pub fn is_open(&self) -> bool {
        self.0.held.initialized()
    }

    /// Why it is not open; `None` once it is.
    pub fn reason(&self) -> Option<NotOpen> {
        let waits = self.0.began.elapsed();
        (!self.is_open()).then(|| NotOpen { waits, cause: self.cause().clone() })
    }

    /// Events that it held when it was opened; 0 before.
    pub fn held_events(&self) -> u64 {
        self.0.held.get().map_or(0, |stock| stock.events)
    }

    /// Batches that a consumer had not committed when it was opened; 0 before, and for a consumer
    /// that was added later.
    pub fn backlog(&self, consumer: &str) -> u64 {
        self.0.held.get().and_then(|stock| stock.batches.get(consumer)).copied().unwrap_or_default()
    }

    /// Waits until it is open. Cancel safe.
    pub async fn wait(&self) {
        self.0.held.wait().await;
    }
}
