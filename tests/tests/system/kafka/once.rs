//! A sink with transactions: each line is in the topic once, whatever is killed, and although two
//! agents send the same batches at the same time.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, ROLL, wait_until_delivered};
use aqueduct_tests::http::free_address;
use aqueduct_tests::kafka::Kafka;
use aqueduct_tests::letters::letters;
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::store;
use aqueduct_tests::{seed, wait};
use rand::RngExt;
use rustix::process::Signal;
use serde_json::Value;

use super::{PATIENCE, STOP};

/// Lines per log: about fifty batches.
const LINES: usize = 2_000;
/// Lines per batch.
const BATCH: usize = 40;
/// Maximum time until a decided transaction is complete.
const DECIDED_WITHIN: Duration = Duration::from_millis(500);
/// Maximum time until a missing broker is reported, with a `timeout` of 3 s: this timeout, the 5 s
/// for which the client waits for an abort, and the same again for a busy machine. Three attempts
/// with their pauses take 18 s.
const SAID_WITHIN: Duration = Duration::from_secs(16);
/// Maximum message size of the broker.
const MESSAGE_MAX: usize = 200_000;

/// Returns an agent that stores the spans of all batches.
fn receiver(dir: &Path, listen: &str) -> Agent {
    let at = dir.display();
    let text = format!(
        "[agent]\ndata_dir = \"{at}/receiver\"\n\
         [sources.in]\ntype = \"otlp\"\nlisten = [\"{listen}\"]\nchannels = [\"main\"]\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.out]\ntype = \"hdfs\"\nurl = \"file://{at}/spans/%Y\"\nchannel = \"main\"\n{ROLL}\n"
    );
    Agent::configured("aqueduct-collector", dir, "receiver", &text)
}

/// Returns the number of traces that end with a commit into the topic.
fn committed_traces(dir: &Path) -> usize {
    let spans = store::events(&dir.join("spans")).into_iter();
    let is_commit = |span: &Value| {
        let more = span["attributes"].to_string();
        span["name"] == "commit" && more.contains("aqueduct.topics") && more.contains("\"once\"")
    };
    let traces = spans.filter(is_commit).map(|span: Value| span["traceId"].to_string());
    traces.collect::<BTreeSet<_>>().len()
}

/// Returns an agent that sends the lines of `*.log` in `dir` to the topic `once`.
fn sender(dir: &Path, name: &str, kafka: &Kafka, spans: &str, timeout: &str) -> Agent {
    let (broker, at) = (kafka.address(), dir.display());
    let text = format!(
        r#"
[agent]
name = "{name}"
data_dir = "{at}/{name}"
traces = {{ url = "http://{spans}", sample = 1.0 }}
[sources.in]
type = "tail_dir"
paths = ["{at}/*.log"]
batch_events = {BATCH}
channels = ["main"]
[channels.main]
type = "durable"
capacity = "64MiB"
[sinks.out]
type = "kafka"
channel = "main"
brokers = ["{broker}"]
topic = "once"
exactly_once = true
timeout = "{timeout}"
properties = {{ "reconnect.backoff.max.ms" = "500" }}
"#
    );
    Agent::configured("aqueduct-collector", dir, name, &text)
}

/// Writes a log, and adds its lines to `all`.
fn log(dir: &Path, name: &str, all: &mut Vec<u8>) {
    let text: String = (0..LINES).map(|line| format!("{name} {line}\n")).collect();
    all.extend_from_slice(text.as_bytes());
    fs::write(dir.join(format!("{name}.log")), text).expect("a log is written");
}

/// Returns the number of events that the brokers have committed since the agent's start.
fn committed(agent: &Agent) -> Option<usize> {
    Some(agent.metrics()?.sum("aqueduct_sink_committed_events_total")? as usize)
}

/// Returns the number of transactions since the agent's start.
fn transactions(agent: &Agent) -> usize {
    let metrics = agent.metrics().expect("the agent answers");
    metrics.sum("aqueduct_kafka_transactions_total").expect("it is counted") as usize
}

/// Returns the number of events in the agent, including dead letters.
fn held(agent: &Agent) -> Option<usize> {
    Some(agent.metrics()?.sum("aqueduct_channel_events")? as usize)
}

fn until_committed(agent: &Agent, events: usize) {
    wait::until("events to be committed", PATIENCE, || (committed(agent)? >= events).then_some(()));
}

/// Kills the broker while a transaction of the agent may be open, but none is decided: a single
/// broker killed between the decision and its markers may leave a transaction that hangs
/// permanently.
fn kill_undecided(kafka: &mut Kafka, agent: &mut Agent) {
    agent.process().signal(Signal::STOP);
    thread::sleep(DECIDED_WITHIN);
    kafka.kill();
    agent.process().signal(Signal::CONT);
}

/// Method: first an agent is killed at any progress. Then the broker is killed, and the agent when
/// it has read everything; its folder is copied, so that two agents have the same batches, like two
/// collectors to which an edge sends in turn. Both send them at the same time, and are killed
/// meanwhile. One line is too large for the broker and becomes a dead letter of both. Every batch
/// is traced, and the last ones must end with their commits.
pub(crate) fn each_line_is_there_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, mut rng, began) = (folder.path(), seed::rng("kafka once"), Instant::now());
    let mut kafka = Kafka::start_with(dir, &format!("message.max.bytes={MESSAGE_MAX}\n"));
    let spans = free_address().to_string();
    let mut receiver = receiver(dir, &spans);
    receiver.start();
    let mut one = sender(dir, "one", &kafka, &spans, "20s");
    let mut written = Vec::new();
    one.start();
    for round in 0..4 {
        log(dir, &format!("round-{round}"), &mut written);
        until_committed(&one, rng.random_range(1..LINES));
        one.kill();
        one.start();
    }
    wait_until_delivered(&one, PATIENCE);
    let before = committed(&one).expect("the agent answers");
    log(dir, "cut", &mut written);
    until_committed(&one, before + rng.random_range(1..LINES));
    kill_undecided(&mut kafka, &mut one);
    log(dir, "both", &mut written);
    // Incompressible bytes.
    let noise = (0..MESSAGE_MAX as u64 * 2)
        .map(|n| (n.wrapping_mul(n).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u8 % 90 + 33);
    let noise: String = noise.map(char::from).collect();
    fs::write(dir.join("noise.log"), format!("{noise}\n")).expect("a log is written");
    wait::until("all lines in the channel", PATIENCE, || {
        let rest = before + 2 * LINES + 1 - committed(&one)?;
        (held(&one)? == rest).then_some(())
    });
    one.kill();
    let copied = Command::new("cp").arg("-r").arg(dir.join("one")).arg(dir.join("two")).status();
    assert!(copied.expect("cp runs").success());
    let mut two = sender(dir, "two", &kafka, &spans, "20s");
    kafka.revive();
    one.start();
    two.start();
    for agent in [&mut one, &mut two] {
        until_committed(agent, rng.random_range(1..LINES / 4));
        agent.kill();
        agent.start();
    }
    for agent in [&one, &two] {
        wait::until("nothing but the letter", PATIENCE, || {
            let to_send = agent.metrics()?.value("aqueduct_channel_events{channel=\"main\"}")?;
            (to_send == 0.0 && held(agent)? == 1).then_some(())
        });
    }
    two.stop(STOP);
    let before = committed(&one).expect("the agent answers");
    let transactions_before = transactions(&one);
    log(dir, "last", &mut written);
    until_committed(&one, before + LINES);
    // Some transactions contained several batches.
    let transactions = transactions(&one) - transactions_before;
    assert!((1..LINES / BATCH).contains(&transactions), "{transactions} transactions");
    one.stop(STOP);
    // On a stop, the agent sends its remaining spans.
    wait::until("a span of each commit", PATIENCE, || {
        (committed_traces(dir) >= LINES / BATCH).then_some(())
    });
    receiver.stop(STOP);
    for name in ["one", "two"] {
        assert_eq!(letters(&dir.join(name), &["too_large"]), [&*noise], "letters of {name}");
    }
    let mut found = Vec::new();
    for message in kafka.read("once") {
        found.extend_from_slice(&message.body);
        found.push(b'\n');
    }
    let found = compare(&written, &found);
    assert!(found.is_none(), "{found}");
    eprintln!("{found}, {transactions} transactions of the last, {:?}", began.elapsed());
}

/// Method: the broker is killed permanently, and then a batch arrives.
#[test]
#[ignore = "needs the programs, Java and Maven: tests/run"]
fn dead_broker_is_reported_after_one_transaction_attempt() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let mut kafka = Kafka::start(dir);
    let mut agent = sender(dir, "one", &kafka, &free_address().to_string(), "3s");
    log(dir, "before", &mut Vec::new());
    agent.start();
    wait_until_delivered(&agent, PATIENCE);
    kafka.kill();
    let killed = Instant::now();
    log(dir, "behind", &mut Vec::new());
    agent.until_logged("sink failed", SAID_WITHIN);
    eprintln!("said {:?} after the broker was killed", killed.elapsed());
}
