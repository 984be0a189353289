//! A directory rejects its files: everything else continues, and nothing is lost or duplicated.

use std::sync::Arc;
use std::time::Duration;

use pipeline::{Batch, BatchBuilder, IntervalSet, Outcome, Sink, Ticket};
use serde_json::{Value, json};
use storage::FileSystem;
use storage::faults::{Fault, Faulty, Refusing};
use storage::memory::Memory;
use tokio::task::yield_now;
use tokio::time::{advance, sleep, timeout};

use super::harness::{
    Collector, at_rest, deliver, drive, lines_of, numbered, numbered_lines, taken,
};
use crate::hdfs::HdfsSink;

const BATCHES: u64 = 6;
/// Longer than the longest pause between two attempts.
const SOON: Duration = Duration::from_secs(31);

fn settings() -> Value {
    json!({ "url": "file:///logs/%{app}", "roll": { "count_max": 2 } })
}

fn refusing(store: &Memory) -> Arc<Refusing> {
    Arc::new(Refusing::new(Arc::new(store.clone()), "/logs/odd"))
}

/// Returns the lines of the batches for the directory `even`.
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
    // While a file waits, no generation ends: keys in a checkpoint must be visible.
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

    // Killed while files wait; another collector finds them, too.
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

/// A death at any call, with a directory that rejects files before and after it.
#[tokio::test(start_paused = true)]
async fn a_kill_with_a_refusing_directory_loses_and_repeats_nothing() {
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

/// Settings of a sink without ledger entries.
fn unrecorded() -> Value {
    let mut settings = settings();
    settings["guarantee"] = json!("at_least_once");
    settings
}

/// Writes the batches to an open sink.
async fn write_all(sink: &mut HdfsSink, batches: &[(Ticket, Batch)]) {
    for (ticket, batch) in batches {
        sink.write(taken(*ticket, batch)).await.unwrap();
    }
}

/// Returns the delivered and the returned batches, once this many are settled.
async fn settled(sink: &mut HdfsSink, count: u64) -> (Vec<Ticket>, Vec<Ticket>) {
    let (mut delivered, mut again) = (IntervalSet::EMPTY, IntervalSet::EMPTY);
    while delivered.count() + again.count() < count {
        let settlement = timeout(SOON * 4, sink.settled()).await.expect("all are settled");
        match settlement.outcome {
            Outcome::Delivered => delivered.insert_all(&settlement.tickets),
            Outcome::Again(_) => again.insert_all(&settlement.tickets),
            outcome => panic!("{outcome:?}"),
        }
    }
    (delivered.iter().collect(), again.iter().collect())
}

#[tokio::test(start_paused = true)]
async fn without_entries_only_refused_paths_wait_in_the_channel() {
    let store = Memory::new();
    let refusing = refusing(&store);
    let mut sink = Collector::new(unrecorded()).sink_on(refusing.clone());
    sink.open().await.unwrap();
    write_all(&mut sink, &numbered(BATCHES)).await;
    assert_eq!(settled(&mut sink, 3).await, (vec![0, 2, 4], vec![]), "one opening, no failure");
    assert_eq!(lines_of(&store), even_lines(BATCHES));
    assert_eq!(sink.unpublished.get(), 3);
    assert!(timeout(SOON, sink.settled()).await.is_err(), "it is asked again in vain");

    refusing.refuse(false);
    assert_eq!(settled(&mut sink, 3).await, (vec![1, 3, 5], vec![]));
    assert_eq!(lines_of(&store), numbered_lines(BATCHES), "each once: nothing was written again");
    assert_eq!((sink.unpublished.get(), staged(&store)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn without_entries_a_batch_is_delivered_when_all_paths_are_visible() {
    let store = Memory::new();
    let refusing = refusing(&store);
    let mut sink = Collector::new(unrecorded()).sink_on(refusing.clone());
    sink.open().await.unwrap();
    let mut both = BatchBuilder::default();
    both.push(b"to even", &[("app", "even")]);
    both.push(b"to odd", &[("app", "odd")]);
    write_all(&mut sink, &[(7, both.finish())]).await;
    sink.write(taken(8, &numbered(1)[0].1)).await.unwrap();
    assert_eq!(settled(&mut sink, 1).await, (vec![8], vec![]));
    refusing.refuse(false);
    assert_eq!(settled(&mut sink, 1).await, (vec![7], vec![]));
    assert_eq!(lines_of(&store), ["0-a", "0-b", "to even", "to odd"]);
}

#[tokio::test(start_paused = true)]
async fn without_entries_waiting_batches_survive_a_stop_and_a_kill() {
    let store = Memory::new();
    let refusing = refusing(&store);
    let collector = Collector::new(unrecorded());
    let mut sink = collector.sink_on(refusing.clone());
    sink.open().await.unwrap();
    write_all(&mut sink, &numbered(BATCHES)).await;
    sink.flush();
    assert_eq!(settled(&mut sink, BATCHES).await, (vec![0, 2, 4], vec![1, 3, 5]));
    sink.close().await;
    assert_eq!(staged(&store), 0, "the channel has them");

    let odd: Vec<_> = numbered(BATCHES).into_iter().filter(|(n, _)| n % 2 == 1).collect();
    let mut killed = collector.sink_on(refusing.clone());
    killed.open().await.unwrap();
    write_all(&mut killed, &odd).await;
    assert!(timeout(SOON, killed.settled()).await.is_err());
    drop(killed);
    store.lose_power();
    refusing.refuse(false);
    deliver(&mut collector.sink_on(refusing), &odd).await;
    assert_eq!(lines_of(&store), numbered_lines(BATCHES));
    assert_eq!(staged(&store), 0);
}

/// A flush returns waiting batches once; if they come again, they wait until the directory accepts
/// its files.
#[tokio::test(start_paused = true)]
async fn without_entries_batches_that_come_after_a_flush_wait_again() {
    let store = Memory::new();
    let refusing = refusing(&store);
    let mut sink = Collector::new(unrecorded()).sink_on(refusing.clone());
    sink.open().await.unwrap();
    write_all(&mut sink, &numbered(2)).await;
    sink.flush();
    assert_eq!(settled(&mut sink, 2).await, (vec![0], vec![1]));
    write_all(&mut sink, &numbered(2)[1..]).await;
    assert!(timeout(SOON, sink.settled()).await.is_err(), "it is returned without a flush");
    refusing.refuse(false);
    assert_eq!(settled(&mut sink, 1).await, (vec![1], vec![]));
    assert_eq!(lines_of(&store), numbered_lines(2));
}

/// If a waiting file is removed from outside: without a ledger entry its events are written again;
/// with an entry, the store is not polled without a pause.
#[tokio::test(start_paused = true)]
async fn rewrites_or_requests_a_waiting_file_that_was_removed() {
    for (settings, is_recorded) in [(settings(), true), (unrecorded(), false)] {
        let store = Memory::new();
        let refusing = refusing(&store);
        let counting = Arc::new(Faulty::new(refusing.clone(), Fault::Refused, u64::MAX));
        let mut sink = Collector::new(settings).sink_on(counting.clone());
        sink.open().await.unwrap();
        write_all(&mut sink, &numbered(2)).await;
        assert_eq!(settled(&mut sink, 1 + u64::from(is_recorded)).await.1, [0; 0]);
        let waiting = store.files().into_keys().find(|path| path.contains("/stage/"));
        store.delete(&waiting.unwrap()).await.unwrap();
        refusing.refuse(false);
        let before = counting.calls();
        // Do not sleep: paused time stops if the store is polled without a pause.
        advance(SOON).await;
        for _ in 0..10_000 {
            yield_now().await;
        }
        assert!(counting.calls() - before < 50, "{} calls", counting.calls() - before);
        let said = timeout(Duration::ZERO, sink.settled()).await.ok();
        let again = said.is_some_and(|said| matches!(said.outcome, Outcome::Again(Some(_))));
        assert_eq!(again, !is_recorded);
    }
}
