//! How many documents a request has at most: as many as a SolrCloud answers soon enough to be
//! believed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A request that takes less may have twice as many documents.
const QUICK: Duration = Duration::from_millis(100);

/// The number of documents, from the answers to earlier requests.
pub(super) struct Pace(AtomicUsize);

impl Pace {
    /// Without a bound, until an answer is late.
    pub(super) fn new() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }

    /// Documents of a request at most; at least 1.
    pub(super) fn documents_max(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// The answer to so many documents was late.
    pub(super) fn late(&self, documents: usize) {
        self.0.store((documents / 2).max(1), Ordering::Relaxed);
    }

    /// So many documents were written, after this time.
    pub(super) fn written(&self, documents: usize, took: Duration) {
        if took < QUICK {
            self.0.fetch_max(documents.saturating_mul(2), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_become_smaller_by_late_answers_and_larger_by_quick_ones() {
        let pace = Pace::new();
        assert_eq!(pace.documents_max(), usize::MAX);
        pace.late(1000);
        assert_eq!(pace.documents_max(), 500);
        pace.written(500, QUICK);
        assert_eq!(pace.documents_max(), 500);
        pace.written(500, QUICK / 2);
        assert_eq!(pace.documents_max(), 1000);
        pace.written(10, QUICK / 2);
        assert_eq!(pace.documents_max(), 1000);
        pace.late(1);
        assert_eq!(pace.documents_max(), 1);
    }
}
