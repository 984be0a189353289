//! The same tests in an object store, where rename is a conditional copy and a delete, and where a
//! commit of a dead process can arrive after its staged source is gone.

use std::sync::Arc;

use bytes::Bytes;
use ledger::{Entry, Kind, StagedFile};
use serde_json::{Value, json};
use storage::FileSystem;
use storage::faults::{Fault, Faulty};
use storage::memory::Memory;
use storage::objects::Objects;

use super::faults::no_ghost_loses_or_repeats;
use super::harness::{Collector, deliver, drive, lines_of, numbered, numbered_lines};

const BATCHES: u64 = 3;

/// Settings for some rolls, each with its own generation.
fn settings() -> Value {
    json!({ "url": "s3://bucket/logs/%{app}", "roll": { "count_max": 2 } })
}

fn objects(inner: Arc<dyn FileSystem>) -> Arc<Objects> {
    Arc::new(Objects::over(inner))
}

fn on(store: &Memory) -> Arc<Objects> {
    objects(Arc::new(store.clone()))
}

/// Runs `scenario` with the fault at call 0, 1, 2, … of the store below, which is between any two
/// steps of each rename, until a run ends before its fault.
async fn at_every_call(fault: Fault, scenario: impl AsyncFn(Arc<Faulty>, &Memory)) {
    let mut compacted = false;
    for at in 0.. {
        let store = Memory::new();
        let faulty = Arc::new(Faulty::new(Arc::new(store.clone()), fault.clone(), at));
        scenario(faulty.clone(), &store).await;
        assert_eq!(lines_of(&store), numbered_lines(BATCHES), "{fault:?} at call {at}");
        compacted |= store.files().keys().any(|path| path.ends_with("/ledger/g1/checkpoint"));
        if faulty.calls() <= at {
            assert!(compacted, "some runs make a new generation");
            assert!(at > 150, "{at} calls");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_failed_step_loses_and_repeats_nothing() {
    for fault in [Fault::Refused, Fault::AnswerLost] {
        at_every_call(fault, async |faulty, _| {
            let mut sink = Collector::new(settings()).sink_on(objects(faulty));
            assert!(drive(&mut sink, &numbered(BATCHES)).await);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_between_any_two_steps_loses_and_repeats_nothing() {
    for fault in [Fault::DiesBefore, Fault::DiesAfter] {
        at_every_call(fault, async |faulty, store| {
            let collector = Collector::new(settings());
            drive(&mut collector.sink_on(objects(faulty)), &numbered(BATCHES)).await;
            deliver(&mut collector.sink_on(on(store)), &numbered(BATCHES)).await;
            // Another opening completes the work of the last one.
            deliver(&mut collector.sink_on(on(store)), &[]).await;
            let staged: Vec<String> =
                store.files().into_keys().filter(|path| path.contains("/stage/")).collect();
            assert!(staged.is_empty(), "{staged:?}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn another_collector_takes_over_between_any_two_steps() {
    at_every_call(Fault::DiesBefore, async |faulty, store| {
        drive(&mut Collector::new(settings()).sink_on(objects(faulty)), &numbered(BATCHES)).await;
        deliver(&mut Collector::new(settings()).sink_on(on(store)), &numbered(BATCHES)).await;
    })
    .await;
}

/// Finds the put of a prepared entry to its final path. It follows when all files of the entry are
/// complete.
fn prepared(store: &Memory) -> Option<Fault> {
    let mut files = store.files().into_iter();
    let (from, content): (String, Bytes) = files.find(|(path, _)| path.ends_with(".entry"))?;
    let (books, staged) = from.split_once("/stage/")?;
    let index: u64 = staged.rsplit('.').nth(1)?.parse().ok()?;
    let generation = |path: &String| {
        path.strip_prefix(books)?.strip_prefix("/ledger/g")?.split('/').next()?.parse::<u64>().ok()
    };
    let generation = store.files().keys().filter_map(generation).max().unwrap_or(0);
    let Kind::Commit { files, .. } = Entry::decode(content.clone(), index).ok()?.kind else {
        return None;
    };
    let is_whole = |file: &StagedFile| store.file(&format!("{books}/{}", file.temp)).is_some();
    if !files.iter().all(is_whole) {
        return None;
    }
    let to = format!("{books}/ledger/g{generation}/{index:020}");
    Some(Fault::LatePut { to, content })
}

/// Batches of the test that combines deaths and late puts.
const FEW: u64 = 2;

fn one_roll() -> Value {
    json!({ "url": "s3://bucket/logs/%{app}" })
}

/// A process dies while the put of its entry is in flight, and the store performs it at any later
/// call.
#[tokio::test(start_paused = true)]
async fn a_commit_that_arrives_after_its_process_died_loses_and_repeats_nothing() {
    no_ghost_loses_or_repeats(one_roll, FEW, prepared, |store| objects(store)).await;
}
