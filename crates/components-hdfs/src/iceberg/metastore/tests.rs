//! A table in a model of a metastore: commits through lost answers, other writers, and locks that
//! are held, lost or never released.

use std::time::Duration;

use iceberg::TableError;
use iceberg::request::{NewSnapshot, create};
use iceberg::schema::{FileColumn, new_schema};
use iceberg::versions::DELETES;
use serde_json::json;
use storage::memory::Memory;
use tokio::time::{Instant, sleep};

use super::*;
use crate::hive::model::{Fate, Model};

const METADATA: &str = "/w/t/metadata";

fn catalog(store: &Memory, model: &Model) -> MetastoreCatalog {
    let own = ("file".to_owned(), String::new());
    let stores = Stores([own.clone(), own]);
    MetastoreCatalog::new(Arc::new(store.clone()), env::real(), model.entry(), stores)
}

fn request() -> Value {
    let column = |id: i32, name: &str, kind: &str| FileColumn {
        id,
        name: name.to_owned(),
        kind: kind.to_owned(),
        required: false,
    };
    let schema = new_schema(&[column(1, "n", "int"), column(2, "at", "timestamptz")], &[]);
    create("web", "file:///w/t", &schema, &json!({"spec-id": 0, "fields": []}))
}

/// Creates a table whose property `engine.hive.lock-enabled` is set, if one is given.
async fn with_table(store: &Memory, model: &Model, locks: Option<&str>) -> MetastoreCatalog {
    let catalog = catalog(store, model);
    assert!(catalog.load().await.unwrap().is_none());
    let mut request = request();
    if let Some(locks) = locks {
        request["properties"][LOCKS] = locks.into();
    }
    catalog.create(&request).await.unwrap();
    catalog
}

async fn table(catalog: &MetastoreCatalog) -> Table {
    catalog.load().await.unwrap().expect("the table exists")
}

fn snapshot(table: &Table, id: i64) -> Value {
    let (manifest_list, manifests, properties) = ("file:///w/t/list", &[][..], &[][..]);
    table.commit(&NewSnapshot { id, at_ms: 1, manifest_list, manifests, properties })
}

async fn commit(catalog: &MetastoreCatalog, id: i64) -> Result<CommitAnswer, CatalogError> {
    let table = table(catalog).await;
    catalog.commit(&snapshot(&table, id)).await
}

async fn current(catalog: &MetastoreCatalog) -> Option<i64> {
    table(catalog).await.snapshot.map(|snapshot| snapshot.id)
}

fn is_done(answer: Result<CommitAnswer, CatalogError>) -> bool {
    matches!(answer.unwrap(), CommitAnswer::Done)
}

fn reason(answer: Result<CommitAnswer, CatalogError>) -> String {
    match answer.unwrap() {
        CommitAnswer::Done => panic!("it is not in the table"),
        CommitAnswer::Unsettled(error) => error.to_string(),
    }
}

/// Returns the number of versions in the store, and whether the entry names one of them.
fn versions(store: &Memory, model: &Model) -> (usize, bool) {
    let location = model.parameter(LOCATION).unwrap();
    let files = store.files();
    let is_there = files.contains_key(location.strip_prefix("file://").unwrap());
    (files.keys().filter(|path| path.ends_with(".metadata.json")).count(), is_there)
}

#[tokio::test(start_paused = true)]
async fn of_two_commits_on_one_version_one_wins_with_and_without_locks() {
    for (locks, is_old) in [(None, false), (None, true), (Some("false"), false)] {
        let (store, model) = (Memory::new(), Model::default());
        model.with(|state| state.is_old = is_old);
        let catalog = with_table(&store, &model, locks).await;
        let other = self::catalog(&store, &model);
        let first = table(&catalog).await;
        let (one, two) = (snapshot(&first, 1), snapshot(&first, 2));
        let answers = tokio::join!(catalog.commit(&one), other.commit(&two));
        let done = [is_done(answers.0), is_done(answers.1)];
        assert_eq!(done.iter().filter(|done| **done).count(), 1, "{locks:?}: {done:?}");
        let winner = if done[0] { 1 } else { 2 };
        assert_eq!(current(&catalog).await, Some(winner));
        assert!(is_done(commit(&catalog, 3).await));
        let used = model.with(|state| state.calls.iter().any(|call| call == "lock"));
        assert_eq!(used, locks.is_none());
        assert_eq!(model.with(|state| state.locks.len()), 0, "all locks are released");
        assert!(versions(&store, &model).1);
    }
}

#[tokio::test(start_paused = true)]
async fn versions_are_named_and_described_as_other_writers_do_it() {
    let (store, model) = (Memory::new(), Model::default());
    let catalog = with_table(&store, &model, None).await;
    let first = model.parameter(LOCATION).unwrap();
    assert!(first.starts_with("file:///w/t/metadata/00000-"), "{first}");
    assert_eq!(model.parameter("EXTERNAL").as_deref(), Some("TRUE"));
    assert!(is_done(commit(&catalog, 7).await));
    let second = model.parameter(LOCATION).unwrap();
    assert!(second.starts_with("file:///w/t/metadata/00001-"), "{second}");
    assert_eq!(model.parameter(PREVIOUS), Some(first.clone()));
    assert_eq!(model.parameter("current-snapshot-id").as_deref(), Some("7"));
    assert_eq!(model.parameter("snapshot-count").as_deref(), Some("1"));
    let content = store.file(second.strip_prefix("file://").unwrap()).unwrap();
    let content: Value = serde_json::from_slice(&content).unwrap();
    assert_eq!(content["metadata-log"][0]["metadata-file"], first);
}

#[tokio::test(start_paused = true)]
async fn answer_that_is_lost_is_unknown_and_the_table_decides() {
    for (fate, in_table) in [(Fate::Silent, Some(1)), (Fate::Lost, None), (Fate::Late, None)] {
        for locks in [None, Some("false")] {
            let (store, model) = (Memory::new(), Model::default());
            let catalog = with_table(&store, &model, locks).await;
            model.with(|state| state.script.push_back(fate));
            let text = reason(commit(&catalog, 1).await);
            assert!(text.contains("lost the connection to the metastore"), "{text}");
            assert_eq!(current(&catalog).await, in_table, "{fate:?}");
            assert_eq!(versions(&store, &model), (2, true), "{fate:?}: no version is deleted");
            assert_eq!(model.with(|state| state.locks.len()), 0);
            // A late call is executed before this one, and makes it fail.
            let is_first = is_done(commit(&catalog, 2).await);
            assert_eq!(is_first, fate != Fate::Late, "{fate:?}");
            let expected = if is_first { 2 } else { 1 };
            assert_eq!(current(&catalog).await, Some(expected), "{fate:?}");
            assert!(versions(&store, &model).1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rejected_commit_leaves_no_file_and_is_an_error() {
    let (store, model) = (Memory::new(), Model::default());
    let catalog = with_table(&store, &model, None).await;
    model.with(|state| state.script.push_back(Fate::Rejected));
    let error = commit(&catalog, 1).await.unwrap_err().to_string();
    assert!(error.contains("not allowed here") && error.contains("`iceberg`"), "{error}");
    assert_eq!((versions(&store, &model), current(&catalog).await), ((1, true), None));
    assert_eq!(model.with(|state| state.locks.len()), 0);
}

#[tokio::test(start_paused = true)]
async fn requirement_that_the_database_cannot_check_is_omitted_only_with_a_lock() {
    for (locks, works) in [(None, true), (Some("false"), false)] {
        let (store, model) = (Memory::new(), Model::default());
        model.with(|state| state.cannot_require = true);
        let catalog = with_table(&store, &model, locks).await;
        let answer = commit(&catalog, 1).await;
        assert_eq!(matches!(answer, Ok(CommitAnswer::Done)), works, "{answer:?}");
        if let Err(error) = answer {
            assert!(error.to_string().contains("make sure direct SQL is enabled"), "{error}");
        }
        assert_eq!(current(&catalog).await, works.then_some(1));
    }
}

#[tokio::test(start_paused = true)]
async fn commit_of_another_writer_in_between_is_kept() {
    for call in ["lock", "heartbeat", "alter_table_with_environment_context"] {
        let (store, model) = (Memory::new(), Model::default());
        let catalog = with_table(&store, &model, None).await;
        model.before(call, |state| {
            let parameters = &mut state.entry.as_mut().unwrap().parameters;
            parameters.insert(LOCATION.to_owned(), "file:///w/t/metadata/foreign".to_owned());
        });
        let text = reason(commit(&catalog, 1).await);
        assert!(text.contains("another writer changed the table first"), "{call}: {text}");
        let found = model.parameter(LOCATION).unwrap();
        assert_eq!(found, "file:///w/t/metadata/foreign", "{call}");
        // After a call that may have replaced the entry, the file stays.
        let left = if call == "lock" { 1 } else { 2 };
        assert_eq!(versions(&store, &model).0, left, "{call}");
    }
}

#[tokio::test(start_paused = true)]
async fn waits_for_the_lock_of_another_writer() {
    let (store, model) = (Memory::new(), Model::default());
    let catalog = with_table(&store, &model, None).await;
    model.with(|state| state.lock_foreign());
    let released = model.clone();
    tokio::spawn(async move {
        sleep(Duration::from_secs(20)).await;
        released.with(|state| state.unlock_foreign());
    });
    let since = Instant::now();
    assert!(is_done(commit(&catalog, 1).await));
    assert!(since.elapsed() < Duration::from_secs(27), "{:?}", since.elapsed());
    assert_eq!(model.with(|state| state.locks.len()), 0);
}

#[tokio::test(start_paused = true)]
async fn lock_of_a_dead_writer_is_an_error_with_its_holder() {
    let (store, model) = (Memory::new(), Model::default());
    let catalog = with_table(&store, &model, None).await;
    model.with(|state| state.lock_foreign());
    let error = commit(&catalog, 1).await.unwrap_err().to_string();
    for part in ["lock 1 of etl@worker-3 (spark)", "last heartbeat", "metastore.txn.timeout"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(versions(&store, &model), (1, true), "its version is deleted");
    assert_eq!(model.with(|state| state.locks.len()), 1, "the own request is withdrawn");
    model.with(|state| state.unlock_foreign());
    assert!(is_done(commit(&catalog, 1).await));
}

#[tokio::test(start_paused = true)]
async fn lock_that_expired_before_the_commit_prevents_it() {
    let (store, model) = (Memory::new(), Model::default());
    let catalog = with_table(&store, &model, None).await;
    model.before("heartbeat", |state| state.locks.clear());
    let text = reason(commit(&catalog, 1).await);
    assert!(text.contains("removed the lock"), "{text}");
    assert_eq!((versions(&store, &model), current(&catalog).await), ((1, true), None));
}

#[tokio::test(start_paused = true)]
async fn lock_that_expired_during_the_commit_makes_it_unknown() {
    let (store, model) = (Memory::new(), Model::default());
    let catalog = with_table(&store, &model, None).await;
    model.before("unlock", |state| state.locks.clear());
    let text = reason(commit(&catalog, 1).await);
    assert!(text.contains("removed the lock"), "{text}");
    assert_eq!((versions(&store, &model), current(&catalog).await), ((2, true), Some(1)));
}

#[tokio::test(start_paused = true)]
async fn lock_whose_answer_was_lost_is_found_and_used() {
    let (store, model) = (Memory::new(), Model::default());
    let catalog = with_table(&store, &model, None).await;
    model.with(|state| state.lock_script.extend([Fate::Silent, Fate::Lost]));
    assert!(is_done(commit(&catalog, 1).await));
    let error = commit(&catalog, 2).await.unwrap_err().to_string();
    assert!(error.contains("lost the connection to the metastore"), "{error}");
    assert!(is_done(commit(&catalog, 2).await));
    assert_eq!(model.with(|state| state.locks.len()), 0);
}

#[tokio::test(start_paused = true)]
async fn aborted_commit_releases_its_lock() {
    let (store, model) = (Memory::new(), Model::default());
    let catalog = with_table(&store, &model, None).await;
    let table = table(&catalog).await;
    model.with(|state| state.lock_foreign());
    let request = snapshot(&table, 1);
    let aborted =
        tokio::time::timeout(Duration::from_secs(1), catalog.commit(&request)).await.is_err();
    assert!(aborted);
    assert_eq!(model.with(|state| state.locks.len()), 2, "it still waits");
    model.with(|state| state.unlock_foreign());
    sleep(Duration::from_secs(10)).await;
    assert_eq!(model.with(|state| state.locks.len()), 0);
    assert_eq!(current(&catalog).await, Some(1));
}

#[tokio::test(start_paused = true)]
async fn other_tables_and_other_places_are_refused_with_the_remedy() {
    let (store, model) = (Memory::new(), Model::default());
    let catalog = with_table(&store, &model, None).await;
    let set = |name: &'static str, value: &'static str| {
        model.with(|state| {
            let parameters = &mut state.entry.as_mut().unwrap().parameters;
            parameters.insert(name.to_owned(), value.to_owned());
        });
    };
    for (name, value, problem) in [
        (LOCATION, "hdfs://other/t/metadata/1.json", "is not in the store of `url`"),
        (LOCATION, "file:///w/t/metadata/1-u.gz.metadata.json", "compression-codec` to `none`"),
        (LOCATION, "file:///w/t/metadata/1-u.metadata.json", "cannot read or write the metadata"),
        ("table_type", "HUDI", "`logs.web` in the metastore is not an Iceberg table"),
    ] {
        set(name, value);
        for error in [
            catalog.load().await.unwrap_err(),
            catalog.commit(&json!({"requirements": [], "updates": []})).await.unwrap_err(),
        ] {
            assert!(error.to_string().contains(problem), "{error}");
        }
    }
    model.with(|state| state.entry.as_mut().unwrap().parameters.clear());
    assert!(matches!(catalog.load().await, Err(CatalogError::OtherType { .. })));
    model.with(|state| state.entry = None);
    assert!(catalog.load().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn table_type_is_read_in_any_case() {
    let (store, model) = (Memory::new(), Model::default());
    let catalog = with_table(&store, &model, None).await;
    model.with(|state| {
        let parameters = &mut state.entry.as_mut().unwrap().parameters;
        parameters.insert("table_type".to_owned(), "iceberg".to_owned());
    });
    assert!(is_done(commit(&catalog, 1).await));
}

#[tokio::test(start_paused = true)]
async fn existing_table_is_not_replaced_and_the_second_version_is_deleted() {
    let (store, model) = (Memory::new(), Model::default());
    let catalog = with_table(&store, &model, None).await;
    let uuid = table(&catalog).await.uuid;
    catalog.create(&request()).await.unwrap();
    assert_eq!((table(&catalog).await.uuid, versions(&store, &model)), (uuid, (1, true)));
}

#[tokio::test(start_paused = true)]
async fn change_of_the_schema_changes_the_columns_of_the_entry_and_nothing_else() {
    let (store, model) = (Memory::new(), Model::default());
    let catalog = with_table(&store, &model, None).await;
    let entry = || model.with(|state| state.entry.clone().unwrap());
    let before = entry();
    assert!(is_done(commit(&catalog, 1).await));
    let mut same = entry();
    same.parameters.clone_from(&before.parameters);
    assert_eq!(same, before, "a snapshot changes only parameters");
    let metadata = table(&catalog).await;
    let fields = json!([{"id": 1, "name": "n", "required": false, "type": "long"},
        {"id": 2, "name": "at", "required": false, "type": "timestamptz"},
        {"id": 3, "name": "x", "required": false, "type": "string"}]);
    let schema = json!({"type": "struct", "schema-id": 1, "fields": fields});
    let request = json!({
        "requirements": [{"type": "assert-table-uuid", "uuid": metadata.uuid}],
        "updates": [{"action": "add-schema", "schema": schema, "last-column-id": 3},
            {"action": "set-current-schema", "schema-id": -1}],
    });
    assert!(is_done(catalog.commit(&request).await));
    let mut expected = before.clone();
    let kinds = [("n", "bigint"), ("at", "timestamp"), ("x", "string")];
    let columns = kinds.map(|(name, kind)| Column { name: name.into(), kind: kind.into() });
    expected.set_columns(&columns);
    expected.parameters.clone_from(&entry().parameters);
    assert_eq!(entry(), expected);
    let mut unchanged = before;
    unchanged.parameters = expected.parameters;
    assert_ne!(entry(), unchanged);
    assert!(model.parameter("current-schema").unwrap().contains("\"x\""));
}

#[tokio::test(start_paused = true)]
async fn versions_that_leave_the_log_are_deleted_if_the_table_asks_for_it() {
    let (store, model) = (Memory::new(), Model::default());
    let catalog = with_table(&store, &model, None).await;
    let properties = [
        (DELETES.to_owned(), "true".to_owned()),
        ("write.metadata.previous-versions-max".to_owned(), "2".to_owned()),
    ];
    let (manifest_list, manifests) = ("file:///w/t/list", &[][..]);
    let new = NewSnapshot { id: 1, at_ms: 1, manifest_list, manifests, properties: &properties };
    let request = table(&catalog).await.commit(&new);
    assert!(is_done(catalog.commit(&request).await));
    for id in 2..7 {
        assert!(is_done(commit(&catalog, id).await));
    }
    assert_eq!(versions(&store, &model), (3, true), "the newest version and two before it");
    let paths = store.files().into_keys();
    assert!(paths.filter(|path| path.ends_with(".json")).all(|path| path.starts_with(METADATA)));
}

#[test]
fn versions_have_increasing_numbers_in_their_names() {
    let number = |base: &str| {
        let url = next_url("hdfs://nn/t/", base, [7; 16]);
        url.strip_prefix("hdfs://nn/t/metadata/").unwrap()[..6].to_owned()
    };
    assert_eq!(number("hdfs://nn/t/metadata/00041-a-b.metadata.json"), "00042-");
    assert_eq!(number("hdfs://nn/t/metadata/99999-a.metadata.json"), "100000");
    assert_eq!(number("hdfs://nn/t/metadata/v3.metadata.json"), "00000-");
    let error = compressed("x");
    assert!(matches!(error, CatalogError::Table(TableError::Unsupported { .. })));
}
