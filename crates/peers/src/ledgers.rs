//! The commit ledgers downstream of a channel, as reported upstream.
//!
//! ```text
//!   hdfs sink ─reports─► board of the channel ─► grpc source ─Ledgers─► upstream agent's sink
//!                                                                       │ compares with its
//!                                    board of that channel ◄─reports────┘ memory
//! ```
//!
//! The ledger of a dataset decides which batches are delivered. An upstream agent remembers the
//! identity and the length of each ledger in its data directory. It therefore detects a collector
//! that continues with another ledger, or with an older copy. [`KnownLedgers`] does the comparison.

mod known_ledgers;
mod memory;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pipeline::{Env, LedgerId, LedgerState};
use tokio::time::Instant;

use memory::LedgerMemory;

pub use known_ledgers::{Change, Finding, KnownLedgers};

/// Maximum number of ledgers that one agent reports, and that are accepted from one.
pub const LEDGERS_MAX: usize = 64;

/// The known ledgers downstream of one channel. Clones share the board.
#[derive(Debug, Clone, Default)]
pub struct LedgerBoard {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    said: Mutex<BTreeMap<Arc<str>, Vec<LedgerState>>>,
    /// Locked while the file is read and written.
    kept: Mutex<LedgerMemory>,
}

impl LedgerBoard {
    /// Creates a board with a memory in the file `path`, which is created when needed.
    pub fn with_file(env: Env, path: PathBuf) -> Self {
        let kept = Mutex::new(LedgerMemory::new(env, path));
        Self { inner: Arc::new(Inner { said: Mutex::default(), kept }) }
    }

    /// Sets all ledgers that this member of a group stores by, or knows downstream.
    pub fn set(&self, member: &Arc<str>, ledgers: Vec<LedgerState>) {
        self.by_member().insert(member.clone(), ledgers);
    }

    /// Removes the ledgers of this member.
    pub fn withdraw(&self, member: &str) {
        self.by_member().remove(member);
        self.kept().acquaintance.withdraw(member);
    }

    /// Returns each ledger downstream of the channel once, in its longest known state.
    pub fn all(&self) -> Vec<LedgerState> {
        let mut all: BTreeMap<(Arc<str>, LedgerId), LedgerState> = BTreeMap::new();
        for state in self.by_member().values().flatten() {
            let known = all.entry((state.dataset.clone(), state.identity));
            let known = known.or_insert_with(|| state.clone());
            // The same length, but read later: it is newer.
            if (state.entries, state.read) > (known.entries, known.read) {
                *known = state.clone();
            }
        }
        all.into_values().take(LEDGERS_MAX).collect()
    }

    /// As [`LedgerBoard::set`], for an agent of a connection: compares the ledgers with the
    /// memory, and remembers new ones. Blocks while the file is read or written.
    ///
    /// The second value is the error of reading or writing the memory, if any: then the memory of
    /// this process is still used.
    pub fn compare(
        &self,
        member: &Arc<str>,
        ledgers: Vec<LedgerState>,
        now: Instant,
    ) -> (Vec<Finding>, io::Result<()>) {
        let mut kept = self.kept();
        let read = kept.load(now);
        let findings = kept.acquaintance.observe(member, &ledgers, now);
        let written = kept.store(now);
        drop(kept);
        self.set(member, ledgers);
        (findings, read.and(written))
    }

    /// Returns `true` if this member reported another ledger, or a shorter one, than the remembered
    /// one.
    pub fn is_changed(&self, member: &str) -> bool {
        self.kept().acquaintance.is_changed(member)
    }

    fn by_member(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Vec<LedgerState>>> {
        // Each call leaves the map complete, even if a caller panicked before.
        self.inner.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, LedgerMemory> {
        // The memory is changed in complete steps.
        self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_a_ledger_that_several_name_the_longest_is_handed_on() {
        let (board, now) = (LedgerBoard::default(), Instant::now());
        let state = |identity: u8, entries| LedgerState {
            dataset: "d".into(),
            identity: LedgerId([identity; 16]),
            follows: Vec::new(),
            entries,
            read: now,
        };
        board.set(&"a".into(), vec![state(1, 7)]);
        board.set(&"b".into(), vec![state(1, 9)]);
        board.set(&"c".into(), vec![state(2, 1)]);
        let all = |board: &LedgerBoard| -> Vec<_> {
            board.all().iter().map(|state| (state.identity.0[0], state.entries)).collect()
        };
        assert_eq!(all(&board), [(1, 9), (2, 1)]);
        board.withdraw("b");
        board.set(&"c".into(), Vec::new());
        assert_eq!(all(&board), [(1, 7)]);
    }
}
