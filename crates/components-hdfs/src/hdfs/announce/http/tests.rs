//! The client against a scripted server.

use std::path::Path;

use complete::Receipt;
use serde_json::{Value, json};
use storage::memory::Memory;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::hdfs::tests::harness::Collector;

/// Reads a request; returns its head and its body.
async fn request(stream: &mut TcpStream) -> (String, Value) {
    let mut read = Vec::new();
    loop {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0, "the request is complete");
        let text = String::from_utf8_lossy(&read);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        if body.len() == length {
            return (head, serde_json::from_str(body).unwrap());
        }
    }
}

fn announcement() -> Announcement {
    let receipt = json!({
        "format": 1, "directory": "2027-01-15-08", "made_at_ms": 7, "ledger": "0", "entries": 5,
        "events": 9, "bytes": 90, "files": ["a"], "files_hash": "1", "hash": "2",
        "edges": [], "waived": [], "left": [],
    });
    let receipt = Receipt::parse(receipt.to_string().as_bytes()).unwrap();
    Announcement { receipt, late: Vec::new(), entry: None }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a scripted server")]
async fn events_are_posted_in_order_until_the_server_accepts_them() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let mut requests = Vec::new();
        for status in ["503 Unavailable\r\nretry-after: 7", "201 Created", "200 OK"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            requests.push(request(&mut stream).await);
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 4\r\n");
            let answer = format!("{answer}connection: close\r\n\r\ntext");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        requests
    });
    let collector = Collector::new(json!({
        "url": "file:///logs/%Y-%m-%d-%H",
        "complete": { "open_lineage": {
            "url": format!("http://{address}/api/v1/lineage"), "token": "secret-token",
        } },
    }));
    let sink = collector.sink(&Memory::new());
    let to = sink.settings.complete.as_ref().unwrap().recipients[0].to.clone();
    let error = to.announce(&sink.settings, &announcement()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("answered 503 Service Unavailable: text"), "{text}");
    assert!(error.is_of_receipt() && error.wait() == Duration::from_secs(7));
    to.announce(&sink.settings, &announcement()).await.unwrap();
    let requests = served.await.unwrap();
    let kinds = requests.iter().map(|(_, event)| event["eventType"].as_str().unwrap());
    assert_eq!(kinds.collect::<Vec<_>>(), ["START", "START", "COMPLETE"]);
    let (head, event) = &requests[2];
    assert!(head.starts_with("post /api/v1/lineage "), "{head}");
    assert!(head.contains("authorization: bearer secret-token"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    assert_eq!(event["job"], json!({ "namespace": "aqueduct", "name": "store" }));
    let output = &event["outputs"][0];
    assert_eq!((&output["namespace"], &output["name"]), (&json!("file"), &json!("/logs")));
    // Its listener is closed.
    let error = to.announce(&sink.settings, &announcement()).await.unwrap_err();
    assert!(!error.is_of_receipt(), "{error}");
}

#[test]
fn rejects_settings_with_which_no_event_arrives() {
    let cx = formats::alone("store", Path::new("/nowhere"), env::real());
    let store = StoreUrl::parse("s3://bucket/logs/%Y").unwrap();
    let built = |more: Value| {
        let mut all = json!({ "url": "http://h:5000/" });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let config: OpenLineageConfig = pipeline::Settings::from_json(&all).read().unwrap();
        config.recipient(&store, "/logs", &cx).map(drop)
    };
    built(json!({})).unwrap();
    for (more, setting) in [
        (json!({ "url": "h:5000" }), "url"),
        (json!({ "url": "http://u:p@h/" }), "url"),
        (json!({ "tls": {} }), "tls"),
        (json!({ "token": "a\nb" }), "token"),
        (json!({ "timeout": "0s" }), "timeout"),
        (json!({ "namespace": "" }), "namespace"),
        (json!({ "dataset": "" }), "dataset"),
    ] {
        let error = built(more.clone()).unwrap_err();
        assert_eq!(error.setting, format!("{PATH}.{setting}"), "{more}: {error}");
    }
}

#[test]
fn datasets_have_the_names_of_the_specification() {
    for (url, prefix, expected) in [
        ("file:///data/logs/%Y", "/data/logs", ("file", "/data/logs")),
        ("hdfs://nn:8020/logs/%Y", "/logs", ("hdfs://nn:8020", "/logs")),
        ("s3://bucket/logs/%Y", "/logs", ("s3://bucket", "logs")),
    ] {
        let store = StoreUrl::parse(url).unwrap();
        let named = (namespace_of(&store), dataset_of(&store, prefix));
        assert_eq!((&*named.0, &*named.1), expected, "{url}");
    }
}
