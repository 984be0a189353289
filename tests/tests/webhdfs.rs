//! Goal: every line is in HDFS once, although collectors that reach it by HTTP alone are killed at
//! any moment.
//!
//! Method: two collectors of one sink store by `webhdfs://` in a real HDFS, from an edge that sends
//! to both. While lines come, the collectors are killed (-9) in turn, many times, and started
//! again. In the end Hadoop's own shell reads the files, each line is compared with what was
//! written, and `aqueduct verify` proves the same from the ledger, by HTTP and by `hdfs://`.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a system test looks at the machine as it is, and prints what it measured"
)]

use std::time::Instant;

use aqueduct_tests::agent::ROLL;
use aqueduct_tests::hdfs::Hdfs;
use aqueduct_tests::killed::{collectors_are_killed, edge_channel};
use aqueduct_tests::reconcile::{compare, prove};
use aqueduct_tests::seed;
use rand::prelude::*;

/// Kills of collectors, by turns.
const KILLS: usize = 12;
/// Longest time between two logs, in milliseconds: a collector lives for about five of them, and
/// has to commit in that time.
const PAUSE_MAX: u64 = 800;

#[test]
#[ignore = "needs the optimised programs and HDFS: tests/run"]
fn collectors_that_are_killed_store_each_line_once_by_http() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, hdfs) = (folder.path(), Hdfs::shared());
    let (mut rng, began) = (seed::rng("webhdfs"), Instant::now());
    let path = format!("/webhdfs-{:x}/%Y-%m-%d", rng.random::<u64>());
    let store = format!("webhdfs://{}{path}", hdfs.web_address());
    let written = collectors_are_killed(dir, &store, ROLL, &mut rng, (KILLS, PAUSE_MAX));

    let prefix = path.split('%').next().unwrap_or_default();
    let pattern = format!("{prefix}20*/*.log");
    let (files, stored) = (hdfs.list(&pattern), hdfs.read(&pattern));
    let found = compare(&written, &stored);
    assert!(found.is_none(), "{found}");
    let channels = [edge_channel(dir)];
    prove(&store, None, &channels);
    prove(&format!("{}{path}", hdfs.url()), Some(&hdfs.conf_dir()), &channels);
    let prefix = prefix.trim_end_matches('/');
    hdfs.fs(&["-rm", "-r", "-skipTrash", prefix]);
    eprintln!("{found}; {} files, {:?}", files.len(), began.elapsed());
}
