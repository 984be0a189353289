//! Goal: the partitions of a Hive table are the directories with committed files, each from its
//! first file on, although collectors and the metastore are killed at any moment; and the table can
//! be read.
//!
//! Method: a real metastore, and two collectors of one sink that store in directories of two
//! seconds, from an edge that sends to both. While lines arrive, the collectors are killed (-9) in
//! turn, and the metastore once, and restarted. Meanwhile Hive's Java client lists the partitions,
//! and checks that each new one has a file. Finally they are compared with the directories of the
//! store, and their rows, read with the table's input format, with the written lines. An import
//! with `--hive-import` makes its directory a table, and another one a partition. A receipt and a
//! late file become properties of a partition, although the metastore is down at first.
//!
//! Lane: connector
//! Needs: javac mvn postgres psql
//! Weight: 0
//! Limit: 10m
//! Paths: crates/components-hdfs crates/complete crates/sqoop crates/aqueduct deploy/hive

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, CollectorConfig, program};
use aqueduct_tests::http::{self, Metrics};
use aqueduct_tests::killed::{collectors_are_killed, edge_channel};
use aqueduct_tests::metastore::Metastore;
use aqueduct_tests::postgres::{self, Postgres};
use aqueduct_tests::process::Process;
use aqueduct_tests::reconcile::{compare, prove};
use aqueduct_tests::{seed, wait};

/// Kills of collectors, in turn.
const KILLS: usize = 4;
/// Maximum pause between two logs, in milliseconds; five of them precede each kill.
const PAUSE_MAX: u64 = 1_500;
/// Minimum number of partitions while lines arrive.
const MEANWHILE: usize = 2;
/// How long the metastore is down.
const DOWN: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the directories of the store with a visible file.
fn with_files(store: &Path) -> BTreeSet<String> {
    let names = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    let visible = |name: &String| !name.starts_with(['_', '.']);
    let own = names(store).into_iter().filter(visible);
    own.filter(|name| names(&store.join(name)).iter().any(visible)).collect()
}

/// Returns a Java command that does this with the table.
fn java(metastore: &Metastore, dir: &Path, what: &str) -> Command {
    let source = dir.join("Partitions.java");
    fs::write(&source, include_str!("hive/Partitions.java")).expect("the test's own folder");
    let mut java = metastore.java();
    java.arg(source).args([what, &metastore.url(), "logs", "web"]);
    java
}

/// Returns the table as read by Java, line by line.
fn table(metastore: &Metastore, dir: &Path) -> Vec<String> {
    let output = java(metastore, dir, "read").output().expect("java runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect()
}

/// Returns the description of a table, line by line.
fn described(metastore: &Metastore, dir: &Path, table: &str) -> Vec<String> {
    let source = dir.join("Partitions.java");
    fs::write(&source, include_str!("hive/Partitions.java")).expect("the test's own folder");
    let mut java = metastore.java();
    java.arg(source).args(["describe", &metastore.url(), "shop", table]);
    let output = java.output().expect("java runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "needs the programs, a JDK and Maven: tests/run"]
fn imported_directory_is_a_table_or_a_partition_of_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let mut metastore = Metastore::start(dir);
    let postgres = Postgres::start(dir);
    postgres.ask("postgres", "CREATE DATABASE shop");
    postgres.ask(
        "shop",
        "CREATE TABLE orders (id integer PRIMARY KEY, price numeric(9, 2), sold date, note text); \
         INSERT INTO orders SELECT i, i * 1.5, '2026-11-30', 'a, b' FROM \
         generate_series(1, 1000) i",
    );
    let url = format!("jdbc:postgresql://{}/shop", postgres.address);
    let uris = format!("hive.metastore.uris={}", metastore.url());
    let import = |target: &str, more: &[&str]| {
        let target = format!("file://{}/{target}", dir.display());
        let mut import = program("aqueduct");
        import.args(["sqoop", "import", "-D", &uris, "--connect", &url, "--table", "orders"]);
        import.args(["--username", postgres::USER, "--hive-import", "--target-dir", &target]);
        import.args(more).env("HOME", dir);
        let output = import.output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let whole = ["--hive-table", "shop.whole", "--validate"];
    for _ in 0..2 {
        let (code, shown) = import("whole", &whole);
        assert_eq!(code, Some(0), "{shown}");
    }
    let table = described(&metastore, dir, "whole");
    let at = format!("file:{}/whole", dir.display());
    let first = of(&table, "table").next().expect("a table").replace("file:///", "file:/");
    assert!(first.starts_with(&format!("EXTERNAL_TABLE {at} ")), "{first}");
    assert!(first.ends_with("ParquetHiveSerDe"), "{first}");
    let columns = ["id int", "price decimal(9,2)", "sold date", "note string"];
    assert_eq!(of(&table, "column").collect::<Vec<_>>(), columns);
    let (code, shown) = import("other", &whole[..2]);
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("the table `shop.whole` has its files in file:"), "{shown}");
    for day in ["2026-11-29", "2026-11-30"] {
        let daily = ["--hive-database", "shop", "--hive-table", "daily"];
        let partition = ["--hive-partition-key", "Day", "--hive-partition-value", day];
        let (code, shown) = import("daily", &[daily, partition].concat());
        assert_eq!(code, Some(0), "{shown}");
    }
    let table = described(&metastore, dir, "daily");
    assert_eq!(of(&table, "key").collect::<Vec<_>>(), ["day string"]);
    let partitions: Vec<String> =
        of(&table, "partition").map(|line| line.replace("file:///", "file:/")).collect();
    let expected = ["2026-11-29", "2026-11-30"]
        .map(|day| format!("{day} file:{}/daily/day={day}", dir.display()));
    assert_eq!(partitions, expected);
    metastore.kill();
    let (code, shown) = import("down", &["--hive-table", "shop.down"]);
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("the Hive table shop.down: "), "{shown}");
    assert!(!dir.join("down").exists(), "nothing is imported without its table");
}

/// Returns the properties of the only partition of a table.
fn properties(metastore: &Metastore, dir: &Path) -> BTreeMap<String, String> {
    let lines = described(metastore, dir, "web");
    let properties =
        of(&lines, "property").filter_map(|line| line.split_once(' ')?.1.split_once('='));
    properties.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn edge_config(dir: &Path, collector: &str) -> String {
    format!(
        r#"
[agent]
data_dir = "{dir}/edge"

[sources.logs]
type = "tail_dir"
paths = ["{dir}/*.log"]
channels = ["main"]
[[sources.logs.interceptors]]
type = "event_time"
pattern = '^(\S+)'
formats = ["rfc3339"]

[channels.main]
type = "durable"

[sinks.to]
type = "grpc"
channel = "main"
address = "{collector}"
"#,
        dir = dir.display()
    )
}

#[test]
#[ignore = "needs the programs, a JDK and Maven: tests/run"]
fn a_receipt_and_a_late_file_are_properties_of_their_partition() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, store) = (folder.path(), folder.path().join("store"));
    let mut metastore = Metastore::start(dir);
    let listen = http::free_address().to_string();
    let url = format!("file://{}/hour=%Y%m%d-%H", store.display());
    let settings = format!(
        "complete = {{ grace = \"1s\" }}\nroll = {{ idle_max = \"1s\" }}\n\
         hive = {{ metastore = \"{}\", database = \"shop\", table = \"web\", create = true }}",
        metastore.url()
    );
    let config = CollectorConfig::new(&listen, &url, &dir.join("collector"));
    let mut collector = config.with_sink_settings(&settings).agent(dir);
    let mut edge =
        Agent::configured("aqueduct-edge", dir, "edge-config", &edge_config(dir, &listen));
    let write = |name: &str| {
        let line = format!("2026-01-15T08:30:00Z {name}\n");
        fs::write(dir.join(name), line).expect("a log is written");
    };
    write("first.log");
    collector.start();
    edge.start();
    let hour = store.join("hour=20260115-08");
    let added = "aqueduct_hdfs_registered_partitions_total";
    let metric = |collector: &Agent, name: &str| Metrics::read(collector.admin())?.sum(name);
    wait::until("the partition", PATIENCE, || metric(&collector, added).filter(|it| *it > 0.0));
    metastore.kill();
    let receipt =
        wait::until("the receipt", PATIENCE, || fs::read(hour.join("_receipt.json")).ok());
    wait::until("the problem on the status page", PATIENCE, || {
        troubles(&collector)?
            .contains("cannot send receipts to the Hive table shop.web")
            .then_some(())
    });
    collector.kill();
    metastore.revive();
    let before = properties(&metastore, dir);
    assert!(!before.contains_key("aqueduct.receipt.hash"), "{before:?}");
    collector.start();
    let described = |name: &str| {
        let name = format!("aqueduct.receipt.{name}");
        wait::until(&name, PATIENCE, || properties(&metastore, dir).remove(&name))
    };
    let receipt: serde_json::Value = serde_json::from_slice(&receipt).expect("JSON");
    assert_eq!(receipt["hash"], described("hash"));
    assert_eq!((described("state"), described("events")), ("complete".into(), "1".into()));
    let after = properties(&metastore, dir);
    for (name, value) in &before {
        assert_eq!(after.get(name), Some(value), "{name} stays");
    }
    write("late.log");
    wait::until("the state of the partition", PATIENCE, || {
        (described("state") == "reopened").then_some(())
    });
    assert_eq!(described("late_events"), "1");
    wait::until("nothing to be wrong", PATIENCE, || (troubles(&collector)? == "[]").then_some(()));
    edge.stop(PATIENCE);
    collector.stop(PATIENCE);
}

fn of<'l>(lines: &'l [String], kind: &'l str) -> impl Iterator<Item = &'l str> {
    lines.iter().filter_map(move |line| line.strip_prefix(kind)?.strip_prefix(' '))
}

/// Returns the problem that the collector reports.
fn troubles(collector: &Agent) -> Option<String> {
    let (code, text) = http::get(collector.admin(), "/status")?;
    assert_eq!(code, 200, "{text}");
    let status: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    Some(status["troubles"].to_string())
}

#[test]
#[ignore = "needs the programs, a JDK and Maven: tests/run"]
fn partitions_match_directories_through_kills_of_collector_and_metastore() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, store) = (folder.path(), folder.path().join("store"));
    let (mut rng, began) = (seed::rng("hive"), Instant::now());
    let mut metastore = Metastore::start(dir);
    let mut watch = Process::start("watch", java(&metastore, dir, "watch"), &dir.join("watched"));
    let url = format!("file://{}/at=%Y%m%d-%H%M%S", store.display());
    let settings = format!(
        "round = \"2s\"\nroll = {{ age_max = \"1s\" }}\nhive = {{ metastore = \"{}\", \
         database = \"logs\", table = \"web\", create = true, timeout = \"5s\" }}",
        metastore.url()
    );
    let seen = |watch: &Process| of(&lines(watch), "seen").count();
    let written = thread::scope(|scope| {
        let killed = scope.spawn(|| {
            wait::until("the first partitions", PATIENCE, || (seen(&watch) >= 2).then_some(()));
            metastore.kill();
            thread::sleep(DOWN);
            metastore.revive();
        });
        let kills = (KILLS, PAUSE_MAX);
        let written = collectors_are_killed(dir, &url, &settings, &mut rng, kills);
        killed.join().expect("the metastore is killed and started again");
        written
    });
    let meanwhile = seen(&watch);
    assert!(meanwhile >= MEANWHILE, "{meanwhile} partitions were there meanwhile");

    // Either collector registers what both have left.
    let config = dir.join("one/collector.toml").display().to_string();
    let mut collector =
        Agent::new("aqueduct-collector", &["--config", &config], &dir.join("one/last.out"));
    collector.start();
    let wanted = with_files(&store);
    wait::until("every directory to be a partition", PATIENCE, || {
        let watched = lines(&watch);
        assert_eq!(of(&watched, "early").collect::<Vec<_>>(), [""; 0]);
        (of(&watched, "seen").count() >= wanted.len()).then_some(())
    });
    wait::until("nothing to be wrong", PATIENCE, || (troubles(&collector)? == "[]").then_some(()));
    collector.stop(PATIENCE);
    assert!(watch.is_alive(), "{}", watch.output());

    let table = table(&metastore, dir);
    let at = format!("file:{}", store.display());
    let described = of(&table, "table").next().expect("a table").replace("file:///", "file:/");
    assert!(described.starts_with(&format!("EXTERNAL_TABLE {at} ")), "{described}");
    assert_eq!(of(&table, "column").collect::<Vec<_>>(), ["line string"]);
    assert_eq!(of(&table, "key").collect::<Vec<_>>(), ["at string"]);
    let found: BTreeSet<String> = of(&table, "partition")
        .map(|line| {
            let (value, location) = line.split_once(' ').expect("values and a location");
            let location = location.replace("file:///", "file:/");
            assert_eq!(location, format!("{at}/at={value}"));
            format!("at={value}")
        })
        .collect();
    assert_eq!(found, wanted);
    let rows: String = of(&table, "row").map(|row| format!("{row}\n")).collect();
    let differences = compare(&written, rows.as_bytes());
    assert!(differences.is_none(), "{differences}");
    prove(&url, None, &[edge_channel(dir)]);
    eprintln!(
        "{differences}; {} partitions, {meanwhile} of them while lines came; {:?}",
        found.len(),
        began.elapsed()
    );
}

fn lines(watch: &Process) -> Vec<String> {
    watch.output().lines().map(str::to_owned).collect()
}
