//! Goal: an Iceberg table contains each line once, although collectors and the catalog are killed
//! at any moment, and answers of the catalog are lost; and other programs read the table.
//!
//! Method: the REST catalog of Iceberg's own tests, behind a proxy that loses the answer to every
//! third commit. Two collectors of one sink append to one table, partitioned by directories of two
//! seconds, with lines from an edge that sends to both. While lines arrive, the collectors are
//! killed (-9) in turn, and the catalog once, and restarted. Finally PyIceberg reads the table, as
//! a whole and by each partition, and its rows are compared with the written lines.
//!
//! Lane: connector
//! Needs: javac mvn python3
//! Weight: 0
//! Limit: 10m
//! Paths: crates/iceberg crates/components-hdfs crates/components-parquet crates/ledger
//! Paths: deploy/iceberg

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::http;
use aqueduct_tests::iceberg::{Catalog, Proxy, python};
use aqueduct_tests::killed::{collectors_are_killed, edge_channel};
use aqueduct_tests::reconcile::{compare, prove};
use aqueduct_tests::{seed, wait};

/// Kills of collectors, in turn.
const KILLS: usize = 6;
/// Maximum pause between two logs, in milliseconds; five of them precede each kill.
const PAUSE_MAX: u64 = 1_500;
/// The answer to each commit with a multiple of this number is lost.
const LOST_EACH: usize = 3;
/// How long the catalog is down.
const DOWN: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the problems that the collector reports, and how many entries the table lacks, once it
/// has opened the store.
fn left(collector: &Agent, log: &Path) -> Option<(String, f64)> {
    fs::read_to_string(log).ok().filter(|text| text.contains("store opened"))?;
    let (_, text) = http::get(collector.admin(), "/status")?;
    let status: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let (_, metrics) = http::get(collector.admin(), "/metrics")?;
    let gauge = metrics
        .lines()
        .find(|line| !line.starts_with('#') && line.contains("hdfs_entries_without_table"))?;
    let value = gauge.rsplit(' ').next()?.parse().expect("a number");
    Some((status["troubles"].to_string(), value))
}

#[test]
#[ignore = "needs the programs, a JDK, Maven and Python: tests/run"]
fn table_has_each_line_once_through_kills_and_lost_answers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, store) = (folder.path(), folder.path().join("store"));
    let (mut rng, began) = (seed::rng("iceberg"), Instant::now());
    let mut catalog = Catalog::start(dir);
    let proxy = Proxy::start(catalog.address(), LOST_EACH);
    let url = format!("file://{}/web/data/at=%Y%m%d-%H%M%S", store.display());
    let settings = format!(
        "round = \"2s\"\nroll = {{ age_max = \"1s\" }}\n\
         encoder = {{ type = \"parquet\", columns = [{{ name = \"line\", type = \"string\", \
         from = \"body\" }}] }}\n\
         iceberg = {{ catalog = \"http://{}\", table = \"logs.web\", create = true, \
         timeout = \"5s\" }}",
        proxy.address()
    );
    let written = thread::scope(|scope| {
        let killed = scope.spawn(|| {
            wait::until("the first lost answers", PATIENCE, || (proxy.lost() > 1).then_some(()));
            catalog.kill();
            thread::sleep(DOWN);
            catalog.revive();
        });
        let kills = (KILLS, PAUSE_MAX);
        let written = collectors_are_killed(dir, &url, &settings, &mut rng, kills);
        killed.join().expect("the catalog is killed and started again");
        written
    });

    // Either collector appends what both have left.
    let config = dir.join("one/collector.toml").display().to_string();
    let log = dir.join("one/last.out");
    let mut collector = Agent::new("aqueduct-collector", &["--config", &config], &log);
    collector.start();
    wait::until("the table to have all entries", PATIENCE, || {
        (left(&collector, &log)? == ("[]".to_owned(), 0.0)).then_some(())
    });
    collector.stop(PATIENCE);

    let script = dir.join("read.py");
    fs::write(&script, include_str!("iceberg/read.py")).expect("the test's own folder");
    let mut reader = python();
    reader.arg(script).args([&format!("http://{}", catalog.address()), "logs.web"]);
    let output = reader.output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines = |kind: &'static str| {
        text.lines().filter_map(move |line| line.strip_prefix(kind)?.strip_prefix(' '))
    };
    let rows: String = lines("row").map(|row| format!("{row}\n")).collect();
    let differences = compare(&written, rows.as_bytes());
    assert!(differences.is_none(), "{differences}");
    let partitions: Vec<&str> = lines("partition").collect();
    assert!(partitions.len() > 2, "{partitions:?}");
    for partition in &partitions {
        let counts: Vec<&str> = partition.split(' ').collect();
        assert_eq!(counts[1], counts[2], "the filter finds all rows of {partition}");
    }
    assert_eq!(lines("total").next(), Some(&*rows.lines().count().to_string()));
    prove(&url, None, &[edge_channel(dir)]);
    eprintln!(
        "{differences}; {} snapshots, {} lost answers, {} partitions; {:?}",
        lines("snapshots").next().unwrap_or("no"),
        proxy.lost(),
        partitions.len(),
        began.elapsed()
    );
}
