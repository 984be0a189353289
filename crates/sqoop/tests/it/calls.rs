//! Calls of Sqoop from its guide and its users, and the result for each option.

mod exports;

use std::collections::BTreeSet;

use aqueduct_sqoop::options::{Answer, GROUPS};
use aqueduct_sqoop::{Call, Column, Layout, Notes, Outcome, Task, World, translate};

/// A home, a user, and one file of options.
struct Here;

impl World for Here {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "USER").then(|| "etl".to_owned())
    }
    fn file(&self, path: &str) -> Result<String, String> {
        match path {
            "/etc/options" => Ok("# the database\n--connect\njdbc:mysql://db/shop\n\n--username\n\
                                  'etl'\n"
                .to_owned()),
            _ => Err("it is not there".to_owned()),
        }
    }
}

fn call(tool: &str, arguments: &[&str]) -> Call {
    let arguments = arguments.iter().map(|&it| it.to_owned()).collect();
    Call { line: 1, tool: tool.to_owned(), arguments, shell: Vec::new() }
}

/// Returns the configuration of a call with these options in addition to the usual ones, and the
/// notes.
fn text(arguments: &[&str]) -> (String, Notes) {
    let usual = ["--connect", "jdbc:postgresql://db/shop", "--username", "etl"];
    let (task, notes) = translate(&call("import", &[&usual, arguments].concat()), &Here);
    let Some(Task::Import(import)) = task else { panic!("{notes:?}") };
    (import.to_toml(Layout::Once("store"), &notes), notes)
}

const TABLE: [&str; 4] = ["--table", "orders", "--target-dir", "hdfs://nn:8020/orders"];

fn of_table(arguments: &[&str]) -> (String, Notes) {
    text(&[&TABLE, arguments].concat())
}

#[test]
fn every_option_of_sqoop_has_an_answer_and_gives_it() {
    // The options of BaseSqoopTool in Sqoop 1.4.7, its group options, and those after `--`.
    const ALL: &str = include_str!("options.txt");
    let known: BTreeSet<&str> =
        GROUPS.iter().flat_map(|group| group.rows).map(|row| row.name).collect();
    let lacking: Vec<&str> = ALL.split_whitespace().filter(|name| !known.contains(name)).collect();
    assert!(lacking.is_empty(), "without an answer: {lacking:?}");
    for row in GROUPS.iter().flat_map(|group| group.rows) {
        let option = format!("--{}", row.name);
        let mut arguments = vec![&*option];
        arguments.extend(row.takes.then_some("value"));
        let (_, notes) = translate(&call("import", &arguments), &Here);
        let is_noted = |outcome: Outcome, text: &str| {
            notes.of(outcome).any(|note| note.text == text && option.ends_with(&note.option[1..]))
        };
        let is_right = match row.answer {
            Answer::Carried(_) => true,
            Answer::Differs(text) => is_noted(Outcome::Differs, text),
            Answer::Ignored(text) => is_noted(Outcome::Ignored, text),
            Answer::Refused(text) => is_noted(Outcome::Refused, text),
            Answer::Export(..) => is_noted(Outcome::Refused, "only for `export`: remove it"),
        };
        assert!(is_right, "{option}: {notes:?}");
        let unknown = notes.0.iter().any(|note| note.text.contains("not an option"));
        assert!(!unknown, "{option}: {notes:?}");
    }
}

#[test]
fn a_call_becomes_a_source_a_channel_and_a_sink() {
    let (text, notes) = of_table(&["--split-by", "part", "-m", "8", "-z", "--columns", "id, a"]);
    let (note, text) = text.split_once('\n').unwrap();
    assert!(note.starts_with("# differs: --split-by: "), "{note}");
    let expected = r#"[sources.rows]
type = "sql"
channels = ["rows"]
table = "orders"
columns = ["id", "a"]
mode = "full"
# Set the columns that identify a row, such as the primary key.
key = []
split_by = "part"
splits = 8
format = "csv"
delimiter = ","
null = "null"
# Plain text leaves this host, as with Sqoop. Use TLS or a tunnel.
insecure = true

[sources.rows.database]
url = "postgres://db/shop"
user = "etl"

[channels.rows]
type = "durable"
capacity = "4GiB"

[sinks.store]
type = "hdfs"
url = "hdfs://nn:8020/orders"
channel = "rows"
encoder = "text"
codec = "gzip"
file_suffix = ".csv.gz"
roll = { age_max = "10m", idle_max = "1m" }
"#;
    assert_eq!(text, expected);
    assert!(!notes.is_refused());
}

#[test]
fn the_last_value_is_a_condition_that_keeps_to_the_rules_of_sqoop() {
    let incremental = |mode: &str, more: &[&str]| {
        let options = ["--incremental", mode, "--check-column", "a\"b", "--last-value", "it's"];
        of_table(&[&options, more].concat()).0
    };
    let text = incremental("append", &["--where", "x = 1 -- all"]);
    assert!(text.contains(r#"where = "(x = 1 -- all\n) AND \"a\"\"b\" > 'it''s'""#), "{text}");
    assert!(text.contains("once = true") && !text.contains("splits"), "{text}");
    let text = incremental("lastmodified", &["--merge-key", "id"]);
    assert!(text.contains(r#"where = "\"a\"\"b\" >= 'it''s'""#), "{text}");
    assert!(text.contains("mode = \"modified\"") && text.contains("key = [\"id\"]"), "{text}");
}

#[test]
fn a_path_is_completed_as_hadoop_completes_it() {
    for (arguments, expected) in [
        (&["--target-dir", "/a/b/", "--default-fs", "hdfs://nn:8020/"][..], "hdfs://nn:8020/a/b"),
        (&["-fs", "hdfs://nn", "--target-dir", "a"], "hdfs://nn/user/etl/a"),
        (&["-Dfs.defaultFS=hdfs://nn", "--warehouse-dir", "/w"], "hdfs://nn/w/orders"),
        (&["-D", "fs.defaultFS=hdfs://nn"], "hdfs://nn/user/etl/orders"),
        (&["--target-dir", "file:/a"], "file:///a"),
        (&["--target-dir", "s3a://b/a"], "s3://b/a"),
    ] {
        let (text, notes) = text(&[&["--table", "orders"], arguments].concat());
        assert!(text.contains(&format!("url = \"{expected}\"")), "{text}");
        assert!(!notes.is_refused(), "{notes:?}");
    }
    let (_, notes) = text(&["--table", "orders", "--target-dir", "/a"]);
    assert!(notes.is_refused());
}

#[test]
fn refuses_options_that_would_behave_unlike_sqoop() {
    for arguments in [
        &["--escaped-by", "\\\\"][..],
        &["--lines-terminated-by", "|"],
        &["--fields-terminated-by", "ab"],
        &["--compression-codec", "lzop"],
        &["--as-parquetfile", "--as-textfile"],
        &["--incremental", "append"],
        &["--incremental", "merge", "--check-column", "id"],
        &["--check-column", "id"],
        &["--query", "SELECT 1"],
        &["-m", "0"],
        &["--no-such-option"],
        &["stray"],
        &["--validate", "--append"],
        &["--checksum", "--as-sequencefile"],
        &["--checksum", "--compression-codec", "snappy"],
        &["--as-avrodatafile", "--compression-codec", "gzip"],
    ] {
        let (text, notes) = of_table(arguments);
        assert!(notes.is_refused(), "{arguments:?}: {text}");
        assert!(!format!("{text}{notes:?}").contains("secret"), "{text}");
    }
}

#[test]
fn a_file_of_options_stands_for_its_lines_and_a_schema_before_the_table() {
    let arguments = [
        "--options-file",
        "/etc/options",
        "--table",
        "orders",
        "--target-dir",
        "hdfs://nn/a",
        "--",
        "--schema",
        "sales",
    ];
    let (task, notes) = translate(&call("import", &arguments), &Here);
    let Some(Task::Import(import)) = task else { panic!("{notes:?}") };
    let text = import.to_toml(Layout::On("orders"), &notes);
    assert!(
        text.contains("table = \"sales.orders\"") && text.contains("mysql://db/shop"),
        "{text}"
    );
    assert!(!notes.is_refused(), "{notes:?}");
    let (_, notes) = translate(&call("import", &["--options-file", "/nope"]), &Here);
    assert!(notes.of(Outcome::Refused).any(|it| it.text.contains("/nope: it is not there")));
}

#[test]
fn an_import_is_known_by_what_it_reads_and_where_to() {
    let sink = |arguments: &[&str], learns: bool| {
        let usual = ["--connect", "jdbc:postgresql://db/shop"];
        let all = [&usual, &TABLE[..], arguments].concat();
        let (task, _) = translate(&call("import", &all), &Here);
        let Some(Task::Import(mut import)) = task else { panic!() };
        if learns {
            import.learn_key(vec!["id".to_owned()]);
            let (name, kind) = ("Parquet".to_owned(), "type = \"int64\"".to_owned());
            import.learn_columns(vec![Column { name, kind }]);
        }
        import.sink()
    };
    let plain = sink(&[], false);
    // A later call may have other connections, another last value, and more information.
    for same in [&["-m", "9"][..], &["--username", "x"], &["--fetch-size", "7"]] {
        assert_eq!(sink(same, true), plain);
    }
    let append = ["--incremental", "append", "--check-column", "id", "--last-value"];
    let last = |value| sink(&[&append, &[value][..]].concat(), false);
    assert_eq!(last("1"), last("2"));
    assert_eq!(sink(&["--as-parquetfile"], true), sink(&["--as-parquetfile"], false));
    for other in [&["--where", "a = 1"][..], &["--columns", "a"], &["--as-parquetfile"]] {
        assert_ne!(sink(other, false), plain);
    }
    assert_ne!(last("1"), plain);
}

#[test]
fn a_password_is_a_reference_and_in_no_text() {
    for arguments in [&["--password", "s3cret"][..], &["-P"], &["--password-prompt"]] {
        let (text, notes) = of_table(arguments);
        assert!(text.contains("password = \"${SQOOP_PASSWORD}\""), "{text}");
        assert!(!notes.is_refused(), "{notes:?}");
        let all = format!("{text}{notes:?}");
        assert!(!all.contains("s3cret"), "{all}");
        let warns = notes.of(Outcome::Differs).any(|note| note.option == "--password");
        assert_eq!(warns, arguments.len() == 2, "{notes:?}");
    }
    let (task, _) = translate(&call("import", &["--password", "s3cret"]), &Here);
    let Some(Task::Import(import)) = task else { panic!("no import") };
    assert!(!format!("{import:?}").contains("s3cret"), "{import:?}");
}

#[test]
fn one_text_of_null_is_enough_and_avro_may_have_snappy() {
    let (text, notes) = of_table(&["--null-string", "\\N"]);
    assert!(text.contains(r#"null = "\\N""#), "{text}");
    assert!(!notes.is_refused() && notes.of(Outcome::Differs).count() == 1, "{notes:?}");
    let (_, notes) = of_table(&["--null-string", "a", "--null-non-string", "b"]);
    assert!(notes.is_refused());
    let (text, notes) = of_table(&["--as-avrodatafile", "--compression-codec", "snappy"]);
    assert!(text.contains(r#"codec = "snappy""#) && !notes.is_refused(), "{text} {notes:?}");
}

#[test]
fn a_path_without_an_authority_is_in_the_default_file_system() {
    for path in ["hdfs:/a/b", "hdfs:///a/b", "/a/b"] {
        let arguments = ["--table", "t", "--target-dir", path, "--default-fs", "hdfs://nn:8020"];
        assert!(text(&arguments).0.contains("url = \"hdfs://nn:8020/a/b\""), "{path}");
    }
}

#[test]
fn all_tables_have_the_options_of_an_import_without_a_password() {
    let arguments = [
        "--connect",
        "jdbc:mysql://db/shop",
        "--username",
        "etl",
        "--password",
        "s3cret",
        "--warehouse-dir",
        "hdfs://nn:8020/w",
        "--exclude-tables=audit, log",
        "-m",
        "1",
    ];
    let (task, notes) = translate(&call("import-all-tables", &arguments), &Here);
    let Some(Task::AllTables(all)) = task else { panic!("{notes:?}") };
    assert!(!notes.is_refused(), "{notes:?}");
    assert_eq!(all.excluded, ["audit", "log"]);
    let options = all.options("orders");
    assert_eq!(
        options.join(" "),
        "--connect jdbc:mysql://db/shop --username etl --warehouse-dir hdfs://nn:8020/w \
         --num-mappers 1 --table orders"
    );
    let options: Vec<&str> = options.iter().map(|it| &**it).collect();
    let (task, notes) = translate(&call("import", &options), &Here);
    let Some(Task::Import(import)) = task else { panic!("{notes:?}") };
    assert_eq!(import.url, "hdfs://nn:8020/w/orders");
    let refused = ["--table", "t", "--where", "a = 1"];
    let (_, notes) =
        translate(&call("import-all-tables", &[&arguments, &refused[..]].concat()), &Here);
    let refused: Vec<&str> = notes.of(Outcome::Refused).map(|note| &*note.option).collect();
    assert_eq!(refused, ["--table", "--where"]);
}

#[test]
fn questions_need_only_a_database_and_a_saved_call_is_translated() {
    let database = ["--connect", "jdbc:mysql://db/shop", "--username", "etl"];
    for (tool, more) in [("list-tables", &[][..]), ("eval", &["-e", "SELECT 1"])] {
        let (task, notes) = translate(&call(tool, &[&database, more].concat()), &Here);
        assert!(matches!(task, Some(Task::Question(_))) && !notes.is_refused(), "{notes:?}");
    }
    let (_, notes) = translate(&call("eval", &database), &Here);
    assert!(notes.is_refused(), "it has no statement");
    let saved = [&["--create", "nightly", "--", "import"], &database[..], &TABLE].concat();
    let (task, notes) = translate(&call("job", &saved), &Here);
    assert!(matches!(task, Some(Task::Import(_))) && !notes.is_refused(), "{notes:?}");
    let (task, notes) = translate(&call("job", &["--exec", "nightly"]), &Here);
    assert!(task.is_none() && notes.is_refused(), "{notes:?}");
}

#[test]
fn a_hive_import_is_parquet_below_an_external_table() {
    let (text, notes) = of_table(&[
        "-D",
        "hive.metastore.uris=thrift://ms:9083",
        "--hive-import",
        "--hive-table",
        "shop.o",
        "--hive-partition-key",
        "Day",
        "--hive-partition-value",
        "2026-11-30",
        "--fields-terminated-by",
        "\\001",
        "--escaped-by",
        "\\\\",
        "--null-string",
        "\\\\N",
        "--hive-drop-import-delims",
        "--create-hive-table",
    ]);
    assert!(!notes.is_refused(), "{notes:?}");
    assert!(text.contains("url = \"hdfs://nn:8020/orders/day=2026-11-30\""), "{text}");
    assert!(text.contains("type = \"parquet\""), "{text}");
    let ignored: Vec<&str> = notes.of(Outcome::Ignored).map(|note| &*note.option).collect();
    let of_text =
        ["--fields-terminated-by", "--escaped-by", "--null-string", "--hive-drop-import-delims"];
    assert_eq!(ignored, of_text);
    for (arguments, expected) in [
        (&["--hive-import"][..], "hive.metastore.uris=thrift://host:9083"),
        (&["--hive-import", "--hive-overwrite"], "never overwritten"),
        (&["--hive-import", "--as-avrodatafile"], "remove it; the files are Parquet"),
        (&["--hive-import", "--hive-partition-key", "day"], "together"),
        (&["--hive-import", "--hive-partition-key", "a b", "--hive-partition-value", "/"], "`/`"),
        (&["--hive-table", "t"], "no effect without --hive-import"),
    ] {
        let (_, notes) = of_table(arguments);
        let mut refused = notes.of(Outcome::Refused);
        assert!(refused.any(|note| note.text.contains(expected)), "{arguments:?}: {notes:?}");
    }
}
