//! Goal: results of interceptors arrive in the store, each event once, whatever is killed: an
//! event's own day and topic determine its path, its id is unique, and masked text appears nowhere.
//!
//! Method: an edge reads lines of an access log with `event_time`, `parse`, `route`, `lookup`,
//! `mask` and `uuid`, and sends them to a collector that stores them below `topic/day` of a
//! `file://` store. Both are killed in turn while lines are written. The test checks the files of
//! the store.
//!
//! Lane: core
//! Weight: 1
//! Limit: 10m
//! Paths: @core crates/components-expr

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::http::free_address;
use aqueduct_tests::wait;
use serde_json::Value;

/// Lines of each round, and rounds with a kill after each.
const LINES: usize = 500;
const ROUNDS: usize = 4;

fn configurations(dir: &Path) -> [String; 2] {
    let (dir, between) = (dir.display(), free_address());
    let edge = format!(
        r#"
[agent]
data_dir = "{dir}/edge"
[sources.access]
type = "tail_dir"
paths = ["{dir}/logs/*.log"]
channels = ["main"]
[[sources.access.interceptors]]
type = "event_time"
pattern = '\[([^\]]+)\]'
formats = ["%d/%b/%Y:%H:%M:%S %z"]
[[sources.access.interceptors]]
type = "parse"
format = "combined"
fields = ["response", "request", "auth"]
prefix = "http_"
on_failure = "header"
[[sources.access.interceptors]]
type = "route"
header = "topic"
default = "access"
rules = [
  {{ value = "odd", when = [{{ header = "parse_error" }}] }},
  {{ value = "errors", when = [{{ header = "http_response", matches = "^5" }}] }},
]
[[sources.access.interceptors]]
type = "lookup"
from = "http_auth"
table = "auth,team\nann,shop\nbob,desk\n"
[[sources.access.interceptors]]
type = "mask"
pattern = '^(\S+) '
key = "0123456789abcdef"
text = "client-"
[[sources.access.interceptors]]
type = "uuid"
[channels.main]
type = "durable"
capacity = "256MiB"
[sinks.collector]
type = "grpc"
address = "{between}"
channel = "main"
"#
    );
    let collector = format!(
        r#"
[agent]
data_dir = "{dir}/collector"
[sources.edges]
type = "grpc"
listen = "{between}"
channels = ["main"]
[channels.main]
type = "durable"
capacity = "256MiB"
[sinks.store]
type = "hdfs"
url = "file://{dir}/store/%{{topic}}/%Y-%m-%d"
encoder = "json"
channel = "main"
roll = {{ age_max = "1s", idle_max = "1s" }}
"#
    );
    [edge, collector]
}

/// Returns line `n`, its topic and its day. For each third line, the zone matters for its day.
fn line(n: usize) -> (String, &'static str, &'static str) {
    let (time, day) = match n % 3 {
        0 => ("25/Nov/2026:00:30:00 +0100", "2026-11-24"),
        1 => ("25/Nov/2026:10:20:30 +0100", "2026-11-25"),
        _ => ("26/Nov/2026:10:20:30 +0000", "2026-11-26"),
    };
    let auth = ["ann", "bob", "-"][n % 3];
    let (status, topic) = match n % 10 {
        0 => (502, "errors"),
        9 => return (format!("203.0.113.{} odd {n} [{time}]", n % 250), "odd", day),
        _ => (200, "access"),
    };
    let ip = format!("203.0.113.{}", n % 250);
    let line = format!("{ip} - {auth} [{time}] \"GET /{n} HTTP/1.1\" {status} 12 \"-\" \"curl/8\"");
    (line, topic, day)
}

/// Returns every event that readers of the store see, with its topic and its day.
fn stored(dir: &Path) -> Vec<(String, String, Value)> {
    let mut events = Vec::new();
    let folders = |path: PathBuf| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with(['_', '.']))
    };
    for topic in folders(dir.join("store")) {
        for day in folders(topic.path()) {
            for file in folders(day.path()) {
                let text = fs::read_to_string(file.path()).expect("a visible file is whole");
                for line in text.lines() {
                    let event = serde_json::from_str(line).expect("each line is an event");
                    let name = |entry: &fs::DirEntry| entry.file_name().display().to_string();
                    events.push((name(&topic), name(&day), event));
                }
            }
        }
    }
    events
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn intercepted_events_are_stored_once_through_kills() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(dir.path().join("logs")).expect("a folder for the logs");
    let configurations = configurations(dir.path());
    let mut agents = ["edge", "collector"].into_iter().zip(configurations).map(|(name, text)| {
        let program = if name == "edge" { "aqueduct-edge" } else { "aqueduct-collector" };
        let mut agent = Agent::configured(program, dir.path(), name, &text);
        agent.start();
        agent
    });
    let mut agents = [agents.next().expect("the edge"), agents.next().expect("the collector")];

    let mut log = fs::File::create(dir.path().join("logs/access.log")).expect("a log");
    let mut expected = BTreeMap::new();
    for round in 0..ROUNDS {
        for n in round * LINES..(round + 1) * LINES {
            let (line, topic, day) = line(n);
            writeln!(log, "{line}").expect("a line is written");
            expected.insert(n, (topic, day));
        }
        // Some of the round is in flight, wherever that is.
        wait::until("some of the lines to arrive", Duration::from_secs(60), || {
            let metrics = agents[1].metrics()?;
            let taken = metrics.sum("aqueduct_source_events_total").unwrap_or_default();
            (taken > 0.0).then_some(())
        });
        let agent = &mut agents[round % 2];
        agent.kill();
        agent.start();
    }
    let all = wait::until("all lines in the store", Duration::from_secs(60), || {
        let all = stored(dir.path());
        (all.len() >= expected.len()).then_some(all)
    });
    agents[0].stop(Duration::from_secs(25));
    agents[1].stop(Duration::from_secs(25));
    assert_eq!(stored(dir.path()).len(), all.len(), "nothing is stored again");

    let (mut found, mut ids, mut clients) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    for (topic, day, event) in &all {
        let body = event["body"].as_str().expect("a body");
        let header = |name: &str| event["headers"][name].as_str();
        assert!(!body.contains("203.0.113."), "an address is hidden: {body}");
        clients.insert(body.split(' ').next().expect("a client").to_owned());
        assert!(ids.insert(header("id").expect("an id").to_owned()), "an id is there once");
        let request = header("http_request").map(|path| path.trim_start_matches('/'));
        let number = request.or_else(|| body.split(' ').nth(2)).and_then(|n| n.parse().ok());
        let number: usize = number.unwrap_or_else(|| panic!("a number in {event}"));
        let team = [Some("shop"), Some("desk"), None][number % 3].filter(|_| topic != "odd");
        assert_eq!(header("team"), team, "{event}");
        assert_eq!(header("parse_error").is_some(), topic == "odd", "{event}");
        let repeated = found.insert(number, (topic.as_str(), day.as_str()));
        assert_eq!(repeated, None, "line {number} is stored once");
    }
    assert_eq!(found, expected);
    assert_eq!(clients.len(), 250, "masked clients can still be counted");
}
