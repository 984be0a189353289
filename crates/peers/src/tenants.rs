//! The current usage of a source by its tenants: status pages ask, the source answers.
//!
//! The source keeps this data for its limits anyway. Therefore nothing is copied unless a page
//! asks, and a page costs a batch nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// A tenant of a source: a sender, with all of its connections.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TenantStatus {
    /// The first name in its certificate; without one, the host of its address.
    pub name: String,
    /// Relative share when room is scarce.
    pub weight: u32,
    /// Its connections.
    pub connections: u32,
    /// Maximum number of connections; `null`: no separate limit.
    pub connections_max: Option<u32>,
    /// Events per second, over the last ten seconds.
    pub events_per_second: f64,
    /// Maximum number of events per second.
    pub events_per_second_max: Option<u64>,
    /// Bytes of batches a second, before compression, over the last ten seconds.
    pub bytes_per_second: f64,
    /// Maximum number of bytes per second.
    pub bytes_per_second_max: Option<u64>,
    /// Bytes of its messages that are in work: in memory, and on their way into the channels.
    pub in_work_bytes: u64,
    /// Its share of the bytes in progress, while no other tenant joins or leaves.
    pub share_bytes: u64,
    /// Its largest message, if it has a separate limit.
    pub message_max_bytes: Option<u64>,
    /// Bytes of its batches in the channels, each counted as at least 8 KiB; `null`: it has no such
    /// limit.
    #[serde(default)]
    pub backlog_bytes: Option<u64>,
    /// Maximum size of its backlog.
    #[serde(default)]
    pub backlog_max_bytes: Option<u64>,
    /// How often it was limited, by the limit: `connections`, `rate`, `message`, `backlog`.
    #[serde(default)]
    pub limited: BTreeMap<String, LimitedStatus>,
}

/// How often one limit applied to a tenant since it was first seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LimitedStatus {
    /// Connections, puts or requests that were refused, or had to wait.
    pub times: u64,
    /// The first time.
    pub first_seconds_ago: f64,
    /// The last time.
    pub last_seconds_ago: f64,
}

/// Knows the tenants of a source.
pub trait ReadTenants: Send + Sync {
    /// Returns the number of tenants, and `most` of them, the most active first.
    fn read(&self, most: usize, now: Instant) -> (usize, Vec<TenantStatus>);
}

/// The tenants of one source, while it runs. Clones are the same board.
#[derive(Clone, Default)]
pub struct TenantBoard(Arc<Mutex<Option<Weak<dyn ReadTenants>>>>);

impl TenantBoard {
    fn reader(&self) -> MutexGuard<'_, Option<Weak<dyn ReadTenants>>> {
        // The value is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the tenants, for as long as the source keeps them.
    pub fn show(&self, tenants: Weak<dyn ReadTenants>) {
        *self.reader() = Some(tenants);
    }

    /// As [`ReadTenants::read`]; empty if the source has no tenants or does not run.
    pub fn read(&self, most: usize, now: Instant) -> (usize, Vec<TenantStatus>) {
        let reader = self.reader().as_ref().and_then(Weak::upgrade);
        reader.map_or((0, Vec::new()), |reader| reader.read(most, now))
    }
}

impl std::fmt::Debug for TenantBoard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TenantBoard").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One;

    impl ReadTenants for One {
        fn read(&self, most: usize, _now: Instant) -> (usize, Vec<TenantStatus>) {
            (1, vec![TenantStatus::default(); most.min(1)])
        }
    }

    #[test]
    fn tenants_are_shown_while_their_source_keeps_them() {
        let board = TenantBoard::default();
        let now = Instant::now();
        assert_eq!(board.read(9, now), (0, Vec::new()));
        let one: Arc<dyn ReadTenants> = Arc::new(One);
        board.show(Arc::downgrade(&one));
        assert_eq!(board.read(9, now).0, 1);
        drop(one);
        assert_eq!(board.read(9, now), (0, Vec::new()));
    }
}
