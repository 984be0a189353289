//! Goal: every line is in a bucket of S3 once, although collectors are killed at any moment.
//!
//! Method: two collectors of one sink store into one bucket of a real server of S3, from an
//! edge that sends to both. While lines come, the collectors are killed (-9) in turn, many
//! times, and started again. In the end each line of each object below the days is compared
//! with what was written, and `aqueduct verify` proves the same from the ledger.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a system test looks at the machine as it is, and prints what it measured"
)]

use std::time::Instant;

use aqueduct_tests::agent::ROLL;
use aqueduct_tests::killed::{collectors_are_killed, edge_channel};
use aqueduct_tests::reconcile::{compare, proved, verify};
use aqueduct_tests::s3::{BUCKET, S3};
use aqueduct_tests::seed;

/// Kills of collectors, by turns.
const KILLS: usize = 12;
/// Longest time between two logs, in milliseconds; a collector is killed after five of them.
const PAUSE_MAX: u64 = 500;

#[test]
#[ignore = "needs the optimised programs and Python: tests/run"]
fn collectors_that_are_killed_store_each_line_once_in_a_bucket() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let server = S3::start(dir);
    let store = format!("s3://{BUCKET}/in/%Y-%m-%d");
    let settings = format!(
        "{ROLL}\ns3 = {{ endpoint = \"{}\", access_key = \"key\", secret_key = \"secret\" }}",
        server.endpoint()
    );
    let (began, mut rng) = (Instant::now(), seed::rng("s3"));
    let written = collectors_are_killed(dir, &store, &settings, &mut rng, (KILLS, PAUSE_MAX));

    let keys = server.keys("in/20");
    let stored: String = keys.iter().map(|key| server.read(key)).collect();
    let found = compare(&written, stored.as_bytes());
    assert!(found.is_none(), "{found}");
    let entries = server.keys("in/_aqueduct/").len();
    let mut command = verify(&store, &[edge_channel(dir)]);
    command.arg("--deep").env("AWS_ENDPOINT_URL", server.endpoint());
    command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret");
    proved(command).unwrap_or_else(|said| panic!("{said}"));
    eprintln!(
        "{found}; {} files, {entries} objects of the ledger, {:?}",
        keys.len(),
        began.elapsed()
    );
}
