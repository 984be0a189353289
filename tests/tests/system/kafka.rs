//! Goal: every message of a topic is stored, and stored once while its partition stays or is
//! revoked orderly, whatever is killed; every event of a sink is in its topic.
//!
//! Method: a real broker, and the real programs. Messages arrive all the time, and their producer
//! knows the partition and offset of each one. The tests check the files: the headers of each line
//! identify its message. For the sink, the messages that a reader finds in the topic are compared
//! with the lines of a file.
//!
//! ```text
//!   producer ─► topic ─► kafka source ─► durable ─► hdfs sink, `file://`
//!   file ─► tail_dir ─► durable ─► kafka sink ─► topic ─► reader
//! ```
//!
//! Lane: connector
//! Needs: java openssl mvn krb5kdc kadmin.local gssapi
//! Weight: 0
//! Limit: 15m
//! Paths: crates/components-kafka crates/sasl2 crates/web deploy/kafka

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::kafka::{Kafka, Sent};
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::{is_long, seed, wait};
use rand::RngExt;
use serde_json::Value;

mod cuts;
mod once;
mod rate;
mod secured;
mod tickets;
mod token_server;
mod tokens;

/// Timeout until all is stored.
const PATIENCE: Duration = Duration::from_secs(60);
/// Timeout of a stop.
const STOP: Duration = Duration::from_secs(25);
/// Approximate messages per second.
const RATE: usize = 2_000;

/// A steady load of messages.
struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Sent>>,
}

/// Stop the load if a test fails.
impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Load {
    fn start(kafka: &Kafka, topic: &'static str, compression: &str) -> Self {
        let producer = kafka.producer(compression);
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let thread = thread::spawn(move || {
            let mut number = 0;
            while !stopping.load(Ordering::Relaxed) {
                for _ in 0..RATE / 100 {
                    producer.send(topic, &format!("{number} {}", "x".repeat(number % 400)));
                    number += 1;
                }
                thread::sleep(Duration::from_millis(10));
            }
            producer.finish()
        });
        Self { stop, thread: Some(thread) }
    }

    /// Stops the load. Returns the positions of all messages.
    fn end(mut self) -> Sent {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is taken here alone");
        thread.join().expect("every message is acknowledged")
    }
}

/// Time without a sign after which the broker gives partitions of a reader to the others. A busy
/// machine stops readers for some seconds.
const SESSION: Duration = Duration::from_secs(10);

/// Returns an agent that reads `logs` and stores below the link `store` in its folder.
fn reader(dir: &Path, name: &str, kafka: &Kafka, more: &str) -> Agent {
    let own = dir.join(name);
    fs::create_dir_all(own.join("files")).expect("the test's own folder");
    symlink("files", own.join("store")).expect("a link to the store");
    let (broker, at, session) = (kafka.address(), own.display(), SESSION.as_millis());
    let text = format!(
        r#"
[agent]
name = "{name}"
data_dir = "{at}/data"
[sources.in]
type = "kafka"
brokers = ["{broker}"]
topics = ["logs"]
group = "stores"
headers = {{ place = "site" }}
{more}
channels = ["main"]
[sources.in.properties]
"session.timeout.ms" = "{session}"
"heartbeat.interval.ms" = "500"
"reconnect.backoff.max.ms" = "500"
[channels.main]
type = "durable"
capacity = "4MiB"
[sinks.store]
type = "hdfs"
url = "file://{at}/store/%Y"
encoder = "json"
channel = "main"
roll = {{ age_max = "1s", idle_max = "1s" }}
"#
    );
    Agent::configured("aqueduct-collector", &own, "agent", &text)
}

/// Counts how often each message is in the files of these agents, by partition and offset.
fn stored(dir: &Path, agents: &[&str]) -> BTreeMap<(i32, i64), (String, usize)> {
    let mut found = BTreeMap::new();
    for agent in agents {
        let years = fs::read_dir(dir.join(agent).join("files")).into_iter().flatten().flatten();
        let years = years.filter(|entry| entry.file_name() != "_aqueduct");
        for file in years.flat_map(|year| fs::read_dir(year.path()).expect("a folder")) {
            let text = fs::read_to_string(file.expect("a file").path()).expect("a whole file");
            for line in text.lines() {
                let event: Value = serde_json::from_str(line).expect("each line is an event");
                let (headers, body) = (&event["headers"], &event["body"]);
                assert_eq!(headers["topic"], "logs");
                assert_eq!(headers["place"], "Zürich");
                assert_eq!(headers["key"], *body);
                let number = |name: &str| headers[name].as_str()?.parse::<i64>().ok();
                let partition = number("partition").expect("a partition");
                assert!(number("timestamp").is_some_and(|at| at > 1_700_000_000_000));
                let at = (partition as i32, number("offset").expect("an offset"));
                let body = body.as_str().expect("a text").to_owned();
                found.entry(at).or_insert((body, 0)).1 += 1;
            }
        }
    }
    found
}

/// Waits until every message is stored. Returns the number of duplicates.
fn repeats(dir: &Path, agents: &[&str], sent: &Sent) -> usize {
    wait::until("every message to be stored", PATIENCE, || {
        thread::sleep(Duration::from_millis(300));
        (stored(dir, agents).len() >= sent.len()).then_some(())
    });
    // Resent messages would be stored now.
    thread::sleep(Duration::from_secs(2));
    let found = stored(dir, agents);
    let times: usize = found.values().map(|(_, times)| times - 1).sum();
    let found: Sent = found.into_iter().map(|(at, (body, _))| (at, body)).collect();
    let missing: Vec<_> = sent.iter().filter(|(at, _)| !found.contains_key(*at)).take(3).collect();
    assert!(found == *sent, "{} of {}; missing {missing:?}", found.len(), sent.len());
    times
}

#[test]
#[ignore = "needs the programs, Java and Maven: tests/run"]
fn each_message_is_stored_once_through_kills_and_a_full_channel() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, mut rng, began) = (folder.path(), seed::rng("kafka"), Instant::now());
    let mut kafka = Kafka::start(dir);
    let load = Load::start(&kafka, "logs", "lz4");
    // With a fixed instance name it gets its partitions back immediately.
    let mut agent = reader(dir, "one", &kafka, "instance = \"one\"");
    agent.start();
    for kill in 0..5 {
        thread::sleep(Duration::from_millis(rng.random_range(500..1_500)));
        agent.kill();
        if kill == 2 {
            kafka.kill();
            agent.start();
            kafka.revive();
        } else {
            agent.start();
        }
    }
    let link = dir.join("one/store");
    agent.kill();
    fs::remove_file(&link).expect("the link goes");
    fs::write(&link, "in the way").expect("a file takes its place");
    agent.start();
    wait::until("the channel to be full", PATIENCE, || {
        let metrics = agent.metrics()?;
        let lag = metrics.sum("aqueduct_kafka_lag_messages")?;
        (lag > RATE as f64 * 4.0).then_some(())
    });
    agent.kill();
    fs::remove_file(&link).expect("the file goes");
    symlink("files", &link).expect("the link is back");
    agent.start();
    let sent = load.end();
    assert_eq!(repeats(dir, &["one"], &sent), 0, "messages are stored again");
    agent.stop(STOP);
    eprintln!("{} messages, each once, {:?}", sent.len(), began.elapsed());
}

#[test]
#[ignore = "needs the programs, Java and Maven: tests/run"]
fn partition_handover_loses_nothing_and_repeats_only_after_a_kill() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    let kafka = Kafka::start(dir);
    let both = ["one", "two"];
    let [mut one, mut two] = both.map(|name| reader(dir, name, &kafka, ""));
    let load = Load::start(&kafka, "logs", "zstd");
    one.start();
    thread::sleep(Duration::from_secs(2));
    two.start();
    wait::until("the second agent to have some", PATIENCE, || {
        (stored(dir, &["two"]).len() > RATE).then_some(())
    });
    two.stop(STOP);
    let mut sent = load.end();
    assert_eq!(repeats(dir, &both, &sent), 0, "an orderly hand-over repeats messages");

    let load = Load::start(&kafka, "logs", "gzip");
    two.start();
    let before = stored(dir, &["two"]).len();
    wait::until("the second agent to have more", PATIENCE, || {
        (stored(dir, &["two"]).len() > before + RATE).then_some(())
    });
    two.kill();
    // Its session expires, and the first one gets all partitions.
    thread::sleep(SESSION + Duration::from_secs(1));
    two.start();
    thread::sleep(Duration::from_secs(2));
    sent.extend(load.end());
    let again = repeats(dir, &both, &sent);
    assert!(again <= 3 * RATE, "{again} messages again: more than since the last offset");
    one.stop(STOP);
    two.stop(STOP);
    eprintln!("{} messages, {again} again after a kill, {:?}", sent.len(), began.elapsed());
}

/// Lines per log.
const LINES: usize = 2_000;

/// Returns an agent that sends the lines of `*.log` in its folder to the topic `lines`.
fn sender(dir: &Path, kafka: &Kafka) -> Agent {
    let own = dir.join("sink");
    fs::create_dir_all(&own).expect("the test's own folder");
    let (broker, at) = (kafka.address(), own.display());
    let text = format!(
        r#"
[agent]
name = "sink"
data_dir = "{at}/data"
[sources.in]
type = "tail_dir"
paths = ["{at}/*.log"]
channels = ["main"]
interceptors = [{{ type = "static", key = "site", value = "Zürich" }}]
[channels.main]
type = "durable"
capacity = "64MiB"
[sinks.out]
type = "kafka"
channel = "main"
brokers = ["{broker}"]
topic = "lines"
compression = "lz4"
headers = {{ place = "site" }}
properties = {{ "reconnect.backoff.max.ms" = "500" }}
"#
    );
    Agent::configured("aqueduct-collector", &own, "agent", &text)
}

/// Writes a log, and adds its lines to `all`.
fn log(dir: &Path, name: &str, all: &mut Vec<u8>) {
    let text: String = (0..LINES).map(|line| format!("{name} {line}\n")).collect();
    all.extend_from_slice(text.as_bytes());
    fs::write(dir.join(format!("sink/{name}.log")), text).expect("a log is written");
}

/// Returns the messages of the topic as lines, once all of `written` are there.
fn in_topic(kafka: &Kafka, written: &[u8]) -> Vec<u8> {
    let mut last = Vec::new();
    wait::until("every line in the topic", PATIENCE, || {
        let found = kafka.read("lines");
        assert!(found.iter().all(|one| one.key.is_none()));
        assert!(found.iter().all(|one| one.headers["place"] == "Zürich"));
        // Unchanged in two reads: no more messages arrive.
        let found: Vec<u8> =
            found.into_iter().flat_map(|one| [one.body, b"\n".to_vec()].concat()).collect();
        let is_done = found == last && compare(written, &found).missing == 0;
        thread::sleep(Duration::from_millis(300));
        last = found;
        is_done.then_some(())
    });
    last
}

#[test]
#[ignore = "needs the programs, Java and Maven: tests/run"]
fn each_line_is_in_the_topic_once_without_kills_or_is_a_dead_letter() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, began) = (folder.path(), Instant::now());
    let mut kafka = Kafka::start_with(dir, "message.max.bytes=200000\n");
    let mut agent = sender(dir, &kafka);
    let mut written = Vec::new();
    agent.start();
    for name in ["a", "b", "c", "d"] {
        log(dir, name, &mut written);
        if name == "b" {
            // Requests are in flight.
            thread::sleep(Duration::from_millis(50));
            kafka.kill();
            kafka.revive();
        }
    }
    // The broker rejects one message, and with it the whole request: the others are delivered.
    let mut mixed: String = (0..LINES).map(|line| format!("mixed {line}\n")).collect();
    written.extend_from_slice(mixed.as_bytes());
    // Incompressible bytes.
    let noise = (0..300_000u64)
        .map(|n| (n.wrapping_mul(n).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u8 % 90 + 33);
    mixed.extend(noise.map(char::from));
    fs::write(dir.join("sink/mixed.log"), mixed + "\n").expect("a log is written");
    let found = compare(&written, &in_topic(&kafka, &written));
    assert!(found.is_none(), "{found}");
    let metrics = agent.metrics().expect("the agent answers");
    assert_eq!(metrics.sum("aqueduct_dead_letter_events_total"), Some(1.0));

    // Events in the client at the kill are still in the channel.
    kafka.kill();
    log(dir, "e", &mut written);
    wait::until("events on their way", PATIENCE, || {
        let sent = agent.metrics()?.sum("aqueduct_sink_sent_events_total")?;
        (sent >= (6 * LINES) as f64).then_some(())
    });
    agent.kill();
    kafka.revive();
    agent.start();
    log(dir, "f", &mut written);
    thread::sleep(Duration::from_millis(100));
    agent.kill();
    agent.start();
    let found = compare(&written, &in_topic(&kafka, &written));
    assert!(found.missing + found.foreign == 0, "{found}");
    assert!(found.repeated <= 2 * LINES, "more than was on its way: {found}");
    agent.stop(STOP);
    eprintln!("{found}, {:?}", began.elapsed());
}

#[test]
#[ignore = "needs the programs, Java, Maven, openssl and a KDC: tests/run"]
fn lines_continue_over_expiring_tickets_and_wrong_settings_are_named() {
    tickets::a_ticket_is_renewed_by_its_keytab();
}

#[test]
#[ignore = "needs the programs, Java and Maven: tests/run"]
fn lines_continue_while_tokens_expire_and_are_replaced() {
    tokens::an_expired_token_is_replaced();
}

#[test]
#[ignore = "needs the programs, Java, Maven and openssl: tests/run"]
fn lines_pass_a_broker_with_tls_and_refusals_are_reported() {
    secured::lines_go_there_and_back();
}

#[test]
#[ignore = "needs the programs, Java and Maven: tests/run"]
fn each_line_is_committed_once_through_kills_and_by_two_agents() {
    once::each_line_is_there_once();
}

#[test]
#[ignore = "takes minutes and measures: AQUEDUCT_LONG=1 tests/run"]
fn a_backlog_goes_into_a_topic_as_fast_as_kafka_measures_itself() {
    if is_long() {
        rate::of_a_backlog();
    }
}
