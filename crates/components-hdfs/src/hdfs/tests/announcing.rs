//! Each receipt, and each record of late files, is sent to other systems, whatever fails, and not
//! before it is durable.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use complete::{Announcement, RECEIPT, late_name};
use pipeline::Sink;
use storage::FileSystem;
use storage::faults::{Fault, Faulty};
use storage::memory::Memory;
use storage::objects::Objects;
use tokio::time::sleep;
use web::Failure;

use super::harness::{Collector, at_rest, drive};
use super::receipts::{A, HOUR, MINUTE, named, reached, sent, settings};
use crate::hdfs::HdfsSink;
use crate::hdfs::announce::{AnnounceError, Announcer, Recipient};
use crate::hdfs::settings::Settings;

/// The answers of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Answers {
    #[default]
    Accepts,
    IsDown,
    /// Rejects this directory.
    Rejects(String),
}

/// A server that checks the store: it detects a receipt that is not durable.
#[derive(Clone)]
struct Server {
    store: Memory,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    answers: Answers,
    /// Directories, and the entry of a record.
    got: BTreeSet<(String, Option<u64>)>,
    early: Vec<String>,
    calls: u32,
}

impl Server {
    fn over(store: &Memory) -> Self {
        Self { store: store.clone(), state: Arc::default() }
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn answers(&self, answers: Answers) {
        self.with(|state| state.answers = answers);
    }

    fn got(&self) -> Vec<(String, Option<u64>)> {
        self.with(|state| {
            assert_eq!(state.early, [""; 0], "before they were durable");
            state.got.iter().cloned().collect()
        })
    }
}

#[async_trait]
impl Announcer for Server {
    fn covers(&self, _settings: &Settings, directory: &str) -> bool {
        !directory.starts_with("late/")
    }

    async fn announce(
        &self,
        _settings: &Settings,
        announcement: &Announcement,
    ) -> Result<(), AnnounceError> {
        let Announcement { receipt, entry, .. } = announcement;
        let directory = receipt.directory.clone();
        let name = entry.map_or_else(|| RECEIPT.to_owned(), late_name);
        let is_durable = self.store.files().contains_key(&format!("/logs/{directory}/{name}"));
        self.with(|state| {
            state.calls += 1;
            let url: Arc<str> = "http://server".into();
            match &state.answers {
                Answers::IsDown => {
                    let (problem, source) = ("no answer".to_owned(), None);
                    return Err(Failure::Network { url, problem, source }.into());
                }
                Answers::Rejects(rejected) if *rejected == directory => {
                    let status = hyper::StatusCode::UNPROCESSABLE_ENTITY;
                    let (text, wait) = ("too odd".to_owned(), None);
                    return Err(Failure::Status { url, status, text, wait }.into());
                }
                Answers::Accepts | Answers::Rejects(_) => {}
            }
            if !is_durable || entry.is_some() != announcement.record().is_some() {
                state.early.push(format!("{directory}/{name}"));
            }
            state.got.insert((directory, *entry));
            Ok(())
        })
    }
}

/// Starts a collector that sends its receipts to this server.
fn start(collector: &Collector, store: Arc<dyn FileSystem>, server: &Server) -> HdfsSink {
    let mut sink = collector.sink_on(store);
    let own = Arc::get_mut(&mut sink.settings).expect("it is not open");
    let complete = own.complete.as_mut().expect("it writes receipts");
    complete.recipients.push(Recipient::of_test(Arc::new(server.clone())));
    sink
}

fn observe(sink: &HdfsSink, minute: u64) {
    let complete = sink.settings.complete.as_ref().unwrap();
    complete.progress.observe(reached(A, minute));
}

fn due(sink: &HdfsSink) -> f64 {
    sink.settings.complete.as_ref().unwrap().recipients[0].due()
}

fn notes(store: &Memory) -> usize {
    store.files().into_keys().filter(|path| path.contains("/lineage/")).count()
}

/// Returns the receipt and the records of a directory.
fn in_store(store: &Memory, directory: &str) -> Vec<(String, Option<u64>)> {
    let entry = |path: String| path.split("_late-").nth(1)?.strip_suffix(".json")?.parse().ok();
    let records = named(store, "_late-").into_iter().map(|path| Some(entry(path).unwrap()));
    let all = named(store, "_receipt").into_iter().map(|_| None).chain(records);
    all.map(|entry| (directory.to_owned(), entry)).collect()
}

fn trouble(sink: &HdfsSink) -> Option<String> {
    sink.status().unwrap().read().trouble
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_delays_no_receipt_and_gets_all_of_them_later() {
    let store = Memory::new();
    let (collector, server) = (Collector::with_clock(settings()), Server::over(&store));
    let mut sink = start(&collector, Arc::new(store.clone()), &server);
    server.answers(Answers::IsDown);
    assert!(drive(&mut sink, &[sent(A, 0)]).await);
    sleep(65 * MINUTE).await;
    observe(&sink, 65);
    sleep(2 * MINUTE).await;
    assert_eq!(named(&store, "_receipt").len(), 1);
    assert!(drive(&mut sink, &[sent(A, 1)]).await);
    sleep(600 * MINUTE).await;
    assert_eq!((named(&store, "_late-").len(), notes(&store), due(&sink)), (1, 2, 2.0));
    let shown = trouble(&sink).expect("it is shown");
    assert!(shown.starts_with("cannot send receipts to the server: http://server: no"), "{shown}");
    let calls = server.with(|state| state.calls);
    assert!((300..1_500).contains(&calls), "{calls} calls in ten hours: with back-off");
    assert_eq!(server.got(), []);
    server.answers(Answers::Accepts);
    sleep(2 * MINUTE).await;
    at_rest(&sink).await;
    assert_eq!((server.got(), server.got().len()), (in_store(&store, HOUR), 2));
    assert_eq!((notes(&store), due(&sink), trouble(&sink)), (0, 0.0, None));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_receipt_delays_no_other_one_and_is_retried() {
    let store = Memory::new();
    let mut each_minute = settings();
    each_minute["url"] = "file:///logs/%Y-%m-%d-%H-%M".into();
    let (collector, server) = (Collector::with_clock(each_minute), Server::over(&store));
    let mut sink = start(&collector, Arc::new(store.clone()), &server);
    let first = "2027-01-15-08-00";
    server.answers(Answers::Rejects(first.to_owned()));
    let mut batches = vec![sent(A, 0)];
    for n in 1..20 {
        let (ticket, mut batch) = sent(A, n);
        let at = (super::harness::STARTED + n * 60) * 1_000;
        batch.set_header("timestamp", &at.to_string(), pipeline::Existing::Replace);
        batches.push((ticket, batch));
    }
    assert!(drive(&mut sink, &batches).await);
    sleep(30 * MINUTE).await;
    observe(&sink, 30);
    sleep(3 * MINUTE).await;
    assert_eq!((server.got().len(), notes(&store), due(&sink)), (19, 1, 1.0));
    let shown = trouble(&sink).expect("it is shown");
    assert!(shown.contains("422 Unprocessable Entity: too odd"), "{shown}");
    server.answers(Answers::Accepts);
    sleep(2 * MINUTE).await;
    at_rest(&sink).await;
    assert_eq!((server.got().len(), notes(&store), trouble(&sink)), (20, 0, None));
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_was_deleted_with_its_directory_is_not_awaited() {
    let store = Memory::new();
    let (collector, server) = (Collector::with_clock(settings()), Server::over(&store));
    let mut sink = start(&collector, Arc::new(store.clone()), &server);
    server.answers(Answers::IsDown);
    assert!(drive(&mut sink, &[sent(A, 0)]).await);
    sleep(65 * MINUTE).await;
    observe(&sink, 65);
    sleep(2 * MINUTE).await;
    assert_eq!(notes(&store), 1);
    for path in named(&store, HOUR) {
        store.delete(&path).await.unwrap();
    }
    server.answers(Answers::Accepts);
    sleep(2 * MINUTE).await;
    at_rest(&sink).await;
    assert_eq!((server.got(), notes(&store), trouble(&sink)), (vec![], 0, None));
}

/// After a kill at any store call, the next opening sends what was not sent.
async fn killed_anywhere(over: fn(Arc<dyn FileSystem>) -> Arc<dyn FileSystem>) {
    for at in 0.. {
        let store = Memory::new();
        let faulty = Arc::new(Faulty::new(Arc::new(store.clone()), Fault::DiesAfter, at));
        let mut each_minute = settings();
        each_minute["url"] = "file:///logs/%Y-%m-%d-%H-%M".into();
        each_minute["complete"]["grace"] = "30s".into();
        let (collector, server) = (Collector::with_clock(each_minute), Server::over(&store));
        let (first, late) = ([sent(A, 0)], [sent(A, 1)]);
        let mut sink = start(&collector, over(faulty.clone()), &server);
        observe(&sink, 2);
        if drive(&mut sink, &first).await {
            sleep(3 * MINUTE).await;
            let _killed = drive(&mut sink, &late).await;
            sleep(2 * MINUTE).await;
        } else {
            sleep(5 * MINUTE).await;
        }
        let was_killed = faulty.calls() > at;
        drop(sink);
        let mut sink = start(&collector, over(Arc::new(store.clone())), &server);
        observe(&sink, 2);
        assert!(drive(&mut sink, &first).await && drive(&mut sink, &late).await);
        sleep(3 * MINUTE).await;
        at_rest(&sink).await;
        let expected = in_store(&store, "2027-01-15-08-00");
        assert_eq!(server.got(), expected, "killed at call {at}");
        assert_eq!(notes(&store), 0, "killed at call {at}");
        if !was_killed {
            assert!(at > 70 && expected.len() == 2, "{at} calls");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_call_leaves_each_receipt_and_record_sent() {
    killed_anywhere(|store| store).await;
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_call_of_a_bucket_leaves_each_receipt_and_record_sent() {
    killed_anywhere(|store| Arc::new(Objects::over(store))).await;
}
