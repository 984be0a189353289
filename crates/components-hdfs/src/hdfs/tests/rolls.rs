//! When files become visible, and the limits of a roll.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use formats::format::Format;
use pipeline::{Batch, BatchBuilder, Encoder, Events, Existing, FileEncoder, Outcome, Sink};
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

#[tokio::test(start_paused = true)]
async fn a_compressed_file_is_as_large_as_its_limit_allows() {
    const LIMIT: usize = 64 << 10;
    let spread = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let lines = |batch: u64| -> Vec<String> {
        (0..600).map(|n| format!("{:016x}", spread(batch * 600 + n))).collect()
    };
    for codec in ["gzip", "zstd"] {
        let store = Memory::new();
        let roll = json!({ "size_max": format!("{LIMIT}B") });
        let settings = json!({ "url": "file:///logs", "codec": codec, "roll": roll });
        let mut sink = Collector::new(settings).sink(&store);
        let of = |n| batch(n, &lines(n).iter().map(String::as_str).collect::<Vec<_>>());
        let batches: Vec<(u64, Batch)> = (0..60).map(|n| (n, of(n))).collect();
        deliver(&mut sink, &batches).await;
        let files = store.files();
        let mut sizes: Vec<usize> = visible(&files).values().map(|file| file.len()).collect();
        sizes.sort_unstable();
        assert!(sizes.len() > 3 && *sizes.last().unwrap() <= LIMIT, "{codec}: {sizes:?}");
        let room = batches[0].1.body_bytes() as usize + 600;
        assert!(sizes[1..].iter().all(|size| size + room > LIMIT), "{codec}: {sizes:?}");
    }
}

/// Lines of text that are held back until the file is finished.
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
async fn buffered_bytes_of_an_encoder_count_for_the_file_size() {
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

/// Returns one batch for each of these paths.
fn for_paths(paths: &[&str]) -> Vec<(u64, Batch)> {
    let batch_for = |(n, path): (usize, &&str)| {
        let mut batch = batch(n as u64, &[&format!("{n}")]);
        batch.set_header("app", path, Existing::Replace);
        (n as u64, batch)
    };
    paths.iter().enumerate().map(batch_for).collect()
}

/// Returns the names of the visible files.
fn names(store: &Memory) -> Vec<String> {
    visible(&store.files()).into_keys().map(String::from).collect()
}

#[tokio::test(start_paused = true)]
async fn too_many_open_paths_end_the_least_recently_used_rolls() {
    let store = Memory::new();
    let settings = json!({ "url": "file:///logs/%{app}", "buckets_max": 2 });
    let mut sink = Collector::new(settings).sink(&store);
    sink.open().await.unwrap();
    // `a` is written again before `c` needs space, so `b` ends.
    for (ticket, batch) in for_paths(&["a", "b", "a", "c"]) {
        sink.write(taken(ticket, &batch)).await.unwrap();
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(sink.settled().await.tickets, (1..2).into());
    assert_eq!(lines_of(&store), ["1"]);
    sink.flush();
    assert_eq!(sink.settled().await.tickets.count(), 3);
    assert_eq!(names(&store).len(), 3, "{:?}", names(&store));
    assert!(!names(&store).iter().any(|name| name.contains("_overflow")));
}

/// Writes a batch with an event for each app. Returns the number of lines per visible directory.
async fn written_by_app(settings: Value, apps: &[String]) -> BTreeMap<String, usize> {
    let store = Memory::new();
    let mut builder = BatchBuilder::default();
    apps.iter().for_each(|app| builder.push(b"{}", &[("app", app)]));
    deliver(&mut Collector::new(settings).sink(&store), &[(0, builder.finish())]).await;
    let files = store.files();
    let mut lines = BTreeMap::new();
    for (path, content) in visible(&files) {
        let directory = path.split('/').nth(2).unwrap().to_owned();
        assert_eq!(lines.insert(directory, content.len() / 3), None, "one file in each directory");
    }
    lines
}

#[tokio::test(start_paused = true)]
async fn a_batch_with_more_paths_than_may_be_open_is_written_in_rounds() {
    support::mutants::plant_by_environment();
    let apps: Vec<String> = ["c", "a", "b", "e", "a", "d"].into_iter().map(str::to_owned).collect();
    let expected: BTreeMap<String, usize> =
        [("a", 2), ("b", 1), ("c", 1), ("d", 1), ("e", 1)].map(|(a, n)| (a.into(), n)).into();
    for files_max in [1, 2, 3, 4] {
        for codec in ["none", "gzip"] {
            let settings = json!({
                "url": "file:///logs/%{app}", "buckets_max": files_max, "codec": codec,
            });
            let lines = written_by_app(settings, &apps).await;
            if codec == "none" {
                assert_eq!(lines, expected, "{files_max}");
            }
            assert_eq!(lines.len(), 5, "{files_max} {codec}");
        }
    }
}

/// Two values may have the same name in a path, and then share a file.
#[tokio::test(start_paused = true)]
async fn parts_with_the_same_path_are_in_one_round() {
    let apps = ["", ".", "x", "..", "y"].map(str::to_owned);
    let settings = json!({ "url": "file:///logs/%{app}", "buckets_max": 2 });
    let lines = written_by_app(settings, &apps).await;
    let expected = [("_", 3), ("x", 1), ("y", 1)].map(|(name, n)| (name.to_owned(), n));
    assert_eq!(lines, expected.into());
}

#[tokio::test(start_paused = true)]
async fn counts_events_of_too_many_paths_and_stores_them_in_one_file() {
    support::mutants::plant_by_environment();
    let store = Memory::new();
    let settings = json!({ "url": "file:///logs/%{app}", "buckets_max": 2 });
    let collector = Collector::new(settings);
    let mut builder = BatchBuilder::default();
    (0..40).for_each(|n| builder.push(b"{}", &[("app", &format!("{n:02}"))]));
    deliver(&mut collector.sink(&store), &[(0, builder.finish())]).await;
    let files = store.files();
    let of = |directory: &str| {
        let found = visible(&files).into_iter().find(|(path, _)| path.starts_with(directory));
        found.map(|(_, content)| content.len() / 3)
    };
    assert_eq!((of("/logs/00/"), of("/logs/31/"), of("/logs/32/")), (Some(1), Some(1), None));
    assert_eq!(of("/logs/_overflow/"), Some(8));
    let text = collector.metrics().text();
    assert!(text.contains("overflow_events_total{component=\"store\"} 8"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_full_path_ends_no_file_of_another_one_unless_they_share_a_batch() {
    for shared in [false, true] {
        let store = Memory::new();
        let roll = json!({ "count_max": 3, "idle_max": "1h", "age_max": "1h" });
        let settings = json!({ "url": "file:///logs/%{app}", "roll": roll });
        let mut sink = Collector::new(settings).sink(&store);
        sink.open().await.unwrap();
        for (ticket, batch) in for_paths(&["slow", "busy", "busy"]) {
            sink.write(taken(ticket, &batch)).await.unwrap();
        }
        if shared {
            let mut both = BatchBuilder::default();
            ["slow", "busy"].into_iter().for_each(|app| both.push(b"both", &[("app", app)]));
            let mut both = both.finish();
            both.envelope.identity = batch(9, &["x"]).envelope.identity;
            sink.write(taken(3, &both)).await.unwrap();
        } else {
            sink.write(taken(3, &for_paths(&["", "", "", "busy"])[3].1)).await.unwrap();
        }
        let settled = sink.settled().await.tickets;
        assert_eq!(settled, if shared { (0..4).into() } else { (1..4).into() });
        assert_eq!(names(&store).len(), if shared { 2 } else { 1 }, "{:?}", names(&store));
    }
}

#[tokio::test(start_paused = true)]
async fn rolls_that_share_a_batch_become_visible_together() {
    let store = Memory::new();
    let settings = json!({ "url": "file:///logs/%{app}" });
    let collector = Collector::new(settings);
    let mut both = BatchBuilder::default();
    ["a", "b"].into_iter().for_each(|app| both.push(b"both", &[("app", app)]));
    let mut both = both.finish();
    both.envelope.identity = batch(9, &["x"]).envelope.identity;
    let mut batches = for_paths(&["a", "b", "c"]);
    batches.push((3, both));
    deliver(&mut collector.sink(&store), &batches).await;
    // Another start finds every batch in the ledger.
    deliver(&mut collector.sink(&store), &batches).await;
    assert_eq!(lines_of(&store), ["0", "1", "2", "both", "both"]);
}

#[tokio::test(start_paused = true)]
async fn events_with_different_schemas_go_to_different_files() {
    let store = Memory::new();
    let settings = json!({ "url": "file:///logs", "encoder": "avro_schema" });
    let collector = Collector::new(settings);
    let schema = "flume.avro.schema.literal";
    let mut builder = BatchBuilder::default();
    for (text, body) in [("\"int\"", &b"\x02"[..]), ("\"string\"", b"\x04ab"), ("\"int\"", b"\x06")]
    {
        builder.push(body, &[(schema, text)]);
    }
    let mut mixed = builder.finish();
    mixed.envelope.identity = batch(7, &["x"]).envelope.identity;
    let mut numbers = Batch::of(["\x08"]);
    numbers.set_header(schema, "\"int\"", Existing::Replace);
    numbers.envelope.identity = batch(8, &["x"]).envelope.identity;
    deliver(&mut collector.sink(&store), &[(0, mixed), (1, numbers)]).await;
    let files = store.files();
    let has = |text: &[u8]| {
        let is_in = |file: &&Bytes| file.windows(text.len()).any(|bytes| bytes == text);
        visible(&files).values().copied().filter(is_in).count()
    };
    assert_eq!((has(b"\"int\""), has(b"\"string\"")), (1, 1), "{:?}", names(&store));
    // A block: number of records, number of bytes, and the bytes.
    assert_eq!((has(b"\x06\x06\x02\x06\x08"), has(b"\x02\x06\x04ab")), (1, 1));
    assert_eq!(names(&store).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn quiet_rolls_that_end_at_about_the_same_time_are_one_entry() {
    let store = Memory::new();
    let roll = json!({ "idle_max": "10s" });
    let mut sink =
        Collector::new(json!({ "url": "file:///logs/%{app}", "roll": roll })).sink(&store);
    sink.open().await.unwrap();
    for (ticket, batch) in for_paths(&["a", "b", "c"]) {
        sink.write(taken(ticket, &batch)).await.unwrap();
        sleep(Duration::from_secs(if ticket == 1 { 9 } else { 2 })).await;
    }
    assert_eq!(sink.settled().await.tickets, (0..2).into());
    assert_eq!(sink.settled().await.tickets, (2..3).into());
}

#[tokio::test(start_paused = true)]
async fn a_roll_ends_with_the_hour_and_uses_the_set_file_names() {
    let store = Memory::new();
    let roll = json!({ "on": "hour", "age_max": "5h", "idle_max": "5h" });
    let settings = json!({
        "url": "file:///logs", "roll": roll, "file_prefix": "events", "file_suffix": ".txt",
    });
    let mut sink = Collector::new(settings).sink(&store);
    sink.open().await.unwrap();
    let start = Instant::now();
    sink.write(taken(0, &batch(0, &["a"]))).await.unwrap();
    sink.settled().await;
    assert!(start.elapsed() <= Duration::from_secs(3_601), "{:?}", start.elapsed());
    assert_eq!(names(&store), ["/logs/events-store-0-0.txt"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_without_a_time_is_rejected_and_late_ones_are_counted() {
    let store = Memory::new();
    let settings = json!({
        "url": "file:///logs/%Y", "without_time": "reject", "late_after": "1h", "late_path": "/old",
    });
    let mut sink = Collector::new(settings).sink(&store);
    sink.open().await.unwrap();
    let mut builder = BatchBuilder::default();
    builder.push(b"late", &[("timestamp", "0")]);
    builder.push(b"none", &[("timestamp", "soon")]);
    sink.write(taken(0, &builder.finish())).await.unwrap();
    let Outcome::Refused(letter) = sink.settled().await.outcome else { panic!("a letter first") };
    assert_eq!((letter.reason, letter.whole, letter.events.len()), ("no_time", false, 1));
    sink.flush();
    assert!(matches!(sink.settled().await.outcome, Outcome::Delivered));
    assert_eq!(lines_of(&store), ["late"]);
    assert!(names(&store)[0].starts_with("/logs/old/2"), "{:?}", names(&store));
    assert_eq!(sink.settings.late.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn events_without_an_identity_are_delivered_too() {
    let store = Memory::new();
    let batches = [(0, Batch::of(["a"])), (1, Batch::of(["b"]))];
    deliver(&mut Collector::new(json!({ "url": "file:///logs" })).sink(&store), &batches).await;
    assert_eq!(lines_of(&store), ["a", "b"]);
}

/// A batch that is sent again before its commit shares the roll, without a second copy.
#[tokio::test(start_paused = true)]
async fn a_batch_offered_twice_is_written_once() {
    let store = Memory::new();
    let batches = [(0, batch(3, &["a"])), (1, batch(3, &["a"]))];
    deliver(&mut Collector::new(json!({ "url": "file:///logs" })).sink(&store), &batches).await;
    assert_eq!(lines_of(&store), ["a"]);
}
