//! The response determines the fate of a batch; connections are reused.
//!
//! Method: a real listener on loopback with prepared responses, and the sink as a configuration
//! builds it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use kit::testkit::sinks;
use pipeline::testkit::build;
use pipeline::{BatchBuilder, Outcome, Taken};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::*;

/// Answers each request with the status that its body requests by `STATUS:…`, else 204.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let (address, connections) = sinks::server(move |it| answer(it, seen.clone())).await;
        Self { address, requests, connections }
    }

    fn sink(&self, mut settings: Value) -> Box<dyn Sink> {
        settings["url"] = json!(format!("http://{}/in?x=1", self.address));
        let cx = crate::alone("hook", std::path::Path::new("unused"), env::real());
        build::<Config>(&settings, &cx).unwrap()
    }
}

async fn answer(mut stream: Box<dyn pipeline::env::Stream>, seen: Arc<Mutex<Vec<String>>>) {
    while let Some((head, body)) = sinks::http_request(&mut *stream).await {
        let status = body.split_once("STATUS:").map_or("204 No Content", |(_, rest)| &rest[..3]);
        let extra = if status == "429" { "retry-after: 7\r\n" } else { "" };
        let answer = format!("HTTP/1.1 {status} X\r\n{extra}content-length: 5\r\n\r\nno:\n\x1b");
        let answer = if status.starts_with("204") {
            "HTTP/1.1 204 No Content\r\n\r\n".to_owned()
        } else {
            answer
        };
        seen.lock().unwrap().push(format!("{head}\r\n\r\n{body}"));
        if status == "999" {
            return; // breaks the connection without an answer
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

async fn outcome(sink: &mut dyn Sink, bodies: &[&str]) -> Outcome {
    sinks::outcome(sink, Batch::of(bodies)).await
}

#[tokio::test]
async fn a_batch_is_one_request_with_the_events_as_lines_of_json() {
    let server = Server::start().await;
    let mut sink = server.sink(json!({ "headers": { "x-team": "web" } }));
    let mut builder = BatchBuilder::default();
    builder.push(b"one", &[("host", "web-1")]);
    builder.push(b"two", &[("host", "web-1")]);
    sink.write(Taken { ticket: 1, batch: builder.finish() }).await.unwrap();
    assert!(matches!(sink.settled().await.outcome, Outcome::Delivered));
    let requests = server.requests.lock().unwrap().clone();
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /in?x=1 HTTP/1.1"), "{head}");
    for line in ["content-type: application/x-ndjson", "x-team: web"] {
        assert!(head.contains(line), "{head}");
    }
    assert!(head.contains(&format!("host: {}", server.address)), "{head}");
    let lines: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[1], json!({ "headers": { "host": "web-1" }, "body": "two" }));
}

#[tokio::test]
async fn a_secret_header_is_sent_and_never_shown() {
    let server = Server::start().await;
    let settings = json!({ "secret_headers": { "authorization": "Bearer hunter2" } });
    let mut sink = server.sink(settings.clone());
    let mut builder = BatchBuilder::default();
    builder.push(b"one", &[]);
    sink.write(Taken { ticket: 1, batch: builder.finish() }).await.unwrap();
    assert!(matches!(sink.settled().await.outcome, Outcome::Delivered));
    let requests = server.requests.lock().unwrap().clone();
    assert!(requests[0].contains("\r\nauthorization: Bearer hunter2\r\n"), "{requests:?}");

    let mut settings = settings;
    settings["url"] = json!("http://127.0.0.1:1/");
    let config: Config = pipeline::Settings::from_json(&settings).read().unwrap();
    let cx = crate::alone("hook", std::path::Path::new("unused"), env::real());
    let format = Format::new(&config.encoder, &config.codec, &cx).unwrap();
    let shown = format!("{config:?} {:?}", headers(&config, &format).unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");

    let open = json!({ "url": "http://127.0.0.1:1/", "headers": { "Authorization": "hunter2" } });
    let error = build::<Config>(&open, &cx).err().unwrap();
    assert_eq!(error.path, "headers.Authorization");
    assert!(error.problem.contains("`secret_headers`"), "{error}");
    assert!(!error.problem.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn the_status_decides_between_again_refused_and_set_up() {
    let server = Server::start().await;
    let mut sink = server.sink(json!({ "encoder": "text" }));
    for (status, class) in [
        ("500", ErrorClass::Transient),
        ("503", ErrorClass::Transient),
        ("408", ErrorClass::Transient),
        ("401", ErrorClass::Blocked),
        ("403", ErrorClass::Blocked),
        ("404", ErrorClass::Blocked),
        ("405", ErrorClass::Blocked),
        ("407", ErrorClass::Blocked),
        ("302", ErrorClass::Blocked),
        ("999", ErrorClass::Indeterminate),
    ] {
        let body = format!("STATUS:{status}");
        let Outcome::Again(Some(error)) = outcome(&mut *sink, &[&body]).await else {
            panic!("{status} is tried again")
        };
        assert_eq!(error.class, class, "{status}: {error}");
    }
    for status in ["400", "413", "422"] {
        let body = format!("STATUS:{status}");
        let Outcome::Refused(letter) = outcome(&mut *sink, &["good", &body]).await else {
            panic!("{status} is refused")
        };
        assert!(letter.whole && letter.detail.contains(status), "{}", letter.detail);
        assert!(!letter.detail.contains(['\n', '\x1b']), "{}", letter.detail);
    }
}

#[tokio::test]
async fn a_server_that_is_busy_says_when_to_come_again() {
    let server = Server::start().await;
    let mut sink = server.sink(json!({ "encoder": "text" }));
    let Outcome::Again(Some(error)) = outcome(&mut *sink, &["STATUS:429"]).await else {
        panic!("it is tried again")
    };
    assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn with_requests_of_single_events_one_bad_event_goes_alone() {
    let server = Server::start().await;
    let mut sink = server.sink(json!({ "encoder": "text", "events_max": 1 }));
    let Outcome::Refused(letter) = outcome(&mut *sink, &["a", "STATUS:400", "b"]).await else {
        panic!("one event is refused")
    };
    assert!(!letter.whole);
    assert_eq!(letter.events.iter().next().unwrap().body(), b"STATUS:400");
    assert!(matches!(sink.settled().await.outcome, Outcome::Delivered));
    assert_eq!(server.requests.lock().unwrap().len(), 3);
}

/// Such an event would be split, or stop the sink.
#[tokio::test]
async fn refuses_an_unwritable_event_and_delivers_its_neighbours() {
    let server = Server::start().await;
    let schema = r#"{ "type": "record", "name": "R", "fields": [{ "name": "n", "type": "int" }] }"#;
    let encoder = json!({ "type": "avro_schema", "schema": schema, "registry_id": 7 });
    let mut sink = server.sink(json!({ "encoder": encoder, "events_max": 2 }));
    let good = "\0\0\0\0\x07\x02";
    let bodies = [good, "x", "y", "z", good];
    let Outcome::Refused(letter) = outcome(&mut *sink, &bodies).await else {
        panic!("three events are refused")
    };
    assert_eq!((letter.whole, letter.reason), (false, "unwritable_event"));
    let bodies: Vec<&[u8]> = letter.events.iter().map(|event| event.body()).collect();
    assert_eq!(bodies, [b"x", b"y", b"z"]);
    assert!(matches!(sink.settled().await.outcome, Outcome::Delivered));
    assert_eq!(server.requests.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_connection_serves_many_batches() {
    let server = Server::start().await;
    let mut sink = server.sink(json!({}));
    for _ in 0..20 {
        assert!(matches!(outcome(&mut *sink, &["x"]).await, Outcome::Delivered));
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_server_that_is_away_is_named() {
    let cx = crate::alone("hook", std::path::Path::new("unused"), env::real());
    let mut sink = build::<Config>(&json!({ "url": "http://127.0.0.1:1/" }), &cx).unwrap();
    let Outcome::Again(Some(error)) = outcome(&mut *sink, &["x"]).await else { panic!("again") };
    assert!(error.to_string().contains("cannot connect to 127.0.0.1:1"), "{error}");
}

#[test]
fn a_wrong_url_is_refused_with_what_helps() {
    let cx = crate::alone("hook", std::path::Path::new("unused"), env::real());
    for (url, hint) in [
        ("127.0.0.1:80", "http://"),
        ("ftp://h/", "https://"),
        ("/only/a/path", "http://"),
        ("http:// /", "http://host"),
        ("http://user:hunter2@h/", "`secret_headers`"),
    ] {
        let error = build::<Config>(&json!({ "url": url }), &cx).err().unwrap();
        assert_eq!(error.path, "url", "{error}");
        assert!(error.problem.contains(hint), "{url}: {error}");
        assert!(!error.problem.contains("hunter2"), "{url}: {error}");
    }
}
