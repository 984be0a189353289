//! Small files of old directories are merged, whatever fails, and before the marker.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pipeline::{Batch, Component};
use serde_json::{Value, json};
use storage::faults::{Fault, Faulty};
use storage::memory::Memory;
use storage::objects::Objects;
use tokio::time::sleep;

use super::harness::{Collector, at_rest, batch, drive, lines_of};
use crate::hdfs::Config;

const MINUTE: Duration = Duration::from_secs(60);

fn settings() -> Value {
    json!({
        "url": "hdfs://store/logs/%H",
        "time_from": "arrival",
        "compact": { "after": "2h" },
        "success_marker": { "after": "1h" },
        "roll": { "count_max": 1 },
    })
}

/// Returns batches that each end a roll.
fn batches(numbers: std::ops::Range<u64>) -> Vec<(u64, Batch)> {
    numbers.map(|n| (n, batch(n, &[&format!("{n:02}")]))).collect()
}

fn lines(numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.map(|n| format!("{n:02}")).collect()
}

/// Returns the number of files in the directory of the first hour, and whether it has a marker.
fn hour(store: &Memory) -> (usize, bool) {
    let files = store.files().into_keys();
    let (marker, files): (Vec<_>, Vec<_>) =
        files.filter(|path| path.starts_with("/logs/08/")).partition(|it| it.ends_with("_SUCCESS"));
    (files.len(), !marker.is_empty())
}

fn notes(store: &Memory) -> usize {
    let is_note = |path: &String| path.contains("/notes/") || path.contains("/merges/");
    store.files().into_keys().filter(is_note).count()
}

#[tokio::test(start_paused = true)]
async fn merges_small_files_after_their_time_and_then_marks() {
    let store = Memory::new();
    let collectors = [(); 2].map(|()| Collector::with_clock(settings()));
    let [mut one, mut two] = collectors.each_ref().map(|collector| collector.sink(&store));
    assert!(drive(&mut one, &batches(0..5)).await);
    assert!(drive(&mut two, &batches(5..9)).await);
    sleep(178 * MINUTE).await;
    at_rest(&one).await;
    assert_eq!(hour(&store), (9, false), "an hour, and two after it: the marker waits");
    sleep(5 * MINUTE).await;
    at_rest(&one).await;
    at_rest(&two).await;
    assert_eq!((hour(&store), notes(&store)), ((1, true), 0));
    assert_eq!(lines_of(&store), lines(0..9));
    let staged = store.files().into_keys().filter(|path| path.ends_with(".merged")).count();
    assert_eq!(staged, 0);
}

/// After a kill at any store call, the next opening completes the merges.
#[tokio::test(start_paused = true)]
async fn a_kill_at_any_call_leaves_one_file_with_each_line_once() {
    for at in 0.. {
        let store = Memory::new();
        let faulty = Arc::new(Faulty::new(Arc::new(store.clone()), Fault::DiesAfter, at));
        let mut settings = settings();
        settings["url"] = json!("hdfs://store/logs/%H-%M");
        settings["compact"] = json!({ "after": "1m" });
        settings["success_marker"] = json!({ "after": "1m" });
        let collector = Collector::with_clock(settings);
        let mut sink = collector.sink_on(faulty.clone());
        if drive(&mut sink, &batches(0..2)).await {
            sleep(3 * MINUTE).await;
        }
        let was_killed = faulty.calls() > at;
        drop(sink);
        let mut sink = collector.sink(&store);
        assert!(drive(&mut sink, &batches(0..2)).await);
        // The second start may store events of a later minute.
        sleep(4 * MINUTE).await;
        at_rest(&sink).await;
        assert_eq!(lines_of(&store), lines(0..2), "killed at call {at}");
        let files = store.files();
        let of = |ending: &str| files.keys().filter(|path| path.ends_with(ending)).count();
        let directories = of("/_SUCCESS");
        assert_eq!((of(".log"), of(".merged"), notes(&store)), (directories, 0, 0), "{at}");
        if !was_killed {
            assert!(at > 60, "{at} calls");
            return;
        }
    }
}

/// Like a network disk, whose lack of support is only detected at run time.
#[tokio::test(start_paused = true)]
async fn marks_without_merging_where_the_store_cannot_merge() {
    let store = Memory::new();
    let collector = Collector::with_clock(settings());
    let mut sink = collector.sink_on(Arc::new(Objects::over(Arc::new(store.clone()))));
    assert!(drive(&mut sink, &batches(0..3)).await);
    sleep(183 * MINUTE).await;
    at_rest(&sink).await;
    assert_eq!((hour(&store), notes(&store)), ((3, true), 0));
    assert_eq!(lines_of(&store), lines(0..3));
}

#[test]
fn rejects_compact_where_files_cannot_be_merged() {
    let cx = formats::alone("store", Path::new("/nowhere"), env::real());
    let compact = json!({ "after": "2h" });
    let hour = "hdfs://store/logs/%H";
    for (settings, path, problem) in [
        (json!({ "url": "webhdfs://store:9870/logs/%H" }), "compact", "`hdfs://`"),
        (json!({ "url": "hdfs://store/logs/%{app}" }), "compact", "has no time"),
        (json!({ "url": hour, "guarantee": "at_least_once" }), "compact", "`guarantee`"),
        (json!({ "url": hour, "encoder": "avro" }), "compact", "`encoder`"),
        (
            json!({ "url": hour, "encoder": { "type": "csv", "columns": ["a"], "names": true } }),
            "compact",
            "`encoder`",
        ),
        (json!({ "url": hour, "codec": "deflate" }), "compact", "`codec`"),
        (json!({ "url": hour, "codec": "snappy" }), "compact", "`codec`"),
        (json!({ "url": hour, "late_after": "2h" }), "compact.after", "`late_after`"),
    ] {
        let mut settings = settings;
        settings["compact"] = compact.clone();
        let config: Config = pipeline::Settings::from_json(&settings).read().unwrap();
        let error = config.build(&cx).err().expect("it is refused");
        assert_eq!(error.setting, path, "{error}");
        assert!(error.to_string().contains(problem), "{error}");
    }
    for codec in ["none", "gzip", "zstd"] {
        let settings = json!({ "url": hour, "codec": codec, "compact": compact });
        let config: Config = pipeline::Settings::from_json(&settings).read().unwrap();
        assert!(config.build(&cx).is_ok(), "{codec}");
    }
}
