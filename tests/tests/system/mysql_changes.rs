//! Goal: the source of changes reads MySQL like MariaDB.
//!
//! Method: the test of MariaDB (`sql_changes.rs`) with a real MySQL of Debian's unstable suite.
//! From the middle on, its transactions are compressed.
//!
//! Lane: connector
//! Needs: debootstrap dpkg-deb mariadb mysql-server
//! Weight: 0
//! Limit: 10m
//! Paths: crates/components-sql tests/mysql-server

use std::thread;

use aqueduct_tests::mariadb::MariaDb;
use aqueduct_tests::wait;

use super::sql_changes::collector::{DATABASE, LIMIT};
use super::sql_changes::{binlog, stored};

#[test]
#[ignore = "needs the programs and MySQL: tests/run"]
fn changes_of_mysql_are_stored_once_in_order_through_kills() {
    binlog::changes_are_stored_once_and_in_order(&binlog::Kind {
        start: MariaDb::start_mysql,
        end_of_log: "SHOW BINARY LOG STATUS",
        settings: &[
            ("binlog_row_metadata", "MINIMAL", "FULL"),
            ("binlog_row_image", "MINIMAL", "FULL"),
            ("binlog_format", "MIXED", "ROW"),
            ("binlog_row_value_options", "PARTIAL_JSON", "''"),
        ],
        halfway: "SET GLOBAL binlog_transaction_compression = ON",
        json: [
            "JSON_OBJECT('long', CAST('[1e14, 1e15, 0.00001, 1.5e-16, -0.0, 1e300]' AS JSON), \
             'n', 18446744073709551615, 'd', 1.10, 'da', DATE '0001-12-31', \
             't', TIME '-100:59:58.5', 'dt', TIMESTAMP '2026-01-31 12:00:00.25', \
             's', 'ü\"\\\\\\n', 'b', 0x00ff, 'x', CAST('[true, null, {}, []]' AS JSON))",
            concat!(
                r#"{"b":"base64:type15:AP8=","d":1.10,"n":18446744073709551615,"#,
                r#""s":"ü\"\\\n","t":"-100:59:58.500000","x":[true,null,{},[]],"#,
                r#""da":"0001-12-31","dt":"2026-01-31 12:00:00.250000","#,
                r#""long":[100000000000000.0,1e15,0.00001,1.5e-16,-0.0,1e300]}"#
            ),
        ],
    });
}

#[test]
#[ignore = "needs the programs and MySQL: tests/run"]
fn row_logged_before_it_is_in_its_table_is_in_the_snapshot() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let server = MariaDb::start_mysql(dir, &binlog::OPTIONS);
    server.ask("mysql", &format!("CREATE DATABASE {DATABASE}"));
    server.ask(
        DATABASE,
        "CREATE TABLE kinds (id int PRIMARY KEY); CREATE TABLE orders (id int PRIMARY KEY); \
         INSERT INTO orders VALUES (1)",
    );
    // After its write to the log, a commit waits for a replica that does not exist.
    server.ask(
        "mysql",
        "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'; \
         SET GLOBAL rpl_semi_sync_source_timeout = 8000; \
         SET GLOBAL rpl_semi_sync_source_enabled = ON",
    );
    let end = || server.ask(DATABASE, "SHOW BINARY LOG STATUS");
    let before = end();
    let mut collector = binlog::collector(dir, &server, "tables = [\"orders\"]");
    thread::scope(|scope| {
        scope.spawn(|| server.ask(DATABASE, "INSERT INTO orders VALUES (2)"));
        wait::until("the row in the log", LIMIT, || (end() != before).then_some(()));
        collector.start();
        binlog::wait_until_said(&collector, 0, "reading changes");
    });
    server.ask(DATABASE, "INSERT INTO orders VALUES (3)");
    binlog::wait_until_stored(dir, "\"id\":3");
    collector.stop(LIMIT);
    let events = stored::in_order(&dir.join("store"));
    let keys: Vec<&str> = events.iter().map(|event| event.header("key")).collect();
    assert_eq!(keys, ["1", "2", "3"]);
}
