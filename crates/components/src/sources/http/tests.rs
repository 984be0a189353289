//! Each status keeps its promise: after 200 the events are stored; after 503 they are not stored,
//! and never will be.
//!
//! Method: the source as a configuration builds it, on loopback, with a client that writes raw
//! bytes; channels in memory, and an intake whose room the test controls.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use kit::testkit::channels::Channels;
use kit::testkit::running::Running;
use pipeline::env::Stream;
use pipeline::testkit::build;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Sends a request on a new connection; returns the status and the whole response.
async fn request(to: &Running, head: &str, body: &[u8]) -> (u16, String) {
    let mut stream = to.connect().await;
    send(&mut *stream, head, body).await
}

async fn post(to: &Running, body: &str) -> u16 {
    request(to, "POST / HTTP/1.1", body.as_bytes()).await.0
}

async fn send(stream: &mut dyn Stream, head: &str, body: &[u8]) -> (u16, String) {
    let head = format!("{head}\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    loop {
        let mut piece = [0; 1024];
        let bytes = stream.read(&mut piece).await.unwrap();
        answer.extend_from_slice(&piece[..bytes]);
        let text = String::from_utf8_lossy(&answer).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert!(bytes > 0, "no answer: {text}");
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return (text[9..12].parse().unwrap(), text);
        }
    }
}

#[tokio::test]
async fn answers_200_after_all_channels_stored_the_events_in_order() {
    let channels = Arc::new(Channels::new(2));
    let fixture = Running::start::<Config>(json!({}), channels.clone()).await;
    let mut stream = fixture.connect().await;
    for n in 0..3 {
        let body = format!(r#"[{{"headers":{{"n":"{n}"}},"body":"a{n}"}},{{"body":"b{n}"}}]"#);
        let (status, answer) = send(&mut *stream, "POST /any HTTP/1.1", body.as_bytes()).await;
        assert_eq!(status, 200, "{answer}");
        assert!(answer.ends_with("\r\n\r\n"), "Flume answers without a body: {answer}");
    }
    assert_eq!(channels.bodies(0), ["a0", "b0", "a1", "b1", "a2", "b2"]);
    assert_eq!(channels.events(1).len(), 6);
    let event = &channels.events(0)[2];
    assert_eq!(event.headers.get("n").map(String::as_str), Some("1"), "{event:?}");
    assert_eq!(post(&fixture, "[]").await, 200);
}

#[tokio::test]
async fn plain_bodies_are_lines_or_one_event_and_the_query_gives_headers() {
    let channels = Arc::new(Channels::new(1));
    let settings = json!({ "decoder": "lines", "query_headers": true });
    let fixture = Running::start::<Config>(settings, channels.clone()).await;
    let (status, _) =
        request(&fixture, "PUT /?host=web+1&tier=a%2Fb HTTP/1.1", b"one\r\ntwo\n").await;
    assert_eq!(status, 200);
    assert_eq!(channels.bodies(0), ["one", "two"]);
    let headers = channels.events(0)[0].headers.clone();
    assert_eq!(headers, [("host".into(), "web 1".into()), ("tier".into(), "a/b".into())].into());

    let blobs = Arc::new(Channels::new(1));
    let fixture =
        Running::start::<Config>(json!({ "decoder": { "type": "blob" } }), blobs.clone()).await;
    assert_eq!(post(&fixture, "one\ntwo\n").await, 200);
    assert_eq!(blobs.bodies(0), ["one\ntwo\n"]);
}

#[tokio::test]
async fn compressed_bodies_are_read_within_their_limit() {
    let channels = Arc::new(Channels::new(1));
    let settings = json!({ "decoder": "lines", "body_max": "64KiB", "in_flight_max": "1MiB" });
    let fixture = Running::start::<Config>(settings, channels.clone()).await;
    let head = "POST / HTTP/1.1\r\ncontent-encoding: gzip";
    assert_eq!(request(&fixture, head, &gzip(b"one\ntwo")).await.0, 200);
    // A bomb: 10 MiB of zeros in 10 KiB.
    assert_eq!(request(&fixture, head, &gzip(&[0; 10 << 20])).await.0, 413);
    assert_eq!(request(&fixture, head, b"no gzip").await.0, 400);
    let head = "POST / HTTP/1.1\r\ncontent-encoding: br";
    assert_eq!(request(&fixture, head, b"x").await.0, 415);
    assert_eq!(channels.bodies(0), ["one", "two"]);
}

#[tokio::test]
async fn refuses_invalid_requests_with_the_reason_and_stores_nothing() {
    let channels = Arc::new(Channels::new(1));
    let settings = json!({ "body_max": "1KiB", "in_flight_max": "1MiB" });
    let fixture = Running::start::<Config>(settings, channels.clone()).await;
    let large = format!(r#"[{{"body":"{}"}}]"#, "x".repeat(2_000));
    for (head, body, status) in [
        ("POST / HTTP/1.1", "nonsense", 400),
        ("POST / HTTP/1.1", r#"[{"body":"ok"},{"body":7}]"#, 400),
        ("POST / HTTP/1.1\r\ncontent-type: text/json; charset=ebcdic", "[]", 400),
        ("POST / HTTP/1.1", large.as_str(), 413),
        ("GET / HTTP/1.1", "", 405),
        ("OPTIONS / HTTP/1.1", "", 405),
    ] {
        let (answered, text) = request(&fixture, head, body.as_bytes()).await;
        assert_eq!(answered, status, "{head}: {text}");
        assert!(text.split_once("\r\n\r\n").unwrap().1.len() > 5, "it says why: {text}");
    }
    assert!(channels.events(0).is_empty());
}

/// Writes the whole request before it reads the response, as many clients do.
async fn write_then_read(to: &Running, head: &str, body: &[u8]) -> String {
    let mut stream = to.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(b"\r\nhost: x\r\nconnection: close\r\n").await.unwrap();
    let is_chunked = head.contains("chunked");
    if is_chunked {
        stream.write_all(format!("\r\n{:x}\r\n", body.len()).as_bytes()).await.unwrap();
    } else {
        let length = format!("content-length: {}\r\n\r\n", body.len());
        stream.write_all(length.as_bytes()).await.unwrap();
    }
    for piece in body.chunks(64 << 10) {
        stream.write_all(piece).await.expect("the whole body is taken");
    }
    if is_chunked {
        stream.write_all(b"\r\n0\r\n\r\n").await.unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_client_that_writes_first_receives_the_refusal() {
    let channels = Arc::new(Channels::new(1));
    let settings = json!({ "body_max": "1KiB", "in_flight_max": "1MiB" });
    let fixture = Running::start::<Config>(settings, channels.clone()).await;
    let body = vec![b'x'; 20 << 20];
    for (head, status) in [
        ("POST / HTTP/1.1", 413),
        ("POST / HTTP/1.1\r\ntransfer-encoding: chunked", 413),
        ("DELETE / HTTP/1.1", 405),
        ("POST / HTTP/1.1\r\ncontent-encoding: br", 413),
        ("POST / HTTP/1.1\r\ncontent-encoding: br\r\ntransfer-encoding: chunked", 415),
    ] {
        let answer = write_then_read(&fixture, head, &body).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{head}: {answer}");
    }
    assert!(channels.events(0).is_empty());
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_refused_without_its_body() {
    let settings = json!({ "body_max": "1KiB", "in_flight_max": "1MiB" });
    let fixture = Running::start::<Config>(settings, Arc::new(Channels::new(1))).await;
    let mut stream = fixture.connect().await;
    let head = "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9999\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_body_that_never_ends_is_refused_after_a_bounded_time() {
    let settings = json!({ "body_max": "1KiB", "in_flight_max": "1MiB", "body_timeout": "1s" });
    let fixture = Running::start::<Config>(settings, Arc::new(Channels::new(1))).await;
    let stream = fixture.connect().await;
    let (mut reading, mut writing) = tokio::io::split(stream);
    writing
        .write_all(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    let writer = tokio::spawn(async move {
        let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
        while writing.write_all(chunk.as_bytes()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let mut answer = [0; 12];
    let read = tokio::time::timeout(Duration::from_secs(30), reading.read_exact(&mut answer)).await;
    read.expect("an answer").unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    writer.abort();
}

#[tokio::test]
async fn answers_503_in_time_for_a_full_channel_and_stores_nothing() {
    let settings = json!({ "wait_max": "50ms", "decoder": "blob" });
    let (channels, narrow, fixture) = Running::without_room::<Config>(settings).await;
    let (status, text) = request(&fixture, "POST / HTTP/1.1", b"too early").await;
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("retry-after: 1"), "{text}");
    narrow.give(1);
    assert_eq!(post(&fixture, "in time").await, 200);
    narrow.give(5);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(channels.bodies(0), ["in time"]);
}

#[tokio::test]
async fn a_channel_that_fails_is_answered_500() {
    let channels = Arc::new(Channels::new(1));
    channels.refuse(0, 1);
    let fixture = Running::start::<Config>(json!({ "decoder": "blob" }), channels.clone()).await;
    assert_eq!(post(&fixture, "x").await, 500);
    assert_eq!(post(&fixture, "y").await, 200);
    assert_eq!(channels.bodies(0), ["y"]);
}

#[tokio::test]
async fn a_client_that_breaks_off_after_its_body_has_its_events_stored() {
    let (channels, narrow, fixture) =
        Running::without_room::<Config>(json!({ "decoder": "blob" })).await;
    let mut stream = fixture.connect().await;
    let head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx";
    stream.write_all(head).await.unwrap();
    narrow.wait_for_waiting(1).await;
    drop(stream);
    narrow.give(1);
    channels.wait_for_events(1).await;
}

#[tokio::test]
async fn a_head_of_60_kib_is_read_and_one_that_has_no_end_in_64_is_refused() {
    let channels = Arc::new(Channels::new(1));
    let fixture = Running::start::<Config>(json!({ "decoder": "blob" }), channels.clone()).await;
    let mut head = "POST / HTTP/1.1\r\nx: ".to_owned();
    head.push_str(&"x".repeat((60 << 10) - head.len()));
    assert_eq!(request(&fixture, &head, b"").await.0, 200);
    head.push_str(&"x".repeat(HEAD_BYTES_MAX - head.len()));
    let mut stream = fixture.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn a_stop_ends_idle_connections_and_the_port_is_free_again() {
    let channels = Arc::new(Channels::new(1));
    let fixture = Running::start::<Config>(json!({ "decoder": "blob" }), channels.clone()).await;
    let mut idle = fixture.connect().await;
    assert_eq!(send(&mut *idle, "POST / HTTP/1.1", b"x").await.0, 200);
    let address = fixture.address.clone();
    fixture.stop().await;
    assert_eq!(idle.read(&mut [0; 16]).await.unwrap_or(0), 0);
    assert!(env::real().net.listen(&address).await.is_ok());
}

#[test]
fn settings_that_can_never_work_are_named() {
    let cx = crate::alone("in", Path::new("unused"), env::real());
    for (settings, named) in [
        (json!({ "listen": "8080" }), "listen"),
        (json!({ "listen": "0.0.0.0:0", "decoder": "jsn" }), "decoder"),
        (json!({ "listen": "0.0.0.0:0", "decoder": { "type": "json", "x": 1 } }), "decoder.x"),
        (json!({ "listen": "0.0.0.0:0", "body_max": "0B" }), "body_max"),
        (json!({ "listen": "0.0.0.0:0", "in_flight_max": "1MiB" }), "in_flight_max"),
        (json!({ "listen": "0.0.0.0:0", "connections_max": 0 }), "connections_max"),
    ] {
        let error = build::<Config>(&settings, &cx).err().unwrap();
        assert_eq!(error.path, named, "{error}");
    }
}

#[tokio::test]
async fn a_tenant_over_its_rate_or_size_hears_so_and_nothing_of_it_is_stored() {
    let tenants = json!({ "events_per_second": 1, "message_max": "64B" });
    let settings = json!({ "decoder": "lines", "tenants": tenants });
    let channels = Arc::new(Channels::new(1));
    let fixture = Running::start::<Config>(settings, channels.clone()).await;
    let head = "POST / HTTP/1.1";
    let (status, answer) = request(&fixture, head, &[b'a'; 65]).await;
    assert_eq!(status, 413, "{answer}");
    assert!(answer.contains("limit of 64 bytes: raise `tenants.message_max`"), "{answer}");
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&[b'a'; 65]).unwrap();
    let gzip = "POST / HTTP/1.1\r\ncontent-encoding: gzip";
    let (status, answer) = request(&fixture, gzip, &packed.finish().unwrap()).await;
    assert_eq!(status, 413, "{answer}");
    assert!(answer.contains("`tenants.message_max`"), "{answer}");
    // Uses up half a minute of the rate, which delays later requests.
    assert_eq!(post(&fixture, &"a\n".repeat(30)).await, 200);
    let (status, answer) = request(&fixture, head, b"b\n").await;
    assert_eq!(status, 429, "{answer}");
    let seconds = answer.lines().find_map(|line| line.strip_prefix("retry-after: "));
    let seconds: u32 = seconds.and_then(|it| it.parse().ok()).expect("a time");
    assert!((1..30).contains(&seconds), "{answer}");
    assert!(answer.contains("exceeds its rate"), "{answer}");
    assert_eq!(channels.events(0).len(), 30);
    let counts = ["tenant_message", "tenant_rate"].map(|reason| fixture.counted(reason));
    assert_eq!(counts, [2, 1]);
    fixture.stop().await;
}

#[tokio::test]
async fn one_connection_too_many_is_refused_and_closed_and_the_others_go_on() {
    let settings = json!({ "tenants": { "connections_max": 1 } });
    let fixture = Running::start::<Config>(settings, Arc::new(Channels::new(1))).await;
    let (head, body) = ("POST / HTTP/1.1", &br#"[{"body":"a"}]"#[..]);
    let mut first = fixture.connect().await;
    assert_eq!(send(&mut *first, head, body).await.0, 200);
    let (status, answer) = request(&fixture, head, body).await;
    assert_eq!(status, 429, "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(answer.contains("`tenants.connections_max`"), "{answer}");
    assert_eq!(send(&mut *first, head, body).await.0, 200, "it has the place");
    drop(first);
    let taken = async { while request(&fixture, head, body).await.0 != 200 {} };
    tokio::time::timeout(Duration::from_secs(60), taken).await.expect("the place is free");
    fixture.stop().await;
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn events_larger_than_their_body_wait_for_memory_or_are_refused() {
    let body = format!("[{}{{}}]", "{},".repeat(300_000));
    let head = "POST / HTTP/1.1\r\ncontent-encoding: gzip";
    for (in_flight_max, expected) in [("1MiB", 413), ("8MiB", 200)] {
        let channels = Arc::new(Channels::new(1));
        let settings = json!({ "body_max": "1MiB", "in_flight_max": in_flight_max });
        let fixture = Running::start::<Config>(settings, channels.clone()).await;
        let (status, answer) = request(&fixture, head, &gzip(body.as_bytes())).await;
        assert_eq!(status, expected, "{answer}");
        assert!(status == 200 || answer.contains("decoded events need more memory"), "{answer}");
        let events = channels.events(0).len();
        assert_eq!(events, if status == 200 { 300_001 } else { 0 });
        // The memory is available again.
        assert_eq!(post(&fixture, "[]").await, 200);
        fixture.stop().await;
    }
}

#[tokio::test]
async fn refuses_headers_by_their_memory_cost() {
    let channels = Arc::new(Channels::new(1));
    let fixture = Running::start::<Config>(json!({}), channels.clone()).await;
    let event = |from: usize| {
        let headers: Vec<String> = (from..from + 999).map(|n| format!(r#""{n}":"""#)).collect();
        format!(r#"{{"headers":{{{}}},"body":"x"}}"#, headers.join(","))
    };
    // Two sets of header names, so that no event has the names of the batch.
    let pair = format!("{},{}", event(0), event(1));
    let body = format!("[{}]", vec![pair; 200].join(","));
    let head = "POST / HTTP/1.1\r\ncontent-encoding: gzip";
    let packed = gzip(body.as_bytes());
    assert!(packed.len() < 64 << 10, "{}", packed.len());
    let (status, answer) = request(&fixture, head, &packed).await;
    assert_eq!(status, 413, "{answer}");
    assert!(answer.contains("too many different header names"), "{answer}");
    assert!(channels.events(0).is_empty());
    fixture.stop().await;
}
