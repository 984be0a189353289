//! The limits that this agent names to its senders: the largest batch that it takes, which is less
//! than it is set to where all agents behind it take less; and what to cut batches to, so that each
//! agent behind it takes them.
//!
//! ```text
//!   Welcome of an agent behind ──► board ──each second──► NAMED ──otherwise──► a stream ends,
//!                                                                              Hello, Welcome
//! ```
//!
//! A limit is a part of Welcome. When it changes, each stream that named another one answers what
//! it has taken in and ends; its sender connects again at once, asks for what it holds, and reads
//! the new limit. Senders of every version understand that.

use std::sync::{Mutex, MutexGuard, PoisonError};

use peers::limits::PeerLimit;
use tracing::info;

use super::Service;

/// The limits that new streams name.
#[derive(Debug)]
pub(super) struct NamedLimit(Mutex<PeerLimit>);

impl NamedLimit {
    pub(super) fn new(bytes: u64) -> Self {
        Self(Mutex::new(PeerLimit::of(bytes)))
    }

    fn named(&self) -> MutexGuard<'_, PeerLimit> {
        // It is whole between two calls, also after a panic elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a stream that has named these has to name others.
    pub(super) fn is_other_than(&self, said: PeerLimit) -> bool {
        *self.named() != said
    }
}

impl Service {
    /// What a sender may send now, and what it should cut to.
    pub(super) fn look_at_limit(&self) -> PeerLimit {
        let intake = &self.cx.relay;
        // A batch that no agent behind takes is better held back by its sender, which may have
        // another way for it. One that some agent takes has to come as far as its group.
        let takes = self.limits.body_max.min(intake.batch_bytes_taken().unwrap_or(u64::MAX));
        let limit =
            PeerLimit { takes, cut: takes.min(intake.batch_bytes_max().unwrap_or(u64::MAX)) };
        let before = std::mem::replace(&mut *self.limit.named(), limit);
        if before != limit {
            self.news.notify_waiters();
            info!(
                source = %self.name, bytes = limit.takes, cut_bytes = limit.cut,
                bytes_before = before.takes, cut_bytes_before = before.cut,
                "the agents behind this one take batches of another size: senders connect again to \
                 read the new limits",
            );
        }
        limit
    }
}
