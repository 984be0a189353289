//! Goal: each event is a row of a real database exactly once, while agent, database and connections
//! are killed; only events that the database rejects become dead letters.
//!
//! Method: a collector reads a growing file into two channels: one for inserted rows, and one for
//! the last state of each key. It is killed (-9) five times, the database is restarted once, and a
//! wire between both cuts connections around COMMIT: before it, after it, and after its response.
//! The table rejects some of the lines. Then the database itself counts the rows. The same runs
//! with PostgreSQL over its ODBC driver.
//!
//! Lane: connector
//! Needs: postgres psql mariadbd mariadb-install-db mariadb psqlodbc
//! Weight: 0
//! Limit: 10m
//! Paths: crates/components-sql crates/odbc

mod calls;
mod kinds;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, odbc_of_postgres};
use aqueduct_tests::letters::letters;
use aqueduct_tests::mariadb::{self, MariaDb};
use aqueduct_tests::postgres::{self, Postgres};
use aqueduct_tests::{seed, wait};
use rand::prelude::*;
use serde_json::json;
use wire::Wire;

/// Lines per write, and number of writes.
const LINES: usize = 600;
const ROUNDS: usize = 20;
/// A rejected line follows this many lines.
const BAD_EACH: usize = 150;
/// Keys whose last state is kept.
const KEYS: usize = 97;
const LIMIT: Duration = Duration::from_secs(60);
/// Reasons of dead letters. Invalid numbers are detected before MariaDB is asked.
const REASONS: [&str; 2] = ["refused", "unwritable_event"];

/// A database under test.
trait Database {
    fn stop(&mut self);
    fn revive(&mut self);
    fn ask(&self, sql: &str) -> String;
    /// Returns the connection settings for this address.
    fn settings(&self, address: std::net::SocketAddr) -> String;
    fn address(&self) -> std::net::SocketAddr;
}

impl Database for Postgres {
    fn stop(&mut self) {
        Postgres::stop(self);
    }

    fn revive(&mut self) {
        Postgres::revive(self);
    }

    fn ask(&self, sql: &str) -> String {
        Postgres::ask(self, "postgres", sql)
    }

    fn settings(&self, address: std::net::SocketAddr) -> String {
        format!("url = \"postgres://{address}/postgres\", user = \"{}\"", postgres::USER)
    }

    fn address(&self) -> std::net::SocketAddr {
        self.address
    }
}

/// PostgreSQL over its ODBC driver.
struct ByOdbc(Postgres);

impl Database for ByOdbc {
    fn stop(&mut self) {
        self.0.stop();
    }

    fn revive(&mut self) {
        self.0.revive();
    }

    fn ask(&self, sql: &str) -> String {
        Database::ask(&self.0, sql)
    }

    fn settings(&self, address: std::net::SocketAddr) -> String {
        let url = odbc_of_postgres(address, "postgres");
        format!("url = \"{url}\", user = \"{}\"", postgres::USER)
    }

    fn address(&self) -> std::net::SocketAddr {
        self.0.address
    }
}

/// Returns a collector with the requirements of these settings.
fn collector(dir: &Path, name: &str, text: &str) -> Agent {
    Agent::configured("aqueduct-collector", dir, name, text)
}

impl Database for MariaDb {
    fn stop(&mut self) {
        MariaDb::stop(self);
    }

    fn revive(&mut self) {
        MariaDb::revive(self);
    }

    fn ask(&self, sql: &str) -> String {
        MariaDb::ask(self, "shop", sql).replace('\t', "|")
    }

    fn settings(&self, address: std::net::SocketAddr) -> String {
        let (user, password) = (mariadb::USER, mariadb::PASSWORD);
        format!("url = \"mysql://{address}/shop\", user = \"{user}\", password = \"{password}\"")
    }

    fn address(&self) -> std::net::SocketAddr {
        self.address
    }
}

#[test]
#[ignore = "needs the programs and PostgreSQL: tests/run"]
fn rows_are_in_postgresql_exactly_once_through_kills_cuts_and_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut postgres = Postgres::start(folder.path());
    exactly_once(folder.path(), "PostgreSQL", &mut postgres);
    let dir = folder.path().join("kinds");
    std::fs::create_dir(&dir).expect("the test's own folder");
    let (table, good, bad) = kinds::POSTGRES;
    postgres.ask("postgres", table);
    // Many rows with the same columns use COPY, which must give the same result.
    let many = good.map(|line| [line; 40]);
    let lines = [&good[..1], &bad[..], &good[1..], many.as_flattened()].concat();
    assert_eq!(kinds::rows(&dir, &postgres, &lines, lines.len() - bad.len()), bad);
    assert_eq!(postgres.ask("postgres", KINDS), kinds::POSTGRES_ROWS);
    calls::each_row_is_one_call(&dir, &postgres, &calls::POSTGRES);
}

#[test]
#[ignore = "needs a program with ODBC and PostgreSQL: tests/run"]
fn rows_are_in_postgresql_once_by_odbc_through_kills_and_cuts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut postgres = ByOdbc(Postgres::start(folder.path()));
    exactly_once(folder.path(), "PostgreSQL by ODBC", &mut postgres);
    let dir = folder.path().join("kinds");
    std::fs::create_dir(&dir).expect("the test's own folder");
    let (table, good, bad) = kinds::POSTGRES;
    postgres.ask(table);
    let many = good.map(|line| [line; 40]);
    let lines = [&good[..1], &bad[..], &good[1..], many.as_flattened()].concat();
    assert_eq!(kinds::rows(&dir, &postgres, &lines, lines.len() - bad.len()), bad);
    assert_eq!(postgres.ask(KINDS), kinds::POSTGRES_ROWS);
}

#[test]
#[ignore = "needs the programs and MariaDB: tests/run"]
fn rows_are_in_mariadb_exactly_once_through_kills_cuts_and_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut mariadb = MariaDb::start(folder.path());
    mariadb.ask("mysql", "CREATE DATABASE shop CHARACTER SET utf8mb4");
    exactly_once(folder.path(), "MariaDB", &mut mariadb);
    let dir = folder.path().join("kinds");
    std::fs::create_dir(&dir).expect("the test's own folder");
    let (table, good, bad) = kinds::MARIADB;
    mariadb.ask("shop", table);
    let lines = [&good[..1], &bad[..], &good[1..]].concat();
    assert_eq!(kinds::rows(&dir, &mariadb, &lines, good.len()), bad);
    let rows = Database::ask(
        &mariadb,
        "SELECT i, b, d, o, s, hex(y), j, da, ts, e, coalesce(def, '*') FROM kinds ORDER BY i",
    );
    assert_eq!(rows, kinds::MARIADB_ROWS);
    calls::each_row_is_one_call(&dir, &mariadb, &calls::MARIADB);
}

/// The rows of all column types in PostgreSQL.
const KINDS: &str = "SELECT DISTINCT i, b, d, o, s, c, y, j, u, da, ts, \
     extract(epoch FROM tz)::numeric(20, 3), a, n, \
     e, coalesce(def::text, '*'), coalesce(twice::text, '*') FROM kinds ORDER BY i";

/// The written lines, and their expected results.
#[derive(Default)]
struct Written {
    lines: usize,
    rows: usize,
    sum: usize,
    bad: BTreeSet<String>,
    last: BTreeMap<usize, usize>,
}

/// The query that counts the rows.
const COUNT: &str = "SELECT count(*), coalesce(sum(n), 0) FROM events";

impl Written {
    /// Returns the expected result of [`COUNT`].
    fn count(&self) -> String {
        format!("{}|{}", self.rows, self.sum)
    }

    fn line(&mut self) -> String {
        let id = self.lines;
        self.lines += 1;
        let key = id % KEYS;
        let mut line = json!({ "id": id, "k": key, "n": id % 1000, "s": format!("r{id}") });
        line["at"] = json!("2026-11-26T18:00:00.5+02:00");
        if id % BAD_EACH == BAD_EACH - 1 {
            match id / BAD_EACH % 4 {
                0 => line["s"] = json!("much too long for it"),
                1 => line["id"] = json!(0),
                2 => line["n"] = json!(-1),
                _ => line["n"] = json!("many"),
            }
            let line = line.to_string();
            self.bad.insert(line.clone());
            // The other table accepts what one table rejects.
            self.last.insert(key, if id / BAD_EACH % 4 == 1 { 0 } else { id });
            return line;
        }
        self.rows += 1;
        self.sum += id % 1000;
        self.last.insert(key, id);
        line.to_string()
    }
}

fn configuration(dir: &Path, settings: &str) -> String {
    let lines = dir.join("lines").display().to_string();
    format!(
        "[agent]\ndata_dir = \"{}/data\"\n\
         [sources.lines]\ntype = \"tail_dir\"\npaths = [\"{lines}\"]\nbatch_events = 100\n\
         channels = [\"rows\", \"last\"]\n\
         [channels.rows]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [channels.last]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.rows]\ntype = \"sql\"\nchannel = \"rows\"\ntable = \"events\"\n\
         columns = {{ id = \"/id\", n = \"n\", s = \"s\", at = \"at\" }}\n\
         extra = \"ignore\"\ndatabase = {{ {settings} }}\nledger = {{ create = true }}\n\
         [sinks.last]\ntype = \"sql\"\nchannel = \"last\"\ntable = \"last\"\nmode = \"upsert\"\n\
         key = [\"k\"]\ncolumns = {{ k = \"k\", id = \"id\" }}\nextra = \"ignore\"\n\
         database = {{ {settings} }}\nledger = {{ create = true }}\n",
        dir.display()
    )
}

/// Waits until the tables and the dead letters have everything written.
fn wait_for(dir: &Path, database: &dyn Database, written: &Written) {
    let rows = written.count();
    wait::until("all rows", LIMIT, || {
        let there = database.ask(COUNT);
        let number = there.split('|').next().and_then(|number| number.parse::<usize>().ok());
        assert!(number <= Some(written.rows), "{there}, and not {rows}");
        (there == rows).then_some(())
    });
    let mut last = String::new();
    for (key, id) in &written.last {
        last += &format!("{key}|{id}\n");
    }
    wait::until("the last state of each key", LIMIT, || {
        (database.ask("SELECT k, id FROM last ORDER BY k") == last.trim_end()).then_some(())
    });
    wait::until("the dead letters", LIMIT, || {
        (letters(&dir.join("data"), &REASONS).len() >= written.bad.len()).then_some(())
    });
}

fn exactly_once(dir: &Path, name: &str, database: &mut dyn Database) {
    database.ask(
        "CREATE TABLE events (id bigint PRIMARY KEY, n int NOT NULL CHECK (n >= 0), \
         s varchar(10) NOT NULL, at timestamp NOT NULL)",
    );
    database.ask("CREATE TABLE last (k int PRIMARY KEY, id bigint NOT NULL)");
    let wire = Wire::new(database.address());
    let text = configuration(dir, &database.settings(wire.address));
    let mut collector = collector(dir, "collector", &text);
    let (began, mut rng) = (Instant::now(), seed::rng("sql_sink"));
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join("lines"))
        .expect("the test's own folder");
    collector.start();
    let mut written = Written::default();
    for round in 0..ROUNDS {
        let lines: String = (0..LINES).map(|_| written.line() + "\n").collect();
        file.write_all(lines.as_bytes()).expect("the test's own file");
        thread::sleep(Duration::from_millis(rng.random_range(20..250)));
        if round % 4 == 1 {
            collector.kill();
            collector.start();
        }
        if round == ROUNDS / 2 {
            database.stop();
            thread::sleep(Duration::from_millis(300));
            database.revive();
        }
    }
    wait_for(dir, database, &written);
    assert!(wire.cuts() >= 50, "{} connections were cut, which is too few", wire.cuts());
    let metrics = collector.metrics().expect("it answers");
    let counted = |name: &str| metrics.sum(name).unwrap_or(0.0);
    let unanswered = counted("aqueduct_sql_unanswered_commits_total");
    let repeated = counted("aqueduct_sql_repeated_batches_total");
    collector.stop(LIMIT);
    assert_eq!(database.ask(COUNT), written.count(), "and no more");
    let bodies = letters(&dir.join("data"), &REASONS);
    assert_eq!(bodies.len(), written.bad.len(), "each letter once");
    assert_eq!(bodies.into_iter().collect::<BTreeSet<_>>(), written.bad);
    let ledger =
        database.ask("SELECT sink, count(*) FROM aqueduct_applied GROUP BY sink ORDER BY sink");
    assert_eq!(ledger, "last|1\nrows|1", "a row for each origin");
    let at = database.ask("SELECT DISTINCT at FROM events");
    assert!(at.starts_with("2026-11-26 16:00:0"), "{at}");
    eprintln!(
        "{name}: {} lines, {} of them bad; {} connections cut at COMMIT; of the last life: \
         {unanswered} unanswered, {repeated} repeated; {:?}",
        written.lines,
        written.bad.len(),
        wire.cuts(),
        began.elapsed()
    );
}
