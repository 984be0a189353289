//! Each committed file is in the table once, whatever fails.
//!
//! The catalog is a model that checks requests like a REST catalog, and follows a script: it loses
//! answers, rejects its own commits, delays requests. The files of the table are read from its
//! manifests in the store.

mod directory;
mod evolving;
mod metastore;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use formats::avro::container::{Block, Bytes as Avro, Head};
use iceberg::manifest::ListedManifest;
use iceberg::metadata::Table;
use iceberg::versions::{committed, created};
use pipeline::{Batch, Existing, Sink};
use serde_json::{Value, json};
use storage::FileSystem;
use storage::faults::{Fault, Faulty};
use storage::memory::Memory;
use tokio::time::sleep;

use super::harness::{Collector, at_rest, batch, drive, visible};
use crate::hdfs::HdfsSink;
use crate::hdfs::append::{Reach, Target};
use crate::iceberg::{Catalog, CatalogError, CommitAnswer};

const MINUTE: Duration = Duration::from_secs(60);

/// The result of a commit request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    /// It is applied; its answer is lost, or is a conflict with itself.
    Silent,
    /// It is lost.
    Lost,
    /// It has no answer, and arrives before the next request.
    Late,
}

const FATES: [Fate; 4] = [Fate::Fine, Fate::Silent, Fate::Lost, Fate::Late];

#[derive(Clone, Default)]
struct Model(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    metadata: Option<Value>,
    tables: u64,
    script: VecDeque<Fate>,
    late: Vec<Value>,
    is_down: bool,
    commits: u32,
}

impl State {
    fn apply(&mut self, request: &Value) -> bool {
        let Some(metadata) = &mut self.metadata else { return false };
        let Some(next) = committed(metadata, "", request) else { return false };
        *metadata = next;
        self.commits += 1;
        true
    }
}

impl Model {
    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Creates a new table; an existing one is dropped.
    fn new_table(&self, request: &Value) {
        self.with(|state| {
            state.tables += 1;
            state.metadata = Some(created(request, &format!("table-{}", state.tables), 0));
        });
    }

    /// Returns the table.
    fn table(&self) -> Table {
        let metadata = self.with(|state| json!({"metadata": state.metadata}).to_string());
        Table::from_answer(metadata.as_bytes()).unwrap()
    }
}

/// Returns the paths of the files of a table, each with its partition.
fn files(table: Table, store: &Memory) -> BTreeMap<String, Vec<Value>> {
    let contents = store.files();
    let read = |url: &str| contents[url.strip_prefix("file://").unwrap()].clone();
    let mut files = BTreeMap::<String, Vec<Value>>::new();
    let Some(snapshot) = table.snapshot else { return files };
    let list = read(&snapshot.manifest_list.unwrap());
    for manifest in ListedManifest::read_list(&list).unwrap() {
        for entry in records(&read(manifest.url())) {
            let file = &entry["data_file"];
            let path = file["file_path"].as_str().unwrap().strip_prefix("file://").unwrap();
            files.entry(path.to_owned()).or_default().push(file["partition"].clone());
        }
    }
    files
}

/// Returns the records of an Avro file as JSON.
fn records(file: &Bytes) -> Vec<Value> {
    let (mut rest, mut at) = (&file[..], 0);
    let mut bytes = Avro::new(&mut rest, &mut at);
    let head = Head::read(&mut bytes).unwrap().unwrap();
    let (mut block, mut read) = (Block::new(1 << 20), Vec::new());
    while head.read_block(&mut bytes, &mut block).unwrap() {
        while let Some(record) = block.peek(&head) {
            let length = record.len();
            let mut text = String::new();
            head.schema.read(record).unwrap().put_json(&mut text);
            read.push(serde_json::from_str(&text).unwrap());
            block.give(length);
        }
    }
    read
}

fn failed(problem: &str) -> CatalogError {
    CatalogError::Foreign { url: "http://catalog".into(), problem: problem.to_owned() }
}

#[async_trait]
impl Catalog for Model {
    async fn load(&self) -> Result<Option<Table>, CatalogError> {
        let answer = self.with(|state| {
            if state.is_down {
                return Err(failed("down"));
            }
            Ok(state.metadata.as_ref().map(|it| json!({"metadata": it}).to_string()))
        });
        Ok(answer?.map(|it| Table::from_answer(it.as_bytes())).transpose()?)
    }

    async fn create(&self, request: &Value) -> Result<(), CatalogError> {
        self.new_table(request);
        Ok(())
    }

    async fn commit(&self, request: &Value) -> Result<CommitAnswer, CatalogError> {
        // Let other collectors run between the request and its result.
        sleep(Duration::from_millis(20)).await;
        self.with(|state| {
            for late in std::mem::take(&mut state.late) {
                state.apply(&late);
            }
            let fate = state.script.pop_front().unwrap_or(Fate::Fine);
            let is_done = match fate {
                Fate::Fine => state.apply(request),
                Fate::Silent => {
                    state.apply(request);
                    false
                }
                Fate::Lost => false,
                Fate::Late => {
                    state.late.push(request.clone());
                    false
                }
            };
            Ok(match is_done {
                true => CommitAnswer::Done,
                false => CommitAnswer::Unsettled(failed("no answer")),
            })
        })
    }
}

fn settings() -> Value {
    json!({ "url": "file:///logs/app=%{app}" })
}

/// Starts a collector that appends to the table of this catalog.
fn start(collector: &Collector, store: Arc<dyn FileSystem>, model: &Model) -> HdfsSink {
    start_with(collector, store, Reach::Server(Arc::new(model.clone())))
}

fn start_with(collector: &Collector, store: Arc<dyn FileSystem>, reach: Reach) -> HdfsSink {
    let mut sink = collector.sink_on(store);
    let own = Arc::get_mut(&mut sink.settings).expect("it is not open");
    own.target = Some(Target::of_test(reach, Vec::new(), &["app"]));
    sink
}

fn of(n: u64, app: &str) -> (u64, Batch) {
    let mut batch = batch(n, &[&n.to_string()]);
    batch.set_header("app", app, Existing::Replace);
    (n, batch)
}

/// Compares the table with the visible files; returns their number.
#[track_caller]
fn compare(model: &Model, store: &Memory, case: &str) -> usize {
    compare_table(model.table(), store, case)
}

#[track_caller]
fn compare_table(table: Table, store: &Memory, case: &str) -> usize {
    let contents = store.files();
    let data = |path: &&&str| !path.contains("/metadata/");
    let expected: Vec<&str> = visible(&contents).keys().filter(data).copied().collect::<Vec<_>>();
    let files = files(table, store);
    for (path, partitions) in &files {
        let app = path.split_once("app=").unwrap().1.split('/').next().unwrap();
        assert_eq!(partitions, &[json!({ "app": app })], "{case}: {path}");
    }
    assert_eq!(files.keys().collect::<Vec<_>>(), expected, "{case}");
    expected.len()
}

/// Two collectors write four files in turn.
async fn write_in_turn(start: impl Fn(&Collector) -> HdfsSink) -> [HdfsSink; 2] {
    let collectors = [Collector::new(settings()), Collector::new(settings())];
    let mut sinks = collectors.each_ref().map(start);
    for round in 0..4 {
        let sink = &mut sinks[round as usize % 2];
        assert!(drive(sink, &[of(round, ["shop", "pay"][round as usize / 2])]).await);
    }
    sleep(5 * MINUTE).await;
    sinks
}

/// Two collectors append to one table at the same time, with other latencies in each case. `start`
/// gets the store of a collector, and `compare` the store and the case.
async fn append_at_the_same_time<M: Default>(
    start: impl Fn(&Collector, Arc<dyn FileSystem>, &M) -> HdfsSink,
    compare: impl Fn(&M, &Memory, &str) -> usize,
) {
    for milliseconds in 0..24 {
        let (store, model) = (Memory::new(), M::default());
        let latencies = [7, milliseconds].map(Duration::from_millis);
        let stores = latencies.map(|it| store.with_latency(it));
        let collectors = [Collector::new(settings()), Collector::new(settings())];
        let start = |at: usize| start(&collectors[at], Arc::new(stores[at].clone()), &model);
        let mut sinks = [start(0), start(1)];
        let [one, two] = &mut sinks;
        let first = [of(0, "shop"), of(1, "pay")];
        let second = [of(2, "shop"), of(3, "pay")];
        let driven = tokio::join!(drive(one, &first), drive(two, &second));
        assert_eq!(driven, (true, true));
        sleep(5 * MINUTE).await;
        compare(&model, &store, &format!("a latency of {milliseconds} ms"));
        for sink in &sinks {
            at_rest(sink).await;
            assert_eq!(sink.status().unwrap().read().trouble, None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_file_is_in_the_table_once_whatever_answers_are_lost() {
    for case in 0..64_usize {
        let (store, model) = (Memory::new(), Model::default());
        let fates = (0..3).map(|digit| FATES[case / 4_usize.pow(digit) % 4]);
        // Before each of them, the first commit of the table.
        model.with(|state| state.script.extend([Fate::Fine].into_iter().chain(fates)));
        let sinks = write_in_turn(|it| start(it, Arc::new(store.clone()), &model)).await;
        assert_eq!(compare(&model, &store, &format!("case {case}")), 4);
        assert!(sinks.iter().all(|sink| sink.status().unwrap().read().trouble.is_none()));
    }
}

#[tokio::test(start_paused = true)]
async fn delivers_while_the_catalog_is_down_and_appends_all_of_it_later() {
    let (store, model) = (Memory::new(), Model::default());
    model.with(|state| state.is_down = true);
    let collector = Collector::new(settings());
    let mut sink = start(&collector, Arc::new(store.clone()), &model);
    // Each roll starts a new generation of the ledger, which carries the earlier files.
    for round in 0..5 {
        assert!(drive(&mut sink, &[of(round, "shop")]).await, "events are delivered");
        at_rest(&sink).await;
    }
    sleep(MINUTE).await;
    let trouble = sink.status().unwrap().read().trouble.expect("it is shown");
    assert!(trouble.contains("cannot append files to the table logs.web: "), "{trouble}");
    // The process dies, and the next one knows only the store.
    drop(sink);
    model.with(|state| state.is_down = false);
    let mut sink = start(&collector, Arc::new(store.clone()), &model);
    sink.open().await.unwrap();
    sleep(5 * MINUTE).await;
    assert_eq!(compare(&model, &store, "down"), 5);
    assert_eq!(model.with(|state| state.commits), 2, "the first one, and one for all files");
    assert_eq!(sink.status().unwrap().read().trouble, None);
}

#[tokio::test(start_paused = true)]
async fn appends_each_file_once_after_a_kill_at_any_call_of_the_store() {
    for at in 0.. {
        let (store, model) = (Memory::new(), Model::default());
        let faulty = Arc::new(Faulty::new(Arc::new(store.clone()), Fault::DiesAfter, at));
        let collector = Collector::new(settings());
        let mut sink = start(&collector, faulty.clone(), &model);
        if drive(&mut sink, &[of(0, "shop"), of(1, "pay")]).await {
            sleep(MINUTE).await;
        }
        let was_killed = faulty.calls() > at;
        drop(sink);
        let mut sink = start(&collector, Arc::new(store.clone()), &model);
        assert!(drive(&mut sink, &[of(0, "shop"), of(1, "pay"), of(2, "shop")]).await);
        sleep(5 * MINUTE).await;
        at_rest(&sink).await;
        compare(&model, &store, &format!("killed at call {at}"));
        if !was_killed {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn stops_and_explains_when_an_operator_changed_the_table() {
    type Change = fn(&Model);
    let changes: [(Change, &str); 3] = [
        (
            |model| model.with(|state| state.metadata.as_mut().unwrap()["properties"] = json!({})),
            "has lost the property `aqueduct.ledger.",
        ),
        (
            |model| {
                let schema = model.with(|state| state.metadata.clone()).unwrap();
                let request = json!({"location": "file:///logs", "properties": {},
                    "schema": schema["schemas"][0],
                    "partition-spec": schema["partition-specs"][0]});
                model.new_table(&request);
            },
            "was dropped and created again: its identity was table-1 and is table-2",
        ),
        (|model| model.with(|state| state.metadata = None), "was dropped; restore it"),
    ];
    for (change, problem) in changes {
        let (store, model) = (Memory::new(), Model::default());
        let collector = Collector::new(settings());
        let mut sink = start(&collector, Arc::new(store.clone()), &model);
        assert!(drive(&mut sink, &[of(0, "shop")]).await);
        sleep(MINUTE).await;
        assert_eq!(compare(&model, &store, problem), 1);
        let commits = model.with(|state| state.commits);
        change(&model);
        assert!(drive(&mut sink, &[of(1, "shop")]).await, "events are delivered");
        sleep(5 * MINUTE).await;
        let trouble = sink.status().unwrap().read().trouble.expect("it is shown");
        assert!(trouble.contains(problem), "{trouble}");
        assert_eq!(model.with(|state| state.commits), commits, "nothing is appended");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_appends_what_was_committed_last() {
    let (store, model) = (Memory::new(), Model::default());
    let collector = Collector::new(settings());
    let mut sink = start(&collector, Arc::new(store.clone()), &model);
    assert!(drive(&mut sink, &[of(0, "shop")]).await);
    sink.close().await;
    assert_eq!(compare(&model, &store, "stop"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_collector_without_the_setting_forgets_no_file_of_the_table() {
    let (store, model) = (Memory::new(), Model::default());
    model.with(|state| state.is_down = true);
    let [with, without] = [(); 2].map(|()| Collector::new(settings()));
    let mut sink = start(&with, Arc::new(store.clone()), &model);
    assert!(drive(&mut sink, &[of(0, "shop")]).await);
    drop(sink);
    // It replaces the entries by a checkpoint after each roll.
    let mut other = without.sink(&store);
    assert!(drive(&mut other, &[of(1, "shop")]).await && drive(&mut other, &[of(2, "pay")]).await);
    at_rest(&other).await;
    model.with(|state| state.is_down = false);
    let mut sink = start(&with, Arc::new(store.clone()), &model);
    sink.open().await.unwrap();
    sleep(5 * MINUTE).await;
    assert_eq!(compare(&model, &store, "checkpoint"), 3);
}
