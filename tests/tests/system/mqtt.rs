//! Goal: messages from devices are stored, and messages of the sink arrive, while agent, broker and
//! connection are killed. With QoS 1 nothing is lost, and duplicates are counted; with QoS 2 each
//! message is there once.
//!
//! Method: a real mosquitto that keeps its sessions on disk, and a real HiveMQ; `mosquitto_pub` and
//! `mosquitto_sub` play the devices. A collector with a source for each QoS is killed (-9) many
//! times while messages arrive, and so is the broker. A relay between collector and broker cuts
//! connections at random.
//!
//! Lane: connector
//! Needs: javac mvn mosquitto mosquitto_passwd mosquitto_pub mosquitto_sub openssl
//! Weight: 0
//! Limit: 10m
//! Paths: crates/components-mqtt deploy/hivemq

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use aqueduct_tests::agent::{Agent, ROLL, program};
use aqueduct_tests::http::free_address;
use aqueduct_tests::process::Process;
use aqueduct_tests::seed;
use aqueduct_tests::store;
use aqueduct_tests::wait;
use aqueduct_tests::wire::Wire;
use rand::prelude::*;

mod broker;

mod cuts;

mod hivemq;

mod kills;

mod web_socket;

use broker::Broker;

/// Messages per QoS and run.
const MESSAGES: usize = 1000;
/// Timeout of a step.
const LIMIT: Duration = Duration::from_secs(60);
/// Broker settings for anonymous access.
const OPEN: &str = "allow_anonymous true\n";

/// Returns a collector with these components, and a data directory of its name.
fn agent(dir: &Path, name: &str, components: &str) -> Agent {
    let text = format!("[agent]\ndata_dir = \"{}/{name}\"\n{components}", dir.display());
    Agent::configured("aqueduct-collector", dir, name, &text)
}

/// Configures a source whose messages are stored below the folder `into`, without further
/// duplicates: a message stored twice was received twice.
fn source(dir: &Path, into: &str, broker: &str, settings: &str) -> String {
    format!(
        "[sources.{into}]\ntype = \"mqtt\"\nchannels = [\"{into}\"]\n{settings}\n\
         broker = {{ {broker} }}\n\
         [channels.{into}]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.{into}]\ntype = \"hdfs\"\nurl = \"file://{}/{into}/%Y\"\n\
         channel = \"{into}\"\n{ROLL}\n",
        dir.display()
    )
}

/// Returns how often an agent has connected, from its log.
fn connections(agent: &Agent) -> usize {
    agent.output().matches("connected").count()
}

/// Waits until a broker has granted an agent's subscriptions this many times.
fn wait_until_subscribed(agent: &Agent, times: usize) {
    wait::until(&format!("{times} grants of filters"), LIMIT, || {
        (agent.output().matches("subscribed").count() >= times).then_some(())
    });
}

fn lines(name: &str, range: std::ops::Range<usize>) -> String {
    range.map(|line| format!("{name}-{line}\n")).collect()
}

#[test]
#[ignore = "needs the programs and mosquitto: tests/run"]
fn messages_of_mqtt_5_survive_kills_and_cuts() {
    kills::messages_survive_kills("5");
}

#[test]
#[ignore = "needs the programs and mosquitto: tests/run"]
fn messages_of_mqtt_3_survive_kills_and_cuts() {
    kills::messages_survive_kills("3.1.1");
}

#[test]
#[ignore = "needs the programs, mosquitto and openssl: tests/run"]
fn messages_over_web_sockets_with_tls_survive_kills_and_cuts() {
    web_socket::messages_survive_kills_and_cuts();
}

/// The demo checks its own store, so its exit code is sufficient.
#[test]
#[ignore = "needs the programs and mosquitto: tests/run"]
fn demo_iot_stores_every_reading_through_a_kill_with_qos_1_and_2() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let demos = ["1", "2"].map(|qos| {
        let mut command = program("aqueduct");
        command.args(["demo", "iot", "--devices", "150", "--readings", "8", "--qos", qos]);
        let store = format!("file://{}/store-{qos}", folder.path().display());
        command.args(["--store", &store]).env("TMPDIR", folder.path());
        Process::start("demo", command, &folder.path().join(format!("demo-{qos}.out")))
    });
    for mut demo in demos {
        let status = demo.wait(LIMIT);
        let output = demo.output();
        assert!(status.success(), "the demo ended with {status}:\n{output}");
        for row in
            ["kill -9 ", "acknowledged        1,200 by the broker", "missing                 0"]
        {
            assert!(output.contains(row), "no `{row}` in:\n{output}");
        }
    }
}

#[test]
#[ignore = "needs the programs and mosquitto: tests/run"]
fn missing_subscriptions_are_made_by_the_next_connection() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let broker = Broker::new(dir, "broker", OPEN);
    let wire = Wire::after_greetings(broker.address, 1);
    let address = format!("address = \"{}\"", wire.address);
    let mut collector =
        agent(dir, "collector", &source(dir, "all", &address, "filters = [\"site/#\"]"));
    collector.start();
    wait_until_subscribed(&collector, 1);
    assert!(broker.output().contains("Sending CONNACK to aqueduct-"), "{}", broker.output());
    collector.until_logged("is_present=true", LIMIT); // The second connection finds the session.
    let sent = lines("a", 0..MESSAGES);
    broker.publish("site/a", 1, &sent);
    wait::until("the messages", LIMIT, || {
        (store::lines(&dir.join("all")) == store::counted(sent.lines())).then_some(())
    });
    collector.stop(LIMIT);
}

#[test]
#[ignore = "needs the programs and mosquitto: tests/run"]
fn two_collectors_share_the_messages_and_lose_none_when_one_is_killed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let broker = Broker::new(dir, "broker", OPEN);
    let address = broker.address;
    let mut collectors = ["one", "two"].map(|name| {
        let broker = format!("address = \"{address}\", client_id = \"{name}\"");
        let filters = "filters = [\"$share/collectors/site/#\"]";
        agent(dir, &format!("c-{name}"), &source(dir, name, &broker, filters))
    });
    collectors.iter_mut().for_each(Agent::start);
    collectors.iter().for_each(|collector| wait_until_subscribed(collector, 1));
    let mut sent = String::new();
    for round in 0..4 {
        let text = lines(&round.to_string(), 0..MESSAGES);
        thread::scope(|scope| {
            let publishing = scope.spawn(|| broker.publish("site/a", 1, &text));
            thread::sleep(Duration::from_millis(20));
            collectors[round % 2].kill();
            publishing.join().expect("the devices publish");
        });
        collectors[round % 2].start();
        sent += &text;
    }
    let sent = store::counted(sent.lines());
    wait::until("all messages", LIMIT, || {
        let (one, two) = (store::lines(&dir.join("one")), store::lines(&dir.join("two")));
        sent.keys().all(|line| one.contains_key(line) || two.contains_key(line)).then_some(())
    });
    let there = ["one", "two"].map(|name| store::lines(&dir.join(name)).len());
    eprintln!("{} messages, {there:?} in the two collectors", sent.len());
    assert!(there.iter().all(|it| *it > MESSAGES), "each gets its share");
    collectors.iter_mut().for_each(|it| it.stop(LIMIT));
}

#[test]
#[ignore = "needs the programs, Java and mosquitto's clients: tests/run"]
fn two_collectors_share_messages_of_hivemq_through_kills_without_loss() {
    hivemq::two_collectors_share_and_die();
}

/// A collector republishes messages at a second broker, which is down at first.
#[test]
#[ignore = "needs the programs and mosquitto: tests/run"]
fn full_channel_keeps_the_connection_and_drains_through_cuts() {
    const MESSAGES: usize = 6000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let devices = Broker::new(dir, "devices", OPEN);
    let mut away = Broker::new(dir, "away", OPEN);
    let session = ["-i", "reader", "-c", "-q", "1", "-t", "out/#"];
    let asked = [&session[..], &["-E"]].concat();
    assert!(away.subscriber(dir, &asked).wait(LIMIT).success());
    away.stop();
    let wire = Wire::new(away.address);
    let components = format!(
        "[sources.in]\ntype = \"mqtt\"\nfilters = [\"site/#\"]\nchannels = [\"main\"]\n\
         keep_alive = \"1s\"\nbroker = {{ address = \"{}\", client_id = \"in\" }}\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"4MiB\"\n\
         [sinks.out]\ntype = \"mqtt\"\ntopic = \"out/%{{topic}}\"\nchannel = \"main\"\n\
         in_flight_max = 2\nbroker = {{ address = \"{}\", client_id = \"out\" }}\n",
        devices.address, wire.address
    );
    let mut collector = agent(dir, "collector", &components);
    collector.start();
    wait_until_subscribed(&collector, 1);
    let padding = "x".repeat(1500);
    let sent: String = (0..MESSAGES).map(|it| format!("{it}-{padding}\n")).collect();
    devices.publish("site/a", 1, &sent);
    thread::sleep(Duration::from_secs(4));
    let said = devices.output();
    assert!(said.contains("Received PINGREQ from in"), "it is asked whether it is there: {said}");
    let waiting = collector.metrics().and_then(|it| it.sum("aqueduct_channel_events"));
    assert!(
        waiting.is_some_and(|it| it < MESSAGES as f64 * 0.9),
        "the channel is full: {waiting:?}"
    );

    away.start();
    let (mut rng, mut cuts) = (seed::rng("mqtt"), 0);
    let reading = [&session[..], &["-F", "%t %p"]].concat();
    let reader = away.subscriber(dir, &reading);
    let expected = store::counted(sent.replace("-x", "").replace('x', "").lines());
    let there = wait::until("all messages", LIMIT, || {
        thread::sleep(Duration::from_millis(rng.random_range(50..150)));
        cuts += 1;
        let text = reader.output().replace("-x", "").replace('x', "");
        let there = store::counted(text.replace("out/site/a ", "").lines());
        if cuts < 20 {
            wire.cut();
        }
        expected.keys().all(|line| there.contains_key(line)).then_some(there)
    });
    assert_eq!(there.len(), expected.len(), "no message of another kind");
    let repeats: usize = store::repeats(&there);
    eprintln!("{MESSAGES} messages through a full channel, {repeats} repeats of the sink");
    let connections = devices.output().matches("New client connected").count();
    // `mosquitto_pub` is the other one.
    assert_eq!(connections, 2, "{}", devices.output());
    collector.stop(LIMIT);
    reader.kill();
}

/// Creates certificates, and a user with a password.
fn certificates(dir: &Path) {
    aqueduct_tests::certificates::make(dir);
    let mut command = Command::new("mosquitto_passwd");
    command.args(["-b", "-c", "users", "agent", "secret"]).current_dir(dir);
    let output = command.output().expect("mosquitto_passwd runs");
    assert!(output.status.success(), "{output:?}");
}

fn connect(address: SocketAddr) -> TcpStream {
    wait::until("the port to be open", LIMIT, || TcpStream::connect(address).ok())
}

#[test]
#[ignore = "needs the programs and mosquitto: tests/run"]
fn messages_published_over_tls_are_read_and_refused_ones_are_letters() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    certificates(dir);
    let (tls, path) = (free_address(), dir.display());
    let settings = format!(
        "per_listener_settings true\nallow_anonymous true\nlistener {} 127.0.0.1\n\
         cafile {path}/ca.pem\ncertfile {path}/server.pem\nkeyfile {path}/server.key\n\
         require_certificate true\nallow_anonymous false\npassword_file {path}/users\n\
         message_size_limit 1000\n",
        tls.port()
    );
    let broker = Broker::new(dir, "broker", &settings);
    let listen = free_address();
    let components = format!(
        "[sources.in]\ntype = \"netcat\"\nlisten = \"{listen}\"\nchannels = [\"main\"]\n\
         client_header = \"client\"\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.out]\ntype = \"mqtt\"\nqos = 2\ntopic = \"from/%{{client}}/x\"\n\
         properties = [\"client\"]\nchannel = \"main\"\n\
         broker = {{ address = \"{tls}\", user = \"agent\", password = \"secret\", tls = {{ \
         ca = \"{path}/ca.pem\", certificate = \"{path}/client.pem\", \
         key = \"{path}/client.key\" }} }}\n"
    );
    let mut agent = agent(dir, "sink", &components);
    let mut subscriber = broker.subscriber(
        dir,
        &[
            "-V",
            "5",
            "-D",
            "connect",
            "receive-maximum",
            "1000",
            "-q",
            "2",
            "-t",
            "from/#",
            "-W",
            "30",
            "-F",
            "%t %P %p",
        ],
    );
    agent.start();
    let mut stream = connect(listen);
    let large = "x".repeat(2000);
    let mut text = lines("line", 0..MESSAGES);
    text.insert_str(text.find("line-7\n").expect("a line"), &format!("{large}\n"));
    stream.write_all(text.as_bytes()).expect("the agent reads");
    // It reads for 30 s: a message is resent if its connection ended at the refusal.
    subscriber.wait(LIMIT);
    let output = subscriber.output();
    let found: BTreeSet<&str> = output.lines().filter(|line| *line != "Timed out").collect();
    let expected: Vec<String> = (0..MESSAGES)
        .map(|line| format!("from/127.0.0.1/x client:127.0.0.1 line-{line}"))
        .collect();
    let expected: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
    assert_eq!(found, expected, "other messages than were sent");
    let letters = || agent.metrics()?.sum("aqueduct_dead_letter_events_total");
    wait::until("the large one among the letters", LIMIT, || letters().filter(|it| *it == 1.0));
    agent.stop(LIMIT);
}
