//! Goal: messages from JMS applications are stored, and messages of the sink arrive, while agent
//! and broker are killed. Nothing is lost, and a kill of the agent duplicates at most unanswered
//! messages. A killed broker forgets acknowledgements, too; its duplicates are counted.
//!
//! Method: a real ActiveMQ Artemis with its messages on disk, and applications with JMS 2.0 over
//! AMQP 1.0 (`amqp/Jms.java`). Collector and broker are killed (-9) while messages arrive.
//!
//! ```text
//!   application ─► queue ─► amqp source ─► durable ─► hdfs sink, `file://`
//!   netcat ─► durable ─► amqp sink ─► queue ─► application
//! ```
//!
//! Lane: connector
//! Needs: javac mvn openssl
//! Weight: 0
//! Limit: 10m
//! Paths: crates/components-amqp deploy/artemis crates/aqueduct

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::http::free_address;
use aqueduct_tests::store::{bodies, events, repeats};
use aqueduct_tests::{seed, wait};
use rand::prelude::*;
use serde_json::Value;

pub(crate) mod artemis;
mod cuts;
mod full;

use artemis::Artemis;

/// Timeout of a step.
const LIMIT: Duration = Duration::from_secs(60);
/// Messages that the broker sends before acknowledgements.
const CREDIT: usize = 50;

/// Returns a collector whose source stores events in files, with their headers.
fn collector(dir: &Path, broker: &Artemis, settings: &str) -> Agent {
    let text = format!(
        "[agent]\ndata_dir = \"{at}/data\"\n\
         [sources.in]\ntype = \"amqp\"\nchannels = [\"main\"]\n{settings}\n\
         broker = {{ urls = [\"{}\"], client_id = \"collector\" }}\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.store]\ntype = \"hdfs\"\nurl = \"file://{at}/store\"\nencoder = \"json\"\n\
         channel = \"main\"\nroll = {{ age_max = \"500ms\", idle_max = \"500ms\" }}\n",
        broker.url(),
        at = dir.display(),
    );
    fs::create_dir_all(dir.join("store")).expect("the test's own folder");
    Agent::configured("aqueduct-collector", dir, "collector", &text)
}

/// Waits until this many different bodies are stored, and no more arrive. Counts how often each is
/// stored.
fn settled(dir: &Path, count: usize) -> BTreeMap<String, usize> {
    wait::until(&format!("{count} messages in the store"), LIMIT, || {
        thread::sleep(Duration::from_millis(200));
        (bodies(&dir.join("store")).len() >= count).then_some(())
    });
    // Resent messages would be stored now.
    thread::sleep(Duration::from_secs(1));
    bodies(&dir.join("store"))
}

/// Starts the agent, and waits until its source is connected.
fn start_connected(agent: &mut Agent) {
    let connections = |agent: &Agent| agent.output().matches("connected source=").count();
    let before = connections(agent);
    agent.start();
    wait::until("a connection", LIMIT, || (connections(agent) > before).then_some(()));
}

#[test]
#[ignore = "needs the programs, Java and Maven: tests/run"]
fn messages_of_a_queue_are_stored_through_kills_of_agent_and_broker() {
    const MESSAGES: usize = 12_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, mut rng, began) = (folder.path(), seed::rng("amqp"), Instant::now());
    let mut broker = Artemis::start(dir);
    let queue = "address = \"orders\"\ndestination_type = \"queue\"\n";
    let mut agent = collector(dir, &broker, &format!("{queue}credit = {CREDIT}"));
    let half = (MESSAGES / 2).to_string();
    broker.run_jms("send", &["queue", "orders", "a", "0", &half]);
    for _ in 0..3 {
        start_connected(&mut agent);
        thread::sleep(Duration::from_millis(rng.random_range(0..60)));
        agent.kill();
    }
    agent.start();
    let found = settled(dir, MESSAGES / 2);
    let by_agent = repeats(&found);
    assert!(by_agent <= 3 * CREDIT, "{by_agent} repeats of three kills");
    let marked = agent.metrics().and_then(|it| it.sum("aqueduct_source_anomalies_total"));

    // The broker is killed while it delivers.
    agent.stop(LIMIT);
    broker.run_jms("send", &["queue", "orders", "b", "0", &half]);
    start_connected(&mut agent);
    thread::sleep(Duration::from_millis(rng.random_range(20..120)));
    broker.kill();
    broker.revive();
    let found = settled(dir, MESSAGES);
    let all = repeats(&found);
    assert_eq!(found.len(), MESSAGES, "no message of another kind");
    agent.stop(LIMIT);
    eprintln!(
        "{MESSAGES} messages stored; repeats: {by_agent} of three kills of the agent, {} of one of \
         the broker; {marked:?} marked after the last kill; {:?}",
        all - by_agent,
        began.elapsed()
    );
}

#[test]
#[ignore = "needs the programs, Java and Maven: tests/run"]
fn each_kind_of_message_becomes_an_event_or_a_dead_letter_of_the_broker() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let letters = "<address-settings><address-setting match=\"#\">\
                   <dead-letter-address>letters</dead-letter-address>\
                   </address-setting></address-settings>\
                   <addresses><address name=\"letters\"><anycast><queue name=\"letters\"/>\
                   </anycast></address></addresses>";
    let broker = Artemis::start_with(dir, "amqp", "", letters);
    let queue = "address = \"kinds\"\ndestination_type = \"queue\"\n\
                 jms_headers = [\"JMSMessageID\", \"JMSCorrelationID\", \"JMSType\", \
                 \"JMSTimestamp\", \"JMSDestination\"]";
    let mut agent = collector(dir, &broker, queue);
    agent.start();
    broker.run_jms("kinds", &["kinds"]);
    let found = settled(dir, 4);
    assert_eq!(repeats(&found), 0);
    let events = events(&dir.join("store"));
    let event = |body: &str| {
        let is_it = |it: &&Value| it["body"].as_str().is_some_and(|it| it.starts_with(body));
        events.iter().find(is_it).unwrap_or_else(|| panic!("no {body:?} in {events:?}"))
    };
    let headers = &event("text, Zürich")["headers"];
    for (name, value) in [
        ("flag", "true"),
        ("long", "1099511627776"),
        ("double", "0.5"),
        ("string", "straße"),
        ("JMSCorrelationID", "correlated"),
        ("JMSType", "kind"),
        ("JMSDestination", "kinds"),
    ] {
        assert_eq!(headers[name], value, "{name} of {headers}");
    }
    assert!(headers["JMSMessageID"].as_str().is_some_and(|id| id.contains("ID:")), "{headers}");
    let sent = headers["JMSTimestamp"].as_str().and_then(|it| it.parse::<u64>().ok());
    assert!(sent.is_some_and(|at| at > 1_700_000_000_000), "{headers}");
    assert_eq!(event("bytes \0")["body"], "bytes \0\u{1}");
    event("last");
    let odd = agent.metrics().and_then(|it| it.sum("aqueduct_source_anomalies_total"));
    assert_eq!(odd, Some(1.0), "the map is rejected");
    agent.stop(LIMIT);
}

/// Reads a topic through a durable subscription, which keeps messages while the agent is down.
#[test]
#[ignore = "needs the programs, Java and Maven: tests/run"]
fn a_durable_subscription_with_a_selector_outlives_a_stop_and_a_kill() {
    const MESSAGES: usize = 400;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let broker = Artemis::start(dir);
    let topic = "address = \"news\"\ndestination_type = \"topic\"\n\
                 durable_subscription_name = \"store\"\nmessage_selector = \"site = 'Bern'\"";
    let mut agent = collector(dir, &broker, topic);
    start_connected(&mut agent);
    let count = MESSAGES.to_string();
    let send = |name: &str| drop(broker.run_jms("send", &["topic", "news", name, "0", &count]));
    send("here");
    settled(dir, MESSAGES / 2);
    agent.stop(LIMIT);
    send("stopped");
    agent.start();
    settled(dir, MESSAGES);
    agent.kill();
    send("killed");
    agent.start();
    let found = settled(dir, 3 * MESSAGES / 2);
    assert_eq!(repeats(&found), 0, "each was accepted before the agent went away");
    let wanted: BTreeSet<String> = ["here", "stopped", "killed"]
        .iter()
        .flat_map(|name| (1..MESSAGES).step_by(2).map(move |n| format!("{name}-{n}")))
        .collect();
    assert_eq!(found.into_keys().collect::<BTreeSet<_>>(), wanted);
    assert!(events(&dir.join("store")).iter().all(|it| it["headers"]["site"] == "Bern"));
    agent.stop(LIMIT);
}

fn connect(address: SocketAddr) -> TcpStream {
    wait::until("the port to be open", LIMIT, || TcpStream::connect(address).ok())
}

/// Creates a keystore of the broker, and its certificate.
fn certificates(dir: &Path) {
    let script = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=broker \
                  -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out ca.pem
                  openssl pkcs12 -export -in ca.pem -inkey key.pem -passout pass:secret \
                  -out broker.p12";
    let output = Command::new("bash").args(["-euc", script]).current_dir(dir).output();
    let output = output.expect("bash runs");
    assert!(output.status.success(), "{output:?}");
}

#[test]
#[ignore = "needs the programs, Java, Maven and openssl: tests/run"]
fn messages_sent_over_tls_survive_a_kill_of_the_broker() {
    const LINES: usize = 8000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, mut rng) = (folder.path(), seed::rng("amqp sink"));
    certificates(dir);
    let path = dir.display();
    let tls = format!(
        ";sslEnabled=true;keyStorePath={path}/broker.p12;keyStoreType=PKCS12;\
         keyStorePassword=secret"
    );
    let mut broker = Artemis::start_with(dir, "amqps", &tls, "");
    let listen = free_address();
    let text = format!(
        "[agent]\ndata_dir = \"{path}/data\"\n\
         [sources.in]\ntype = \"netcat\"\nlisten = \"{listen}\"\nchannels = [\"main\"]\n\
         batch_events = 100\n\
         interceptors = [{{ type = \"static\", headers = {{ site = \"Zürich\" }} }}, \
         {{ type = \"regex_extractor\", regex = \"^for (q-[0-9]+)\", \
         serializers = [{{ name = \"to\" }}] }}]\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.out]\ntype = \"amqp\"\naddress = \"out\"\ndestination_type = \"queue\"\n\
         channel = \"main\"\nbody = \"text\"\nin_flight_max = 2\naddress_header = \"to\"\n\
         timeout = \"2m\"\n\
         [sinks.out.broker]\nurls = [\"{}\"]\ntls = {{ ca = \"{path}/ca.pem\" }}\n",
        broker.url()
    );
    let mut agent = Agent::configured("aqueduct-collector", dir, "agent", &text);
    agent.start();
    let mut stream = connect(listen);
    let lines = |range: std::ops::Range<usize>| -> String {
        range.map(|line| format!("line-{line}\n")).collect()
    };
    // The queue does not exist before: the sink creates it, without a consumer.
    stream.write_all(lines(0..LINES / 2).as_bytes()).expect("the agent reads");
    stream.write_all(b"no text: \xff\n").expect("the agent reads");
    // More addresses than a connection has links.
    let queues: String = (0..100).map(|queue| format!("for q-{queue}\n")).collect();
    stream.write_all(queues.as_bytes()).expect("the agent reads");
    wait::until("the first lines to be accepted", LIMIT, || {
        let metrics = agent.metrics()?;
        (metrics.sum("aqueduct_sink_committed_events_total")? > 0.0).then_some(())
    });
    thread::sleep(Duration::from_millis(rng.random_range(0..20)));
    broker.kill();
    stream.write_all(lines(LINES / 2..LINES).as_bytes()).expect("the agent reads");
    broker.revive();
    wait::until("the letter alone to be left", LIMIT, || {
        let metrics = agent.metrics()?;
        let taken = metrics.sum("aqueduct_source_events_total")?;
        // The letter stays in its channel.
        let left = metrics.sum("aqueduct_channel_events")?;
        (taken > (LINES + 100) as f64 && left == 1.0).then_some(())
    });
    let letters = agent.metrics().and_then(|it| it.sum("aqueduct_dead_letter_events_total"));
    assert_eq!(letters, Some(1.0), "the line that is no text");
    let text = broker.run_jms("receive", &["out", &LINES.to_string()]);
    let found: Vec<&str> = text.lines().collect();
    let different: BTreeSet<&str> = found.iter().copied().collect();
    // 2 means persistent.
    let expected: Vec<String> = (0..LINES).map(|n| format!("Zürich 2 text line-{n}")).collect();
    let missing = expected.iter().filter(|line| !different.contains(line.as_str())).count();
    assert_eq!((missing, different.len()), (0, LINES), "{:?}", found.first());
    for queue in [0, 99] {
        let name = format!("q-{queue}");
        let text = broker.run_jms("receive", &[&name, "1"]);
        assert!(text.starts_with(&format!("Zürich 2 text for {name}\n")), "{text}");
    }
    eprintln!("{LINES} lines in the queue, {} repeats of one kill", found.len() - LINES);
    agent.stop(LIMIT);
}
