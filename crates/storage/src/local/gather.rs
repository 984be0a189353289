//! Collects writes to a file: switching to a blocking thread, and starting the disk, is worthwhile
//! only for more than a small batch.
//!
//! ```text
//!   batches    │ a ─┤ b ──────┤ c ─────┤ d ...
//!   pages      │         │         │         │
//!   written    │ a b b b b b c c c c │            when a, b and c reach the limit
//!   gathered                         │ c │ d ...  the part of c beyond the last whole page
//! ```
//!
//! # Invariants
//!
//! 1. The bytes are written in the order of their arrival, none twice.
//! 2. Until [`WriteBuffer::rest`], each piece ends at the end of a page, so that no page is
//!    written in parts.
//! 3. A file collects less than its share of [`ALL`], which all open files of a store share, plus a
//!    page. The share is between [`EACH_MIN`] and [`EACH_MAX`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::write_behind::Piece;

/// Bytes of all files together.
const ALL: usize = 32 << 20;
/// Minimum and maximum share of a file in bytes.
const EACH_MIN: usize = 32 << 10;
const EACH_MAX: usize = 256 << 10;
/// No system has smaller pages, and a multiple of this has whole pages on nearly all systems.
const PAGE: usize = 4 << 10;

/// Files of a store that are open: they share the room.
#[derive(Default)]
pub(super) struct Open(AtomicUsize);

/// Bytes of one file that are not yet on their way to the disk.
pub(super) struct WriteBuffer {
    open: Arc<Open>,
    gathered: Vec<u8>,
    /// Bytes that came out.
    given: usize,
}

impl WriteBuffer {
    pub(super) fn new(open: Arc<Open>) -> Self {
        open.0.fetch_add(1, Ordering::Relaxed);
        Self { open, gathered: Vec::new(), given: 0 }
    }

    /// Adds `bytes`. Returns the bytes to write now, if there are enough.
    pub(super) fn add(&mut self, bytes: &Bytes) -> Option<Piece> {
        let limit = (ALL / self.open.0.load(Ordering::Relaxed)).clamp(EACH_MIN, EACH_MAX);
        let all = self.gathered.len() + bytes.len();
        let beyond = (self.given + all) % PAGE;
        if all < limit || beyond > bytes.len() {
            // In one step: growing step by step would copy the existing bytes repeatedly.
            self.gathered.reserve(limit.saturating_sub(self.gathered.len()).max(bytes.len()));
            self.gathered.extend_from_slice(bytes);
            return None;
        }
        let (now, later) = bytes.split_at(bytes.len() - beyond);
        let before = std::mem::replace(&mut self.gathered, later.to_vec());
        let piece = [before.into(), bytes.slice(..now.len())];
        self.given += all - beyond;
        Some(piece)
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> Option<Piece> {
        self.given += self.gathered.len();
        let rest = std::mem::take(&mut self.gathered);
        (!rest.is_empty()).then(|| [rest.into(), Bytes::new()])
    }
}

impl Drop for WriteBuffer {
    fn drop(&mut self) {
        self.open.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn len(piece: &Piece) -> usize {
        piece[0].len() + piece[1].len()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn all_bytes_come_out_in_their_order_and_by_whole_pages(
            batches in prop::collection::vec(
                prop_oneof![1..100_usize, 4_000..4_200_usize, 1..2 * EACH_MAX],
                1..40,
            ),
            others in 0..2_000_usize,
        ) {
            let open = Arc::new(Open(AtomicUsize::new(others)));
            let mut gather = WriteBuffer::new(open.clone());
            let (mut came, mut out) = (Vec::new(), Vec::new());
            for (number, batch) in batches.iter().enumerate() {
                let batch = vec![number as u8; *batch];
                came.extend_from_slice(&batch);
                if let Some(piece) = gather.add(&batch.into()) {
                    out.extend_from_slice(&piece.concat());
                    prop_assert_eq!(out.len() % PAGE, 0);
                }
                let kept = came.len() - out.len();
                prop_assert!(kept < EACH_MAX + PAGE, "{} bytes are kept", kept);
            }
            if let Some(piece) = gather.rest() {
                out.extend_from_slice(&piece.concat());
            }
            prop_assert!(out == came, "what came out is not what came");
            prop_assert!(gather.rest().is_none());
            drop(gather);
            prop_assert_eq!(open.0.load(Ordering::Relaxed), others);
        }
    }

    #[test]
    fn the_more_files_are_open_the_less_each_gathers() {
        let pieces = |others: usize| {
            let mut gather = WriteBuffer::new(Arc::new(Open(AtomicUsize::new(others))));
            let mut added = (0..1_000).filter_map(|_| gather.add(&vec![0; PAGE].into()));
            added.next().map(|piece| len(&piece))
        };
        assert_eq!(pieces(0), Some(EACH_MAX));
        assert_eq!(pieces(255), Some(ALL / 256));
        assert_eq!(pieces(100_000), Some(EACH_MIN));
    }

    #[test]
    fn after_the_rest_the_next_piece_ends_with_a_page_again() {
        let mut gather = WriteBuffer::new(Arc::new(Open::default()));
        assert!(gather.add(&vec![0; 10].into()).is_none());
        assert_eq!(gather.rest().map(|piece| len(&piece)), Some(10));
        let next = gather.add(&vec![0; EACH_MAX + 1].into());
        assert_eq!(next.map(|piece| 10 + len(&piece)), Some(EACH_MAX));
        assert_eq!(gather.rest().map(|piece| len(&piece)), Some(11));
    }
}
