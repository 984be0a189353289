//! Goal: every line is in HDFS once, although collectors that only use HTTP are killed at any
//! moment.
//!
//! Method: two collectors of one sink store over `webhdfs://` in a real HDFS, through the web
//! server of its NameNode or an HttpFS, from an edge that sends to both. While lines arrive, the
//! collectors are killed (-9) in turn, many times, and restarted. Finally Hadoop's own shell reads
//! the files, each line is compared with the written ones, and `aqueduct verify` proves the same
//! from the ledger, over HTTP and over `hdfs://`. Then the ledger is deleted, and `aqueduct ledger
//! rebuild` and `adopt` repair it over HTTP.
//!
//! Lane: core
//! Needs: hdfs
//! Weight: 0
//! Limit: 10m
//! Paths: @core crates/storage-webhdfs deploy/hadoop

use std::net::SocketAddr;
use std::time::Instant;

use aqueduct_tests::agent::ROLL;
use aqueduct_tests::hdfs::Hdfs;
use aqueduct_tests::killed::{collectors_are_killed, edge_channel};
use aqueduct_tests::reconcile::{compare, prove};
use aqueduct_tests::scene::{Operator, sink_of};
use aqueduct_tests::seed;
use rand::prelude::*;

/// Kills of collectors, in turn, and fewer of them with a separate HDFS.
const KILLS: usize = 12;
const KILLS_BEHIND_A_GATEWAY: usize = 3;
/// Maximum pause between two logs, in milliseconds. A collector runs for about five of them, and
/// must commit in that time.
const PAUSE_MAX: u64 = 800;

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn collectors_that_are_killed_store_each_line_once_by_http() {
    let hdfs = Hdfs::shared();
    each_line_is_stored_once(hdfs, hdfs.web_address(), ROLL, KILLS, &[]);
}

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn collectors_that_are_killed_store_each_line_once_through_httpfs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut hdfs = Hdfs::configured_with(folder.path(), &["--httpfs"]);
    hdfs.start();
    let settings = format!("{ROLL}\nwebhdfs.synconclose = true");
    let (at, stated) = (hdfs.httpfs_address(), ["--synconclose"]);
    each_line_is_stored_once(&hdfs, at, &settings, KILLS_BEHIND_A_GATEWAY, &stated);
    hdfs.stop();
}

/// Makes collectors store over HTTP `at` this address, with these lines of the sink's settings, and
/// an operator repair the ledger with these arguments.
fn each_line_is_stored_once(
    hdfs: &Hdfs,
    at: SocketAddr,
    settings: &str,
    kills: usize,
    stated: &[&str],
) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let (mut rng, began) = (seed::rng("webhdfs"), Instant::now());
    let path = format!("/webhdfs-{:x}/%Y-%m-%d", rng.random::<u64>());
    let store = format!("webhdfs://{at}{path}");
    let written = collectors_are_killed(dir, &store, settings, &mut rng, (kills, PAUSE_MAX));

    let prefix = path.split('%').next().unwrap_or_default();
    let pattern = format!("{prefix}20*/*.log");
    let (files, stored) = (hdfs.list(&pattern), hdfs.read(&pattern));
    let found = compare(&written, &stored);
    assert!(found.is_none(), "{found}");
    let channels = [edge_channel(dir)];
    prove(&store, None, &channels);
    prove(&format!("{}{path}", hdfs.url()), Some(&hdfs.conf_dir()), &channels);
    let prefix = prefix.trim_end_matches('/');
    let sink = sink_of(&dir.join("one/collector.toml"));
    hdfs.fs(&["-rm", "-r", "-skipTrash", &format!("{prefix}/_aqueduct/{sink}/ledger")]);
    for collector in ["one", "two"] {
        let data_dir = dir.join(collector).join("data");
        let operator = Operator { store: &store, sink: &sink, data_dir: &data_dir };
        if !stated.is_empty() {
            let (code, said) = operator.does("rebuild", None, &[]);
            assert!(code == Some(1) && said.contains(stated[0]), "what is stated is named: {said}");
        }
        for (action, arguments) in [("rebuild", stated), ("adopt", stated), ("show", &[])] {
            let (code, said) = operator.does(action, None, arguments);
            assert_eq!(code, Some(0), "{action} for {collector}: {said}");
        }
    }
    prove(&store, None, &channels);
    hdfs.fs(&["-rm", "-r", "-skipTrash", prefix]);
    eprintln!("{found}; {} files, {:?}", files.len(), began.elapsed());
}
