//! Goal: the memory that this agent uses for its senders is bounded and released, and excludes no
//! other sender.

use pipeline::testkit::{build, relay_context};
use pipeline::{BuildContext, Epoch, Identity, Origin, Sequence};
use tokio_util::sync::CancellationToken;
use wire::keys;
use wire::v1::{Hello, from_receiver, from_sender};

use super::peers::{Played, put};
use super::*;

const LIVES: u32 = 3_000;

/// Returns a Hello of `lives` origins, which are unique to `sender`.
fn hello(sender: u8, lives: u32) -> from_sender::Message {
    let held: KeySet = (0..lives)
        .map(|n| {
            let mut origin = [sender; 16];
            origin[..4].copy_from_slice(&n.to_be_bytes());
            Identity { origin: Origin(origin), epoch: Epoch(1), sequence: Sequence(0) }
        })
        .collect();
    from_sender::Message::Hello(Hello { keys: keys::encode(&held), ..Hello::default() })
}

/// Starts a source with one mebibyte for its senders; returns its address and metrics.
async fn source() -> (String, metrics::Metrics, CancellationToken) {
    let env = env::real();
    let address = free_address().to_string();
    let cx = BuildContext::alone("in", &std::env::temp_dir(), env);
    let metrics = cx.metrics.clone();
    let settings = json!({ "listen": address, "remembered_max": "8MiB" });
    let mut source = build::<components_grpc::source::Config>(&settings, &cx).unwrap();
    let stop = CancellationToken::new();
    let run = relay_context(Memory::new(), stop.clone());
    tokio::spawn(async move {
        source.open(&run).await?;
        source.run(run).await
    });
    (address, metrics, stop)
}

fn remembered(metrics: &metrics::Metrics) -> i64 {
    let label = metrics::SourceLabel { source: "in".into() };
    metrics.source_remembered.get_or_create(&label).get()
}

#[tokio::test]
async fn a_hello_beyond_any_real_one_is_refused_and_others_are_served() {
    let (address, metrics, _stop) = source().await;
    let mut hostile = Played::connect(&address).await;
    hostile.say(hello(1, 500_000)).await;
    let status = hostile.end().await;
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    assert!(status.message().contains("remembered_max"), "{status}");

    let mut relays = Vec::new();
    for number in 1..=9 {
        let relay = Played::connect(&address).await;
        relay.say(hello(number, LIVES)).await;
        relays.push(relay);
    }
    let mut welcome = 0;
    let mut refused = Vec::new();
    for mut relay in relays {
        match relay.answer().await {
            Ok(from_receiver::Message::Welcome(_)) => {
                welcome += 1;
                refused.push(relay);
            }
            answer => assert_eq!(answer.unwrap_err().code(), tonic::Code::ResourceExhausted),
        }
        assert!(remembered(&metrics) < (9 << 20), "{}", remembered(&metrics));
    }
    assert!((3..9).contains(&welcome), "{welcome}");

    // An edge needs no part of their memory.
    let mut edge = Played::greeted(&address).await;
    edge.say(from_sender::Message::Put(put(1))).await;
    assert!(matches!(edge.hear().await, from_receiver::Message::Stored(_)));
    drop((refused, edge));
    within(async {
        while remembered(&metrics) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let mut relay = Played::connect(&address).await;
    relay.say(hello(9, LIVES)).await;
    assert!(
        matches!(relay.hear().await, from_receiver::Message::Welcome(_)),
        "there is room again"
    );
}

/// The origins of puts count too, until the stream ends.
#[tokio::test]
async fn a_sender_that_puts_for_ever_new_origins_is_ended() {
    let (address, metrics, _stop) = source().await;
    let mut sender = Played::greeted(&address).await;
    let end = async {
        for n in 0_u32.. {
            let mut foreign = put(0);
            let identity = foreign.identity.as_mut().unwrap();
            let mut origin = [9; 16];
            origin[..4].copy_from_slice(&n.to_be_bytes());
            identity.origin = bytes::Bytes::copy_from_slice(&origin);
            sender.say(from_sender::Message::Put(foreign)).await;
            match sender.answer().await {
                Ok(_) => assert!(remembered(&metrics) < (3 << 20)),
                Err(status) => return (n, status),
            }
        }
        unreachable!("it is ended")
    };
    let (puts, status) = tokio::time::timeout(Duration::from_secs(100), end).await.unwrap();
    assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
    assert!((1_000..10_000).contains(&puts), "{puts}");
}
