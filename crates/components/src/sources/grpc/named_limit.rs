//! The largest batch that this agent names to its senders: what it takes, or less where the agents
//! behind it take less.
//!
//! ```text
//!   Welcome of an agent behind ──► board ──each second──► NAMED ──otherwise──► a stream ends,
//!                                                                              Hello, Welcome
//! ```
//!
//! A limit is a part of Welcome. When it changes, each stream that named another one answers what
//! it has taken in and ends; its sender connects again at once, asks for what it holds, and reads
//! the new limit. Senders of every version understand that.

use std::sync::atomic::{AtomicU64, Ordering};

use tracing::info;

use super::Service;

/// The limit that new streams name, in bytes.
#[derive(Debug)]
pub(super) struct NamedLimit(AtomicU64);

impl NamedLimit {
    pub(super) fn new(bytes: u64) -> Self {
        Self(AtomicU64::new(bytes))
    }

    /// Whether a stream that has named `bytes` has to name another limit.
    pub(super) fn is_other_than(&self, bytes: u64) -> bool {
        self.0.load(Ordering::SeqCst) != bytes
    }
}

impl Service {
    /// Bytes of the largest batch that a sender may send now.
    pub(super) fn batch_max(&self) -> u64 {
        // A batch that some agent behind its channels does not take is better cut by its sender.
        let behind = self.cx.relay.batch_bytes_max().unwrap_or(u64::MAX);
        let bytes = self.limits.body_max.min(behind);
        let before = self.limit.0.swap(bytes, Ordering::SeqCst);
        if before != bytes {
            self.news.notify_waiters();
            info!(
                source = %self.name, bytes, before,
                "the agents behind this one take batches of another size: senders connect again to \
                 read the new limit",
            );
        }
        bytes
    }
}
