//! Directories with files become partitions of the table, whatever fails, and never too early.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use ledger::{Audit, Dataset};
use pipeline::{Batch, Existing, Outcome, Sink};
use serde_json::{Value, json};
use storage::FileSystem;
use storage::faults::{Fault, Faulty};
use storage::memory::Memory;
use storage::objects::Objects;
use tokio::time::sleep;

use super::harness::{Collector, at_rest, batch, drive, lines_of, taken, visible};
use super::receipts::{A, reached, sent};
use crate::hdfs::HdfsSink;
use crate::hive::{MetastoreError, Partition, Registry, SettingNames};

const MINUTE: Duration = Duration::from_secs(60);

/// A registry in memory that checks the store: it detects a partition registered before its first
/// file.
#[derive(Clone)]
struct Partitions {
    store: Memory,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    found: BTreeSet<String>,
    /// Properties by directory.
    described: BTreeMap<String, Vec<(String, String)>>,
    early: Vec<String>,
    calls: u32,
    down: bool,
}

impl Partitions {
    fn over(store: &Memory) -> Self {
        Self { store: store.clone(), state: Arc::default() }
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn found(&self) -> Vec<String> {
        self.with(|state| {
            assert_eq!(state.early, [""; 0], "before their first file");
            state.found.iter().cloned().collect()
        })
    }
}

#[async_trait]
impl Registry for Partitions {
    async fn add(&self, partitions: &[Partition]) -> Result<(), MetastoreError> {
        let files = self.store.files();
        let has_files = |directory: &str| {
            let inside = format!("/logs/{directory}/");
            visible(&files).keys().any(|path| path.starts_with(&inside))
        };
        self.with(|state| {
            state.calls += 1;
            if state.down {
                let (address, source) = ("hms:9083".to_owned(), std::io::Error::other("down"));
                let names = SettingNames::Hive;
                return Err(MetastoreError::Connect { address, names, source });
            }
            for Partition { directory, .. } in partitions {
                if !has_files(directory) {
                    state.early.push(directory.clone());
                }
                state.found.insert(directory.clone());
            }
            Ok(())
        })
    }

    async fn describe(
        &self,
        partition: &Partition,
        properties: &[(String, String)],
    ) -> Result<(), MetastoreError> {
        self.add(std::slice::from_ref(partition)).await?;
        self.with(|state| {
            state.described.insert(partition.directory.clone(), properties.to_vec());
            Ok(())
        })
    }
}

fn settings() -> Value {
    json!({
        "url": "file:///logs/app=%{app}",
        "hive": { "metastore": "thrift://hms:9083", "table": "web" },
    })
}

/// Starts a collector that registers here.
fn start(collector: &Collector, store: Arc<dyn FileSystem>, partitions: &Partitions) -> HdfsSink {
    let mut sink = collector.sink_on(store);
    let own = Arc::get_mut(&mut sink.settings).expect("it is not open");
    own.registration.as_mut().expect("it has a table").registry = Arc::new(partitions.clone());
    sink
}

fn of(n: u64, app: &str) -> (u64, Batch) {
    let mut batch = batch(n, &[&n.to_string()]);
    batch.set_header("app", app, Existing::Replace);
    (n, batch)
}

fn notes(store: &Memory) -> usize {
    store.files().into_keys().filter(|path| path.contains("/partitions/")).count()
}

#[tokio::test(start_paused = true)]
async fn registers_partitions_and_delivers_while_the_metastore_is_down() {
    let store = Memory::new();
    let (collector, partitions) = (Collector::new(settings()), Partitions::over(&store));
    let mut sink = start(&collector, Arc::new(store.clone()), &partitions);
    sink.open().await.unwrap();
    sink.write(taken(0, &of(0, "shop").1)).await.unwrap();
    sleep(MINUTE / 2).await;
    assert_eq!(partitions.found(), [""; 0], "its file is staged");
    assert!(drive(&mut sink, &[of(0, "shop"), of(1, "shop")]).await);
    sleep(MINUTE / 100).await;
    assert_eq!((partitions.found(), notes(&store)), (vec!["app=shop".to_owned()], 0));

    partitions.with(|state| state.down = true);
    assert!(drive(&mut sink, &[of(2, "pay"), of(3, "shop")]).await, "events are delivered");
    sleep(10 * MINUTE).await;
    let trouble = sink.status().unwrap().read().trouble.expect("it is shown");
    assert!(trouble.contains("cannot register partitions of table default.web: "), "{trouble}");
    assert!(trouble.contains("cannot connect to the metastore hms:9083"), "{trouble}");
    assert!(partitions.with(|state| state.calls) < 30, "with back-off");
    let audit = Audit::read(Arc::new(store.clone()), Dataset::new("/logs", "store")).await;
    assert_eq!(audit.unwrap().unregistered, ["app=pay"]);
    partitions.with(|state| state.down = false);
    sleep(2 * MINUTE).await;
    assert_eq!((partitions.found(), notes(&store)).0, ["app=pay", "app=shop"]);
    assert_eq!((notes(&store), sink.status().unwrap().read().trouble), (0, None));
}

#[tokio::test(start_paused = true)]
async fn a_stop_registers_what_was_committed_last() {
    let store = Memory::new();
    let (collector, partitions) = (Collector::new(settings()), Partitions::over(&store));
    let mut sink = start(&collector, Arc::new(store.clone()), &partitions);
    sink.open().await.unwrap();
    sink.write(taken(0, &of(0, "shop").1)).await.unwrap();
    sink.flush();
    assert!(matches!(sink.settled().await.outcome, Outcome::Delivered));
    sink.close().await;
    assert_eq!((partitions.found(), notes(&store)), (vec!["app=shop".to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn a_receipt_and_its_late_files_become_properties_of_the_partition() {
    let store = Memory::new();
    let mut wanted = settings();
    wanted["url"] = "file:///logs/hour=%Y-%m-%d-%H".into();
    wanted["complete"] = json!({});
    let (collector, partitions) = (Collector::with_clock(wanted), Partitions::over(&store));
    let mut sink = start(&collector, Arc::new(store.clone()), &partitions);
    // The entries with the numbers of events stay.
    sink.keeping.compact_after = 1_000;
    let described = |name: &str| {
        partitions.found();
        partitions.with(|state| {
            let properties = state.described.get("hour=2027-01-15-08")?;
            let found =
                properties.iter().find(|(own, _)| *own == format!("aqueduct.receipt.{name}"));
            Some(found.unwrap().1.clone())
        })
    };
    assert!(drive(&mut sink, &[sent(A, 0)]).await);
    sleep(65 * MINUTE).await;
    assert_eq!(described("state"), None, "it has no receipt");
    partitions.with(|state| state.down = true);
    sink.settings.complete.as_ref().unwrap().progress.observe(reached(A, 65));
    sleep(10 * MINUTE).await;
    let trouble = sink.status().unwrap().read().trouble.expect("it is shown");
    assert!(trouble.contains("cannot send receipts to the Hive table default.web: "), "{trouble}");
    partitions.with(|state| state.down = false);
    sleep(2 * MINUTE).await;
    assert_eq!(described("state").unwrap(), "complete");
    assert_eq!(described("events").unwrap(), "1");
    assert!(drive(&mut sink, &[sent(A, 1)]).await);
    sleep(2 * MINUTE).await;
    at_rest(&sink).await;
    assert_eq!(described("state").unwrap(), "reopened");
    assert_eq!(described("late_events").unwrap(), "1");
    let left = store.files().into_keys().filter(|path| path.contains("/properties/")).count();
    assert_eq!((left, sink.status().unwrap().read().trouble), (0, None));
}

/// After a kill at any store call, the next opening registers exactly the missing partitions.
async fn killed_anywhere(over: fn(Arc<dyn FileSystem>) -> Arc<dyn FileSystem>) {
    for at in 0.. {
        let store = Memory::new();
        let faulty = Arc::new(Faulty::new(Arc::new(store.clone()), Fault::DiesAfter, at));
        let (collector, partitions) = (Collector::new(settings()), Partitions::over(&store));
        let mut sink = start(&collector, over(faulty.clone()), &partitions);
        if drive(&mut sink, &[of(0, "shop")]).await {
            sleep(MINUTE).await;
        }
        let was_killed = faulty.calls() > at;
        drop(sink);
        // The batch now maps to another path; its committed files stay.
        let mut sink = start(&collector, over(Arc::new(store.clone())), &partitions);
        assert!(drive(&mut sink, &[of(0, "pay")]).await);
        sleep(2 * MINUTE).await;
        at_rest(&sink).await;
        assert_eq!(lines_of(&store), ["0"], "killed at call {at}");
        let files = store.files();
        let files = visible(&files);
        let folders =
            files.keys().filter_map(|path| path.strip_prefix("/logs/")?.split('/').next());
        assert_eq!(partitions.found(), Vec::from_iter(folders), "killed at call {at}");
        assert_eq!(notes(&store), 0, "killed at call {at}: {:?}", store.files().keys());
        if !was_killed {
            assert!(at > 30, "{at} calls");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_call_leaves_each_directory_with_files_registered() {
    killed_anywhere(|store| store).await;
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_call_of_an_object_store_leaves_each_directory_registered() {
    killed_anywhere(|store| Arc::new(Objects::over(store))).await;
}

#[test]
fn rejects_invalid_table_settings() {
    let cx = formats::alone("store", Path::new("/nowhere"), env::real());
    let hive = |more: Value| {
        let mut hive = json!({ "metastore": "thrift://hms:9083", "table": "web" });
        hive.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "url": "file:///logs/app=%{app}", "hive": hive })
    };
    let with = |setting: &str, value: Value| {
        let mut settings = hive(json!({}));
        settings[setting] = value;
        settings
    };
    for (settings, problem) in [
        (with("url", json!("file:///logs/%Y")), "has no partition column"),
        (with("url", json!("file:///logs")), "no directory with an escape"),
        (with("guarantee", json!("at_least_once")), "`guarantee`"),
        (hive(json!({ "metastore": "hms:9083" })), "thrift://host:9083"),
        (hive(json!({ "metastore": "thrift://hms" })), "has no port"),
        (hive(json!({ "table": "a.b" })), "hive.table"),
        (hive(json!({ "timeout": "0s" })), "hive.timeout"),
        (hive(json!({ "location": "/logs" })), "hive.location"),
        (
            {
                let mut settings = hive(json!({ "create": true }));
                settings["encoder"] = json!("avro_schema");
                settings
            },
            "hive.create",
        ),
        (hive(json!({ "create": true, "delimiter": "\t" })), "hive.columns"),
        (
            hive(json!({ "create": true, "columns": [{ "name": "App", "type": "string" }] })),
            "`app` appears twice",
        ),
    ] {
        let built = pipeline::testkit::build::<crate::hdfs::Config>(&settings, &cx);
        let error = built.err().expect("it is refused").to_string();
        assert!(error.contains(problem), "{error}");
    }
}
