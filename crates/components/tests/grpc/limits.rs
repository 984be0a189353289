//! Goal: a batch that is over the limit of the next agent is no dead letter unless it is one event, holds
//! up no other, and arrives when the limit is raised.

use ::peers::LimitBoard;
use pipeline::testkit::build;
use pipeline::{BuildContext, IntervalSet, Outcome, Settlement, Sink, Taken};

use super::*;

/// A batch of ten lines of 2 kB.
fn large(sequence: u64) -> Taken {
    let mut batch = Batch::of((0..10).map(|n| format!("{n}{}", "x".repeat(2_000))));
    batch.identity = Some(identity(sequence));
    Taken { ticket: sequence + 1000, batch }
}

async fn given_back(sink: &mut dyn Sink, tickets: &IntervalSet) {
    let mut back = IntervalSet::EMPTY;
    while back != *tickets {
        if let Settlement { tickets, outcome: Outcome::Again(None) } = within(sink.settled()).await
        {
            back.insert_all(&tickets);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_over_the_limit_waits_others_pass_it_and_it_arrives_when_the_limit_is_raised() {
    let env = env::real();
    let memory = Memory::new();
    let address = free_address(&env).await;
    let small = start_source(&env, memory.clone(), &address, json!({ "message_max": "10KiB" }));
    let mut cx = BuildContext::alone("out", &std::env::temp_dir(), env.clone());
    cx.name = "out".into();
    let settings = json!({ "address": address });
    let mut sink = build::<aqueduct_components::sinks::grpc::Config>(&settings, &cx).unwrap();
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

    small.stop().await;
    given_back(&mut *sink, &IntervalSet::from(1000..1002)).await;
    assert_eq!(
        cx.get::<LimitBoard>().smallest(),
        Some(10 << 10),
        "remembered while the peer is away"
    );
    let _raised = start_source(&env, memory.clone(), &address, json!({ "message_max": "1MiB" }));
    within(async { while sink.open().await.is_err() {} }).await;
    assert_eq!(cx.get::<LimitBoard>().smallest(), Some(1 << 20));
    for sequence in [0, 1] {
        within(sink.write(large(sequence))).await.unwrap();
    }
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.stored == set(0..2)).await;
    assert_eq!(memory.batches().len(), 5);
    sink.close().await;
    assert_eq!(cx.get::<LimitBoard>().smallest(), None);
}

/// Only so many: then the sink fails, and the error names the setting, the sizes and the address.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_back_is_bounded() {
    let env = env::real();
    let address = free_address(&env).await;
    let limit = json!({ "message_max": "10KiB" });
    let source = start_source(&env, Memory::new(), &address, limit);
    let mut sink = open_sink(&env, &source.address, json!({})).await;
    for sequence in 0..1024 {
        within(sink.write(large(sequence))).await.unwrap();
    }
    let error = within(sink.write(large(1024))).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Blocked);
    let text = error.to_string();
    assert!(["`message_max` (10240 bytes)", &address].iter().all(|it| text.contains(it)), "{text}");
    // An agent that stops gets them back.
    sink.flush();
    given_back(&mut *sink, &IntervalSet::from(1000..2024)).await;
}

/// A relay names the smaller of its own limit and of what the agents behind it take.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_names_the_limit_of_the_agents_behind_it() {
    let (memory, source) = peers::source(json!({ "message_max": "1MiB" })).await;
    for (behind, named) in [(None, 1 << 20), (Some(64 << 10), 64 << 10), (Some(2 << 20), 1 << 20)] {
        *memory.batch_bytes_max.lock().unwrap() = behind;
        let mut sender = peers::Played::connect(&source.address).await;
        sender.say(wire::v1::from_sender::Message::Hello(wire::v1::Hello::default())).await;
        let wire::v1::from_receiver::Message::Welcome(welcome) = sender.hear().await else {
            panic!("no Welcome")
        };
        assert_eq!(welcome.body_max, named);
    }
}
