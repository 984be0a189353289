//! Values at the limits of the types: a table goes to text, Avro and Parquet and back into a table
//! with the same definition, and no value changes. A value that a format cannot represent is
//! rejected at the start, by the name of its column.

use std::path::Path;

use aqueduct_tests::mariadb::MariaDb;
use aqueduct_tests::postgres::Postgres;

use super::export::call as export;
use super::kinds;
use super::{Server, call, ended};

const FORMS: [&str; 3] = ["--as-textfile", "--as-avrodatafile", "--as-parquetfile"];

/// The table. Each of its values was once changed or rejected.
const POSTGRES: &str = "
CREATE TYPE pair AS (a int, b text, c bytea);
CREATE TABLE limits (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, u uuid, a int[], aa text[],
  p pair, ps pair[], j jsonb, js jsonb[], b varbit, x xml, f double precision, r real,
  tz timestamptz, ts timestamp, d date, t time, twice bigint GENERATED ALWAYS AS (id * 2) STORED,
  v varchar(9));
INSERT INTO limits OVERRIDING SYSTEM VALUE VALUES
 (0, '1f0c4c3e-0000-4000-8000-0000000000ff', '{{1,NULL},{3,4}}', '{\"a,b\",NULL,\"q\\\"\\\\\"}',
  ROW(1, 'say \"x\", y', '\\x00ff'),
  ARRAY[ROW(1, 'x', NULL)::pair, NULL, ROW(NULL, '', '\\x')::pair],
  '{\"a\": [1.10, null]}', ARRAY['[1, 2]', '\"s\"', NULL]::jsonb[], '101', '<a>1</a>', 0.1, 0.1,
  '2026-01-31 12:00:00.25Z', '2026-01-31 12:00:00.25', '2026-01-31', '01:00:00.5', DEFAULT, 'v'),
 (1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  DEFAULT,
  NULL),
 (2, NULL, '{}', '{}', ROW(NULL, NULL, NULL), '{}', 'null', '{}', '', '', 'NaN', '-Infinity',
  'infinity', 'infinity', '-infinity', '24:00:00', DEFAULT, ''),
 (3, NULL, NULL, NULL, NULL, NULL, '\"null\"', NULL, NULL, NULL, 'Infinity', 'NaN',
  '9999-12-31 23:59:59.999999Z', '294276-12-31 23:59:59.999999', '5874897-12-31', '23:59:59.999999',
  DEFAULT, 'null'),
 (4, NULL, NULL, NULL, NULL, NULL, '\"5\"', NULL, NULL, NULL, -0.0, 1e-45,
  '4713-01-02 00:00:00Z BC',
  '4713-01-02 00:00:00 BC', '0044-03-15 BC', '00:00:00', DEFAULT, ''),
 (5, NULL, NULL, NULL, NULL, NULL, '5', NULL, NULL, NULL, NULL, NULL, '-infinity', '-infinity',
  'infinity', NULL, DEFAULT, NULL),
 (6, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '290000-06-01 12:30:15.5Z',
  NULL, '10000-01-01', NULL, DEFAULT, NULL)";

const MARIADB: &str = "
SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO';
CREATE TABLE limits (id int AUTO_INCREMENT PRIMARY KEY, k int, bits bit(64), bit1 bit(1),
  bit20 bit(20), twice int AS (k * 2) STORED, g geometry, gt varchar(9), ts timestamp(6) NULL,
  d date, dt datetime(6), ti time(6), hidden int INVISIBLE DEFAULT 5, thrice int AS (k * 3),
  f double, n bigint unsigned, v varchar(9));
INSERT INTO limits (id, k, bits, bit1, bit20, g, gt, ts, d, dt, ti, f, n, v) VALUES
 (0, 3, b'1', b'1', b'11111111111111111111', POINT(1, 2), 'a', '2026-01-31 12:00:00.25',
  '2026-01-31', '2026-01-31 12:00:00.25', '01:00:00.5', 0.1, 18446744073709551615, 'v'),
 (7, 4, 0xffffffffffffffff, b'0', b'0', ST_GeomFromText('LINESTRING(0 0,1 1)', 4326), '', NULL,
  '9999-12-31', '9999-12-31 23:59:59.999999', '-838:59:59', -1e300, 0, ''),
 (8, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '0000-00-00', '0000-00-00 00:00:00', '00:02:03',
  NULL, NULL, NULL)";

/// Imports a table in each of these forms and exports it into another one, which must be the same.
fn there_and_back(
    dir: &Path,
    server: &Server,
    [table, back]: [&str; 2],
    forms: &[&str],
    rows: &dyn Fn(&str) -> String,
) {
    for form in forms {
        in_form(dir, server, [table, back], form, rows);
    }
}

fn in_form(
    dir: &Path,
    server: &Server,
    [table, back]: [&str; 2],
    form: &str,
    rows: &dyn Fn(&str) -> String,
) {
    let connection = server.connection(dir);
    let url = format!("file://{}", dir.join(format!("{table}{form}")).display());
    let arguments = ["--table", table, "--target-dir", &url, form, "--checksum"];
    let (code, said) = ended(call(dir, &connection, &arguments));
    assert!(code == Some(0) && said.contains("the same"), "{form}: {said}");
    let is_left_out = said.contains("leaving out") && said.contains("twice");
    assert_eq!(is_left_out, table == "limits", "{form}: {said}");
    server.ask(&format!("DELETE FROM {back}"));
    let name = dir.join(format!("data-{table}{form}")).display().to_string();
    let arguments = ["--table", back, "--export-dir", &url, "--data-dir", &name];
    let (code, said) = ended(export(dir, &connection, &arguments));
    assert_eq!(code, Some(0), "{form}: {said}");
    let (expected, found) = (rows(table), rows(back));
    let odd = expected.lines().zip(found.lines()).find(|(expected, found)| expected != found);
    assert_eq!(odd, None, "{form}");
    assert_eq!(expected, found, "{form}");
}

/// Lines keep their columns: after a change of the source's table, and in a table with another
/// order of columns.
fn lines_are_matched_by_name(dir: &Path, server: &Server) {
    let connection = server.connection(dir);
    server.ask("CREATE TABLE few (id int PRIMARY KEY, a int, b int)");
    server.ask("INSERT INTO few VALUES (1, 2, 3)");
    let url = format!("file://{}", dir.join("few").display());
    let increment = ["--incremental", "append", "--check-column", "id"];
    let arguments = [&["--table", "few", "--target-dir", &url][..], &increment].concat();
    let (code, said) = ended(call(dir, &connection, &arguments));
    assert_eq!(code, Some(0), "{said}");
    server.ask("ALTER TABLE few ADD c int");
    server.ask("INSERT INTO few VALUES (4, 5, 6, 7)");
    let (code, said) = ended(call(dir, &connection, &arguments));
    assert!(code == Some(0) && said.contains("earlier files do not have: `c`"), "{said}");
    server.ask("CREATE TABLE other_order (b int, c int, a int, id int)");
    let (code, said) =
        ended(export(dir, &connection, &["--table", "other_order", "--export-dir", &url]));
    assert_eq!(code, Some(0), "{said}");
    let found = server.ask("SELECT concat(id, ',', a, ',', b) FROM other_order ORDER BY id");
    assert_eq!(found.trim(), "1,2,3\n4,5,6");
    server.ask("CREATE TABLE other_name (id int, a int, other int)");
    let (code, said) =
        ended(export(dir, &connection, &["--table", "other_name", "--export-dir", &url]));
    assert!(code == Some(1) && said.contains("the column `b`"), "{said}");
}

#[test]
#[ignore = "needs the programs and PostgreSQL: tests/run"]
fn no_value_of_postgresql_changes_there_and_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Postgres::start(folder.path());
    server.ask("postgres", "CREATE DATABASE shop");
    let server = Server::Postgres(server);
    server.ask(POSTGRES);
    server.ask("CREATE TABLE back (LIKE limits INCLUDING ALL)");
    let rows = |table: &str| {
        server.ask(&format!("SET TimeZone = 'UTC'; SELECT r FROM {table} AS r ORDER BY id"))
    };
    there_and_back(folder.path(), &server, ["limits", "back"], &FORMS, &rows);
    server.ask(kinds::POSTGRES);
    server.ask("CREATE TABLE kinds_back (LIKE kinds)");
    there_and_back(folder.path(), &server, ["kinds", "kinds_back"], &FORMS, &rows);
    lines_are_matched_by_name(folder.path(), &server);
}

#[test]
#[ignore = "needs the programs and MariaDB: tests/run"]
fn no_value_of_mariadb_changes_there_and_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = MariaDb::start(folder.path());
    server.ask("mysql", "CREATE DATABASE shop");
    let server = Server::Mariadb(server);
    server.ask(MARIADB);
    server.ask("CREATE TABLE back LIKE limits");
    let rows = |table: &str| {
        server.ask(&format!(
            "SELECT id, k, hex(bits), hex(bit1), hex(bit20), twice, hex(g), gt, ts, d, dt, ti, \
             hidden, thrice, f, n, v FROM {table} ORDER BY id"
        ))
    };
    there_and_back(folder.path(), &server, ["limits", "back"], &FORMS, &rows);
    server.ask(kinds::MARIADB);
    server.ask("CREATE TABLE kinds_back LIKE kinds");
    let in_hex = |table: &str| kinds::in_hex(&server, table);
    there_and_back(folder.path(), &server, ["kinds", "kinds_back"], &FORMS, &in_hex);
    lines_are_matched_by_name(folder.path(), &server);
    server.ask("SET sql_mode = ''; UPDATE limits SET ts = 0 WHERE id = 7");
    let connection = server.connection(folder.path());
    for form in &FORMS[1..] {
        let url = format!("file://{}", folder.path().join("zeros").display());
        let arguments = ["--table", "limits", "--target-dir", &url, form];
        let (code, said) = ended(call(folder.path(), &connection, &arguments));
        assert!(code == Some(1) && said.contains("the column `ts`"), "{form}: {said}");
        assert!(said.contains("--as-textfile"), "{form}: {said}");
    }
    let dir = folder.path().join("again");
    std::fs::create_dir(&dir).expect("the test's own folder");
    there_and_back(&dir, &server, ["limits", "back"], &FORMS[..1], &rows);
}
