//! Goal: every line is in a bucket of S3, Google or Azure once, although collectors are killed at
//! any moment.
//!
//! Method: two collectors of one sink store into one bucket of a real server, from an edge that
//! sends to both. While lines arrive, the collectors are killed (-9) in turn, many times, and
//! restarted. Finally each line of each object in the daily directories is compared with the
//! written ones, and `aqueduct verify` proves the same from the ledger.
//!
//! Lane: connector
//! Needs: python3 openssl
//! Weight: 0
//! Limit: 10m
//! Paths: crates/storage-objects deploy/s3 deploy/azurite

use std::time::Instant;

use aqueduct_tests::agent::ROLL;
use aqueduct_tests::killed::{collectors_are_killed, edge_channel};
use aqueduct_tests::objects::{Azurite, Gcs, S3, Server};
use aqueduct_tests::reconcile::{compare, proved, verify};
use aqueduct_tests::seed;

/// Kills of collectors, in turn.
const KILLS: usize = 6;
/// Maximum pause between two logs, in milliseconds; a collector is killed after five of them.
const PAUSE_MAX: u64 = 500;

fn each_line_is_stored_once<S: Server>(name: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let server = S::start(dir);
    let store = S::url("in/%Y-%m-%d");
    let settings = format!("{ROLL}\n{}", server.settings());
    let (began, mut rng) = (Instant::now(), seed::rng(name));
    let written = collectors_are_killed(dir, &store, &settings, &mut rng, (KILLS, PAUSE_MAX));

    let keys = server.keys("in/20");
    let stored: String = keys.iter().map(|key| server.read(key)).collect();
    let found = compare(&written, stored.as_bytes());
    assert!(found.is_none(), "{name}: {found}");
    let entries = server.keys("in/_aqueduct/").len();
    let mut command = verify(&store, &[edge_channel(dir)]);
    command.arg("--deep").envs(server.variables());
    proved(command).unwrap_or_else(|said| panic!("{name}: {said}"));
    eprintln!(
        "{name}: {found}; {} files, {entries} objects of the ledger, {:?}",
        keys.len(),
        began.elapsed()
    );
}

#[test]
#[ignore = "needs the programs and Python: tests/run"]
fn collectors_that_are_killed_store_each_line_once_in_a_bucket_of_s3() {
    each_line_is_stored_once::<S3>("s3");
}

#[test]
#[ignore = "needs the programs, Python and openssl: tests/run"]
fn collectors_that_are_killed_store_each_line_once_in_a_bucket_of_google() {
    each_line_is_stored_once::<Gcs>("gs");
}

#[test]
#[ignore = "needs the programs and Python: tests/run"]
fn killed_collectors_store_each_line_once_in_a_container_of_azure() {
    each_line_is_stored_once::<Azurite>("abfss");
}
