//! Goal: each status keeps its promise: after OK the events are stored; after FAILED they are not
//! stored, and never will be; and no client uses more than its limits.
//!
//! Method: the source as a configuration builds it, on loopback, with a client that writes raw
//! bytes: the calls of Flume's own client, and invalid ones. The channels are in memory, with an
//! intake whose room the test controls.

mod limits;

use std::path::Path;

use async_trait::async_trait;
use formats::thrift::{Answer, Events, Fault, Head, Kind, Status, answer};
use kit::testkit::channels::Channels;
use kit::testkit::narrow::Narrow;
use kit::testkit::running::Running;
use pipeline::env::Stream;
use pipeline::testkit::build;
use pipeline::{BatchBuilder, BatchSize, ChannelError, Intake, IntakeError, Permit};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

async fn connect(to: &Running) -> Client {
    Client { stream: to.connect().await }
}

/// The message of this name, which Flume's own client wrote: a seed of the fuzz target `thrift`,
/// whose first byte names the encoding.
#[expect(clippy::disallowed_methods, reason = "the corpus is real files")]
fn message(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/thrift");
    let input = std::fs::read(folder.join(name)).unwrap();
    input[1..].to_vec()
}

struct Client {
    stream: Box<dyn Stream>,
}

impl Client {
    async fn send(&mut self, message: &[u8]) {
        self.stream.write_u32(message.len() as u32).await.unwrap();
        self.stream.write_all(message).await.unwrap();
    }

    /// Returns the next reply in its frame.
    async fn answer(&mut self) -> Vec<u8> {
        let limit = Duration::from_secs(60);
        let bytes = tokio::time::timeout(limit, self.stream.read_u32()).await;
        let bytes = bytes.expect("an answer comes").expect("there is an answer");
        let mut message = vec![0; bytes as usize];
        self.stream.read_exact(&mut message).await.unwrap();
        message
    }

    async fn call(&mut self, message: &[u8]) -> Vec<u8> {
        self.send(message).await;
        self.answer().await
    }

    /// Calls `appendBatch` with these bodies.
    async fn append(&mut self, bodies: &[&str]) -> Status {
        let answered = self.call(&call(bodies, 7)).await;
        match answer(Protocol::Compact, 7, &answered).unwrap() {
            Answer::Status(status) => status.unwrap(),
            Answer::Exception { text, .. } => panic!("{text}"),
        }
    }

    /// Repeats a call until it gets this status.
    async fn append_until(&mut self, status: Status, body: &str) {
        for _ in 0..500 {
            if self.append(&[body]).await == status {
                return;
            }
        }
        panic!("it is never answered {status:?}");
    }

    /// Returns true if the source closes the connection without a reply.
    async fn is_closed(&mut self) -> bool {
        self.stream.read(&mut [0; 1]).await.unwrap_or(0) == 0
    }
}

fn call(bodies: &[&str], sequence: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    bodies.iter().for_each(|body| builder.push(body.as_bytes(), &[("k", "v")]));
    let mut events = Events::new(Protocol::Compact);
    assert!(builder.finish().iter().all(|event| events.push(&event, usize::MAX)));
    events.call(sequence).split_off(4)
}

/// Returns a call of Flume's client, with this type and sequence number in place of `CALL` and 1.
fn append(kind: u8, sequence: u8) -> Vec<u8> {
    let mut message = message("compact-append");
    (message[1], message[2]) = (kind << 5 | 1, sequence);
    message
}

#[tokio::test]
async fn answers_ok_after_the_channels_stored_the_events() {
    for protocol in [Protocol::Compact, Protocol::Binary] {
        let channels = Arc::new(Channels::new(2));
        let name = json!(protocol).as_str().unwrap().to_owned();
        let fixture = Running::start::<Config>(json!({ "protocol": name }), channels.clone()).await;
        let mut client = connect(&fixture).await;
        for (what, events) in [("append", 1), ("batch", 3), ("many", 23), ("empty", 23)] {
            let sent = message(&format!("{name}-{what}"));
            let head = formats::thrift::head(protocol, &sent).unwrap();
            let expected = formats::thrift::status(protocol, &head, Status::Ok);
            assert_eq!(client.call(&sent).await, expected[4..], "{name} {what}");
            assert_eq!(channels.events(1).len(), events, "{name} {what}");
        }
        let events = channels.events(0);
        assert_eq!(events[1].headers.get("ü").map(String::as_str), Some("ß"));
        assert_eq!((&*events[2].body, events[2].headers.len()), ("", 0));
        assert_eq!(events[22].body, "line\n19");
        assert_eq!(channels.puts(0), 3, "a call is one batch");
    }
}

#[tokio::test]
async fn an_answer_has_the_number_of_its_call_and_a_oneway_call_has_none() {
    let channels = Arc::new(Channels::new(1));
    let fixture = Running::start::<Config>(json!({}), channels.clone()).await;
    let mut client = connect(&fixture).await;
    client.send(&append(4, 1)).await;
    client.send(&append(1, 2)).await;
    let expected = Head { name: "append".into(), kind: Kind::Reply, sequence: 2 };
    let answered = client.answer().await;
    assert_eq!(formats::thrift::head(Protocol::Compact, &answered), Ok(expected));
    assert_eq!(channels.events(0).len(), 2);
    // An unknown method gets an exception, with the number of its call, unless it is `oneway`.
    let unknown = message("compact-unknown");
    let mut oneway = unknown.clone();
    oneway[1] = 0x81;
    client.send(&oneway).await;
    assert_eq!(client.call(&unknown).await, message("compact-exception"));
}

#[tokio::test]
async fn a_call_that_cannot_be_read_has_an_exception_and_the_connection_goes_on() {
    let channels = Arc::new(Channels::new(1));
    let fixture = Running::start::<Config>(json!({}), channels.clone()).await;
    let mut client = connect(&fixture).await;
    let good = call(&["one", "two"], 7);
    let mut no_text = good.clone();
    let at = no_text.windows(3).position(|window| window == b"\x01k\x01").unwrap();
    no_text[at + 1] = 0xff;
    let reply = [&[0x82, 0x41], &good[2..]].concat();
    for (sent, fault) in [
        (&good[..good.len() - 4], Fault::ProtocolError),
        (&no_text[..], Fault::ProtocolError),
        (&reply[..], Fault::InvalidMessageType),
    ] {
        let answered = client.call(sent).await;
        let Ok(Answer::Exception { number, text }) = answer(Protocol::Compact, 7, &answered) else {
            panic!("an exception");
        };
        assert!(number == fault as i32 && !text.is_empty(), "{number} {text}");
    }
    assert!(channels.bodies(0).is_empty(), "all of a call or nothing");
    assert_eq!(client.append(&["good"]).await, Status::Ok);
    assert_eq!(channels.bodies(0), ["good"]);
}

#[tokio::test]
async fn an_invalid_frame_closes_only_its_connection() {
    let channels = Arc::new(Channels::new(1));
    let fixture = Running::start::<Config>(json!({ "frame_max": "64KiB" }), channels.clone()).await;
    let mut other = connect(&fixture).await;
    let whole = append(1, 1);
    let binary = message("binary-append");
    let framed = [&(binary.len() as u32).to_be_bytes()[..], &binary].concat();
    for sent in [
        &b"\x7f\xff\xff\xff and no more"[..],
        b"\xff\xff\xff\xff",
        b"\0\x01\0\x01\x82",
        b"\0\0\0\0",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        &whole,
        &framed,
    ] {
        let mut client = connect(&fixture).await;
        client.stream.write_all(sent).await.unwrap();
        assert!(client.is_closed().await, "{}", sent.escape_ascii());
    }
    assert_eq!(other.append(&["x"]).await, Status::Ok);
    assert_eq!(channels.bodies(0), ["x"]);
}

/// An intake that rejects every batch as too large.
struct TooSmall;

#[async_trait]
impl Intake for TooSmall {
    async fn accept(&self, _batch: pipeline::Batch) -> Result<(), IntakeError> {
        unreachable!("a source reserves first")
    }

    async fn reserve(&self, size: BatchSize) -> Result<Box<dyn Permit + '_>, IntakeError> {
        let channel = "c".into();
        Err(ChannelError::TooLarge { channel, size_bytes: size.bytes, capacity_bytes: 1 }.into())
    }
}

#[tokio::test]
async fn answers_unknown_for_uncertain_and_error_for_impossible_events() {
    let channels = Arc::new(Channels::new(1));
    channels.refuse(0, 1);
    let fixture = Running::start::<Config>(json!({}), channels.clone()).await;
    let mut client = connect(&fixture).await;
    assert_eq!(client.append(&["x"]).await, Status::Unknown);
    assert_eq!(client.append(&["y"]).await, Status::Ok);
    assert_eq!(channels.bodies(0), ["y"]);

    let fixture = Running::start::<Config>(json!({}), Arc::new(TooSmall)).await;
    assert_eq!(connect(&fixture).await.append(&["x"]).await, Status::Error);
}

/// Sends a batch, closes the connection while the batch waits for room, then provides the room.
async fn lose(fixture: &Running, narrow: &Narrow, batch: &[&str]) {
    let mut client = connect(fixture).await;
    narrow.give(1);
    assert_eq!(client.append(&["first"]).await, Status::Ok);
    let waiting = narrow.asked();
    client.send(&call(batch, 1)).await;
    narrow.wait_for_waiting(waiting + 1).await;
    drop(client);
    // The runtime polls its sockets while it sleeps, and notices the end.
    tokio::time::sleep(Duration::from_millis(20)).await;
    narrow.give(1);
}

#[tokio::test]
async fn a_oneway_call_is_no_repeat_and_uses_none_up() {
    let (channels, narrow, fixture) = Running::without_room::<Config>(json!({})).await;
    lose(&fixture, &narrow, &["a", "b"]).await;
    channels.wait_for_events(3).await;
    let mut client = connect(&fixture).await;
    // The type of the message is in the three high bits: a call is 1, a oneway call 4.
    let mut oneway = call(&["a", "b"], 7);
    oneway[1] = oneway[1] & 0x1f | 4 << 5;
    narrow.give(1);
    client.send(&oneway).await;
    channels.wait_for_events(5).await;
    assert_eq!(client.append(&["a", "b"]).await, Status::Ok, "there is no room for it");
    assert_eq!(channels.events(0).len(), 5);
    fixture.stop().await;
}

#[tokio::test]
async fn with_the_window_at_zero_every_call_is_stored() {
    let settings = json!({ "repeat_window": "0s" });
    let (channels, narrow, fixture) = Running::without_room::<Config>(settings).await;
    lose(&fixture, &narrow, &["a", "b"]).await;
    channels.wait_for_events(3).await;
    narrow.give(1);
    assert_eq!(connect(&fixture).await.append(&["a", "b"]).await, Status::Ok);
    assert_eq!(channels.bodies(0), ["first", "a", "b", "a", "b"]);
    fixture.stop().await;
}

#[tokio::test]
async fn a_slow_frame_and_an_idle_connection_are_cut_off() {
    let channels = Arc::new(Channels::new(1));
    let settings = json!({ "frame_timeout": "50ms", "idle_timeout": "60s" });
    let fixture = Running::start::<Config>(settings, channels.clone()).await;
    let mut slow = connect(&fixture).await;
    slow.stream.write_all(b"\0\0\x01").await.unwrap();
    assert!(slow.is_closed().await);

    let settings = json!({ "frame_timeout": "60s", "idle_timeout": "50ms" });
    let fixture = Running::start::<Config>(settings, channels).await;
    assert!(connect(&fixture).await.is_closed().await);
}

#[tokio::test]
async fn a_client_that_announces_much_and_sends_little_holds_little_memory() {
    let channels = Arc::new(Channels::new(1));
    let settings = json!({ "frame_max": "1MiB", "in_flight_max": "1MiB", "wait_max": "1s" });
    let fixture = Running::start::<Config>(settings, channels.clone()).await;
    let large = "x".repeat(300 << 10);
    let mut client = connect(&fixture).await;
    let mut slow = Vec::new();
    while slow.len() < 16 {
        let mut one = connect(&fixture).await;
        one.stream.write_u32(1 << 20).await.unwrap();
        // The head of a call, and as much as is read before memory is reserved.
        one.stream.write_all(&[&append(1, 1)[..], &[0; 300]].concat()).await.unwrap();
        slow.push(one);
        if slow.len() == 8 {
            assert_eq!(client.append(&[&large]).await, Status::Ok, "8 hold a half of it");
        }
    }
    // Once all of them are read they use all of the memory.
    client.append_until(Status::Failed, &large).await;
    drop(slow);
    client.append_until(Status::Ok, &large).await;
}

#[tokio::test]
async fn accepts_the_largest_call_as_batches_that_the_next_agents_accept() {
    let channels = Arc::new(Channels::new(1));
    channels.agree(64 << 10);
    let settings = json!({ "frame_max": "1MiB", "in_flight_max": "1MiB" });
    let fixture = Running::start::<Config>(settings, channels.clone()).await;
    let body = "x".repeat(996);
    let many = vec![&*body; 1_040];
    let call = call(&many, 7);
    assert!((1_020 << 10..=1 << 20).contains(&call.len()), "{}", call.len());
    let answered = connect(&fixture).await.call(&call).await;
    let status = answer(Protocol::Compact, 7, &answered);
    assert_eq!(status, Ok(Answer::Status(Ok(Status::Ok))));
    assert_eq!(channels.bodies(0), many);
    assert!(channels.agree(64 << 10) <= 64 << 10 && channels.puts(0) > 16);
}

#[test]
fn settings_that_can_never_work_are_named() {
    let cx = crate::alone("in", Path::new("unused"), env::real());
    for (settings, named) in [
        (json!({ "listen": "4141" }), "listen"),
        (json!({ "listen": "0.0.0.0:0", "protocol": "json" }), "protocol"),
        (json!({ "listen": "0.0.0.0:0", "frame_max": "0B" }), "frame_max"),
        (json!({ "listen": "0.0.0.0:0", "in_flight_max": "1MiB" }), "in_flight_max"),
        (json!({ "listen": "0.0.0.0:0", "connections_max": 0 }), "connections_max"),
    ] {
        let error = build::<Config>(&settings, &cx).err().unwrap();
        assert_eq!(error.path, named, "{error}");
    }
}
