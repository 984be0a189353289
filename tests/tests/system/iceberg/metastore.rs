//! A table in a real Hive metastore contains each line once, although collectors are killed at any
//! moment, also while they lock the table, and Spark commits to it at the same time, with its own
//! client of the metastore: first under the lock, then without it.
//!
//! The metastore is killed once, too. Spark counts rows and lines after each of its commits, all of
//! which must be in the table at the end; PyIceberg compares the rows with the written lines.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use aqueduct_tests::engines;
use aqueduct_tests::killed::{collectors_are_killed_after, edge_channel};
use aqueduct_tests::metastore::Metastore;
use aqueduct_tests::postgres::Postgres;
use aqueduct_tests::process::{Process, tail};
use aqueduct_tests::reconcile::prove;
use aqueduct_tests::{seed, wait};

use super::{PAUSE_MAX, append_the_rest, read_and_compare, settings};

/// Kills of collectors, in turn.
const KILLS: usize = 6;
/// The metastore is killed before this kill of a collector.
const METASTORE_KILL: usize = 2;
/// Commits of Spark before each kill.
const ROUNDS: usize = 2;
/// Timeout for Spark to start, and for its rounds: it waits for locks of dead collectors.
const PATIENCE: Duration = Duration::from_secs(120);

/// Returns Spark with the script, which changes the table until `stop` exists.
fn spark(dir: &Path, metastore: &Metastore, stop: &Path) -> Command {
    let own = dir.join("spark");
    fs::create_dir(&own).expect("the test's own folder");
    // For one small machine: each partition of a shuffle is a task.
    let settings = format!(
        "spark.master local[2]\nspark.ui.enabled false\nspark.ui.showConsoleProgress false\n\
         spark.driver.memory 1g\nspark.driver.extraJavaOptions -XX:TieredStopAtLevel=1\n\
         spark.sql.shuffle.partitions 2\nspark.driver.extraClassPath {}/*:{}/*\n\
         spark.local.dir {}/local\n",
        engines::hive_client().display(),
        engines::spark_iceberg().display(),
        own.display()
    );
    fs::write(own.join("spark-defaults.conf"), settings).expect("the test's own folder");
    let script = own.join("metastore.py");
    fs::write(&script, include_str!("metastore.py")).expect("the test's own folder");
    let mut spark = engines::spark();
    spark.arg(script).arg(metastore.url()).arg(stop);
    spark.env("SPARK_CONF_DIR", &own).env("SPARK_LOCAL_IP", "127.0.0.1").current_dir(&own);
    spark
}

/// Returns the lines of this kind.
fn lines<'t>(text: &'t str, kind: &'t str) -> impl Iterator<Item = &'t str> {
    text.lines().filter_map(move |line| line.strip_prefix(kind)?.strip_prefix(' '))
}

#[test]
#[ignore = "needs the programs, PostgreSQL, a JDK, Maven and Python: tests/run"]
fn table_in_a_metastore_has_each_line_once_through_kills_and_commits_of_spark() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, store) = (folder.path(), folder.path().join("store"));
    let (mut rng, began) = (seed::rng("iceberg-metastore"), Instant::now());
    let postgres = Postgres::start(dir);
    let metastore = std::cell::RefCell::new(Metastore::start_on(dir, &postgres));
    let (stop, output) = (dir.join("stop"), dir.join("spark.out"));
    let command = spark(dir, &metastore.borrow(), &stop);
    let mut other = Process::start("Spark", command, &output);
    let url = format!("file://{}/web/data/at=%Y%m%d-%H%M%S", store.display());
    let settings = settings(&metastore.borrow().url());
    let kills = (KILLS, PAUSE_MAX);
    let rounds = || lines(&fs::read_to_string(&output).unwrap_or_default(), "rounds").count();
    let before = |kill: usize| {
        wait::until("the next commits of Spark", PATIENCE, || {
            (rounds() >= kill * ROUNDS).then_some(())
        });
        if kill == METASTORE_KILL {
            metastore.borrow_mut().kill();
            metastore.borrow_mut().revive();
        }
    };
    let written = collectors_are_killed_after(dir, &url, &settings, &mut rng, kills, before);
    append_the_rest(dir);
    fs::write(&stop, "").expect("the test's own folder");
    let status = other.wait(PATIENCE);
    let text = other.output();
    assert!(status.success(), "{}", tail(&text));
    let expected = written.split(|byte| *byte == b'\n').count() - 1;
    assert_eq!(lines(&text, "rows").next(), Some(&*expected.to_string()), "{}", tail(&text));
    let commits = rounds();
    for property in [format!("changes={commits}"), "engine.hive.lock-enabled=false".to_owned()] {
        assert!(lines(&text, "property").any(|it| it == property), "{property}: {}", tail(&text));
    }
    let parameter = |name: &str| {
        postgres.ask(
            "metastore",
            &format!("SELECT \"PARAM_VALUE\" FROM \"TABLE_PARAMS\" WHERE \"PARAM_KEY\" = '{name}'"),
        )
    };
    assert_eq!(parameter("numRows"), expected.to_string());
    let metadata = lines(&text, "metadata").next().expect("the newest version");
    assert_eq!(parameter("metadata_location"), metadata);
    let path = metadata.trim_start_matches("file:").trim_start_matches("//");
    let numbers = read_and_compare(dir, &[path], &written);
    let waits = postgres.ask("metastore", "SELECT \"NL_NEXT\" - 1 FROM \"NEXT_LOCK_ID\"");
    eprintln!("{numbers}, {commits} commits of Spark, {waits} locks; {:?}", began.elapsed());
    prove(&url, None, &[edge_channel(dir)]);
}
