//! Interference by other collectors: one considers the sink dead, another declares epochs empty.

use std::time::Duration;

use pipeline::{Epoch, ErrorClass, Floors, Origin, Outcome, Sink};
use serde_json::json;
use storage::memory::Memory;
use tokio::time::sleep;

use super::harness::{Collector, batch, deliver, drive, lines_of, taken};

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// The sink is only slow, which the other one cannot know.
#[tokio::test(start_paused = true)]
async fn a_sink_that_was_taken_for_dead_writes_again_and_repeats_nothing() {
    let store = Memory::new();
    let slow = json!({
        "url": "file:///logs",
        "roll": { "age_max": "24h", "idle_max": "24h" },
        "sweep_after": "24h",
    });
    let quick = json!({ "url": "file:///logs", "sweep_after": "5m" });
    let (slow, quick) = (Collector::new(slow), Collector::new(quick));
    let (mut alive, mut sweeper) = (slow.sink(&store), quick.sink(&store));
    alive.open().await.unwrap();
    alive.write(taken(0, &batch(0, &["slow"]))).await.unwrap();
    for n in 1..4 {
        assert!(drive(&mut sweeper, &[(n, batch(n, &["quick"]))]).await);
        sleep(minutes(4)).await;
    }
    let staged = |store: &Memory| {
        store.files().into_keys().filter(|path| path.contains("/stage/")).collect::<Vec<_>>()
    };
    assert!(staged(&store).is_empty(), "{:?}", staged(&store));

    alive.flush();
    let Outcome::Again(Some(error)) = alive.settled().await.outcome else { panic!("it failed") };
    assert_eq!(error.class, ErrorClass::Transient);
    deliver(&mut alive, &[(0, batch(0, &["slow"]))]).await;
    assert_eq!(lines_of(&store), ["quick", "quick", "quick", "slow"]);
}

fn below(epoch: u64) -> Floors {
    let mut floors = Floors::default();
    floors.raise(Origin([5; 16]), Epoch(epoch));
    floors
}

#[tokio::test(start_paused = true)]
async fn rejects_a_late_copy_of_a_batch_of_a_closed_epoch() {
    let store = Memory::new();
    let collector = Collector::new(json!({ "url": "file:///logs" }));
    let mut sink = collector.sink(&store);
    sink.floors.observe(&below(2));
    // A declared epoch is not yet closed: the ledger closes it with its next generation, after this
    // roll.
    deliver(&mut sink, &[(0, batch(0, &["first"]))]).await;

    let mut again = collector.sink(&store);
    again.open().await.unwrap();
    for (ticket, number) in [(7, 0), (8, 99)] {
        again.write(taken(ticket, &batch(number, &["late"]))).await.unwrap();
        let settlement = again.settled().await;
        assert_eq!(settlement.tickets, (ticket..ticket + 1).into());
        let Outcome::Refused(letter) = settlement.outcome else { panic!("it is not silent") };
        assert_eq!((letter.reason, letter.whole, letter.events.len()), ("epoch_closed", true, 1));
    }
    let mut next_life = batch(0, &["second"]);
    next_life.envelope.identity.as_mut().unwrap().epoch = Epoch(2);
    deliver(&mut again, &[(9, next_life)]).await;
    assert_eq!(lines_of(&store), ["first", "second"]);
}

/// Another collector's generation closes the epoch while this one's roll is being written.
#[tokio::test(start_paused = true)]
async fn a_copy_in_an_open_roll_is_found_out_when_the_roll_is_committed() {
    let store = Memory::new();
    let [late, other] = [(); 2].map(|()| Collector::new(json!({ "url": "file:///logs" })));
    let mut holder = late.sink(&store);
    holder.open().await.unwrap();
    holder.write(taken(0, &batch(0, &["once"]))).await.unwrap();
    let mut fresh = batch(5, &["fresh"]);
    fresh.envelope.identity.as_mut().unwrap().epoch = Epoch(2);
    holder.write(taken(1, &fresh)).await.unwrap();

    let mut compactor = other.sink(&store);
    compactor.floors.observe(&below(2));
    deliver(&mut compactor, &[(0, batch(0, &["once"]))]).await;

    holder.flush();
    let back = holder.settled().await;
    assert!(matches!(back.outcome, Outcome::Again(None)), "{back:?}");
    assert_eq!(back.tickets, (0..2).into());
    // On the next attempt it is recognized as a stray copy, with its events at hand.
    holder.write(taken(0, &batch(0, &["once"]))).await.unwrap();
    let first = holder.settled().await;
    assert!(matches!(first.outcome, Outcome::Refused(_)), "{first:?}");
    assert_eq!(first.tickets, (0..1).into());
    deliver(&mut holder, &[(1, fresh)]).await;
    assert_eq!(lines_of(&store), ["fresh", "once"]);
}

#[tokio::test(start_paused = true)]
async fn best_effort_settles_what_is_written_before_its_file_is_closed() {
    let store = Memory::new();
    let settings = json!({ "url": "file:///logs", "guarantee": "best_effort" });
    let mut sink = Collector::new(settings).sink(&store);
    assert_eq!(sink.guarantee(), pipeline::Guarantee::BestEffort);
    sink.open().await.unwrap();
    sink.write(taken(0, &batch(0, &["early"]))).await.unwrap();
    assert!(matches!(sink.settled().await.outcome, Outcome::Delivered));
    assert_eq!(lines_of(&store), [""; 0], "it is not visible yet");
    sink.flush();
    sleep(minutes(1)).await;
    assert_eq!(lines_of(&store), ["early"]);
    sink.close().await;
}
