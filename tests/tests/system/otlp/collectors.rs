//! Goal: log records, spans and metrics given to an OpenTelemetry Collector reach another one
//! through the source and the sink `otlp` unchanged, with resource and scope, while the agent
//! between the two is killed, its channel is full, and the second Collector is down and is killed.
//!
//! Method: both are the published Collector (`collector/main.go`), the first with a queue and its
//! retries, the second with its exporter to files. It writes before it responds, because a file
//! that may be rotated has no buffer there: a kill loses nothing that it has acknowledged.
//!
//! ```text
//!   this test ─JSON─► otlp ─► queue ─► otlp_grpc │ otlp_http ─► agent ─► otlp ─► file ─► this test
//!                     └────── first Collector ─────────────┘   -9 ×4    └ second, -9 ┘
//! ```
//!
//! The output is compared with the input, as OTLP JSON on both ends.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::records::{BATCH, SIGNALS, count, request, signal_of};
use super::{LIMIT, agent, letters};
use aqueduct_tests::go;
use aqueduct_tests::http::free_address;
use aqueduct_tests::process::{Process, tail};
use aqueduct_tests::seed;
use aqueduct_tests::wait;
use rand::prelude::*;

/// Requests that fill the channel, while nothing leaves it.
const FILLING: usize = 40;
/// Requests before each kill.
const BETWEEN: usize = 9;
/// Kills of the agent.
const KILLS: usize = 4;

/// A Collector with this configuration, which is killed and restarted at the same address.
struct Collector {
    name: &'static str,
    dir: PathBuf,
    /// The first of its addresses.
    at: SocketAddr,
    process: Option<Process>,
}

impl Collector {
    /// Creates a stopped Collector.
    fn new(name: &'static str, dir: &Path, at: SocketAddr, text: &str) -> Self {
        fs::write(dir.join(name), text).expect("the folder of the test");
        Self { name, dir: dir.to_owned(), at, process: None }
    }

    fn start(&mut self) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/otlp/collector");
        let mut command = Command::new(go::compiled("otel-collector", &folder));
        command.arg(self.dir.join(self.name));
        let mut process = Process::start(self.name, command, &self.log());
        wait::until(self.name, LIMIT, || {
            assert!(process.is_alive(), "{}", tail(&process.output()));
            TcpStream::connect(self.at).ok()
        });
        self.process = Some(process);
    }

    fn log(&self) -> PathBuf {
        self.dir.join(format!("{}.out", self.name))
    }

    fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    fn stop(mut self) {
        self.process.take().expect("it runs").stop(LIMIT);
    }

    fn output(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }
}

/// The first Collector: its records wait in its queue until the agent has them, and are sent in
/// different batches than received.
fn first(dir: &Path, protocol: &str, agent: SocketAddr) -> Collector {
    let at = free_address();
    let to = match protocol {
        "grpc" => format!("\n    endpoint: {agent}\n    tls: {{ insecure: true }}"),
        _ => format!("\n    endpoint: http://{agent}"),
    };
    let text = format!(
        "
receivers:
  otlp:
    protocols: {{ http: {{ endpoint: {at} }} }}
exporters:
  otlp_{protocol}:{to}
    timeout: 2s
    retry_on_failure:
      initial_interval: 100ms
      max_interval: 300ms
      max_elapsed_time: 0
    sending_queue:
      batch: {{ sizer: items, min_size: 45, max_size: 45, flush_timeout: 100ms }}
service:
  pipelines:
    logs: {{ receivers: [otlp], exporters: [otlp_{protocol}] }}
    traces: {{ receivers: [otlp], exporters: [otlp_{protocol}] }}
    metrics: {{ receivers: [otlp], exporters: [otlp_{protocol}] }}
"
    );
    Collector::new("first.yaml", dir, at, &text)
}

/// The second Collector, which receives over this protocol.
fn second(dir: &Path, protocol: &str) -> Collector {
    let (at, file) = (free_address(), dir.join("taken"));
    let text = format!(
        "
receivers:
  otlp:
    protocols: {{ {protocol}: {{ endpoint: {at} }} }}
exporters:
  file:
    path: {}
    rotation: {{ max_megabytes: 10000 }}
service:
  pipelines:
    logs: {{ receivers: [otlp], exporters: [file] }}
    traces: {{ receivers: [otlp], exporters: [file] }}
    metrics: {{ receivers: [otlp], exporters: [file] }}
",
        file.display()
    );
    Collector::new("second.yaml", dir, at, &text)
}

/// Gives the first Collector requests of each signal in turn.
struct Client {
    to: SocketAddr,
    /// Number of records given so far.
    given: usize,
}

impl Client {
    fn give(&mut self, requests: usize) {
        for _ in 0..requests {
            let first = self.given;
            let signal = signal_of(first);
            let body = request(first).to_string();
            let status = wait::until("an answer", LIMIT, || post(self.to, signal.path, &body));
            // Its queue has space for all of them.
            assert_eq!(status, "200", "{}", signal.path);
            self.given += BATCH;
        }
    }
}

/// Posts this JSON. Returns the status of the response, if any.
fn post(to: SocketAddr, path: &str, body: &str) -> Option<String> {
    let mut stream = TcpStream::connect(to).ok()?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split(' ').nth(1)?.to_owned())
}

/// Counts how often the second Collector has accepted each record; each must be unchanged.
fn taken(dir: &Path) -> BTreeMap<usize, usize> {
    let text = fs::read_to_string(dir.join("taken")).unwrap_or_default();
    let mut taken = BTreeMap::new();
    for signal in &SIGNALS {
        // An incomplete request comes from a killed Collector, which had not responded.
        for (start, _) in text.match_indices(&format!("{{\"{}\":", signal.resources)) {
            let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter();
            let Some(Ok(request)) = values.next() else { continue };
            count(signal, &request, &mut taken);
        }
    }
    taken
}

/// Gives all records while the agent and the second Collector are killed.
fn a_collector_reaches_a_collector(protocol: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, listen) = (folder.path(), free_address());
    let mut second = second(dir, protocol);
    let mut agent = agent(dir, protocol, listen, second.at);
    agent.start();
    let mut first = first(dir, protocol, listen);
    first.start();
    let mut client = Client { to: first.at, given: 0 };
    // Nothing leaves the channel, so it fills up, and the first Collector is notified.
    client.give(FILLING);
    let busy = if protocol == "grpc" { "ResourceExhausted" } else { "429" };
    wait::until("a full channel", LIMIT, || first.output().contains(busy).then_some(()));
    second.start();
    let mut rng = seed::rng("collectors");
    for kill in 0..KILLS {
        client.give(BETWEEN);
        thread::sleep(Duration::from_millis(rng.random_range(0..60)));
        agent.kill();
        if kill == KILLS / 2 {
            // The agent starts without it, and still has the content of the channel.
            second.kill();
            agent.start();
            client.give(BETWEEN);
            second.start();
        } else {
            agent.start();
        }
    }
    let (given, mut last) = (client.given, BTreeMap::new());
    wait::until("every record", LIMIT, || {
        last = taken(dir);
        (last.len() == given).then_some(())
    });
    assert!(letters(dir).is_empty(), "{:?}", letters(dir).keys());
    let refused = first.output().matches(busy).count();
    agent.stop(LIMIT);
    first.stop();
    second.stop();
    let taken = taken(dir);
    assert!(taken.keys().copied().eq(0..given), "others than were given");
    eprintln!(
        "{protocol}: {given} records of logs, traces and metrics, taken {} times; {refused} \
         requests had to come again",
        taken.values().sum::<usize>(),
    );
}

#[test]
#[ignore = "needs the programs and Python: tests/run"]
fn records_of_a_collector_reach_a_collector_over_grpc() {
    a_collector_reaches_a_collector("grpc");
}

#[test]
#[ignore = "needs the programs and Python: tests/run"]
fn records_of_a_collector_reach_a_collector_over_http() {
    a_collector_reaches_a_collector("http");
}
