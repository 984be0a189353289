//! How fast `aqueduct export` fills a PostgreSQL table, compared with `psql \copy` of the same
//! file; and how fast `aqueduct import` reads one, compared with a `COPY` to a pipe.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use aqueduct_tests::agent::program;
use aqueduct_tests::postgres::{Postgres, USER};
use aqueduct_tests::process::peak_kib;
use aqueduct_tests::{is_long, wait};

/// Rows of the file.
const ROWS: usize = 1_000_000;
/// Rows of the imported table.
const TABLE: usize = 10_000_000;
/// Maximum memory of an import, whatever its table, in KiB.
const MEMORY_MAX: u64 = 256 << 10;
/// Number of measurements of each, in turn.
const ROUNDS: usize = 3;

const COLUMNS: &str = "(id bigint, customer varchar(40), price numeric(12, 2), at timestamp, \
                       note text)";

/// Writes a file with columns of five types.
fn file(path: &Path) -> u64 {
    let mut text = String::new();
    for id in 0..ROWS {
        let (customer, cents, minute) = (id * 7919 % 100_003, id * 31 % 1_000_000, id % 60);
        let (whole, rest) = (cents / 100, cents % 100);
        let note = match id % 3 {
            0 => "",
            1 => "paid on delivery",
            _ => "a parcel of two, the second one later",
        };
        let note = if note.contains(',') { format!("\"{note}\"") } else { note.to_owned() };
        let line = format!("{id},customer-{customer},{whole}.{rest:02}");
        writeln!(text, "{line},2026-11-26 16:{minute:02}:00,{note}").expect("a string takes it");
    }
    fs::write(path, &text).expect("the test's own folder");
    text.len() as u64
}

fn seconds(mut command: Command) -> f64 {
    let began = Instant::now();
    let output = command.output().expect("the program starts");
    let took = began.elapsed().as_secs_f64();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    took
}

/// Measures both, and prints rows per second and their ratio.
pub(super) fn of_an_export(dir: &Path, server: &Postgres) {
    let path = dir.join("speed").join("rows.csv");
    fs::create_dir(dir.join("speed")).expect("the test's own folder");
    let bytes = file(&path);
    let port = server.address.port().to_string();
    let (mut copied, mut exported) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for table in [format!("copied_{round}"), format!("exported_{round}")] {
            server.ask("shop", &format!("CREATE TABLE {table} {COLUMNS}; CHECKPOINT"));
        }
        let mut copy = Command::new("psql");
        copy.args(["-h", "127.0.0.1", "-U", USER, "-p", &port, "-d", "shop", "-Xqc"]);
        copy.arg(format!("\\copy copied_{round} FROM '{}' WITH (FORMAT csv)", path.display()));
        copied.push(ROWS as f64 / seconds(copy));
        let mut export = program("aqueduct");
        let url = format!("jdbc:postgresql://{}/shop", server.address);
        let table = format!("exported_{round}");
        let files = format!("file://{}", path.display());
        export.args(["export", "--connect", &url, "--username", USER, "--table", &table]);
        export.args(["--export-dir", &files, "--input-optionally-enclosed-by", "\""]);
        export.env("HOME", dir).env_remove("HADOOP_CONF_DIR");
        exported.push(ROWS as f64 / seconds(export));
        let differing = format!(
            "SELECT count(*) FROM (SELECT id, customer, price, at, coalesce(note, '') FROM \
             {table} EXCEPT ALL SELECT id, customer, price, at, coalesce(note, '') FROM \
             copied_{round}) AS d"
        );
        assert_eq!(server.ask("shop", &differing), "0", "rows that COPY has not");
        assert_eq!(server.ask("shop", &format!("SELECT count(*) FROM {table}")), ROWS.to_string());
    }
    let median = |rates: &mut Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    let (copied, exported) = (median(&mut copied), median(&mut exported));
    eprintln!(
        "{ROWS} rows, {bytes} bytes: psql \\copy {copied:.0} rows/s, aqueduct export {exported:.0} \
         rows/s, ratio {:.2}",
        exported / copied
    );
}

/// Returns the seconds of a `COPY` of all rows to a pipe.
fn copied(port: &str) -> f64 {
    let mut copy = Command::new("psql");
    copy.args(["-h", "127.0.0.1", "-U", USER, "-p", port, "-d", "shop", "-Xqc"]);
    copy.arg("COPY (SELECT * FROM large) TO STDOUT").stdout(Stdio::piped());
    let began = Instant::now();
    let mut copying = copy.spawn().expect("psql starts");
    let mut rows = copying.stdout.take().expect("a pipe");
    io::copy(&mut rows, &mut io::sink()).expect("psql writes");
    assert!(copying.wait().expect("psql ends").success());
    began.elapsed().as_secs_f64()
}

/// Returns the seconds of an import, and its peak memory in KiB.
fn imported(dir: &Path, server: &Postgres, form: &str, round: usize) -> (f64, u64) {
    let mut import = program("aqueduct");
    let url = format!("jdbc:postgresql://{}/shop", server.address);
    let target = format!("file://{}/{form}-{round}", dir.display());
    import.args(["import", "--connect", &url, "--username", USER, "--table", "large"]);
    import.args(["-m", "2", form, "--target-dir", &target]);
    import.env("HOME", dir).env_remove("HADOOP_CONF_DIR").stdout(Stdio::null());
    let began = Instant::now();
    let mut importing = import.stderr(Stdio::null()).spawn().expect("the program starts");
    let mut most = 0;
    let ended = wait::until("the end of the import", Duration::from_secs(600), || {
        most = most.max(peak_kib(importing.id()).unwrap_or(0));
        importing.try_wait().expect("a child")
    });
    assert!(ended.success(), "{ended}");
    (began.elapsed().as_secs_f64(), most)
}

#[test]
#[ignore = "takes minutes and measures: AQUEDUCT_LONG=1 tests/run"]
fn import_of_ten_million_rows_is_measured_and_keeps_its_memory() {
    if !is_long() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Postgres::start(folder.path());
    server.ask("postgres", "CREATE DATABASE shop");
    server.ask(
        "shop",
        &format!(
            "CREATE TABLE large AS SELECT id::bigint, 'customer-' || id::bigint * 7919 % 100003 \
             AS customer, ((id::bigint * 31 % 1000000) / 100.0)::numeric(12, 2) AS price, \
             timestamp '2026-11-26 16:00' + id % 3600 * interval '1 second' AS at, CASE id % 3 \
             WHEN 0 THEN '' WHEN 1 THEN 'paid on delivery' ELSE 'a parcel of two, the second one \
             later' END AS note FROM generate_series(1, {TABLE}) AS id; \
             ALTER TABLE large ADD PRIMARY KEY (id)"
        ),
    );
    server.ask("shop", "VACUUM ANALYZE large");
    let port = server.address.port().to_string();
    for form in ["--as-parquetfile", "--as-textfile"] {
        for round in 0..ROUNDS {
            let copied = copied(&port);
            let (imported, most) = imported(folder.path(), &server, form, round);
            eprintln!(
                "{TABLE} rows: COPY {copied:.1} s, import {form} {imported:.1} s, ratio {:.2}, \
                 {} MiB",
                copied / imported,
                most >> 10
            );
            assert!(most <= MEMORY_MAX, "{most} KiB");
        }
    }
}
