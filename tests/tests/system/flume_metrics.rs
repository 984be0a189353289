//! Goal: a monitor made for Flume finds in an agent the counters that it finds in Flume.
//!
//! Method: a real agent of Flume 1.11 and one of ours have the same structure and move the same
//! lines. The pages are compared counter by counter. Each counter missing in ours must be listed in
//! `docs/flume-metrics.md`.
//!
//! ```text
//!   files ─► tail ─► file ─► next ──► in ─► mem ─► roll ─► directory
//! ```
//!
//! Lane: flume
//! Needs: java mvn
//! Weight: 1
//! Limit: 10m
//! Paths: crates/flume crates/metrics docs/flume-metrics.md

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::flume::{self, Flume, Page};
use aqueduct_tests::{http, wait};

const LINES: &str = "one\ntwo\nthree\n";

const DOCS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/flume-metrics.md"));

/// Counters that describe the number and the path of events.
const OF_THE_WAY: &[&str] = &[
    "ChannelSize",
    "EventAcceptedCount",
    "EventDrainSuccessCount",
    "EventPutSuccessCount",
    "EventReceivedCount",
    "EventTakeSuccessCount",
    "StopTime",
    "Type",
];

#[test]
#[ignore = "needs the programs, Java and Maven: tests/run"]
fn a_monitor_finds_what_it_finds_in_flume() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let logs = dir.path().join("logs");
    for folder in ["logs", "flume-out", "our-out", "flume", "ours"] {
        fs::create_dir(dir.path().join(folder)).expect("the test's own folder");
    }
    fs::write(logs.join("a.log"), LINES).expect("the test's own folder");
    let flume = start_flume(dir.path());
    let (mut ours, monitoring) = start_ours(dir.path());

    let theirs = once_moved("Flume", flume.monitoring());
    let found = once_moved("ours", monitoring);
    let names = |page: &Page| page.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&theirs));
    let mut lacking = BTreeSet::new();
    for (of, counters) in &found {
        let flumes = &theirs[of];
        for (counter, value) in counters {
            let expected = flumes.get(counter);
            let expected = expected.unwrap_or_else(|| panic!("Flume has no {counter} in {of}"));
            let number = |text: &str| text.parse::<f64>().is_ok();
            assert_eq!(number(value), number(expected), "{of} {counter}: {value}, {expected}");
            if OF_THE_WAY.contains(&&**counter) {
                assert_eq!(value, expected, "{of} {counter}");
            }
        }
        lacking.extend(flumes.keys().filter(|counter| !counters.contains_key(*counter)).cloned());
    }
    // A source of files has no connections.
    assert!(lacking.remove("OpenConnectionCount"));
    assert_eq!(lacking, documented_as_lacking());
    ours.stop(Duration::from_secs(25));
    flume.kill();
}

fn start_flume(dir: &Path) -> Flume {
    let (at, port) = (dir.display(), http::free_address().port());
    let properties = format!(
        "a.sources=tail in\na.channels=file mem\na.sinks=next roll\n\
         a.sources.tail.type=TAILDIR\na.sources.tail.channels=file\n\
         a.sources.tail.filegroups=f\na.sources.tail.filegroups.f={at}/logs/.*log\n\
         a.sources.tail.positionFile={at}/flume/positions.json\n\
         a.channels.file.type=file\na.channels.file.checkpointDir={at}/flume/checkpoint\n\
         a.channels.file.dataDirs={at}/flume/data\n\
         a.sinks.next.type=avro\na.sinks.next.channel=file\n\
         a.sinks.next.hostname=127.0.0.1\na.sinks.next.port={port}\n\
         a.sources.in.type=avro\na.sources.in.channels=mem\n\
         a.sources.in.bind=127.0.0.1\na.sources.in.port={port}\n\
         a.channels.mem.type=memory\n\
         a.sinks.roll.type=file_roll\na.sinks.roll.channel=mem\n\
         a.sinks.roll.sink.directory={at}/flume-out\n"
    );
    Flume::start("a", &properties, &dir.join("flume"))
}

/// Also returns the address of Flume's page.
fn start_ours(dir: &Path) -> (Agent, SocketAddr) {
    let (at, next, monitoring) = (dir.display(), http::free_address(), http::free_address());
    let text = format!(
        "[agent]\ndata_dir = \"{at}/ours\"\nflume_metrics = \"{monitoring}\"\n\
         [sources.tail]\ntype = \"tail_dir\"\nchannels = [\"file\"]\n\
         paths = [\"{at}/logs/*.log\"]\n\
         [channels.file]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.next]\ntype = \"grpc\"\naddress = \"{next}\"\nchannel = \"file\"\n\
         [sources.in]\ntype = \"grpc\"\nlisten = \"{next}\"\nchannels = [\"mem\"]\n\
         [channels.mem]\ntype = \"memory\"\ncapacity = \"64MiB\"\n\
         [sinks.roll]\ntype = \"file_roll\"\ndirectory = \"{at}/our-out\"\nchannel = \"mem\"\n"
    );
    let mut ours = Agent::configured("aqueduct-collector", dir, "ours", &text);
    ours.start();
    (ours, monitoring)
}

/// Returns the page when every line has left both channels.
fn once_moved(what: &str, address: SocketAddr) -> Page {
    let lines = LINES.lines().count().to_string();
    wait::until(&format!("the lines to go through {what}"), Duration::from_secs(60), || {
        let page = flume::page(address)?;
        let left = |of: &str, counter: &str| page.get(of)?.get(counter).cloned();
        let done = ["CHANNEL.file", "CHANNEL.mem"]
            .iter()
            .all(|of| left(of, "EventTakeSuccessCount").as_ref() == Some(&lines))
            && left("SINK.next", "EventDrainSuccessCount").as_ref() == Some(&lines)
            && left("SINK.roll", "EventDrainSuccessCount").as_ref() == Some(&lines);
        done.then_some(page)
    })
}

/// Returns the counters in the table of missing ones.
fn documented_as_lacking() -> BTreeSet<String> {
    let (_, table) = DOCS.split_once("## Not on the page").expect("a heading");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").nth(1));
    rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}
