//! The store fails or the process dies at any one call: nothing is lost or duplicated.

use std::sync::Arc;
use std::time::Duration;

use pipeline::{Outcome, Sink};
use serde_json::{Value, json};
use storage::faults::{Fault, Faulty};
use storage::local::Local;
use storage::memory::Memory;
use storage::{FileSystem, Listed};

use super::harness::{Collector, deliver, drive, lines_of, numbered, numbered_lines, taken};
use crate::hdfs::HdfsSink;

pub(super) const BATCHES: u64 = 6;

/// Settings for a few rolls.
pub(super) fn settings() -> Value {
    json!({ "url": "file:///logs/%{app}", "roll": { "count_max": 2 } })
}

/// Runs `scenario` with the fault at call 0, 1, 2, … until a run ends before its fault.
pub(super) async fn at_every_call(
    fault: Fault,
    scenario: impl AsyncFn(Arc<Faulty>, &Memory, Fault),
) -> u64 {
    let mut compacted = false;
    for at in 0.. {
        let store = Memory::new();
        let slow = store.with_latency(Duration::from_millis(5));
        let faulty = Arc::new(Faulty::new(Arc::new(slow), fault.clone(), at));
        scenario(faulty.clone(), &store, fault.clone()).await;
        assert_eq!(lines_of(&store), numbered_lines(BATCHES), "{fault:?} at call {at}");
        compacted |= !store.directories().iter().any(|path| path.ends_with("/ledger/g0"));
        if faulty.calls() <= at {
            assert!(compacted, "some runs make a new generation");
            return at;
        }
    }
    unreachable!("a scenario ends")
}

#[tokio::test(start_paused = true)]
async fn one_failed_call_loses_and_repeats_nothing() {
    for fault in [Fault::Refused, Fault::AnswerLost] {
        let calls = at_every_call(fault, async |faulty, _, fault| {
            let mut sink = Collector::new(settings()).sink_on(faulty);
            assert!(drive(&mut sink, &numbered(BATCHES)).await, "{fault:?}");
        });
        assert!(calls.await > 60, "the scenario has as many calls as it had when it was written");
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_at_any_call_loses_and_repeats_nothing() {
    for fault in [Fault::DiesBefore, Fault::DiesAfter] {
        let calls = at_every_call(fault, async |faulty, store, _| {
            let collector = Collector::new(settings());
            let mut dying = collector.sink_on(faulty);
            drive(&mut dying, &numbered(BATCHES)).await;
            drop(dying);
            store.lose_power();
            // The channel may resend settled batches, because its own commit may be lost.
            let mut fresh = collector.sink(store);
            deliver(&mut fresh, &numbered(BATCHES)).await;
            assert!(!store.files().keys().any(|path| path.contains("/stage/")));
        });
        assert!(calls.await > 60);
    }
}

#[tokio::test(start_paused = true)]
async fn another_collector_takes_over_at_any_call() {
    for fault in [Fault::DiesBefore, Fault::DiesAfter] {
        let calls = at_every_call(fault, async |faulty, store, _| {
            let mut dying = Collector::new(settings()).sink_on(faulty);
            drive(&mut dying, &numbered(BATCHES)).await;
            drop(dying);
            deliver(&mut Collector::new(settings()).sink(store), &numbered(BATCHES)).await;
        });
        assert!(calls.await > 60);
    }
}

#[tokio::test(start_paused = true)]
async fn at_least_once_loses_nothing_at_any_failed_call() {
    for at in 0.. {
        let store = Memory::new();
        let faulty = Arc::new(Faulty::new(Arc::new(store.clone()), Fault::AnswerLost, at));
        let mut settings = settings();
        settings["guarantee"] = json!("at_least_once");
        let mut sink = Collector::new(settings).sink_on(faulty.clone());
        assert!(drive(&mut sink, &numbered(BATCHES)).await);
        let mut lines = lines_of(&store);
        lines.dedup();
        assert_eq!(lines, numbered_lines(BATCHES), "call {at}");
        if faulty.calls() <= at {
            return;
        }
    }
}

/// Batches of the test that combines deaths and late calls.
const FEW: u64 = 4;

fn two_rolls() -> Value {
    json!({ "url": "file:///logs/%{app}", "roll": { "count_max": 3 } })
}

/// Finds the rename of a complete prepared entry from the stage to its final path.
fn prepared(store: &Memory) -> Option<Fault> {
    let mut files = store.files().into_iter();
    let (from, _) = files.find(|(path, entry)| path.ends_with(".entry") && !entry.is_empty())?;
    let (books, staged) = from.split_once("/stage/")?;
    let index: u64 = staged.rsplit('.').nth(1)?.parse().ok()?;
    // The newest generation, because the dead process was alone.
    let generation = |path: &String| {
        path.strip_prefix(books)?.strip_prefix("/ledger/g")?.split('/').next()?.parse::<u64>().ok()
    };
    let generation = store.directories().iter().filter_map(generation).max()?;
    let to = format!("{books}/ledger/g{generation}/{index:020}");
    Some(Fault::Ghost { from, to })
}

/// Kills a process at store call 0, 1, 2, …, and performs its last call before any later call:
/// while the same collector restarts, or while another one takes over. `on` wraps the store for the
/// sinks.
pub(super) async fn no_ghost_loses_or_repeats(
    settings: fn() -> Value,
    batches: u64,
    prepared: fn(&Memory) -> Option<Fault>,
    on: fn(Arc<dyn FileSystem>) -> Arc<dyn FileSystem>,
) {
    let mut ghosts = 0;
    for (death, same) in (0..).flat_map(|death| [(death, true), (death, false)]) {
        let run = async |at| {
            let store = Memory::new();
            let whole = || on(Arc::new(store.clone()));
            let dead = Collector::new(settings());
            let faulty = Faulty::new(Arc::new(store.clone()), Fault::DiesBefore, death);
            let faulty = Arc::new(faulty);
            drive(&mut dead.sink_on(on(faulty.clone())), &numbered(batches)).await;
            let Some(ghost) = prepared(&store) else { return (faulty.calls() <= death, true) };
            let haunted = Arc::new(Faulty::new(whole(), ghost, at));
            let heir = if same { &dead } else { &Collector::new(settings()) };
            deliver(&mut heir.sink_on(haunted.clone()), &numbered(batches)).await;
            // Finally, one more start publishes the last committed files.
            deliver(&mut dead.sink_on(whole()), &numbered(batches)).await;
            let lines = lines_of(&store);
            assert_eq!(lines, numbered_lines(batches), "death at {death}, ghost at {at}, {same}");
            (false, haunted.calls() <= at)
        };
        for at in 0.. {
            match run(at).await {
                (true, _) => {
                    assert!(ghosts > 60, "{ghosts} ghosts");
                    return;
                }
                (false, true) => break,
                (false, false) => ghosts += 1,
            }
        }
    }
}

/// A process dies while the rename of its entry is in flight, and the store performs it at any
/// later moment.
#[tokio::test(start_paused = true)]
async fn a_commit_that_arrives_after_its_process_died_loses_and_repeats_nothing() {
    no_ghost_loses_or_repeats(two_rolls, FEW, prepared, |store| store).await;
}

/// Returns every visible line in a file below `directory`.
pub(super) async fn lines_below(fs: &dyn FileSystem, directory: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(at) = directories.pop() {
        for Listed { name, directory } in fs.list(&at).await.unwrap_or_default() {
            let path = format!("{at}/{name}");
            if directory && name != "_aqueduct" {
                directories.push(path);
            } else if !directory {
                let content = fs.read(&path).await.unwrap();
                let text = String::from_utf8(content.to_vec()).unwrap();
                lines.extend(text.lines().map(str::to_owned));
            }
        }
    }
    lines.sort();
    lines
}

#[tokio::test]
async fn a_death_at_any_call_on_the_local_disk_loses_and_repeats_nothing() {
    let local: Arc<dyn FileSystem> = Arc::new(Local::new(env::real()));
    for at in 0.. {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("logs").display().to_string();
        let collector = Collector::new(json!({ "url": format!("file://{root}/%{{app}}") }));
        let faulty = Arc::new(Faulty::new(local.clone(), Fault::DiesAfter, at));
        let mut dying = collector.sink_on(faulty.clone());
        if is_fed(&mut dying).await && faulty.calls() <= at {
            return;
        }
        drop(dying);
        deliver(&mut collector.sink_on(local.clone()), &numbered(2)).await;
        assert_eq!(lines_below(&*local, &root).await, numbered_lines(2), "call {at}");
    }
}

/// Delivers two batches in a single opening: with a real store, the clock is not paused.
pub(super) async fn is_fed(sink: &mut HdfsSink) -> bool {
    if sink.open().await.is_err() {
        return false;
    }
    for (ticket, batch) in numbered(2) {
        if sink.write(taken(ticket, &batch)).await.is_err() {
            return false;
        }
    }
    sink.flush();
    matches!(sink.settled().await.outcome, Outcome::Delivered)
}
