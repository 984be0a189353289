//! The responses are correct: success means stored; a full channel means not stored, with a retry
//! delay; requests that can never be accepted are not retried.
//!
//! Method: source and sink as built from a configuration, on loopback, with a test channel that
//! accepts events or has no space.

use std::path::Path;

use kit::testkit::kept::Kept;
use kit::testkit::running;
use pipeline::testkit::build;
use pipeline::{Batch, BuildContext, Outcome, Sink, Taken};
use prost::Message;
use serde_json::{Value, json};
use support::loopback::free_address;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

struct Running {
    source: running::Running,
    kept: Arc<Kept>,
}

fn context() -> BuildContext {
    BuildContext::alone("in", Path::new("unused"), env::real())
}

impl Running {
    async fn start(settings: Value) -> Self {
        let (address, kept) = (free_address().to_string(), Arc::new(Kept::new(100_000)));
        let listen = json!([address]);
        let source = running::Running::start_at::<Config>(address, settings, listen, kept.clone());
        Self { source: source.await, kept }
    }

    /// Sends a request over HTTP/1.1; returns the status and the whole response.
    async fn request(&self, head: &str, content_type: &str, body: &[u8]) -> (u16, String) {
        let mut stream = self.source.connect().await;
        let length = body.len();
        let head = format!(
            "{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {content_type}\r\n\
             content-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        (answer[9..12].parse().unwrap(), answer)
    }

    async fn logs(&self, json: &Value) -> (u16, String) {
        self.request("POST /v1/logs", "application/json", json.to_string().as_bytes()).await
    }

    /// Returns the result of a batch in a sink with these settings.
    async fn delivered(&self, more: &Value, batch: Batch) -> Outcome {
        let mut settings = json!({ "url": format!("http://{}", self.source.address) });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut sink: Box<dyn Sink> = build::<crate::sink::Config>(&settings, &context()).unwrap();
        sink.write(Taken { ticket: 1, batch }).await.unwrap();
        sink.settled().await.outcome
    }

    fn bodies(&self) -> Vec<String> {
        self.kept.bodies()
    }

    async fn stop(self) {
        self.source.stop().await;
    }
}

fn log(text: &str) -> Value {
    let record = json!({ "body": { "stringValue": text } });
    json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [record] }] }] })
}

/// Returns all ways from the sink to the source.
fn ways() -> Vec<Value> {
    let mut ways = Vec::new();
    for compression in ["gzip", "none"] {
        ways.push(json!({ "compression": compression }));
        for encoding in ["protobuf", "json"] {
            let protocol = "http";
            ways.push(
                json!({ "protocol": protocol, "encoding": encoding, "compression": compression }),
            );
        }
    }
    ways
}

#[tokio::test]
async fn the_sink_reaches_the_source_over_both_protocols_in_each_form() {
    let fixture = Running::start(json!({})).await;
    for way in ways() {
        let outcome = fixture.delivered(&way, Batch::of(["one", "two"])).await;
        assert!(matches!(outcome, Outcome::Delivered), "{way}: {outcome:?}");
    }
    assert_eq!(fixture.bodies(), ["one", "two"].repeat(ways().len()));
    fixture.stop().await;
}

#[tokio::test]
async fn a_full_channel_says_when_to_come_again_and_nothing_is_stored() {
    let settings = json!({ "wait_max": "50ms", "retry_after": "1500ms" });
    let fixture = Running::start(settings).await;
    fixture.kept.is_full.store(true, Ordering::SeqCst);
    let (status, answer) = fixture.logs(&log("x")).await;
    assert_eq!(status, 429, "{answer}");
    assert!(answer.contains("retry-after: 2\r\n"), "{answer}");
    assert!(answer.contains("\"retryDelay\":\"1.500s\""), "{answer}");
    for (way, millis) in ways().iter().zip([1500, 2000, 2000]) {
        let Outcome::Again(Some(error)) = fixture.delivered(way, Batch::of(["x"])).await else {
            panic!("{way}: it is tried again")
        };
        assert_eq!(error.retry_after, Some(Duration::from_millis(millis)), "{way}: {error}");
        assert_eq!(error.class, pipeline::ErrorClass::Transient);
    }
    assert!(fixture.bodies().is_empty());
    fixture.stop().await;
}

#[tokio::test]
async fn a_tenant_over_its_rate_gets_a_retry_time_and_over_its_size_none() {
    let tenants = json!({ "events_per_second": 1, "message_max": "20KiB" });
    let fixture = Running::start(json!({ "tenants": tenants })).await;
    let (status, answer) = fixture.logs(&log(&"x".repeat(30_000))).await;
    assert_eq!(status, 413, "{answer}");
    assert!(answer.contains("limit of 20480 bytes: raise `tenants.message_max`"), "{answer}");
    let outcome = fixture.delivered(&json!({}), Batch::of(["x"; 1_000])).await;
    assert!(matches!(outcome, Outcome::Delivered), "{outcome:?}");
    for way in ways() {
        let Outcome::Again(Some(error)) = fixture.delivered(&way, Batch::of(["y"])).await else {
            panic!("{way}: it is tried again")
        };
        // A thousand seconds of its rate, minus one that is available after a pause.
        let after = error.retry_after.map(|it| it.as_secs());
        assert!(after.is_some_and(|it| (900..=1_000).contains(&it)), "{way}: {after:?}, {error}");
        assert_eq!(error.class, pipeline::ErrorClass::Transient);
    }
    assert_eq!(fixture.bodies().len(), 1_000);
    fixture.stop().await;
}

#[tokio::test]
async fn a_head_of_60_kib_is_read_and_one_that_has_no_end_in_64_is_refused() {
    let fixture = Running::start(json!({})).await;
    let kind = format!("application/json\r\nx: {}", "x".repeat(60 << 10));
    let (status, answer) = fixture.request("POST /v1/logs", &kind, b"{}").await;
    assert_eq!(status, 200, "{answer}");
    let mut stream = env::real().net.connect(&fixture.source.address).await.unwrap();
    let mut head = "POST /v1/logs HTTP/1.1\r\nx: ".to_owned();
    head.push_str(&"x".repeat(HEAD_BYTES_MAX - head.len()));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    fixture.stop().await;
}

#[tokio::test]
async fn refuses_invalid_requests_permanently() {
    let fixture = Running::start(json!({ "body_max": "20KiB" })).await;
    let good = log("x").to_string();
    for (head, content_type, body, expected) in [
        ("POST /v1/logs", "application/json", "{", 400),
        ("POST /v1/logs", "application/x-protobuf", "\u{7f}", 400),
        ("POST /v1/log", "application/json", &good, 404),
        ("POST /", "application/grpc", &good, 200),
        ("GET /v1/logs", "application/json", &good, 405),
        ("POST /v1/logs", "text/plain", &good, 415),
        ("POST /v1/logs", "application/json", &log(&"x".repeat(30_000)).to_string(), 413),
        ("POST /v1/traces", "application/json; charset=utf-8", "{}", 200),
    ] {
        let (status, answer) = fixture.request(head, content_type, body.as_bytes()).await;
        assert_eq!(status, expected, "{head} {content_type}: {answer}");
        if content_type == "application/grpc" {
            assert!(answer.contains("grpc-status: 12"), "{answer}");
        }
    }
    assert!(fixture.bodies().is_empty());
    for way in ways() {
        // Incompressible bytes.
        let noise: String = (0..30_000u32)
            .map(|at| char::from(b' ' + (at.wrapping_mul(2_654_435_761) >> 16) as u8 % 90))
            .collect();
        let outcome = fixture.delivered(&way, Batch::of([noise])).await;
        assert!(matches!(outcome, Outcome::Refused(_)), "{way}: {outcome:?}");
    }
    fixture.stop().await;
}

#[tokio::test]
async fn counts_memory_of_empty_records_and_refuses_too_many() {
    let limits = json!({ "body_max": "1000KiB", "in_flight_max": "1000KiB" });
    let fixture = Running::start(limits).await;
    // A resource and a scope, with records without fields.
    let request = |records: usize| {
        let record = crate::proto::LogRecord::default();
        let scope =
            crate::proto::ScopeLogs { log_records: vec![record; records], ..Default::default() };
        let logs = crate::proto::ResourceLogs { scope_logs: vec![scope], ..Default::default() };
        crate::proto::ExportLogsServiceRequest { resource_logs: vec![logs] }.encode_to_vec()
    };
    let all = request(10_000);
    for _ in 0..2 {
        let (status, answer) =
            fixture.request("POST /v1/logs", "application/x-protobuf", &all).await;
        assert_eq!(status, 200, "it takes all of the memory, and gives it back: {answer}");
    }
    assert_eq!(fixture.bodies().len(), 20_000);
    let (status, answer) =
        fixture.request("POST /v1/logs", "application/x-protobuf", &request(20_000)).await;
    assert!(status == 413 && answer.contains("`in_flight_max`"), "{status}: {answer}");
    assert_eq!(fixture.bodies().len(), 20_000);
    fixture.stop().await;
}

#[tokio::test]
async fn rejects_only_the_large_record_of_a_request() {
    let fixture = Running::start(json!({})).await;
    let large = "x".repeat(200_000);
    for way in ways() {
        fixture.kept.batches.lock().unwrap().clear();
        let outcome = fixture.delivered(&way, Batch::of(["a", &large, "b"])).await;
        let Outcome::Refused(letter) = outcome else { panic!("{way}: {outcome:?}") };
        assert_eq!((letter.reason, letter.whole), ("partly_rejected", true), "{way}");
        assert!(letter.detail.contains("rejected 1 of 3"), "{}", letter.detail);
        assert_eq!(fixture.bodies(), ["a", "b"], "{way}");
        let mut alone = way.clone();
        alone["events_max"] = json!(1);
        let outcome = fixture.delivered(&alone, Batch::of(["a", &large, "b"])).await;
        let Outcome::Refused(letter) = outcome else { panic!("{way}: {outcome:?}") };
        assert_eq!((letter.events.len(), letter.whole), (1, false), "{way}");
    }
    fixture.stop().await;
}

#[tokio::test]
async fn both_protocols_go_through_tls_on_one_listener() {
    let material =
        |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../tls/tests/material").join(name);
    let identity = json!({ "keystore": material("keystore.jks"), "keystore_password": "changeit" });
    let fixture = Running::start(json!({ "tls": identity })).await;
    for mut way in ways() {
        way["url"] = json!(format!("https://{}", fixture.source.address));
        way["tls"] = json!({ "ca": material("ca.pem"), "server_name": "localhost" });
        let outcome = fixture.delivered(&way, Batch::of(["one"])).await;
        assert!(matches!(outcome, Outcome::Delivered), "{way}: {outcome:?}");
        way["tls"] = json!({ "ca": material("other-ca.pem"), "server_name": "localhost" });
        let outcome = fixture.delivered(&way, Batch::of(["one"])).await;
        assert!(matches!(outcome, Outcome::Again(_)), "{way}: {outcome:?}");
        way["url"] = json!(format!("http://{}", fixture.source.address));
        way.as_object_mut().unwrap().remove("tls");
        let outcome = fixture.delivered(&way, Batch::of(["one"])).await;
        assert!(matches!(outcome, Outcome::Again(_)), "{way}: {outcome:?}");
    }
    assert_eq!(fixture.bodies().len(), ways().len());
    fixture.stop().await;
}

/// Their length is unknown in advance, so each might need nearly all of the memory.
#[tokio::test]
async fn calls_that_wait_for_room_hold_no_more_memory_than_they_need() {
    let settings = json!({ "wait_max": "2s", "in_flight_max": "9MiB", "body_max": "8MiB" });
    let fixture = Running::start(settings).await;
    fixture.kept.is_full.store(true, Ordering::SeqCst);
    let way = json!({});
    let waiting = (0..3).map(|_| fixture.delivered(&way, Batch::of(["x"])));
    for outcome in futures::future::join_all(waiting).await {
        let Outcome::Again(Some(error)) = outcome else { panic!("{outcome:?}") };
        assert!(error.to_string().contains("a channel of this source is full"), "{error}");
    }
    fixture.stop().await;
}

#[test]
fn settings_that_cannot_work_are_named() {
    let listen = json!(["127.0.0.1:4317"]);
    for (more, path) in [
        (json!({ "listen": [] }), "listen"),
        (json!({ "listen": ["127.0.0.1:1", "4318"] }), "listen.1"),
        (json!({ "retry_after": "0s" }), "retry_after"),
        (json!({ "in_flight_max": "1KiB" }), "in_flight_max"),
        (json!({ "headers": { "otlp.x": "resource.a" } }), "headers.otlp.x"),
        (json!({ "headers": { "x": "service.name" } }), "headers.x"),
        (json!({ "headers": { "x": "resource." } }), "headers.x"),
    ] {
        let mut settings = json!({ "listen": listen });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let error = build::<Config>(&settings, &context()).err().unwrap();
        assert_eq!(error.path, path, "{error}");
    }
}

#[tokio::test]
async fn a_client_that_writes_first_receives_the_refusal() {
    let fixture = Running::start(json!({ "body_max": "20KiB" })).await;
    let large = vec![b'x'; 20 << 20];
    for (head, content_type, expected) in [
        ("POST /v1/logs", "application/json", 413),
        ("POST /v1/logs", "text/plain", 415),
        ("POST /v1/nothing", "application/x-protobuf", 404),
    ] {
        let (status, answer) = fixture.request(head, content_type, &large).await;
        assert_eq!(status, expected, "{answer}");
    }
    fixture.stop().await;
}
