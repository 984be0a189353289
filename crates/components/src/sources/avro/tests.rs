//! Each status keeps its promise: after OK the events are stored; after FAILED they are not, and
//! never will be; and a repetition after a lost reply is not stored twice, if it is recognised.
//!
//! Method: the source as a configuration builds it, on loopback, with a client that speaks or
//! violates the protocol; channels in memory, and an intake whose room the test controls.

use std::path::Path;

use bytes::BytesMut;
use formats::avro::call::Status;
use formats::avro::caller::{Caller, Reply};
use formats::avro::coding::Coding;
use formats::avro::datum::{put_event, put_long};
use formats::avro::frame::{self, Deframer};
use kit::testkit::channels::Channels;
use kit::testkit::narrow::Narrow;
use kit::testkit::running::Running;
use pipeline::env::Stream;
use pipeline::testkit::build;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

async fn connect(to: &Running, is_compressed: bool) -> Client {
    Client {
        stream: to.connect().await,
        coding: Coding::of_client(is_compressed, 6),
        coded: BytesMut::new(),
        plain: BytesMut::new(),
        deframer: Deframer::new(1 << 20),
        caller: Caller::default(),
        serial: 0,
    }
}

struct Client {
    stream: Box<dyn Stream>,
    coding: Coding,
    coded: BytesMut,
    plain: BytesMut,
    deframer: Deframer,
    caller: Caller,
    serial: u32,
}

/// Returns an array of events with these bodies, and their numbers as headers.
fn array(bodies: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_long(&mut bytes, bodies.len() as i64);
    for (n, body) in bodies.iter().enumerate() {
        put_event(&mut bytes, &[("n", &n.to_string())], body.as_bytes());
    }
    if !bodies.is_empty() {
        bytes.push(0);
    }
    bytes
}

impl Client {
    /// Sends a call without waiting for the reply.
    async fn send(&mut self, events: &[u8]) {
        self.serial += 1;
        let frame = frame::write(self.serial, &[&self.caller.begin(), events]);
        let coded = self.coding.encode(frame).unwrap();
        self.stream.write_all(&coded).await.unwrap();
    }

    /// Returns the next reply with its number; `None` when the connection ended.
    async fn answer(&mut self) -> Option<(u32, Reply)> {
        loop {
            while self.coding.decode(&mut self.coded, &mut self.plain, 99).unwrap() {
                if let Some(frame) = self.deframer.next(&mut self.plain).unwrap() {
                    return Some((frame.serial, self.caller.answer(&frame.payload).unwrap()));
                }
            }
            if !matches!(self.stream.read_buf(&mut self.coded).await, Ok(1..)) {
                return None;
            }
        }
    }

    async fn call(&mut self, bodies: &[&str]) -> Reply {
        self.send(&array(bodies)).await;
        let (serial, reply) = self.answer().await.expect("an answer");
        assert_eq!(serial, self.serial);
        reply
    }
}

const OK: Reply = Reply::Status(Status::Ok);
const FAILED: Reply = Reply::Status(Status::Failed);

#[tokio::test]
async fn answers_ok_after_the_channels_stored_events_and_headers_in_order() {
    for (settings, is_compressed) in [
        (json!({}), false),
        (json!({}), true),
        (json!({ "compression": "none" }), false),
        (json!({ "compression": "deflate" }), true),
    ] {
        let channels = Arc::new(Channels::new(2));
        let fixture = Running::start::<Config>(settings, channels.clone()).await;
        let mut client = connect(&fixture, is_compressed).await;
        assert_eq!(client.call(&["a", "b"]).await, OK);
        assert_eq!(client.call(&[]).await, OK);
        // Sent without waiting; the replies come in order.
        for n in 0..20 {
            client.send(&array(&[&format!("{n:02}")])).await;
        }
        for n in 4..24 {
            assert_eq!(client.answer().await, Some((n - 1, OK)));
        }
        assert_eq!(channels.events(1).len(), 22);
        let expected: Vec<String> = (0..20).map(|n| format!("{n:02}")).collect();
        assert_eq!(channels.bodies(0), [vec!["a".to_owned(), "b".to_owned()], expected].concat());
        assert_eq!(channels.events(0)[1].headers["n"], "1");
        fixture.stop().await;
    }
}

#[tokio::test]
async fn a_call_that_finds_no_room_fails_and_is_not_stored_later() {
    let (channels, narrow, fixture) =
        Running::without_room::<Config>(json!({ "wait_max": "20ms" })).await;
    let mut client = connect(&fixture, false).await;
    assert_eq!(client.call(&["a"]).await, FAILED);
    narrow.give(5);
    assert_eq!(client.call(&["b"]).await, OK);
    assert_eq!(channels.bodies(0), ["b"]);
    assert_eq!(fixture.counted("call_failed"), 1);
    channels.refuse(0, 1);
    assert_eq!(client.call(&["c"]).await, Reply::Status(Status::Unknown));
    fixture.stop().await;
}

/// Sends a batch, closes the connection while the batch waits for room, then provides the room.
async fn lose(fixture: &Running, narrow: &Narrow, batch: &[&str], is_compressed: bool) {
    let mut client = connect(fixture, is_compressed).await;
    narrow.give(1);
    assert_eq!(client.call(&["first"]).await, OK);
    let waiting = narrow.asked();
    client.send(&array(batch)).await;
    narrow.wait_for_waiting(waiting + 1).await;
    drop(client);
    // The runtime polls its sockets while it sleeps, and notices the end.
    tokio::time::sleep(Duration::from_millis(20)).await;
    narrow.give(1);
}

#[tokio::test]
async fn lost_replies_store_nothing_twice_and_equal_calls_are_stored() {
    let (channels, narrow, fixture) = Running::without_room::<Config>(json!({})).await;
    for round in 0..200 {
        // All rounds send the same events: only lost replies determine the repetitions.
        let before = channels.events(0).len();
        lose(&fixture, &narrow, &["a", "b"], round % 2 == 1).await;
        channels.wait_for_events(before + 3).await;
        let mut client = connect(&fixture, round % 2 == 1).await;
        // Without room, storing the events again would fail.
        let again: &[&str] = if round % 3 == 0 { &["a", "b", "c"] } else { &["a", "b"] };
        narrow.give(again.len() - 2);
        assert_eq!(client.call(again).await, OK, "round {round}");
        assert_eq!(channels.events(0).len(), before + 1 + again.len());
        // An intentional repetition, after a reply: it is stored.
        narrow.give(1);
        assert_eq!(client.call(&["a", "b"]).await, OK);
        assert_eq!(channels.events(0).len(), before + 3 + again.len());
    }
    assert_eq!(fixture.counted("repeated_events"), 400);
    fixture.stop().await;
}

#[tokio::test]
async fn with_the_window_at_zero_every_call_is_stored() {
    let (channels, narrow, fixture) =
        Running::without_room::<Config>(json!({ "repeat_window": "0s" })).await;
    lose(&fixture, &narrow, &["a", "b"], false).await;
    channels.wait_for_events(3).await;
    narrow.give(1);
    assert_eq!(connect(&fixture, false).await.call(&["a", "b"]).await, OK);
    assert_eq!(channels.bodies(0), ["first", "a", "b", "a", "b"]);
    fixture.stop().await;
}

#[tokio::test]
async fn a_call_that_cannot_be_read_is_an_error_and_the_connection_goes_on() {
    let channels = Arc::new(Channels::new(1));
    let fixture = Running::start::<Config>(json!({}), channels.clone()).await;
    let mut client = connect(&fixture, false).await;
    let mut batch = array(&["a", "b"]);
    batch.truncate(batch.len() - 2);
    client.send(&batch).await;
    let (_, reply) = client.answer().await.unwrap();
    assert!(matches!(reply, Reply::Error(text) if text.contains("a length is negative")));
    assert_eq!(client.call(&["c"]).await, OK);
    assert_eq!(channels.bodies(0), ["c"], "nothing of the damaged call");
    assert_eq!(fixture.counted("call_malformed"), 1);
    fixture.stop().await;
}

#[tokio::test]
async fn bytes_that_are_not_the_protocol_end_the_connection_and_are_counted() {
    let settings = json!({ "request_max": "1KiB", "request_timeout": "50ms" });
    let fixture = Running::start::<Config>(settings, Arc::new(Channels::new(1))).await;
    let huge = [0, 0, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff];
    let of_handshake = frame::write(1, &[&[7; 20]]);
    for (bytes, reason) in [
        (&huge[..], "call_too_large"),
        (b"GET / HTTP/1.1\r\n\r\n", "call_too_large"),
        (&of_handshake, "call_malformed"),
        (&[0x16, 3, 1, 0, 5], "call_malformed"),
        (&huge[..9], "call_too_slow"),
        (b"", "call_too_slow"),
    ] {
        let before = fixture.counted(reason);
        let mut client = connect(&fixture, false).await;
        client.stream.write_all(bytes).await.unwrap();
        assert_eq!(client.answer().await, None, "{bytes:02x?}");
        assert_eq!(fixture.counted(reason), before + 1, "{reason} {bytes:02x?}");
    }
    // The limit also applies to a compressed call of a kilobyte that expands to a gibibyte.
    let mut client = connect(&fixture, true).await;
    client.send(&vec![0; 1 << 20]).await;
    assert_eq!(client.answer().await, None);
    assert_eq!(fixture.counted("call_too_large"), 3);
    fixture.stop().await;
}

#[tokio::test]
async fn calls_in_part_hold_memory_up_to_the_budget_and_then_give_it_back() {
    let settings = json!({
        "request_max": "1MiB", "in_flight_max": "1MiB", "wait_max": "50ms",
        "request_timeout": "600s",
    });
    let fixture = Running::start::<Config>(settings, Arc::new(Channels::new(1))).await;
    let large = "x".repeat(700 << 10);
    let whole = frame::write(1, &[&Caller::default().begin(), &array(&[&large])]);
    let mut first = connect(&fixture, false).await;
    first.stream.write_all(&whole[..whole.len() - 1]).await.unwrap();
    let mut second = connect(&fixture, false).await;
    // The budget has room for one of them; either one may be closed.
    let _ = second.stream.write_all(&whole[..whole.len() - 1]).await;
    let ended = tokio::select! {
        ended = first.answer() => ended,
        ended = second.answer() => ended,
    };
    assert_eq!(ended, None);
    assert_eq!(fixture.counted("memory_full"), 1);
    drop((first, second));
    let mut third = connect(&fixture, false).await;
    assert_eq!(third.call(&[&large]).await, OK, "the memory is free again");
    fixture.stop().await;
}

#[tokio::test]
async fn a_host_that_a_rule_denies_is_not_served() {
    let settings = json!({ "ip_filter": ["deny:ip:127.0.0.0/8"] });
    let fixture = Running::start::<Config>(settings, Arc::new(Channels::new(1))).await;
    let mut client = connect(&fixture, false).await;
    assert_eq!(client.answer().await, None);
    assert_eq!(fixture.counted("address_refused"), 1);
    fixture.stop().await;
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let cx = crate::alone("in", Path::new("unused"), env::real());
    for (settings, path) in [
        (json!({ "listen": "nowhere" }), "listen"),
        (json!({ "listen": "h:1", "connections_max": 0 }), "connections_max"),
        (json!({ "listen": "h:1", "request_max": "2GiB" }), "request_max"),
        (json!({ "listen": "h:1", "in_flight_max": "1MiB" }), "in_flight_max"),
        (json!({ "listen": "h:1", "ip_filter": ["deny:ip:*", "all"] }), "ip_filter.1"),
    ] {
        assert_eq!(build::<Config>(&settings, &cx).err().unwrap().path, path);
    }
}

#[tokio::test]
async fn a_tenant_over_its_limits_gets_failed_and_nothing_is_stored() {
    let tenants = json!({ "events_per_second": 1, "connections_max": 1, "message_max": "8KiB" });
    let settings = json!({ "wait_max": "50ms", "tenants": tenants });
    let channels = Arc::new(Channels::new(1));
    let fixture = Running::start::<Config>(settings, channels.clone()).await;
    let mut client = connect(&fixture, false).await;
    // Uses up many seconds of the rate.
    assert_eq!(client.call(&["a"; 100]).await, OK);
    assert_eq!(client.call(&["b"]).await, FAILED);
    let mut second = connect(&fixture, false).await;
    second.send(&array(&["c"])).await;
    assert!(second.answer().await.is_none(), "one connection too many is closed");
    client.send(&array(&[&"x".repeat(9_000)])).await;
    assert!(client.answer().await.is_none(), "a call over its size ends the connection");
    assert_eq!(channels.events(0).len(), 100);
    let reasons = ["tenant_connections", "tenant_message", "tenant_rate"];
    assert_eq!(reasons.map(|reason| fixture.counted(reason)), [1, 1, 1]);
    fixture.stop().await;
}
