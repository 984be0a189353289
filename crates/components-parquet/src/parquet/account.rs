//! The memory that all open files of one encoder hold back together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes that a file may hold back whatever the account says: below that, a row group is mostly
/// metadata.
const LEAST: u64 = 64 << 10;

/// Memory of open files. Each counts its own part; nothing is reserved, so the sum is over its
/// limit by no more than a batch, and [`LEAST`] for each file.
pub(super) struct Account {
    max: u64,
    held: AtomicU64,
    files: AtomicU64,
}

/// What one open file holds of an account; given back when it is dropped.
pub(super) struct Share {
    account: Arc<Account>,
    held: u64,
}

impl Account {
    /// With a limit in bytes.
    pub(super) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { max, held: AtomicU64::new(0), files: AtomicU64::new(0) })
    }

    /// For one more file.
    pub(super) fn open(self: &Arc<Self>) -> Share {
        self.files.fetch_add(1, Relaxed);
        Share { account: Arc::clone(self), held: 0 }
    }

    /// Bytes that all files hold now.
    #[cfg(test)]
    pub(super) fn held(&self) -> u64 {
        self.held.load(Relaxed)
    }
}

impl Share {
    /// The file holds so many bytes now.
    pub(super) fn set(&mut self, held: u64) {
        if held >= self.held {
            self.account.held.fetch_add(held - self.held, Relaxed);
        } else {
            self.account.held.fetch_sub(self.held - held, Relaxed);
        }
        self.held = held;
    }

    /// Whether the file has to write what it holds. A file that is written often gives way first;
    /// others may lie with their part until their roll is over.
    pub(super) fn is_over(&self) -> bool {
        let Account { max, held, files } = &*self.account;
        let (total, half) = (held.load(Relaxed), max / 2);
        let share = half / files.load(Relaxed).max(1);
        self.held > LEAST && (total > *max || total > half && self.held > share)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
        self.account.files.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_file_may_use_half_and_gives_way_above_that() {
        let account = Account::new(8 << 20);
        let mut file = account.open();
        file.set(4 << 20);
        assert!(!file.is_over());
        file.set((4 << 20) + 1);
        assert!(file.is_over());
    }

    /// Files come one after the other; each is written until it has to give way, and keeps
    /// what it held before that. The worst order: what came first holds most.
    #[test]
    fn however_many_files_there_are_they_hold_no_more_than_the_limit_and_a_little() {
        let account = Account::new(32 << 20);
        let step = 10 << 10;
        let mut files = Vec::new();
        for _ in 0..256 {
            let mut file = account.open();
            let mut held = 0;
            while !file.is_over() && held < 16 << 20 {
                held += step;
                file.set(held);
            }
            file.set(held - step);
            files.push(file);
        }
        let total = account.held();
        assert!(total <= (32 << 20) + 256 * (LEAST + step), "{total}");
        assert!(total > 16 << 20, "{total}");
        files.clear();
        assert_eq!(account.held(), 0);
        assert_eq!(account.files.load(Relaxed), 0);
    }
}
