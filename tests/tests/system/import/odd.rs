//! Tables with odd names and rows from the future; and calls that cannot succeed, which fail
//! immediately with the reason.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use aqueduct_tests::mariadb::MariaDb;
use aqueduct_tests::postgres::Postgres;

use super::{Server, call, ended, export, stored};

/// An impossible call must fail long before the five minutes allowed for an outage.
const AT_ONCE: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs the programs and PostgreSQL: tests/run"]
fn odd_tables_of_postgresql_are_imported_and_hopeless_calls_fail_fast() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Postgres::start(folder.path());
    server.ask("postgres", "CREATE DATABASE shop");
    let server = Server::Postgres(server);
    any_name_is_imported(folder.path(), &server, '"');
    rows_from_the_future_wait(folder.path(), &server, ["timestamptz", "timestamp", "date"]);
    a_cut_file_ends_an_export(folder.path(), &server);
    let generated = "CREATE TABLE generated (id int, v int GENERATED ALWAYS AS (id) STORED)";
    values_that_fit_no_row_end_an_export(folder.path(), &server, generated);
}

#[test]
#[ignore = "needs the programs and MariaDB: tests/run"]
fn odd_tables_of_mariadb_are_imported_and_hopeless_calls_fail_fast() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = MariaDb::start(folder.path());
    server.ask("mysql", "CREATE DATABASE shop");
    let server = Server::Mariadb(server);
    any_name_is_imported(folder.path(), &server, '`');
    rows_from_the_future_wait(folder.path(), &server, ["timestamp(6)", "datetime(6)", "date"]);
    a_cut_file_ends_an_export(folder.path(), &server);
}

fn any_name_is_imported(dir: &Path, server: &Server, quote: char) {
    let connection = server.connection(dir);
    let long = "x".repeat(60);
    for name in ["_prisma_migrations", "Überweisung", "2026 orders", &long] {
        let table = format!("{quote}{name}{quote}");
        server.ask(&format!("CREATE TABLE {table} (id int PRIMARY KEY)"));
        server.ask(&format!("INSERT INTO {table} VALUES (1), (2)"));
        let target = dir.join("names").join(name);
        let url = format!("file://{}", target.display()).replace(' ', "_");
        let arguments = ["--table", name, "--target-dir", &url];
        let (code, said) = ended(call(dir, &connection, &arguments));
        assert_eq!(code, Some(0), "{name}: {said}");
        let target = dir.join("names").join(name.replace(' ', "_"));
        assert_eq!(stored(&target).len(), 2, "{name}: {said}");
    }
}

/// A row from the future does not hide rows that are changed before its time.
fn rows_from_the_future_wait(dir: &Path, server: &Server, types: [&str; 3]) {
    let connection = server.connection(dir);
    for (number, of) in types.into_iter().enumerate() {
        let table = format!("future_{number}");
        server.ask(&format!("CREATE TABLE {table} (id int PRIMARY KEY, at {of})"));
        let later = match (server, of) {
            (Server::Postgres(_), "timestamptz") => "'infinity'",
            (Server::Mariadb(_), "timestamp(6)") => "'2037-01-01 00:00:00'",
            _ => "'2099-01-01'",
        };
        server.ask(&format!("INSERT INTO {table} VALUES (1, CURRENT_TIMESTAMP), (2, {later})"));
        let target = dir.join(&table);
        let url = format!("file://{}", target.display());
        let arguments = [
            "--table",
            &table,
            "--incremental",
            "lastmodified",
            "--check-column",
            "at",
            "--append",
            "--target-dir",
            &url,
        ];
        let (code, said) = ended(call(dir, &connection, &arguments));
        assert_eq!(code, Some(0), "{of}: {said}");
        assert!(said.contains("after the clock of the database"), "{of}: {said}");
        server.ask(&format!("INSERT INTO {table} VALUES (3, CURRENT_TIMESTAMP)"));
        let (code, said) = ended(call(dir, &connection, &arguments));
        assert_eq!(code, Some(0), "{of}: {said}");
        let rows: Vec<String> = stored(&target).into_keys().collect();
        let ids: Vec<&str> = rows.iter().filter_map(|row| row.split(',').next()).collect();
        assert_eq!(ids, ["1", "3"], "{of}: {said}");
    }
}

/// An impossible export, which fails soon with this reason.
fn ends_at_once(dir: &Path, server: &Server, arguments: &[&str], reason: &str) {
    let began = Instant::now();
    let (code, said) = ended(export::call(dir, &server.connection(dir), arguments));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(reason) && began.elapsed() < AT_ONCE, "{:?}: {said}", began.elapsed());
}

fn a_cut_file_ends_an_export(dir: &Path, server: &Server) {
    server.ask("CREATE TABLE cut (id int)");
    let at = dir.join("cut-files");
    fs::create_dir(&at).expect("the test's own folder");
    let text: String = (0..200_000).map(|number| format!("{number}\n")).collect();
    fs::write(at.join("rows"), text).expect("a file is written");
    let zipped = Command::new("gzip").arg(at.join("rows")).status().expect("gzip starts");
    assert!(zipped.success());
    let file = at.join("rows.gz");
    let whole = fs::read(&file).expect("the file");
    fs::write(&file, &whole[..whole.len() / 2]).expect("a file is written");
    let url = format!("file://{}", at.display());
    let arguments = ["--table", "cut", "--export-dir", &url];
    ends_at_once(dir, server, &arguments, "if `decoder` and `compression` match the file");
}

fn values_that_fit_no_row_end_an_export(dir: &Path, server: &Server, table: &str) {
    server.ask(table);
    let at = dir.join("generated-files");
    fs::create_dir(&at).expect("the test's own folder");
    fs::write(at.join("rows"), "1,2\n").expect("a file is written");
    let url = format!("file://{}", at.display());
    let arguments = ["--table", "generated", "--columns", "id,v", "--export-dir", &url];
    ends_at_once(dir, server, &arguments, "generated");
}
