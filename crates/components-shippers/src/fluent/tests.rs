//! A reply means that every event is stored, and no chunk of a host is stored twice.

use std::sync::atomic::Ordering;

use rmp::encode as write;
use serde_json::json;

use super::*;
use crate::testing::Running;

/// Returns a message of one event `{"log": body}`; with a chunk it requests a reply.
fn message(body: &str, chunk: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    write::write_array_len(&mut out, if chunk.is_some() { 4 } else { 3 }).unwrap();
    write::write_str(&mut out, "web").unwrap();
    write::write_uint(&mut out, 1_700_000_000).unwrap();
    write::write_map_len(&mut out, 1).unwrap();
    write::write_str(&mut out, "log").unwrap();
    write::write_str(&mut out, body).unwrap();
    if let Some(chunk) = chunk {
        write::write_map_len(&mut out, 1).unwrap();
        write::write_str(&mut out, "chunk").unwrap();
        write::write_str(&mut out, chunk).unwrap();
    }
    out
}

/// Reply to the chunk `id-1`.
const ACKNOWLEDGED: &[u8] = b"\x81\xa3ack\xa4id-1";

#[tokio::test]
async fn answers_a_chunk_after_storing_it_and_stores_repeats_once() {
    let fixture = Running::start::<Config>(json!({ "body_field": "log" })).await;
    let mut client = fixture.connect().await;
    client.send(&[&message("a", Some("id-1"))[..], &[0xc0], &message("b", None)].concat()).await;
    assert_eq!(client.receive(ACKNOWLEDGED.len()).await, ACKNOWLEDGED);
    let mut again = fixture.connect().await;
    again.send(&message("a", Some("id-1"))).await;
    assert_eq!(again.receive(ACKNOWLEDGED.len()).await, ACKNOWLEDGED);
    assert_eq!(fixture.bodies(), ["a", "b"]);
    assert_eq!(fixture.counted("repeated_events"), 1);
    fixture.stop().await;
}

#[tokio::test]
async fn answers_a_repeated_chunk_only_when_there_is_room() {
    let fixture = Running::start::<Config>(json!({ "body_field": "log" })).await;
    fixture.kept.is_full.store(true, Ordering::SeqCst);
    let (mut first, mut second) = (fixture.connect().await, fixture.connect().await);
    let mut unasked = fixture.connect().await;
    unasked.send(&message("b", None)).await;
    for client in [&mut first, &mut second] {
        client.send(&message("a", Some("id-1"))).await;
        assert!(client.hears_nothing().await);
    }
    drop(unasked);
    fixture.kept.is_full.store(false, Ordering::SeqCst);
    for client in [&mut first, &mut second] {
        assert_eq!(client.receive(ACKNOWLEDGED.len()).await, ACKNOWLEDGED);
    }
    let mut bodies = fixture.bodies();
    bodies.sort();
    assert_eq!(bodies, ["a", "b"], "what nothing asks for is stored although its client is gone");
    fixture.stop().await;
}

#[tokio::test]
async fn a_refused_message_closes_its_connection_and_is_counted() {
    let login = json!({ "shared_key": "k" });
    let small = json!({ "message_max": "1KiB", "in_flight_max": "1KiB" });
    let unasked = json!({ "require_ack": true });
    for (settings, sent) in [
        (login, vec![0x91, 0x01]),
        (small, message(&"x".repeat(2000), None)),
        (unasked, message("a", None)),
        (json!({}), b"{\"a\": 1}".to_vec()),
    ] {
        let has_login = settings.get("shared_key").is_some();
        let fixture = Running::start::<Config>(settings).await;
        let mut client = fixture.connect().await;
        if has_login {
            assert!(client.receive(49).await.starts_with(b"\x92\xa4HELO"));
        }
        client.send(&sent).await;
        fixture.until_counted("message_refused").await;
        assert!(has_login || client.is_closed().await);
        assert!(fixture.bodies().is_empty());
        fixture.stop().await;
    }
}

#[tokio::test]
async fn records_that_take_more_memory_than_there_is_end_their_connection() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    // `[0, {}]`, which becomes an event of triple size.
    std::io::Write::write_all(&mut encoder, &[0x92, 0, 0x80].repeat(300_000)).unwrap();
    let packed = encoder.finish().unwrap();
    let after = message("after", None);
    let mut message = Vec::new();
    write::write_array_len(&mut message, 3).unwrap();
    write::write_str(&mut message, "web").unwrap();
    write::write_bin(&mut message, &packed).unwrap();
    write::write_map_len(&mut message, 1).unwrap();
    write::write_str(&mut message, "compressed").unwrap();
    write::write_str(&mut message, "gzip").unwrap();
    for (in_flight_max, events, refused) in [("1MiB", 0, 1), ("16MiB", 300_000, 0)] {
        let settings = json!({ "message_max": "1MiB", "in_flight_max": in_flight_max });
        let fixture = Running::start::<Config>(settings).await;
        let mut client = fixture.connect().await;
        client.send(&[&message[..], &after].concat()).await;
        let wait = async {
            while fixture.bodies().len() < events + 1 - refused as usize
                || fixture.counted("message_refused") < refused
            {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        let limit = std::time::Duration::from_secs(60);
        tokio::time::timeout(limit, wait).await.expect("it is stored or refused");
        assert_eq!(fixture.counted("message_refused"), refused);
        fixture.stop().await;
    }
}
