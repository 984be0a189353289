//! Finds a planted bug that the simulator reaches only by chance: a put is stored before the one
//! that it must follow.
//!
//! Method: the suite's test of the rule has to fail with the bug planted. Planting cannot be
//! undone, so this is a separate program.
#![cfg(feature = "mutants")]
#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

use std::panic::AssertUnwindSafe;
use std::path::Path;

use aqueduct_channel::durable;
use aqueduct_channel::testkit::{SimDisk, conformance, world};
use futures::FutureExt;
use pipeline::testkit::build;
use pipeline::{BuildContext, Channel};
use serde_json::json;

fn durable_channel(disk: &SimDisk) -> Box<dyn Channel> {
    let cx = BuildContext::alone("main", Path::new("/data/main"), world(disk, 1));
    build::<durable::Config>(&json!({ "capacity": "1MiB", "index": "none" }), &cx).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_put_that_is_stored_out_of_its_turn_is_found() {
    support::mutants::plant("turn_not_looked_at").unwrap();
    let rule =
        conformance::a_dependent_position_is_stored_only_after_its_predecessor(durable_channel);
    let failed = AssertUnwindSafe(rule).catch_unwind().await;
    assert!(failed.is_err(), "the suite holds although no put waits for its turn");
}
