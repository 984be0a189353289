//! Every event is in a visible file exactly once, whatever fails and whenever.
//!
//! Method: the tests drive a sink like the agent: they write returned batches again, and reopen the
//! sink after a failure. The store is in memory (or on the local disk, where noted),
//! below a wrapper that fails or dies at the n-th call, for every n. At the end, the visible lines
//! are counted. The clock is paused, so no test waits.

mod announcing;
mod appending;
mod changed;
mod faults;
pub(in crate::hdfs) mod harness;
mod marking;
mod merging;
mod named;
mod objects;
mod others;
#[cfg(feature = "mutants")]
mod planted;
mod real;
mod receipt_audit;
mod receipts;
mod refusing;
mod registering;
mod rolls;
mod sharing;

use std::sync::{Arc, Mutex};

use formats::format::Format;
use harness::{Collector, batch, lines_of, visible};
use pipeline::testkit::build;
use pipeline::{
    Batch, Encoder, Events, Existing, FileEncoder, Guarantee, Outcome, Sink, Unwritable,
};
use serde_json::json;
use storage::memory::Memory;

#[tokio::test(start_paused = true)]
async fn lines_become_visible_as_they_were_read() {
    let store = Memory::new();
    let collector = Collector::new(json!({ "url": "file:///logs/%{app}" }));
    let mut sink = collector.sink(&store);
    let mut first = Batch::of_lines(b"one\ntwo \xff\r\n\n"[..].into(), &[3, 6, 0]);
    first.set_header("app", "shop", Existing::Replace);
    let mut second = Batch::of(["three"]);
    second.set_header("app", "../etc", Existing::Replace);
    let batches = [(0, first), (1, second)];
    harness::deliver(&mut sink, &batches).await;

    let files = store.files();
    let host = &env::real().host;
    let (shop, etc) = (
        format!("/logs/shop/{host}-store-0-1.log"),
        format!("/logs/..%2Fetc/{host}-store-0-0.log"),
    );
    assert_eq!(files[&shop], &b"one\ntwo \xff\r\n\n"[..]);
    assert_eq!(files[&etc], "three\n");
    assert_eq!(sink.guarantee(), Guarantee::ExactlyOnce);
}

#[tokio::test(start_paused = true)]
async fn a_closed_sink_leaves_nothing_staged() {
    let store = Memory::new();
    let collector = Collector::new(json!({ "url": "file:///logs" }));
    let mut sink = collector.sink(&store);
    assert!(harness::drive(&mut sink, &[(0, batch(0, &["kept"]))]).await);
    sink.write(harness::taken(1, &batch(1, &["not flushed"]))).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    sink.close().await;
    assert_eq!(lines_of(&store), ["kept"]);
    assert!(!store.files().keys().any(|path| path.contains("/stage/")), "{:?}", store.files());
}

#[tokio::test(start_paused = true)]
async fn skips_a_batch_that_is_in_the_ledger() {
    let store = Memory::new();
    let collector = Collector::new(json!({ "url": "file:///logs" }));
    let known = [(0, batch(7, &["once"]))];
    harness::deliver(&mut collector.sink(&store), &known).await;
    let files = store.files();

    let mut again = collector.sink(&store);
    again.open().await.unwrap();
    again.write(harness::taken(3, &known[0].1)).await.unwrap();
    let settlement = again.settled().await;
    assert!(matches!(settlement.outcome, Outcome::Delivered));
    assert_eq!(settlement.tickets, (3..4).into());
    again.close().await;
    assert_eq!(visible(&store.files()), visible(&files));
}

#[tokio::test(start_paused = true)]
async fn at_least_once_writes_no_entries_and_reports_it() {
    let store = Memory::new();
    let settings = json!({ "url": "file:///logs", "guarantee": "at_least_once" });
    let mut sink = Collector::new(settings).sink(&store);
    assert_eq!(sink.guarantee(), Guarantee::AtLeastOnce);
    harness::deliver(&mut sink, &[(0, batch(0, &["a"])), (1, batch(1, &["b"]))]).await;
    assert_eq!(lines_of(&store), ["a", "b"]);
    assert!(!store.files().keys().any(|path| path.contains("/ledger/g")), "{:?}", store.files());
}

/// Rejects events whose body contains `!`.
struct Picky;

impl Encoder for Picky {
    fn unwritable(&self, events: &Events) -> Vec<Unwritable> {
        let bad = events.iter().filter(|event| event.body().contains(&b'!'));
        bad.map(|event| Unwritable { index: event.index(), reason: "a `!`".into() }).collect()
    }

    fn size_bound(&self, events: &Events) -> u64 {
        events.body_bytes() + events.len() as u64
    }

    fn begin(&self) -> Box<dyn FileEncoder> {
        Box::new(Telltale(Arc::default()))
    }
}

/// Records the threads that call it.
struct Telltale(Arc<Mutex<Vec<Option<String>>>>);

impl Encoder for Telltale {
    fn size_bound(&self, events: &Events) -> u64 {
        events.body_bytes() + events.len() as u64
    }

    fn begin(&self) -> Box<dyn FileEncoder> {
        Box::new(Telltale(self.0.clone()))
    }
}

impl FileEncoder for Telltale {
    fn encode(&mut self, events: &Events) -> bytes::Bytes {
        self.0.lock().unwrap().push(std::thread::current().name().map(String::from));
        events.lines().expect("these tests use lines").clone()
    }

    fn finish(&mut self) -> bytes::Bytes {
        bytes::Bytes::new()
    }
}

/// Time is not paused here, because a second runtime would not share the paused clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn files_are_written_by_threads_that_step_back_behind_new_events() {
    let (store, threads) = (Memory::new(), Arc::default());
    let mut sink = Collector::new(json!({ "url": "file:///logs" })).sink(&store);
    let telltale = Box::new(Telltale(Arc::clone(&threads)));
    Arc::get_mut(&mut sink.settings).unwrap().format = Arc::new(Format::plain(telltale));
    harness::deliver(&mut sink, &[(0, batch(0, &["line"]))]).await;
    assert_eq!(lines_of(&store), ["line"]);
    assert_eq!(*threads.lock().unwrap(), [Some("aqueduct-behind".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_written_holds_up_no_other() {
    let store = Memory::new();
    let mut sink = Collector::new(json!({ "url": "file:///logs" })).sink(&store);
    Arc::get_mut(&mut sink.settings).unwrap().format = Arc::new(Format::plain(Box::new(Picky)));
    sink.open().await.unwrap();
    sink.write(harness::taken(0, &batch(0, &["good", "bad!", "fine", "worse!"]))).await.unwrap();
    sink.write(harness::taken(1, &batch(1, &["hopeless!"]))).await.unwrap();
    for (ticket, whole, events) in [(0, false, &["bad!", "worse!"][..]), (1, true, &["hopeless!"])]
    {
        let Outcome::Refused(letter) = sink.settled().await.outcome else { panic!("poison first") };
        assert_eq!((letter.ticket, letter.whole), (ticket, whole));
        assert_eq!((letter.reason, &*letter.detail), ("unwritable_event", "a `!`"));
        let mut expected = Batch::of(events);
        expected.envelope.identity = letter.events.envelope.identity;
        assert_eq!(letter.events, expected);
        assert_eq!(letter.events.envelope.identity.map(|key| key.sequence.0), Some(ticket));
    }
    assert_eq!(sink.unacknowledged_bytes(), sink.held.bytes());
    sink.flush();
    assert!(matches!(sink.settled().await.outcome, Outcome::Delivered));
    assert_eq!(lines_of(&store), ["fine", "good"]);
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    let cx = formats::alone("store", std::path::Path::new("unused"), env::real());
    for (settings, path) in [
        (json!({ "url": "/logs" }), "url"),
        (json!({ "url": "file:///%Y" }), "url"),
        (json!({ "url": "file:///logs", "encoder": "xml" }), "encoder"),
        (json!({ "url": "file:///logs", "encoder": { "type": "avro", "x": 1 } }), "encoder.x"),
        (json!({ "url": "file:///logs", "encoder": "avro", "codec": "gzip" }), "codec"),
        (json!({ "url": "file:///logs", "codec": { "type": "zstd", "level": 99 } }), "codec.level"),
        (json!({ "url": "file:///logs", "roll": { "size_max": "0B" } }), "roll.size_max"),
        (json!({ "url": "file:///logs", "block_size": "1MiB" }), "block_size"),
        (json!({ "url": "file:///logs", "buckets_max": 0 }), "buckets_max"),
        (json!({ "url": "file:///logs", "zone": "Mars/Olympus" }), "zone"),
        (json!({ "url": "file:///logs/%H", "round": "90m" }), "round"),
        (json!({ "url": "file:///logs/%H", "without_time": "never" }), "without_time"),
        (json!({ "url": "file:///logs", "without_time": "reject" }), "without_time"),
        (json!({ "url": "file:///logs/%H", "late_after": "1h", "late_path": "/_x" }), "late_path"),
        (
            json!({ "url": "file:///logs/%H", "late_after": "1h", "time_from": "arrival" }),
            "late_after",
        ),
        (json!({ "url": "file:///logs", "file_prefix": "_x" }), "file_prefix"),
        (json!({ "url": "file:///logs", "file_suffix": "txt" }), "file_suffix"),
        (json!({ "url": "file:///logs", "encoder": "avro", "file_suffix": ".log" }), "file_suffix"),
        (json!({ "url": "file:///logs", "sweep_after": "1m" }), "sweep_after"),
    ] {
        let error = build::<super::Config>(&settings, &cx).err().unwrap();
        assert_eq!(error.path, path, "{settings}: {error}");
    }
}
