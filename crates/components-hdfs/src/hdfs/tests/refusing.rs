//! One directory refuses its files: everything else goes on, and nothing is lost or repeated.

use std::sync::Arc;
use std::time::Duration;

use pipeline::Sink;
use serde_json::{Value, json};
use storage::faults::{Fault, Faulty, Refusing};
use storage::memory::Memory;
use tokio::time::sleep;

use super::harness::{Collector, at_rest, deliver, drive, lines_of, numbered, numbered_lines};

const BATCHES: u64 = 6;
/// Longer than the longest pause between two tries.
const SOON: Duration = Duration::from_secs(31);

fn settings() -> Value {
    json!({ "url": "file:///logs/%{app}", "roll": { "count_max": 2 } })
}

fn refusing(store: &Memory) -> Arc<Refusing> {
    Arc::new(Refusing::new(Arc::new(store.clone()), "/logs/odd"))
}

/// The lines of the batches that go into the directory `even`.
fn even_lines(count: u64) -> Vec<String> {
    let is_even =
        |line: &String| line.split('-').next().unwrap().parse::<u64>().unwrap().is_multiple_of(2);
    numbered_lines(count).into_iter().filter(is_even).collect()
}

fn staged(store: &Memory) -> usize {
    store
        .files()
        .keys()
        .filter(|path| path.contains("/stage/") && !path.ends_with(".entry"))
        .count()
}

#[tokio::test(start_paused = true)]
async fn the_other_paths_go_on_and_the_refused_files_follow_by_themselves() {
    let store = Memory::new();
    let refusing = refusing(&store);
    let mut sink = Collector::new(settings()).sink_on(refusing.clone());
    assert!(drive(&mut sink, &numbered(BATCHES)).await, "all are in the ledger");
    assert_eq!(lines_of(&store), even_lines(BATCHES));
    assert_eq!(sink.unpublished.get(), 3);
    // While a file waits, no generation ends: a key in a checkpoint is visible.
    assert!(store.directories().iter().any(|path| path.ends_with("/ledger/g0")));

    sleep(SOON).await;
    assert_eq!(lines_of(&store), even_lines(BATCHES), "it is asked again in vain");
    refusing.refuse(false);
    sleep(SOON).await;
    assert_eq!(lines_of(&store), numbered_lines(BATCHES), "without anything new to commit");
    assert_eq!(sink.unpublished.get(), 0);

    let more: Vec<_> = numbered(BATCHES + 2).split_off(BATCHES as usize);
    assert!(drive(&mut sink, &more).await);
    at_rest(&sink).await;
    sink.close().await;
    assert_eq!(lines_of(&store), numbered_lines(BATCHES + 2));
    assert!(!store.directories().iter().any(|path| path.ends_with("/ledger/g0")), "it ends then");
    assert_eq!(staged(&store), 0);
}

#[tokio::test(start_paused = true)]
async fn a_start_goes_on_beside_files_that_wait_and_keeps_them() {
    let store = Memory::new();
    let refusing = refusing(&store);
    let collector = Collector::new(settings());
    deliver(&mut collector.sink_on(refusing.clone()), &numbered(BATCHES)).await;
    assert_eq!(staged(&store), 3, "what waits is not cleared away by the one that leaves");

    // Killed, with files that wait; then another collector, which meets them too.
    let more = numbered(BATCHES + 2);
    let mut killed = collector.sink_on(refusing.clone());
    assert!(drive(&mut killed, &more).await);
    drop(killed);
    store.lose_power();
    deliver(&mut Collector::new(settings()).sink_on(refusing.clone()), &more).await;
    assert_eq!(lines_of(&store), even_lines(BATCHES + 2));
    assert_eq!(staged(&store), 4);

    refusing.refuse(false);
    deliver(&mut collector.sink_on(refusing), &more).await;
    assert_eq!(lines_of(&store), numbered_lines(BATCHES + 2));
    assert_eq!(staged(&store), 0);
}

/// A death at any call, with a directory that refuses before and after it.
#[tokio::test(start_paused = true)]
async fn a_death_at_any_call_beside_a_refusing_directory_loses_and_repeats_nothing() {
    for fault in [Fault::DiesBefore, Fault::DiesAfter] {
        for at in 0.. {
            let store = Memory::new();
            let refusing = refusing(&store);
            let faulty = Arc::new(Faulty::new(refusing.clone(), fault.clone(), at));
            let collector = Collector::new(settings());
            let mut dying = collector.sink_on(faulty.clone());
            let ended = drive(&mut dying, &numbered(4)).await && faulty.calls() <= at;
            drop(dying);
            store.lose_power();
            deliver(&mut collector.sink_on(refusing.clone()), &numbered(4)).await;
            assert_eq!(lines_of(&store), even_lines(4), "{fault:?} at call {at}");
            refusing.refuse(false);
            deliver(&mut collector.sink_on(refusing), &numbered(4)).await;
            assert_eq!(lines_of(&store), numbered_lines(4), "{fault:?} at call {at}");
            if ended {
                assert!(at > 60, "{at} calls");
                break;
            }
        }
    }
}
