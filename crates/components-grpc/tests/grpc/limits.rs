//! Goal: a batch over the downstream agent's limit becomes a dead letter only if it has one event;
//! it delays no other batch, and arrives when the limit is raised.

use ::peers::{LimitBoard, NextHop};
use pipeline::testkit::build;
use pipeline::{BuildContext, Taken};

use super::*;

/// Returns a batch of ten lines of 2 kB.
fn large(sequence: u64) -> Taken {
    let mut batch = Batch::of((0..10).map(|n| format!("{n}{}", "x".repeat(2_000))));
    batch.envelope.identity = Some(identity(sequence));
    Taken { ticket: sequence + 1000, batch }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_batch_waits_and_arrives_when_the_limit_is_raised() {
    let env = env::real();
    let memory = Memory::new();
    let address = free_address().to_string();
    let small = start_source(&env, memory.clone(), &address, json!({ "message_max": "10KiB" }));
    let mut cx = BuildContext::alone("out", &std::env::temp_dir(), env.clone());
    cx.name = "out".into();
    let settings = json!({ "address": address });
    let mut sink = build::<components_grpc::sink::Config>(&settings, &cx).unwrap();
    within(async { while sink.open().await.is_err() {} }).await;
    assert_eq!(cx.get::<LimitBoard>().smallest(), Some(10 << 10));
    for sequence in [0, 1] {
        within(sink.write(large(sequence))).await.unwrap();
    }
    write(&mut *sink, 2..5).await;
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.stored == set(2..5) && v.held_back == set(0..2)).await;
    assert_eq!(
        verdicts,
        Verdicts { stored: set(2..5), held_back: set(0..2), ..Verdicts::default() },
        "nothing else is said"
    );

    let hop: NextHop = sink.extensions().find().unwrap();
    assert_eq!(hop.batch_max(), Some(10 << 10), "the group sees it");
    small.stop().await;
    assert_eq!(
        cx.get::<LimitBoard>().smallest(),
        Some(10 << 10),
        "remembered while the peer is away"
    );
    let _raised = start_source(&env, memory.clone(), &address, json!({ "message_max": "1MiB" }));
    assert_eq!(within(hop.batch_max_changed(Some(10 << 10))).await, Some(1 << 20));
    assert_eq!(cx.get::<LimitBoard>().smallest(), Some(1 << 20));
    within(async { while sink.open().await.is_err() {} }).await;
    for sequence in [0, 1] {
        within(sink.write(large(sequence))).await.unwrap();
    }
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.stored == set(0..2)).await;
    assert_eq!(memory.batches().len(), 5);
    sink.close().await;
    assert_eq!(cx.get::<LimitBoard>().smallest(), None);
}

/// A relay accepts batches that some downstream agent accepts, and requests batches that all
/// accept.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_reports_the_largest_and_smallest_limit_downstream() {
    const KIB: u64 = 1 << 10;
    let (memory, source) = peers::source(json!({ "message_max": "1MiB" })).await;
    for (taken, cut, named) in [
        (None, None, (1024 * KIB, 0)),
        (Some(64 * KIB), Some(64 * KIB), (64 * KIB, 0)),
        (Some(2048 * KIB), Some(64 * KIB), (1024 * KIB, 64 * KIB)),
        (None, Some(64 * KIB), (1024 * KIB, 64 * KIB)),
        (Some(2048 * KIB), Some(2048 * KIB), (1024 * KIB, 0)),
    ] {
        *memory.batch_bytes_taken.lock().unwrap() = taken;
        *memory.batch_bytes_max.lock().unwrap() = cut;
        let mut sender = peers::Played::connect(&source.address).await;
        sender.say(wire::v1::from_sender::Message::Hello(wire::v1::Hello::default())).await;
        let wire::v1::from_receiver::Message::Welcome(welcome) = sender.hear().await else {
            panic!("no Welcome")
        };
        assert_eq!((welcome.body_max, welcome.body_cut), named);
    }
}

/// A batch that cannot be cut is not refused because of one agent downstream of a relay if another
/// one accepts it.
#[tokio::test(start_paused = true)]
async fn a_batch_over_the_cut_is_taken_and_sources_before_it_know_the_cut() {
    let env = net::Wire::new(0, 0, net::Side::There).env();
    let memory = Memory::new();
    *memory.batch_bytes_max.lock().unwrap() = Some(10 << 10);
    let source = start_source(&env, memory.clone(), "127.0.0.1:4141", json!({}));
    let mut cx = BuildContext::alone("out", &std::env::temp_dir(), env.clone());
    cx.name = "out".into();
    let settings = json!({ "address": "127.0.0.1:4141" });
    let mut sink = build::<components_grpc::sink::Config>(&settings, &cx).unwrap();
    within(async { while sink.open().await.is_err() {} }).await;
    let board = cx.get::<LimitBoard>();
    assert_eq!((board.smallest(), board.largest()), (Some(10 << 10), Some(16 << 20)));
    within(sink.write(large(0))).await.unwrap();
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.stored == set(0..1)).await;
    assert_eq!(verdicts, Verdicts { stored: set(0..1), ..Verdicts::default() });
    sink.close().await;
    source.stop().await;
}

/// Earlier batches are answered, nothing fails, and stored batches stay stored.
#[tokio::test(start_paused = true)]
async fn a_connected_sender_hears_of_another_limit_within_seconds() {
    let env = net::Wire::new(0, 0, net::Side::There).env();
    let memory = Memory::new();
    *memory.batch_bytes_taken.lock().unwrap() = Some(64 << 10);
    let source = start_source(&env, memory.clone(), "127.0.0.1:4141", json!({}));
    let mut sink = open_sink(&env, "127.0.0.1:4141", json!({})).await;
    let hop: NextHop = sink.extensions().find().unwrap();
    assert_eq!(hop.batch_max(), Some(64 << 10));
    for limit in [10 << 10, 1 << 20] {
        write(&mut *sink, 0..5).await;
        *memory.batch_bytes_taken.lock().unwrap() = Some(limit);
        let began = tokio::time::Instant::now();
        let before = hop.batch_max();
        let mut verdicts = Verdicts::default();
        verdicts.until(&mut *sink, |v| v.stored == set(0..5)).await;
        assert_eq!(hop.batch_max_changed(before).await, Some(limit));
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        assert_eq!(verdicts, Verdicts { stored: set(0..5), ..Verdicts::default() });
        let nothing = tokio::time::timeout(Duration::from_secs(30), sink.settled()).await;
        assert!(nothing.is_err(), "{nothing:?}");
    }
    memory.commit_all();
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.delivered == set(0..5)).await;
    assert!(sink.open().await.is_ok());
    sink.close().await;
    source.stop().await;
}
