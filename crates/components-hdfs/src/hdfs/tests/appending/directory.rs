//! Each committed file is in a table without a catalog server once, whatever fails.
//!
//! The versions of the table are read as Iceberg's readers do it: from the hint, and then the
//! versions after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use formats::format::Format;
use iceberg::metadata::Table;
use iceberg::partition::new_spec;
use iceberg::request::create;
use iceberg::schema::{FileColumn, new_schema};
use iceberg::versions::created;
use pipeline::{BoundValue, ColumnStatistics, Encoder, Events, FileEncoder, FileEnd, Sink};
use serde_json::{Value, json};
use storage::FileSystem;
use storage::faults::{Fault, Faulty};
use storage::memory::Memory;
use storage::objects::Objects;
use tokio::time::sleep;

use super::{MINUTE, append_at_the_same_time, compare_table, files, of, settings, start_with};
use crate::hdfs::HdfsSink;
use crate::hdfs::append::{Reach, Target};
use crate::hdfs::tests::harness::{Collector, at_rest, drive, visible};

const METADATA: &str = "/w/logs/web/metadata";

fn start(collector: &Collector, store: Arc<dyn FileSystem>) -> HdfsSink {
    let (url, path) = ("file:///w/logs/web".to_owned(), "/w/logs/web".to_owned());
    start_with(collector, store, Reach::Directory { url, path })
}

/// Returns the table, and the number of versions that exist.
fn newest(store: &Memory) -> (Table, u64) {
    let files = store.files();
    let hint = String::from_utf8(files[&format!("{METADATA}/version-hint.text")].to_vec()).unwrap();
    let version = |number: u64| files.get(&format!("{METADATA}/v{number}.metadata.json"));
    let newest = (hint.parse().unwrap()..).take_while(|it| version(*it).is_some()).last();
    let newest = newest.expect("the hint names a version");
    let all = files.keys().filter(|path| path.ends_with(".metadata.json")).count() as u64;
    assert!((newest + 1 - all..=newest).all(|it| version(it).is_some()), "none is missing");
    (Table::from_metadata(version(newest).unwrap()).unwrap(), all)
}

/// Returns the table, whose versions all exist.
fn table(store: &Memory) -> Table {
    assert!(store.file(&format!("{METADATA}/v1.metadata.json")).is_some());
    newest(store).0
}

/// Compares the table with the visible files; returns their number.
#[track_caller]
fn compare(store: &Memory, case: &str) -> usize {
    compare_table(table(store), store, case)
}

#[tokio::test(start_paused = true)]
async fn every_file_is_in_the_table_once_after_a_fault_at_any_call_of_the_store() {
    for fault in [Fault::DiesAfter, Fault::AnswerLost, Fault::Refused] {
        for at in 0.. {
            let (store, case) = (Memory::new(), format!("{fault:?} at call {at}"));
            let faulty = Arc::new(Faulty::new(Arc::new(store.clone()), fault.clone(), at));
            let [one, two] = [(); 2].map(|()| Collector::new(settings()));
            let mut sink = start(&one, faulty.clone());
            if drive(&mut sink, &[of(0, "shop"), of(1, "pay")]).await {
                sleep(MINUTE).await;
            }
            let was_hit = faulty.calls() > at;
            drop(sink);
            // Another collector continues.
            let mut sink = start(&two, Arc::new(store.clone()));
            assert!(
                drive(&mut sink, &[of(0, "shop"), of(1, "pay"), of(2, "shop")]).await,
                "{case}"
            );
            sleep(5 * MINUTE).await;
            at_rest(&sink).await;
            compare(&store, &case);
            if !was_hit {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn merges_of_manifests_and_deleted_versions_survive_a_fault_of_the_store() {
    let schema = new_schema(&[], &["app".to_owned()]);
    let spec = new_spec(&schema, &["app".to_owned()]);
    let mut request = create("web", "file:///w/logs/web", &schema, &spec);
    request["properties"] = json!({
        "commit.manifest.min-count-to-merge": "2",
        "write.metadata.delete-after-commit.enabled": "true",
        "write.metadata.previous-versions-max": "1",
    });
    let first = created(&request, "u", 1).to_string();
    // Each fault at every third call: a case has four commits with merges.
    for (fault, from) in [(Fault::DiesAfter, 0), (Fault::AnswerLost, 1)] {
        for at in (from..).step_by(3) {
            let (store, case) = (Memory::new(), format!("{fault:?} at call {at}"));
            store.put(&format!("{METADATA}/v1.metadata.json"), first.as_bytes());
            let faulty = Arc::new(Faulty::new(Arc::new(store.clone()), fault.clone(), at));
            let [one, two] = [(); 2].map(|()| Collector::new(settings()));
            let mut sink = start(&one, faulty.clone());
            for round in 0..4 {
                if drive(&mut sink, &[of(round, "shop")]).await {
                    sleep(MINUTE).await;
                }
            }
            let was_hit = faulty.calls() > at;
            drop(sink);
            let mut sink = start(&two, Arc::new(store.clone()));
            let all: Vec<_> = (0..5).map(|round| of(round, "shop")).collect();
            assert!(drive(&mut sink, &all).await, "{case}");
            sleep(5 * MINUTE).await;
            at_rest(&sink).await;
            assert_eq!(sink.status().unwrap().read().trouble, None, "{case}");
            let (table, versions) = newest(&store);
            compare_table(table, &store, &case);
            if !was_hit {
                assert_eq!(versions, 2, "the newest one and the one before it");
                let paths = store.files().into_keys();
                let merged = paths.filter(|path| path.ends_with("-merged.avro")).count();
                assert!(merged > 1, "{merged}");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn collectors_append_to_one_table_at_the_same_time() {
    append_at_the_same_time(
        |collector, store, ()| start(collector, store),
        |(), store, case| compare(store, case),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn object_stores_have_such_tables_too() {
    let store = Memory::new();
    let objects = Arc::new(Objects::over(Arc::new(store.clone())));
    let collector = Collector::new(settings());
    let mut sink = start(&collector, objects);
    for round in 0..3 {
        assert!(drive(&mut sink, &[of(round, "shop")]).await);
        sleep(MINUTE).await;
    }
    sleep(5 * MINUTE).await;
    assert_eq!(compare(&store, "objects"), 3);
}

/// Writes lines with numbers, whose bounds are its statistics.
struct Numbers;

impl Encoder for Numbers {
    fn size_bound(&self, events: &Events) -> u64 {
        events.body_bytes() + events.len() as u64
    }

    fn statistics(&self, end: &[u8]) -> Option<FileEnd> {
        let numbers = std::str::from_utf8(end).unwrap().lines().map(|line| line.parse().unwrap());
        let numbers: Vec<i64> = numbers.collect();
        let bound = |number: Option<&i64>| number.map(|it| BoundValue::Long(*it));
        Some(FileEnd::Statistics(vec![ColumnStatistics {
            id: 1,
            bytes: end.len() as u64,
            values: numbers.len() as u64,
            nulls: Some(0),
            nans: None,
            bounds: bound(numbers.iter().min()).zip(bound(numbers.iter().max())),
        }]))
    }

    fn begin(&self) -> Box<dyn FileEncoder> {
        struct Lines;
        impl FileEncoder for Lines {
            fn encode(&mut self, events: &Events) -> Bytes {
                let lines = events.iter().map(|event| [event.body(), b"\n"].concat());
                lines.collect::<Vec<_>>().concat().into()
            }

            fn finish(&mut self) -> Bytes {
                Bytes::new()
            }
        }
        Box::new(Lines)
    }
}

/// Starts a collector for a table that is partitioned by `truncate[10](n)` and by directories.
fn start_numbers(collector: &Collector, store: Arc<dyn FileSystem>) -> HdfsSink {
    let mut sink = start(collector, store);
    let own = Arc::get_mut(&mut sink.settings).expect("it is not open");
    own.format = Arc::new(Format::plain(Box::new(Numbers)));
    let (url, path) = ("file:///w/logs/web".to_owned(), "/w/logs/web".to_owned());
    let reach = Reach::Directory { url, path };
    own.target = Some(Target::of_test(reach, vec![number()], &["app"]));
    sink
}

fn number() -> FileColumn {
    FileColumn { id: 1, name: "n".to_owned(), kind: "long".to_owned(), required: false }
}

#[tokio::test(start_paused = true)]
async fn file_without_one_partition_value_is_in_the_table_once_too() {
    let app = json!({"source-id": 2, "field-id": 1001, "name": "app", "transform": "identity"});
    let tens = json!({"source-id": 1, "field-id": 1000, "name": "tens",
        "transform": "truncate[10]"});
    let schema = new_schema(&[number()], &["app".to_owned()]);
    let spec = json!({"spec-id": 0, "fields": [tens, app]});
    let request = create("web", "file:///w/logs/web", &schema, &spec);
    let first = created(&request, "u", 1).to_string();
    for fault in [Fault::DiesAfter, Fault::AnswerLost] {
        for at in 0.. {
            let (store, case) = (Memory::new(), format!("{fault:?} at call {at}"));
            store.put(&format!("{METADATA}/v1.metadata.json"), first.as_bytes());
            let faulty = Arc::new(Faulty::new(Arc::new(store.clone()), fault.clone(), at));
            let [one, two] = [(); 2].map(|()| Collector::new(settings()));
            let mut sink = start_numbers(&one, faulty.clone());
            // The batches of one directory share a file.
            if drive(&mut sink, &[of(5, "shop"), of(15, "shop"), of(17, "pay")]).await {
                sleep(MINUTE).await;
            }
            let was_hit = faulty.calls() > at;
            drop(sink);
            let mut sink = start_numbers(&two, Arc::new(store.clone()));
            let batches = [of(5, "shop"), of(15, "shop"), of(17, "pay"), of(27, "shop")];
            assert!(drive(&mut sink, &batches).await, "{case}");
            sleep(5 * MINUTE).await;
            at_rest(&sink).await;
            assert_eq!(sink.status().unwrap().read().trouble, None, "{case}");
            let contents = store.files();
            let data = visible(&contents).into_keys().filter(|path| !path.contains("/metadata/"));
            let expected = data.map(|path| {
                let text = String::from_utf8(contents[path].to_vec()).unwrap();
                let tens = text.lines().map(|line| line.parse::<i64>().unwrap() / 10 * 10);
                let tens: BTreeSet<i64> = tens.collect();
                let app = if path.contains("app=shop") { "shop" } else { "pay" };
                let partition = match tens.len() {
                    1 => json!({"tens": tens.first(), "app": app}),
                    _ => json!({"app": app}),
                };
                (path.to_owned(), vec![partition])
            });
            let expected: BTreeMap<String, Vec<Value>> = expected.collect();
            assert_eq!(files(table(&store), &store), expected, "{case}");
            if !was_hit {
                let others = expected.values().filter(|it| it[0].get("tens").is_none()).count();
                assert!(others > 0, "some file has two values: {expected:?}");
                break;
            }
        }
    }
}
