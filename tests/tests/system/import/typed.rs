//! Typed values: to Avro and Parquet and back by an export, and `--checksum`, which finds
//! differences.

use std::fs;
use std::path::Path;
use std::time::Instant;

use aqueduct_tests::process::Process;
use aqueduct_tests::wait;

use super::export::{call as export, count, is_as_orders};
use super::{LIMIT, Server, call, ended, visible};

/// Rows of the table of all types.
const ROWS: usize = 2_000;

/// Changes a value of a file: the call reports the difference, and success after it is restored.
pub(super) fn a_byte_that_differs_is_found(
    directory: &Path,
    call: impl Fn() -> (Option<i32>, String),
) {
    let file = visible(directory).into_iter().next().expect("a file");
    let text = fs::read_to_string(&file).expect("a file of text");
    // The row number, in the digits after the point: of the same length.
    let place = text.find(".125").expect("a value");
    let line = text[..place].rfind('\n').map_or(0, |end| end + 1);
    let id = text[line..].split(',').next().expect("a key");
    fs::write(&file, text.replacen(".125", ".126", 1)).expect("the test's own file");
    let (code, said) = call();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("id = {id}: different value of `n`")), "{said}");
    fs::write(&file, &text).expect("the test's own file");
}

/// Parquet rows become table rows once, while the export is killed.
pub(super) fn rows_of_columns_are_rows_once(dir: &Path, server: &Server) {
    server.ask("CREATE TABLE of_columns (id bigint, part int, n decimal(20, 3), v varchar(99))");
    let url = format!("file://{}", dir.join("columns").display());
    let arguments = ["--table", "of_columns", "--export-dir", &url];
    let (connection, rows, began) =
        (server.connection(dir), count(server, "orders"), Instant::now());
    // Killed within the file: as soon as some of its rows are there.
    let command = export(dir, &connection, &arguments);
    let mut process = Process::start("aqueduct export", command, &dir.join("columns.out"));
    wait::until("rows of Parquet", LIMIT, || {
        (count(server, "of_columns") > 0 || !process.is_alive()).then_some(())
    });
    let is_cut = process.is_alive();
    drop(process);
    let (code, said) = ended(export(dir, &connection, &arguments));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(count(server, "of_columns"), rows, "rows, each once");
    is_as_orders(server, "of_columns");
    eprintln!("rows of Parquet: cut short {is_cut}, {:?}", began.elapsed());
}

/// A table of all types is unchanged after an import and an export.
pub(super) fn types_survive_the_way_there_and_back(dir: &Path, server: &Server) {
    let (time, bytes, series, at, raw) = match server {
        Server::Postgres(_) => (
            "timestamptz",
            "bytea",
            format!("generate_series(1, {ROWS}) AS i"),
            "timestamptz '2026-01-31 12:00:00.25Z' + i * interval '1 day'",
            "decode('00ff5c', 'hex')",
        ),
        Server::Mariadb(_) => (
            "timestamp(6) NULL",
            "varbinary(9)",
            format!("(SELECT seq AS i FROM seq_1_to_{ROWS}) AS s"),
            "date_add('2026-01-31 12:00:00.25', INTERVAL i HOUR)",
            "X'00FF5C'",
        ),
    };
    let columns = format!(
        "flag boolean, few int, n decimal(20, 3), many decimal(30, 2), f real, d double precision, \
         day date, at {time}, v varchar(99), raw {bytes}"
    );
    server.ask(&format!("CREATE TABLE types (id bigint PRIMARY KEY, {columns})"));
    server.ask(&format!(
        "INSERT INTO types SELECT i, CASE WHEN i % 2 = 0 THEN true END, -i, i / 8.0, \
         1234567890123456789012345678.91 - i, i * 0.25, i * 1e10 + 0.5, date '2026-01-31', {at}, \
         CASE i % 3 WHEN 0 THEN '' WHEN 1 THEN concat('say \"', i, '\", null') END, {raw} \
         FROM {series}"
    ));
    server.ask("INSERT INTO types (id) VALUES (0)");
    let (connection, began) = (server.connection(dir), Instant::now());
    for (form, more) in [("avrodatafile", &["--compress"][..]), ("parquetfile", &[])] {
        let url = format!("file://{}", dir.join(form).display());
        let form_option = format!("--as-{form}");
        let usual = ["--table", "types", "-m", "2", "--target-dir", &url, "--checksum"];
        let arguments = [&usual[..], &[&form_option], more].concat();
        let (code, said) = ended(call(dir, &connection, &arguments));
        assert!(code == Some(0) && said.contains("the same; 2,001 rows"), "{form}: {said}");
        let table = format!("back_{form}");
        server.ask(&format!("CREATE TABLE {table} (id bigint, {columns})"));
        let (code, said) =
            ended(export(dir, &connection, &["--table", &table, "--export-dir", &url]));
        assert_eq!(code, Some(0), "{form}: {said}");
        for (left, right) in [("types", &*table), (&*table, "types")] {
            let differing = format!("(SELECT * FROM {left} EXCEPT SELECT * FROM {right}) AS d");
            assert_eq!(count(server, &differing), 0, "{form}: rows of {left} alone");
        }
        assert_eq!(count(server, &table), ROWS + 1, "{form}");
    }
    // Rows inserted after the last row are not part of the import; changed rows before it are.
    server.ask(&format!("INSERT INTO types (id) VALUES ({})", ROWS + 1));
    let url = format!("file://{}", dir.join("avrodatafile").display());
    let usual = ["--table", "types", "-m", "2", "--target-dir", &url, "--checksum"];
    let arguments = [&usual[..], &["--as-avrodatafile"]].concat();
    server.ask("UPDATE types SET d = d + 1, v = 'other' WHERE id = 7");
    let (code, said) = ended(call(dir, &connection, &arguments));
    assert!(code == Some(1) && said.contains("id = 7: different value of `d`, `v`"), "{said}");
    assert!(said.contains("the table has 2,001 rows"), "{said}");
    server.ask("DELETE FROM types WHERE id = 7");
    let (code, said) = ended(call(dir, &connection, &arguments));
    assert!(code == Some(1) && said.contains("id = 7: the row is only in the files"), "{said}");
    assert!(said.contains("the table has 2,000 rows"), "{said}");
    eprintln!("types there and back: {:?}", began.elapsed());
}
