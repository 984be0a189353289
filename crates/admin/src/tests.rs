//! Goal: no client of the admin pages keeps another one waiting, and `/readyz` is correct.
//!
//! Method: the listener hands out pipes in memory, and time is paused: a test that takes virtual
//! time has waited for a time limit.

use std::path::PathBuf;

use agent::boards::Boards;
use agent::dead_letters::{self, DeadLetters};
use agent::health::Health;
use agent::running::{ChannelHandle, Parts, Running};
use agent::status::Snapshot;
use async_trait::async_trait;
use control::audit::Audit;
use control::configuration::Configuration;
use control::monitor::{Monitor, Seen};
use control::reload::Reloads;
use peers::outlet::UNABLE_AFTER;
use peers::{OutletBoard, RefusalBoard};
use pipeline::{BuildContext, ErrorClass, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{Mutex, mpsc};

use metrics::Metrics;

use super::*;

mod access;
mod change;
mod events;
mod tap;

/// Bytes on their way between client and server.
const PIPE_BYTES: usize = 256;

struct Pipes {
    connected: Mutex<mpsc::UnboundedReceiver<DuplexStream>>,
}

#[async_trait]
impl Listener for Pipes {
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, String)> {
        match self.connected.lock().await.recv().await {
            Some(stream) => Ok((Box::new(stream), "client".to_owned())),
            None => std::future::pending().await,
        }
    }

    fn local_address(&self) -> String {
        "127.0.0.1:1".to_owned()
    }
}

struct Bench {
    connect: mpsc::UnboundedSender<DuplexStream>,
    health: Health,
    stopping: CancellationToken,
    pages: Arc<Pages>,
    admin: Listeners,
    /// Of the audit log.
    _folder: tempfile::TempDir,
}

fn bench() -> Bench {
    bench_of(Running::default())
}

fn bench_of(running: Running) -> Bench {
    bench_with(running, None)
}

fn bench_with(running: Running, token: Option<&str>) -> Bench {
    let guard = Guard::new("127.0.0.1:1", "127.0.0.1:1", token.map(|it| it.to_owned().into()));
    bench_behind(running, Front { kind: ListenerKind::Admin, guard: Arc::new(guard), tls: None })
}

fn bench_behind(running: Running, front: Front) -> Bench {
    let (plan, _) = config::examine("a.toml", Settings::empty(), "host");
    let (connect, connected) = mpsc::unbounded_channel();
    let listener = Pipes { connected: Mutex::new(connected) };
    let (env, metrics, folder) = (env::real(), Metrics::default(), tempfile::tempdir().unwrap());
    let config = dead_letters::Config::read(&Settings::empty()).unwrap();
    // No file is written there before the first letter.
    let letters = DeadLetters::new(config, &PathBuf::from("/nowhere"), &env, &metrics);
    let health = Health::new(env.clock.clone());
    let stopping = CancellationToken::new();
    let mut admin = Listeners(vec![Admin::new(front, Box::new(listener))]);
    let reloads = Reloads::start(None).0;
    let audit = Audit::new(folder.path(), &env);
    let monitor = Arc::new(Monitor {
        agent: "a".to_owned(),
        started: Instant::now(),
        running: Arc::new(running),
        changes: reloads.changes.clone(),
        dead_letters: Arc::new(letters),
        health: health.clone(),
        metrics,
        env,
        stopping: stopping.clone(),
        configuration: Arc::new(Configuration::new(plan, catalogue::FULL, None)),
        refusals: RefusalBoard::default(),
        seen: Seen::default(),
    });
    let pages = Arc::new(Pages { monitor, started_ms: 0, reloads, audit, live: Live::default() });
    admin.serve(&pages);
    Bench { connect, health, stopping, pages, admin, _folder: folder }
}

impl Bench {
    fn client(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(PIPE_BYTES);
        self.connect.send(server).unwrap();
        client
    }

    /// The answer to one request.
    async fn get(&self, page: &str) -> String {
        self.ask("GET", page, "").await
    }

    /// The answer to one request with these lines of headers.
    async fn ask(&self, method: &str, page: &str, headers: &str) -> String {
        let mut client = self.client();
        let request = format!("{method} {page} HTTP/1.1\r\n{headers}connection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

#[tokio::test(start_paused = true)]
async fn liveness_is_answered_immediately_despite_other_clients() {
    let bench = bench();
    let mut clients = Vec::new();
    for _ in 0..64 {
        let mut client = bench.client();
        clients.push(tokio::spawn(async move {
            while client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").await.is_ok() {}
        }));
    }
    let mut idle: Vec<DuplexStream> = (0..300).map(|_| bench.client()).collect();
    for client in &mut idle[..100] {
        // Half a request. Closed connections reject it.
        drop(client.write_all(b"GET /livez HT").await);
    }
    let began = Instant::now();
    for _ in 0..10 {
        let answer = bench.get("/livez").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("alive\n"), "{answer}");
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    clients.iter().for_each(JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_cut_off() {
    let bench = bench();
    let mut client = bench.client();
    let began = Instant::now();
    while client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").await.is_ok() {}
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_status_is_one_json_document_that_is_never_kept_by_a_cache() {
    let bench = bench();
    let source = bench.health.add_source(&"in".into());
    let answer = bench.get("/status").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    for wanted in ["content-type: application/json", "cache-control: no-store"] {
        assert!(head.contains(wanted), "{head}");
    }
    let snapshot: Snapshot = serde_json::from_str(body).unwrap();
    assert_eq!((&*snapshot.agent, snapshot.ready), ("a", false));
    assert_eq!(snapshot.reasons, ["source `in` is not open yet"]);
    bench.health.source_opened(&source);
    assert!(bench.get("/status").await.contains("\"ready\":true,\"reasons\":[]"));
}

#[tokio::test(start_paused = true)]
async fn readiness_lists_every_reason_and_names_a_sink_that_fails() {
    let bench = bench();
    let (one, other) = (bench.health.add_source(&"a".into()), bench.health.add_source(&"b".into()));
    let answer = bench.get("/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(
        answer.ends_with("\nsource `a` is not open yet\nsource `b` is not open yet\n"),
        "{answer}"
    );
    bench.health.source_opened(&one);
    other.failed("cannot listen on 127.0.0.1:1", ErrorClass::Transient, Duration::from_secs(5));
    let answer = bench.get("/readyz").await;
    let expected =
        "\nsource `b` has been failing for 0 s: cannot listen on 127.0.0.1:1; next try in";
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains(expected), "{answer}");
    bench.health.source_opened(&other);
    let answer = bench.get("/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nready\n"), "{answer}");
    let sink = bench.health.add_sink(&"s".into(), true);
    sink.failed("refused", ErrorClass::Transient, Duration::from_secs(5));
    let answer = bench.get("/readyz").await;
    let expected = "\r\n\r\nready\nsink `s` has been failing for 0 s: refused; next try in 5 s\n";
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(expected), "{answer}");
    bench.stopping.cancel();
    let answer = bench.get("/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\nstopping\n"), "{answer}");
}

/// A channel in memory with one group, not open.
fn channel(outlet: &OutletBoard) -> ChannelHandle {
    let cx = BuildContext::alone("main", &std::env::temp_dir(), env::real());
    let settings = serde_json::json!({ "capacity": "1MiB" });
    let channel = pipeline::testkit::build::<channel::memory::Config>(&settings, &cx).unwrap();
    ChannelHandle {
        kind: "memory".to_owned(),
        digest: 0,
        channel: Arc::from(channel),
        boards: Boards { outlet: outlet.clone(), ..Boards::default() },
        consumers: vec!["out".into()],
        since: Instant::now(),
    }
}

#[tokio::test(start_paused = true)]
async fn idle_group_is_named_with_its_cause_while_events_may_enter() {
    let outlet = OutletBoard::default();
    let handle = channel(&outlet);
    handle.boards.opened.open_with(0, Default::default());
    let running = Running::new(Parts {
        channels: [("main".into(), Arc::new(handle))].into(),
        ..Parts::default()
    });
    let bench = bench_of(running);
    let since = || async {
        let page = bench.get("/metrics").await;
        let line = page.lines().find(|line| line.starts_with("aqueduct_group_unable_since_sec"));
        line.unwrap().split_once(' ').unwrap().1.parse::<f64>().unwrap()
    };
    outlet.set_failing(&"out".into(), "refused\nby the store".into(), Instant::now());
    tokio::time::sleep(UNABLE_AFTER - Duration::from_secs(1)).await;
    assert!(bench.get("/readyz").await.ends_with("\r\n\r\nready\n"), "it may be over soon");
    assert_eq!(since().await, 0.0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let answer = bench.get("/readyz").await;
    let expected = "\r\n\r\nready\ngroup `out` has delivered nothing from channel `main` for 16 s: \
                    refused by the store\n";
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(expected), "{answer}");
    assert!(since().await > 1e9);
    assert!(
        bench.get("/status").await.contains("\"remarks\":[\"group `out` has delivered nothing")
    );
    outlet.set_working("out");
    assert!(bench.get("/readyz").await.ends_with("\r\n\r\nready\n"));
    assert_eq!(since().await, 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_not_open_is_named_and_every_page_answers() {
    let handle = channel(&OutletBoard::default());
    let (opened, memory) = (handle.boards.opened.clone(), handle.channel.clone());
    let running = Running::new(Parts {
        channels: [("main".into(), Arc::new(handle))].into(),
        ..Parts::default()
    });
    let bench = bench_of(running);
    tokio::time::sleep(Duration::from_secs(9)).await;
    let answer = bench.get("/readyz").await;
    let expected = "\r\n\r\nchannel `main` has not been open for 9 s: ";
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains(expected), "{answer}");
    assert!(bench.get("/status").await.contains("\"intake_stopped\":true"));
    assert!(bench.get("/account").await.starts_with("HTTP/1.1 200"));
    let metrics = bench.get("/metrics").await;
    assert!(metrics.contains("aqueduct_channel_intake_stopped{channel=\"main\"} 1"), "{metrics}");
    memory.open().await.unwrap();
    opened.open_with(memory.status().events, Default::default());
    assert!(bench.get("/readyz").await.starts_with("HTTP/1.1 200"));
}

async fn faulty() {
    panic!("on purpose");
}

#[tokio::test(start_paused = true)]
async fn a_part_that_has_panicked_is_dead_and_one_that_fails_is_not() {
    let bench = bench();
    let (files, store) =
        (bench.health.add_source(&"f".into()), bench.health.add_sink(&"s".into(), true));
    files.failed("its port is taken", ErrorClass::Transient, Duration::from_secs(1));
    store.failed("its store is away", ErrorClass::Transient, Duration::from_secs(1));
    assert!(bench.get("/livez").await.ends_with("\r\n\r\nalive\n"), "a restart would not help");
    store.clone().watch(async {}).await;
    assert!(bench.get("/livez").await.starts_with("HTTP/1.1 200"), "an end is no panic");
    for part in [files, store] {
        let task = tokio::spawn(part.watch(faulty()));
        assert!(task.await.is_err_and(|error| error.is_panic()));
    }
    let answer = bench.get("/livez").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    for part in ["source `f`: ", "sink `s`: "] {
        assert!(answer.contains(&format!("{part}its task panicked")), "{answer}");
    }
    let answer = bench.get("/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("panicked"), "{answer}");
}
