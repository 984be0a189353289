//! Goal: rows are stored exactly once, even if batches repeat, and only invalid rows are rejected.
//!
//! Method: the sink writes to a real SQLite file, and a second one plays another collector.
//! Repeated batches simulate crashes.

use std::path::Path;

use pipeline::testkit::build;
use pipeline::{Epoch, Origin, Outcome, Sequence, Taken};
use serde_json::{Value as Json, json};

use super::*;
use crate::testing::File;

fn settings(file: &File, more: &Json) -> Json {
    let mut settings = json!({
        "database": { "url": file.url() },
        "table": "t",
        "ledger": { "create": true, "name": "one" },
    });
    let more = more.as_object().unwrap().clone();
    settings.as_object_mut().unwrap().extend(more);
    settings
}

fn made(settings: &Json) -> Result<Box<dyn Sink>, pipeline::SettingsError> {
    let cx = BuildContext::alone("out", Path::new("unused"), env::real());
    build::<Config>(settings, &cx)
}

struct Fixture {
    _folder: tempfile::TempDir,
    file: File,
    more: Json,
    sink: Box<dyn Sink>,
}

/// Result of a batch: the places in the dead letter, if any.
type Became = Option<(Vec<String>, &'static str, String)>;

impl Fixture {
    async fn new(tables: &str, more: Json) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = File::new(folder.path().join("db"), module_path!(), tables);
        let mut sink = made(&settings(&file, &more)).unwrap();
        sink.open().await.unwrap();
        Self { _folder: folder, file, more, sink }
    }

    /// Restarts the sink like a new process.
    async fn restart(&mut self) {
        self.sink.close().await;
        self.sink = made(&settings(&self.file, &self.more)).unwrap();
        self.sink.open().await.unwrap();
    }

    /// Returns the result of a query as text.
    fn ask(&self, sql: &str) -> String {
        self.file.ask(sql)
    }

    async fn write(
        &mut self,
        sequence: u64,
        bodies: &[&str],
    ) -> Result<Became, pipeline::SinkError> {
        let mut batch = Batch::of(bodies);
        let origin = Origin([1; 16]);
        batch.envelope.identity =
            Some(Identity { origin, epoch: Epoch(1 << 20), sequence: Sequence(sequence) });
        self.sink.write(Taken { ticket: sequence, batch }).await?;
        let mut letter = None;
        loop {
            match self.sink.settled().await.outcome {
                Outcome::Delivered => return Ok(letter),
                Outcome::Refused(found) => {
                    let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
                    let bodies = found.events.iter().map(|event| text(event.body())).collect();
                    letter = Some((bodies, found.reason, found.detail.clone()));
                    if found.whole {
                        return Ok(letter);
                    }
                }
                Outcome::Again(Some(error)) => return Err(error),
                other => panic!("{other:?}"),
            }
        }
    }
}

const COUNT: &str = "SELECT count(*) || ' ' || coalesce(sum(n), 0) FROM t";

#[tokio::test]
async fn a_batch_that_comes_again_is_known_also_by_another_process() {
    let mut fixture = Fixture::new("CREATE TABLE t (n INTEGER, s TEXT)", json!({})).await;
    for round in 0..3 {
        for sequence in 0..10 {
            let (one, two) = (2 * sequence, 2 * sequence + 1);
            let bodies = [format!("{{\"n\":{one}}}"), format!("{{\"n\":{two},\"s\":\"x\"}}")];
            let became = fixture.write(sequence, &[&bodies[0], &bodies[1]]).await.unwrap();
            assert_eq!(became, None);
        }
        assert_eq!(fixture.ask(COUNT), "20 190", "round {round}");
        fixture.restart().await;
    }
    let row = fixture.ask("SELECT sink || ' ' || batches || ' ' || events FROM aqueduct_applied");
    assert_eq!(row, "one 10 20");
}

#[tokio::test]
async fn traces_the_commit_of_a_new_batch_only() {
    let more = json!({});
    let mut fixture = Fixture::new("CREATE TABLE t (n INTEGER)", more.clone()).await;
    let cx = BuildContext::alone("out", Path::new("unused"), env::real());
    let traces = cx.get::<Traces>();
    let mut spans = traces.begin(1.0, Counter::default(), env::real().clock.clone());
    fixture.sink = build::<Config>(&settings(&fixture.file, &more), &cx).unwrap();
    fixture.sink.open().await.unwrap();
    for _again in 0..2 {
        fixture.write(7, &["{\"n\":1}", "{\"n\":2}"]).await.unwrap();
    }
    let span = spans.try_recv().unwrap();
    assert!(span.name == "commit" && span.error.is_none(), "{span:?}");
    let table = ("aqueduct.table", Attribute::Text("t".into()));
    assert_eq!(span.attributes.last(), Some(&table));
    assert!(spans.try_recv().is_err(), "it was applied once");
}

#[tokio::test]
async fn a_batch_whose_identity_cannot_be_written_leaves_no_row() {
    let mut fixture = Fixture::new("CREATE TABLE t (n INTEGER)", json!({})).await;
    let trigger = "CREATE TRIGGER no BEFORE UPDATE ON aqueduct_applied \
                   BEGIN SELECT RAISE(ABORT, 'not now'); END";
    fixture.file.run(trigger);
    let error = fixture.write(0, &["{\"n\":1}"]).await.unwrap_err();
    assert!(error.to_string().contains("not now"), "{error}");
    assert_eq!(fixture.ask(COUNT), "0 0");
    fixture.file.run("DROP TRIGGER no");
    assert_eq!(fixture.write(0, &["{\"n\":1}"]).await.unwrap(), None);
    assert_eq!(fixture.ask(COUNT), "1 1");
}

#[tokio::test]
async fn collectors_with_the_same_batches_apply_each_once() {
    let mut one = Fixture::new("CREATE TABLE t (n INTEGER)", json!({})).await;
    let mut other = Fixture {
        _folder: tempfile::tempdir().unwrap(),
        file: one.file.clone(),
        more: json!({}),
        sink: made(&settings(&one.file, &json!({}))).unwrap(),
    };
    other.sink.open().await.unwrap();
    for sequence in 0..30 {
        let body = format!("{{\"n\":{sequence}}}");
        let body = [&*body];
        let (first, second) =
            tokio::join!(one.write(sequence, &body), other.write(sequence, &body));
        assert_eq!((first.unwrap(), second.unwrap()), (None, None));
    }
    assert_eq!(one.ask(COUNT), format!("30 {}", (0..30).sum::<usize>()));
}

#[tokio::test]
async fn a_bad_row_is_a_dead_letter_and_so_it_is_when_the_batch_comes_again() {
    let tables = "CREATE TABLE t (n INTEGER PRIMARY KEY, s TEXT CHECK (s <> 'bad'))";
    let mut fixture = Fixture::new(tables, json!({ "rows_max": 3 })).await;
    let body = |n: usize, s: &str| format!("{{\"n\":{n},\"s\":\"{s}\"}}");
    let mut bodies: Vec<String> = (0..20).map(|n| body(n, "good")).collect();
    bodies[4] = body(4, "bad");
    bodies[5] = body(3, "again");
    bodies[11] = "{\"n\":\"eleven\"}".to_owned();
    bodies[19] = "no JSON".to_owned();
    let given: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let first = fixture.write(0, &given).await.unwrap();
    let (letter, reason, detail) = first.clone().unwrap();
    assert_eq!(letter, [&*bodies[4], &*bodies[5], &*bodies[11], &*bodies[19]]);
    assert_eq!(reason, "refused");
    for part in ["event 4: ", "CHECK constraint failed", "event 5: ", "UNIQUE", "64-bit integer"] {
        assert!(detail.contains(part), "{detail}");
    }
    assert_eq!(fixture.ask(COUNT), format!("16 {}", (0..20).sum::<usize>() - 4 - 5 - 11 - 19));
    fixture.restart().await;
    assert_eq!(fixture.write(0, &given).await.unwrap(), first, "the same letter");
    assert_eq!(fixture.write(1, &["{\"n\":20}"]).await.unwrap(), None);
    assert_eq!(fixture.ask("SELECT '' || count(*) FROM aqueduct_applied_refused"), "1");
}

#[tokio::test]
async fn upserts_keep_the_last_state_and_updates_need_a_row() {
    let more = json!({ "mode": "upsert", "key": ["k"] });
    let tables = "CREATE TABLE t (k TEXT PRIMARY KEY, n INTEGER, s TEXT DEFAULT 'new')";
    let mut fixture = Fixture::new(tables, more).await;
    let bodies = [
        r#"{"k":"a","n":1}"#,
        r#"{"k":"b","n":1}"#,
        r#"{"k":"a","n":"no"}"#,
        r#"{"k":"a","s":"x"}"#,
        r#"{"k":"a","n":2}"#,
    ];
    let letter = fixture.write(0, &bodies).await.unwrap().unwrap();
    assert_eq!(letter.0, [bodies[2]]);
    let all = "SELECT group_concat(k || n || s) FROM (SELECT * FROM t ORDER BY k)";
    assert_eq!(fixture.ask(all), "a2x,b1new", "what a row leaves out stays as it was");
    fixture.more = json!({ "mode": "update", "key": ["k"] });
    fixture.restart().await;
    let bodies = [r#"{"k":"b","n":7}"#, r#"{"k":"c","n":7}"#, r#"{"n":8}"#];
    let (letter, _, detail) = fixture.write(1, &bodies).await.unwrap().unwrap();
    assert_eq!(letter, [bodies[1], bodies[2]]);
    assert!(
        detail.contains("no row of the table has this key") && detail.contains("the key column"),
        "{detail}"
    );
    assert_eq!(fixture.ask(all), "a2x,b7new");
}

#[tokio::test]
async fn a_table_that_changes_is_read_again_before_a_row_is_refused() {
    let mut fixture = Fixture::new("CREATE TABLE t (n INTEGER NOT NULL)", json!({})).await;
    assert_eq!(fixture.write(0, &["{\"n\":1}"]).await.unwrap(), None);
    fixture.file.run("DROP TABLE t; CREATE TABLE t (n TEXT, m)");
    let became = fixture.write(1, &["{\"n\":\"one\"}", "{\"n\":\"two\",\"m\":3}"]).await;
    assert_eq!(became.unwrap(), None);
    assert_eq!(fixture.ask("SELECT group_concat(n || coalesce(m, '')) FROM t"), "one,two3");
}

#[tokio::test]
async fn table_errors_name_the_remedy_and_dead_letter_nothing() {
    let mut fixture = Fixture::new("CREATE TABLE t (n INTEGER)", json!({})).await;
    fixture.file.run("DROP TABLE t");
    let error = fixture.write(0, &["{\"n\":1}"]).await.unwrap_err();
    assert_eq!(error.class, pipeline::ErrorClass::Blocked, "{error}");
    fixture.file.run("CREATE TABLE t (n INTEGER)");
    fixture.sink.open().await.unwrap();
    assert_eq!(fixture.write(0, &["{\"n\":1}"]).await.unwrap(), None);
    assert_eq!(fixture.ask(COUNT), "1 1");

    for (more, expected) in [
        (json!({ "table": "missing" }), "no table `missing`"),
        (json!({ "ledger": { "table": "other" } }), "set `ledger.create = true`"),
        (json!({ "columns": { "m": "m" } }), "`columns.m`"),
        (json!({ "mode": "update", "key": ["k"] }), "no column `k`"),
    ] {
        let mut sink = made(&settings(&fixture.file, &more)).unwrap();
        let said = sink.open().await.unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    }
}

#[tokio::test]
async fn staged_rows_are_moved_once_and_those_of_others_are_not() {
    let tables = "CREATE TABLE s (n INTEGER, v TEXT); CREATE TABLE t (n INTEGER, v TEXT, w TEXT)";
    let mut fixture = Fixture::new(tables, json!({ "table": "s" })).await;
    let settings = settings(&fixture.file, &json!({ "table": "s" }));
    let cx = BuildContext::alone("out", Path::new("unused"), env::real());
    let staging = async || {
        let config: Config = serde_json::from_value(settings.clone()).unwrap();
        let columns = ["n".to_owned(), "v".to_owned()];
        Staging::open(config, "t", &columns, &cx).await.unwrap()
    };
    assert_eq!(staging().await.move_rows().await.unwrap(), 0);
    let (one, two) = ("{\"n\":1,\"v\":\"x\"}", "{\"n\":2}");
    assert_eq!(fixture.write(0, &[one, two]).await.unwrap(), None);
    assert!(!staging().await.is_empty().await.unwrap());
    // A foreign row that looks the same.
    fixture.file.run("INSERT INTO s VALUES (1, 'x')");
    let said = staging().await.move_rows().await.unwrap_err().to_string();
    assert!(said.contains("has 3 rows, but this export added 2"), "{said}");
    assert_eq!(fixture.ask(COUNT), "0 0", "nothing is moved");
    fixture.file.run("DELETE FROM s WHERE rowid = 3");
    assert_eq!(staging().await.move_rows().await.unwrap(), 2);
    assert_eq!(fixture.ask(COUNT), "2 3");
    assert!(staging().await.is_empty().await.unwrap());
    // Moved rows are not considered missing, and only the next rows are moved.
    assert_eq!(staging().await.move_rows().await.unwrap(), 0);
    fixture.restart().await;
    assert_eq!(fixture.write(0, &[one, two]).await.unwrap(), None);
    assert_eq!(fixture.write(1, &["{\"n\":3}"]).await.unwrap(), None);
    assert_eq!(staging().await.move_rows().await.unwrap(), 1);
    assert_eq!(fixture.ask(COUNT), "3 6");
    let row = "SELECT batches || ' ' || events FROM aqueduct_applied WHERE origin = 'moved'";
    assert_eq!(fixture.ask(row), "2 3");
    fixture.file.run("DROP TABLE t; CREATE TABLE t (n, w TEXT NOT NULL)");
    for (columns, expected) in [(["n"], "column `w`"), (["v"], "no column `v`")] {
        let config: Config = serde_json::from_value(settings.clone()).unwrap();
        let columns = columns.map(str::to_owned);
        let said = Staging::open(config, "t", &columns, &cx).await.err().unwrap().to_string();
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn rejects_settings_that_cannot_work_with_the_remedy() {
    let mut good = json!({ "database": { "url": "sqlite:/db" }, "table": "t" });
    good["ledger"] = json!({ "create": true, "name": "one" });
    assert!(made(&good).is_ok());
    for (name, value, expected) in [
        ("table", json!("a.b.c"), "schema.table"),
        ("mode", json!("upsert"), "columns that identify a row"),
        ("key", json!(["k"]), "`insert` and `call`"),
        ("format", json!("csv"), "values of a line"),
        ("fields", json!(["a"]), "applies only to `csv`"),
        ("format", json!("none"), "entry for each column"),
        ("delimiter", json!("\n"), "an ASCII character"),
        ("columns", json!({ "a": "%{}" }), "`columns.a`"),
        ("rows_max", json!(0), "from 1 to"),
        ("in_flight_max", json!(0), "from 1 to"),
        ("ledger", json!({ "table": "t" }), "must differ from `table`"),
        ("ledger", json!({ "refused_kept": "1s" }), "at least 1m"),
    ] {
        let mut settings = good.clone();
        settings[name] = value;
        let said = made(&settings).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.contains(expected), "{name}: {said}");
    }
}
