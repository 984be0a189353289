//! A sink with transactions: each line is in the topic once, whatever is killed, and although two
//! agents send the same batches at the same time.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::kafka::Kafka;
use aqueduct_tests::letters::letters;
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::{seed, wait};
use rand::RngExt;

use crate::{PATIENCE, STOP};

/// Lines of a log: some fifty batches.
const LINES: usize = 2_000;
/// What the broker takes at most.
const MESSAGE_MAX: usize = 200_000;

/// An agent that sends the lines of `*.log` in `dir` to the topic `once`.
fn sender(dir: &Path, name: &str, kafka: &Kafka) -> Agent {
    let (broker, at) = (kafka.address(), dir.display());
    let text = format!(
        r#"
[agent]
name = "{name}"
data_dir = "{at}/{name}"
[sources.in]
type = "tail_dir"
paths = ["{at}/*.log"]
batch_events = 40
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
timeout = "20s"
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

/// Waits until the agent holds so many events, dead letters included.
fn until_held(agent: &Agent, events: usize) {
    wait::until("the agent to hold no more and no less", PATIENCE, || {
        let held = agent.metrics()?.sum("aqueduct_channel_events")?;
        (held == events as f64).then_some(())
    });
}

/// Waits until the brokers have committed so many events of this life of the agent.
fn until_committed(agent: &Agent, events: usize) {
    wait::until("events to be committed", PATIENCE, || {
        let committed = agent.metrics()?.sum("aqueduct_sink_committed_events_total")?;
        (committed >= events as f64).then_some(())
    });
}

/// Method: first one agent is killed at any progress, and the broker as well. Then it reads a log
/// while the broker is down, is killed, and its folder is copied: two agents have the same batches,
/// as two collectors have that an edge sends to one after the other. Both send them at the same
/// time, and are killed meanwhile. One line is too large for the broker: it is a dead letter of
/// both.
pub(crate) fn each_line_is_there_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, mut rng, began) = (folder.path(), seed::rng("kafka once"), Instant::now());
    let mut kafka = Kafka::start_with(dir, &format!("message.max.bytes={MESSAGE_MAX}\n"));
    let mut one = sender(dir, "one", &kafka);
    let mut written = Vec::new();
    one.start();
    for round in 0..5 {
        log(dir, &format!("round-{round}"), &mut written);
        until_committed(&one, rng.random_range(1..LINES));
        if round == 2 {
            kafka.kill();
            kafka.revive();
        } else {
            one.kill();
            one.start();
        }
    }
    until_held(&one, 0);
    kafka.kill();
    log(dir, "both", &mut written);
    // Bytes that are as long when they are compressed.
    let noise = (0..MESSAGE_MAX as u64 * 2)
        .map(|n| (n.wrapping_mul(n).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u8 % 90 + 33);
    let noise: String = noise.map(char::from).collect();
    fs::write(dir.join("noise.log"), format!("{noise}\n")).expect("a log is written");
    until_held(&one, LINES + 1);
    one.kill();
    let copied = Command::new("cp").arg("-r").arg(dir.join("one")).arg(dir.join("two")).status();
    assert!(copied.expect("cp runs").success());
    let mut two = sender(dir, "two", &kafka);
    kafka.revive();
    one.start();
    two.start();
    for agent in [&mut one, &mut two] {
        until_committed(agent, rng.random_range(1..LINES / 2));
        agent.kill();
        agent.start();
    }
    for agent in [&one, &two] {
        until_held(agent, 1);
    }
    two.stop(STOP);
    let committed = one.metrics().and_then(|it| it.sum("aqueduct_sink_committed_events_total"));
    log(dir, "last", &mut written);
    until_committed(&one, committed.expect("the agent answers") as usize + LINES);
    one.stop(STOP);
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
    eprintln!("{found}, {:?}", began.elapsed());
}
