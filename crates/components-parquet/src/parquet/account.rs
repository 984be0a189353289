//! The memory used by all open files of an encoder.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes that a file may always hold back: below that, a row group is mostly metadata.
const LEAST: u64 = 64 << 10;

/// Memory of open files. Each counts its own share, without reservations, so that the sum exceeds
/// the limit by at most a batch, and [`LEAST`] for each file.
pub(super) struct Account {
    max: u64,
    held: AtomicU64,
    files: AtomicU64,
}

/// The share of an open file; released when dropped.
pub(super) struct Share {
    account: Arc<Account>,
    held: u64,
}

impl Account {
    /// Creates an account with a limit in bytes.
    pub(super) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { max, held: AtomicU64::new(0), files: AtomicU64::new(0) })
    }

    /// Creates the share of a file.
    pub(super) fn open(self: &Arc<Self>) -> Share {
        self.files.fetch_add(1, Relaxed);
        Share { account: Arc::clone(self), held: 0 }
    }

    /// Returns the sum of all shares.
    #[cfg(test)]
    pub(super) fn held(&self) -> u64 {
        self.held.load(Relaxed)
    }
}

impl Share {
    /// Sets the share of a file.
    pub(super) fn set(&mut self, held: u64) {
        if held >= self.held {
            self.account.held.fetch_add(held - self.held, Relaxed);
        } else {
            self.account.held.fetch_sub(self.held - held, Relaxed);
        }
        self.held = held;
    }

    /// Returns whether the file must write its buffered rows. Frequently written files do so first;
    /// others may keep their share until their roll is over.
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

    /// Each file is written until it must give way, and keeps its earlier share. In the worst
    /// order, the first files hold most.
    #[test]
    fn open_files_stay_close_to_the_memory_limit() {
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
