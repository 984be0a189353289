//! Goal: a peer of another version is understood, a hostile one is disconnected, and neither
//! affects other connections. Method: one end is real, the test simulates the other, message by
//! message.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pipeline::{Env, IntervalSet};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use wire::exchange::{Gathering, RequestStream};
use wire::v1::{
    FromReceiver, FromSender, Hello, Put, Reason, Refused, Stored, Welcome, from_receiver,
    from_sender,
};
use wire::{Packing, keys, pack};

use super::*;

/// A simulated sender.
pub(crate) struct Played {
    say: mpsc::Sender<FromSender>,
    hear: Streaming<FromReceiver>,
}

impl Played {
    pub(crate) async fn connect(address: &str) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let channel = within(async {
            loop {
                match endpoint.connect().await {
                    Ok(channel) => break channel,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        })
        .await;
        Self::over(channel).await
    }

    /// Starts a stream on a connection.
    pub(crate) async fn over(channel: Channel) -> Self {
        let (say, said) = mpsc::channel(64);
        let hear = within(wire::exchange(channel, None, ReceiverStream::new(said))).await.unwrap();
        Self { say, hear }
    }

    /// Connects, and waits for Welcome.
    pub(crate) async fn greeted(address: &str) -> Self {
        let mut played = Self::connect(address).await;
        played.say(from_sender::Message::Hello(Hello::default())).await;
        let from_receiver::Message::Welcome(_) = played.hear().await else { panic!("no Welcome") };
        played
    }

    pub(crate) async fn say(&self, message: from_sender::Message) {
        let _ = self.say.send(FromSender { message: Some(message) }).await;
    }

    pub(crate) async fn hear(&mut self) -> from_receiver::Message {
        within(self.hear.message()).await.unwrap().unwrap().message.unwrap()
    }

    /// Returns the next message, or the final status of the stream.
    pub(crate) async fn answer(&mut self) -> Result<from_receiver::Message, Status> {
        let answer = within(self.hear.message()).await?;
        Ok(answer.expect("a stream ends with a status").message.unwrap())
    }

    pub(crate) async fn end(&mut self) -> Status {
        within(async {
            loop {
                if let Err(status) = self.hear.message().await {
                    break status;
                }
            }
        })
        .await
    }
}

pub(crate) fn put(sequence: u64) -> Put {
    pack(identity(sequence), &taken(sequence).batch, Packing::Plain)
}

pub(crate) async fn source(more: serde_json::Value) -> (Arc<Memory>, pair::Running) {
    let env = env::real();
    let memory = Memory::new();
    let source = start_source(&env, memory.clone(), &free_address().to_string(), more);
    (memory, source)
}

#[tokio::test]
async fn a_newer_sender_is_understood_where_it_says_what_is_known() {
    let (memory, source) = source(json!({})).await;
    let mut newer = Played::connect(&source.address).await;
    let hello = Hello { features: vec!["teleport".into()], ..Hello::default() };
    newer.say(from_sender::Message::Hello(hello)).await;
    // A message type that does not exist yet.
    newer.say.send(FromSender { message: None }).await.unwrap();
    newer.say(from_sender::Message::Put(put(1))).await;
    assert!(matches!(newer.hear().await, from_receiver::Message::Welcome(_)));
    let stored = keys::encode(&[identity(1)].into_iter().collect());
    assert_eq!(newer.hear().await, from_receiver::Message::Stored(Stored { keys: stored }));
    assert_eq!(memory.batches().len(), 1);
}

#[tokio::test]
async fn welcome_says_what_is_known_and_what_is_allowed() {
    let (memory, source) = source(json!({ "window_batches": 7, "message_max": "1MiB" })).await;
    let mut first = Played::greeted(&source.address).await;
    first.say(from_sender::Message::Put(put(1))).await;
    first.hear().await;
    memory.commit_silently();
    first.say(from_sender::Message::Put(put(2))).await;
    first.hear().await;
    let mut second = Played::connect(&source.address).await;
    let held = keys::encode(&[identity(1), identity(2), identity(3)].into_iter().collect());
    second.say(from_sender::Message::Hello(Hello { keys: held, ..Hello::default() })).await;
    let from_receiver::Message::Welcome(welcome) = second.hear().await else { panic!() };
    let sequences = |keys: bytes::Bytes| {
        let keys = keys::decode(keys).unwrap();
        keys.get(identity(0).origin, identity(0).epoch).cloned().unwrap_or(IntervalSet::EMPTY)
    };
    assert_eq!(sequences(welcome.stored_keys), set(1..3));
    assert_eq!(sequences(welcome.committed_keys), set(1..2));
    assert_eq!((welcome.window_batches, welcome.body_max), (7, 1 << 20));
    assert_ne!(welcome.incarnation, 0);
}

#[tokio::test]
async fn many_senders_share_what_may_be_in_work() {
    let (_memory, source) = source(json!({ "in_flight_max": "6MiB" })).await;
    let mut windows = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..8 {
        let mut sender = Played::connect(&source.address).await;
        sender.say(from_sender::Message::Hello(Hello::default())).await;
        let from_receiver::Message::Welcome(welcome) = sender.hear().await else { panic!() };
        windows.push(welcome.window_bytes >> 10);
        streams.push(sender);
    }
    assert_eq!(windows, [6144, 3072, 2048, 1536, 1228, 1024, 1024, 1024]);
}

#[tokio::test]
async fn a_put_before_hello_ends_the_stream() {
    let (memory, source) = source(json!({})).await;
    let mut rude = Played::connect(&source.address).await;
    rude.say(from_sender::Message::Put(put(1))).await;
    assert_eq!(rude.end().await.code(), Code::ResourceExhausted);
    assert_eq!(memory.accepted(), 0);
}

#[tokio::test]
async fn a_sender_over_its_window_is_cut_off_and_others_are_served() {
    let (memory, source) = source(json!({ "window_batches": 2 })).await;
    memory.room.forget_permits(usize::MAX);
    let mut greedy = Played::greeted(&source.address).await;
    for sequence in 0..3 {
        greedy.say(from_sender::Message::Put(put(sequence))).await;
    }
    let began = tokio::time::Instant::now();
    assert_eq!(greedy.end().await.code(), Code::ResourceExhausted);
    assert!(
        began.elapsed() >= Duration::from_secs(1),
        "a client that breaks rules is not back at once"
    );
    memory.room.add_permits(10);
    let mut sink = open_sink(&env::real(), &source.address, json!({})).await;
    write(&mut *sink, 5..6).await;
    Verdicts::default().until(&mut *sink, |v| v.stored == set(5..6)).await;
}

#[tokio::test]
async fn a_message_over_the_limit_ends_the_stream_unread() {
    let (memory, source) = source(json!({ "message_max": "10KiB" })).await;
    let mut large = Played::greeted(&source.address).await;
    let batch = Batch::of(["x".repeat(200_000)]);
    large.say(from_sender::Message::Put(pack(identity(0), &batch, Packing::Plain))).await;
    assert_eq!(large.end().await.code(), Code::OutOfRange);
    assert_eq!(memory.accepted(), 0);
}

#[tokio::test]
async fn a_bomb_is_refused_and_the_stream_goes_on() {
    let (memory, source) = source(json!({ "message_max": "1MiB" })).await;
    let mut bomber = Played::greeted(&source.address).await;
    let mut bomb = pack(identity(0), &Batch::of(["\0".repeat(32 << 20)]), Packing::Zstd(1));
    for (claim, reason) in [(32 << 20, Reason::TooLarge), (1 << 20, Reason::Compression)] {
        bomb.uncompressed_bytes = claim;
        bomber.say(from_sender::Message::Put(bomb.clone())).await;
        let from_receiver::Message::Refused(refused) = bomber.hear().await else { panic!() };
        assert_eq!(refused.reason(), reason, "{}", refused.detail);
    }
    bomber.say(from_sender::Message::Put(put(1))).await;
    assert!(matches!(bomber.hear().await, from_receiver::Message::Stored(_)));
    assert_eq!(memory.batches().len(), 1);
}

#[tokio::test]
async fn refuses_invalid_batches_and_ends_streams_without_identity() {
    let (memory, source) = source(json!({})).await;
    let mut peer = Played::greeted(&source.address).await;
    let mut damaged = put(1);
    damaged.digest ^= 1;
    peer.say(from_sender::Message::Put(damaged)).await;
    let from_receiver::Message::Refused(refused) = peer.hear().await else { panic!() };
    assert_eq!(refused.reason(), Reason::Damaged);
    peer.say(from_sender::Message::Put(Put { identity: None, ..put(1) })).await;
    assert_eq!(peer.end().await.code(), Code::InvalidArgument);
    let mut garbage = Played::connect(&source.address).await;
    let keys = bytes::Bytes::from_static(&[0xff; 9]);
    garbage.say(from_sender::Message::Hello(Hello { keys, ..Hello::default() })).await;
    assert_eq!(garbage.end().await.code(), Code::InvalidArgument);
    assert_eq!(memory.accepted(), 0);
}

// === Simulated receivers ===

/// Starts a receiver that answers each message as `script` returns; returns its address.
async fn scripted(env: &Env, script: fn(from_sender::Message) -> Vec<FromReceiver>) -> String {
    let listener = env.net.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_address();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(move |request: Request<Incoming>| async move {
                let gathering = Arc::new(Gathering::new(64 << 20, 0, <_>::default()));
                let said = |heard| handler(heard, script);
                Ok::<_, Infallible>(wire::answer(request, 4 << 20, &gathering, said))
            });
            let served = http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(served);
        }
    });
    address
}

fn handler(
    mut heard: RequestStream<Incoming>,
    script: fn(from_sender::Message) -> Vec<FromReceiver>,
) -> ReceiverStream<Result<FromReceiver, Status>> {
    let (say, said) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok(Some(FromSender { message: Some(message) })) = heard.message().await {
            for answer in script(message) {
                let _ = say.send(Ok(answer)).await;
            }
        }
    });
    ReceiverStream::new(said)
}

fn answer(message: from_receiver::Message) -> FromReceiver {
    FromReceiver { message: Some(message) }
}

fn stored(put: &Put) -> FromReceiver {
    let identity = keys::identity(put.identity.as_ref()).unwrap();
    answer(from_receiver::Message::Stored(Stored {
        keys: keys::encode(&[identity].into_iter().collect()),
    }))
}

/// An older receiver has no limits, no features and no incarnation.
#[tokio::test]
async fn an_older_receiver_is_served_plainly_and_without_limits() {
    let env = env::real();
    let address = scripted(&env, |message| match message {
        from_sender::Message::Progress(_) => Vec::new(),
        from_sender::Message::Hello(_) => {
            vec![answer(from_receiver::Message::Welcome(Welcome::default()))]
        }
        from_sender::Message::Put(put) => {
            assert_eq!(put.compression, 0);
            vec![stored(&put)]
        }
    })
    .await;
    let mut sink = open_sink(&env, &address, json!({ "compression": "zstd" })).await;
    write(&mut *sink, 0..20).await;
    Verdicts::default().until(&mut *sink, |v| v.stored == set(0..20)).await;
}

/// A newer receiver sends unknown messages in between, and refuses for an unknown reason.
#[tokio::test]
async fn a_newer_receiver_is_understood_where_it_says_what_is_known() {
    let env = env::real();
    let address = scripted(&env, |message| match message {
        from_sender::Message::Progress(_) => Vec::new(),
        from_sender::Message::Hello(_) => vec![
            FromReceiver { message: None },
            answer(from_receiver::Message::Welcome(Welcome {
                features: vec!["teleport".into()],
                ..Welcome::default()
            })),
        ],
        from_sender::Message::Put(put) if put.identity.as_ref().unwrap().sequence == 3 => {
            let refused = Refused { identity: put.identity, reason: 99, detail: "new".into() };
            vec![answer(from_receiver::Message::Refused(refused))]
        }
        from_sender::Message::Put(put) => vec![FromReceiver { message: None }, stored(&put)],
    })
    .await;
    let mut sink = open_sink(&env, &address, json!({})).await;
    write(&mut *sink, 0..5).await;
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.stored.count() == 4 && v.refused == set(3..4)).await;
}

/// A receiver that answers nothing: its batches are returned, as batches that it may have stored.
#[tokio::test]
async fn silence_is_not_a_refusal() {
    let env = env::real();
    let address = scripted(&env, |message| match message {
        from_sender::Message::Progress(_) => Vec::new(),
        from_sender::Message::Hello(_) => {
            vec![answer(from_receiver::Message::Welcome(Welcome::default()))]
        }
        from_sender::Message::Put(_) => Vec::new(),
    })
    .await;
    let mut sink = open_sink(&env, &address, json!({ "answer_timeout": "200ms" })).await;
    write(&mut *sink, 0..1).await;
    let settlement = within(sink.settled()).await;
    let pipeline::Outcome::Again(Some(error)) = settlement.outcome else {
        panic!("{settlement:?}")
    };
    assert_eq!(error.class, ErrorClass::Indeterminate);
}

#[tokio::test]
async fn a_receiver_that_never_says_welcome_is_given_up() {
    let env = env::real();
    let address = scripted(&env, |_| Vec::new()).await;
    let mut sink = sink(&env, &address, json!({ "connect_timeout": "200ms" }));
    let error = within(sink.open()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient);
}
