//! If the ledger is deleted, emptied or replaced, the sink stores nothing until an operator
//! decides. After that, everything is delivered.

use std::sync::Arc;

use pipeline::{Outcome, Sink};
use serde_json::json;
use storage::FileSystem;
use storage::faults::{Fault, Faulty};
use storage::memory::Memory;

use super::faults::settings;
use super::harness::{
    Collector, deliver, drive, lines_of, numbered, numbered_lines, taken, visible,
};

const LEDGER: &str = "/logs/_aqueduct/store/ledger";

/// Both collectors have delivered the first four of six batches.
async fn begun(store: &Memory) -> (Collector, Collector) {
    let collectors = (Collector::new(settings()), Collector::new(settings()));
    deliver(&mut collectors.0.sink(store), &numbered(4)).await;
    deliver(&mut collectors.1.sink(store), &numbered(4)).await;
    collectors
}

#[tokio::test(start_paused = true)]
async fn a_ledger_deleted_while_down_stops_the_sink_with_a_command() {
    let store = Memory::new();
    let (one, other) = begun(&store).await;
    store.delete("/logs/_aqueduct").await.unwrap();
    let before = store.files();
    for collector in [&one, &other, &Collector::new(settings())] {
        let mut sink = collector.sink(&store);
        let error = sink.open().await.unwrap_err();
        let told = error.to_string();
        for part in
            ["the sink stores nothing", "aqueduct ledger show --store 'file:///logs/%{app}'"]
        {
            assert!(told.contains(part), "{told}");
        }
        assert!(!drive(&mut sink, &numbered(6)).await, "it stores nothing");
        sink.close().await;
    }
    assert_eq!(store.files(), before);

    let decided = one.operator(Arc::new(store.clone())).rebuild().await.unwrap();
    assert_eq!(decided.standing.view.settled().keys.count(), 4);
    for collector in [&one, &other] {
        deliver(&mut collector.sink(&store), &numbered(6)).await;
    }
    assert_eq!(lines_of(&store), numbered_lines(6));
}

#[tokio::test(start_paused = true)]
async fn a_ledger_deleted_at_work_stops_the_sink_until_it_is_repaired() {
    for path in [LEDGER, "/logs/_aqueduct", "/logs"] {
        let store = Memory::new();
        let (one, _) = begun(&store).await;
        let mut sink = one.sink(&store);
        assert!(drive(&mut sink, &numbered(5)).await);
        store.delete(path).await.unwrap();
        let before = visible(&store.files()).len();
        sink.write(taken(5, &numbered(6)[5].1)).await.unwrap();
        sink.flush();
        let Outcome::Again(Some(error)) = sink.settled().await.outcome else { panic!("{path}") };
        assert!(error.to_string().contains("aqueduct ledger show"), "{path}: {error}");
        assert!(!drive(&mut sink, &numbered(6)[5..]).await, "{path}");
        assert_eq!(visible(&store.files()).len(), before, "{path}");
        let operator = one.operator(Arc::new(store.clone()));
        if path == "/logs" {
            // The data is gone, too: none of it counts as committed.
            operator.adopt().await.unwrap();
            sink = one.sink(&store);
        } else {
            operator.rebuild().await.unwrap();
        }
        deliver(&mut sink, &numbered(6)).await;
        assert_eq!(lines_of(&store), numbered_lines(6), "{path}");
    }
}

/// A rebuild can be repeated after a failure of any store call, with the same result.
#[tokio::test(start_paused = true)]
async fn a_rebuilding_that_failed_at_any_call_can_be_done_again() {
    for fault in [Fault::Refused, Fault::AnswerLost, Fault::DiesBefore, Fault::DiesAfter] {
        for at in 0.. {
            let store = Memory::new();
            let (one, other) = begun(&store).await;
            store.delete(LEDGER).await.unwrap();
            let faulty = Arc::new(Faulty::new(Arc::new(store.clone()), fault.clone(), at));
            let done = one.operator(faulty.clone()).rebuild().await.is_ok();
            if !done {
                one.operator(Arc::new(store.clone())).rebuild().await.unwrap();
            }
            for collector in [&one, &other] {
                deliver(&mut collector.sink(&store), &numbered(6)).await;
            }
            assert_eq!(lines_of(&store), numbered_lines(6), "{fault:?} at {at}");
            if faulty.calls() <= at {
                assert!(done && at > 8);
                break;
            }
        }
    }
}

/// The sink's data directory belongs to another dataset, and remembers nothing of this one.
#[tokio::test(start_paused = true)]
async fn accepts_a_moved_dataset_only_with_its_ledger() {
    let store = Memory::new();
    let mut moved = Collector::new(settings());
    deliver(&mut moved.sink(&store), &numbered(4)).await;
    moved.change(json!({ "url": "file:///new/%{app}", "roll": { "count_max": 2 } }));
    store.rename("/logs", "/new").await.unwrap();
    deliver(&mut moved.sink(&store), &numbered(6)).await;
    assert_eq!(lines_of(&store), numbered_lines(6));

    store.mkdirs("/third").await.unwrap();
    for app in ["even", "odd"] {
        store.rename(&format!("/new/{app}"), &format!("/third/{app}")).await.unwrap();
    }
    moved.change(json!({ "url": "file:///third/%{app}", "roll": { "count_max": 2 } }));
    assert!(!drive(&mut moved.sink(&store), &numbered(6)).await);
    assert_eq!(lines_of(&store), numbered_lines(6));
}
