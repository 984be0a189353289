//! Every row arrives once, whatever happens to the source, with a real SQLite file.
//!
//! Method: the test channel stores events and positions in one write, like real ones. The source is
//! dropped in the middle of its work, after a chosen number of puts.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kit::testkit::channels::Channels;
use kit::testkit::narrow::Narrow;
use pipeline::testkit::{build, position_context};
use pipeline::{BuildContext, Source};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Config;
use crate::testing::File;

#[path = "tests/ahead.rs"]
mod ahead;

/// Returns an empty channel.
fn empty() -> Arc<Channels> {
    Arc::new(Channels::new(1))
}

struct Site {
    _folder: tempfile::TempDir,
    file: File,
}

impl Site {
    fn new(schema: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        let schema = format!("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; {schema}");
        let file = File::new(path, module_path!(), &schema);
        Self { _folder: folder, file }
    }

    fn run(&self, sql: &str) {
        self.file.run(sql);
    }

    /// Returns the source of the table `t`, with these settings.
    fn source(&self, settings: &Value) -> Box<dyn Source> {
        let mut all = json!({
            "database": { "url": self.file.url() },
            "table": "t",
            "interval": "10ms",
        });
        change(&mut all, settings);
        build::<Config>(&all, &cx()).unwrap()
    }
}

/// Sets these settings, and removes those that are null.
fn change(settings: &mut Value, changes: &Value) {
    let settings = settings.as_object_mut().unwrap();
    settings.extend(changes.as_object().unwrap().clone());
    settings.retain(|_, value| !value.is_null());
}

fn cx() -> BuildContext {
    BuildContext::alone("in", Path::new("unused"), env::real())
}

/// Runs the source for this many puts, or until it finds no more rows, and kills it.
async fn run(mut source: Box<dyn Source>, channels: &Arc<Channels>, puts: usize) {
    let life = Arc::new(Narrow::new(channels.clone(), puts));
    let cx = position_context(life.clone(), CancellationToken::new());
    let running = tokio::spawn(async move {
        source.open(&cx).await.unwrap();
        source.run(cx).await.unwrap();
    });
    let (mut before, mut quiet) = (0, 0);
    while life.has_room() && quiet < 15 && !running.is_finished() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = channels.bodies(0).len();
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
    }
    running.abort();
    // It has completed its work, or is killed now.
    if let Err(error) = running.await {
        assert!(error.is_cancelled(), "it has failed: {error}");
    }
}

/// Returns the numbers in the member `id`.
fn ids(channels: &Channels) -> Vec<i64> {
    let id = |body: &String| serde_json::from_str::<Value>(body).unwrap()["id"].as_i64().unwrap();
    channels.bodies(0).iter().map(id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_rows_come_once_in_order_over_kills_and_ties_at_the_end_of_a_page() {
    // Ten rows share a value of the growing column, and a page ends among them.
    let site = Site::new("CREATE TABLE t (id INTEGER PRIMARY KEY, step INTEGER)");
    let channel = empty();
    let settings = json!({
        "mode": "append", "check_column": "step", "key": ["id"], "fetch_size": 7,
        "batch_bytes": "60B",
    });
    let rows = |from: i64, to: i64| {
        let rows: Vec<String> = (from..to).map(|id| format!("({id}, {})", id / 10)).collect();
        format!("INSERT INTO t VALUES {}", rows.join(", "))
    };
    site.run(&rows(0, 200));
    for puts in [1, 3, 10] {
        run(site.source(&settings), &channel, puts).await;
    }
    site.run(&rows(200, 300));
    run(site.source(&settings), &channel, 1000).await;
    assert_eq!(ids(&channel), (0..300).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_import_reads_every_row_once_including_null_splits() {
    let site = Site::new("CREATE TABLE t (id INTEGER PRIMARY KEY, part TEXT)");
    // Most rows share a value, a tenth is NULL.
    let part = |id: i64| match id % 10 {
        0 => "NULL".to_owned(),
        1 => format!("'p{}'", id % 7),
        _ => "'same'".to_owned(),
    };
    let rows: Vec<String> = (0..500).map(|id| format!("({id}, {})", part(id))).collect();
    site.run(&format!("INSERT INTO t VALUES {}", rows.join(", ")));
    let channel = empty();
    let settings = json!({
        "mode": "full", "key": ["id"], "split_by": "part", "splits": 3, "fetch_size": 20,
        "batch_bytes": "100B",
    });
    for puts in [1, 2, 17, 40, 1000] {
        run(site.source(&settings), &channel, puts).await;
    }
    let mut all = ids(&channel);
    all.sort_unstable();
    assert_eq!(all, (0..500).collect::<Vec<_>>());
    assert_eq!(channel.keys(0), 1, "no range is left");
    // The source has finished: later rows are not read.
    site.run("INSERT INTO t VALUES (1000, 'late')");
    run(site.source(&settings), &channel, 1000).await;
    assert_eq!(ids(&channel).len(), 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_committed_late_come_once_within_the_window() {
    let site = Site::new("CREATE TABLE t (id INTEGER PRIMARY KEY, at TEXT, v INTEGER)");
    let at = |second: i64| format!("2026-01-01 00:{:02}:{:02}", second / 60, second % 60);
    let row = |id: i64, second: i64| format!("INSERT INTO t VALUES ({id}, '{}', 0);", at(second));
    let insert = |id: i64, second: i64| site.run(&row(id, second));
    let channel = empty();
    let settings = json!({
        "mode": "modified", "check_column": "at", "key": ["id"], "overlap": "30s",
        "fetch_size": 7, "timestamp_column": "at",
    });
    site.run(&(0..100).map(|id| row(id, 10 * id / 3)).collect::<String>());
    run(site.source(&settings), &channel, 1000).await;
    assert_eq!(ids(&channel).len(), 100);
    // The last row has 330 s. Late rows: within the window, at its boundary to the cursor, and too
    // late.
    insert(100, 305);
    insert(101, 330);
    insert(102, 290);
    site.run(&format!("UPDATE t SET v = 1, at = '{}' WHERE id = 7", at(331)));
    for _ in 0..3 {
        run(site.source(&settings), &channel, 1000).await;
    }
    let mut found = ids(&channel).split_off(100);
    found.sort_unstable();
    assert_eq!(found, [7, 100, 101], "what was changed comes again, and 102 is too late");
    let headers = channel.events(0).swap_remove(0).headers;
    assert_eq!(headers["table"], "t");
    assert_eq!(headers["key"], "0");
    assert_eq!(headers["timestamp"], "1767225600000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_pass_ends_after_the_last_row_and_the_next_continues() {
    let site = Site::new("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)");
    let settings = json!({
        "mode": "append", "check_column": "id", "once": true, "fetch_size": 7, "interval": "1h",
    });
    let channel = empty();
    for rows in [0, 20, 28, 28] {
        let held = ids(&channel).len();
        let row = |id: usize| format!("INSERT INTO t VALUES ({id}, 'x');");
        site.run(&(held..rows).map(row).collect::<String>());
        let mut source = site.source(&settings);
        let cx = position_context(channel.clone(), CancellationToken::new());
        source.open(&cx).await.unwrap();
        source.run(cx).await.unwrap();
        assert_eq!(ids(&channel), (0..rows as i64).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_table_is_asked_for_its_key_its_columns_and_its_rows() {
    let site = Site::new("CREATE TABLE t (b TEXT, a TEXT, PRIMARY KEY (a, b)); CREATE TABLE u (x)");
    site.run("INSERT INTO t VALUES ('1', '2'), ('3', NULL)");
    let config = |settings: &Value| {
        let mut all = json!({ "database": { "url": site.file.url() } });
        change(&mut all, settings);
        serde_json::from_value::<Config>(all).unwrap()
    };
    for (table, expected) in [("t", &["a", "b"][..]), ("u", &[])] {
        let settings = json!({ "table": table, "mode": "full" });
        let key = super::primary_key(config(&settings), &cx()).await.unwrap();
        assert_eq!(key, expected, "{table}");
    }
    let missing = config(&json!({ "table": "nope", "mode": "full" }));
    let problem = super::primary_key(missing, &cx()).await.unwrap_err().to_string();
    assert!(problem.contains("no such table: nope"), "{problem}");
    let settings = json!({ "table": "t", "mode": "full", "key": ["b"], "where": "b <> '3'" });
    let found = super::survey(config(&settings), true, &cx()).await.unwrap();
    let names: Vec<&str> = found.columns.iter().map(|(name, _)| &**name).collect();
    assert_eq!((names, found.rows), (vec!["b", "a"], Some(1)));
    let settings = json!({ "table": "t", "mode": "full", "key": ["a"] });
    let problem = super::survey(config(&settings), false, &cx()).await.unwrap_err();
    assert!(problem.to_string().contains("NULL in a column of `key`"), "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_hold_what_the_table_holds() {
    let site = Site::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a REAL, b TEXT, c BLOB, d INTEGER, \"e f\" TEXT)",
    );
    site.run(
        "INSERT INTO t VALUES \
         (1, 0.1, 'x' || char(0) || 'é\"', x'00ff', 9223372036854775807, NULL), \
         (2, 9e999, '', x'', -9223372036854775808, '9999-12-31')",
    );
    let channel = empty();
    let settings = json!({ "mode": "append", "check_column": "id" });
    run(site.source(&settings), &channel, 10).await;
    let expected = [
        r#"{"id":1,"a":0.1,"b":"x\u0000é\"","c":"AP8=","d":9223372036854775807,"e f":null}"#,
        r#"{"id":2,"a":"Infinity","b":"","c":"","d":-9223372036854775808,"e f":"9999-12-31"}"#,
    ];
    assert_eq!(channel.bodies(0), expected);
    let channel = empty();
    let settings = json!({
        "table": null, "query": "SELECT id, b FROM t WHERE $CONDITIONS AND id > 1", "format": "csv",
        "mode": "append", "check_column": "id", "where": "b = '' -- only",
    });
    run(site.source(&settings), &channel, 10).await;
    assert_eq!(channel.bodies(0), ["2,\"\""]);
}

/// Returns the error with which the source opens.
async fn problem(site: &Site, settings: &Value, channels: &Arc<Channels>) -> String {
    let mut source = site.source(settings);
    let cx = position_context(channels.clone(), CancellationToken::new());
    source.open(&cx).await.unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejects_settings_that_would_lose_rows_when_opening() {
    let site = Site::new("CREATE TABLE t (id INTEGER, at TEXT); INSERT INTO t VALUES (NULL, 'x')");
    let good = json!({ "mode": "append", "check_column": "at" });
    let full = json!({ "mode": "full", "key": ["id"] });
    let one = empty();
    let said = problem(&site, &full, &one).await;
    assert!(said.contains("NULL in a column of `key`"), "{said}");
    let said = problem(&site, &good, &Arc::new(Channels::new(2))).await;
    assert!(said.contains("exactly one required channel"), "{said}");
    let unknown = json!({ "mode": "append", "check_column": "nope" });
    let said = problem(&site, &unknown, &one).await;
    assert!(said.contains("nope"), "{said}");
    run(site.source(&good), &one, 10).await;
    let said = problem(&site, &json!({ "mode": "append", "check_column": "id" }), &one).await;
    assert!(said.contains("rename the source"), "{said}");
}

#[test]
fn settings_that_do_not_go_together_are_refused_with_the_remedy() {
    let good = json!({
        "database": { "url": "sqlite:/a.db" }, "table": "t", "mode": "append",
        "check_column": "id",
    });
    let problem = |changes: &Value| {
        let mut settings = good.clone();
        change(&mut settings, changes);
        build::<Config>(&settings, &cx()).err().map(|error| error.to_string())
    };
    assert_eq!(problem(&json!({})), None);
    let mut seen = BTreeSet::new();
    for (changes, expected) in [
        (json!({ "query": "SELECT 1" }), "exactly one of `table` and `query`"),
        (json!({ "table": null, "query": "SELECT 1; DROP TABLE t" }), "without a semicolon"),
        (json!({ "mode": "full" }), "columns that identify a row"),
        (json!({ "mode": "full", "key": ["id"] }), "does not apply to the mode `full`"),
        (json!({ "check_column": null }), "column whose values increase"),
        (json!({ "splits": 4 }), "only to the mode `full`"),
        (json!({ "delimiter": ";" }), "if `delimiter` or `null` is set"),
        (json!({ "format": "csv", "delimiter": "é" }), "an ASCII character"),
        (json!({ "format": "csv", "null": "a,b" }), "must not contain a delimiter"),
        (json!({ "fetch_size": 0 }), "fetch_size"),
        (json!({ "database": { "url": "jdbc:postgresql://db/shop" } }), "postgres://db/shop"),
        (json!({ "database": { "url": "sqlite:/a", "user": "me" } }), "remove them"),
        (json!({ "database": { "url": "postgres://db/shop" } }), "the name of the database user"),
    ] {
        let said = problem(&changes).unwrap_or_default();
        assert!(said.contains(expected), "{changes}: {said}");
        assert!(seen.insert(said));
    }
}
