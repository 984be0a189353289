//! The tools of Sqoop by their names, on a SQLite database and a local store.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Runs a tool as a user with this home.
fn sqoop(home: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aqueduct"));
    command.arg("sqoop").args(words).env("HOME", home).env_remove("SQOOP_PASSWORD");
    command.output().unwrap()
}

fn shop(home: &Path) -> String {
    let file = home.join("shop.db");
    let database = rusqlite::Connection::open(&file).unwrap();
    database
        .execute_batch(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO orders VALUES \
             (1, 'a'), (2, NULL); CREATE TABLE \"two words\" (id INTEGER PRIMARY KEY); INSERT INTO \
             \"two words\" VALUES (7); CREATE TABLE audit (line TEXT); CREATE VIEW seen AS SELECT \
             * FROM orders;",
        )
        .unwrap();
    format!("sqlite:{}", file.display())
}

/// Returns the lines of all files of an imported table.
fn stored(home: &Path, table: &str) -> Vec<String> {
    let directory = home.join("store").join(table);
    let files = fs::read_dir(directory).unwrap().map(|it| it.unwrap().path());
    let visible = files.filter(|it| {
        it.is_file() && !it.file_name().unwrap().to_str().unwrap().starts_with(['_', '.'])
    });
    let texts: Vec<String> = visible.map(|it| fs::read_to_string(it).unwrap()).collect();
    let mut lines: Vec<String> =
        texts.iter().flat_map(|it| it.lines()).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn statements_and_tables_are_printed() {
    let home = tempfile::tempdir().unwrap();
    let database = shop(home.path());
    let tables = sqoop(home.path(), &["list-tables", "--connect", &database]);
    assert_eq!(text(&tables.stdout), "audit\norders\ntwo words\n", "{tables:?}");
    let rows = "SELECT id AS number, name FROM orders ORDER BY id";
    let rows = sqoop(home.path(), &["eval", "--connect", &database, "--query", rows]);
    let bar = "-------------------";
    let expected = format!(
        "{bar}\n| number | name   |\n{bar}\n| 1      | a      |\n| 2      | (null) |\n{bar}\n"
    );
    assert_eq!(text(&rows.stdout), expected, "{rows:?}");
    let change = "DELETE FROM audit";
    let changed = sqoop(home.path(), &["eval", "--connect", &database, "-e", change]);
    assert_eq!(text(&changed.stdout), "0 rows changed\n", "{changed:?}");
    let wrong =
        sqoop(home.path(), &["eval", "--connect", &database, "-e", "SELECT 1 FROM nothing"]);
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    assert!(text(&wrong.stderr).contains("nothing"), "{wrong:?}");
    let unknown = sqoop(home.path(), &["merge", "--onto", "a"]);
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
}

#[test]
fn all_tables_are_imported_and_failed_ones_are_named() {
    let home = tempfile::tempdir().unwrap();
    let database = shop(home.path());
    let store = format!("file://{}", home.path().join("store").display());
    let words = ["import-all-tables", "--connect", &database, "--warehouse-dir", &store];
    let all = sqoop(home.path(), &words);
    assert_eq!(all.status.code(), Some(1), "{all:?}");
    let shown = text(&all.stderr);
    assert!(shown.contains("1 of 3 tables failed: audit"), "{shown}");
    assert!(shown.contains("the table audit has no primary key"), "{shown}");
    assert_eq!(stored(home.path(), "orders"), ["1,a", "2,null"]);
    assert_eq!(stored(home.path(), "two words"), ["7"]);
    let again = sqoop(home.path(), &[&words[..], &["--exclude-tables", "audit,gone"]].concat());
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    let shown = text(&again.stderr);
    assert!(shown.contains("complete; 2 tables"), "{shown}");
    assert!(shown.contains("no table `gone`"), "{shown}");
    assert_eq!(stored(home.path(), "orders"), ["1,a", "2,null"], "nothing is read again");
}

#[test]
fn a_saved_job_reads_new_rows_at_each_run() {
    let home = tempfile::tempdir().unwrap();
    let database = shop(home.path());
    let target = format!("file://{}", home.path().join("store/orders").display());
    let call = [
        "job",
        "--create",
        "nightly",
        "--",
        "import",
        "--connect",
        &database,
        "--table",
        "orders",
        "--incremental",
        "append",
        "--check-column",
        "id",
        "--target-dir",
        &target,
    ];
    let created = sqoop(home.path(), &call);
    assert_eq!(created.status.code(), Some(0), "{created:?}");
    assert_eq!(sqoop(home.path(), &call).status.code(), Some(1), "it exists");
    let list = sqoop(home.path(), &["job", "--list"]);
    assert_eq!(text(&list.stdout), "nightly\n");
    let show = sqoop(home.path(), &["job", "--show", "nightly"]);
    assert!(text(&show.stdout).starts_with("aqueduct sqoop import --connect sqlite:"), "{show:?}");
    for (more, expected) in [("3, 'c'", 3), ("4, 'd'", 4)] {
        let insert = format!("INSERT INTO orders VALUES ({more})");
        let inserted = sqoop(home.path(), &["eval", "--connect", &database, "-e", &insert]);
        assert_eq!(text(&inserted.stdout), "1 rows changed\n", "{inserted:?}");
        let run = sqoop(home.path(), &["job", "--exec", "nightly"]);
        assert_eq!(run.status.code(), Some(0), "{run:?}");
        assert_eq!(stored(home.path(), "orders").len(), expected, "{run:?}");
    }
    let deleted = sqoop(home.path(), &["job", "--delete", "nightly"]);
    assert_eq!(deleted.status.code(), Some(0), "{deleted:?}");
    let gone = sqoop(home.path(), &["job", "--exec", "nightly"]);
    assert!(text(&gone.stderr).contains("--list"), "{gone:?}");
}
