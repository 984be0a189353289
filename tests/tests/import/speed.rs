//! How fast `aqueduct export` fills a table of PostgreSQL, next to `psql \copy` of the same file.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use aqueduct_tests::agent::program;
use aqueduct_tests::postgres::{Postgres, USER};

/// Rows of the file.
const ROWS: usize = 1_000_000;
/// Times that each of both is measured, in turn.
const ROUNDS: usize = 3;

const COLUMNS: &str = "(id bigint, customer varchar(40), price numeric(12, 2), at timestamp, \
                       note text)";

/// A file of columns of five types.
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

/// Measures both, and prints rows a second and their ratio.
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
