//! Goal: every row of a table is in the store exactly once, while agent and database are killed.
//!
//! Method: a real PostgreSQL and a real MariaDB, each with three tables: one that grows while it is
//! read, one whose rows are committed late, and one that several connections read completely, with
//! a frequent value and rows without a value. A collector reads all three into a store of files; it
//! is killed (-9) five times, and the database is restarted once. Finally store and tables are
//! compared. The rows of PostgreSQL are also read over its ODBC driver.
//!
//! Lane: connector
//! Needs: psqlodbc postgres psql openssl mariadbd mariadb-install-db mariadb
//! Weight: 0
//! Limit: 10m
//! Paths: crates/components-sql crates/odbc

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, ROLL};
use aqueduct_tests::store;
use aqueduct_tests::{seed, wait};
use rand::prelude::*;

mod server;

use server::{Kind, Server};

/// Runs of the collector.
const LIVES: usize = 6;
/// Rows of the table that is read completely.
const WHOLE: usize = 20_000;
/// Timeout of a step.
const LIMIT: Duration = Duration::from_secs(60);

/// Counts how often each line is in the store below this folder.
fn stored(dir: &Path, folder: &str) -> BTreeMap<String, usize> {
    store::lines(&dir.join("store").join(folder))
}

/// Configures a source of a table, a channel and a sink.
fn way(dir: &Path, database: &str, name: &str, settings: &str) -> String {
    format!(
        "[sources.{name}]\ntype = \"sql\"\nchannels = [\"{name}\"]\ntable = \"{name}_rows\"\n\
         interval = \"50ms\"\nbatch_bytes = \"2KiB\"\n{settings}\n\
         [sources.{name}.database]\n{database}\n\
         [channels.{name}]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.{name}]\ntype = \"hdfs\"\nurl = \"file://{}/store/{name}/%{{table}}\"\n\
         channel = \"{name}\"\n{ROLL}\n",
        dir.display()
    )
}

/// Returns a collector with these settings of `database`.
fn collector(dir: &Path, database: &str) -> Agent {
    let grow = "mode = \"append\"\ncheck_column = \"id\"\nfetch_size = 100";
    let late = "mode = \"modified\"\ncheck_column = \"at\"\nkey = [\"id\"]\noverlap = \"20s\"";
    let whole =
        "mode = \"full\"\nkey = [\"id\"]\nsplit_by = \"part\"\nsplits = 4\nfetch_size = 500";
    let ways = [("grow", grow), ("late", late), ("whole", whole)];
    let ways: String =
        ways.iter().map(|(name, settings)| way(dir, database, name, settings)).collect();
    let text = format!("[agent]\ndata_dir = \"{}/data\"\n{ways}", dir.display());
    Agent::configured("aqueduct-collector", dir, "collector", &text)
}

/// Fills the tables, and reads them with kills of the collector and a restart of the database.
fn every_row_is_stored_once(kind: Kind) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let began = Instant::now();
    let server = Server::start(kind, dir);
    server.ask(kind.tables());
    server.ask(&kind.fill(WHOLE));
    if kind == Kind::Mariadb {
        let mut refusing = collector(dir, &server.settings(dir, "other.pem"));
        refusing.start();
        refusing.until_logged("UnknownIssuer", LIMIT);
        refusing.kill();
    }
    let database = server.settings(dir, "ca.pem");
    let (mut collector, mut rng) = (collector(dir, &database), seed::rng("sql_source"));
    collector.start();
    // The test's own statements must end before the database does.
    let (server, ends) = (RwLock::new(server), AtomicBool::new(false));
    let ask = |sql: &str| server.read().expect("no thread has failed").ask(sql);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                ask(&kind.grow(20));
            }
        });
        scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                ask(kind.commit_late());
            }
        });
        for life in 1..LIVES {
            thread::sleep(Duration::from_millis(rng.random_range(200..1500)));
            collector.kill();
            if life == LIVES / 2 {
                collector.start();
                server.write().expect("no thread has failed").restart();
                thread::sleep(Duration::from_millis(1500));
                collector.kill();
            }
            collector.start();
        }
        thread::sleep(Duration::from_millis(1000));
        ends.store(true, Ordering::Relaxed);
    });
    let server = server.into_inner().expect("no thread has failed");
    for table in ["grow", "late", "whole"] {
        let rows = server.lines(table);
        let count: usize = rows.values().sum();
        wait::until(&format!("{count} rows of {table}"), LIMIT, || {
            (stored(dir, table).values().sum::<usize>() >= count).then_some(())
        });
        let there = stored(dir, table);
        let repeated = there.values().filter(|times| **times > 1).count();
        let lost = rows.keys().filter(|row| !there.contains_key(*row)).count();
        assert_eq!((repeated, lost), (0, 0), "rows of {table} that are repeated, and lost");
        assert!(there == rows, "{table}: rows of another form: {:?}", there.iter().next());
        eprintln!("{kind:?}: {count} rows of {table}");
    }
    thread::sleep(Duration::from_millis(1500));
    for table in ["grow", "late", "whole"] {
        assert!(stored(dir, table) == server.lines(table), "rows of {table} came again later");
    }
    let said = collector.output();
    assert!(said.contains("the import is complete"), "{said}");
    collector.stop(LIMIT);
    eprintln!("{kind:?}: {LIVES} lives of the collector, {:?}", began.elapsed());
}

#[test]
#[ignore = "needs the programs and PostgreSQL: tests/run"]
fn rows_of_postgresql_are_stored_once_over_kills_of_agent_and_database() {
    every_row_is_stored_once(Kind::Postgres);
}

#[test]
#[ignore = "needs a program with ODBC and PostgreSQL: tests/run"]
fn rows_of_postgresql_by_odbc_are_stored_once_through_kills() {
    every_row_is_stored_once(Kind::PostgresByOdbc);
}

#[test]
#[ignore = "needs the programs and MariaDB: tests/run"]
fn rows_of_mariadb_are_stored_once_over_kills_of_agent_and_database() {
    every_row_is_stored_once(Kind::Mariadb);
}
