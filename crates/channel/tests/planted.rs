//! A planted bug that the simulator does not reach is found here: a start names an epoch that is on
//! no disk.
//!
//! Method: as `disk_full.rs`, with the bug planted. It needs a start without a segment, and that
//! needs a channel without its reserve; in the simulator each has one. Planted is for good, so this
//! is a program of its own.
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
