//! Goal: what an origin declares empty is known to the channels behind the next agent, and copies
//! that come later are refused there, not stored and not silently dropped.

use pipeline::testkit::build;
use pipeline::{BuildContext, Epoch, Floors, Origin, Sink};
use wire::v1::{Hello, Reason, from_receiver, from_sender};

use super::peers::{Played, put, source};
use super::*;

fn below(epoch: u64) -> Floors {
    let mut floors = Floors::default();
    floors.raise(identity(0).origin, Epoch(epoch));
    floors
}

#[tokio::test]
async fn a_put_of_a_closed_epoch_is_refused_with_its_reason() {
    let (memory, source) = source(json!({})).await;
    let mut sender = Played::connect(&source.address).await;
    let floors = wire::keys::encode_floors(&below(2));
    sender.say(from_sender::Message::Hello(Hello { floors, ..Hello::default() })).await;
    sender.hear().await;
    sender.say(from_sender::Message::Put(put(1))).await;
    let from_receiver::Message::Refused(refused) = sender.hear().await else { panic!() };
    assert_eq!(refused.reason(), Reason::EpochClosed);
    assert_eq!(memory.accepted(), 0);

    let mut of_this_life = put(2);
    of_this_life.identity.as_mut().unwrap().epoch = 2;
    sender.say(from_sender::Message::Put(of_this_life)).await;
    assert!(matches!(sender.hear().await, from_receiver::Message::Stored(_)));
}

#[tokio::test]
async fn floors_that_are_cut_short_end_the_stream() {
    let (memory, source) = source(json!({})).await;
    let mut rude = Played::connect(&source.address).await;
    let floors = wire::keys::encode_floors(&below(2)).slice(..9);
    rude.say(from_sender::Message::Hello(Hello { floors, ..Hello::default() })).await;
    assert_eq!(rude.end().await.code(), tonic::Code::InvalidArgument);
    assert!(memory.floors.declared().is_empty());
}

/// The second content would otherwise count as stored because the first one is.
#[tokio::test(flavor = "multi_thread")]
async fn another_content_under_a_known_identity_is_refused_and_not_dropped() {
    let (memory, source) = source(json!({})).await;
    let env = env::real();
    let mut sink = open_sink(&env, &source.address, json!({})).await;
    write(&mut *sink, 0..2).await;
    Verdicts::default().until(&mut *sink, |v| v.stored == set(0..2)).await;
    let mut impostor = open_sink(&env, &source.address, json!({})).await;
    // Its Hello asks for the first batch of a life; what follows is put.
    write(&mut *impostor, 2..3).await;
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *impostor, |v| v.stored == set(2..3)).await;
    let mut other = taken(1);
    other.batch = Batch::of(["something else"]);
    other.batch.identity = Some(identity(1));
    within(impostor.write(other)).await.unwrap();
    // A header that an agent on the way has set makes no other content.
    let mut marked = taken(0);
    marked.batch.set_header("relay", "r-2", pipeline::Existing::Replace);
    within(impostor.write(marked)).await.unwrap();
    verdicts.until(&mut *impostor, |v| v.refused == set(1..2) && v.stored.contains(0)).await;
    assert!(verdicts.failures[0].contains("named other events"), "{:?}", verdicts.failures);
    assert_eq!(memory.batches()[1], taken(1).batch);
}

/// A relay hands on what the agents before it have declared.
#[tokio::test(flavor = "multi_thread")]
async fn a_sink_declares_what_its_channel_has_heard() {
    let env = env::real();
    let memory = Memory::new();
    let source = start_source(&env, memory.clone(), &free_address(&env).await, json!({}));
    let cx = BuildContext::alone("out", &std::env::temp_dir(), env.clone());
    let mut heard = below(3);
    heard.raise(Origin([9; 16]), Epoch(1));
    cx.floors.hear(&heard);
    let settings = json!({ "address": source.address });
    let mut sink: Box<dyn Sink> =
        build::<aqueduct_components::sinks::grpc::Config>(&settings, &cx).unwrap();
    within(async {
        while sink.open().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(memory.floors.declared(), heard);
    sink.close().await;
    source.stop().await;
}
