//! Finds a planted bug that the simulator does not reach: a replayed batch of the dead letters goes
//! to every consumer of the channel.
//!
//! Method: as `it/put_back.rs`, with the bug planted. Planting cannot be undone, so this is a
//! separate program.
#![cfg(feature = "mutants")]
#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

#[allow(dead_code, reason = "a part of it is used here")]
#[path = "it/put_back/shared.rs"]
mod shared;

#[tokio::test]
async fn a_batch_that_is_put_back_for_all_consumers_is_found() {
    support::mutants::plant("put_back_for_all").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let got = shared::got_by_the_other_consumer(folder.path()).await;
    assert_ne!(got, [2, 3], "the other consumer got batch 1 once more");
}
