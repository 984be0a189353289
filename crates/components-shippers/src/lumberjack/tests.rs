//! A reply means that every event up to its number is stored, and repetitions after a lost reply
//! are stored once.

use std::io::Write;
use std::sync::atomic::Ordering;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::json;

use super::*;
use crate::testing::Running;

fn window(events: u32) -> Vec<u8> {
    [b"2W", &events.to_be_bytes()[..]].concat()
}

fn event(number: u32, text: &str) -> Vec<u8> {
    let json = json!({ "@timestamp": "2026-11-27T08:00:00Z", "message": text }).to_string();
    let length = json.len() as u32;
    [b"2J", &number.to_be_bytes()[..], &length.to_be_bytes(), json.as_bytes()].concat()
}

fn compressed(frames: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(frames).unwrap();
    let bytes = encoder.finish().unwrap();
    [b"2C", &(bytes.len() as u32).to_be_bytes()[..], &bytes].concat()
}

fn settings() -> serde_json::Value {
    json!({ "body_field": "message" })
}

#[tokio::test]
async fn a_window_is_answered_by_the_number_of_its_last_event_compressed_or_not() {
    let fixture = Running::start::<Config>(settings()).await;
    let mut client = fixture.connect().await;
    let plain = [window(2), event(1, "a"), event(2, "b")].concat();
    let packed = [window(3), compressed(&[event(3, "c"), event(4, "d")].concat()), event(5, "e")];
    client.send(&[plain, packed.concat()].concat()).await;
    assert_eq!(client.receive(12).await, b"2A\0\0\0\x022A\0\0\0\x05");
    client.send(b"1W\0\0\0\x011D\0\0\0\x06\0\0\0\x01\0\0\0\x07message\0\0\0\x01f").await;
    assert_eq!(client.receive(6).await, b"1A\0\0\0\x06");
    assert_eq!(fixture.bodies(), ["a", "b", "c", "d", "e", "f"]);
    fixture.stop().await;
}

#[tokio::test]
async fn sends_keep_alives_without_room_and_stores_nothing_after_a_close() {
    let fixture = Running::start::<Config>(settings()).await;
    fixture.kept.is_full.store(true, Ordering::SeqCst);
    let (mut client, mut gone) = (fixture.connect().await, fixture.connect().await);
    client.send(&[window(1), event(1, "a")].concat()).await;
    gone.send(&[window(1), event(1, "b")].concat()).await;
    assert!(client.hears_nothing().await);
    drop(gone);
    assert_eq!(client.receive(6).await, b"2A\0\0\0\0");
    fixture.kept.is_full.store(false, Ordering::SeqCst);
    let mut answer = client.receive(6).await;
    while answer == b"2A\0\0\0\0" {
        answer = client.receive(6).await;
    }
    assert_eq!(answer, b"2A\0\0\0\x01");
    assert_eq!(fixture.bodies(), ["a"]);
    fixture.stop().await;
}

#[tokio::test]
async fn a_tenant_over_its_rate_waits_and_over_other_limits_is_closed() {
    let mut settings = settings();
    settings["tenants"] =
        json!({ "events_per_second": 1, "connections_max": 2, "message_max": "100B" });
    let fixture = Running::start::<Config>(settings).await;
    let mut client = fixture.connect().await;
    // Uses up many seconds of the rate.
    let events = (1..=60).flat_map(|number| event(number, "a"));
    client.send(&window(60).into_iter().chain(events).collect::<Vec<_>>()).await;
    assert_eq!(client.receive(6).await, b"2A\0\0\0\x3c");
    client.send(&[window(1), event(1, "b")].concat()).await;
    fixture.until_counted("tenant_rate").await;
    let mut large = fixture.connect().await;
    large.send(&[window(1), event(1, &"c".repeat(100))].concat()).await;
    assert!(large.is_closed().await);
    fixture.until_counted("tenant_message").await;
    let (mut second, mut third) = (fixture.connect().await, fixture.connect().await);
    second.send(&window(1)).await;
    third.send(&window(1)).await;
    fixture.until_counted("tenant_connections").await;
    assert!(fixture.bodies().iter().all(|body| body == "a"), "nothing of what waits");
    fixture.stop().await;
}

#[tokio::test]
async fn events_whose_answer_was_lost_are_stored_once() {
    let fixture = Running::start::<Config>(settings()).await;
    fixture.kept.is_slow.store(true, Ordering::SeqCst);
    let mut lost = fixture.connect().await;
    lost.send(&[window(2), event(1, "a"), event(2, "b")].concat()).await;
    assert!(lost.hears_nothing().await);
    drop(lost);
    // The source notices the end before the events are stored.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    fixture.kept.is_slow.store(false, Ordering::SeqCst);
    let mut again = fixture.connect().await;
    while fixture.bodies().len() < 2 {
        tokio::task::yield_now().await;
    }
    let frames = [event(1, "a"), event(2, "b"), event(3, "c")].concat();
    again.send(&[window(3), frames].concat()).await;
    assert_eq!(again.receive(6).await, b"2A\0\0\0\x03");
    assert_eq!(fixture.bodies(), ["a", "b", "c"]);
    assert_eq!(fixture.counted("repeated_events"), 2);
    fixture.stop().await;
}

#[tokio::test]
async fn a_long_window_is_stored_and_answered_in_parts() {
    let fixture = Running::start::<Config>(settings()).await;
    let mut client = fixture.connect().await;
    let long = "x".repeat(600 << 10);
    let events: Vec<u8> = (1..=5).flat_map(|number| event(number, &long)).collect();
    client.send(&[window(5), events].concat()).await;
    let mut numbers = Vec::new();
    for _ in 0..3 {
        numbers.push(client.receive(6).await[5]);
    }
    assert_eq!(numbers, [2, 4, 5]);
    assert_eq!(fixture.bodies().len(), 5);
    fixture.stop().await;
}

#[tokio::test]
async fn an_invalid_message_closes_its_connection_and_is_counted() {
    let small = json!({ "message_max": "1KiB", "in_flight_max": "1KiB" });
    for (settings, sent) in [
        (json!({}), b"GET / HTTP/1.1".to_vec()),
        (json!({}), event(1, "without a window")),
        (json!({}), [window(1), b"2J\0\0\0\x01\0\0\0\x01[".to_vec()].concat()),
        (json!({}), [window(1), window(1)].concat()),
        (json!({}), [window(1), compressed(&window(1))].concat()),
        (small.clone(), [window(1), event(1, &"x".repeat(2000))].concat()),
        (
            small.clone(),
            [&b"1W\0\0\0\x011D\0\0\0\x01\0\0\0\x01\0\0\0\x01k\0\0\x07\xd0"[..], &[b'x'; 2000]]
                .concat(),
        ),
        (small, [window(1), compressed(&event(1, &"x".repeat(2000)))].concat()),
    ] {
        let fixture = Running::start::<Config>(settings).await;
        let mut client = fixture.connect().await;
        client.send(&sent).await;
        fixture.until_counted("message_refused").await;
        assert!(client.is_closed().await);
        assert!(fixture.bodies().is_empty());
        fixture.stop().await;
    }
}
