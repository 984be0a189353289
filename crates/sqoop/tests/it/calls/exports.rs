//! Calls of `export`: the results for their options, and for the contents of files and tables.

use aqueduct_sqoop::{Export, Layout, Notes, Outcome, Packed, Task, translate};

use super::{Here, call};

/// Returns an export with these options in addition to the usual ones, and the notes.
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
# Plain text leaves this host, as with Sqoop. Use TLS or a tunnel.
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
fn a_procedure_is_called_in_the_place_of_a_table() {
    let given = ["--connect", "jdbc:mysql://db/shop", "--call", "add", "--export-dir", "file:/a"];
    let (task, notes) = translate(&call("export", &given), &Here);
    let Some(Task::Export(export)) = task else { panic!("{notes:?}") };
    assert!(!notes.is_refused(), "{notes:?}");
    let text = export.to_toml(Layout::Once("t"), &Notes::default());
    assert!(text.contains("table = \"add\"\nmode = \"call\"\n"), "{text}");
}

#[test]
fn avro_records_have_names_and_the_call_selects_columns() {
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
    // Without reading the files, the call determines their format.
    let (said, mut notes) = export(&["--input-format", "parquet"]);
    said.note_on(&mut notes);
    let text = said.to_toml(Layout::On("t"), &notes);
    assert!(text.contains("decoder = \"parquet_rows\"") && !notes.is_refused(), "{text}");
}

#[test]
fn sequence_files_hold_lines_or_rows_of_a_class_whose_types_the_call_says() {
    let known = || vec![("id".to_owned(), false), ("at".to_owned(), false)];
    let (mut lines, _) = export(&["--input-fields-terminated-by", ";"]);
    lines.learn_columns(known()).unwrap();
    lines.learn_class("org.apache.hadoop.io.Text").unwrap();
    let text = lines.to_toml(Layout::Once("t"), &Notes::default());
    let expected = "[sources.rows.decoder]\ntype = \"sequence_file\"\n\n\
                    [sources.rows.decoder.decoder]\ntype = \"delimited\"\n\
                    fields = [\"id\", \"at\"]\n";
    assert!(text.contains(expected) && text.contains("delimiter = \";\""), "{text}");
    let problem = lines.learn_class("orders").unwrap_err();
    let remedy = "--map-column-java id=TYPE,at=TYPE";
    assert!(problem.contains("`orders`") && problem.contains(remedy), "{problem}");

    let types = "at=java.sql.Timestamp,id=Integer";
    let (mut rows, notes) = export(&["--map-column-java", types, "--input-zone", "Europe/Berlin"]);
    assert!(!notes.is_refused(), "{notes:?}");
    rows.learn_columns(known()).unwrap();
    rows.learn_class("orders").unwrap();
    let text = rows.to_toml(Layout::Once("t"), &Notes::default());
    let expected = "type = \"sequence_file\"\n\
                    columns = [{ name = \"id\", type = \"integer\" }, \
                    { name = \"at\", type = \"timestamp\" }]\nzone = \"Europe/Berlin\"\n";
    assert!(text.contains(expected), "{text}");
    assert!(rows.learn_class("org.apache.hadoop.io.Text").unwrap_err().contains("remove --"));
    let (mut other, _) = export(&["--map-column-java", "id=Integer,at=Long,x=Long"]);
    other.learn_columns(known()).unwrap();
    assert!(other.learn_class("orders").unwrap_err().contains("`x`"));
    for wrong in ["id", "id=Object"] {
        let (_, notes) = export(&["--map-column-java", wrong]);
        let refused = notes.of(Outcome::Refused).any(|note| note.option == "--map-column-java");
        assert!(refused, "{wrong}: {notes:?}");
    }
    // Without reading the files, the call determines their format.
    let (said, mut notes) = export(&["--input-format", "sequence", "--map-column-java", "a=Long"]);
    said.note_on(&mut notes);
    let text = said.to_toml(Layout::On("t"), &notes);
    assert!(text.contains("{ name = \"a\", type = \"long\" }") && !notes.is_refused(), "{text}");
}

#[test]
fn output_format_options_are_the_defaults_of_the_input_format() {
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
fn refuses_unsupported_export_options_and_notes_ineffective_ones() {
    for (arguments, option) in [
        (&["--staging-table", "s", "--update-key", "a"][..], "--staging-table"),
        (&["--staging-table", "t"], "--staging-table"),
        (&["--clear-staging-table"], "--clear-staging-table"),
        (&["--call", "p"], "--call"),
        (&["--call", "p", "--update-key", "a"], "--call"),
        (&["--call", "p", "--staging-table", "s"], "--call"),
        (&["--update-key", "a", "--update-mode", "x"], "--update-mode"),
        (&["--input-fields-terminated-by", "ab"], "--input-fields-terminated-by"),
        (&["--hbase-table", "x"], "--hbase-table"),
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
