//! Finds a planted bug that the simulator does not reach: a start announces an epoch that is not on
//! disk.
//!
//! Method: as `disk_full.rs`, with the bug planted. It needs a start without a segment, and
//! therefore a channel without its reserve, which every channel in the simulator has. Planting
//! cannot be undone, so this is a separate program.
#![cfg(feature = "mutants")]
#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

#[path = "it/common/mod.rs"]
mod common;

use common::names_no_epoch_too_early;

#[tokio::test(start_paused = true)]
async fn an_epoch_that_is_named_too_early_is_found() {
    support::mutants::plant("epoch_named_too_early").unwrap();
    let mut found = 0;
    for seed in 0..40 {
        found += u32::from(!names_no_epoch_too_early(seed).await);
    }
    assert!(found > 0, "a later start never went below what an earlier one had named");
}
