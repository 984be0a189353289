//! Goal: `aqueduct import` stores each row of a table once, whatever kills it, and reports success
//! by its exit code; Sqoop calls are translated into working configurations.
//!
//! Method: a real PostgreSQL and a real MariaDB, each with a table whose values would break CSV
//! lines, and with rows without a value in the split column. The import is killed (-9) at random
//! moments and called again until it exits by itself; then store and table are compared. A second
//! import reads new rows, call after call. Imported rows are exported into another table, and so
//! are files in Sqoop's format, while export and database are killed; then SequenceFiles, from
//! Sqoop and from this program. Values of all types go to Avro and Parquet and back. Each import is
//! compared with its table by `--checksum`, which must find changes on either side. Finally a
//! script of Sqoop calls becomes a configuration, which a collector runs.
//!
//! Lane: connector
//! Needs: postgres psql mariadbd mariadb-install-db mariadb gzip cp
//! Weight: 0
//! Limit: 15m
//! Paths: crates/components-sql crates/components-parquet crates/sqoop crates/aqueduct

mod avro;
mod export;
mod kinds;
mod odd;
mod sequence;
mod speed;
mod typed;
mod values;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, program};
use aqueduct_tests::mariadb::{self, MariaDb};
use aqueduct_tests::postgres::{self, Postgres};
use aqueduct_tests::process::Process;
use aqueduct_tests::store;
use aqueduct_tests::{is_long, seed, wait};
use rand::prelude::*;

/// Rows of the table that is read completely.
const ROWS: usize = 30_000;
/// Timeout of a call that is not killed.
const LIMIT: Duration = Duration::from_secs(60);

/// A database of the test.
enum Server {
    Postgres(Postgres),
    Mariadb(MariaDb),
}

impl Server {
    fn ask(&self, sql: &str) -> String {
        match self {
            Self::Postgres(it) => it.ask("shop", sql),
            Self::Mariadb(it) => it.ask("shop", sql),
        }
    }

    /// Cuts all connections, and restarts.
    fn crash(&mut self) {
        match self {
            Self::Postgres(it) => {
                it.kill();
                it.revive();
            }
            Self::Mariadb(it) => {
                it.stop();
                it.revive();
            }
        }
    }

    /// Returns Sqoop's connection options; the password is in a file of the folder.
    fn connection(&self, dir: &Path) -> Vec<String> {
        let (url, user) = match self {
            Self::Postgres(it) => {
                (format!("jdbc:postgresql://{}/shop?ApplicationName=x", it.address), postgres::USER)
            }
            Self::Mariadb(it) => (format!("jdbc:mysql://{}/shop", it.address), mariadb::USER),
        };
        let file = dir.join("password");
        fs::write(&file, mariadb::PASSWORD).expect("a file is written");
        let file = file.display().to_string();
        let words = ["--connect", &url, "--username", user, "--password-file", &file];
        words.map(str::to_owned).to_vec()
    }

    /// Inserts rows; a tenth has no split value, most have the same one.
    fn insert(&self, from: usize, rows: usize) {
        let (series, last) = (from + 1, from + rows);
        let series = match self {
            Self::Postgres(_) => format!("generate_series({series}, {last}) AS i"),
            Self::Mariadb(_) => format!("(SELECT seq AS i FROM seq_{series}_to_{last}) AS s"),
        };
        self.ask(&format!(
            "INSERT INTO orders SELECT i, CASE WHEN i % 10 = 0 THEN NULL WHEN i % 4 = 1 THEN i \
             ELSE 7 END, i + 0.125, CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN concat('a,', i) \
             WHEN 2 THEN '' WHEN 3 THEN 'null' ELSE concat('say \"', i, '\"') END FROM {series}"
        ));
    }

    /// Returns the expected lines, with this delimiter and this text for NULL.
    fn lines(&self, delimiter: char, null: &str) -> BTreeMap<String, usize> {
        let text = self.ask(
            "SELECT concat(id, '|', CASE WHEN part IS NULL THEN '~' ELSE concat(part) END, '|', n, \
             '|', coalesce(v, '~')) FROM orders",
        );
        let quoted = |value: &str| match value {
            "~" => null.to_owned(),
            _ if value.contains([delimiter, '"']) || value == null => {
                format!("\"{}\"", value.replace('"', "\"\""))
            }
            _ => value.to_owned(),
        };
        let line = |line: &str| {
            let values: Vec<String> = line.split('|').map(quoted).collect();
            values.join(&delimiter.to_string())
        };
        store::counted(text.lines().map(line))
    }
}

/// Returns the key of a row, which comes first.
fn id(line: &str, delimiter: char) -> usize {
    let id = line.split(delimiter).next().and_then(|id| id.parse().ok());
    id.expect("a row begins with its key")
}

/// Formats a number like the commands.
fn grouped(number: usize) -> String {
    format!("{},{:03}", number / 1000, number % 1000)
}

/// Returns the visible files of an import.
fn visible(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| !path.ends_with("_aqueduct")).collect()
}

/// Counts how often each line is stored.
fn stored(directory: &Path) -> BTreeMap<String, usize> {
    store::lines(directory)
}

/// Returns `aqueduct import` with these arguments after those of the connection.
fn call(dir: &Path, connection: &[String], arguments: &[&str]) -> Command {
    let mut command = program("aqueduct");
    command.arg("import").args(connection).args(arguments);
    command.env("HOME", dir).env_remove("HADOOP_CONF_DIR");
    command
}

/// Runs a command to its end. Returns the exit code and the output.
fn ended(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().expect("the program starts");
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// Imports a whole table, killed at random moments.
fn a_whole_table(dir: &Path, server: &Server) {
    let connection = server.connection(dir);
    let target = dir.join("whole");
    let url = format!("file://{}", target.display());
    let arguments = [
        "--table",
        "orders",
        "--split-by",
        "part",
        "-m",
        "3",
        "--fetch-size",
        "500",
        "--target-dir",
        &url,
        "--validate",
        "--checksum",
        "--fields-terminated-by",
        ",",
    ];
    let (mut rng, mut lives, began) = (seed::rng("import"), 0, Instant::now());
    loop {
        lives += 1;
        let command = call(dir, &connection, &arguments);
        let mut process = Process::start("aqueduct import", command, &dir.join("import.out"));
        // The first lives are short: a whole import takes about a second.
        let until = Instant::now() + Duration::from_millis(rng.random_range(50..100 + 100 * lives));
        while process.is_alive() && Instant::now() < until && lives < 12 {
            std::thread::sleep(Duration::from_millis(5));
        }
        if process.is_alive() && lives < 12 {
            process.kill();
            continue;
        }
        let status = process.wait(LIMIT);
        assert!(status.success(), "{status}: {}", process.output());
        break;
    }
    assert!(lives > 2, "no life was cut short");
    let (wanted, there) = (server.lines(',', "null"), stored(&target));
    let repeated = there.values().filter(|times| **times > 1).count();
    let lost = wanted.keys().filter(|line| !there.contains_key(*line)).count();
    assert_eq!((repeated, lost), (0, 0), "rows that are repeated, and lost");
    assert!(wanted == there, "of another form: {:?}", there.iter().next());
    // It is complete: nothing is read again, and no other import into the directory is allowed.
    let (code, said) = ended(call(dir, &connection, &arguments));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("nothing more to read") && said.contains("validated"), "{said}");
    assert!(said.contains(&format!("the same; {} rows", grouped(ROWS))), "{said}");
    typed::a_byte_that_differs_is_found(&target, || ended(call(dir, &connection, &arguments)));
    assert!(stored(&target) == there, "rows came again");
    let others = ["--table", "orders", "--where", "id < 10", "--target-dir", &url];
    let (code, said) = ended(call(dir, &connection, &others));
    assert!(code == Some(1) && said.contains("--append"), "{code:?}: {said}");
    eprintln!("whole table: {} rows, {lives} lives, {:?}", there.len(), began.elapsed());
}

/// Imports new rows, call by call.
fn new_rows(dir: &Path, server: &Server) {
    let connection = server.connection(dir);
    let target = dir.join("new");
    let url = format!("file://{}", target.display());
    let mut rows = ROWS;
    for round in 0..3 {
        let (code, said) = ended(call(
            dir,
            &connection,
            &[
                "--table",
                "orders",
                "--incremental",
                "append",
                "--check-column",
                "id",
                "--last-value",
                "1000",
                "--checksum",
                "--target-dir",
                &url,
                "--fields-terminated-by",
                "\\t",
                "--null-string",
                "\\\\N",
                "--null-non-string",
                "\\\\N",
            ],
        ));
        assert_eq!(code, Some(0), "{said}");
        let mut wanted = server.lines('\t', "\\N");
        wanted.retain(|line, _| id(line, '\t') > 1000);
        assert!(
            stored(&target) == wanted,
            "round {round}: {} rows of {rows}",
            stored(&target).len()
        );
        server.insert(rows, 500);
        rows += 500;
    }
}

/// Imports columnar files, with the types of the table.
fn files_of_columns(dir: &Path, server: &Server) {
    let target = dir.join("columns");
    let url = format!("file://{}", target.display());
    let arguments =
        ["--table", "orders", "--as-parquetfile", "--validate", "--checksum", "--target-dir", &url];
    let (code, said) = ended(call(dir, &server.connection(dir), &arguments));
    assert!(code == Some(0) && said.contains("validated") && said.contains("the same"), "{said}");
    let files = visible(&target);
    assert!(!files.is_empty(), "{said}");
    for file in files {
        assert!(fs::read(&file).expect("a file").starts_with(b"PAR1"), "{}", file.display());
    }
}

/// Converts a script of Sqoop calls to a configuration that a collector runs.
fn a_script_is_converted_and_runs(dir: &Path, server: &Server) {
    let words: Vec<String> =
        server.connection(dir).iter().map(|word| format!("'{word}'")).collect();
    let target = dir.join("converted");
    let script = format!(
        "#!/bin/sh\nset -e\n/opt/sqoop/bin/sqoop import {} \\\n  --table orders --incremental \
         append --check-column id --last-value 29000 -m 1 \\\n  --target-dir 'file://{}'\n",
        words.join(" "),
        target.display()
    );
    let file = dir.join("nightly.sh");
    fs::write(&file, script).expect("a file is written");
    let mut convert = program("aqueduct");
    let data = dir.join("agent").display().to_string();
    convert.args(["convert", "sqoop", "--data-dir", &data]).arg(&file);
    let output = convert.output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let text = text.replace("idle_max = \"1m\"", "idle_max = \"1s\"");
    let mut collector = Agent::configured("aqueduct-collector", dir, "collector", &text);
    collector.start();
    let mut wanted = server.lines(',', "null");
    wanted.retain(|line, _| id(line, ',') > 29_000);
    wait::until("the rows of the configuration", LIMIT, || {
        (stored(&target) == wanted).then_some(())
    });
    collector.stop(LIMIT);
}

/// An impossible import fails with its reason, and changes nothing.
fn an_impossible_import_fails_with_its_reason(dir: &Path, server: &Server) {
    let connection = server.connection(dir);
    let url = format!("file://{}", dir.join("not").display());
    for (arguments, code, expected) in [
        (&["--table", "nope"][..], 1, "check the name and schema of the table"),
        (&["--table", "nope", "--key", "id"], 1, "nope"),
        (&["--table", "keyless"], 1, "--key"),
        (&["--table", "orders", "--hbase-table", "x"], 2, "does not write to HBase"),
    ] {
        let arguments = [arguments, &["--target-dir", &url]].concat();
        let (found, said) = ended(call(dir, &connection, &arguments));
        assert_eq!(found, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    let dry = ["--table", "orders", "--target-dir", &url, "--dry-run"];
    let (code, said) = ended(call(dir, &connection, &dry));
    assert!(code == Some(0) && said.contains("key = [\"id\"]"), "{said}");
    assert!(!said.contains(mariadb::PASSWORD), "{said}");
    assert!(!dir.join("not").exists(), "something was stored");
}

fn each_row_is_imported_once(dir: &Path, server: &mut Server) {
    server.ask(
        "CREATE TABLE orders (id bigint PRIMARY KEY, part int, n decimal(20, 3), v varchar(99))",
    );
    server.ask("CREATE TABLE keyless (a int)");
    server.insert(0, ROWS);
    an_impossible_import_fails_with_its_reason(dir, server);
    a_whole_table(dir, server);
    export::rows_come_back(dir, server);
    export::staged_rows_are_moved_once(dir, server);
    export::each_line_is_a_row_once(dir, server);
    avro::rows_of_avro_are_rows_of_a_table(dir, server);
    sequence::files_are_rows(dir, server);
    new_rows(dir, server);
    files_of_columns(dir, server);
    typed::rows_of_columns_are_rows_once(dir, server);
    typed::types_survive_the_way_there_and_back(dir, server);
    a_script_is_converted_and_runs(dir, server);
}

#[test]
#[ignore = "needs the programs and PostgreSQL: tests/run"]
fn a_table_of_postgresql_is_imported_once_whatever_kills_the_import() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Postgres::start(folder.path());
    server.ask("postgres", "CREATE DATABASE shop");
    each_row_is_imported_once(folder.path(), &mut Server::Postgres(server));
}

#[test]
#[ignore = "needs the programs and MariaDB: tests/run"]
fn a_table_of_mariadb_is_imported_once_whatever_kills_the_import() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = MariaDb::start(folder.path());
    server.ask("mysql", "CREATE DATABASE shop");
    each_row_is_imported_once(folder.path(), &mut Server::Mariadb(server));
}

/// Prints the rows per second of both.
#[test]
#[ignore = "needs the programs and PostgreSQL: tests/run --long"]
fn an_export_fills_a_table_as_copy_by_hand_does() {
    if !is_long() {
        return eprintln!("measured by tests/run --long");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Postgres::start(folder.path());
    server.ask("postgres", "CREATE DATABASE shop");
    speed::of_an_export(folder.path(), &server);
}
