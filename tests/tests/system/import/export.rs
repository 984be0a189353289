//! `aqueduct export`: imported rows return unchanged, and lines in Sqoop's format become rows once,
//! while the command and the database are killed.

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
/// Rows to add to the table before each kill.
const STEP: usize = 15_000;

/// Returns `aqueduct export` with these arguments after those of the connection.
pub(super) fn call(dir: &Path, connection: &[String], arguments: &[&str]) -> Command {
    let mut command = program("aqueduct");
    command.arg("export").args(connection).args(arguments);
    command.env("HOME", dir).env_remove("HADOOP_CONF_DIR");
    command
}

pub(super) fn count(server: &Server, table: &str) -> usize {
    server.ask(&format!("SELECT count(*) FROM {table}")).trim().parse().expect("a number")
}

/// Exports a table that was imported into `whole` to another table, in two calls.
pub(super) fn rows_come_back(dir: &Path, server: &Server) {
    server.ask("CREATE TABLE back (id bigint, part int, n decimal(20, 3), v varchar(99))");
    let (connection, url) =
        (server.connection(dir), format!("file://{}", dir.join("whole").display()));
    let arguments = ["--table", "back", "--export-dir", &url];
    let (code, said) = ended(call(dir, &connection, &arguments));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("as in RFC 4180") && said.contains("complete"), "{said}");
    let (code, said) = ended(call(dir, &connection, &arguments));
    assert!(code == Some(0) && said.contains("nothing more to read"), "{code:?}: {said}");
    assert_eq!(count(server, "back"), ROWS);
    is_as_orders(server, "back");
    // Without its directory, the ledger still knows the call.
    fs::rename(dir.join(".aqueduct/export"), dir.join("export-away")).expect("it is there");
    let (code, said) = ended(call(dir, &connection, &arguments));
    assert!(code == Some(1) && said.contains("set another --data-dir"), "{code:?}: {said}");
    fs::rename(dir.join("export-away"), dir.join(".aqueduct/export")).expect("it is there");
    assert_eq!(count(server, "back"), ROWS);
}

/// Asserts that the imported table and this one have the same rows.
pub(super) fn is_as_orders(server: &Server, table: &str) {
    let of = |table: &str| {
        format!("SELECT id, part, n, coalesce(v, '~') AS v FROM {table} WHERE id <= {ROWS}")
    };
    for (left, right) in [("orders", table), (table, "orders")] {
        let differing = format!("({} EXCEPT {}) AS d", of(left), of(right));
        assert_eq!(count(server, &differing), 0, "rows of {left} that {right} has not");
    }
}

/// Rows of a staging table become visible together, and each is moved once.
pub(super) fn staged_rows_are_moved_once(dir: &Path, server: &Server) {
    let columns = "part int, n decimal(20, 3), v varchar(99)";
    server.ask(&format!("CREATE TABLE staged (id bigint, {columns})"));
    server.ask(&format!("CREATE TABLE moved (id bigint PRIMARY KEY, {columns})"));
    server.ask("INSERT INTO staged VALUES (1, 1, 1, 'of another')");
    let files = dir.join("staged-files");
    let copied = Command::new("cp").arg("-r").arg(dir.join("whole")).arg(&files).status();
    assert!(copied.expect("cp starts").success());
    let url = format!("file://{}", files.display());
    let arguments = ["--table", "moved", "--export-dir", &url, "--staging-table", "staged"];
    let connection = server.connection(dir);
    let (code, said) = ended(call(dir, &connection, &arguments));
    assert!(code == Some(1) && said.contains("--clear-staging-table"), "{code:?}: {said}");
    assert_eq!(count(server, "staged"), 1, "the row of another");
    // With a row that blocks the last step.
    server.ask("INSERT INTO moved VALUES (7, NULL, NULL, 'in the way')");
    let arguments = [&arguments[..], &["--clear-staging-table"]].concat();
    for wanted in [ROWS / 4, ROWS / 2] {
        let command = call(dir, &connection, &arguments);
        let mut process = Process::start("aqueduct export", command, &dir.join("staged.out"));
        wait::until("staged rows", LIMIT, || {
            (count(server, "staged") >= wanted || !process.is_alive()).then_some(())
        });
        assert_eq!(count(server, "moved"), 1, "no row is visible before all are");
        drop(process);
    }
    let (code, said) = ended(call(dir, &connection, &arguments));
    assert!(code == Some(1) && said.to_lowercase().contains("duplicate"), "{code:?}: {said}");
    assert_eq!((count(server, "staged"), count(server, "moved")), (ROWS, 1));
    server.ask("DELETE FROM moved");
    // Killed as soon as the moved rows are visible: nothing is left to do then.
    let command = call(dir, &connection, &arguments);
    let process = Process::start("aqueduct export", command, &dir.join("staged.out"));
    wait::until("moved rows", LIMIT, || (count(server, "moved") > 0).then_some(()));
    drop(process);
    let (code, said) = ended(call(dir, &connection, &arguments));
    assert!(code == Some(0) && said.contains("export: 0 rows moved"), "{code:?}: {said}");
    assert_eq!((count(server, "staged"), count(server, "moved")), (0, ROWS));
    is_as_orders(server, "moved");
    // A later call moves new rows.
    let write = |name: &str, lines: &str| {
        fs::write(files.join(name), lines).expect("a file is written");
    };
    write("zz1", "1000001,7,0.5,x\n1000002,7,0.5,x\n");
    let (code, said) = ended(call(dir, &connection, &arguments));
    assert!(code == Some(0) && said.contains("export: 2 rows moved"), "{code:?}: {said}");
    assert_eq!((count(server, "staged"), count(server, "moved")), (0, ROWS + 2));
    // All or nothing: with an invalid row nothing is moved.
    write("zz2", "1000003,7,0.5,x\nno number,7,0.5,x\n");
    let (code, said) = ended(call(dir, &connection, &arguments));
    assert!(code == Some(1) && said.contains("nothing was moved from staged"), "{code:?}: {said}");
    assert_eq!((count(server, "staged"), count(server, "moved")), (1, ROWS + 2));
}

/// Writes the files of an export, and returns their invalid lines.
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
                // An object with columns of the table.
                2_777 => format!("{{\"id\":{number},\"v\":\"v\"}}"),
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

/// Format of the lines, and number of writers.
const FORM: [&str; 8] = [
    "--input-fields-terminated-by",
    "\\t",
    "--input-escaped-by",
    "\\\\",
    "--input-null-string",
    "\\\\N",
    "-m",
    "4",
];

/// Exports lines in Sqoop's format, with kills of the command and one of the database.
pub(super) fn each_line_is_a_row_once(dir: &Path, server: &mut Server) {
    server.ask("CREATE TABLE marks (id bigint, v varchar(99), n int)");
    let directory = dir.join("lines");
    let bad = files(&directory);
    let url = format!("file://{}", directory.display());
    let data_dir = dir.join("lines-data").display().to_string();
    let of_lines = ["--table", "marks", "--export-dir", &url, "--data-dir", &data_dir];
    let arguments = [&of_lines[..], &FORM].concat();
    let (mut lives, began) = (0, Instant::now());
    let connection = server.connection(dir);
    loop {
        lives += 1;
        let command = call(dir, &connection, &arguments);
        let mut process = Process::start("aqueduct export", command, &dir.join("export.out"));
        // Kills are paced by rows, however fast they arrive.
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
        let said = process.output();
        if reached && !said.contains("are not applied") {
            continue; // The crash met its first questions.
        }
        assert_eq!(status.code(), Some(1), "{said}");
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
    // One contains the reason of the decoder; the other one is the object that the database
    // rejected.
    assert_eq!(found.len(), bad.len(), "{found:?}");
    for line in &bad {
        let begin = line.split('\t').next().expect("a value");
        let text = serde_json::Value::from(&**line).to_string();
        let is_it = |letter: &String| letter.contains(begin) || *letter == text;
        assert!(found.iter().any(is_it), "{line}: {found:?}");
    }
    let elapsed: Duration = began.elapsed();
    eprintln!("export: {} lines, {lives} lives, {elapsed:?}", LINES * FILES);
}
