//! Goal: a line that the sources `fluent_forward` and `lumberjack` acknowledge is in the store,
//! while responses are lost, and while the agent is killed. Lines that Fluent's logger resends
//! after a lost response are stored once.
//!
//! Method: third-party clients (`shippers/main.go`, `shippers/client.js`): Fluent's loggers for Go
//! and for Node.js, the latter with a login and compressed chunks, and Elastic's client of Beats.
//! Each sends a line, or a window, until it is acknowledged. Wires between them and a real
//! collector lose 200 responses each with their connections. At first this is the only fault. Then
//! the sink of a second channel is blocked, until the channel is full: lines acknowledged without
//! being stored would be lost in the following kill (-9). Then the collector is killed repeatedly.
//!
//! Lane: connector
//! Needs: python3
//! Weight: 0
//! Limit: 15m
//! Paths: crates/components-shippers deploy/go deploy/node

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::chain::{CUTS, losses};
use aqueduct_tests::http::free_address;
use aqueduct_tests::node::Package;
use aqueduct_tests::process::{Process, tail};
use aqueduct_tests::wire::{End, Wire};
use aqueduct_tests::{go, seed, wait};
use rand::prelude::*;

/// Lines per client in each half.
const LINES: usize = 1000;
/// Minimum size of a client's message.
const MESSAGE_BYTES: usize = 20;
/// Capacity of the second channel: fewer events than the clients have.
const OTHER_EVENTS_MAX: usize = 600;
/// Kills of the collector.
const KILLS: usize = 6;
/// The key of the login.
const KEY: &str = "a key that both know";
/// Timeout of a step.
const LIMIT: Duration = Duration::from_secs(60);

/// Returns a collector with the sources at these addresses.
fn collector(dir: &Path, [go, node, beats]: [SocketAddr; 3]) -> Agent {
    let text = format!(
        r#"
[agent]
data_dir = "{dir}/data"
[sources.go]
type = "fluent_forward"
listen = "{go}"
require_ack = true
body_field = "message"
headers = {{ host = "host.name" }}
channels = ["main", "other"]
[sources.node]
type = "fluent_forward"
listen = "{node}"
require_ack = true
body_field = "message"
headers = {{ host = "host.name" }}
shared_key = "{KEY}"
channels = ["main", "other"]
[sources.beats]
type = "lumberjack"
listen = "{beats}"
body_field = "message"
headers = {{ host = "host.name" }}
channels = ["main", "other"]
[channels.main]
type = "durable"
capacity = "16MiB"
[channels.other]
type = "durable"
capacity = "16MiB"
capacity_events = {OTHER_EVENTS_MAX}
[sinks.store]
type = "hdfs"
url = "file://{dir}/store/%{{host}}/%Y"
roll = {{ age_max = "200ms" }}
channel = "main"
[sinks.other]
type = "file_roll"
directory = "{dir}/other/lines"
channel = "other"
"#,
        dir = dir.display()
    );
    Agent::configured("aqueduct-collector", dir, "collector", &text)
}

/// Counts how often each line is in the store.
fn stored(dir: &Path) -> BTreeMap<String, usize> {
    let mut lines = BTreeMap::new();
    // 2023: the client sets the time of each event.
    for host in ["web-1", "web-2"] {
        let files = fs::read_dir(dir.join("store").join(host).join("2023")).into_iter().flatten();
        for file in files.flatten() {
            let text = fs::read_to_string(file.path()).expect("a file of the store");
            text.lines().for_each(|line| *lines.entry(line.to_owned()).or_default() += 1);
        }
    }
    lines
}

/// A client, which sends lines from `first` on.
struct Client<'a> {
    name: &'a str,
    process: Process,
}

/// Starts all clients, each with its lines from `first` on.
fn clients<'a>(dir: &Path, node: &Package, wires: &[Wire; 3], first: usize) -> [Client<'a>; 3] {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/shippers");
    let program = go::compiled("shippers", &folder);
    let numbers = [first, first + LINES].map(|number| number.to_string());
    let [go, js, beats] = wires.each_ref().map(|wire| wire.address);
    let of_go = |name: &str, address: SocketAddr| {
        let mut command = Command::new(&program);
        command.args([name, &address.to_string()]);
        command
    };
    let mut of_node = node.node();
    of_node.arg(folder.join("client.js")).arg("127.0.0.1");
    of_node.args([&js.port().to_string(), KEY]);
    let all = [
        ("fluent", of_go("fluent", go)),
        ("node", of_node),
        ("lumberjack", of_go("lumberjack", beats)),
    ];
    all.map(|(name, mut command)| {
        command.args(&numbers);
        let process = Process::start(name, command, &dir.join(format!("{name}-{first}.out")));
        Client { name, process }
    })
}

impl Client<'_> {
    /// Returns the number of acknowledged lines according to its output.
    fn acknowledged(&self) -> usize {
        let said = self.process.output();
        // Messages about lost responses have no line end; the last line may be incomplete.
        let rounds = said.split("acked ").skip(1).filter_map(|rest| rest.split_once('\n'));
        let lines = rounds.map(|(round, _)| {
            let (first, last) = round.split_once(' ').expect("two numbers");
            let number = |text: &str| text.parse::<usize>().expect("a number");
            number(last) + 1 - number(first)
        });
        lines.sum()
    }
}

/// Waits until the clients have exited, each with every line acknowledged.
fn end(clients: [Client<'_>; 3]) {
    for mut client in clients {
        let ended = client.process.wait(LIMIT);
        assert!(ended.success(), "{}: {}", client.name, tail(&client.process.output()));
        assert_eq!(client.acknowledged(), LINES, "{}", client.name);
    }
}

/// Waits until every line from `first` on is in the store; returns the number of duplicates, by
/// client.
fn repeated(dir: &Path, first: usize) -> BTreeMap<&'static str, usize> {
    let names = ["fluent", "node", "lumberjack"];
    wait::until("every line in the store", LIMIT, || {
        let lines = stored(dir);
        let is_there = |number: usize| {
            names.iter().all(|name| lines.contains_key(&format!("{name}-{number}")))
        };
        (first..first + LINES).all(is_there).then_some(())
    });
    let lines = stored(dir);
    let again = |name: &str| {
        let times = |number| lines[&format!("{name}-{number}")] - 1;
        (first..first + LINES).map(times).sum()
    };
    names.map(|name| (name, again(name))).into()
}

#[test]
#[ignore = "needs the programs, Go and Node.js: tests/run"]
fn shipper_lines_are_stored_and_lost_responses_repeat_no_logger_event() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let listen = [free_address(), free_address(), free_address()];
    let wires = listen.map(|to| {
        let losses = losses(End::Server, MESSAGE_BYTES);
        Wire::losing_answers(to, losses, seed::rng("shippers"))
    });
    let package = include_str!("shippers/package.json");
    let node =
        Package::installed("shippers-js", package, include_str!("shippers/package-lock.json"));
    fs::create_dir(dir.join("other")).expect("the folder of the test");
    let mut agent = collector(dir, listen);
    agent.start();
    end(clients(dir, &node, &wires, 0));
    let lost = wires.each_ref().map(Wire::lost);
    assert_eq!(lost, [CUTS; 3], "answers that were lost");
    let again = repeated(dir, 0);
    assert_eq!(again["fluent"], 0, "a chunk that is known is not stored again: {again:?}");
    let metrics = agent.metrics().expect("the admin page");
    let known = metrics.sum("aqueduct_source_anomalies_total").unwrap_or_default();
    assert!(known >= 1.0, "chunks came again");

    // A file blocks the path of the second sink's directory.
    agent.kill();
    let lines = dir.join("other/lines");
    fs::remove_dir_all(&lines).expect("what the sink wrote");
    fs::write(&lines, "").expect("the folder of the test");
    agent.start();
    let sending = clients(dir, &node, &wires, LINES);
    let stopped = "aqueduct_channel_intake_stopped{channel=\"other\"}";
    wait::until("a full channel", LIMIT, || {
        agent.metrics()?.value(stopped).filter(|stopped| *stopped >= 1.0)
    });
    agent.kill();
    fs::remove_file(&lines).expect("the file");
    agent.start();
    let mut rng = seed::rng("shippers");
    let acknowledged = || sending.iter().map(Client::acknowledged).sum::<usize>();
    // Each kill has its own part of the lines, and one part remains.
    let there = acknowledged();
    let part = (sending.len() * LINES - there) / (KILLS + 1);
    for kill in 0..KILLS {
        let sooner = there + kill * part + rng.random_range(0..part);
        wait::until("lines to be acknowledged", LIMIT, || (acknowledged() > sooner).then_some(()));
        agent.kill();
        agent.start();
    }
    end(sending);
    let after = repeated(dir, LINES);
    agent.stop(LIMIT);
    eprintln!(
        "{LINES} lines of each client twice, 0 missing; answers lost at first {lost:?}; lines that \
         are there again: {again:?}, and {after:?} with {KILLS} kills",
    );
}
