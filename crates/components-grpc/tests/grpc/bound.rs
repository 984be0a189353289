//! Goal: with certificates, an agent can send only its own origins: a foreign origin is neither
//! queried, nor closed, nor stored, and its owner is not affected. Method: the real source with
//! real certificates; senders are simulated over TLS, message by message, or are the real sink.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use metrics::Metrics;
use pipeline::env::Stream;
use pipeline::testkit::{build, relay_context};
use pipeline::{
    BuildContext, Channel, Component, Env, Epoch, Floors, Identity, Origin, Reached, Sequence,
    Taken,
};
use serde_json::Value;
use tls::Dialer;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::{Endpoint, Uri};
use wire::v1::{Hello, Progress, Put, from_receiver, from_sender};
use wire::{Packing, keys, pack};

use super::peers::Played;
use super::*;

/// Names in two certificates of the same authority.
const VICTIM: &str = "elsewhere.example";
const OTHER: &str = "client.example";

pub(super) fn material(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tls/tests/material").join(name)
}

/// Returns the table `tls` of the sender with this name.
pub(super) fn known(name: &str) -> Value {
    let file = name.split('.').next().unwrap();
    json!({
        "ca": material("ca.pem"), "server_name": "localhost",
        "certificate": material(&format!("{file}.pem")),
        "key": material(&format!("{file}.key.pem")),
    })
}

/// A source that requires certificates, its counters, and its batches.
struct Bench {
    env: Env,
    memory: std::sync::Arc<Memory>,
    metrics: Metrics,
    address: String,
    stop: CancellationToken,
}

fn bench(origins: &str, relays: &[&str]) -> Bench {
    let (env, memory, address) = (env::real(), Memory::new(), free_address().to_string());
    let settings = json!({
        "listen": address, "origins": origins, "relays": relays,
        "tls": {
            "certificate": material("server.pem"), "key": material("server.key.pem"),
            "client_ca": material("ca.pem"),
        },
    });
    let cx = BuildContext::alone("in", &std::env::temp_dir(), env.clone());
    let mut source = build::<components_grpc::source::Config>(&settings, &cx).unwrap();
    let stop = CancellationToken::new();
    let running = relay_context(memory.clone(), stop.clone());
    tokio::spawn(async move {
        source.open(&running).await?;
        source.run(running).await
    });
    Bench { env, memory, metrics: cx.metrics, address, stop }
}

impl Bench {
    /// Returns the number of foreign origins.
    fn foreign(&self) -> u64 {
        let line = "aqueduct_source_anomalies_total{source=\"in\",reason=\"foreign_origin\"} ";
        let text = self.metrics.text();
        let found = text.lines().find_map(|it| it.strip_prefix(line));
        found.map_or(0, |count| count.parse().unwrap())
    }

    /// Connects a simulated sender with the certificate of this name.
    async fn played(&self, name: &str) -> Played {
        let tls = serde_json::from_value(known(name)).unwrap();
        let dialer = Dialer::new(&self.env, Some(tls), &["h2"]).unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        let channel = within(async {
            loop {
                let connector = Connector(dialer.clone(), self.address.clone());
                match endpoint.connect_with_connector(connector).await {
                    Ok(channel) => break channel,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        });
        Played::over(channel.await).await
    }

    /// Stops the source; returns the stored batches.
    fn end(self) -> Vec<Batch> {
        self.stop.cancel();
        self.memory.batches()
    }
}

pub(super) struct Connector(pub(super) Dialer, pub(super) String);

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self(dialer, address) = self;
        let (dialer, address) = (dialer.clone(), address.clone());
        Box::pin(async move { dialer.connect(&address).await.map(TokioIo::new) })
    }
}

fn identity(origin: Origin, sequence: u64) -> Identity {
    Identity { origin, epoch: Epoch(1), sequence: Sequence(sequence) }
}

pub(super) fn batch(origin: Origin, sequence: u64) -> Batch {
    let mut batch = Batch::of([format!("line {sequence}")]);
    batch.envelope.identity = Some(identity(origin, sequence));
    batch
}

fn put(origin: Origin, sequence: u64) -> Put {
    pack(identity(origin, sequence), &batch(origin, sequence), Packing::Plain)
}

/// Returns a query of this origin, and a declaration that closes all of its batches.
fn forged(origin: Origin) -> [Hello; 2] {
    let mut floors = Floors::default();
    floors.raise(origin, Epoch::MAX);
    let keys = keys::encode(&[identity(origin, 0)].into_iter().collect());
    let floors = keys::encode_floors(&floors);
    [Hello { keys, ..Hello::default() }, Hello { floors, ..Hello::default() }]
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_an_impersonating_sender_and_the_other_continues() {
    let bench = bench("require", &[]);
    let victim = Origin::bound(VICTIM, 7);
    let mut sink = open_sink(&bench.env, &bench.address, json!({ "tls": known(VICTIM) })).await;
    sink.write(Taken { ticket: 1000, batch: batch(victim, 0) }).await.unwrap();
    Verdicts::default().until(&mut *sink, |v| v.stored == set(0..1)).await;

    let drawn = Origin([3; 16]);
    let mut refused = 0;
    for origin in [victim, drawn] {
        for hello in forged(origin) {
            let mut forger = bench.played(OTHER).await;
            forger.say(from_sender::Message::Hello(hello)).await;
            let status = forger.end().await;
            refused += 1;
            assert_eq!(status.code(), Code::PermissionDenied, "{status}");
            let origin = origin.to_string();
            for word in [&*origin, OTHER, "aqueduct channel renew", "`relays`"] {
                assert!(status.message().contains(word), "{word}: {status}");
            }
            assert_eq!(bench.foreign(), refused);
        }
    }
    let mut forger = bench.played(OTHER).await;
    forger.say(from_sender::Message::Hello(Hello::default())).await;
    forger.hear().await;
    forger.say(from_sender::Message::Put(put(victim, 1))).await;
    assert_eq!(forger.end().await.code(), Code::PermissionDenied);
    let progress = |origin| {
        let reached = Reached { host: "web-1".into(), before: 5, held_by: "".into() };
        let reached = keys::encode_reached(&[(origin, reached)]);
        from_sender::Message::Progress(Progress { reached })
    };
    let mut forger = bench.played(OTHER).await;
    forger.say(from_sender::Message::Hello(Hello::default())).await;
    forger.hear().await;
    forger.say(progress(victim)).await;
    assert_eq!(forger.end().await.code(), Code::PermissionDenied);
    assert_eq!(bench.memory.progress.reached(), []);
    let own = Origin::bound(OTHER, 7);
    let mut honest = bench.played(OTHER).await;
    for hello in forged(own) {
        honest.say(from_sender::Message::Hello(hello)).await;
        assert!(matches!(honest.hear().await, from_receiver::Message::Welcome(_)));
    }

    // The attack had no effect: the next batch is stored, under the identity that was forged.
    assert!(bench.memory.floors.declared().is_empty());
    sink.write(Taken { ticket: 1001, batch: batch(victim, 1) }).await.unwrap();
    let mut verdicts = Verdicts::default();
    verdicts.until(&mut *sink, |v| v.stored == set(1..2)).await;
    assert_eq!(verdicts.failures, Vec::<String>::new());
    sink.close().await;
    assert_eq!(bench.end(), [batch(victim, 0), batch(victim, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_may_send_for_others_and_a_warning_counts_once_per_stream() {
    for (origins, relays, counted) in
        [("require", &["Client.Example"][..], 0), ("warn", &[], 1), ("off", &[], 0)]
    {
        let bench = bench(origins, relays);
        let victim = Origin::bound(VICTIM, 7);
        let mut sender = bench.played(OTHER).await;
        sender.say(from_sender::Message::Hello(Hello::default())).await;
        sender.hear().await;
        for sequence in 0..2 {
            sender.say(from_sender::Message::Put(put(victim, sequence))).await;
            assert!(matches!(sender.hear().await, from_receiver::Message::Stored(_)), "{origins}");
        }
        assert_eq!(bench.foreign(), counted, "{origins}");
        assert_eq!(bench.end().len(), 2);
    }
}

/// Returns the origin of a new channel with these settings, upstream of a sink with this table
/// `tls`.
async fn birth(folder: &Path, kind: &str, tls: Value) -> Origin {
    let cx = BuildContext::alone("main", folder, env::real());
    let settings = json!({ "address": "127.0.0.1:1", "tls": tls });
    let _sink = build::<components_grpc::sink::Config>(&settings, &cx).unwrap();
    let channel: Box<dyn Channel> = match kind {
        "durable" => channel::durable::Config::default().build(&cx).unwrap(),
        _ => channel::memory::Config::default().build(&cx).unwrap(),
    };
    channel.open().await.unwrap();
    channel.register(&["out".into()]).await.unwrap();
    let mut put = channel.begin_put(Default::default()).await.unwrap();
    put.put(Batch::of(["line"]));
    put.commit().await.unwrap();
    let Taken { batch, .. } = channel.begin_take("out").take().await.unwrap();
    channel.close().await.unwrap();
    batch.envelope.identity.unwrap().origin
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_gets_the_name_of_its_sink_and_keeps_its_origin() {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["durable", "memory"] {
        let origin = birth(&folder.path().join(kind), kind, known(OTHER)).await;
        assert!(origin.is_bound_to(OTHER) && !origin.is_bound_to(VICTIM), "{kind}");
    }
    let (old, nameless) = (folder.path().join("old"), json!({ "ca": material("ca.pem") }));
    let drawn = birth(&old, "durable", nameless).await;
    assert!(!drawn.is_bound_to(OTHER));
    assert_eq!(birth(&old, "durable", known(OTHER)).await, drawn, "what it holds is known by it");
    let renewed = channel::durable::inspect::renew(&env::real(), &old, None, Some(OTHER));
    let (before, after) = renewed.unwrap();
    assert!(before == drawn && after.is_bound_to(OTHER));
    // An unreadable certificate does not stop the agent.
    let mut broken = known(OTHER);
    broken["certificate"] = json!(folder.path().join("none.pem"));
    birth(&folder.path().join("broken"), "durable", broken).await;
}

#[tokio::test]
async fn a_sink_names_the_cause_for_which_it_is_refused_each_time() {
    let bench = bench("require", &[]);
    drop(bench.played(OTHER).await);
    let unnamed = json!({ "ca": material("ca.pem"), "server_name": "localhost" });
    for (more, cause) in [
        (json!({ "tls": known("stranger") }), "rejects our certificate (UnknownCA)"),
        (json!({ "tls": unnamed }), "set `tls.certificate` and `tls.key`"),
        (json!({}), "the server uses TLS, but this client does not"),
    ] {
        for _ in 0..5 {
            let mut sink = sink(&bench.env, &bench.address, more.clone());
            let probed = within(sink.probe()).await;
            assert!(format!("{probed:?}").contains(cause), "{cause}: {probed:?}");
            if more.get("tls").is_some() {
                let opened = within(sink.open()).await;
                assert!(format!("{opened:?}").contains(cause), "{cause}: {opened:?}");
            }
            sink.close().await;
        }
    }
    let mut sink = sink(&bench.env, &bench.address, json!({ "tls": known(OTHER) }));
    let reached = within(sink.probe()).await.unwrap();
    assert!(reached.unwrap().ends_with("is reachable over TLS"));
    assert!(bench.end().is_empty(), "a probe sends nothing");
}
