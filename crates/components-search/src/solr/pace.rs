//! Limits the number of documents per request to what a SolrCloud acknowledges in time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// After a faster response, the next request may have twice as many documents.
const QUICK: Duration = Duration::from_millis(100);

/// The limit, derived from the responses to earlier requests.
pub(super) struct Pace(AtomicUsize);

impl Pace {
    /// Starts without a limit, until a response is late.
    pub(super) fn new() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }

    /// Returns the maximum number of documents of a request; at least 1.
    pub(super) fn documents_max(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Records that the response to this many documents was late.
    pub(super) fn late(&self, documents: usize) {
        self.0.store((documents / 2).max(1), Ordering::Relaxed);
    }

    /// Records that this many documents were written in this time.
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
