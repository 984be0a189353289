//! Messages arrive in order with Flume's headers; a full channel stops reading from TCP, and drops
//! and counts datagrams.
//!
//! Method: the source as a configuration builds it, on loopback, with raw sockets.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use kit::testkit::channels::Channels;
use kit::testkit::narrow::Narrow;
use kit::testkit::running::Running;
use pipeline::Intake;
use pipeline::env::Stream;
use pipeline::testkit::build;
use serde_json::{Value, json};
use support::loopback::free_address;
use tokio::io::AsyncWriteExt;

use super::*;

struct Fixture {
    running: Running,
    udp: String,
}

impl Fixture {
    async fn start(settings: Value, intake: Arc<dyn Intake>) -> Self {
        let tcp = free_address().to_string();
        let udp = env::real().net.bind("127.0.0.1:0").await.unwrap().local_address();
        let listen = json!([format!("tcp://{tcp}"), format!("udp://{udp}")]);
        let running = Running::start_at::<Config>(tcp, settings, listen, intake).await;
        Self { running, udp }
    }

    async fn connect(&self) -> Box<dyn Stream> {
        self.running.connect().await
    }

    async fn socket(&self) -> tokio::net::UdpSocket {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(&self.udp).await.unwrap();
        socket
    }

    fn counted(&self, reason: &'static str) -> u64 {
        self.running.counted(reason)
    }
}

fn event(channels: &Channels, index: usize) -> (String, BTreeMap<String, String>) {
    let event = channels.events(0).swap_remove(index);
    (event.body, event.headers)
}

#[tokio::test]
async fn messages_of_a_connection_arrive_in_order_with_the_headers_of_flume() {
    let channels = Arc::new(Channels::new(1));
    let settings = json!({ "client_header": "client", "port_header": "port" });
    let fixture = Fixture::start(settings, channels.clone()).await;
    let mut stream = fixture.connect().await;
    let old = "<34>Oct 11 22:14:15 web-1 su: failed\n";
    let new = "<165>1 2026-10-11T22:14:15.003Z web-2 app 7 ID - over\nlines";
    let messages = format!("{old}{} {new}no syslog\n<13>Oct 11 22:14:15 web-3 last", new.len());
    stream.write_all(messages.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    channels.wait_for_events(4).await;
    let (body, headers) = event(&channels, 0);
    assert_eq!(body, "su: failed");
    for (name, value) in
        [("Priority", "34"), ("Facility", "4"), ("Severity", "2"), ("host", "web-1")]
    {
        assert_eq!(headers.get(name).map(String::as_str), Some(value), "{headers:?}");
    }
    assert_eq!(headers["client"], "127.0.0.1");
    assert!(fixture.running.address.ends_with(&format!(":{}", headers["port"])), "{headers:?}");
    let (body, headers) = event(&channels, 1);
    assert_eq!(body, "app 7 ID - over\nlines");
    assert_eq!((&*headers["Version"], &*headers["timestamp"]), ("1", "1791756855003"));
    let (body, headers) = event(&channels, 2);
    assert_eq!((&*body, &*headers["flume.syslog.status"]), ("no syslog", "Invalid"));
    assert_eq!(event(&channels, 3).0, "last");
}

#[tokio::test]
async fn a_datagram_is_an_event_and_the_whole_message_is_kept_on_request() {
    let channels = Arc::new(Channels::new(1));
    let fixture = Fixture::start(json!({ "keep_fields": true }), channels.clone()).await;
    let socket = fixture.socket().await;
    for n in 0..50 {
        let message = format!("<13>Oct 11 22:14:15 web-1 app: {n}\n");
        socket.send(message.as_bytes()).await.unwrap();
    }
    channels.wait_for_events(50).await;
    let (body, headers) = event(&channels, 49);
    assert_eq!(body, "<13>Oct 11 22:14:15 web-1 app: 49");
    assert_eq!(headers["host"], "web-1");
}

#[tokio::test]
async fn cuts_marks_and_counts_long_messages() {
    let channels = Arc::new(Channels::new(1));
    let settings = json!({ "message_max": "32B" });
    let fixture = Fixture::start(settings, channels.clone()).await;
    let long = format!("<13>Oct 11 22:14:15 web-1 {}", "x".repeat(100));
    fixture.connect().await.write_all(format!("{long}\nnext\n").as_bytes()).await.unwrap();
    channels.wait_for_events(2).await;
    fixture.socket().await.send(long.as_bytes()).await.unwrap();
    channels.wait_for_events(3).await;
    for index in [0, 2] {
        let (body, headers) = event(&channels, index);
        assert_eq!((&*body, &*headers["flume.syslog.status"]), ("xxxxxx", "Incomplete"));
    }
    assert_eq!(fixture.counted("message_cut"), 2);
}

#[tokio::test]
async fn a_full_channel_blocks_connections_and_drops_counted_datagrams() {
    let channels = Arc::new(Channels::new(1));
    let narrow = Arc::new(Narrow::new(channels.clone(), 0));
    // Room for 10 datagrams of 12 bytes and their overhead.
    let settings = json!({ "queue_max": "2680B", "batch_events": 1 });
    let fixture = Fixture::start(settings, narrow.clone()).await;
    let mut stream = fixture.connect().await;
    stream.write_all(b"<13>one\n<13>two\n").await.unwrap();
    narrow.wait_for_waiting(1).await;
    let socket = fixture.socket().await;
    for _ in 0..100 {
        socket.send(b"<13>datagram").await.unwrap();
    }
    for _ in 0..10_000 {
        if fixture.counted("datagrams_dropped") >= 80 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let dropped = fixture.counted("datagrams_dropped");
    assert!((80..=90).contains(&dropped), "10 wait, one is being stored: {dropped}");
    assert!(channels.events(0).is_empty());
    narrow.give(1_000);
    channels.wait_for_line("two").await;
    let kept = 100 - usize::try_from(dropped).unwrap();
    channels.wait_for_events(2 + kept).await;
}

#[tokio::test]
async fn a_stop_stores_what_came_and_frees_the_ports() {
    let channels = Arc::new(Channels::new(1));
    let fixture = Fixture::start(json!({}), channels.clone()).await;
    let mut stream = fixture.connect().await;
    stream.write_all(b"<13>one\n").await.unwrap();
    channels.wait_for_events(1).await;
    let (tcp, udp) = (fixture.running.address.clone(), fixture.udp);
    fixture.running.stop().await;
    let net = env::real().net;
    assert!(net.listen(&tcp).await.is_ok() && net.bind(&udp).await.is_ok());
}

#[test]
fn settings_that_can_never_work_are_named() {
    let cx = crate::alone("in", Path::new("unused"), env::real());
    let with = |name: &str, value: Value| {
        let mut settings = json!({ "listen": ["udp://0.0.0.0:0"] });
        settings[name] = value;
        settings
    };
    for (settings, named) in [
        (with("listen", json!([])), "listen"),
        (with("listen", json!(["tcp://0.0.0.0:1", "0.0.0.0:514"])), "listen.1"),
        (with("listen", json!(["tcp://514"])), "listen.0"),
        (with("offset", json!("Nowhere")), "offset"),
        (with("offset", json!("+2:00")), "offset"),
        (with("message_max", json!("0B")), "message_max"),
        (with("port_header", json!("")), "port_header"),
        (with("queue_max", json!("0B")), "queue_max"),
        (with("receive_buffer", json!("2GiB")), "receive_buffer"),
    ] {
        let error = build::<Config>(&settings, &cx).err().unwrap();
        assert_eq!(error.path, named, "{error}");
    }
    for zone in ["-07:30", "UTC", "Europe/Berlin"] {
        assert!(build::<Config>(&with("offset", json!(zone)), &cx).is_ok(), "{zone}");
    }
}

#[tokio::test]
async fn a_tenant_over_its_rate_waits_and_over_other_limits_is_cut() {
    let tenants = json!({ "events_per_second": 1, "connections_max": 1, "message_max": "40B" });
    let channels = Arc::new(Channels::new(1));
    let fixture = Fixture::start(json!({ "tenants": tenants }), channels.clone()).await;
    let mut stream = fixture.connect().await;
    let long = format!("<13>Oct 11 22:14:15 web-1 {}\n", "x".repeat(100));
    // Uses up many seconds of the rate.
    let lines = long + &"<13>Oct 11 22:14:15 web-1 a\n".repeat(99);
    stream.write_all(lines.as_bytes()).await.unwrap();
    channels.wait_for_events(100).await;
    assert_eq!(event(&channels, 0).0, "x".repeat(14), "40 bytes of the message");
    stream.write_all(b"<13>Oct 11 22:14:15 web-1 late\n").await.unwrap();
    let waits = async {
        while fixture.counted("tenant_rate") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waits).await.expect("it is over its rate");
    let mut second = fixture.connect().await;
    second.write_all(b"<13>Oct 11 22:14:15 web-1 second\n").await.unwrap();
    let mut piece = [0; 1];
    let closed = tokio::io::AsyncReadExt::read(&mut second, &mut piece);
    let closed = tokio::time::timeout(Duration::from_secs(60), closed).await.expect("it is closed");
    assert_eq!(closed.unwrap_or(0), 0);
    assert_eq!(channels.events(0).len(), 100);
    let reasons = ["tenant_connections", "tenant_message", "tenant_rate", "message_cut"];
    assert_eq!(reasons.map(|reason| fixture.counted(reason)), [1, 1, 1, 1]);
    fixture.running.stop().await;
}

/// Returns messages with octet counting, except that number 100 counts characters.
fn counted(messages: usize) -> String {
    let one = |n: usize| {
        let text = format!("<13>Oct 11 22:14:15 web-1 app: gr\u{fc}\u{df}e {n}");
        let count = if n == 100 { text.chars().count() } else { text.len() };
        format!("{count} {text}")
    };
    (1..=messages).map(one).collect()
}

fn intact(channels: &Channels, messages: usize) -> usize {
    let bodies = channels.bodies(0);
    let is_intact = |n: &usize| bodies.contains(&format!("app: gr\u{fc}\u{df}e {n}"));
    (1..=messages).filter(is_intact).count()
}

#[tokio::test]
async fn a_wrong_count_damages_one_message_and_is_counted() {
    let channels = Arc::new(Channels::new(1));
    let fixture = Fixture::start(json!({}), channels.clone()).await;
    let mut stream = fixture.connect().await;
    stream.write_all(counted(500).as_bytes()).await.unwrap();
    channels.wait_for_line("app: gr\u{fc}\u{df}e 500").await;
    assert_eq!(intact(&channels, 500), 499);
    let (body, headers) = event(&channels, 100);
    assert_eq!((&*body, &*headers["flume.syslog.status"]), ("00", "Incomplete"));
    assert_eq!(fixture.counted("framing_lost"), 1);
    fixture.running.stop().await;
}

#[tokio::test]
async fn a_length_that_no_message_has_closes_its_connection_and_no_other() {
    let channels = Arc::new(Channels::new(1));
    let settings = json!({ "framing": "length_prefixed" });
    let fixture = Fixture::start(settings, channels.clone()).await;
    let mut other = fixture.connect().await;
    let mut stream = fixture.connect().await;
    let good = [b"\0\0\0\x06", &b"<13>ab"[..]].concat();
    stream.write_all(&[&good[..], b"\0\0\0\x05", &good[4..], &good].concat()).await.unwrap();
    let mut piece = [0; 1];
    let closed = tokio::io::AsyncReadExt::read(&mut stream, &mut piece);
    let closed = tokio::time::timeout(Duration::from_secs(60), closed).await.expect("it is closed");
    assert_eq!(closed.unwrap_or(0), 0);
    channels.wait_for_events(2).await;
    assert_eq!(channels.bodies(0), ["ab", "a"]);
    other.write_all(&good).await.unwrap();
    channels.wait_for_events(3).await;
    assert_eq!(fixture.counted("framing_lost"), 1);
    fixture.running.stop().await;
}

#[tokio::test]
async fn lines_that_begin_with_a_number_are_lines() {
    let channels = Arc::new(Channels::new(1));
    let fixture = Fixture::start(json!({}), channels.clone()).await;
    let lines: Vec<_> = (0..100).map(|n| format!("200 GET /index.html?{n}")).collect();
    let mut stream = fixture.connect().await;
    stream.write_all((lines.join("\n") + "\n").as_bytes()).await.unwrap();
    channels.wait_for_line(&lines[99]).await;
    assert_eq!(channels.bodies(0), lines);
    assert_eq!((fixture.counted("framing_lost"), fixture.counted("message_unparsed")), (0, 100));
    fixture.running.stop().await;
}

#[tokio::test]
async fn each_datagram_of_a_burst_is_stored_or_counted() {
    let channels = Arc::new(Channels::new(1));
    let settings = json!({ "receive_buffer": "4KiB", "queue_max": "16KiB" });
    let fixture = Fixture::start(settings, channels.clone()).await;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = fixture.udp.clone();
    let burst = tokio::task::spawn_blocking(move || {
        for n in 0..20_000 {
            socket.send_to(format!("<13>{n}").as_bytes(), &address).unwrap();
        }
    });
    burst.await.unwrap();
    let counted = ["receive_buffer_full", "datagrams_dropped"];
    let all = || {
        let dropped: u64 = counted.iter().map(|reason| fixture.counted(reason)).sum();
        channels.events(0).len() as u64 + dropped
    };
    let accounted = async {
        while all() < 20_000 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), accounted).await.expect("each is accounted for");
    assert_eq!(all(), 20_000);
    assert!(fixture.counted("receive_buffer_full") > 0);
    fixture.running.stop().await;
}

#[tokio::test]
async fn a_larger_receive_buffer_holds_a_burst() {
    let channels = Arc::new(Channels::new(1));
    let fixture = Fixture::start(json!({ "receive_buffer": "200KiB" }), channels.clone()).await;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    // This test's runtime has one thread: nothing is received while it sends.
    for n in 0..150 {
        socket.send_to(format!("<13>{n}").as_bytes(), &fixture.udp).unwrap();
    }
    channels.wait_for_events(150).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(fixture.counted("receive_buffer_full"), 0);
    fixture.running.stop().await;
}

/// As in Flume, the rest of a long message is further events, and a message of exactly the limit is
/// incomplete.
#[tokio::test]
async fn the_layout_of_flume_keeps_the_rest_of_a_long_message() {
    let channels = Arc::new(Channels::new(1));
    let settings = json!({
        "message_max": "32B", "layout": "flume",
        "framing": { "type": "lines", "keep_cr": true, "split": true },
    });
    let fixture = Fixture::start(settings, channels.clone()).await;
    let head = "<13>Oct 11 22:14:15 web-1 ";
    let (long, exact) = (format!("{head}{}", "x".repeat(40)), format!("{head}012345"));
    let messages = format!("{long}\n\n{exact}\n{head}ok\n");
    fixture.connect().await.write_all(messages.as_bytes()).await.unwrap();
    channels.wait_for_events(5).await;
    let status = |index| event(&channels, index).1.get("flume.syslog.status").cloned();
    let all: Vec<_> = (0..5).map(|index| (event(&channels, index).0, status(index))).collect();
    let of = |body: &str, status: Option<&str>| (body.to_owned(), status.map(str::to_owned));
    let expected = [
        of("xxxxxx", Some("Incomplete")),
        of(&"x".repeat(32), Some("Invalid")),
        of("xx", Some("Invalid")),
        of("012345", Some("Incomplete")),
        of("ok", None),
    ];
    assert_eq!(all, expected);
    let headers = event(&channels, 4).1;
    assert_eq!((&*headers["priority"], headers.get("Priority")), ("13", None));
}
