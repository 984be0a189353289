//! Complete directories get a marker, whatever fails, and never too early.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pipeline::{Batch, Existing, Outcome, Sink};
use serde_json::json;
use storage::FileSystem;
use storage::faults::{Fault, Faulty};
use storage::memory::Memory;
use storage::objects::Objects;
use tokio::time::sleep;

use super::harness::{Collector, STARTED, at_rest, batch, drive, lines_of, taken};

const MINUTE: Duration = Duration::from_secs(60);

/// Returns batch `n`, with one line from this many hours before the start.
fn aged(n: u64, app: &str, hours: u64) -> (u64, Batch) {
    let mut batch = batch(n, &[&n.to_string()]);
    let at = format!("{}000", STARTED - hours * 3_600);
    batch.set_header("timestamp", &at, Existing::Replace);
    batch.set_header("app", app, Existing::Replace);
    (n, batch)
}

/// Returns the directories with a marker.
fn marked(store: &Memory) -> Vec<String> {
    let files = store.files().into_keys();
    files.filter_map(|path| Some(path.strip_suffix("/_SUCCESS")?.to_owned())).collect()
}

fn notes(store: &Memory) -> usize {
    store.files().into_keys().filter(|path| path.contains("/notes/")).count()
}

async fn not_marked_while_staged(over: fn(Arc<dyn FileSystem>) -> Arc<dyn FileSystem>) {
    let store = Memory::new();
    let settings = json!({
        "url": "file:///logs/%H/%{app}",
        "time_from": "arrival",
        "success_marker": { "after": "1h" },
        "roll": { "age_max": "5h", "idle_max": "5h" },
    });
    let collectors = [(); 2].map(|()| Collector::with_clock(settings.clone()));
    let sink = |of: &Collector| of.sink_on(over(Arc::new(store.clone())));
    let [mut one, mut two] = collectors.each_ref().map(sink);
    assert!(drive(&mut one, &[aged(0, "shop", 0)]).await);
    // Rolls that are open at the end of the hour: a staged file of each collector.
    two.open().await.unwrap();
    one.write(taken(1, &aged(1, "pay", 0).1)).await.unwrap();
    two.write(taken(2, &aged(2, "cart", 0).1)).await.unwrap();
    sleep(118 * MINUTE).await;
    assert_eq!((marked(&store).len(), notes(&store)), (0, 1), "an hour, and one after it");
    for sink in [&mut one, &mut two] {
        sleep(7 * MINUTE).await;
        assert_eq!(marked(&store), Vec::<String>::new(), "a file is staged still");
        sink.flush();
        assert!(matches!(sink.settled().await.outcome, Outcome::Delivered));
    }
    sleep(2 * MINUTE).await;
    at_rest(&one).await;
    at_rest(&two).await;
    assert_eq!(marked(&store), ["/logs/08/cart", "/logs/08/pay", "/logs/08/shop"]);
    assert_eq!(notes(&store), 0);
    assert_eq!(lines_of(&store), ["0", "1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn marks_a_directory_after_its_time_when_nothing_is_staged() {
    not_marked_while_staged(|store| store).await;
}

#[tokio::test(start_paused = true)]
async fn in_a_bucket_a_file_that_is_being_written_counts_as_staged() {
    not_marked_while_staged(|store| Arc::new(Objects::over(store))).await;
}

#[tokio::test(start_paused = true)]
async fn a_late_event_gets_no_note_and_no_marker() {
    let store = Memory::new();
    let collector = Collector::with_clock(json!({
        "url": "file:///logs/%Y-%m-%d-%H/%{app}",
        "late_after": "1h",
        "success_marker": { "after": "2h" },
    }));
    let mut sink = collector.sink(&store);
    assert!(drive(&mut sink, &[aged(0, "shop", 5), aged(1, "shop", 0)]).await);
    assert_eq!(notes(&store), 1);
    sleep(240 * MINUTE).await;
    at_rest(&sink).await;
    assert_eq!(marked(&store), ["/logs/2027-01-15-08/shop"]);
    let late = store.files().into_keys().filter(|path| path.starts_with("/logs/late/")).count();
    assert_eq!((late, notes(&store)), (1, 0));
}

/// After a kill at any store call, the next opening creates the missing markers.
async fn killed_anywhere(over: fn(Arc<dyn FileSystem>) -> Arc<dyn FileSystem>) {
    for at in 0.. {
        let store = Memory::new();
        let faulty = Arc::new(Faulty::new(Arc::new(store.clone()), Fault::DiesAfter, at));
        let collector = Collector::with_clock(json!({
            "url": "file:///logs/%H-%M/%{app}",
            "time_from": "arrival",
            "success_marker": { "after": "1m" },
        }));
        let batches = [aged(0, "shop", 0)];
        let mut sink = collector.sink_on(over(faulty.clone()));
        if drive(&mut sink, &batches).await {
            sleep(4 * MINUTE).await;
        }
        let was_killed = faulty.calls() > at;
        drop(sink);
        let mut sink = collector.sink_on(over(Arc::new(store.clone())));
        assert!(drive(&mut sink, &batches).await);
        sleep(4 * MINUTE).await;
        at_rest(&sink).await;
        assert_eq!(lines_of(&store), ["0"], "killed at call {at}");
        let found = (marked(&store).len(), notes(&store));
        assert_eq!(found, (1, 0), "killed at call {at}: {:?}", store.files().keys());
        if !was_killed {
            assert!(at > 40, "{at} calls");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_call_leaves_each_directory_with_a_marker() {
    killed_anywhere(|store| store).await;
}

#[tokio::test(start_paused = true)]
async fn marks_each_directory_despite_a_kill_at_any_call_of_a_bucket() {
    killed_anywhere(|store| Arc::new(Objects::over(store))).await;
}

#[test]
fn rejects_markers_for_directories_that_never_complete() {
    let cx = formats::alone("store", Path::new("/nowhere"), env::real());
    let marker = json!({ "after": "1h" });
    let arrival = "arrival";
    for (settings, problem) in [
        (json!({ "url": "file:///logs/%H", "success_marker": marker }), "`late_after`"),
        (
            json!({ "url": "file:///logs/%H", "late_after": "1h", "success_marker": marker }),
            "success_marker.after",
        ),
        (
            json!({ "url": "file:///logs/%H", "time_from": arrival,
                    "success_marker": { "after": "1h", "name": "done" } }),
            "success_marker.name",
        ),
        (json!({ "url": "file:///logs", "success_marker": marker }), "has no time"),
        (
            json!({ "url": "file:///logs/%H", "time_from": arrival, "guarantee": "at_least_once",
                    "success_marker": marker }),
            "`guarantee`",
        ),
    ] {
        let built = pipeline::testkit::build::<crate::hdfs::Config>(&settings, &cx);
        let error = built.err().expect("it is refused").to_string();
        assert!(error.contains(problem), "{error}");
    }
}
