//! Spark maintains a table by the commands of the documentation while collectors append to it and
//! are killed: it rewrites data files and manifests, and expires snapshots, which deletes files.
//!
//! Answers to commits of the collectors are lost, and the commits of Spark conflict with theirs.
//! Spark counts the rows after each statement; PyIceberg compares them with the written lines.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use aqueduct_tests::docs::Page;
use aqueduct_tests::engines;
use aqueduct_tests::iceberg::{Catalog, Proxy};
use aqueduct_tests::killed::{collectors_are_killed_after, edge_channel};
use aqueduct_tests::process::{Process, tail};
use aqueduct_tests::reconcile::{proved, verify};
use aqueduct_tests::{seed, wait};

use super::{LOST_EACH, PAUSE_MAX, append_the_rest, read_and_compare, settings};

/// Kills of collectors, in turn.
const KILLS: usize = 6;
/// Timeout for Spark to start, and to finish its last round.
const PATIENCE: Duration = Duration::from_secs(120);

/// Returns Spark with the script, which maintains the table until `stop` exists.
fn spark(dir: &Path, catalog: &str, stop: &Path) -> Command {
    let own = dir.join("spark");
    fs::create_dir(&own).expect("the test's own folder");
    let jars = engines::spark_iceberg();
    // For one small machine: each partition of a shuffle is a task.
    let settings = format!(
        "spark.master local[2]\nspark.ui.enabled false\nspark.ui.showConsoleProgress false\n\
         spark.driver.memory 1g\nspark.driver.extraJavaOptions -XX:TieredStopAtLevel=1\n\
         spark.sql.shuffle.partitions 2\nspark.driver.extraClassPath {}/*\n\
         spark.local.dir {}/local\n",
        jars.display(),
        own.display()
    );
    fs::write(own.join("spark-defaults.conf"), settings).expect("the test's own folder");
    // Immediately, and also for a few files.
    let page = Page::read("components/sinks/hdfs.md");
    let others = [
        ("TIMESTAMP '2026-11-29 00:00:00'", "TIMESTAMP '2100-01-01 00:00:00'"),
        ("'min-input-files', '5'", "'min-input-files', '2'"),
    ];
    let statements = page.example("Maintenance of a table", "sql", &others);
    fs::write(own.join("statements.sql"), statements).expect("the test's own folder");
    fs::write(own.join("maintained.py"), include_str!("maintained.py"))
        .expect("the test's own folder");
    let mut spark = engines::spark();
    spark.arg(own.join("maintained.py")).arg(catalog).arg(own.join("statements.sql")).arg(stop);
    spark.env("SPARK_CONF_DIR", &own).env("SPARK_LOCAL_IP", "127.0.0.1").current_dir(&own);
    spark
}

/// Returns the last number of each name in the output of the script.
fn numbers(text: &str) -> BTreeMap<&str, u64> {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.filter_map(|(name, number)| Some((name, number.parse().ok()?))).collect()
}

#[test]
#[ignore = "needs the programs, a JDK, Maven and Python: tests/run"]
fn table_has_each_line_once_while_spark_rewrites_files_and_expires_snapshots() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, store) = (folder.path(), folder.path().join("store"));
    let (mut rng, began) = (seed::rng("iceberg-maintained"), Instant::now());
    let catalog = Catalog::start(dir);
    let address = format!("http://{}", catalog.address());
    let proxy = Proxy::start(catalog.address(), LOST_EACH);
    let (stop, output) = (dir.join("stop"), dir.join("spark.out"));
    let mut maintainer = Process::start("Spark", spark(dir, &address, &stop), &output);
    let url = format!("file://{}/web/data/at=%Y%m%d-%H%M%S", store.display());
    let settings = settings(&format!("http://{}", proxy.address()));
    let kills = (KILLS, PAUSE_MAX);
    // A round of Spark between two kills. The first one begins without a table.
    let maintained = |kill| {
        wait::until("the next round of Spark", PATIENCE, || {
            let text = fs::read_to_string(&output).ok()?;
            (numbers(&text).get("rounds") >= Some(&kill)).then_some(())
        });
    };
    let before = |kill: usize| {
        if kill > 0 {
            maintained(kill as u64);
        }
    };
    let written = collectors_are_killed_after(dir, &url, &settings, &mut rng, kills, before);
    append_the_rest(dir);
    fs::write(&stop, "").expect("the test's own folder");
    let status = maintainer.wait(PATIENCE);
    let text = maintainer.output();
    assert!(status.success(), "{}", tail(&text));
    let numbers = numbers(&text);
    let lines = written.split(|byte| *byte == b'\n').count() as u64 - 1;
    assert_eq!(numbers.get("rows"), Some(&lines), "{}", tail(&text));
    assert!(numbers["replaced"] > 0, "{}", tail(&text));
    let read = read_and_compare(dir, &[&address, "logs.web"], &written);
    // Files that Spark has replaced are missing in the store, but their rows are in the table.
    let without = proved(verify(&url, &[edge_channel(dir)])).expect_err("files were deleted");
    assert!(without.contains("pass --table if the Iceberg table"), "{without}");
    let metadata = dir.join("table.json");
    let mut curl = Command::new("curl");
    curl.args(["--fail", "--silent", "--show-error", "--output"]).arg(&metadata);
    curl.arg(format!("{address}/v1/namespaces/logs/tables/web"));
    assert!(curl.status().expect("curl starts").success());
    let mut with = verify(&url, &[edge_channel(dir)]);
    with.arg("--table").arg(&metadata);
    proved(with).expect("the table has every row");
    eprintln!("{read}, {} lost answers, {numbers:?}; {:?}", proxy.lost(), began.elapsed());
}
