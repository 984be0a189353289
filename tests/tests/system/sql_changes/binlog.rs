//! The same for MariaDB and MySQL, whose log contains the earlier version of every changed row:
//! each event is compared with the row rebuilt from earlier events, so that no event can be
//! missing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::mariadb::{MariaDb, PASSWORD, USER};
use aqueduct_tests::{seed, wait};
use rand::prelude::*;
use serde_json::Value;

use super::collector::{DATABASE, LIMIT};
use super::stored::{self, Event};

/// Differences between the servers.
pub(crate) struct Kind {
    /// Starts it with these options.
    pub(crate) start: fn(&Path, &[&str]) -> MariaDb,
    /// The statement that returns the end of the log.
    pub(crate) end_of_log: &'static str,
    /// Settings, rejected values, and required values.
    pub(crate) settings: &'static [(&'static str, &'static str, &'static str)],
    /// Statement that runs in the middle: from then on, transactions are written differently.
    pub(crate) halfway: &'static str,
    /// A JSON value, and its form in a body.
    pub(crate) json: [&'static str; 2],
}

/// Required log options. After a kill, the server's log and its tables agree.
pub(crate) const OPTIONS: [&str; 6] = [
    "--log-bin=shop-bin",
    "--server-id=1",
    "--binlog-format=ROW",
    "--binlog-row-metadata=FULL",
    "--innodb-flush-log-at-trx-commit=2",
    "--sync-binlog=0",
];
const USUAL: &str = "tables = [\"orders\", \"items\", \"drafts\", \"kinds\"]\n\
                     heartbeat = \"500ms\"\nbatch_bytes = \"16KiB\"";
/// The row that is written last.
const LAST: &str = "\"id\":999999";
const TABLES: [&str; 3] = ["orders", "items", "drafts"];

const SCHEMA: &str = "
CREATE TABLE orders (id int PRIMARY KEY, v int, note text);
CREATE TABLE items (v int, note text CHARACTER SET latin1, id int, PRIMARY KEY (id));
CREATE TABLE drafts (id int PRIMARY KEY, v int, note text);
CREATE TABLE noise (id int);
CREATE TABLE kinds (id int PRIMARY KEY, b boolean, u8 bigint unsigned, i8 bigint, u3 mediumint
  unsigned, i3 mediumint, d decimal(30,10), e decimal(5,2), z decimal(4,4), r float, f double,
  c char(3), l varchar(300) CHARACTER SET latin1, m enum('good','bäd') CHARACTER SET latin1,
  s set('a','b','c'), bi binary(4), vb varbinary(20), y blob, j json, da date, zd date, ti time(2),
  t6 time(6), ts timestamp(3) NULL, t0 timestamp NULL, dt datetime(6), zt datetime, yr year,
  y0 year, bt bit(10), g point,
  gl varchar(9) CHARACTER SET latin1, gb varbinary(3), twice int AS (i3 * 2) STORED,
  thrice int AS (i3 * 3) VIRTUAL);
CREATE PROCEDURE churn(steps int, lane int)
BEGIN
  DECLARE step int DEFAULT 0;
  DECLARE dice double;
  -- A row that is there already, and rows that another caller wants.
  DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END;
  START TRANSACTION;
  WHILE step < steps DO
    SET step = step + 1, dice = rand(), @step = step, @at = floor(rand() * 130) * 3 + lane,
      @to = floor(rand() * 130) * 3 + lane;
    SET @note = REPEAT(MD5(RAND()), 1 + @at MOD 9), @text = REPLACE(CASE
      WHEN dice < 0.35 THEN 'INSERT INTO % (id, v, note) VALUES (@at, @step, @note)
        ON DUPLICATE KEY UPDATE v = @step'
      WHEN dice < 0.4 THEN 'REPLACE INTO % (id, v, note) VALUES (@at, @step, @note)'
      WHEN dice < 0.6 THEN 'UPDATE % SET v = coalesce(v, 0) + 1 WHERE id = @at'
      WHEN dice < 0.7 THEN 'UPDATE % SET v = v + 1 WHERE id IN (@at, @at + 3, @at + 6)'
      WHEN dice < 0.8 THEN 'UPDATE % SET id = @to WHERE id = @at'
      ELSE 'DELETE FROM % WHERE id = @at' END,
      '%', ELT(1 + FLOOR(RAND() * 3), 'orders', 'items', 'drafts'));
    PREPARE statement FROM @text;
    EXECUTE statement;
  END WHILE;
  IF rand() < 0.2 THEN ROLLBACK; ELSE COMMIT; END IF;
END";
/// Rows that exist before any change.
const MANY: &str = "INSERT INTO orders WITH d AS (SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION
  SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION
  SELECT 9) SELECT 1000 + a.n + 10 * b.n + 100 * c.n + 1000 * e.n, 0, 'n'
  FROM d a, d b, d c, d e WHERE e.n < 6";

/// A row with values of all types, and its body after the key.
const KINDS: &str = "true, 18446744073709551615, -9223372036854775808, 16777215, -8388608, -1.10, \
  0.5, 0.0001, 0.1, -1e300, 'x  ', 'Grüße €', 'bäd', 'a,c', 'ab', 0x00ff00, 0x00ff, \
  <JSON>, '9999-12-31', '0000-00-00', '-100:59:58.50', '-00:00:00.000001', \
  '2026-01-31 12:00:00.5', '2026-01-31 12:00:00', '1999-12-31 23:59:59.000001', \
  '0000-00-00 00:00:00', 1999, 0, b'1000000001', POINT(1, 2), 'bäd', 0x00ff";
const BODY: &str = concat!(
    r#""b":1,"u8":18446744073709551615,"i8":-9223372036854775808,"u3":16777215,"i3":-8388608,"#,
    r#""d":"-1.1000000000","e":"0.50","z":"0.0001","r":0.1,"f":-1e+300,"c":"x","l":"Grüße €","#,
    r#""m":"bäd","s":"a,c","bi":"YWIAAA==","vb":"AP8A","y":"AP8=","j":<JSON>,"#,
    r#""da":"9999-12-31","zd":"0000-00-00","ti":"-100:59:58.500000","t6":"-00:00:00.000001","#,
    r#""ts":"2026-01-31T12:00:00.500000Z","t0":"2026-01-31T12:00:00Z","#,
    r#""dt":"1999-12-31T23:59:59.000001","zt":"0000-00-00T00:00:00","yr":1999,"y0":0,"bt":513,"#,
    r#""g":"AAAAAAEBAAAAAAAAAAAA8D8AAAAAAAAAQA==","gl":"bäd","gb":"AP8=","#,
    r#""twice":-16777216,"thrice":-25165824}"#
);

fn kinds(kind: &Kind, server: &MariaDb, id: u32) {
    let values = KINDS.replace("<JSON>", kind.json[0]);
    let columns = "id, b, u8, i8, u3, i3, d, e, z, r, f, c, l, m, s, bi, vb, y, j, da, zd, ti, t6, \
                   ts, t0, dt, zt, yr, y0, bt, g, gl, gb";
    let sql = format!(
        "SET NAMES utf8mb4; SET sql_mode = ''; SET time_zone = '+00:00'; \
         INSERT INTO kinds ({columns}) VALUES ({id}, {values})"
    );
    server.ask(DATABASE, &sql);
}

fn make(kind: &Kind, server: &MariaDb) {
    server.ask("mysql", &format!("CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4"));
    let (tables, procedure) = SCHEMA.split_once("CREATE PROCEDURE").expect("a procedure");
    server.ask(DATABASE, &format!("SET NAMES utf8mb4; {tables}"));
    server.ask(DATABASE, &format!("DELIMITER $$\nCREATE PROCEDURE{procedure}$$"));
    kinds(kind, server, 1);
    server.ask(DATABASE, "CALL churn(500, 0); CALL churn(500, 1); CALL churn(500, 2)");
    server.ask(DATABASE, MANY);
}

pub(crate) fn collector(dir: &Path, server: &MariaDb, settings: &str) -> Agent {
    let database = format!(
        "url = \"mysql://{}/{DATABASE}\"\nuser = \"{USER}\"\npassword = \"{PASSWORD}\"",
        server.address
    );
    super::collector::collector_of(dir, &database, settings)
}

/// Waits until this many events are stored since the collector's start.
fn wait_for_events(collector: &Agent, count: f64) {
    wait::until("changes to be stored", LIMIT, || {
        let events = collector.metrics()?.sum("aqueduct_sql_changes_events_total")?;
        (events >= count).then_some(())
    });
}

pub(crate) fn wait_until_said(collector: &Agent, from: usize, expected: &str) {
    wait::until(&format!("`{expected}`"), LIMIT, || {
        let said = collector.output().split_off(from);
        said.replace("\\\"", "\"").contains(expected).then_some(())
    });
}

/// Waits until the store has a row whose body contains this.
pub(crate) fn wait_until_stored(dir: &Path, what: &str) {
    let what = what.replace('"', "\\\"");
    wait::until("the last row in the store", LIMIT, || {
        stored::files(&dir.join("store")).concat().iter().any(|it| it.contains(&what)).then_some(())
    });
}

/// Kills and starts the collector, and the server, while three callers change the tables.
fn lives(kind: &Kind, collector: &mut Agent, server: &RwLock<MariaDb>, dir: &Path) {
    let attempt = |sql: &str| {
        server.read().expect("no thread has failed").attempt(DATABASE, sql);
    };
    let (ends, mut rng) = (AtomicBool::new(false), seed::rng("binlog"));
    let ask = |sql: &str| server.read().expect("no thread has failed").ask(DATABASE, sql);
    thread::scope(|scope| {
        for (lane, steps) in [3, 20, 400].into_iter().enumerate() {
            let ends = &ends;
            scope.spawn(move || {
                let sql = format!("CALL churn({steps}, {lane}); INSERT INTO noise VALUES ({lane})");
                while !ends.load(Ordering::Relaxed) {
                    server.read().expect("no thread has failed").attempt(DATABASE, &sql);
                    thread::sleep(Duration::from_millis(30));
                }
            });
        }
        collector.start();
        wait_for_events(collector, 1.0);
        collector.kill();
        for life in 1..=5 {
            collector.start();
            if life == 1 {
                wait_until_said(collector, 0, "reading changes");
            }
            wait_for_events(collector, rng.random_range(1.0..300.0));
            match life {
                1 => drop(ask("FLUSH BINARY LOGS; TRUNCATE drafts")),
                2 => {
                    // The columns are known in this run before they change.
                    ask(kind.halfway);
                    ask("INSERT INTO orders VALUES (9002, 0, 'n')");
                    wait_until_stored(dir, "\"id\":9002");
                    attempt("ALTER TABLE orders ADD more text; UPDATE orders SET more = 'y'");
                    wait_until_said(collector, 0, "columns [`more`], removed columns []");
                }
                3 => {
                    let mut server = server.write().expect("no thread has failed");
                    server.kill();
                    server.revive();
                }
                4 => {
                    let mut server = server.write().expect("no thread has failed");
                    server.stop();
                    server.revive();
                    drop(server);
                    wait_for_events(collector, 400.0);
                }
                _ => {
                    ask("INSERT INTO orders VALUES (9005, 0, 'n', null)");
                    wait_until_stored(dir, "\"id\":9005");
                    attempt(
                        "ALTER TABLE orders RENAME COLUMN more TO extra; \
                               UPDATE orders SET extra = 'z' WHERE id % 10 = 0; \
                               /* all */ TRUNCATE TABLE `shop`.`drafts`",
                    );
                    wait_until_said(collector, 0, "columns [`extra`], removed columns [`more`]");
                }
            }
            collector.kill();
        }
        collector.start();
        wait_for_events(collector, 200.0);
        ends.store(true, Ordering::Relaxed);
    });
}

/// Returns the rows rebuilt from the events; compares each event with the row before it.
fn rebuilt(events: &[Event], table: &str) -> BTreeMap<i64, Value> {
    let mut rows = BTreeMap::new();
    let key = |body: &Value| body["id"].as_i64().expect("a key");
    let hold = |row: Option<Value>, old: &Value, event: &Event| {
        let row = row.unwrap_or_else(|| panic!("no row to change: {event:?}"));
        // Columns may have been added or renamed since.
        let old = old.as_object().expect("an object");
        for (name, value) in row.as_object().expect("an object") {
            let same = old.get(name).is_none_or(|old| old == value);
            assert!(same, "a change is missing in front of {event:?}: {row}");
        }
    };
    for event in events.iter().filter(|event| event.header("table") == table) {
        let id = key(match event.header("operation") {
            "truncate" => {
                rows.clear();
                continue;
            }
            _ => &event.body,
        });
        match event.header("operation") {
            "delete" => hold(rows.remove(&id), &event.body, event),
            "update" => {
                let old: Value = serde_json::from_str(event.header("old")).expect("an old row");
                hold(rows.remove(&key(&old)), &old, event);
                rows.insert(id, event.body.clone());
            }
            _ => {
                let before = rows.insert(id, event.body.clone());
                assert!(before.is_none(), "a row that is there comes again: {event:?}");
            }
        }
    }
    rows
}

/// Compares the tables rebuilt from the events with the real ones.
fn hold_tables(server: &MariaDb, events: &[Event]) {
    for table in TABLES {
        let extra = if table == "orders" { "extra" } else { "null" };
        let sql = format!("SELECT JSON_ARRAY(id, v, note, {extra}) FROM {table} ORDER BY id");
        let rows = server.ask(DATABASE, &sql);
        let rows: Vec<Value> =
            rows.lines().map(|row| serde_json::from_str(row).expect("JSON")).collect();
        let made = rebuilt(events, table);
        let of = |row: &Value| {
            let extra = row.get("extra").or(row.get("more")).cloned().unwrap_or_default();
            Value::from(vec![row["id"].clone(), row["v"].clone(), row["note"].clone(), extra])
        };
        let made: Vec<Value> = made.values().map(of).collect();
        let odd = rows.iter().zip(&made).find(|(row, made)| row != made);
        assert_eq!(odd, None, "{table}");
        assert_eq!(made.len(), rows.len(), "{table}");
    }
}

/// Each change is stored once and in order, with kills of agent and database.
pub(crate) fn changes_are_stored_once_and_in_order(kind: &Kind) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let began = Instant::now();
    let server = (kind.start)(dir, &OPTIONS);
    make(kind, &server);
    for (setting, value, usual) in kind.settings {
        server.ask("mysql", &format!("SET GLOBAL {setting} = {value}"));
        let mut collector = collector(dir, &server, USUAL);
        collector.start();
        wait_until_said(&collector, 0, &format!("run `SET GLOBAL {setting} = {usual}`"));
        collector.kill();
        server.ask("mysql", &format!("SET GLOBAL {setting} = {usual}"));
    }
    let mut collector = collector(dir, &server, USUAL);
    let server = RwLock::new(server);
    lives(kind, &mut collector, &server, dir);
    let server = server.into_inner().expect("no thread has failed");
    kinds(kind, &server, 2);
    server.ask(DATABASE, "INSERT INTO orders VALUES (999999, 0, 'n', null)");
    wait_until_stored(dir, LAST);
    wait::until("rows of the source `sql`", LIMIT, || {
        (stored::files(&dir.join("kinds")).concat().len() == 2).then_some(())
    });
    wait::until("the lag in the metrics", LIMIT, || {
        let lag = collector.metrics()?.sum("aqueduct_sql_changes_slot_lag_bytes")?;
        (lag == 0.0).then_some(())
    });
    collector.stop(LIMIT);
    let events = stored::in_order(&dir.join("store"));
    hold_tables(&server, &events);
    hold_kinds(kind, dir, &events);
    let of = |operation: &str| {
        events.iter().filter(|event| event.header("operation") == operation).count()
    };
    let operations = ["snapshot", "insert", "update", "delete", "truncate"].map(|it| (it, of(it)));
    assert!(operations.iter().all(|(_, times)| *times > 0), "{operations:?}");
    // The server deletes log data that is not stored.
    server.ask(DATABASE, "DELETE FROM orders WHERE id % 2 = 0");
    wait::until("the log to be thrown away", LIMIT, || {
        // A file is kept until the server has noticed that its reader is gone.
        server.ask(DATABASE, "FLUSH BINARY LOGS");
        let last = server.ask(DATABASE, kind.end_of_log);
        let last = last.split('\t').next().expect("a file");
        server.ask(DATABASE, &format!("PURGE BINARY LOGS TO '{last}'"));
        (server.ask(DATABASE, "SHOW BINARY LOGS").lines().count() == 1).then_some(())
    });
    let from = collector.output().len();
    collector.start();
    wait_until_said(&collector, from, "are lost: the log of");
    collector.kill();
    let again = format!("{USUAL}\non_lost = \"snapshot\"");
    let mut collector = self::collector(dir, &server, &again);
    let from = collector.output().len();
    collector.start();
    wait_until_said(&collector, from, "reading changes");
    server.ask(DATABASE, "INSERT INTO orders VALUES (888888, 0, 'n', null)");
    wait_until_stored(dir, "\"id\":888888");
    collector.stop(LIMIT);
    hold_tables(&server, &stored::in_order(&dir.join("store")));
    eprintln!("{operations:?}; {:?}", began.elapsed());
}

/// Compares values of each type: from a snapshot, from a change, and from the source `sql`.
fn hold_kinds(kind: &Kind, dir: &Path, events: &[Event]) {
    let kinds: Vec<_> = events.iter().filter(|event| event.header("table") == "kinds").collect();
    let [.., first, second] = kinds[..] else { panic!("{kinds:?}") };
    assert_eq!((first.header("operation"), second.header("operation")), ("snapshot", "insert"));
    let body = BODY.replace("<JSON>", kind.json[1]);
    assert_eq!(first.text, format!("{{\"id\":1,{body}"));
    assert_eq!(second.text, format!("{{\"id\":2,{body}"));
    assert_eq!(second.header("key"), "2");
    let mut rows = stored::files(&dir.join("kinds")).concat();
    rows.sort();
    assert_eq!(rows, [&*first.text, &*second.text]);
}
