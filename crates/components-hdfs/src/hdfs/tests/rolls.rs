//! When files become visible, and what one roll may hold.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use components::format::Format;
use pipeline::{Batch, Encoder, Events, Existing, FileEncoder, Sink};
use serde_json::{Value, json};
use storage::memory::Memory;
use tokio::time::{Instant, sleep};

use super::harness::{Collector, batch, deliver, lines_of, taken, visible};
use crate::hdfs::HdfsSink;

async fn opened(store: &Memory, roll: Value) -> HdfsSink {
    let settings = json!({ "url": "file:///logs", "roll": roll });
    let mut sink = Collector::new(settings).sink(store);
    sink.open().await.unwrap();
    sink
}

#[tokio::test(start_paused = true)]
async fn a_quiet_file_becomes_visible_after_the_idle_time() {
    let store = Memory::new();
    let mut sink = opened(&store, json!({ "idle_max": "200ms" })).await;
    sink.write(taken(0, &batch(0, &["a"]))).await.unwrap();
    sleep(Duration::from_millis(150)).await;
    sink.write(taken(1, &batch(1, &["b"]))).await.unwrap();
    sleep(Duration::from_millis(150)).await;
    assert!(lines_of(&store).is_empty());
    assert_eq!(sink.settled().await.tickets.count(), 2);
    assert_eq!(lines_of(&store), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_busy_file_becomes_visible_after_its_age() {
    let store = Memory::new();
    let mut sink = opened(&store, json!({ "age_max": "10s", "idle_max": "10s" })).await;
    let start = Instant::now();
    for n in 0..20 {
        sink.write(taken(n, &batch(n, &["x"]))).await.unwrap();
        sleep(Duration::from_secs(1)).await;
    }
    let first = sink.settled().await.tickets.count();
    assert!((8..=12).contains(&first), "{first} batches after {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn no_file_is_larger_than_its_limit() {
    let store = Memory::new();
    let mut sink = Collector::new(json!({ "url": "file:///logs", "roll": { "size_max": "30B" } }))
        .sink(&store);
    let batches: Vec<(u64, Batch)> = (0..9).map(|n| (n, batch(n, &["0123456789"]))).collect();
    deliver(&mut sink, &batches).await;
    let sizes: Vec<usize> = visible(&store.files()).values().map(|file| file.len()).collect();
    assert_eq!(sizes, [22, 22, 22, 22, 11]);
}

/// Lines of text, all of which are held back until the file is finished.
struct Hoard(Vec<u8>);

impl Encoder for Hoard {
    fn size_bound(&self, events: &Events) -> u64 {
        events.body_bytes() + events.len() as u64
    }

    fn begin(&self) -> Box<dyn FileEncoder> {
        Box::new(Hoard(Vec::new()))
    }
}

impl FileEncoder for Hoard {
    fn encode(&mut self, events: &Events) -> Bytes {
        self.0.extend_from_slice(events.lines().expect("these tests use lines"));
        Bytes::new()
    }

    fn held_back(&self) -> u64 {
        self.0.len() as u64
    }

    fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.0).into()
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_encoder_holds_back_counts_as_part_of_its_file() {
    let store = Memory::new();
    let mut sink = Collector::new(json!({ "url": "file:///logs", "roll": { "size_max": "30B" } }))
        .sink(&store);
    let hoard = Box::new(Hoard(Vec::new()));
    Arc::get_mut(&mut sink.settings).unwrap().format = Arc::new(Format::plain(hoard));
    let batches: Vec<(u64, Batch)> = (0..5).map(|n| (n, batch(n, &["0123456789"]))).collect();
    deliver(&mut sink, &batches).await;
    let sizes: Vec<usize> = visible(&store.files()).values().map(|file| file.len()).collect();
    assert_eq!(sizes, [22, 22, 11]);
}

#[tokio::test(start_paused = true)]
async fn directories_over_the_limit_share_one_until_the_next_roll() {
    let store = Memory::new();
    let settings = json!({ "url": "file:///logs/%{app}", "buckets_max": 2 });
    let batches: Vec<(u64, Batch)> = (0..5)
        .map(|n| {
            let mut batch = batch(n, &["x"]);
            batch.set_header("app", &n.to_string(), Existing::Replace);
            (n, batch)
        })
        .collect();
    deliver(&mut Collector::new(settings).sink(&store), &batches).await;
    let files = store.files();
    let lines = |directory: &str| {
        let path = visible(&files).into_iter().find(|(path, _)| path.starts_with(directory));
        path.map(|(_, content)| content.len() / 2)
    };
    assert_eq!(lines("/logs/0/"), Some(1));
    assert_eq!(lines("/logs/1/"), Some(1));
    assert_eq!(lines("/logs/_overflow/"), Some(3));
}

#[tokio::test(start_paused = true)]
async fn events_without_an_identity_are_delivered_too() {
    let store = Memory::new();
    let batches = [(0, Batch::of(["a"])), (1, Batch::of(["b"]))];
    deliver(&mut Collector::new(json!({ "url": "file:///logs" })).sink(&store), &batches).await;
    assert_eq!(lines_of(&store), ["a", "b"]);
}

/// A batch that is offered twice before it is committed shares the roll, and not as a second copy.
#[tokio::test(start_paused = true)]
async fn a_batch_offered_twice_is_written_once() {
    let store = Memory::new();
    let batches = [(0, batch(3, &["a"])), (1, batch(3, &["a"]))];
    deliver(&mut Collector::new(json!({ "url": "file:///logs" })).sink(&store), &batches).await;
    assert_eq!(lines_of(&store), ["a"]);
}
