//! A commit ledger, as agents name it to the agents before them.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

/// The identity of a ledger in all its generations.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LedgerId(pub [u8; 16]);

impl fmt::Display for LedgerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for LedgerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A ledger as one agent has read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerState {
    /// The dataset, as the collector calls it.
    pub dataset: Arc<str>,
    /// The identity of the ledger.
    pub identity: LedgerId,
    /// The ledgers that it was rebuilt from.
    pub follows: Vec<LedgerId>,
    /// Entries of all its generations.
    pub entries: u64,
    /// It was read to its end at this time, or later.
    pub read: Instant,
}
