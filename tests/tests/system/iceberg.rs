//! Goal: an Iceberg table contains each line once, although collectors and the catalog are killed
//! at any moment, and answers of the catalog are lost; and other programs read the table.
//!
//! Method: two collectors of one sink append to one table, partitioned by directories of two
//! seconds, with lines from an edge that sends to both. While lines arrive, the collectors are
//! killed (-9) in turn, and restarted. Finally PyIceberg reads the table, as a whole and by each
//! partition, and its rows are compared with the written lines.
//!
//! - With the REST catalog of Iceberg's own tests, behind a proxy that loses the answer to every
//!   third commit. The catalog is killed once, too.
//! - With a table in a directory, which Iceberg's `HadoopCatalog` changes at the same time, and
//!   reads at the end.
//! - With a table in a Hive metastore, which Spark changes at the same time.
//!
//! Lane: connector
//! Needs: curl javac mvn python3 hdfs postgres psql
//! Weight: 0
//! Limit: 20m
//! Paths: crates/iceberg crates/components-hdfs crates/components-parquet crates/ledger
//! Paths: crates/proof deploy/iceberg deploy/spark deploy/hive deploy/s3 deploy/hadoop
//! Paths: crates/storage-objects crates/storage-hdfs docs/components/sinks/hdfs.md

mod cold;
mod evolving;
mod growth;
mod maintained;
mod metastore;
mod stores;
mod typed;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, program};
use aqueduct_tests::http;
use aqueduct_tests::iceberg::{Catalog, Proxy, hadoop_catalog, python};
use aqueduct_tests::killed::{collectors_are_killed, edge_channel};
use aqueduct_tests::reconcile::{compare, prove};
use aqueduct_tests::{seed, wait};

/// Kills of collectors, in turn.
const KILLS: usize = 6;
/// Maximum pause between two logs, in milliseconds; five of them precede each kill.
const PAUSE_MAX: u64 = 1_500;
/// The answer to each commit with a multiple of this number is lost.
const LOST_EACH: usize = 3;
/// Changes of the table by another writer.
const CHANGES: usize = 40;
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

/// Returns the settings of the sink, with this catalog.
fn settings(catalog: &str) -> String {
    format!(
        "round = \"2s\"\nroll = {{ age_max = \"1s\" }}\n\
         encoder = {{ type = \"parquet\", columns = [{{ name = \"line\", type = \"string\", \
         from = \"body\" }}] }}\n\
         iceberg = {{ catalog = \"{catalog}\", table = \"logs.web\", create = true, \
         timeout = \"5s\" }}"
    )
}

/// Starts a collector until the table has all entries.
fn append_the_rest(dir: &Path) {
    let config = dir.join("one/collector.toml").display().to_string();
    let log = dir.join("one/last.out");
    let mut collector = Agent::new("aqueduct-collector", &["--config", &config], &log);
    collector.start();
    wait::until("the table to have all entries", PATIENCE, || {
        (left(&collector, &log)? == ("[]".to_owned(), 0.0)).then_some(())
    });
    collector.stop(PATIENCE);
}

/// Reads the table with PyIceberg, and compares it with the written lines. Returns its numbers.
fn read_and_compare(dir: &Path, table: &[&str], written: &[u8]) -> String {
    let script = dir.join("read.py");
    fs::write(&script, include_str!("iceberg/read.py")).expect("the test's own folder");
    let mut reader = python();
    reader.arg(script).args(table);
    let output = reader.output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let lines = |kind: &'static str| {
        text.lines().filter_map(move |line| line.strip_prefix(kind)?.strip_prefix(' '))
    };
    let rows: String = lines("row").map(|row| format!("{row}\n")).collect();
    let differences = compare(written, rows.as_bytes());
    assert!(differences.is_none(), "{differences}");
    let partitions: Vec<&str> = lines("partition").collect();
    assert!(partitions.len() > 2, "{partitions:?}");
    for partition in &partitions {
        let counts: Vec<&str> = partition.split(' ').collect();
        assert_eq!(counts[1], counts[2], "the filter finds all rows of {partition}");
    }
    assert_eq!(lines("total").next(), Some(&*rows.lines().count().to_string()));
    let snapshots = lines("snapshots").next().unwrap_or("no");
    format!("{differences}; {snapshots} snapshots, {} partitions", partitions.len())
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
    let settings = settings(&format!("http://{}", proxy.address()));
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
    append_the_rest(dir);
    let address = format!("http://{}", catalog.address());
    let numbers = read_and_compare(dir, &[&address, "logs.web"], &written);
    prove(&url, None, &[edge_channel(dir)]);
    eprintln!("{numbers}, {} lost answers; {:?}", proxy.lost(), began.elapsed());
}

#[test]
#[ignore = "needs the programs, a JDK, Maven and Python: tests/run"]
fn table_without_a_catalog_has_each_line_once_beside_another_writer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, warehouse) = (folder.path(), folder.path().join("warehouse"));
    let (mut rng, began) = (seed::rng("iceberg"), Instant::now());
    let table = warehouse.join("logs/web");
    let url = format!("file://{}/data/at=%Y%m%d-%H%M%S", table.display());
    let warehouse = format!("file://{}", warehouse.display());
    let settings = settings(&warehouse);
    let other = |calls: &[&str]| hadoop_catalog(dir, &[&[&*warehouse], calls].concat());
    let written = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let hint = table.join("metadata/version-hint.text");
            wait::until("the first version", PATIENCE, || hint.exists().then_some(()));
            other(&["change", &CHANGES.to_string()])
        });
        let kills = (KILLS, PAUSE_MAX);
        let written = collectors_are_killed(dir, &url, &settings, &mut rng, kills);
        writer.join().expect("the other writer changes the table");
        written
    });
    append_the_rest(dir);
    let numbers = read_and_compare(dir, &[&table.display().to_string()], &written);
    let counted = other(&["count"]);
    let rows = written.split(|byte| *byte == b'\n').count() - 1;
    assert_eq!(counted.trim(), format!("{rows} rows, {CHANGES} changes"));
    prove(&url, None, &[edge_channel(dir)]);
    eprintln!("{numbers}; {:?}", began.elapsed());
}

/// The demo counts its own rows; here PyIceberg counts them, by the printed command.
#[test]
#[ignore = "needs the programs and Python: tests/run"]
fn table_of_the_demo_is_read_by_the_command_that_it_prints() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut demo = program("aqueduct");
    demo.args(["demo", "table"]).env("TMPDIR", folder.path());
    let output = demo.output().expect("the demo runs");
    let shown = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{shown}\n{}", String::from_utf8_lossy(&output.stderr));
    let command =
        shown.lines().find_map(|line| line.trim().strip_prefix("PyIceberg: python3 -c '"));
    let script = command.and_then(|it| it.strip_suffix('\'')).expect("a command for PyIceberg");
    let output = python().args(["-c", script]).output().expect("Python runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "400000\n", "{output:?}");
}
