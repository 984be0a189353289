//! The reply determines the fate of a batch; connections are reused.
//!
//! Method: a real listener on loopback that speaks the protocol with prepared replies, and the sink
//! as a configuration builds it.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;
use formats::avro::call::{Session, Step};
use formats::avro::coding::{Coding, is_zlib};
use formats::avro::events;
use formats::avro::frame::{self, Deframer};
use kit::testkit::sinks;
use pipeline::testkit::build;
use pipeline::{BatchBuilder, Outcome, Taken};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Replies to each call as the body of its first event requests: `FAILED`, `UNKNOWN`, `ERROR`,
/// `END` to close the connection, `SILENCE`, else OK.
struct Server {
    address: String,
    calls: Arc<Mutex<Vec<Batch>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let seen = calls.clone();
        let (address, connections) = sinks::server(move |it| serve(it, seen.clone())).await;
        Self { address, calls, connections }
    }

    fn sink(&self, mut settings: Value) -> Box<dyn Sink> {
        settings["address"] = json!(self.address);
        let cx = crate::alone("next", Path::new("unused"), env::real());
        build::<Config>(&settings, &cx).unwrap()
    }

    /// Returns the bodies of each call.
    fn calls(&self) -> Vec<Vec<String>> {
        let body =
            |event: pipeline::EventRef<'_>| String::from_utf8_lossy(event.body()).into_owned();
        self.calls.lock().unwrap().iter().map(|call| call.iter().map(body).collect()).collect()
    }
}

async fn serve(mut stream: Box<dyn pipeline::env::Stream>, seen: Arc<Mutex<Vec<Batch>>>) {
    let (mut coded, mut plain) = (BytesMut::new(), BytesMut::new());
    let (mut deframer, mut session) = (Deframer::new(1 << 20), Session::default());
    let mut coding = None;
    loop {
        if !matches!(stream.read_buf(&mut coded).await, Ok(1..)) {
            return;
        }
        let coding = coding.get_or_insert_with(|| Coding::of_server(is_zlib(coded[0])));
        while coding.decode(&mut coded, &mut plain, 1000).unwrap() {
            let Some(frame) = deframer.next(&mut plain).unwrap() else { continue };
            let answer = match session.read(&frame.payload) {
                Step::Append { answer, events } => {
                    let mut batch = BatchBuilder::default();
                    events::read(events, &mut batch).unwrap();
                    let batch = batch.finish();
                    let first = batch.iter().next().unwrap().body().to_vec();
                    seen.lock().unwrap().push(batch);
                    match &first[..] {
                        b"FAILED" => answer.status(Status::Failed),
                        b"UNKNOWN" => answer.status(Status::Unknown),
                        b"ERROR" => answer.error("no\u{1b} room"),
                        b"END" => return,
                        b"SILENCE" => continue,
                        b"NONSENSE" => vec![9],
                        _ => answer.status(Status::Ok),
                    }
                }
                Step::Answer(answer) => answer,
                Step::Refuse(malformed) => panic!("{malformed}"),
            };
            let frame = frame::write(frame.serial, &[&answer]);
            stream.write_all(&coding.encode(frame).unwrap()).await.unwrap();
        }
    }
}

async fn outcome(sink: &mut dyn Sink, bodies: &[&str]) -> Outcome {
    sinks::outcome(sink, Batch::of(bodies)).await
}

#[tokio::test]
async fn a_batch_goes_in_calls_of_the_size_that_is_set_over_one_connection() {
    for settings in [
        json!({ "events_max": 2 }),
        json!({ "events_max": 2, "compression": "deflate", "compression_level": 1 }),
    ] {
        let server = Server::start().await;
        let mut sink = server.sink(settings);
        let mut builder = BatchBuilder::default();
        builder.push(b"a\n\xff", &[("host", "web-1"), ("n", "1")]);
        builder.push(b"", &[]);
        builder.push(b"c", &[("n", "3")]);
        sink.write(Taken { ticket: 1, batch: builder.finish() }).await.unwrap();
        assert!(matches!(sink.settled().await.outcome, Outcome::Delivered));
        for _ in 0..5 {
            assert!(matches!(outcome(&mut *sink, &["x"]).await, Outcome::Delivered));
        }
        let sizes: Vec<usize> = server.calls().iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 1, 1, 1, 1, 1, 1]);
        let calls = server.calls.lock().unwrap();
        let first: Vec<_> = calls[0].iter().collect();
        assert_eq!((first[0].body(), first[0].header("host")), (&b"a\n\xff"[..], Some("web-1")));
        assert_eq!((first[1].body(), first[1].headers().count()), (&b""[..], 0));
        assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn classifies_failures_by_the_reply_and_reconnects() {
    let server = Server::start().await;
    let mut sink = server.sink(json!({ "timeout": "200ms" }));
    for (body, class, says) in [
        ("FAILED", ErrorClass::Transient, "answered FAILED"),
        ("UNKNOWN", ErrorClass::Indeterminate, "answered UNKNOWN"),
        ("ERROR", ErrorClass::Transient, "rejected the batch: no  room"),
        ("END", ErrorClass::Indeterminate, "before the response"),
        ("SILENCE", ErrorClass::Indeterminate, "within 200ms"),
        ("NONSENSE", ErrorClass::Blocked, "`compression`"),
    ] {
        let Outcome::Again(Some(error)) = outcome(&mut *sink, &[body]).await else {
            panic!("{body} is tried again")
        };
        assert_eq!(error.class, class, "{body}: {error}");
        assert!(error.to_string().contains(says), "{body}: {error}");
        assert!(matches!(outcome(&mut *sink, &["x"]).await, Outcome::Delivered), "{body}");
    }
}

#[tokio::test]
async fn a_connection_over_its_age_is_replaced() {
    let server = Server::start().await;
    let mut sink = server.sink(json!({ "reconnect_after": "1ms" }));
    for _ in 0..3 {
        assert!(matches!(outcome(&mut *sink, &["x"]).await, Outcome::Delivered));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(server.connections.load(Ordering::SeqCst) > 1);
}

#[tokio::test]
async fn a_server_that_is_away_is_named() {
    let cx = crate::alone("next", Path::new("unused"), env::real());
    let mut sink = build::<Config>(&json!({ "address": "127.0.0.1:1" }), &cx).unwrap();
    let Outcome::Again(Some(error)) = outcome(&mut *sink, &["x"]).await else { panic!("again") };
    assert!(error.to_string().contains("cannot connect to 127.0.0.1:1"), "{error}");
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let cx = crate::alone("next", Path::new("unused"), env::real());
    for (settings, path) in [
        (json!({ "address": "host" }), "address"),
        (json!({ "address": "h:1", "events_max": 0 }), "events_max"),
        (json!({ "address": "h:1", "in_flight_max": 0 }), "in_flight_max"),
        (json!({ "address": "h:1", "compression_level": 10 }), "compression_level"),
    ] {
        assert_eq!(build::<Config>(&settings, &cx).err().unwrap().path, path);
    }
}

/// Starts a server that sends these bytes repeatedly after the first call, until the client closes
/// the connection; returns how many bytes it could send.
async fn flood(bytes: &'static [u8], settings: &Value) -> (Outcome, usize) {
    let listener = env::real().net.listen("127.0.0.1:0").await.unwrap();
    let mut settings = settings.clone();
    settings["address"] = json!(listener.local_address());
    let flooding = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _call = stream.read(&mut [0; 4096]).await.unwrap();
        let (block, mut sent) = (bytes.repeat(64 << 10), 0);
        // Far more than the socket buffers hold.
        while sent < 256 << 20 {
            match stream.write(&block).await {
                Ok(bytes) => sent += bytes,
                Err(_) => break,
            }
        }
        sent
    });
    let cx = crate::alone("next", Path::new("unused"), env::real());
    let mut sink = build::<Config>(&settings, &cx).unwrap();
    let outcome = outcome(&mut *sink, &["x"]).await;
    (outcome, flooding.await.unwrap())
}

#[tokio::test]
async fn a_connection_is_closed_at_the_first_answer_to_another_call() {
    for bytes in [&[0; 8][..], &[0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0]] {
        let (outcome, sent) = flood(bytes, &json!({ "timeout": "30s" })).await;
        let Outcome::Again(Some(error)) = outcome else { panic!("the batch is sent again") };
        let problem = format!("{error:?}");
        assert!(problem.contains("instead of call 1"), "{problem}");
        assert!(sent < 32 << 20, "{sent} bytes were read");
    }
}
