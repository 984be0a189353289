//! Goal: every Flume client used by applications delivers its events to an agent unchanged. Resent
//! events after a lost response are duplicated only where the pages of the sources `avro` and
//! `thrift` say so.
//!
//! Method: the clients of Flume 1.11 and log4j, from Maven, in one virtual machine: `RpcClient` as
//! default, deflated, failover, load balancing and Thrift, `avro-client`, the appenders of log4j 1
//! and log4j 2. They send to two agents, the first of which is killed while the failover client
//! sends. The test checks the files of both. Then `RpcClient` sends, over Avro and over Thrift,
//! through a relay that cuts its connection 200 times before the response is written, and 200 times
//! after it.
//!
//! Lane: flume
//! Needs: javac mvn
//! Weight: 1
//! Limit: 10m
//! Paths: crates/components crates/formats crates/kit crates/wire

mod proxy;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::flume::java_with;
use aqueduct_tests::process::{Process, tail};
use aqueduct_tests::{http, wait};
use proxy::{Cut, Frames, Proxy};
use serde_json::Value;

/// Events of each client, ten per call.
const EVENTS: usize = 200;

const LIMIT: Duration = Duration::from_secs(90);

/// An event in a file: its body, and its headers by name.
type Event = (String, BTreeMap<String, String>);

/// An agent with an `avro` and a `thrift` source, which stores events in files.
struct Store {
    agent: Agent,
    avro: SocketAddr,
    thrift: SocketAddr,
    files: PathBuf,
}

impl Store {
    fn start(name: &str, dir: &Path) -> Self {
        let (avro, thrift) = (http::free_address(), http::free_address());
        let files = dir.join(format!("{name}-files"));
        let text = format!(
            r#"
[agent]
data_dir = "{dir}/{name}"
[sources.avro]
type = "avro"
listen = "{avro}"
channels = ["main"]
[sources.thrift]
type = "thrift"
listen = "{thrift}"
channels = ["main"]
[channels.main]
type = "durable"
capacity = "64MiB"
[sinks.files]
type = "file_roll"
directory = "{files}"
encoder = "json"
channel = "main"
"#,
            dir = dir.display(),
            files = files.display()
        );
        let mut agent = Agent::configured("aqueduct-edge", dir, name, &text);
        agent.start();
        Self { agent, avro, thrift, files }
    }

    /// Returns the events in its files, in order.
    fn events(&self) -> Vec<Event> {
        let Ok(files) = fs::read_dir(&self.files) else { return Vec::new() };
        let mut paths: Vec<_> = files.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        let text: String =
            paths.iter().map(|path| fs::read_to_string(path).unwrap_or_default()).collect();
        text.lines().filter_map(event).collect()
    }

    /// Returns how many events were recognized as resent.
    fn repeated(&self) -> usize {
        let (_, text) = http::get(self.agent.admin(), "/metrics").expect("its metrics");
        let rows = text.lines().filter(|line| line.contains("reason=\"repeated_events\""));
        rows.filter_map(|row| row.rsplit_once(' ')?.1.parse::<usize>().ok()).sum()
    }
}

/// Parses an event. A line truncated by a kill is followed by a complete one of the same event.
fn event(line: &str) -> Option<Event> {
    let event: Value = serde_json::from_str(line).ok()?;
    let headers = event["headers"].as_object()?.iter();
    let headers = headers.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.into())));
    Some((event["body"].as_str()?.to_owned(), headers.collect()))
}

/// Runs the clients, with arguments after the folder.
fn clients(dir: &Path, command: &str, arguments: &[String]) -> Command {
    let pom = include_str!("flume_clients/pom.xml");
    let mut java = java_with("flume-clients-1.11.0", pom, dir);
    let source = dir.join("Clients.java");
    fs::write(&source, include_str!("flume_clients/Clients.java")).expect("the test's own folder");
    java.arg(source).arg(command).arg(dir).args(arguments);
    java
}

/// Returns the body of a client's n-th event.
fn body(client: &str, n: usize) -> String {
    format!("{client} {n} Zürich 😀")
}

/// Asserts that each event of a client is stored, with its headers.
fn check(client: &str, found: &BTreeMap<String, BTreeMap<String, String>>) {
    for n in 0..EVENTS {
        let body = body(client, n);
        let headers = found.get(&body).unwrap_or_else(|| panic!("{body:?} is not stored"));
        let number = n.to_string();
        let expected: Vec<(&str, &str)> = match client {
            "log4j1" => vec![
                ("flume.client.log4j.logger.name", "shop.log4j1"),
                ("flume.client.log4j.log.level", "30000"),
                ("flume.client.log4j.message.encoding", "UTF8"),
            ],
            "log4j2" => vec![("client", client), ("n", &number)],
            "avro-client" => vec![("client", client), ("n", "-")],
            _ => vec![("client", client), ("n", &number), ("straße", ["€ 0", "€ 1", "€ 2"][n % 3])],
        };
        for (name, value) in &expected {
            assert_eq!(headers.get(*name).map(String::as_str), Some(*value), "{body}: {headers:?}");
        }
        // Additional headers of each client: the time, and headers with unpredictable values.
        let more = match client {
            "log4j1" => &["flume.client.log4j.timestamp", "flume.client.log4j.address"][..],
            "log4j2" => &["timeStamp", "guId"],
            _ => &[],
        };
        assert!(more.iter().all(|name| headers.contains_key(*name)), "{body}: {headers:?}");
        assert_eq!(headers.len(), expected.len() + more.len(), "{body}: {headers:?}");
    }
}

#[test]
#[ignore = "needs the programs, a JDK and Maven: tests/run"]
fn every_client_of_flume_delivers_although_an_agent_is_killed() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let dir = dir.path();
    let (mut first, second) = (Store::start("first", dir), Store::start("second", dir));
    let ports = [first.avro, second.avro, first.thrift].map(|address| address.port().to_string());
    let arguments = [&[EVENTS.to_string()][..], &ports].concat();
    let java = clients(dir, "send", &arguments);
    let mut java = Process::start("java", java, &dir.join("clients.out"));
    wait::until("the failover client to have sent", LIMIT, || {
        assert!(java.is_alive(), "{}", tail(&java.output()));
        java.output().contains("may be killed").then_some(())
    });
    first.agent.kill();
    fs::write(dir.join("killed"), "").expect("the test's own folder");
    let ended = java.wait(LIMIT);
    assert!(ended.success() && java.output().ends_with("all is sent\n"), "{}", java.output());
    first.agent.start();

    let names = [
        "default",
        "deflate",
        "thrift",
        "avro-client",
        "log4j1",
        "log4j2",
        "load_balance",
        "failover",
    ];
    let found = wait::until("every event in the files", LIMIT, || {
        let found: BTreeMap<_, _> = first.events().into_iter().chain(second.events()).collect();
        (found.len() >= names.len() * EVENTS).then_some(found)
    });
    assert_eq!(found.len(), names.len() * EVENTS, "nothing that was not sent");
    names.iter().for_each(|client| check(client, &found));
    for client in ["load_balance", "failover"] {
        for store in [&first, &second] {
            let part = store.events().iter().filter(|(body, _)| body.starts_with(client)).count();
            assert!(part >= 10, "{client}: each of both agents has some, one {part}");
        }
    }
    let of_second = second.events();
    let each = of_second.iter().map(|(body, _)| body).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(each.len(), of_second.len(), "what was not killed has each once");
    first.agent.stop(Duration::from_secs(25));
}

/// Cuts 200 calls of `RpcClient`. Returns how often each of their events is stored, and how many
/// the source has recognized.
fn cut(frames: Frames, cut: Cut, dir: &Path) -> (Vec<usize>, usize) {
    const CALLS: usize = 200;
    const OF_CALL: usize = 5;
    let name = format!("{frames:?}{cut:?}");
    let store = Store::start(&name, dir);
    let (to, kind) = match frames {
        Frames::Avro => (store.avro, "default"),
        Frames::Thrift => (store.thrift, "thrift"),
    };
    let proxy = Proxy::start(to, frames, cut);
    let (calls, of_call) = (CALLS.to_string(), OF_CALL.to_string());
    let port = proxy.address.port().to_string();
    let arguments = [&*name, &calls, &of_call, &port, kind].map(ToOwned::to_owned);
    let output = clients(dir, "cut", &arguments).output().expect("java runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("tries: 400\n"), "{output:?}");
    assert_eq!(proxy.cuts(), CALLS);
    let repeated = store.repeated();
    let copies = 2 * CALLS * OF_CALL - repeated;
    let events = wait::until(&format!("{name}: {copies} events"), LIMIT, || {
        let events = store.events();
        (events.len() >= copies).then_some(events)
    });
    let stored: Vec<usize> = (0..CALLS * OF_CALL)
        .map(|n| events.iter().filter(|(text, _)| *text == body(&name, n)).count())
        .collect();
    assert_eq!(stored.iter().sum::<usize>(), events.len(), "{name}: nothing else");
    (stored, repeated)
}

#[test]
#[ignore = "needs the programs, a JDK and Maven: tests/run"]
fn cuts_before_the_response_are_recognised_and_later_ones_are_not() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for frames in [Frames::Avro, Frames::Thrift] {
        let (before, recognised) = cut(frames, Cut::BeforeAnswer, dir.path());
        assert!(before.iter().all(|copies| *copies == 1), "{frames:?}: each once: {before:?}");
        assert_eq!(recognised, 1_000);
        let (behind, recognised) = cut(frames, Cut::AfterAnswer, dir.path());
        assert!(behind.iter().all(|copies| *copies == 2), "{frames:?}: each twice: {behind:?}");
        assert_eq!(recognised, 0);
    }
}
