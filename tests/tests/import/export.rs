//! `aqueduct export`: what was imported comes back as it was, and lines of Sqoop's form are rows
//! once, while the command and the database are killed.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::program;
use aqueduct_tests::letters::letters;
use aqueduct_tests::process::Process;
use aqueduct_tests::wait;

use super::{LIMIT, ROWS, Server, ended};

/// Lines of each file, and files.
const LINES: usize = 20_000;
const FILES: usize = 5;
/// Rows that have to be added to the table in each life that is cut short.
const STEP: usize = 15_000;

/// `aqueduct export` with these arguments behind those of the connection.
fn call(dir: &Path, connection: &[String], arguments: &[&str]) -> Command {
    let mut command = program("aqueduct");
    command.arg("export").args(connection).args(arguments);
    command.env("HOME", dir).env_remove("HADOOP_CONF_DIR");
    command
}

fn count(server: &Server, table: &str) -> usize {
    server.ask(&format!("SELECT count(*) FROM {table}")).trim().parse().expect("a number")
}

/// A table that was imported into `whole`, in another table, by an export that is called twice.
pub(super) fn rows_come_back(dir: &Path, server: &Server) {
    server.ask("CREATE TABLE back (id bigint, part int, n decimal(20, 3), v varchar(99))");
    let (connection, url) =
        (server.connection(dir), format!("file://{}", dir.join("whole").display()));
    let arguments = ["--table", "back", "--export-dir", &url];
    let (code, said) = ended(call(dir, &connection, &arguments));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("quoted as RFC 4180") && said.contains("complete"), "{said}");
    let (code, said) = ended(call(dir, &connection, &arguments));
    assert!(code == Some(0) && said.contains("nothing more to read"), "{code:?}: {said}");
    assert_eq!(count(server, "back"), ROWS);
    let of = |table: &str| {
        format!("SELECT id, part, n, coalesce(v, '~') AS v FROM {table} WHERE id <= {ROWS}")
    };
    for (left, right) in [("orders", "back"), ("back", "orders")] {
        let differing = format!("({} EXCEPT {}) AS d", of(left), of(right));
        assert_eq!(count(server, &differing), 0, "rows of {left} that {right} has not");
    }
    // Without its directory the ledger still knows the call.
    fs::rename(dir.join(".aqueduct/export"), dir.join("export-away")).expect("it is there");
    let (code, said) = ended(call(dir, &connection, &arguments));
    assert!(code == Some(1) && said.contains("--data-dir of its own"), "{code:?}: {said}");
    fs::rename(dir.join("export-away"), dir.join(".aqueduct/export")).expect("it is there");
    assert_eq!(count(server, "back"), ROWS);
}

/// The files of an export, and the lines in them that are no rows.
fn files(directory: &Path) -> Vec<String> {
    let mut bad = Vec::new();
    for file in 0..FILES {
        let mut text = String::new();
        for number in file * LINES..(file + 1) * LINES {
            let v = match number % 4 {
                0 => "\\N".to_owned(),
                1 => format!("tab\\\tand back\\\\slash {number}"),
                2 => String::new(),
                _ => format!("\"{number}"),
            };
            writeln!(text, "{number}\t{v}\t").expect("a string takes it");
            let wrong = match number % LINES {
                777 => format!("{number}\tlacks one"),
                1_777 => format!("no number {number}\tv\t"),
                _ => continue,
            };
            writeln!(text, "{wrong}").expect("a string takes it");
            bad.push(wrong);
        }
        let path = directory.join(format!("day={file}/part-m-00000"));
        fs::create_dir_all(path.parent().expect("a directory")).expect("the test's own folder");
        fs::write(&path, text).expect("a file is written");
        if file % 2 == 1 {
            let zipped = Command::new("gzip").arg(&path).status().expect("gzip starts");
            assert!(zipped.success());
        }
    }
    fs::write(directory.join("_SUCCESS"), "").expect("a file is written");
    bad
}

/// Lines as Sqoop writes them, through kills of the command and one of the database.
pub(super) fn each_line_is_a_row_once(dir: &Path, server: &mut Server) {
    server.ask("CREATE TABLE marks (id bigint, v varchar(99), n int)");
    let directory = dir.join("lines");
    let bad = files(&directory);
    let url = format!("file://{}", directory.display());
    let data_dir = dir.join("lines-data").display().to_string();
    let arguments = [
        "--table",
        "marks",
        "--export-dir",
        &url,
        "--data-dir",
        &data_dir,
        "--input-fields-terminated-by",
        "\\t",
        "--input-escaped-by",
        "\\\\",
        "--input-null-string",
        "\\\\N",
        "-m",
        "4",
    ];
    let (mut lives, began) = (0, Instant::now());
    let connection = server.connection(dir);
    loop {
        lives += 1;
        let command = call(dir, &connection, &arguments);
        let mut process = Process::start("aqueduct export", command, &dir.join("export.out"));
        // Kills keep pace with the rows, however fast they come.
        let wanted = lives * STEP;
        let is_cut = wanted < LINES * FILES;
        let reached = wait::until("more rows", LIMIT, || match process.is_alive() {
            true if is_cut => (count(server, "marks") >= wanted).then_some(true),
            true => None,
            false => Some(false),
        });
        if reached && lives == 2 {
            server.crash();
            wait::until("rows behind a crash of the database", LIMIT, || {
                (count(server, "marks") > wanted || !process.is_alive()).then_some(())
            });
        }
        if reached && process.is_alive() {
            process.kill();
            continue;
        }
        let status = process.wait(LIMIT);
        assert_eq!(status.code(), Some(1), "{}", process.output());
        let said = process.output();
        let rows = bad.len();
        assert!(said.contains(&format!("{rows} rows are not applied")), "{said}");
        break;
    }
    assert!(lives > 1, "no life was cut short");
    assert_eq!(count(server, "marks"), LINES * FILES, "rows, each once");
    let distinct = "(SELECT DISTINCT id FROM marks) AS d";
    assert_eq!(count(server, distinct), LINES * FILES, "lines that are rows");
    let right = "marks WHERE n IS NULL AND CASE id % 4 WHEN 0 THEN v IS NULL WHEN 2 THEN v = '' \
                 WHEN 3 THEN v = concat('\"', id) ELSE length(v) = 19 + length(concat(id)) END";
    assert_eq!(count(server, right), LINES * FILES, "rows of the right values");
    let found: BTreeSet<String> =
        letters(Path::new(&data_dir), &["refused", "unwritable_event"]).into_iter().collect();
    // One has the reason as it was read; the other one is the object that the database refused.
    assert_eq!(found.len(), bad.len(), "{found:?}");
    for line in &bad {
        let begin = line.split('\t').next().expect("a value");
        assert!(found.iter().any(|letter| letter.contains(begin)), "{line}: {found:?}");
    }
    let elapsed: Duration = began.elapsed();
    eprintln!("export: {} lines, {lives} lives, {elapsed:?}", LINES * FILES);
}
