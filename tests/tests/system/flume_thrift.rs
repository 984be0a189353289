//! Goal: between Flume 1.11 and our agent every event arrives by Thrift, in both directions and
//! both encodings, even if either side is killed.
//!
//! Method: one Flume agent and one of ours, each with a lane for each encoding. Flume counts, and
//! sends with its Thrift sink; our agent stores the events in files, and sends them back with the
//! `thrift` sink to Flume's Thrift source, which writes its own files. First our agent is killed
//! with -9 and restarted, then Flume, which counts from the beginning after its restart. The test
//! checks the files of both.
//!
//! ```text
//!   seq ─► memory ─► thrift sink ──► thrift source ─┬► kept ─► file_roll (json)
//!                                                   └► lane ─► thrift sink
//!   file_roll (headers and text) ◄─ file ◄─ thrift source ◄───────┘
//! ```
//!
//! Lane: flume
//! Needs: java mvn
//! Weight: 1
//! Limit: 10m
//! Paths: crates/components crates/formats crates/kit crates/wire crates/flume

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::flume::Flume;
use aqueduct_tests::reconcile::whole_lines;
use aqueduct_tests::{http, wait};
use serde_json::Value;

const LANES: [&str; 2] = ["compact", "binary"];

/// Events of each lane, and of a transaction.
const EVENTS: usize = 20_000;
const BATCH: usize = 100;

const LIMIT: Duration = Duration::from_secs(120);

/// Listen addresses of one side's sources, by lane.
type Addresses = [SocketAddr; 2];

#[test]
#[ignore = "needs the programs, Java and Maven: tests/run"]
fn every_event_arrives_by_thrift_both_ways_through_kills() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (ours, flumes) = (addresses(), addresses());
    for lane in LANES {
        fs::create_dir(dir.path().join(format!("flume-{lane}"))).expect("the test's own folder");
    }
    let properties = flume_properties(dir.path(), ours, flumes);
    let flume = Flume::start("flume", &properties, dir.path());
    let text = our_configuration(dir.path(), ours, flumes);
    let mut agent = Agent::configured("aqueduct-edge", dir.path(), "ours", &text);
    agent.start();

    wait::until("events at the agent", LIMIT, || some(&kept(dir.path())));
    agent.kill();
    agent.start();
    wait::until("events at Flume", LIMIT, || some(&returned(dir.path())));
    flume.kill();
    let flume = Flume::start("flume", &properties, dir.path());

    for (what, events) in [("the agent", kept as fn(&Path) -> _), ("Flume", returned)] {
        let all = expected();
        wait::until(&format!("every event at {what}"), LIMIT, || {
            (events(dir.path()).len() >= all.len()).then_some(())
        });
        let found = events(dir.path());
        let missing: Vec<_> = all.difference(&found).take(3).collect();
        let others: Vec<_> = found.difference(&all).take(3).collect();
        assert!(found == all, "{what}: missing {missing:?}, of nothing sent {others:?}");
    }
    for address in ours.into_iter().chain(flumes) {
        TcpStream::connect(address).expect("both sides still listen");
    }
    agent.stop(Duration::from_secs(25));
    drop(flume);
}

fn some(events: &BTreeSet<String>) -> Option<()> {
    (events.len() >= BATCH).then_some(())
}

fn addresses() -> Addresses {
    LANES.map(|_| http::free_address())
}

/// Returns each event with its headers, as Flume writes it.
fn expected() -> BTreeSet<String> {
    let event = |lane: &str, n: usize| format!("{{lane={lane}, site=Zürich}} {n}");
    LANES.iter().flat_map(|lane| (0..EVENTS).map(move |n| event(lane, n))).collect()
}

/// Returns the events in our files, as Flume writes them.
fn kept(dir: &Path) -> BTreeSet<String> {
    let event = |line: &String| {
        // A line truncated by a kill is followed by a complete one of the same event.
        let event: Value = serde_json::from_str(line).ok()?;
        let headers: BTreeMap<&str, &str> = event["headers"]
            .as_object()?
            .iter()
            .filter_map(|(name, value)| Some((&**name, value.as_str()?)))
            .collect();
        let headers: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Some(format!("{{{}}} {}", headers.join(", "), event["body"].as_str()?))
    };
    whole_lines(&dir.join("kept")).iter().filter_map(event).collect()
}

/// Returns the events in Flume's files, with sorted headers.
fn returned(dir: &Path) -> BTreeSet<String> {
    let event = |line: &String| {
        let (headers, body) = line.strip_prefix('{')?.split_once("} ")?;
        let mut headers: Vec<&str> = headers.split(", ").collect();
        headers.sort_unstable();
        Some(format!("{{{}}} {body}", headers.join(", ")))
    };
    let lines = LANES.map(|lane| whole_lines(&dir.join(format!("flume-{lane}"))));
    lines.iter().flatten().filter_map(event).collect()
}

fn our_configuration(dir: &Path, ours: Addresses, flumes: Addresses) -> String {
    let dir = dir.display();
    let mut text = format!(
        r#"
[agent]
data_dir = "{dir}/ours"
[channels.kept]
type = "durable"
capacity = "64MiB"
[sinks.kept]
type = "file_roll"
directory = "{dir}/kept"
encoder = "json"
channel = "kept"
"#
    );
    for (at, lane) in LANES.iter().enumerate() {
        let (listen, address) = (ours[at], flumes[at]);
        text += &format!(
            r#"
[sources.{lane}]
type = "thrift"
protocol = "{lane}"
listen = "{listen}"
channels = ["{lane}", "kept"]
interceptors = [{{ type = "static", headers = {{ lane = "{lane}" }} }}]
[channels.{lane}]
type = "durable"
capacity = "64MiB"
[sinks.{lane}]
type = "thrift"
protocol = "{lane}"
address = "{address}"
events_max = 64
channel = "{lane}"
"#
        );
    }
    text
}

fn flume_properties(dir: &Path, ours: Addresses, flumes: Addresses) -> String {
    let dir = dir.display();
    let mut text = format!(
        r"
flume.sources = seq in-compact in-binary
flume.channels = out-compact out-binary back-compact back-binary
flume.sinks = out-compact out-binary files-compact files-binary
flume.sources.seq.type = seq
flume.sources.seq.totalEvents = {EVENTS}
flume.sources.seq.batchSize = {BATCH}
flume.sources.seq.channels = out-compact out-binary
flume.sources.seq.interceptors = site
flume.sources.seq.interceptors.site.type = static
flume.sources.seq.interceptors.site.key = site
flume.sources.seq.interceptors.site.value = Z\u00fcrich
"
    );
    for (at, lane) in LANES.iter().enumerate() {
        let (to, from) = (ours[at], flumes[at]);
        text += &format!(
            r"
flume.channels.out-{lane}.type = memory
flume.channels.out-{lane}.capacity = {EVENTS}
flume.channels.out-{lane}.transactionCapacity = {BATCH}
flume.sinks.out-{lane}.type = thrift
flume.sinks.out-{lane}.hostname = {to_host}
flume.sinks.out-{lane}.port = {to_port}
flume.sinks.out-{lane}.protocol = {lane}
flume.sinks.out-{lane}.batch-size = {BATCH}
flume.sinks.out-{lane}.channel = out-{lane}
flume.sources.in-{lane}.type = thrift
flume.sources.in-{lane}.bind = {from_host}
flume.sources.in-{lane}.port = {from_port}
flume.sources.in-{lane}.protocol = {lane}
flume.sources.in-{lane}.channels = back-{lane}
flume.channels.back-{lane}.type = file
flume.channels.back-{lane}.checkpointDir = {dir}/checkpoint-{lane}
flume.channels.back-{lane}.dataDirs = {dir}/data-{lane}
flume.sinks.files-{lane}.type = file_roll
flume.sinks.files-{lane}.sink.directory = {dir}/flume-{lane}
flume.sinks.files-{lane}.sink.rollInterval = 0
flume.sinks.files-{lane}.sink.serializer = HEADER_AND_TEXT
flume.sinks.files-{lane}.sink.batchSize = {BATCH}
flume.sinks.files-{lane}.channel = back-{lane}
",
            to_host = to.ip(),
            to_port = to.port(),
            from_host = from.ip(),
            from_port = from.port(),
        );
    }
    text
}
