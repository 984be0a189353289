//! Goal: a delivered batch is stored by the server, and each reply determines the fate of a batch.
//!
//! Method: the sink as a configuration builds it, on loopback, connected to the `thrift` source,
//! and to a listener with prepared replies.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use formats::thrift::{Fault, Head, exception, head, status};
use kit::testkit::channels::Channels;
use kit::testkit::sinks::outcome;
use pipeline::env::{Listener, Net, Stream};
use pipeline::testkit::{build, plain_context};
use pipeline::{BatchBuilder, Outcome};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::sources::thrift as source;

fn sink(address: &str, mut settings: Value) -> Box<dyn Sink> {
    settings["address"] = json!(address);
    let cx = crate::alone("next", Path::new("unused"), env::real());
    build::<Config>(&settings, &cx).unwrap()
}

/// A `thrift` source that runs until dropped.
struct Source {
    address: String,
    channels: Arc<Channels>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Source {
    async fn start(address: &str, mut settings: Value) -> Self {
        let probe = env::real().net.listen(address).await.unwrap();
        let address = probe.local_address();
        drop(probe);
        settings["listen"] = json!(address);
        let cx = crate::alone("in", Path::new("unused"), env::real());
        let mut source = build::<source::Config>(&settings, &cx).unwrap();
        let (channels, stop) = (Arc::new(Channels::new(1)), CancellationToken::new());
        let cx = plain_context(channels.clone(), stop.clone());
        source.open(&cx).await.unwrap();
        let running = tokio::spawn(async move { source.run(cx).await.unwrap() });
        Self { address, channels, stop, running }
    }

    async fn stop(self) -> String {
        self.stop.cancel();
        self.running.await.unwrap();
        self.address
    }
}

#[tokio::test]
async fn events_arrive_byte_for_byte_in_calls_of_events_max() {
    for protocol in ["compact", "binary"] {
        let source = Source::start("127.0.0.1:0", json!({ "protocol": protocol })).await;
        let settings = json!({ "protocol": protocol, "events_max": 1000 });
        let mut sink = sink(&source.address, settings);
        let mut builder = BatchBuilder::default();
        for n in 0..2_500 {
            let (body, n) = (format!("line\n{n}"), n.to_string());
            let headers = [("host", "web-1"), ("n", &*n), ("ü", "")];
            builder.push(body.as_bytes(), &headers[..n.len().min(3)]);
        }
        let batch = builder.finish();
        assert!(matches!(outcome(&mut *sink, batch.clone()).await, Outcome::Delivered));
        let events = source.channels.events(0);
        assert_eq!((events.len(), source.channels.puts(0)), (2_500, 3));
        for (sent, arrived) in batch.iter().zip(events) {
            assert_eq!(sent.body(), arrived.body.as_bytes());
            let sent = sent.headers().map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(sent.collect::<std::collections::BTreeMap<_, _>>(), arrived.headers);
        }
    }
}

#[tokio::test]
async fn a_source_that_was_restarted_is_used_again_without_a_failed_call() {
    let source = Source::start("127.0.0.1:0", json!({})).await;
    let mut sink = sink(&source.address, json!({}));
    assert!(matches!(outcome(&mut *sink, Batch::of(["a"])).await, Outcome::Delivered));
    let address = source.stop().await;
    let Outcome::Again(Some(error)) = outcome(&mut *sink, Batch::of(["b"])).await else {
        panic!("the source is away")
    };
    assert_eq!(error.class, ErrorClass::Transient, "it is known that nothing was sent");
    assert!(error.to_string().contains(&format!("cannot connect to {address}")), "{error}");
    let source = Source::start(&address, json!({})).await;
    assert!(matches!(outcome(&mut *sink, Batch::of(["c"])).await, Outcome::Delivered));
    assert_eq!(source.channels.lines(), [["c"]]);
    source.stop().await;
}

#[tokio::test]
async fn a_call_stays_within_frame_max_and_an_event_over_it_goes_alone() {
    let source = Source::start("127.0.0.1:0", json!({ "frame_max": "4KiB" })).await;
    let mut sink = sink(&source.address, json!({ "frame_max": "4KiB" }));
    let (small, large) = ("x".repeat(500), "y".repeat(4 << 10));
    let bodies: Vec<&str> = (0..40).map(|n| if n == 17 { &*large } else { &*small }).collect();
    let Outcome::Refused(letter) = outcome(&mut *sink, Batch::of(&bodies)).await else {
        panic!("one event is refused")
    };
    assert!(!letter.whole && letter.events.len() == 1, "{}", letter.detail);
    assert!(letter.detail.contains("4096 bytes (`frame_max`)"), "{}", letter.detail);
    assert_eq!(letter.events.iter().next().unwrap().body(), large.as_bytes());
    assert!(matches!(sink.settled().await.outcome, Outcome::Delivered));
    assert_eq!(source.channels.events(0).len(), 39);
    assert!(source.channels.puts(0) <= 8, "calls are filled");
}

/// Reaction of the listener to a call.
#[derive(Debug, Clone, Copy)]
enum Reply {
    Status(Status),
    Number(i32),
    Exception(Fault),
    OtherSequence,
    Large,
    Nothing,
}

/// Reacts to each call with the next reply, and repeats the last one.
struct Listening {
    address: String,
    connections: Arc<AtomicUsize>,
}

async fn listening(replies: impl IntoIterator<Item = Reply>) -> Listening {
    let listener = env::real().net.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_address();
    let replies = Arc::new(Mutex::new(replies.into_iter().collect::<VecDeque<_>>()));
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let replies = replies.clone();
            tokio::spawn(async move {
                while let Ok(bytes) = stream.read_u32().await {
                    let mut message = vec![0; bytes as usize];
                    stream.read_exact(&mut message).await.unwrap();
                    let mut call = head(Protocol::Compact, &message).unwrap();
                    let next = {
                        let mut replies = replies.lock().unwrap();
                        if replies.len() > 1 {
                            replies.pop_front()
                        } else {
                            replies.front().copied()
                        }
                    };
                    let Some(answer) = written(&mut call, next.unwrap()) else { return };
                    stream.write_all(&answer).await.unwrap();
                }
            });
        }
    });
    Listening { address, connections }
}

fn written(call: &mut Head, reply: Reply) -> Option<Vec<u8>> {
    let compact = Protocol::Compact;
    Some(match reply {
        Reply::Status(answered) => status(compact, call, answered),
        Reply::Number(number) => {
            let mut answer = status(compact, call, Status::Ok);
            let at = answer.len() - 2;
            answer[at] = (number << 1) as u8;
            answer
        }
        Reply::Exception(fault) => exception(compact, call, fault, "no:\n\x1b"),
        Reply::OtherSequence => {
            call.sequence += 1;
            status(compact, call, Status::Ok)
        }
        Reply::Large => vec![0x7f; 4],
        Reply::Nothing => return None,
    })
}

#[tokio::test]
async fn the_answer_decides_what_becomes_of_a_batch() {
    for (reply, class) in [
        (Reply::Status(Status::Failed), ErrorClass::Transient),
        (Reply::Status(Status::Unknown), ErrorClass::Indeterminate),
        (Reply::Number(9), ErrorClass::Indeterminate),
        (Reply::Exception(Fault::UnknownMethod), ErrorClass::Blocked),
        (Reply::Exception(Fault::ProtocolError), ErrorClass::Blocked),
        (Reply::OtherSequence, ErrorClass::Indeterminate),
        (Reply::Large, ErrorClass::Indeterminate),
        (Reply::Nothing, ErrorClass::Indeterminate),
    ] {
        let listening = listening([reply]).await;
        let mut sink = sink(&listening.address, json!({}));
        let Outcome::Again(Some(error)) = outcome(&mut *sink, Batch::of(["x"])).await else {
            panic!("{reply:?} is tried again")
        };
        assert_eq!(error.class, class, "{reply:?}: {error}");
        assert!(error.to_string().contains(&listening.address), "{error}");
        assert!(!error.to_string().contains(['\n', '\x1b']), "{error}");
    }
    let replies = [Status::Ok, Status::Error, Status::Ok].map(Reply::Status);
    let listening = listening(replies).await;
    let mut sink = sink(&listening.address, json!({ "events_max": 2 }));
    let batch = Batch::of(["a", "b", "c", "d", "e"]);
    let Outcome::Refused(letter) = outcome(&mut *sink, batch).await else {
        panic!("the second call is refused")
    };
    let refused: Vec<&[u8]> = letter.events.iter().map(|event| event.body()).collect();
    assert_eq!(refused, [b"c", b"d"]);
    assert!(matches!(sink.settled().await.outcome, Outcome::Delivered));
}

#[tokio::test]
async fn a_connection_serves_many_calls_until_it_is_to_be_replaced() {
    for (settings, connections) in [(json!({}), 1), (json!({ "reconnect_after": "1ns" }), 20)] {
        let listening = listening([Reply::Status(Status::Ok)]).await;
        let mut sink = sink(&listening.address, settings);
        for _ in 0..20 {
            let outcome = outcome(&mut *sink, Batch::of(["x"])).await;
            assert!(matches!(outcome, Outcome::Delivered));
        }
        assert_eq!(listening.connections.load(Ordering::SeqCst), connections);
    }
}

#[tokio::test]
async fn a_batch_without_an_answer_may_have_been_stored() {
    let listener = env::real().net.listen("127.0.0.1:0").await.unwrap();
    let mut sink = sink(&listener.local_address(), json!({ "timeout": "50ms" }));
    let sending = outcome(&mut *sink, Batch::of(["x"]));
    let (outcome, _held) = tokio::join!(sending, listener.accept());
    let Outcome::Again(Some(error)) = outcome else { panic!("it is tried again") };
    assert_eq!(error.class, ErrorClass::Indeterminate);
    assert!(error.to_string().contains(&format!("{:?}", Duration::from_millis(50))), "{error}");
}

/// A network in which connecting never finishes.
struct Silent;

#[async_trait]
impl Net for Silent {
    async fn connect(&self, _address: &str) -> std::io::Result<Box<dyn Stream>> {
        std::future::pending().await
    }

    async fn listen(&self, address: &str) -> std::io::Result<Box<dyn Listener>> {
        env::real().net.listen(address).await
    }
}

#[tokio::test(start_paused = true)]
async fn connecting_has_a_limit_of_its_own_for_nothing_was_sent() {
    let env = pipeline::Env { net: Arc::new(Silent), ..env::real() };
    let cx = crate::alone("next", Path::new("unused"), env);
    let settings = json!({ "address": "flume:1", "connect_timeout": "2s", "timeout": "3s" });
    let mut sink = build::<Config>(&settings, &cx).unwrap();
    let Outcome::Again(Some(error)) = outcome(&mut *sink, Batch::of(["x"])).await else {
        panic!("it is tried again")
    };
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
}

#[test]
fn settings_that_can_never_work_are_named() {
    let cx = crate::alone("next", Path::new("unused"), env::real());
    for (settings, named) in [
        (json!({ "address": "flume" }), "address"),
        (json!({ "address": "http://flume:1" }), "address"),
        (json!({ "address": "flume:1", "events_max": 0 }), "events_max"),
        (json!({ "address": "flume:1", "in_flight_max": 0 }), "in_flight_max"),
        (json!({ "address": "flume:1", "frame_max": "10B" }), "frame_max"),
        (json!({ "address": "flume:1", "protocol": "json" }), "protocol"),
    ] {
        let error = build::<Config>(&settings, &cx).err().unwrap();
        assert_eq!(error.path, named, "{error}");
    }
}
