//! A directory gets its receipt when each edge has sent everything, and later files are recorded.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use complete::{LateRecord, State};
use pipeline::{Batch, Existing, Origin, Reached};
use serde_json::{Value, json};
use storage::faults::{Fault, Faulty};
use storage::memory::Memory;
use storage::objects::Objects;
use storage::{FileSystem, StoreUrl};
use tokio::time::sleep;

use super::harness::{Collector, STARTED, at_rest, batch, drive, lines_of};
use crate::hdfs::Config;

pub(super) const MINUTE: Duration = Duration::from_secs(60);
/// The directory of the first hour.
pub(super) const HOUR: &str = "2027-01-15-08";
pub(super) const A: Origin = Origin([5; 16]);
pub(super) const B: Origin = Origin([6; 16]);

pub(super) fn settings() -> Value {
    json!({
        "url": "file:///logs/%Y-%m-%d-%H",
        "complete": { "grace": "2m", "marker": "_SUCCESS" },
    })
}

/// Returns batch `n` of an edge, with one line of the first hour.
pub(super) fn sent(origin: Origin, n: u64) -> (u64, Batch) {
    let mut batch = batch(n, &[&format!("{}-{n}", origin.0[0])]);
    batch.set_header("timestamp", &format!("{STARTED}000"), Existing::Replace);
    batch.envelope.identity.as_mut().unwrap().origin = origin;
    (n + u64::from(origin.0[0]) * 100, batch)
}

/// An edge reports that everything before this minute is committed.
pub(super) fn reached(origin: Origin, minute: u64) -> [(Origin, Reached); 1] {
    let before = i64::try_from((STARTED + minute * 60) * 1_000).unwrap();
    let host = format!("web-{}", origin.0[0]).into();
    [(origin, Reached { host, before, held_by: "".into() })]
}

pub(super) fn named(store: &Memory, name: &str) -> Vec<String> {
    let files = store.files().into_keys();
    files.filter(|path| path.contains(name) && !path.contains("/_aqueduct/")).collect()
}

fn notes(store: &Memory) -> usize {
    store.files().into_keys().filter(|path| path.contains("/receipts/")).count()
}

#[tokio::test(start_paused = true)]
async fn the_receipt_waits_for_every_edge_through_any_collector_and_late_files_are_recorded() {
    let store = Memory::new();
    let collectors = [(); 2].map(|()| Collector::with_clock(settings()));
    let [(mut one, at_one), (mut two, at_two)] =
        collectors.each_ref().map(|collector| collector.sink_and_progress(&store));
    // The entries with the numbers of events stay.
    one.keeping.compact_after = 1_000;
    two.keeping.compact_after = 1_000;
    assert!(drive(&mut one, &[sent(A, 0), sent(B, 0)]).await);
    assert!(drive(&mut two, &[sent(B, 1)]).await);
    sleep(61 * MINUTE).await;
    at_one.observe(reached(A, 61));
    at_two.observe(reached(B, 62));
    sleep(5 * MINUTE).await;
    assert_eq!(named(&store, "_receipt"), Vec::<String>::new(), "within the grace of A");
    let open = collectors[0].report(&store, HOUR).await;
    assert_eq!(open.state, State::Open);
    let known = open.roster.get(B).unwrap();
    assert_eq!((known.name.as_str(), known.has_batch), ("web-6", true));

    at_two.observe(reached(A, 62));
    sleep(2 * MINUTE).await;
    at_rest(&one).await;
    at_rest(&two).await;
    assert_eq!(named(&store, "_receipt"), [format!("/logs/{HOUR}/_receipt.json")]);
    assert_eq!(named(&store, "_SUCCESS").len(), 1);
    let complete = collectors[1].report(&store, HOUR).await;
    let receipt = complete.receipt.unwrap();
    assert_eq!((complete.state, receipt.events), (State::Complete, Some(3)));
    let edges: Vec<_> = receipt.edges.iter().map(|it| (it.name.as_str(), it.batches)).collect();
    assert_eq!(edges, [("web-5", 1), ("web-6", 2)]);
    assert_eq!(receipt.edges[1].numbers, Some((0, 1)));
    let shares = receipt.edges.iter().map(|it| it.in_directory.clone().unwrap());
    let shares: Vec<_> = shares.map(|it| (it.events, it.numbers)).collect();
    assert_eq!(shares, [(1, Some((0, 0))), (2, Some((0, 1)))]);
    assert!(receipt.hash.is_some() && complete.is_intact);
    assert_eq!(notes(&store), 0);

    // A collector that has noted the directory before.
    assert!(drive(&mut one, &[sent(A, 1), sent(A, 2)]).await);
    sleep(2 * MINUTE).await;
    at_rest(&one).await;
    let reopened = collectors[1].report(&store, HOUR).await;
    assert_eq!((reopened.state, reopened.late.len()), (State::Reopened, 1));
    let records = named(&store, "_late-");
    let record = &store.files()[&records[0]];
    let record: LateRecord = serde_json::from_slice(record).unwrap();
    assert_eq!((records.len(), record.files[0].events), (1, Some(2)));
    assert_eq!((record.files[0].name.clone(), notes(&store)), (reopened.late[0].clone(), 0));
}

#[tokio::test(start_paused = true)]
async fn an_edge_that_never_reports_holds_its_directories_back_until_it_is_waived() {
    let store = Memory::new();
    let collector = Collector::with_clock(settings());
    let (mut sink, board) = collector.sink_and_progress(&store);
    assert!(drive(&mut sink, &[sent(A, 0), sent(B, 0)]).await);
    sleep(70 * MINUTE).await;
    board.observe(reached(A, 70));
    sleep(600 * MINUTE).await;
    assert_eq!(collector.report(&store, HOUR).await.state, State::Open);
    collector.waive(&store, B, HOUR).await;
    sleep(2 * MINUTE).await;
    at_rest(&sink).await;
    let report = collector.report(&store, HOUR).await;
    assert_eq!(report.state, State::CompleteWithWaivers);
    assert_eq!(report.receipt.unwrap().waived[0].origin, B.to_string());
}

#[tokio::test(start_paused = true)]
async fn an_edge_that_left_holds_nothing_back_until_its_next_batch() {
    let store = Memory::new();
    let collector = Collector::with_clock(settings());
    let (mut sink, board) = collector.sink_and_progress(&store);
    assert!(drive(&mut sink, &[sent(A, 0), sent(B, 0)]).await);
    let silent = Reached { host: "web-6".into(), before: 0, held_by: "sys log, http".into() };
    board.observe([(B, silent)]);
    sleep(75 * MINUTE).await;
    let open = collector.report(&store, HOUR).await;
    assert_eq!((open.state, open.roster.get(B).unwrap().before), (State::Open, None));
    assert_eq!(open.roster.get(B).unwrap().held_by, "sys%20log, http");
    let minute = |minute: u64| i64::try_from((STARTED + minute * 60) * 1_000).unwrap();
    collector.leave(&store, B, minute(30)).await;
    assert!(drive(&mut sink, &[sent(B, 1)]).await);
    board.observe(reached(A, 70));
    sleep(5 * MINUTE).await;
    assert_eq!(collector.report(&store, HOUR).await.state, State::Open, "it has returned");
    collector.leave(&store, B, minute(31)).await;
    sleep(2 * MINUTE).await;
    at_rest(&sink).await;
    let report = collector.report(&store, HOUR).await;
    assert_eq!(report.state, State::CompleteWithWaivers);
    assert_eq!(report.receipt.unwrap().left[0].name, "web-6");
}

#[tokio::test(start_paused = true)]
async fn a_silent_edge_leaves_and_a_listed_one_is_awaited() {
    let store = Memory::new();
    let mut wanted = settings();
    wanted["complete"]["leave_after"] = "5h".into();
    let collector = Collector::with_clock(wanted.clone());
    let (mut sink, board) = collector.sink_and_progress(&store);
    assert!(drive(&mut sink, &[sent(A, 0), sent(B, 0)]).await);
    sleep(70 * MINUTE).await;
    board.observe(reached(A, 70));
    sleep(200 * MINUTE).await;
    board.observe(reached(A, 270));
    let oldest = sink.visible.board().read().incomplete.unwrap();
    assert_eq!((&*oldest.directory, oldest.waits_for), (HOUR, format!("origin {B}")));
    assert_eq!(collector.report(&store, HOUR).await.state, State::Open);
    sleep(150 * MINUTE).await;
    at_rest(&sink).await;
    let receipt = collector.report(&store, HOUR).await.receipt.unwrap();
    assert_eq!((receipt.left.len(), receipt.edges.len()), (1, 1));
    assert_eq!(sink.visible.board().read().incomplete, None);

    let store = Memory::new();
    wanted["complete"]["edges"] = json!(["web-6"]);
    let collector = Collector::with_clock(wanted);
    let (mut sink, board) = collector.sink_and_progress(&store);
    assert!(drive(&mut sink, &[sent(A, 0)]).await);
    sleep(600 * MINUTE).await;
    assert_eq!(collector.report(&store, HOUR).await.state, State::Open);
    board.observe(reached(B, 70));
    sleep(2 * MINUTE).await;
    at_rest(&sink).await;
    assert_eq!(collector.report(&store, HOUR).await.state, State::Complete);
}

/// After a kill at any store call, the next opening writes the missing receipts and records.
async fn killed_anywhere(over: fn(Arc<dyn FileSystem>) -> Arc<dyn FileSystem>) {
    for at in 0.. {
        let store = Memory::new();
        let faulty = Arc::new(Faulty::new(Arc::new(store.clone()), Fault::DiesAfter, at));
        let mut each_minute = settings();
        each_minute["url"] = "file:///logs/%Y-%m-%d-%H-%M".into();
        each_minute["complete"]["grace"] = "30s".into();
        let collector = Collector::with_clock(each_minute);
        let (first, late) = ([sent(A, 0)], [sent(A, 1)]);
        let mut sink = collector.sink_on(over(faulty.clone()));
        sink.settings.complete.as_ref().unwrap().progress.observe(reached(A, 2));
        if drive(&mut sink, &first).await {
            sleep(3 * MINUTE).await;
            let _killed = drive(&mut sink, &late).await;
            sleep(2 * MINUTE).await;
        } else {
            sleep(5 * MINUTE).await;
        }
        let was_killed = faulty.calls() > at;
        let had_receipt = !named(&store, "_receipt").is_empty();
        drop(sink);
        let mut sink = collector.sink_on(over(Arc::new(store.clone())));
        sink.settings.complete.as_ref().unwrap().progress.observe(reached(A, 2));
        assert!(drive(&mut sink, &first).await && drive(&mut sink, &late).await);
        sleep(3 * MINUTE).await;
        at_rest(&sink).await;
        let lines = lines_of(&store).into_iter().filter(|line| line.starts_with("5-"));
        assert_eq!(lines.collect::<Vec<_>>(), ["5-0", "5-1"], "killed at call {at}");
        let report = collector.report(&store, "2027-01-15-08-00").await;
        let records = named(&store, "_late-").len();
        assert_eq!(report.late.len(), records, "killed at call {at}");
        assert!(!had_receipt || records == 1, "killed at call {at}");
        assert!(report.receipt.is_some() && notes(&store) == 0, "killed at call {at}");
        if !was_killed {
            assert!(at > 60, "{at} calls");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_call_leaves_a_receipt_and_a_record_of_each_late_file() {
    killed_anywhere(|store| store).await;
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_call_of_a_bucket_leaves_a_receipt_and_all_records() {
    killed_anywhere(|store| Arc::new(Objects::over(store))).await;
}

#[test]
fn rejects_settings_with_which_no_receipt_is_true() {
    let cx = formats::alone("store", Path::new("/nowhere"), env::real());
    let refused = |changes: Value| {
        let mut all = settings();
        let changes = changes.as_object().unwrap().clone();
        all.as_object_mut().unwrap().extend(changes);
        let config: Config = pipeline::Settings::from_json(&all).read().unwrap();
        let url = StoreUrl::parse(&config.url).unwrap();
        let built = config.sink(&url, &cx, Box::new(|| unreachable!("it is not opened")));
        built.err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(refused(json!({})), "");
    for (changes, problem) in [
        (json!({ "guarantee": "at_least_once" }), "needs the commit ledger"),
        (json!({ "url": "file:///logs/all" }), "no time"),
        (json!({ "compact": { "after": "1h" } }), "`compact`"),
        (json!({ "complete": { "marker": "done" } }), "complete.marker"),
        (json!({ "complete": { "marker": "_receipt.json" } }), "complete.marker"),
        (json!({ "complete": { "grace": "0s" } }), "complete.grace"),
        (json!({ "complete": { "leave_after": "1s" } }), "complete.leave_after"),
        (json!({ "complete": { "edges": [""] } }), "complete.edges"),
    ] {
        let refusal = refused(changes.clone());
        assert!(refusal.contains(problem), "{changes}: {refusal}");
    }
}
