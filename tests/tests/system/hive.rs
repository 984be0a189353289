//! Goal: the partitions of a Hive table are the directories with committed files, each from its
//! first file on, although collectors and the metastore are killed at any moment; and the table can
//! be read.
//!
//! Method: a real metastore, and two collectors of one sink that store in directories of two
//! seconds, from an edge that sends to both. While lines arrive, the collectors are killed (-9) in
//! turn, and the metastore once, and restarted. Meanwhile Hive's Java client lists the partitions,
//! and checks that each new one has a file. Finally they are compared with the directories of the
//! store, and their rows, read with the table's input format, with the written lines. An import
//! with `--hive-import` makes its directory a table, and another one a partition.
//!
//! Lane: connector
//! Needs: javac mvn postgres psql
//! Weight: 0
//! Limit: 10m
//! Paths: crates/components-hdfs crates/sqoop crates/aqueduct deploy/hive

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, program};
use aqueduct_tests::http;
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
