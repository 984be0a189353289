//! Goal: events pass through TLS between each sink and source that supports it; clients that stall
//! in their handshake, or use another protocol, only occupy their own connections, for a limited
//! time.
//!
//! Method: sources and sinks as a configuration builds them, on loopback, with the certificates of
//! `crates/tls`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kit::testkit::channels::Channels;
use kit::testkit::running::Running;
use pipeline::testkit::build;
use pipeline::{Batch, Component, Outcome, Sink, Source, Taken};
use serde_json::{Value, json};
use support::loopback::free_address;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::{avro, http, netcat, syslog, thrift};
use crate::sinks;

/// Longer than any wait takes.
const LIMIT: Duration = Duration::from_secs(10);

fn material(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tls/tests/material").join(name)
}

fn identity() -> Value {
    json!({ "keystore": material("keystore.jks"), "keystore_password": "changeit" })
}

fn trust() -> Value {
    json!({ "ca": material("ca.pem"), "server_name": "localhost" })
}

struct Fixture {
    running: Running,
    address: String,
    channels: Arc<Channels>,
}

impl Fixture {
    async fn start<C: Component<Role = dyn Source>>(settings: Value, scheme: &str) -> Self {
        let address = free_address().to_string();
        let listen = match scheme {
            "" => json!(address),
            _ => json!([format!("{scheme}://{address}")]),
        };
        let channels = Arc::new(Channels::new(1));
        let running =
            Running::start_at::<C>(address.clone(), settings, listen, channels.clone()).await;
        Self { running, address, channels }
    }

    async fn connect(&self) -> Box<dyn pipeline::env::Stream> {
        self.running.connect().await
    }

    async fn dial(&self) -> std::io::Result<Box<dyn pipeline::env::Stream>> {
        let settings = serde_json::from_value(trust()).unwrap();
        let dialer = tls::Dialer::new(&env::real(), Some(settings), &[]).unwrap();
        dialer.connect(&self.address).await
    }

    fn failed(&self) -> u64 {
        self.running.counted("tls_failed")
    }

    async fn stop(self) {
        self.running.stop().await;
    }
}

async fn outcome<C: Component<Role = dyn Sink>>(settings: &Value, lines: &[&str]) -> Outcome {
    let cx = crate::alone("out", Path::new("unused"), env::real());
    let mut sink = build::<C>(settings, &cx).unwrap();
    let batch = Batch::of(lines.iter().copied());
    sink.write(Taken { ticket: 1, batch }).await.unwrap();
    sink.settled().await.outcome
}

#[tokio::test]
async fn avro_sink_and_source_connect_with_either_order_of_tls_and_zlib() {
    for source in ["auto", "deflate"] {
        let settings = json!({ "compression": source, "tls": identity() });
        let fixture = Fixture::start::<avro::Config>(settings, "").await;
        let large = "x".repeat(300_000);
        let mut sent = 0;
        for (compression, layer) in
            [("none", "inside"), ("deflate", "inside"), ("deflate", "outside")]
        {
            if (source, compression) == ("deflate", "none") {
                continue;
            }
            let settings = json!({ "address": fixture.address, "tls": trust(),
                "compression": compression, "compression_layer": layer });
            let outcome = outcome::<sinks::avro::Config>(&settings, &["one", &large]).await;
            assert!(matches!(outcome, Outcome::Delivered), "{compression} {layer}: {outcome:?}");
            sent += 2;
            assert_eq!(fixture.channels.events(0).len(), sent);
        }
        assert_eq!(fixture.channels.events(0)[1].body, large);
        fixture.stop().await;
    }
}

#[tokio::test]
async fn thrift_and_http_connect_over_tls_and_name_untrusted_servers() {
    let fixture = Fixture::start::<thrift::Config>(json!({ "tls": identity() }), "").await;
    let settings = json!({ "address": fixture.address, "tls": trust() });
    let delivered = outcome::<sinks::thrift::Config>(&settings, &["one"]).await;
    assert!(matches!(delivered, Outcome::Delivered), "{delivered:?}");
    assert_eq!(fixture.channels.lines(), [["one"]]);
    fixture.stop().await;

    let settings = json!({ "tls": identity() });
    let fixture = Fixture::start::<http::Config>(settings, "").await;
    let url = format!("https://{}/", fixture.address);
    let settings = json!({ "url": url, "tls": trust() });
    let delivered = outcome::<sinks::http::Config>(&settings, &["two"]).await;
    assert!(matches!(delivered, Outcome::Delivered), "{delivered:?}");
    assert_eq!(fixture.channels.events(0).len(), 1);
    let other = json!({ "url": url, "tls": { "ca": material("other-ca.pem") } });
    let Outcome::Again(Some(error)) = outcome::<sinks::http::Config>(&other, &["x"]).await else {
        panic!("a server that is not trusted is tried again")
    };
    assert!(format!("{error:?}").contains("not signed by a trusted authority"), "{error:?}");
    fixture.stop().await;
}

#[tokio::test]
async fn lines_come_by_tls_and_are_answered_through_it() {
    let settings = json!({ "tls": identity() });
    let fixture = Fixture::start::<netcat::Config>(settings, "").await;
    let mut client = fixture.dial().await.unwrap();
    client.write_all(b"one\n").await.unwrap();
    client.flush().await.unwrap();
    let mut answer = [0; 3];
    timeout(Duration::from_secs(10), client.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"OK\n");
    client.write_all(b"last").await.unwrap();
    client.shutdown().await.unwrap();
    fixture.channels.wait_for_line("last").await;
    fixture.stop().await;

    let settings = json!({ "tls": identity() });
    let fixture = Fixture::start::<syslog::Config>(settings, "tcp").await;
    let mut client = fixture.dial().await.unwrap();
    client.write_all(b"<13>text\n").await.unwrap();
    client.flush().await.unwrap();
    fixture.channels.wait_for_events(1).await;
    fixture.stop().await;
}

#[tokio::test]
async fn clients_that_stall_give_their_places_back_and_are_counted() {
    let mut tls = identity();
    tls["handshake_timeout"] = json!("300ms");
    let settings = json!({ "tls": tls, "connections_max": 2 });
    let fixture = Fixture::start::<netcat::Config>(settings, "").await;
    let (mut stalled, begun) = (Vec::new(), [&b""[..], &[0x16, 3, 1, 2, 0, 1]]);
    for at in 0..6 {
        let mut stream = fixture.connect().await;
        stream.write_all(begun[at % 2]).await.unwrap();
        stalled.push(stream);
    }
    let start = tokio::time::Instant::now();
    let client = timeout(Duration::from_secs(20), fixture.dial()).await;
    client.expect("its turn comes").unwrap();
    // After three pairs of connections.
    assert!(start.elapsed() >= Duration::from_millis(800), "{:?}", start.elapsed());
    // The last one may have a little time left. Each is counted, then closed.
    for mut stream in stalled {
        let closed = timeout(Duration::from_secs(20), stream.read_to_end(&mut Vec::new())).await;
        let _reset_or_ended = closed.expect("its time is over");
    }
    assert_eq!(fixture.failed(), 6);
    let mut plain = fixture.connect().await;
    plain.write_all(b"one\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"OK"), "{answer:?}");
    assert_eq!((fixture.failed(), fixture.channels.events(0).len()), (7, 0));
    fixture.stop().await;
}

#[tokio::test]
async fn handshakes_that_fail_give_their_places_and_connections_back() {
    support::mutants::plant_by_environment();
    let tenants = json!({ "connections_max": 1 });
    let settings = json!({ "tls": identity(), "connections_max": 2, "tenants": tenants });
    let fixture = Fixture::start::<http::Config>(settings, "").await;
    for failed in 1..=6 {
        let mut stream = timeout(LIMIT, fixture.connect()).await.expect("a listener takes it");
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let closed = timeout(LIMIT, stream.read_to_end(&mut Vec::new())).await;
        let _reset_or_ended = closed.expect("its place is not free");
        assert_eq!(fixture.failed(), failed);
    }
    let client = timeout(LIMIT, fixture.dial()).await.expect("its place is not free");
    let mut client = client.unwrap();
    let body = r#"[{"body":"a"}]"#;
    let head = "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length";
    let request = format!("{head}: {}\r\n\r\n{body}", body.len());
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(LIMIT, client.read_to_end(&mut answer)).await.expect("it is answered");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200"), "they are no connections of its: {answer}");
    fixture.stop().await;
}

/// Returns the result of `check --connect` for a sink with this TLS.
async fn probed<C: Component<Role = dyn Sink>>(
    address: &str,
    tls: Option<Value>,
) -> Result<String, String> {
    let mut settings = match C::KIND {
        "http" => {
            let scheme = if tls.is_some() { "https" } else { "http" };
            json!({ "url": format!("{scheme}://{address}/") })
        }
        _ => json!({ "address": address }),
    };
    if let Some(tls) = tls {
        settings["tls"] = tls;
    }
    let cx = crate::alone("out", Path::new("unused"), env::real());
    let mut sink = build::<C>(&settings, &cx).unwrap();
    let found = timeout(LIMIT, sink.probe()).await.expect("the probe has an end");
    found.map(Option::unwrap_or_default).map_err(|error| {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(below) = cause {
            text = format!("{text}: {below}");
            cause = below.source();
        }
        text
    })
}

async fn probe_waits_for_the_first_reply<S, K>()
where
    S: Component<Role = dyn Source>,
    K: Component<Role = dyn Sink>,
{
    let kind = K::KIND;
    let mut tls = identity();
    tls["client_ca"] = json!(material("ca.pem"));
    let fixture = Fixture::start::<S>(json!({ "tls": tls }), "").await;
    let showing = |name: &str| {
        let mut tls = trust();
        tls["certificate"] = json!(material(&format!("{name}.pem")));
        tls["key"] = json!(material(&format!("{name}.key.pem")));
        Some(tls)
    };
    let address = &*fixture.address;
    for _ in 0..3 {
        let found = probed::<K>(address, showing("client")).await;
        assert!(found.as_ref().is_ok_and(|it| it.ends_with("over TLS")), "{kind}: {found:?}");
        for (tls, cause) in [
            (showing("stranger"), "rejects our certificate (UnknownCA)"),
            (Some(trust()), "set `tls.certificate` and `tls.key`"),
            (None, "the server uses TLS, but this client does not"),
        ] {
            let found = probed::<K>(address, tls).await;
            assert!(
                found.as_ref().is_err_and(|it| it.contains(cause)),
                "{kind}: {cause}: {found:?}"
            );
        }
    }
    assert!(fixture.channels.events(0).is_empty(), "{kind}: no event is sent");
    fixture.stop().await;

    let fixture = Fixture::start::<S>(json!({}), "").await;
    let address = &*fixture.address;
    let found = probed::<K>(address, None).await;
    assert!(found.as_ref().is_ok_and(|it| it.ends_with("is reachable")), "{kind}: {found:?}");
    let found = probed::<K>(address, Some(trust())).await;
    assert!(
        found.as_ref().is_err_and(|it| it.contains("uses TLS") || it.contains("speak TLS")),
        "{kind}: {found:?}"
    );
    fixture.stop().await;
}

#[tokio::test]
async fn the_probe_of_a_sink_waits_for_the_first_reply_of_its_server() {
    probe_waits_for_the_first_reply::<avro::Config, sinks::avro::Config>().await;
    probe_waits_for_the_first_reply::<thrift::Config, sinks::thrift::Config>().await;
    probe_waits_for_the_first_reply::<http::Config, sinks::http::Config>().await;
}

#[test]
fn tls_is_refused_where_it_has_no_meaning() {
    let cx = crate::alone("x", Path::new("unused"), env::real());
    let settings = json!({ "url": "http://h/", "tls": trust() });
    let error = build::<sinks::http::Config>(&settings, &cx).err().unwrap();
    assert_eq!(error.path, "tls");
    let settings = json!({ "address": "h:1", "compression_layer": "outside", "tls": trust() });
    let error = build::<sinks::avro::Config>(&settings, &cx).err().unwrap();
    assert_eq!(error.path, "compression_layer");
    let settings = json!({ "listen": ["udp://127.0.0.1:0"], "tls": identity() });
    let error = build::<syslog::Config>(&settings, &cx).err().unwrap();
    assert_eq!(error.path, "tls");
    let settings = json!({ "listen": "127.0.0.1:0", "tls": {} });
    let error = build::<thrift::Config>(&settings, &cx).err().unwrap();
    assert_eq!(error.path, "tls.certificate");
}

/// Planted in the accept loop of `kit`, which has no source of its own to be found by.
#[cfg(feature = "mutants")]
#[test]
fn finds_the_planted_bug_of_a_place_that_a_connection_keeps() {
    let test = "sources::tls_between::handshakes_that_fail_give_their_places_and_connections_back";
    support::mutants::is_found("place_of_connection_kept", test, "its place is not free");
}
