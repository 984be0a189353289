//! Goal: a log record that the source `otlp` acknowledges reaches the receiver of the sink `otlp`
//! unchanged, or becomes a dead letter, while the agent and the receiver are killed, the channel is
//! full, and the receiver rejects, delays, cuts and accepts partially.
//!
//! Method: the client is the exporter of OpenTelemetry's SDK for Python (`otlp/client.py`), which
//! sends a batch until it is acknowledged; the receiver uses OpenTelemetry's own messages, and
//! simulates failures (`otlp/receiver.py`). Between them is a real collector with a small channel,
//! which is killed (-9). Finally the test looks for each record, and compares each accepted one.
//! `otlp/collectors.rs` uses OpenTelemetry's own Collector on both sides instead.
//!
//! Lane: connector
//! Needs: python3
//! Weight: 0
//! Limit: 15m
//! Paths: crates/components-otlp deploy/otlp deploy/go

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use aqueduct_tests::agent::{Agent, program};
use aqueduct_tests::http::free_address;
use aqueduct_tests::process::{Process, tail};
use aqueduct_tests::python::environment;
use aqueduct_tests::seed;
use aqueduct_tests::wait;
use rand::prelude::*;
use serde_json::{Value, json};

mod collectors;
mod records;

const REQUIREMENTS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/otlp/requirements.txt"));

/// Number of records, in batches of [`BATCH`].
const RECORDS: usize = 6000;
const BATCH: usize = 50;
/// Kills of the agent.
const KILLS: usize = 6;
/// Timeout of a step.
const LIMIT: Duration = Duration::from_secs(60);

/// Returns the command of a script.
fn script(name: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/otlp").join(name);
    let mut command = Command::new(environment("otlp", REQUIREMENTS).join("python"));
    command.arg("-B").arg(path);
    command
}

/// The receiver, which is killed and restarted at the same address.
struct Receiver {
    grpc: SocketAddr,
    http: SocketAddr,
    dir: PathBuf,
    process: Option<Process>,
}

impl Receiver {
    fn start(dir: &Path) -> Self {
        let (grpc, http, dir) = (free_address(), free_address(), dir.to_owned());
        let mut receiver = Self { grpc, http, dir, process: None };
        receiver.set("refuse");
        receiver.again();
        receiver
    }

    /// Kills it if it is running, and starts it.
    fn again(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
        let mut command = script("receiver.py");
        command.args([self.grpc.port(), self.http.port()].map(|port| port.to_string()));
        command.args([self.dir.join("taken"), self.dir.join("mood")]);
        let mut process = Process::start("receiver", command, &self.dir.join("receiver.out"));
        wait::until("the receiver", LIMIT, || {
            assert!(process.is_alive(), "{}", tail(&process.output()));
            let both = TcpStream::connect(self.grpc).and(TcpStream::connect(self.http));
            both.ok()
        });
        self.process = Some(process);
    }

    fn set(&self, mood: &str) {
        // Rename atomically, because the receiver reads the file at any moment.
        let new = self.dir.join("mood.new");
        fs::write(&new, mood).expect("the folder of the test");
        fs::rename(new, self.dir.join("mood")).expect("the folder of the test");
    }

    /// Counts how often each record was accepted. Each must be unchanged.
    fn taken(&self) -> BTreeMap<usize, usize> {
        let text = fs::read_to_string(self.dir.join("taken")).unwrap_or_default();
        let mut taken = BTreeMap::new();
        // An incomplete line comes from a killed receiver, which had not responded.
        for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let number = number(line["body"].as_str().expect("a text"));
            assert_eq!(line, record(number));
            *taken.entry(number).or_default() += 1;
        }
        taken
    }
}

fn number(body: &str) -> usize {
    body.strip_prefix("line-").and_then(|number| number.parse().ok()).expect("a line of the client")
}

/// Returns the receiver's form of a record.
fn record(number: usize) -> Value {
    json!({
        "body": format!("line-{number}"), "service": "shop", "instance": 7,
        "scope": ["test.lib", "1.2"], "severity": [17, "ERROR"], "event": "sold", "flags": 1,
        "time": 1_700_000_000_000_000_000 + number as u64, "observed": 1_700_000_000_000_000_001u64,
        "trace": number + 1, "span": number + 2,
        "attributes": { "n": number, "ok": true, "list": [1.5, 2.5], "text": "x".repeat(200) },
    })
}

/// Returns a collector between client and receiver.
fn agent(dir: &Path, protocol: &str, listen: SocketAddr, url: SocketAddr) -> Agent {
    let text = format!(
        r#"
[agent]
data_dir = "{}/data"
[sources.in]
type = "otlp"
listen = ["{listen}"]
wait_max = "300ms"
channels = ["main"]
[channels.main]
type = "durable"
capacity = "1MiB"
[sinks.out]
type = "otlp"
url = "http://{url}"
protocol = "{protocol}"
events_max = 100
timeout = "5s"
channel = "main"
"#,
        dir.display()
    );
    Agent::configured("aqueduct-collector", dir, "agent", &text)
}

/// Starts a client of the records from `first` on; its output goes to `NAME.out`.
fn client(dir: &Path, protocol: &str, to: SocketAddr, first: usize, records: usize) -> Process {
    let mut command = script("client.py");
    command.args([protocol, &format!("http://{to}")]);
    command.args([first, first + records, BATCH].map(|number| number.to_string()));
    Process::start("client", command, &dir.join("client.out"))
}

/// Returns the records among the dead letters, by their reason. After a partial success, the reason
/// contains the number of rejected records.
fn letters(dir: &Path) -> BTreeMap<String, Vec<usize>> {
    let mut command = program("aqueduct");
    command.args(["dlq", "show"]).arg(dir.join("data"));
    command.args(["--format", "json", "--limit", "1000000"]);
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut letters: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for letter in text.lines() {
        let letter: Value = serde_json::from_str(letter).expect("a letter");
        let reason = letter["reason"].as_str().expect("a reason").to_owned();
        let events = letter["events"].as_array().expect("events");
        let numbers = events.iter().map(|event| number(event["body"].as_str().expect("a body")));
        let numbers: Vec<usize> = numbers.collect();
        if reason == "partly_rejected" {
            let sevens = numbers.iter().filter(|number| *number % 10 == 7).count();
            let expected = format!("rejected {sevens} of {} ", numbers.len());
            assert!(letter["detail"].as_str().expect("a text").contains(&expected), "{letter}");
        }
        letters.entry(reason).or_default().extend(numbers);
    }
    letters
}

/// Waits until each of these records is at the receiver or among the dead letters.
fn wait_for(dir: &Path, receiver: &Receiver, records: std::ops::Range<usize>) {
    wait::until("every record", LIMIT, || {
        let (taken, letters) = (receiver.taken(), letters(dir));
        let refused: Vec<usize> = letters.into_values().flatten().collect();
        let is_there = |number: &usize| taken.contains_key(number) || refused.contains(number);
        records.clone().all(|number| is_there(&number)).then_some(())
    });
}

/// Returns how many batches are acknowledged according to a client.
fn acknowledged(said: &str) -> usize {
    said.lines().filter(|line| line.starts_with("acked")).count()
}

/// Sends all records through an agent that is killed.
fn acknowledged_records_arrive(protocol: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, listen) = (folder.path(), free_address());
    let mut receiver = Receiver::start(dir);
    let url = if protocol == "grpc" { receiver.grpc } else { receiver.http };
    let mut agent = agent(dir, protocol, listen, url);
    agent.start();
    let mut sending = client(dir, protocol, listen, 0, RECORDS);
    // Nothing leaves the channel, so it fills up, and its client is notified.
    let busy = if protocol == "grpc" { "RESOURCE_EXHAUSTED" } else { "Too Many Requests" };
    wait::until("a full channel", LIMIT, || sending.output().contains(busy).then_some(()));
    receiver.set("moody");
    let mut rng = seed::rng("otlp");
    // Each kill has its own part of the batches, and one part remains: however fast the machine is,
    // more batches follow.
    let part = RECORDS / BATCH / (KILLS + 1);
    for kill in 0..KILLS {
        let sooner = kill * part + rng.random_range(0..part);
        wait::until("batches to be acknowledged", LIMIT, || {
            assert!(sending.is_alive(), "it ended too soon: {}", tail(&sending.output()));
            (acknowledged(&sending.output()) > sooner).then_some(())
        });
        thread::sleep(Duration::from_millis(rng.random_range(0..60)));
        agent.kill();
        agent.start();
        if kill == KILLS / 2 {
            receiver.again();
        }
    }
    assert!(sending.wait(LIMIT).success(), "{}", tail(&sending.output()));
    let said = sending.output();
    assert_eq!(acknowledged(&said), RECORDS / BATCH, "{}", tail(&said));
    receiver.set("good");
    wait_for(dir, &receiver, 0..RECORDS);
    let letters = letters(dir);
    assert_eq!(letters.keys().collect::<Vec<_>>(), ["partly_rejected"]);

    // Permanently rejected records become dead letters, and block nothing.
    receiver.set("bad");
    let mut last = client(dir, protocol, listen, RECORDS, BATCH);
    assert!(last.wait(LIMIT).success(), "{}", tail(&last.output()));
    wait_for(dir, &receiver, RECORDS..RECORDS + BATCH);
    assert_eq!(self::letters(dir)["refused"].len(), BATCH);
    agent.stop(LIMIT);
    let taken = receiver.taken();
    eprintln!(
        "{protocol}: {RECORDS} records, {} taken {} times, {} letters of partial success, {} times \
         refused or without an answer",
        taken.len(),
        taken.values().sum::<usize>(),
        letters["partly_rejected"].len(),
        said.matches("again").count(),
    );
}

#[test]
#[ignore = "needs the programs and Python: tests/run"]
fn acknowledged_records_arrive_over_grpc() {
    acknowledged_records_arrive("grpc");
}

#[test]
#[ignore = "needs the programs and Python: tests/run"]
fn acknowledged_records_arrive_over_http() {
    acknowledged_records_arrive("http");
}
