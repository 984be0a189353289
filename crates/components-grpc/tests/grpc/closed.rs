//! Goal: the channels downstream of an agent know the epochs that an origin declared empty, and
//! reject later copies, which are neither stored nor silently dropped. They also know how far the
//! sources of each origin got.

use ::peers::{FloorBoard, ProgressBoard};
use pipeline::testkit::build;
use pipeline::{BuildContext, Epoch, Floors, Origin, Reached, Sink};
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
    let mut of_this_life = put(2);
    of_this_life.identity.as_mut().unwrap().epoch = 2;
    sender.say(from_sender::Message::Put(of_this_life)).await;
    assert!(matches!(sender.hear().await, from_receiver::Message::Stored(_)));

    sender.say(from_sender::Message::Put(put(1))).await;
    let from_receiver::Message::Refused(refused) = sender.hear().await else { panic!() };
    assert_eq!(refused.reason(), Reason::EpochClosed);
    assert_eq!(memory.accepted(), 1);
}

/// Otherwise any peer could close epochs that another agent is about to use, and fill memory and
/// ledger with invented origins.
#[tokio::test]
async fn a_floor_counts_only_from_a_stream_that_carries_its_origin() {
    let (memory, source) = source(json!({})).await;
    let mut forger = Played::connect(&source.address).await;
    let mut forged = below(2);
    (0..200).for_each(|n| forged.raise(Origin([n; 16]), Epoch(7)));
    let keys = wire::keys::encode(&[identity(0), identity(1)].into_iter().collect());
    let floors = wire::keys::encode_floors(&forged);
    forger.say(from_sender::Message::Hello(Hello { floors, keys, ..Hello::default() })).await;
    forger.hear().await;
    assert!(memory.floors.declared().is_empty());

    let mut victim = Played::connect(&source.address).await;
    victim.say(from_sender::Message::Hello(Hello::default())).await;
    victim.hear().await;
    victim.say(from_sender::Message::Put(put(1))).await;
    assert!(matches!(victim.hear().await, from_receiver::Message::Stored(_)));
    assert!(memory.floors.declared().is_empty());
}

#[tokio::test]
async fn the_last_number_of_the_range_ends_the_stream() {
    let (memory, source) = source(json!({})).await;
    for floors in [u64::MAX, Epoch::MAX.0 + 1].map(below) {
        let mut forger = Played::connect(&source.address).await;
        let floors = wire::keys::encode_floors(&floors);
        forger.say(from_sender::Message::Hello(Hello { floors, ..Hello::default() })).await;
        assert_eq!(forger.end().await.code(), tonic::Code::InvalidArgument);
    }
    let mut forger = Played::connect(&source.address).await;
    forger.say(from_sender::Message::Hello(Hello::default())).await;
    forger.hear().await;
    let mut last = put(1);
    last.identity.as_mut().unwrap().sequence = u64::MAX;
    forger.say(from_sender::Message::Put(last)).await;
    assert_eq!(forger.end().await.code(), tonic::Code::InvalidArgument);
    assert_eq!(memory.accepted(), 0);
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

/// Otherwise the second content would count as stored because the first one is.
#[tokio::test(flavor = "multi_thread")]
async fn another_content_under_a_known_identity_is_refused_and_not_dropped() {
    let (memory, source) = source(json!({})).await;
    let env = env::real();
    let mut sink = open_sink(&env, &source.address, json!({})).await;
    write(&mut *sink, 0..2).await;
    Verdicts::default().until(&mut *sink, |v| v.stored == set(0..2)).await;
    let mut impostor = open_sink(&env, &source.address, json!({})).await;
    // Its Hello queries the first batch of an epoch; then it sends further ones.
    write(&mut *impostor, 2..3).await;
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *impostor, |v| v.stored == set(2..3)).await;
    let mut other = taken(1);
    other.batch = Batch::of(["something else"]);
    other.batch.envelope.identity = Some(identity(1));
    within(impostor.write(other)).await.unwrap();
    // A header that an intermediate agent has set does not change the content.
    let mut marked = taken(0);
    marked.batch.set_header("relay", "r-2", pipeline::Existing::Replace);
    within(impostor.write(marked)).await.unwrap();
    verdicts.until(&mut *impostor, |v| v.refused == set(1..2) && v.stored.contains(0)).await;
    assert!(
        verdicts.failures[0].contains("already has a batch with this identity"),
        "{:?}",
        verdicts.failures
    );
    assert_eq!(memory.batches()[1], taken(1).batch);
}

/// A relay passes on the declarations of upstream agents.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_hands_on_the_floors_of_the_origins_that_it_carries() {
    let env = env::real();
    let memory = Memory::new();
    let source = start_source(&env, memory.clone(), &free_address().to_string(), json!({}));
    let cx = BuildContext::alone("out", &std::env::temp_dir(), env.clone());
    let mut heard = below(3);
    heard.raise(Origin([9; 16]), Epoch(1));
    cx.get::<FloorBoard>().observe(&heard);
    let settings = json!({ "address": source.address });
    let mut sink: Box<dyn Sink> = build::<components_grpc::sink::Config>(&settings, &cx).unwrap();
    within(async {
        while sink.open().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(memory.floors.declared().is_empty(), "none of its batches has come this way");
    let mut carried = taken(0);
    carried.batch.envelope.identity.as_mut().unwrap().epoch = Epoch(3);
    within(sink.write(carried)).await.unwrap();
    Verdicts::default().until(&mut *sink, |v| v.stored == set(0..1)).await;
    assert_eq!(memory.floors.declared(), below(3), "of the other origin no batch came");
    sink.close().await;
    source.stop().await;
}

/// An agent sends its reports and those of upstream agents to each downstream agent, also after a
/// reconnect.
#[tokio::test(flavor = "multi_thread")]
async fn reports_of_progress_are_handed_on_when_they_change() {
    let env = env::real();
    let memory = Memory::new();
    let source = start_source(&env, memory.clone(), &free_address().to_string(), json!({}));
    let cx = BuildContext::alone("out", &std::env::temp_dir(), env.clone());
    let board = cx.get::<ProgressBoard>();
    let at = |origin, before| {
        let (host, held_by) = ("web-1".into(), if before == 7 { "syslog" } else { "" }.into());
        (Origin([origin; 16]), Reached { host, before, held_by })
    };
    board.observe([at(1, 5), at(2, 7)]);
    let settings = json!({ "address": source.address });
    let mut sink: Box<dyn Sink> = build::<components_grpc::sink::Config>(&settings, &cx).unwrap();
    let are_known = async |expected: Vec<(Origin, Reached)>| {
        within(async {
            while memory.progress.reached() != expected {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    };
    within(async {
        while sink.open().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    are_known(vec![at(1, 5), at(2, 7)]).await;
    board.observe([at(1, 6)]);
    are_known(vec![at(1, 6), at(2, 7)]).await;
    sink.close().await;
    source.stop().await;
}
