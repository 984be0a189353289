//! Goal: an agent can prove its name by a token as well as by a certificate; without a valid one it
//! is rejected, and a token can be replaced during operation without a lost or duplicate batch.
//! Method: the real sink and the real source on an in-memory network, on paused time, with token
//! files that the test replaces.
#![allow(clippy::disallowed_methods, reason = "the test stands outside, as an operator does")]

use std::fs;
use std::path::{Path, PathBuf};

use pipeline::{Env, Origin, Taken};
use serde_json::Value;
use tls::Dialer;
use tonic::Code;
use tonic::transport::Endpoint;
use wire::v1::FromSender;

use super::bound::{Connector, batch, known, material};
use super::faults::deliver;
use super::net::{Side, Wire};
use super::pair::Running;
use super::secured::refusal;
use super::*;

const ADDRESS: &str = "127.0.0.1:4141";
const FIRST: &str = "the-first-token-of-an-agent";
const SECOND: &str = "the-second-token-of-an-agent";

/// Both files, and the network between the agents.
struct Bench {
    folder: tempfile::TempDir,
    env: Env,
    memory: std::sync::Arc<Memory>,
}

impl Bench {
    /// Creates a network whose first `breaking` connections break.
    fn new(breaking: u64) -> Self {
        let env = Wire::new(breaking, 5_000, Side::There).env();
        Self { folder: tempfile::tempdir().unwrap(), env, memory: Memory::new() }
    }

    /// Replaces the content of the file by these lines.
    fn file(&self, name: &str, lines: &str) -> PathBuf {
        replaced(self.folder.path(), name, lines)
    }

    /// Starts a source that accepts these tokens, with these additional settings.
    fn source(&self, tokens: &str, mut more: Value) -> Running {
        more["tokens_file"] = json!(self.file("tokens", tokens));
        start_source(&self.env, self.memory.clone(), ADDRESS, more)
    }

    /// Returns the settings of a sink with this token.
    fn shows(&self, name: &str, token: &str) -> Value {
        json!({ "token_file": self.file(&format!("{name}.{token}"), &format!("{name} {token}")) })
    }

    async fn refusal(&self, settings: Value) -> String {
        let said = refusal(&self.env, ADDRESS, settings).await;
        assert!(!said.contains(FIRST) && !said.contains(SECOND), "{said}");
        said
    }
}

fn replaced(folder: &Path, name: &str, lines: &str) -> PathBuf {
    let (path, new) = (folder.join(name), folder.join(format!("{name}.new")));
    fs::write(&new, lines).unwrap();
    fs::rename(new, &path).unwrap();
    path
}

/// Waits until a changed file is reloaded.
async fn look() {
    tokio::time::sleep(Duration::from_millis(1_100)).await;
}

#[tokio::test(start_paused = true)]
async fn refuses_and_counts_a_stream_without_a_valid_token() {
    let bench = Bench::new(0);
    let source = bench.source(&format!("web-1 {FIRST}"), json!({}));
    let right = bench.shows("web-1", FIRST);
    let mut sink = open_sink(&bench.env, ADDRESS, right).await;
    write(&mut *sink, 0..3).await;
    Verdicts::default().until(&mut *sink, |v| v.stored == set(0..3)).await;
    assert_eq!(source.anomalies("unauthenticated"), 0);

    let unreadable = json!({ "token_file": bench.folder.path().join("none") });
    // Test cases that are not counted come first: a sink retries a refused stream until it is
    // dropped.
    for (settings, word, counted) in [
        (unreadable, "cannot read", false),
        (json!({}), "the client sent no token", true),
        (bench.shows("web-1", SECOND), "the token is not in `tokens_file`", true),
    ] {
        let before = source.anomalies("unauthenticated");
        let said = bench.refusal(settings).await;
        assert!(said.contains(word), "{said}");
        assert_eq!(source.anomalies("unauthenticated") > before, counted, "{said}");
    }
    // The admitted sink continues.
    write(&mut *sink, 3..6).await;
    Verdicts::default().until(&mut *sink, |v| v.stored == set(3..6)).await;
    sink.close().await;
    source.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_speaks_for_the_origins_of_its_token_alone() {
    let bench = Bench::new(0);
    let tokens = format!("web-1 {FIRST}\nweb-2 {SECOND}");
    let source = bench.source(&tokens, json!({ "origins": "require" }));
    let origin = Origin::bound("web-1", 7);
    let mut owner = open_sink(&bench.env, ADDRESS, bench.shows("web-1", FIRST)).await;
    owner.write(Taken { ticket: 1000, batch: batch(origin, 0) }).await.unwrap();
    Verdicts::default().until(&mut *owner, |v| v.stored == set(0..1)).await;

    let mut forger = open_sink(&bench.env, ADDRESS, bench.shows("web-2", SECOND)).await;
    forger.write(Taken { ticket: 1000, batch: batch(origin, 1) }).await.unwrap();
    within(async {
        while source.anomalies("foreign_origin") == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(bench.memory.batches(), [batch(origin, 0)]);
    forger.close().await;
    owner.close().await;
    source.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_removed_token_is_valid_only_for_open_streams() {
    let bench = Bench::new(0);
    let source = bench.source(&format!("web-1 {FIRST}"), json!({}));
    let mut sink = open_sink(&bench.env, ADDRESS, bench.shows("web-1", FIRST)).await;
    bench.file("tokens", &format!("web-2 {SECOND}"));
    look().await;
    let said = bench.refusal(bench.shows("web-1", FIRST)).await;
    assert!(said.contains("it was removed there"), "{said}");
    write(&mut *sink, 0..3).await;
    Verdicts::default().until(&mut *sink, |v| v.stored == set(0..3)).await;
    sink.close().await;
    open_sink(&bench.env, ADDRESS, bench.shows("web-2", SECOND)).await.close().await;
    source.stop().await;
}

#[tokio::test(start_paused = true)]
async fn replaces_a_token_during_delivery_and_stores_each_batch_once() {
    const BATCHES: u64 = 240;
    let bench = Bench::new(1_000);
    let (first, second) = (format!("web-1 {FIRST}\n"), format!("web-1 {SECOND}\n"));
    let source = bench.source(&first, json!({}));
    let token = bench.file("token", &first);
    let settings = json!({ "token_file": token, "window_batches": 3 });
    let mut sink = sink(&bench.env, ADDRESS, settings);
    let mut steps = [
        (10, "tokens", format!("{first}{second}")),
        (25, "token", second.clone()),
        (40, "tokens", second),
    ]
    .into_iter()
    .peekable();
    // The source has reloaded the file before the next change.
    let mut next = tokio::time::Instant::now();
    let delivering = deliver(&mut *sink, &bench.memory, BATCHES, |delivered| {
        let now = tokio::time::Instant::now();
        if let Some((_, name, lines)) = steps.next_if(|(at, ..)| delivered >= *at && now >= next) {
            bench.file(name, &lines);
            next = now + Duration::from_millis(1_100);
        }
    });
    let limit = Duration::from_secs(6_000);
    tokio::time::timeout(limit, delivering).await.expect("it goes on");
    assert_eq!(steps.peek(), None, "all was exchanged meanwhile");
    assert_eq!(bench.memory.batches(), (0..BATCHES).map(|n| taken(n).batch).collect::<Vec<_>>());
    assert_eq!(source.anomalies("unauthenticated"), 0, "one of the two always counts");
    sink.close().await;
    look().await;
    let said = bench.refusal(bench.shows("web-1", FIRST)).await;
    assert!(said.contains("it was removed there"), "{said}");
    source.stop().await;
}

#[tokio::test(start_paused = true)]
async fn certificate_and_token_must_agree_and_one_suffices_if_optional() {
    // Name in the certificate.
    const NAME: &str = "client.example";
    for auth in ["required", "optional"] {
        let bench = Bench::new(0);
        let tokens = format!("{NAME} {FIRST}\nweb-2 {SECOND}");
        let source = bench.source(
            &tokens,
            json!({ "tls": {
                "certificate": material("server.pem"), "key": material("server.key.pem"),
                "client_ca": material("ca.pem"), "client_auth": auth,
            }}),
        );
        let with = |tls: Value, mut settings: Value| {
            settings["tls"] = tls;
            settings
        };
        let nameless = || json!({ "ca": material("ca.pem"), "server_name": "localhost" });
        let (same, other) = (bench.shows(NAME, FIRST), bench.shows("web-2", SECOND));
        let mut sink = open_sink(&bench.env, ADDRESS, with(known(NAME), same)).await;
        write(&mut *sink, 0..1).await;
        Verdicts::default().until(&mut *sink, |v| v.stored == set(0..1)).await;
        sink.close().await;
        let said = bench.refusal(with(known(NAME), other.clone())).await;
        let two = "the token belongs to web-2, and the certificate to client.example";
        assert!(said.contains(two), "{said}");
        if auth == "required" {
            let said = bench.refusal(with(known(NAME), json!({}))).await;
            assert!(said.contains("the client sent no token"), "{said}");
        } else {
            for settings in [with(known(NAME), json!({})), with(nameless(), other)] {
                open_sink(&bench.env, ADDRESS, settings).await.close().await;
            }
            let said = bench.refusal(with(nameless(), json!({}))).await;
            assert!(said.contains("the client sent no token"), "{said}");
        }
        source.stop().await;
    }
}

/// A client without a token that keeps its connection does not block a client with a token.
#[tokio::test(start_paused = true)]
async fn a_connection_without_a_stream_that_is_let_in_is_closed() {
    let bench = Bench::new(0);
    let settings = json!({ "connections_max": 1 });
    let source = bench.source(&format!("web-1 {FIRST}"), settings);
    let endpoint = Endpoint::from_shared(format!("http://{ADDRESS}")).unwrap();
    let dialer = Dialer::new(&bench.env, None, &[]).unwrap();
    let channel = within(async {
        loop {
            let connector = Connector(dialer.clone(), ADDRESS.to_owned());
            match endpoint.connect_with_connector(connector).await {
                Ok(channel) => break channel,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    })
    .await;
    let said = tokio_stream::pending::<FromSender>();
    let refused = within(wire::exchange(channel.clone(), None, said)).await.err().unwrap();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    let mut sink = open_sink(&bench.env, ADDRESS, bench.shows("web-1", FIRST)).await;
    write(&mut *sink, 0..3).await;
    Verdicts::default().until(&mut *sink, |v| v.stored == set(0..3)).await;
    drop(channel);
    sink.close().await;
    source.stop().await;
}

/// A new channel of an agent with a token and no certificate binds its origin to the token's name.
#[test]
fn a_new_origin_is_bound_to_the_name_of_the_token() {
    let bench = Bench::new(0);
    let cx = pipeline::BuildContext::alone("main", bench.folder.path(), env::real());
    let mut settings = bench.shows("Web-1", FIRST);
    settings["address"] = json!(ADDRESS);
    type Config = components_grpc::sink::Config;
    let _sink = pipeline::testkit::build::<Config>(&settings, &cx).unwrap();
    let origin = cx.get::<pipeline::OriginName>().origin(&env::real());
    assert!(origin.is_bound_to("web-1"));
}
