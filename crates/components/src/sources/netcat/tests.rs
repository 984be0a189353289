//! Lines of clients are stored in order and acknowledged, or refused; `netcat_udp` is tested here
//! too.
//!
//! Method: the source as a configuration builds it, on loopback, with raw sockets.

use std::path::Path;
use std::time::Duration;

use kit::testkit::channels::Channels;
use kit::testkit::narrow::Narrow;
use kit::testkit::running::Running;
use pipeline::env::Stream;
use pipeline::testkit::build;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UdpSocket;

use super::*;
use crate::sources::netcat_udp;

async fn connect(to: &Running) -> BufReader<Box<dyn Stream>> {
    BufReader::new(to.connect().await)
}

async fn answer(client: &mut BufReader<Box<dyn Stream>>) -> String {
    let mut line = String::new();
    client.read_line(&mut line).await.unwrap();
    line
}

#[tokio::test]
async fn each_line_is_stored_and_then_answered_whatever_it_holds() {
    let channels = Arc::new(Channels::new(1));
    let fixture =
        Running::start::<Config>(json!({ "client_header": "client" }), channels.clone()).await;
    let mut client = connect(&fixture).await;
    for (line, body) in
        [(&b"one\r\n"[..], "one"), (b"\n", ""), (b"\xff\0\x1b\n", "\u{fffd}\0\u{1b}")]
    {
        client.get_mut().write_all(line).await.unwrap();
        assert_eq!(answer(&mut client).await, "OK\n");
        assert_eq!(channels.bodies(0).last().unwrap(), body, "it is there before the answer");
    }
    client.get_mut().write_all(b"a\nb\nlast").await.unwrap();
    client.get_mut().shutdown().await.unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "OK\nOK\nOK\n");
    assert_eq!(channels.bodies(0)[3..], ["a", "b", "last"]);
    assert_eq!(channels.events(0)[5].headers["client"], "127.0.0.1");
    fixture.stop().await;
}

#[tokio::test]
async fn text_in_another_charset_becomes_utf_8_and_is_answered_in_it() {
    let channels = Arc::new(Channels::new(1));
    let settings = json!({ "charset": "UTF-16LE" });
    let fixture = Running::start::<Config>(settings, channels.clone()).await;
    let wide = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let mut client = connect(&fixture).await;
    let (first, second) = (wide("日本\n😀"), wide("\nlast"));
    // A character is divided.
    client.get_mut().write_all(&first[..first.len() - 3]).await.unwrap();
    let mut answer = [0; 6];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[..], wide("OK\n"));
    client.get_mut().write_all(&[&first[first.len() - 3..], &second].concat()).await.unwrap();
    client.get_mut().shutdown().await.unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, wide("OK\nOK\n"));
    assert_eq!(channels.bodies(0), ["日本", "😀", "last"]);
    let mut client = connect(&fixture).await;
    // A second half without the first.
    let text = [wide("kept\n"), vec![0, 0xdc], wide("lost\n")].concat();
    client.get_mut().write_all(&text).await.unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(
        rest,
        wide(
            "OK\nFAILED: the text is not in the `charset` of the source; correct the client or the \
             setting\n"
        )
    );
    assert_eq!(channels.bodies(0).last().unwrap(), "kept");
    assert_eq!(fixture.counted("invalid_text"), 1);
    fixture.stop().await;
}

#[tokio::test]
async fn reports_refused_events_and_keeps_the_connection() {
    let channels = Arc::new(Channels::new(1));
    let fixture = Running::start::<Config>(json!({}), channels.clone()).await;
    let mut client = connect(&fixture).await;
    channels.refuse(0, 1);
    client.get_mut().write_all(b"one\n").await.unwrap();
    let refused = answer(&mut client).await;
    assert!(refused.starts_with("FAILED: "), "{refused}");
    client.get_mut().write_all(b"one\n").await.unwrap();
    assert_eq!(answer(&mut client).await, "OK\n");
    assert_eq!(channels.bodies(0), ["one"]);
    assert_eq!(fixture.counted("lines_refused"), 1);
}

#[tokio::test]
async fn a_long_line_closes_an_answered_connection_or_is_cut() {
    let channels = Arc::new(Channels::new(1));
    let settings = json!({ "line_max": "4B" });
    let fixture = Running::start::<Config>(settings, channels.clone()).await;
    let mut client = connect(&fixture).await;
    // Without any line end: the line is too long before one arrives.
    client.get_mut().write_all(b"1234\n123456").await.unwrap();
    let mut answers = String::new();
    client.read_to_string(&mut answers).await.unwrap();
    assert_eq!(
        answers,
        "OK\nFAILED: the line is over `line_max` (4B); raise it, or shorten the line\n"
    );
    assert_eq!(fixture.counted("line_too_long"), 1);
    let settings = json!({ "line_max": "4B", "ack_every_event": false });
    let fixture = Running::start::<Config>(settings, channels.clone()).await;
    let mut client = connect(&fixture).await;
    client.get_mut().write_all(&b"x".repeat(1 << 20)).await.unwrap();
    client.get_mut().write_all(b"\nnext\n").await.unwrap();
    channels.wait_for_line("next").await;
    assert_eq!(channels.bodies(0), ["1234", "xxxx", "next"]);
    assert_eq!(channels.events(0)[1].headers["truncated"], "true");
    assert_eq!(fixture.counted("line_cut"), 1);
    drop(client.into_inner());
    fixture.stop().await;
}

#[tokio::test]
async fn a_tenant_over_its_rate_waits_and_over_other_limits_is_closed() {
    let tenants = json!({ "events_per_second": 1, "connections_max": 1, "message_max": "4B" });
    let channels = Arc::new(Channels::new(1));
    let fixture = Running::start::<Config>(json!({ "tenants": tenants }), channels.clone()).await;
    let mut client = connect(&fixture).await;
    // Uses up many seconds of the rate.
    client.get_mut().write_all("1234\n".repeat(50).as_bytes()).await.unwrap();
    for _ in 0..50 {
        assert_eq!(answer(&mut client).await, "OK\n");
    }
    client.get_mut().write_all(b"12345\n").await.unwrap();
    let waits = async {
        while fixture.counted("tenant_rate") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waits).await.expect("it is over its rate");
    let mut second = connect(&fixture).await;
    second.get_mut().write_all(b"1\n").await.unwrap();
    let refused = answer(&mut second).await;
    assert!(refused.starts_with("FAILED: `127.0.0.1` has 2 connections"), "{refused}");
    assert_eq!(answer(&mut second).await, "");
    assert_eq!(channels.events(0).len(), 50, "nothing of what waits");
    fixture.stop().await;
}

#[tokio::test]
async fn treats_the_line_limit_of_a_tenant_like_that_of_the_source() {
    let channels = Arc::new(Channels::new(1));
    let tenants = json!({ "message_max": "4B" });
    let settings = json!({ "tenants": tenants.clone() });
    let fixture = Running::start::<Config>(settings, channels.clone()).await;
    let mut client = connect(&fixture).await;
    client.get_mut().write_all(b"1234\n12345\n").await.unwrap();
    assert_eq!(answer(&mut client).await, "OK\n");
    let refused = answer(&mut client).await;
    assert!(
        refused.contains("exceeds its limit of 4 bytes: raise `tenants.message_max`"),
        "{refused}"
    );
    assert_eq!(answer(&mut client).await, "");
    assert_eq!(fixture.counted("tenant_message"), 1);
    let settings = json!({ "tenants": tenants, "ack_every_event": false });
    let fixture = Running::start::<Config>(settings, channels.clone()).await;
    let mut client = connect(&fixture).await;
    client.get_mut().write_all(b"12345\nnext\n").await.unwrap();
    channels.wait_for_line("next").await;
    assert_eq!(channels.bodies(0), ["1234", "1234", "next"]);
    assert_eq!(channels.events(0)[1].headers["truncated"], "true");
    fixture.stop().await;
}

#[tokio::test]
async fn a_full_channel_holds_clients_back_and_answers_when_there_is_room() {
    let (channels, narrow, fixture) =
        Running::without_room::<Config>(json!({ "batch_events": 2 })).await;
    let mut client = connect(&fixture).await;
    client.get_mut().write_all(b"1\n2\n3\n").await.unwrap();
    narrow.wait_for_waiting(1).await;
    assert!(channels.events(0).is_empty());
    narrow.give(2);
    for _ in 0..3 {
        assert_eq!(answer(&mut client).await, "OK\n");
    }
    assert_eq!(
        (channels.bodies(0), channels.puts(0)),
        (vec!["1".into(), "2".into(), "3".into()], 2)
    );
}

#[tokio::test]
async fn connections_over_the_limit_wait_and_idle_ones_are_closed() {
    let channels = Arc::new(Channels::new(1));
    let settings = json!({ "connections_max": 20, "idle_timeout": "50ms" });
    let fixture = Running::start::<Config>(settings, channels.clone()).await;
    // They send no line end, then stay silent.
    let mut idle = Vec::new();
    for _ in 0..100 {
        let mut client = connect(&fixture).await;
        client.get_mut().write_all(b"half a line").await.unwrap();
        idle.push(client);
    }
    let mut client = connect(&fixture).await;
    client.get_mut().write_all(b"whole\n").await.unwrap();
    assert_eq!(answer(&mut client).await, "OK\n", "the others made room");
    assert_eq!(channels.bodies(0), ["whole"]);
    for client in &mut idle {
        assert_eq!(answer(client).await, "");
    }
    fixture.stop().await;
}

#[tokio::test]
async fn splits_datagrams_into_lines_and_counts_drops_of_a_full_channel() {
    let channels = Arc::new(Channels::new(1));
    let narrow = Arc::new(Narrow::new(channels.clone(), 1));
    // Room for 10 datagrams of 4 bytes and their overhead.
    let settings = json!({ "client_header": "client", "queue_max": "2600B", "batch_events": 1 });
    let fixture = Running::start::<netcat_udp::Config>(settings, narrow.clone()).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(&fixture.address).await.unwrap();
    socket.send(b"one\n").await.unwrap();
    channels.wait_for_line("one").await;
    socket.send(b"two\r\n\nthree\xff").await.unwrap();
    narrow.wait_for_waiting(2).await;
    let mut sent = 0_u64;
    while fixture.counted("datagrams_dropped") < 50 {
        socket.send(b"more").await.unwrap();
        sent += 1;
        tokio::task::yield_now().await;
        assert!(sent < 1_000_000, "none is dropped");
    }
    narrow.give(100_000);
    channels.wait_for_line("more").await;
    assert_eq!(channels.bodies(0)[..4], ["one", "two", "", "three\u{fffd}"]);
    assert_eq!(channels.events(0)[0].headers["client"], "127.0.0.1");
    fixture.stop().await;
    let stored = channels.events(0).len() as u64 - 4;
    assert!(stored <= 11, "a datagram that is being stored and the queue: {stored}");
}

fn joined(timeout: &str) -> Value {
    json!({ "multiline": { "start": "^>", "timeout": timeout } })
}

#[tokio::test]
async fn an_event_of_several_lines_is_answered_once_when_it_has_ended() {
    let channels = Arc::new(Channels::new(1));
    let mut settings = joined("1h");
    settings["client_header"] = json!("client");
    let fixture = Running::start::<Config>(settings, channels.clone()).await;
    let mut client = connect(&fixture).await;
    client.get_mut().write_all(b">1\r\n\tat a\r\n\n>2\n").await.unwrap();
    assert_eq!(answer(&mut client).await, "OK\n");
    assert_eq!(channels.bodies(0), [">1\n\tat a\n"]);
    client.get_mut().write_all(b"\tat b\n>3\n>4\nlast").await.unwrap();
    client.get_mut().shutdown().await.unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "OK\nOK\nOK\n");
    assert_eq!(channels.bodies(0)[1..], [">2\n\tat b", ">3", ">4\nlast"]);
    assert_eq!(channels.events(0)[3].headers["client"], "127.0.0.1");
    fixture.stop().await;
}

#[tokio::test]
async fn a_quiet_connection_ends_its_event_before_it_is_closed_and_when_it_is() {
    for (timeout, idle_timeout) in [("30ms", "10min"), ("1h", "30ms")] {
        let channels = Arc::new(Channels::new(1));
        let mut settings = joined(timeout);
        settings["idle_timeout"] = json!(idle_timeout);
        let fixture = Running::start::<Config>(settings, channels.clone()).await;
        let mut client = connect(&fixture).await;
        client.get_mut().write_all(b">1\n\tat a\nhalf").await.unwrap();
        let answered = tokio::time::timeout(Duration::from_secs(60), answer(&mut client)).await;
        assert_eq!(answered.as_deref(), Ok("OK\n"));
        assert_eq!(channels.bodies(0), [">1\n\tat a"]);
        fixture.stop().await;
    }
}

#[tokio::test]
async fn a_stop_stores_events_that_the_client_does_not_resend() {
    for (is_answered, expected) in [(true, vec![">1"]), (false, vec![">1", ">2\n\tat b"])] {
        let channels = Arc::new(Channels::new(1));
        let mut settings = joined("1h");
        settings["ack_every_event"] = json!(is_answered);
        let fixture = Running::start::<Config>(settings, channels.clone()).await;
        let mut client = connect(&fixture).await;
        client.get_mut().write_all(b">1\n>2\n\tat b\n").await.unwrap();
        channels.wait_for_line(">1").await;
        fixture.stop().await;
        assert_eq!(channels.bodies(0), expected);
        let mut answers = String::new();
        client.read_to_string(&mut answers).await.unwrap();
        assert_eq!(answers, if is_answered { "OK\n" } else { "" });
    }
}

#[tokio::test]
async fn divides_large_events_and_refuses_a_long_line_after_one() {
    let channels = Arc::new(Channels::new(1));
    let mut settings = joined("1h");
    settings["multiline"]["bytes_max"] = json!("5B");
    settings["line_max"] = json!("4B");
    let fixture = Running::start::<Config>(settings, channels.clone()).await;
    let mut client = connect(&fixture).await;
    client.get_mut().write_all(b">1\na\nb\n12345\n").await.unwrap();
    let mut answers = String::new();
    client.read_to_string(&mut answers).await.unwrap();
    assert_eq!(
        answers,
        "OK\nOK\nFAILED: the line is over `line_max` (4B); raise it, or shorten the line\n"
    );
    assert_eq!(channels.bodies(0), [">1\na", "b"]);
    assert_eq!((fixture.counted("event_divided"), fixture.counted("line_too_long")), (1, 1));
}

#[test]
fn settings_that_can_never_work_are_named() {
    let cx = crate::alone("in", Path::new("unused"), env::real());
    let with = |name: &str, value: Value| {
        let mut settings = json!({ "listen": "0.0.0.0:0" });
        settings[name] = value;
        settings
    };
    for (settings, named) in [
        (with("listen", json!("44444")), "listen"),
        (with("line_max", json!("0B")), "line_max"),
        (with("batch_events", json!(0)), "batch_events"),
        (with("connections_max", json!(0)), "connections_max"),
        (with("idle_timeout", json!("0s")), "idle_timeout"),
        (with("client_header", json!("")), "client_header"),
    ] {
        let error = build::<Config>(&settings, &cx).err().unwrap();
        assert_eq!(error.path, named, "{error}");
    }
    let mut prefixed = with("multiline", json!({ "start": "^>" }));
    prefixed["framing"] = json!("length_prefixed");
    assert_eq!(build::<Config>(&prefixed, &cx).err().unwrap().path, "multiline");
    let error = build::<netcat_udp::Config>(&with("queue_max", json!("0B")), &cx).err().unwrap();
    assert_eq!(error.path, "queue_max");
    let unanswered = build::<Config>(&with("ack_every_event", json!(false)), &cx).unwrap();
    assert_eq!(unanswered.guarantee(), Guarantee::BestEffort);
}

#[tokio::test]
async fn a_lost_framing_is_answered_and_closes_the_connection() {
    for is_answered in [true, false] {
        let channels = Arc::new(Channels::new(1));
        let settings = json!({ "framing": "length_prefixed", "ack_every_event": is_answered });
        let fixture = Running::start::<Config>(settings, channels.clone()).await;
        let mut client = connect(&fixture).await;
        client.get_mut().write_all(b"\0\0\0\x03onexx\0\0\0\x03two").await.unwrap();
        let mut answers = Vec::new();
        let _ = client.read_to_end(&mut answers).await;
        let answers = String::from_utf8(answers).unwrap();
        assert_eq!(channels.bodies(0), ["one"]);
        assert_eq!(fixture.counted("framing_lost"), 1);
        let failed = "OK\nFAILED: the prefix of a message announces 2021130240 bytes";
        assert_eq!(answers.starts_with(failed), is_answered);
        fixture.stop().await;
    }
}
