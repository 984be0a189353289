//! Each file becomes visible once, with the bytes that were read, whatever fails and whenever.
//!
//! Method: the tests drive sinks like agents: they write returned batches again, and reopen a sink
//! after a failure. The store is in memory, as a tree and as an object store, below a wrapper that
//! fails or dies at the n-th call, for every n. The clock is paused, so no test waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use formats::pieces::{DIGEST, FILE, OFFSET, SIZE, TRANSFER, transfer};
use pipeline::deliver::Requests;
use pipeline::env::Clock;
use pipeline::{Batch, BatchBuilder, Env, Outcome, Settings, Sink, Taken};
use proptest::prelude::*;
use serde_json::{Value, json};
use storage::faults::{Fault, Faulty};
use storage::memory::Memory;
use storage::objects::Objects;
use storage::{FileSystem, StoreUrl};
use support::hex::hex;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use super::{Config, Files};

/// Longer than any wait; costs nothing with a paused clock.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often to reopen a sink before giving up.
const OPENINGS: usize = 6;

/// A wall clock that follows the paused clock.
struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + self.0.elapsed()
    }
}

struct Collector {
    settings: Value,
    directory: TempDir,
}

impl Collector {
    fn new(settings: &Value) -> Self {
        let mut all = json!({ "url": "file:///in" });
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        Self { settings: all, directory: tempfile::tempdir().unwrap() }
    }

    fn sink(&self, store: Arc<dyn FileSystem>) -> Requests<Files> {
        let env = Env { clock: Arc::new(TestClock(Instant::now())), ..env::real() };
        let cx = formats::alone("files", self.directory.path(), env);
        let config: Config = Settings::from_json(&self.settings).read().unwrap();
        let url = StoreUrl::parse(self.settings["url"].as_str().unwrap()).unwrap();
        config.sink(&url, &cx, Box::new(move || Ok(store.clone()))).unwrap()
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex(crypto::digest::digest(&crypto::digest::SHA256, bytes).as_ref())
}

/// Splits a file into pieces of this size, one per batch.
fn pieces(file: &str, content: &[u8], size: usize) -> Vec<Batch> {
    let (name, digest) = (transfer(&[file.as_bytes()]), sha256(content));
    let total = content.len().to_string();
    let bodies = if content.is_empty() { vec![content] } else { content.chunks(size).collect() };
    let last = bodies.len() - 1;
    let batch = |(number, body): (usize, &[u8])| {
        let offset = (number * size).to_string();
        let mut headers = vec![(TRANSFER, &*name), (FILE, file), (OFFSET, &*offset)];
        headers.push((SIZE, &total));
        if number == last {
            headers.push((DIGEST, &digest));
        }
        let mut events = BatchBuilder::default();
        events.push(body, &headers);
        events.finish()
    };
    bodies.into_iter().enumerate().map(batch).collect()
}

/// Writes the batches until all are settled, and reopens the sink after each failure. Returns the
/// rejection reasons; `None` if the store stays dead.
async fn drive(sink: &mut Requests<Files>, batches: &[Batch]) -> Option<Vec<&'static str>> {
    let mut waiting: BTreeMap<u64, &Batch> = (0..).zip(batches).collect();
    let mut refused = Vec::new();
    for _ in 0..OPENINGS {
        if sink.open().await.is_err() {
            sleep(Duration::from_secs(1)).await;
            continue;
        }
        let mut is_well = true;
        for (ticket, batch) in &waiting {
            let taken = Taken { ticket: *ticket, batch: (*batch).clone() };
            is_well &= sink.write(taken).await.is_ok();
        }
        let mut left = waiting.len();
        while is_well && left > 0 {
            let settlement = sink.settled().await;
            match settlement.outcome {
                Outcome::Again(_) => left -= 1,
                Outcome::Refused(letter) if !letter.whole => refused.push(letter.reason),
                other => {
                    if let Outcome::Refused(letter) = other {
                        refused.push(letter.reason);
                    }
                    for ticket in settlement.tickets.iter() {
                        waiting.remove(&ticket);
                        left -= 1;
                    }
                }
            }
        }
        if waiting.is_empty() {
            return Some(refused);
        }
        sleep(Duration::from_secs(1)).await;
    }
    None
}

/// Returns the visible files.
fn visible(store: &Memory) -> BTreeMap<String, Bytes> {
    store.files().into_iter().filter(|(path, _)| !path.contains("/_aqueduct/")).collect()
}

/// Returns names below `_aqueduct/files`, except records of finished transfers.
fn staged(store: &Memory) -> Vec<String> {
    let files = store.files().into_keys();
    let is_staged = |path: &String| path.contains("/_aqueduct/files/") && !path.contains("/done/");
    files.filter(is_staged).collect()
}

/// Scans until nothing is staged.
async fn until_clear(store: &Memory) {
    let clear = async {
        while !staged(store).is_empty() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let is_clear = timeout(PATIENCE, clear).await.is_ok();
    assert!(is_clear, "what is left: {:?}", staged(store));
}

fn expected(files: &[(&str, &[u8])]) -> BTreeMap<String, Bytes> {
    let file =
        |(name, content): &(&str, &[u8])| (format!("/in/{name}"), Bytes::copy_from_slice(content));
    files.iter().map(file).collect()
}

const FILES: &[(&str, &[u8])] =
    &[("a b.txt", b"12"), ("empty", b""), ("sub/\u{fc}.bin", b"123456789")];

fn batches() -> Vec<Batch> {
    FILES.iter().flat_map(|(name, content)| pieces(name, content, 4)).collect()
}

#[tokio::test(start_paused = true)]
async fn files_become_visible_as_they_were_read_and_nothing_else_is_left() {
    let store = Memory::new();
    let mut sink = Collector::new(&json!({})).sink(Arc::new(store.clone()));
    assert_eq!(drive(&mut sink, &batches()).await, Some(vec![]));
    until_clear(&store).await;
    assert_eq!(visible(&store), expected(FILES));
}

/// Runs with the fault at call 0, 1, 2, … until a run ends before its fault. If the fault kills the
/// collector, another one receives all batches again.
async fn at_every_call(fault: Fault, store_over: fn(Arc<dyn FileSystem>) -> Arc<dyn FileSystem>) {
    for at in 0.. {
        let store = Memory::new();
        let slow: Arc<dyn FileSystem> = Arc::new(store.with_latency(Duration::from_millis(5)));
        let faulty = Arc::new(Faulty::new(slow, fault.clone(), at));
        let collector = Collector::new(&json!({}));
        let mut dying = collector.sink(store_over(faulty.clone()));
        drive(&mut dying, &batches()).await;
        // Arrived pieces are reassembled in the meantime.
        sleep(Duration::from_secs(3)).await;
        drop(dying);
        store.lose_power();
        let calls = faulty.calls();
        let mut fresh = Collector::new(&json!({})).sink(store_over(Arc::new(store.clone())));
        assert_eq!(drive(&mut fresh, &batches()).await, Some(vec![]), "{fault:?} at call {at}");
        let clear = timeout(PATIENCE, async {
            while staged(&store).iter().any(|path| !path.contains("/work/")) {
                sleep(Duration::from_millis(100)).await;
            }
        });
        let is_clear = clear.await.is_ok();
        assert!(is_clear, "{fault:?} at call {at}: {:?}", staged(&store));
        assert_eq!(visible(&store), expected(FILES), "{fault:?} at call {at}");
        if calls <= at {
            assert!(at > 60, "the scenario has as many calls as when it was written: {at}");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_or_a_death_at_any_call_loses_and_repeats_no_file() {
    for fault in [Fault::Refused, Fault::AnswerLost, Fault::DiesBefore, Fault::DiesAfter] {
        at_every_call(fault, |store| store).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_or_a_death_at_any_call_loses_and_repeats_no_file_in_a_bucket() {
    for fault in [Fault::Refused, Fault::AnswerLost, Fault::DiesBefore, Fault::DiesAfter] {
        at_every_call(fault, |store| Arc::new(Objects::over(store))).await;
    }
}

/// The batches of each of two collectors, in order, and the latency of its store.
fn shares() -> impl Strategy<Value = [(Vec<prop::sample::Index>, u64); 2]> {
    let one = || (prop::collection::vec(any::<prop::sample::Index>(), 0..12), 1_u64..40);
    (one(), one()).prop_map(|(one, two)| [one, two])
}

async fn shared(shares: [(Vec<prop::sample::Index>, u64); 2]) -> Result<(), TestCaseError> {
    let (store, all) = (Memory::new(), batches());
    let collectors = [(); 2].map(|()| Collector::new(&json!({})));
    let mut driven = Vec::new();
    for ((indices, latency), collector) in shares.iter().zip(&collectors) {
        let slow = store.with_latency(Duration::from_millis(*latency));
        let mut sink = collector.sink(Arc::new(slow));
        let mut mine: Vec<Batch> = indices.iter().map(|it| it.get(&all).clone()).collect();
        // In the end each receives all batches; the earlier ones are duplicates.
        mine.extend(all.clone());
        driven.push(tokio::spawn(async move {
            let refused = drive(&mut sink, &mine).await;
            sleep(Duration::from_secs(120)).await;
            refused
        }));
    }
    for one in driven {
        prop_assert_eq!(one.await.unwrap(), Some(vec![]));
    }
    prop_assert_eq!(visible(&store), expected(FILES), "files that readers see");
    prop_assert_eq!(staged(&store), Vec::<String>::new());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None, cases: 64, ..ProptestConfig::default()
    })]

    #[test]
    fn two_collectors_with_the_same_pieces_in_any_order_make_each_file_once(shares in shares()) {
        support::mutants::plant_by_environment();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all().start_paused(true).build().unwrap();
        runtime.block_on(shared(shares))?;
    }
}

#[cfg(feature = "mutants")]
#[test]
fn each_planted_bug_is_found() {
    let test = "transfers::tests::\
                two_collectors_with_the_same_pieces_in_any_order_make_each_file_once";
    for bug in ["file_without_record", "part_left_out"] {
        support::mutants::is_found(bug, test, "files that readers see");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_a_reader_has_taken_away_is_not_made_again() {
    let store = Memory::new();
    let mut sink = Collector::new(&json!({})).sink(Arc::new(store.clone()));
    drive(&mut sink, &batches()).await;
    until_clear(&store).await;
    visible(&store).keys().for_each(|path| assert!(store.remove(path)));
    let mut other = Collector::new(&json!({})).sink(Arc::new(store.clone()));
    assert_eq!(drive(&mut other, &batches()).await, Some(vec![]));
    until_clear(&store).await;
    assert_eq!(visible(&store), BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn another_file_with_the_name_of_a_transfer_that_is_done_is_no_repetition() {
    let store = Memory::new();
    let mut sink = Collector::new(&json!({})).sink(Arc::new(store.clone()));
    for (first, second) in [(&b"1"[..], &b"2"[..]), (b"123456", b"123457")] {
        let name = format!("{}.bin", first.len());
        drive(&mut sink, &pieces(&name, first, 4)).await;
        sleep(PATIENCE).await;
        let refused = drive(&mut sink, &pieces(&name, second, 4)).await;
        assert_eq!(refused, Some(vec!["other_file"]), "{name}");
        assert_eq!(store.file(&format!("/in/{name}")).as_deref(), Some(first));
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_another_file_has_is_treated_as_set() {
    for (taken_name, first, second) in [
        ("number", &b"of another"[..], Some(&b"123456789"[..])),
        ("replace", b"123456789", None),
        ("hold", b"of another", None),
    ] {
        let store = Memory::new();
        store.put("/in/sub/x.bin", b"of another");
        let settings = json!({ "taken_name": taken_name });
        let mut sink = Collector::new(&settings).sink(Arc::new(store.clone()));
        drive(&mut sink, &pieces("sub/x.bin", b"123456789", 4)).await;
        sleep(PATIENCE).await;
        let has = |path| store.file(path);
        assert_eq!(has("/in/sub/x.bin").as_deref(), Some(first), "{taken_name}");
        assert_eq!(has("/in/sub/x.2.bin").as_deref(), second, "{taken_name}");
        assert_eq!(staged(&store).len(), usize::from(taken_name == "hold"), "{taken_name}");
        if taken_name == "hold" {
            assert!(store.remove("/in/sub/x.bin"));
            until_clear(&store).await;
            assert_eq!(has("/in/sub/x.bin").as_deref(), Some(&b"123456789"[..]));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dead_letters_events_that_are_not_pieces_and_stores_the_rest() {
    let store = Memory::new();
    let mut sink = Collector::new(&json!({})).sink(Arc::new(store.clone()));
    let mut changed = pieces("changed", b"123", 4);
    let event = changed[0].iter().next().unwrap();
    let headers: Vec<(&str, &str)> = event.headers().collect();
    let mut events = BatchBuilder::default();
    events.push(b"124", &headers);
    changed = vec![events.finish()];
    let mut all = vec![Batch::of(["a line"])];
    all.extend(pieces("../out", b"1", 4));
    all.extend(pieces("good", b"1", 4));
    all.extend(changed);
    let mut refused = drive(&mut sink, &all).await.unwrap();
    refused.sort_unstable();
    assert_eq!(refused, ["damaged_piece", "no_piece", "unusable_name"]);
    assert_eq!(visible(&store), expected(&[("good", b"1")]));
}

#[tokio::test(start_paused = true)]
async fn parts_that_do_not_make_what_was_read_become_no_file_and_are_kept() {
    let store = Memory::new();
    let mut sink = Collector::new(&json!({})).sink(Arc::new(store.clone()));
    let mut all = pieces("x.bin", b"123456789", 4);
    let event = all[1].iter().next().unwrap();
    let headers: Vec<(&str, &str)> = event.headers().collect();
    let mut events = BatchBuilder::default();
    events.push(b"5x78", &headers);
    all[1] = events.finish();
    drive(&mut sink, &all).await;
    sleep(PATIENCE).await;
    assert_eq!(visible(&store), BTreeMap::new());
    let staged = staged(&store);
    assert_eq!(staged.len(), 5, "three parts, their end, and what is wrong: {staged:?}");
    let trouble = sink.status().unwrap().read().trouble.unwrap();
    assert!(trouble.contains("differ from the original"), "{trouble}");
}

#[tokio::test(start_paused = true)]
async fn a_transfer_without_its_end_is_kept_and_shown() {
    let store = Memory::new();
    let mut sink = Collector::new(&json!({})).sink(Arc::new(store.clone()));
    let all = pieces("x.bin", b"123456789", 4);
    drive(&mut sink, &all[..2]).await;
    sleep(Duration::from_secs(2 * 60 * 60)).await;
    let status = sink.status().unwrap().read();
    assert_eq!(status.open_files, Some(1));
    assert!(status.trouble.unwrap().contains("received no piece for an hour"));
    drive(&mut sink, &all[2..]).await;
    until_clear(&store).await;
    assert_eq!(visible(&store), expected(&[("x.bin", b"123456789")]));
}

#[tokio::test(start_paused = true)]
async fn records_of_what_is_done_go_after_their_time() {
    let store = Memory::new();
    let settings = json!({ "keep_done": "1h" });
    let mut sink = Collector::new(&settings).sink(Arc::new(store.clone()));
    drive(&mut sink, &batches()).await;
    until_clear(&store).await;
    let records = || store.files().into_keys().filter(|path| path.contains("/done/")).count();
    sleep(Duration::from_secs(30 * 60)).await;
    assert_eq!(records(), FILES.len());
    sleep(Duration::from_secs(3 * 60 * 60)).await;
    assert_eq!(records(), 0);
    assert_eq!(visible(&store), expected(FILES));
}
