//! Goal: wherever a connection breaks, every batch is finally delivered, and the downstream agent's
//! channels have it once. Method: an in-memory network on paused time. The connection breaks after
//! n bytes in one direction, for n over the whole conversation: in the middle of each message, and
//! between a put and its reply. A small runner offers returned batches again.

use std::collections::BTreeSet;

use futures::FutureExt;
use pipeline::Sink;

use super::net::{Side, Wire};
use super::*;

const BATCHES: u64 = 6;

/// Offers `batches` batches, and returned ones again, until all are delivered; calls `delivered`
/// with the number of delivered ones.
pub(super) async fn deliver(
    sink: &mut dyn Sink,
    memory: &Memory,
    batches: u64,
    mut delivered: impl FnMut(u64),
) -> Verdicts {
    let mut verdicts = Verdicts::default();
    let mut waiting: BTreeSet<u64> = (0..batches).collect();
    let mut open = false;
    while verdicts.delivered != set(0..batches) {
        delivered(verdicts.delivered.count());
        if !open {
            open = sink.open().await.is_ok();
        }
        if open
            && let Some(sequence) = waiting.pop_first()
            && sink.write(taken(sequence)).await.is_err()
        {
            waiting.insert(sequence);
            open = false;
        }
        while let Some(settlement) = sink.settled().now_or_never() {
            verdicts.add(settlement);
        }
        for sequence in std::mem::take(&mut verdicts.again).iter() {
            open = false;
            assert!(waiting.insert(sequence), "given back once");
        }
        memory.commit_all();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(waiting.is_empty(), "delivered and given back: {waiting:?}");
    verdicts
}

async fn deliver_over(wire: &std::sync::Arc<Wire>) -> Verdicts {
    let env = wire.env();
    let memory = Memory::new();
    let source = start_source(&env, memory.clone(), "127.0.0.1:4141", json!({}));
    let mut sink = sink(&env, "127.0.0.1:4141", json!({ "window_batches": 3 }));
    let delivering = deliver(&mut *sink, &memory, BATCHES, |_| ());
    let limit = Duration::from_secs(600);
    let verdicts = tokio::time::timeout(limit, delivering).await.expect("it goes on");
    assert_eq!(memory.batches(), (0..BATCHES).map(|n| taken(n).batch).collect::<Vec<_>>());
    sink.close().await;
    source.stop().await;
    verdicts
}

#[tokio::test(start_paused = true)]
async fn wherever_the_way_there_breaks_every_batch_is_delivered_once() {
    let mut given_back = 0;
    for after_bytes in (0..12_000).step_by(97) {
        let verdicts = deliver_over(&Wire::new(2, after_bytes, Side::There)).await;
        given_back += verdicts.failures.len();
    }
    // The same collector is reachable again: reconnecting was enough each time.
    assert_eq!(given_back, 0);
}

#[tokio::test(start_paused = true)]
async fn wherever_the_way_back_breaks_every_batch_is_delivered_once() {
    for after_bytes in (0..1_200).step_by(7) {
        deliver_over(&Wire::new(2, after_bytes, Side::Back)).await;
    }
}

/// Longer than the reconnect time: unanswered batches are returned, and recognised when they are
/// sent again.
#[tokio::test(start_paused = true)]
async fn repeated_disconnects_return_batches_and_repeat_none() {
    let mut given_back = 0;
    for after_bytes in (500..6_000).step_by(101) {
        let verdicts = deliver_over(&Wire::new(12, after_bytes, Side::There)).await;
        given_back += verdicts.failures.len();
    }
    assert!(given_back > 0, "the courtesy was never over");
}

/// The collector loses its disk while it is unreachable.
#[tokio::test(start_paused = true)]
async fn resends_batches_that_a_collector_lost() {
    let wire = Wire::new(0, 0, Side::There);
    let env = wire.env();
    let memory = Memory::new();
    let source = start_source(&env, memory.clone(), "127.0.0.1:4141", json!({}));
    let mut sink = open_sink(&env, &source.address, json!({})).await;
    write(&mut *sink, 0..5).await;
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.stored == set(0..5)).await;
    source.stop().await;
    memory.lose_everything();
    let _again = start_source(&env, memory.clone(), "127.0.0.1:4141", json!({}));
    verdicts.until(&mut *sink, |v| v.again == set(0..5)).await;
    assert_eq!(verdicts.failures, Vec::<String>::new(), "nothing failed here");
}

/// The collector never returns.
#[tokio::test(start_paused = true)]
async fn sends_batches_elsewhere_while_their_collector_is_unreachable() {
    let wire = Wire::new(0, 0, Side::There);
    let env = wire.env();
    let memory = Memory::new();
    let source = start_source(&env, memory.clone(), "127.0.0.1:4141", json!({}));
    let mut sink = open_sink(&env, &source.address, json!({ "resend_after": "15s" })).await;
    write(&mut *sink, 0..5).await;
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.stored == set(0..5)).await;
    source.stop().await;
    let gone = tokio::time::Instant::now();
    let limit = Duration::from_secs(60);
    let waiting = verdicts.until(&mut *sink, |v| v.again == set(0..5));
    tokio::time::timeout(limit, waiting).await.expect("they are given back");
    assert!(gone.elapsed() >= Duration::from_secs(14), "after {:?}", gone.elapsed());
    assert_eq!(sink.write(taken(9)).await.unwrap_err().class, ErrorClass::Transient);
}
