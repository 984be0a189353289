//! Limits that this agent announces to its senders: the largest batch that it accepts, which is
//! lower than configured if all downstream agents accept less; and the size to cut batches to, so
//! that each downstream agent accepts them.
//!
//! ```text
//!   Welcome of a downstream agent ─► board ─each second─► ANNOUNCED ─if changed─► a stream ends,
//!                                                                                 Hello, Welcome
//! ```
//!
//! A limit is a part of Welcome. When it changes, each stream with the old limit replies to the
//! puts that it has read and ends; its sender reconnects immediately, queries its pending batches,
//! and reads the new limit. Senders of every version support that.

use std::sync::{Mutex, MutexGuard, PoisonError};

use peers::limits::PeerLimit;
use tracing::info;

use super::Service;

/// Limits that new streams announce.
#[derive(Debug)]
pub(super) struct NamedLimit(Mutex<PeerLimit>);

impl NamedLimit {
    pub(super) fn new(bytes: u64) -> Self {
        Self(Mutex::new(PeerLimit::new(bytes)))
    }

    fn named(&self) -> MutexGuard<'_, PeerLimit> {
        // The value is consistent between calls, even after a panic elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if a stream that announced `said` must announce another limit.
    pub(super) fn is_other_than(&self, said: PeerLimit) -> bool {
        *self.named() != said
    }
}

impl Service {
    /// Updates and returns the limits: the size that a sender may send, and the size to cut to.
    pub(super) fn look_at_limit(&self) -> PeerLimit {
        let intake = &self.cx.relay;
        // If no downstream agent accepts a batch, its sender should keep it, and may have another
        // path for it. If some agent accepts it, it must reach the group.
        let takes = self.limits.body_max.min(intake.batch_bytes_taken().unwrap_or(u64::MAX));
        let limit =
            PeerLimit { takes, cut: takes.min(intake.batch_bytes_max().unwrap_or(u64::MAX)) };
        let before = std::mem::replace(&mut *self.limit.named(), limit);
        if before != limit {
            self.news.notify_waiters();
            info!(
                source = %self.name, bytes = limit.takes, cut_bytes = limit.cut,
                bytes_before = before.takes, cut_bytes_before = before.cut,
                "the size limits of batches of the downstream agents changed; senders reconnect to \
                 learn them; no action needed",
            );
        }
        limit
    }
}
