//! Goal: a batch that is written to the sink arrives once in the intake downstream of the source,
//! and the sink reports its outcome correctly, whatever happens to either end and to the
//! connection. Method: the real sink and the real source over loopback, with an intake that
//! records. In `faults`, the connection breaks at any byte; in `peers`, a simulated peer replaces
//! one end: older, newer, hostile.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

#[path = "grpc/bound.rs"]
mod bound;
#[path = "grpc/budget.rs"]
mod budget;
#[path = "grpc/closed.rs"]
mod closed;
#[path = "grpc/discovered.rs"]
mod discovered;
#[path = "grpc/faults.rs"]
mod faults;
#[path = "grpc/intake.rs"]
mod intake;
#[path = "grpc/ledgers.rs"]
mod ledgers;
#[path = "grpc/limits.rs"]
mod limits;
#[path = "grpc/net.rs"]
mod net;
#[path = "grpc/pair.rs"]
mod pair;
#[path = "grpc/peers.rs"]
mod peers;
#[path = "grpc/routing.rs"]
mod routing;
#[path = "grpc/secured.rs"]
mod secured;
#[path = "grpc/tokens.rs"]
mod tokens;
#[path = "grpc/unable.rs"]
mod unable;

use std::time::Duration;

use intake::Memory;
use pair::{Verdicts, identity, open_sink, set, sink, start_source, taken, within, write};
use pipeline::{Batch, ErrorClass, KeySet};
use serde_json::json;
use support::loopback::free_address;

#[tokio::test(flavor = "multi_thread")]
async fn stores_and_then_delivers_written_events() {
    let env = env::real();
    let memory = Memory::new();
    let source = start_source(&env, memory.clone(), &free_address().to_string(), json!({}));
    let mut sink = open_sink(&env, &source.address, json!({})).await;
    write(&mut *sink, 0..200).await;
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.stored == set(0..200)).await;
    assert_eq!(memory.batches(), (0..200).map(|n| taken(n).batch).collect::<Vec<_>>());
    assert_eq!(verdicts.delivered, set(0..0));
    memory.commit_all();
    verdicts.until(&mut *sink, |v| v.delivered == set(0..200)).await;
    assert_eq!(verdicts.failures, Vec::<String>::new());
    assert_eq!(sink.unacknowledged_bytes(), 0);
    sink.close().await;
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_batches_arrive_as_they_were() {
    let env = env::real();
    let memory = Memory::new();
    let source = start_source(&env, memory.clone(), &free_address().to_string(), json!({}));
    let mut sink = open_sink(&env, &source.address, json!({ "compression": "zstd" })).await;
    write(&mut *sink, 0..20).await;
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.stored == set(0..20)).await;
    assert_eq!(memory.batches(), (0..20).map(|n| taken(n).batch).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_takes_no_zstd_gets_plain_batches() {
    let env = env::real();
    let memory = Memory::new();
    let address = free_address().to_string();
    let source = start_source(&env, memory.clone(), &address, json!({ "compression": [] }));
    let mut sink = open_sink(&env, &source.address, json!({ "compression": "zstd" })).await;
    write(&mut *sink, 0..20).await;
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.stored == set(0..20)).await;
    assert_eq!(memory.batches().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_put_twice_is_answered_twice_and_both_words_are_said() {
    let env = env::real();
    let memory = Memory::new();
    let source = start_source(&env, memory.clone(), &free_address().to_string(), json!({}));
    let mut first = open_sink(&env, &source.address, json!({})).await;
    write(&mut *first, 0..1).await;
    Verdicts::default().until(&mut *first, |v| v.stored == set(0..1)).await;
    memory.commit_all();
    first.close().await;
    let mut second = open_sink(&env, &source.address, json!({})).await;
    write(&mut *second, 0..1).await;
    Verdicts::default().until(&mut *second, |v| v.delivered == set(0..1)).await;
    assert_eq!(memory.batches().len(), 1);
}

/// While the broadcast overflows, the sender misses commits; the last event makes the source query
/// them.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_was_not_heard_of_is_asked_for() {
    let env = env::real();
    let memory = Memory::new();
    let source = start_source(&env, memory.clone(), &free_address().to_string(), json!({}));
    let mut sink = open_sink(&env, &source.address, json!({})).await;
    write(&mut *sink, 0..5).await;
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.stored == set(0..5)).await;
    memory.commit_silently();
    // An empty set means that events were missed.
    memory.say(KeySet::default());
    verdicts.until(&mut *sink, |v| v.delivered == set(0..5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_retain_stored_the_next_agents_disk_is_enough() {
    let env = env::real();
    let memory = Memory::new();
    let source = start_source(&env, memory.clone(), &free_address().to_string(), json!({}));
    let mut sink = open_sink(&env, &source.address, json!({ "retain": "stored" })).await;
    write(&mut *sink, 0..5).await;
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.delivered == set(0..5)).await;
    assert_eq!(verdicts.stored, set(0..0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_channel_is_back_pressure_and_not_a_failure() {
    let env = env::real();
    let memory = Memory::new();
    memory.room.forget_permits(usize::MAX);
    let source = start_source(&env, memory.clone(), &free_address().to_string(), json!({}));
    let mut sink = open_sink(&env, &source.address, json!({})).await;
    write(&mut *sink, 0..3).await;
    let refused = within(async {
        let mut sequence = 3;
        loop {
            match sink.write(taken(sequence)).await {
                Ok(()) => sequence += 1,
                Err(error) => break (sequence, error),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert_eq!(refused.1.class, ErrorClass::Transient);
    assert!(refused.1.to_string().contains("is full and accepts no events"), "{}", refused.1);
    memory.room.add_permits(100);
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.stored == set(0..refused.0)).await;
    assert_eq!(verdicts.failures, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_over_the_limit_is_poison_and_the_next_one_passes() {
    let env = env::real();
    let memory = Memory::new();
    let address = free_address().to_string();
    let source = start_source(&env, memory.clone(), &address, json!({ "message_max": "10KiB" }));
    let mut sink = open_sink(&env, &source.address, json!({})).await;
    let mut large = taken(0);
    large.batch = Batch::of(["x".repeat(20_000)]);
    large.batch.envelope.identity = Some(identity(0));
    let events = large.batch.clone();
    within(sink.write(large)).await.unwrap();
    let pipeline::Outcome::Refused(letter) = within(sink.settled()).await.outcome else {
        panic!("it is over the limit")
    };
    assert_eq!((letter.ticket, letter.whole, letter.reason), (1000, true, "too_large"));
    assert!(letter.events == events && letter.detail.contains("10240 bytes"), "{}", letter.detail);
    write(&mut *sink, 1..2).await;
    Verdicts::default().until(&mut *sink, |v| v.stored == set(1..2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_stops_answers_what_it_accepted_and_takes_nothing_more() {
    let env = env::real();
    let memory = Memory::new();
    let source = start_source(&env, memory.clone(), &free_address().to_string(), json!({}));
    let mut sink = open_sink(&env, &source.address, json!({})).await;
    let mut verdicts = Verdicts::default();
    let writing = async {
        let mut sequence = 0;
        while sink.write(taken(sequence)).await.is_ok() {
            sequence += 1;
        }
        sequence
    };
    let stopping = async {
        memory.until_accepted(50).await;
        source.stop().await;
    };
    let (written, ()) = within(async { tokio::join!(writing, stopping) }).await;
    // Each batch has an outcome: stored or returned.
    verdicts.until(&mut *sink, |v| v.stored.count() + v.again.count() == written).await;
    // The batch of a failed write may be stored: it has no outcome.
    let held: pipeline::IntervalSet = memory
        .batches()
        .iter()
        .filter_map(|b| b.envelope.identity)
        .map(|id| id.sequence.0)
        .filter(|sequence| *sequence < written)
        .collect();
    assert_eq!(verdicts.stored, held, "the answers name each stored batch, and no other one");
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_hear_what_is_committed_while_the_source_lingers() {
    let env = env::real();
    let memory = Memory::new();
    let address = free_address().to_string();
    let source = start_source(&env, memory.clone(), &address, json!({ "linger": "10s" }));
    let mut sink = open_sink(&env, &source.address, json!({})).await;
    write(&mut *sink, 0..5).await;
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.stored == set(0..5)).await;
    source.stop.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    memory.commit_all();
    verdicts.until(&mut *sink, |v| v.delivered == set(0..5)).await;
    // If it owes nothing more, it does not wait for its time limit.
    within(source.ended).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_was_closed_can_be_opened_again_and_knows_nothing_of_before() {
    let env = env::real();
    let memory = Memory::new();
    let source = start_source(&env, memory.clone(), &free_address().to_string(), json!({}));
    let mut sink = open_sink(&env, &source.address, json!({})).await;
    write(&mut *sink, 0..5).await;
    memory.until_accepted(5).await;
    sink.close().await;
    within(sink.open()).await.unwrap();
    memory.commit_all();
    write(&mut *sink, 5..6).await;
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.stored == set(5..6)).await;
    assert_eq!(verdicts.delivered, set(0..0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_address_is_a_transient_failure_that_names_it() {
    let env = env::real();
    let address = free_address().to_string();
    let mut sink = sink(&env, &address, json!({}));
    let error = within(sink.open()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient);
    assert!(error.to_string().contains(&address), "{error}");
    sink.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_places_wait_and_are_served_when_one_is_free() {
    let env = env::real();
    let memory = Memory::new();
    let address = free_address().to_string();
    let source = start_source(&env, memory.clone(), &address, json!({ "connections_max": 1 }));
    let mut first = open_sink(&env, &source.address, json!({})).await;
    let mut second = sink(&env, &source.address, json!({ "connect_timeout": "300ms" }));
    assert!(within(second.open()).await.is_err());
    first.close().await;
    within(async { while second.open().await.is_err() {} }).await;
    write(&mut *second, 0..1).await;
    Verdicts::default().until(&mut *second, |v| v.stored == set(0..1)).await;
}
