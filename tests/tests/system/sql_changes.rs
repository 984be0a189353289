//! Goal: every change of a table is in the store exactly once and in order, with the earlier rows,
//! while agent and database are killed; and problems of the database are reported.
//!
//! Method: a real PostgreSQL with three tables that change at random: in small transactions and in
//! ones of many batches, with changes of keys, long values, rollbacks and truncations. Triggers in
//! the database record each change. A collector reads the changes into a store of files; it is
//! killed (-9) in the middle of the snapshot and then repeatedly, the database is restarted and
//! killed, and a column is added and dropped. Finally the events are compared with the record,
//! transaction by transaction, and the tables rebuilt from events with the real ones.
//!
//! Lane: connector
//! Needs: postgres psql mariadbd mariadb-install-db mariadb
//! Weight: 0
//! Limit: 10m
//! Paths: crates/components-sql

use std::path::Path;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::mariadb::MariaDb;
use aqueduct_tests::postgres::{self, Postgres};
use aqueduct_tests::{seed, wait};
use rand::prelude::*;

pub(crate) mod binlog;
pub(crate) mod collector;
mod shop;
pub(crate) mod stored;

use collector::{DATABASE, LIMIT, collector_of};

/// Runs of the collector while changes arrive.
const LIVES: usize = 6;
/// Maximum calls of each procedure during a run of the collector, so that a slow machine has no
/// more to read.
const CALLS: usize = 12;
/// Starts a server that sends changes.
fn server(dir: &Path) -> Postgres {
    let mut server = Postgres::start(dir);
    server.ask("postgres", "ALTER SYSTEM SET wal_level = 'logical'");
    server.stop();
    server.revive();
    server
}

/// A user without the right to replicate.
const PLAIN: &str = "plain";

/// Returns a collector with a source of changes and additional `settings`.
fn collector(dir: &Path, server: &Postgres, user: &str, settings: &str) -> Agent {
    let url = format!("postgres://{}/{DATABASE}", server.address);
    collector_of(dir, &format!("url = \"{url}\"\nuser = \"{user}\""), settings)
}

const USUAL: &str = "tables = [\"orders\", \"items\", \"drafts\", \"kinds\"]\ncreate = true\n\
                     heartbeat = \"500ms\"\nbatch_bytes = \"4KiB\"";

/// Waits until the database has received confirmations for all of its writes.
fn wait_until_read(server: &Postgres) {
    let until = server.ask(DATABASE, "SELECT pg_current_wal_lsn()");
    let ask = format!(
        "SELECT coalesce(bool_and(confirmed_flush_lsn >= '{until}'), false) \
         FROM pg_replication_slots"
    );
    wait::until("the changes to be stored", 3 * LIMIT, || {
        (server.ask(DATABASE, &ask) == "t").then_some(())
    });
}

/// Kills and restarts the collector, stops and kills the database, and changes the tables
/// meanwhile. Returns a transaction from which on every one must be an event.
fn lives(collector: &mut Agent, server: &RwLock<Postgres>) -> u64 {
    let (ends, mut rng) = (AtomicBool::new(false), seed::rng("sql_changes"));
    let calls_max = AtomicUsize::new(CALLS);
    let ask = |sql: &str| server.read().expect("no thread has failed").ask(DATABASE, sql);
    let mut from = 0;
    thread::scope(|scope| {
        for (lane, steps) in [3, 20, 1500].into_iter().enumerate() {
            let (ask, ends, calls_max) = (&ask, &ends, &calls_max);
            scope.spawn(move || {
                let mut calls = 0;
                while !ends.load(Ordering::Relaxed) {
                    if calls < calls_max.load(Ordering::Relaxed) {
                        ask(&format!("CALL churn({steps}, {lane})"));
                        ask("INSERT INTO noise SELECT generate_series(1, 50)");
                        calls += 1;
                    }
                    thread::sleep(Duration::from_millis(100));
                }
            });
        }
        collector.start();
        wait::until("the first rows", LIMIT, || {
            let metrics = collector.metrics()?;
            metrics.sum("aqueduct_sql_changes_events_total").filter(|events| *events > 0.0)
        });
        for life in 1..=LIVES {
            collector.kill();
            collector.start();
            calls_max.fetch_add(CALLS, Ordering::Relaxed);
            match life {
                1 => {
                    collector.until_logged("reading changes", LIMIT);
                    from = ask("SELECT txid_current()").parse().expect("a number");
                }
                2 => drop(ask("ALTER TABLE orders ADD more text; UPDATE orders SET more = 'y'")),
                3 => drop(ask("ALTER TABLE drafts ADD spare int; UPDATE drafts SET spare = v")),
                4 => {
                    let mut server = server.write().expect("no thread has failed");
                    server.stop();
                    server.revive();
                }
                5 => {
                    let mut server = server.write().expect("no thread has failed");
                    server.kill();
                    server.revive();
                }
                _ => drop(ask("ALTER TABLE drafts DROP spare")),
            }
            thread::sleep(Duration::from_millis(rng.random_range(300..2500)));
        }
        ends.store(true, Ordering::Relaxed);
    });
    from
}

#[test]
#[ignore = "needs the programs and PostgreSQL: tests/run"]
fn changes_of_postgresql_are_stored_once_in_order_through_kills() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let began = Instant::now();
    let server = server(dir);
    shop::make(&server);
    let mut collector = collector(dir, &server, postgres::USER, USUAL);
    let server = RwLock::new(server);
    let from = lives(&mut collector, &server);
    let server = server.into_inner().expect("no thread has failed");
    wait_until_read(&server);
    let said = collector.output();
    collector.stop(LIMIT);
    let (book, store) = (shop::book(&server), dir.join("store"));
    let events = stored::in_order(&store);
    let there = shop::made_book(&events);
    for (xid, changes) in &there {
        assert_eq!(Some(changes), book.get(xid), "the transaction {xid}");
    }
    let missing = book.keys().filter(|xid| **xid >= from && !there.contains_key(*xid)).count();
    assert_eq!(missing, 0, "transactions are missing");
    for table in ["orders", "items", "drafts"] {
        let mut rebuilt = shop::rebuilt(&events, table);
        for row in rebuilt.values_mut() {
            row.as_object_mut().expect("an object").remove("spare");
        }
        let rows = shop::rows(&server, table);
        let odd = rows.iter().find(|(id, row)| rebuilt.get(id) != Some(row));
        assert_eq!(odd.map(|(id, row)| (row, rebuilt.get(id))), None, "{table}");
        assert_eq!(rebuilt.len(), rows.len(), "{table}");
    }
    assert!(said.contains("columns [`more`], removed columns []"), "{said}");
    assert!(said.contains("columns [], removed columns [`spare`]"), "{said}");
    let of = |operation: &str| {
        events.iter().filter(|event| event.header("operation") == operation).count()
    };
    let operations = ["snapshot", "insert", "update", "delete", "truncate"].map(|it| (it, of(it)));
    assert!(operations.iter().all(|(_, times)| *times > 0), "{operations:?}");
    let largest = there.values().map(Vec::len).max();
    eprintln!(
        "{operations:?} in {} transactions, the largest of {largest:?}; {:?}",
        there.len(),
        began.elapsed()
    );
}

/// Starts the collector with these settings, and waits until it has logged this.
fn said(dir: &Path, server: &Postgres, user: &str, settings: &str, expected: &str) -> Agent {
    let mut collector = collector(dir, server, user, settings);
    let before = collector.output().len();
    collector.start();
    wait::until(&format!("`{expected}`"), LIMIT, || {
        let said = collector.output().split_off(before);
        said.replace("\\\"", "\"").contains(expected).then_some(())
    });
    collector
}

/// Same, and kills it.
fn says(dir: &Path, server: &Postgres, user: &str, settings: &str, expected: &str) {
    said(dir, server, user, settings, expected).kill();
}

#[test]
#[ignore = "needs the programs and PostgreSQL: tests/run"]
fn database_problems_name_the_remedy_and_lost_changes_are_recovered() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let mut server = Postgres::start(dir);
    shop::make(&server);
    server.ask(DATABASE, "CREATE TABLE bare (id int)");
    server.ask(DATABASE, &format!("CREATE ROLE {PLAIN} LOGIN"));
    server.ask(DATABASE, "CREATE PUBLICATION p FOR TABLE orders");
    let user = postgres::USER;
    says(dir, &server, user, USUAL, "ALTER SYSTEM SET wal_level = 'logical'");
    server.ask("postgres", "ALTER SYSTEM SET wal_level = 'logical'");
    server.stop();
    server.revive();
    let of = |tables: &str| format!("tables = [\"{tables}\"]\ncreate = true");
    says(dir, &server, user, "", "has no publication `aqueduct_changes`");
    says(dir, &server, user, &of("bare"), "REPLICA IDENTITY FULL");
    says(dir, &server, user, &of("none"), "has no table");
    says(dir, &server, user, "publication = \"p\"", "has no slot `aqueduct_changes`");
    let less = format!("publication = \"p\"\n{}", of("items"));
    says(dir, &server, user, &less, "ADD TABLE \"public\".\"items\"");
    says(dir, &server, PLAIN, "publication = \"p\"", "ALTER ROLE \"plain\" REPLICATION");
    says(dir, &server, user, USUAL, "reading changes");
    // Only another table changes: the slot advances anyway.
    let mut collector = collector(dir, &server, user, USUAL);
    collector.start();
    server.ask(DATABASE, "INSERT INTO noise SELECT generate_series(1, 100000)");
    wait_until_read(&server);
    wait::until("the lag in the metrics", LIMIT, || {
        let lag = collector.metrics()?.sum("aqueduct_sql_changes_slot_lag_bytes")?;
        (lag < 100_000.0).then_some(())
    });
    collector.kill();
    // The database deletes what the slot should retain.
    server.ask("postgres", "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'");
    server.ask("postgres", "SELECT pg_reload_conf()");
    for _ in 0..4 {
        server.ask(DATABASE, "INSERT INTO noise SELECT generate_series(1, 300000)");
        server.ask(DATABASE, "SELECT pg_switch_wal(); CHECKPOINT");
    }
    server.ask(DATABASE, "DELETE FROM orders WHERE id % 2 = 0");
    says(dir, &server, user, USUAL, "max_slot_wal_keep_size");
    server.ask("postgres", "ALTER SYSTEM RESET max_slot_wal_keep_size");
    server.ask("postgres", "SELECT pg_reload_conf()");
    let again = format!("{USUAL}\non_lost = \"snapshot\"");
    says(dir, &server, user, &again, "reading changes");
    let drop =
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active";
    wait::until("the slot to be dropped", LIMIT, || {
        server.ask(DATABASE, drop);
        (server.ask(DATABASE, "SELECT count(*) FROM pg_replication_slots") == "0").then_some(())
    });
    server.ask(DATABASE, "DELETE FROM orders WHERE id % 3 = 0");
    says(dir, &server, user, USUAL, "no longer exists; set `on_lost");
    let mut collector = said(dir, &server, user, &again, "reading changes");
    // A row with all types, once from a snapshot, once as a change, and once from the source `sql`.
    server.ask(DATABASE, shop::SECOND_KINDS);
    wait_until_read(&server);
    wait::until("the rows of the source `sql`", LIMIT, || {
        (stored::files(&dir.join("kinds")).concat().len() == 2).then_some(())
    });
    collector.stop(LIMIT);
    let events = stored::in_order(&dir.join("store"));
    assert_eq!(shop::rebuilt(&events, "orders"), shop::rows(&server, "orders"));
    let mut rows = stored::files(&dir.join("kinds")).concat();
    rows.sort();
    hold_kinds(&events, &rows);
}

/// Waits until the server is waiting for the end of this transaction.
fn wait_until_waited_for(server: &Postgres, transaction: &str) {
    let ask = format!(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid' AND \
         transactionid = '{transaction}'"
    );
    wait::until("the server to wait", LIMIT, || (server.ask(DATABASE, &ask) == "1").then_some(()));
}

/// The slot is created while one transaction is open that empties a table in a subtransaction, and
/// another transaction, older than that part, continues for longer, with a change by a third one:
/// the server would use the table's earlier version, and read none of its changes.
#[test]
#[ignore = "needs the programs and PostgreSQL: tests/run"]
fn a_table_that_is_emptied_while_the_slot_is_made_has_its_changes_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let server = server(dir);
    shop::make(&server);
    let mut collector = collector(dir, &server, postgres::USER, USUAL);
    let (mut first, mut second) = (server.session(DATABASE), server.session(DATABASE));
    let transaction = first.run("BEGIN");
    collector.start();
    wait_until_waited_for(&server, &transaction);
    let transaction = second.run("BEGIN");
    first.run("SAVEPOINT part; TRUNCATE drafts; RELEASE part; COMMIT");
    wait_until_waited_for(&server, &transaction);
    server.ask(DATABASE, "UPDATE orders SET v = v + 1");
    second.run("COMMIT");
    collector.until_logged("reading changes", LIMIT);
    server.ask(DATABASE, "INSERT INTO drafts VALUES (5, 6, 'seven')");
    wait_until_read(&server);
    let said = collector.output();
    assert!(said.contains("drafts was altered or truncated while the slot"), "{said}");
    collector.stop(LIMIT);
    let events = stored::in_order(&dir.join("store"));
    let found = shop::rebuilt(&events, "drafts");
    assert_eq!(found.get(&5).map(|row| &row["note"]), Some(&"seven".into()), "{found:?}");
}

/// The replacement of a table is not published. The source must not wait forever for its changes:
/// it fails with a hint, and reads the new table afterwards.
#[test]
#[ignore = "needs the programs and PostgreSQL: tests/run"]
fn a_replaced_table_is_an_error_until_it_is_published_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let server = server(dir);
    shop::make(&server);
    server.ask(DATABASE, "CREATE PUBLICATION p FOR TABLE orders, drafts");
    let drop = "DROP TABLE drafts; CREATE TABLE drafts (id int PRIMARY KEY, v int, note text)";
    let swap = "CREATE TABLE other (LIKE orders INCLUDING ALL); BEGIN; \
                ALTER TABLE orders RENAME TO earlier; ALTER TABLE other RENAME TO orders; COMMIT";
    let again = "on_lost = \"snapshot\"\nheartbeat = \"500ms\"\npublication = \"p\"\n\
                 create = true";
    // With `tables` and without them: then the source knows only the tables that it has seen.
    let listed = format!("tables = [\"orders\", \"drafts\"]\n{again}");
    let mut collector = said(dir, &server, postgres::USER, &listed, "reading changes");
    server.ask(DATABASE, drop);
    collector.until_logged("`p` of", LIMIT);
    collector.until_logged("lacks the table \\\"public\\\".\\\"drafts\\\"", LIMIT);
    collector.kill();
    server.ask(DATABASE, "ALTER PUBLICATION p ADD TABLE drafts");
    let mut collector = self::collector(dir, &server, postgres::USER, again);
    let before = collector.output().len();
    collector.start();
    wait::until("the tables to be seen", LIMIT, || {
        let lag = collector.metrics()?.sum("aqueduct_sql_changes_slot_lag_bytes");
        lag.filter(|bytes| *bytes > 0.0)
    });
    thread::sleep(Duration::from_secs(2));
    server.ask(DATABASE, swap);
    wait::until("the error, again after the source was opened again", LIMIT, || {
        let said = collector.output().split_off(before).replace("\\\"", "\"");
        let missing = "lacks the table \"public\".\"orders\"";
        let restarts = collector.metrics()?.sum("aqueduct_source_restarts_total")?;
        (said.contains(missing) && restarts > 1.0).then_some(())
    });
    server.ask(DATABASE, "ALTER PUBLICATION p ADD TABLE orders");
    server.ask(DATABASE, "INSERT INTO orders VALUES (99999, 1, 'new')");
    wait_until_read(&server);
    collector.stop(LIMIT);
    let events = stored::in_order(&dir.join("store"));
    let new = |event: &&stored::Event| event.header("operation") == "insert";
    let bodies: Vec<_> = events.iter().filter(new).map(|event| &event.body["id"]).collect();
    assert_eq!(bodies, [99999], "of the table that took the name");
}

/// Compares values of each type: from a snapshot, from a change, and from the source `sql`.
fn hold_kinds(events: &[stored::Event], rows: &[String]) {
    let kinds: Vec<_> = events.iter().filter(|event| event.header("table") == "kinds").collect();
    let [.., first, second] = kinds[..] else { panic!("{kinds:?}") };
    assert_eq!((first.header("operation"), second.header("operation")), ("snapshot", "insert"));
    assert_eq!([&*first.text, &*second.text], shop::KINDS);
    // The source `sql` reads the generated column, too.
    for (row, body) in rows.iter().zip(shop::KINDS) {
        assert!(row.starts_with(&body[..body.len() - 1]), "{row}");
    }
}

#[test]
#[ignore = "needs the programs and MariaDB: tests/run"]
fn changes_of_mariadb_are_stored_once_in_order_through_kills() {
    binlog::changes_are_stored_once_and_in_order(&binlog::Kind {
        start: MariaDb::start_with,
        end_of_log: "SHOW MASTER STATUS",
        settings: &[
            ("binlog_row_metadata", "MINIMAL", "FULL"),
            ("binlog_row_image", "MINIMAL", "FULL"),
            ("binlog_format", "MIXED", "ROW"),
        ],
        halfway: "DO 0",
        json: [r#"'{"k": [1, null]}'"#, r#""{\"k\": [1, null]}""#],
    });
}
