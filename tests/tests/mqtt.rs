//! Goal: what devices publish is stored, and what the sink publishes arrives, while agent, broker
//! and connection die: with QoS 1 nothing is lost, and repeats are counted; with QoS 2 each message
//! is there once.
//!
//! Method: a real mosquitto that keeps its sessions on disk; `mosquitto_pub` and `mosquitto_sub`
//! are the devices. A collector with a source for each QoS is killed (-9) many times while messages
//! come, and so is the broker. Between collector and broker stands a relay of bytes, which cuts
//! connections at moments of its own.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a system test looks at the machine as it is, and prints what it measured"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::http::free_address;
use aqueduct_tests::process::Process;
use aqueduct_tests::seed;
use aqueduct_tests::site::read_below;
use aqueduct_tests::wait;
use rand::prelude::*;

/// Lives of the collector.
const LIVES: usize = 8;
/// Messages of each QoS in a life.
const MESSAGES: usize = 200;

struct Broker {
    address: SocketAddr,
    config: std::path::PathBuf,
    log: std::path::PathBuf,
    process: Option<Process>,
}

impl Broker {
    fn new(dir: &Path) -> Self {
        let address = free_address();
        let data = dir.join("broker");
        fs::create_dir(&data).expect("the test's own folder");
        let config = dir.join("mosquitto.conf");
        // What it has acknowledged is on disk at once, so that a kill takes nothing.
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\n\
             persistence_location {}/\nautosave_on_changes true\nautosave_interval 1\n\
             max_inflight_messages 100\nmax_queued_messages 0\n",
            address.port(),
            data.display()
        );
        fs::write(&config, text).expect("a configuration is written");
        let mut broker = Self { address, config, log: dir.join("broker.out"), process: None };
        broker.start();
        broker
    }

    fn start(&mut self) {
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(&self.config);
        self.process = Some(Process::start("mosquitto", command, &self.log));
        wait::until("the broker to listen", Duration::from_secs(10), || {
            TcpStream::connect(self.address).ok()
        });
    }

    fn kill(&mut self) {
        self.process.take().expect("a running broker").kill();
    }
}

/// Forwards bytes to the broker, and cuts all connections when it is asked to.
struct Wire {
    address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Wire {
    fn new(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let connections = open.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(to) else { continue };
                for (from, into) in [(&client, &server), (&server, &client)] {
                    let from = from.try_clone().expect("a file descriptor to spare");
                    let into = into.try_clone().expect("a file descriptor to spare");
                    thread::spawn(move || copy(from, into));
                }
                connections.lock().expect("no holder panics").extend([client, server]);
            }
        });
        Self { address, open }
    }

    fn cut(&self) {
        for stream in self.open.lock().expect("no holder panics").drain(..) {
            let _ended_already = stream.shutdown(Shutdown::Both);
        }
    }
}

fn copy(mut from: TcpStream, mut into: TcpStream) {
    let mut bytes = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        if into.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    let _ended_already = into.shutdown(Shutdown::Both);
}

fn collector(dir: &Path, wire: &Wire, version: &str) -> Agent {
    let mut text = format!("[agent]\ndata_dir = \"{}/collector\"\n", dir.display());
    for qos in [1, 2] {
        text += &format!(
            "[sources.q{qos}]\ntype = \"mqtt\"\nfilters = [\"site/+/q{qos}\"]\nqos = {qos}\n\
             channels = [\"q{qos}\"]\ntopic_patterns = [\"site/+site/#\"]\n\
             broker = {{ address = \"{}\", client_id = \"c{qos}\", version = \"{version}\" }}\n\
             [channels.q{qos}]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
             [sinks.q{qos}]\ntype = \"file_roll\"\ndirectory = \"{}/q{qos}\"\n\
             channel = \"q{qos}\"\n",
            wire.address,
            dir.display()
        );
    }
    let file = dir.join("collector.toml");
    fs::write(&file, text).expect("a configuration is written");
    let arguments = ["--config", &file.display().to_string()];
    Agent::new("aqueduct-collector", &arguments, &dir.join("collector.out"))
}

/// Publishes lines, each as a message, and waits until the broker has taken them.
fn publish(broker: &Broker, qos: usize, lines: &str) {
    let (port, qos, topic) =
        (broker.address.port().to_string(), qos.to_string(), format!("site/a/q{qos}"));
    let mut child = Command::new("mosquitto_pub")
        .args(["-h", "127.0.0.1", "-p", &port, "-q", &qos, "-t", &topic, "-l"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("mosquitto_pub starts");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(lines.as_bytes()).expect("mosquitto_pub reads");
    drop(input);
    assert!(child.wait().expect("it ends").success(), "mosquitto_pub failed");
}

/// How often each line is stored.
fn stored(dir: &Path, qos: usize) -> BTreeMap<String, usize> {
    let text = String::from_utf8(read_below(&dir.join(format!("q{qos}")))).expect("text");
    let mut lines = BTreeMap::new();
    text.lines().for_each(|line| *lines.entry(line.to_owned()).or_default() += 1);
    lines
}

fn messages_survive_kills(version: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let mut broker = Broker::new(dir);
    let wire = Wire::new(broker.address);
    let mut collector = collector(dir, &wire, version);
    let (began, mut rng) = (Instant::now(), seed::rng("mqtt"));
    collector.start();
    wait::until("both sessions", Duration::from_secs(20), || {
        let said = collector.output();
        (said.matches("connected").count() >= 2).then_some(())
    });
    thread::sleep(Duration::from_millis(300));
    let mut written = [Vec::new(), Vec::new()];
    for life in 0..LIVES {
        for qos in [1, 2] {
            let lines: Vec<String> = (0..MESSAGES).map(|it| format!("{qos}-{life}-{it}")).collect();
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            thread::scope(|scope| {
                let publishing = scope.spawn(|| publish(&broker, qos, &text));
                thread::sleep(Duration::from_millis(rng.random_range(1..60)));
                wire.cut();
                if life % 2 == 1 && qos == 2 {
                    collector.kill();
                }
                publishing.join().expect("the devices publish");
            });
            written[qos - 1].extend(lines);
        }
        if life % 2 == 1 {
            if life % 4 == 3 {
                // It writes what it knows after it has answered.
                thread::sleep(Duration::from_millis(300));
                broker.kill();
                broker.start();
            }
            collector.start();
        }
    }
    for qos in [1, 2] {
        let all = &written[qos - 1];
        wait::until(&format!("all of QoS {qos}"), Duration::from_secs(30), || {
            let there = stored(dir, qos);
            all.iter().all(|line| there.contains_key(line)).then_some(())
        });
    }
    thread::sleep(Duration::from_millis(500));
    collector.stop(Duration::from_secs(25));
    let repeats = [1, 2].map(|qos| {
        let there = stored(dir, qos);
        assert_eq!(there.len(), written[qos - 1].len(), "no message of another kind");
        there.values().map(|times| times - 1).sum::<usize>()
    });
    eprintln!(
        "MQTT {version}: {} messages of each QoS, {} repeats of QoS 1, {:?}",
        written[0].len(),
        repeats[0],
        began.elapsed()
    );
    assert_eq!(repeats[1], 0, "a message of QoS 2 is stored once");
}

#[test]
#[ignore = "needs the optimised programs and mosquitto: tests/run"]
fn messages_of_mqtt_5_survive_kills_of_agent_and_broker_and_cut_connections() {
    messages_survive_kills("5");
}

#[test]
#[ignore = "needs the optimised programs and mosquitto: tests/run"]
fn messages_of_mqtt_3_survive_kills_of_agent_and_broker_and_cut_connections() {
    messages_survive_kills("3.1.1");
}

#[test]
#[ignore = "needs the optimised programs and mosquitto: tests/run"]
fn what_the_sink_publishes_is_read_by_a_subscriber() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let broker = Broker::new(dir);
    let listen = free_address();
    let text = format!(
        "[agent]\ndata_dir = \"{}/collector\"\n\
         [sources.in]\ntype = \"netcat\"\nlisten = \"{listen}\"\nchannels = [\"main\"]\n\
         client_header = \"client\"\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.out]\ntype = \"mqtt\"\nqos = 2\ntopic = \"from/%{{client}}/x\"\n\
         channel = \"main\"\nbroker = {{ address = \"{}\" }}\n",
        dir.display(),
        broker.address
    );
    let file = dir.join("sink.toml");
    fs::write(&file, text).expect("a configuration is written");
    let arguments = ["--config", &file.display().to_string()];
    let mut agent = Agent::new("aqueduct-collector", &arguments, &dir.join("sink.out"));
    let port = broker.address.port().to_string();
    let count = MESSAGES.to_string();
    let mut subscriber = Command::new("mosquitto_sub");
    subscriber.args(["-h", "127.0.0.1", "-p", &port, "-q", "2", "-t", "from/127.0.0.1/#"]);
    subscriber.args(["-C", &count, "-W", "30", "-F", "%t %p"]);
    let mut subscriber = Process::start("mosquitto_sub", subscriber, &dir.join("subscriber.out"));
    thread::sleep(Duration::from_millis(300));
    agent.start();
    let mut stream = wait::until("the port to be open", Duration::from_secs(20), || {
        TcpStream::connect(listen).ok()
    });
    let lines: String = (0..MESSAGES).map(|line| format!("line {line}\n")).collect();
    stream.write_all(lines.as_bytes()).expect("the agent reads");
    assert!(subscriber.wait(Duration::from_secs(30)).success(), "{}", subscriber.output());
    let expected: String =
        (0..MESSAGES).map(|line| format!("from/127.0.0.1/x line {line}\n")).collect();
    assert_eq!(subscriber.output(), expected);
    agent.stop(Duration::from_secs(25));
}
