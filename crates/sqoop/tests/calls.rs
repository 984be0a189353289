//! Calls of Sqoop as its guide and its users write them, and what becomes of each option.

use std::collections::BTreeSet;

use aqueduct_sqoop::options::{Answer, GROUPS};
use aqueduct_sqoop::{
    Call, Column, Export, Layout, Notes, Outcome, Packed, Task, World, translate,
};

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

/// The configuration of a call with these options besides the usual ones, and the notes.
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
    // The options of BaseSqoopTool in Sqoop 1.4.7, its group options, and those behind `--`.
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
            Answer::Export(..) => is_noted(Outcome::Refused, "it is one of `export`"),
        };
        assert!(is_right, "{option}: {notes:?}");
        let unknown = notes.0.iter().any(|note| note.text.contains("has no such option"));
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
# Name the columns that name a row, such as the primary key.
key = []
split_by = "part"
splits = 8
format = "csv"
delimiter = ","
null = "null"
# Plain text leaves this host, as with Sqoop. Better is TLS, or a tunnel.
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
roll = { age_max = "10m", idle_max = "3s" }
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
fn what_would_not_be_what_sqoop_does_is_refused() {
    for arguments in [
        &["--null-string", "\\\\N"][..],
        &["--escaped-by", "\\\\"],
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
        &["--password", "secret"],
        &["--checksum", "--as-sequencefile"],
        &["--checksum", "--compression-codec", "snappy"],
        &["--as-avrodatafile", "--compression-codec", "snappy"],
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
    // A later call may have other connections, another last value, and knows more.
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

/// An export with these options besides the usual ones, and the notes.
fn export(arguments: &[&str]) -> (Box<Export>, Notes) {
    let usual = ["--connect", "jdbc:mysql://db/shop", "--table", "t", "--export-dir", "file:/a"];
    let (task, notes) = translate(&call("export", &[&usual, arguments].concat()), &Here);
    let Some(Task::Export(export)) = task else { panic!("{notes:?}") };
    (export, notes)
}

#[test]
fn an_export_is_a_source_a_channel_and_a_sink() {
    let (mut known, notes) = export(&[
        "--update-key",
        "id",
        "--update-mode",
        "allowinsert",
        "--input-fields-terminated-by",
        "\\t",
        "--input-optionally-enclosed-by",
        "\"",
        "--input-escaped-by",
        "\\\\",
        "--input-null-string",
        "\\\\N",
        "-m",
        "4",
        "--batch",
    ]);
    assert!(!notes.is_refused(), "{notes:?}");
    let columns = [("id".to_owned(), false), ("v".to_owned(), true)];
    known.learn_columns(columns.to_vec()).unwrap();
    let expected = r#"[sources.rows]
type = "hdfs"
url = "file:///a"
channels = ["rows"]
file_header = "file"

[sources.rows.decoder]
type = "delimited"
fields = ["id", "v"]
non_text = ["id"]
delimiter = "\t"
quote = "\""
escape = "\\"
null = "\\N"
null_non_text = "null"

[channels.rows]
type = "durable"
capacity = "4GiB"

[sinks.t]
type = "sql"
channel = "rows"
table = "t"
mode = "upsert"
key = ["id"]
# The tables `aqueduct_applied` and `aqueduct_applied_refused`.
ledger = { create = true }
# Plain text leaves this host, as with Sqoop. Better is TLS, or a tunnel.
insecure = true

[sinks.t.database]
url = "mysql://db/shop"
"#;
    assert_eq!(known.to_toml(Layout::Once("t"), &Notes::default()), expected);
}

#[test]
fn rows_of_an_export_with_a_staging_table_go_there() {
    let (staged, mut notes) =
        export(&["--staging-table", "s", "--clear-staging-table", "--", "--schema", "x"]);
    assert!(!notes.is_refused(), "{notes:?}");
    let text = staged.to_toml(Layout::Once("t"), &Notes::default());
    assert!(text.contains("table = \"x.s\"") && !text.contains("x.t"), "{text}");
    assert_eq!((staged.what(), staged.staging()), ("x.t", Some("x.s")));
    assert_ne!(staged.sink(), export(&["--", "--schema", "x"]).0.sink(), "another place");
    staged.note_on(&mut notes);
    let refused = notes.of(Outcome::Refused).any(|note| note.option == "--staging-table");
    assert!(refused, "an agent that goes on has no end: {notes:?}");
}

#[test]
fn records_of_avro_have_names_and_the_columns_of_the_call_choose_among_them() {
    let (mut all, _) = export(&[]);
    all.learn_packed(Packed::Avro);
    let text = all.to_toml(Layout::Once("t"), &Notes::default());
    assert!(text.contains("decoder = \"avro_rows\"") && !text.contains("delimited"), "{text}");
    assert!(!text.contains("columns"), "{text}");
    let (mut some, _) = export(&["--columns", "a b,c"]);
    some.learn_packed(Packed::Avro);
    let text = some.to_toml(Layout::Once("t"), &Notes::default());
    let expected = "columns = { \"a b\" = \"a b\", \"c\" = \"c\" }\nextra = \"ignore\"\n";
    assert!(text.contains(expected), "{text}");
    // Without a look at the files the call says what they hold.
    let (said, mut notes) = export(&["--input-format", "parquet"]);
    said.note_on(&mut notes);
    let text = said.to_toml(Layout::On("t"), &notes);
    assert!(text.contains("decoder = \"parquet_rows\"") && !notes.is_refused(), "{text}");
}

#[test]
fn what_is_said_of_files_that_are_written_counts_for_those_that_are_read() {
    let text = |arguments: &[&str]| {
        let (export, notes) = export(&[&["--columns", "id"], arguments].concat());
        assert!(!notes.is_refused(), "{notes:?}");
        export.to_toml(Layout::On("t"), &notes)
    };
    let plain = text(&[]);
    assert!(plain.contains("delimiter = \",\"\nnull = \"null\"\n"), "{plain}");
    let output = ["--fields-terminated-by", "|", "--enclosed-by", "'"];
    let found = text(&output);
    assert!(found.contains("delimiter = \"|\"\nquote = \"'\"\n"), "{found}");
    let input = ["--input-fields-terminated-by", ";", "--input-enclosed-by", "\\0"];
    let found = text(&[&output[..], &input].concat());
    assert!(found.contains("delimiter = \";\"\nnull"), "{found}");
    let found = text(&["--mysql-delimiters"]);
    assert!(found.contains("quote = \"'\"\nescape = \"\\\\\"\n"), "{found}");
}

#[test]
fn an_export_is_known_by_what_it_reads_and_where_to() {
    let sink = |arguments: &[&str]| export(arguments).0.sink();
    let plain = sink(&[]);
    assert_eq!(sink(&["--input-null-string", "x", "-m", "2"]), plain);
    for other in [
        &["--columns", "a"][..],
        &["--update-key", "a"],
        &["--data-dir", "/d"],
        &["--export-dir", "file:/b"],
    ] {
        assert_ne!(sink(other), plain, "{other:?}");
    }
    let (mut quoted, _) = export(&[]);
    assert!(quoted.learn_quotes());
    assert!(quoted.to_toml(Layout::On("t"), &Notes::default()).contains("quote = \"\\\"\""));
    let (mut unquoted, _) = export(&["--input-enclosed-by", "\\0"]);
    assert!(!unquoted.learn_quotes(), "the call says that there are none");
    let (mut learned, _) = export(&[]);
    learned.learn_columns(vec![("a".to_owned(), true)]).unwrap();
    assert_eq!(learned.sink(), plain, "the database says it, not the call");
    assert_eq!(learned.data_dir(Some("/h")).unwrap(), format!("/h/.aqueduct/export/{plain}"));
}

#[test]
fn what_an_export_cannot_do_is_refused_and_what_does_nothing_is_said() {
    for (arguments, option) in [
        (&["--staging-table", "s", "--update-key", "a"][..], "--staging-table"),
        (&["--staging-table", "t"], "--staging-table"),
        (&["--clear-staging-table"], "--clear-staging-table"),
        (&["--call", "p"], "--call"),
        (&["--update-key", "a", "--update-mode", "x"], "--update-mode"),
        (&["--input-fields-terminated-by", "ab"], "--input-fields-terminated-by"),
        (&["--hbase-table", "x"], "--hbase-table"),
        (&["--password", "x"], "--password"),
    ] {
        let (_, notes) = export(arguments);
        let refused = notes.of(Outcome::Refused).any(|note| note.option == option);
        assert!(refused, "{option}: {notes:?}");
    }
    let (_, notes) = export(&["--batch", "--validate", "-D", "a=b", "--target-dir", "/x"]);
    assert!(!notes.is_refused(), "{notes:?}");
    let ignored: Vec<&str> = notes.of(Outcome::Ignored).map(|note| &*note.option).collect();
    assert_eq!(ignored, ["--batch", "--validate", "--target-dir", "-D a"]);
    let (named, mut notes) = export(&[]);
    named.note_on(&mut notes);
    assert!(notes.is_refused(), "no database says what the columns are");
    let (mut other, _) = export(&["--columns", "a,b"]);
    let problem = other.learn_columns(vec![("a".to_owned(), true)]).unwrap_err();
    assert!(problem.contains("no column `b`"), "{problem}");
}
