//! How fast the sink empties a channel, compared with `kafka-producer-perf-test` with the same
//! client settings.

use std::path::Path;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::kafka::Kafka;
use aqueduct_tests::wait;

use super::STOP;

const MESSAGES: usize = 1_000_000;
const BYTES: usize = 1_000;
/// Number of measurements of each, in turn.
const ROUNDS: usize = 3;
/// Timeout of a measurement.
const LIMIT: Duration = Duration::from_secs(300);

/// The settings of the sink, in the notation of the Java client.
const SAME: [&str; 6] = [
    "acks=all",
    "enable.idempotence=true",
    "linger.ms=5",
    "batch.size=1000000",
    "buffer.memory=67108864",
    "compression.type=none",
];

/// Returns an agent that generates this many events, and sends the content of its channel.
fn agent(dir: &Path, name: &str, kafka: &Kafka, topic: &str, events: usize) -> Agent {
    let (broker, at) = (kafka.address(), dir.display());
    let is_once = topic == "once";
    let text = format!(
        r#"
[agent]
data_dir = "{at}/{name}"
[sources.in]
type = "stress"
size = "{BYTES}B"
max_successful_events = {events}
channels = ["main"]
[channels.main]
type = "durable"
capacity = "4GiB"
[sinks.out]
type = "kafka"
channel = "main"
brokers = ["{broker}"]
topic = "{topic}"
exactly_once = {is_once}
"#
    );
    Agent::configured("aqueduct-collector", dir, name, &text)
}

fn held(agent: &Agent) -> Option<f64> {
    agent.metrics()?.sum("aqueduct_channel_events")
}

/// Returns messages per second, from the start of the process to the last acknowledgement.
fn of_the_sink(dir: &Path, kafka: &mut Kafka, topic: &str, round: usize) -> f64 {
    let name = format!("{topic}-{round}");
    kafka.kill();
    let mut filling = agent(dir, &name, kafka, topic, MESSAGES);
    filling.start();
    wait::until("the backlog", LIMIT, || (held(&filling)? >= MESSAGES as f64).then_some(()));
    filling.stop(STOP);
    kafka.revive();
    let mut sending = agent(dir, &name, kafka, topic, 1);
    let began = Instant::now();
    sending.start();
    wait::until("an empty channel", LIMIT, || (held(&sending)? == 0.0).then_some(()));
    let took = began.elapsed().as_secs_f64();
    sending.stop(STOP);
    MESSAGES as f64 / took
}

/// Measures both ways of the sink, and prints messages per second and the ratios.
pub(crate) fn of_a_backlog() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let mut kafka = Kafka::start(dir);
    for (topic, more) in [("least", None), ("once", Some("transactional.id=measured"))] {
        let properties: Vec<&str> = SAME.into_iter().chain(more).collect();
        for round in 0..ROUNDS {
            let theirs = kafka.measure("theirs", MESSAGES, BYTES, &properties);
            let ours = of_the_sink(dir, &mut kafka, topic, round);
            let ratio = ours / theirs;
            eprintln!("{topic}: {ours:.0}/s of {theirs:.0}/s by Kafka's own tool: {ratio:.2}");
        }
    }
}
