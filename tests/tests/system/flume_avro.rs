//! Goal: between Flume 1.11 and an agent every event arrives by Avro RPC, in both directions, plain
//! and deflated, even if Flume is killed and restarted.
//!
//! Method: one agent of each, with a lane for each compression. Flume counts, and sends with its
//! Avro sinks; the agent stores the events in files, and sends them back with sinks `avro` to
//! Flume's Avro sources, which write their own files. Flume is killed with -9 in the middle; after
//! its restart it counts from the beginning. Flume's `avro-client` also sends a file. The tests
//! check the files of both.
//!
//! ```text
//!   seq ─► memory ─► avro sink ──► avro source ─┬─► durable ─► file_roll
//!                                               └─► durable ─► avro sink
//!   file_roll ◄─ file channel ◄─ avro source ◄────────────────────┘
//! ```
//!
//! Lane: flume
//! Needs: java mvn
//! Weight: 1
//! Limit: 10m
//! Paths: crates/components crates/formats crates/kit crates/wire crates/flume

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::flume::{Flume, java};
use aqueduct_tests::reconcile::whole_lines;
use aqueduct_tests::{http, wait};

const LANES: [&str; 2] = ["none", "deflate"];

/// Events of each lane, and of a call.
const EVENTS: usize = 10_000;
const BATCH: usize = 100;

const LIMIT: Duration = Duration::from_secs(120);

/// Listen addresses of one side's sources, by lane.
type Addresses = [SocketAddr; 2];

fn ours(dir: &Path, listen: Addresses, back: Addresses) -> String {
    let dir = dir.display();
    let mut text = format!("[agent]\ndata_dir = \"{dir}/ours\"\n");
    for (at, lane) in LANES.iter().enumerate() {
        let (listen, back) = (listen[at], back[at]);
        text += &format!(
            r#"
[sources.{lane}]
type = "avro"
listen = "{listen}"
channels = ["kept-{lane}", "back-{lane}"]
[channels.kept-{lane}]
type = "durable"
capacity = "64MiB"
[channels.back-{lane}]
type = "durable"
capacity = "64MiB"
[sinks.kept-{lane}]
type = "file_roll"
directory = "{dir}/kept-{lane}"
encoder = "header_and_text"
channel = "kept-{lane}"
[sinks.back-{lane}]
type = "avro"
address = "{back}"
compression = "{lane}"
events_max = {BATCH}
channel = "back-{lane}"
"#
        );
    }
    text
}

fn flumes(dir: &Path, to: Addresses, listen: Addresses) -> String {
    let dir = dir.display();
    let mut text = format!(
        r"
flume.sources = seq in-none in-deflate
flume.channels = out-none out-deflate back-none back-deflate
flume.sinks = out-none out-deflate files-none files-deflate
flume.sources.seq.type = seq
flume.sources.seq.totalEvents = {EVENTS}
flume.sources.seq.batchSize = {BATCH}
flume.sources.seq.channels = out-none out-deflate
flume.sources.seq.interceptors = site
flume.sources.seq.interceptors.site.type = static
flume.sources.seq.interceptors.site.key = site
flume.sources.seq.interceptors.site.value = Z\u00fcrich
"
    );
    for (at, lane) in LANES.iter().enumerate() {
        text += &format!(
            r"
flume.channels.out-{lane}.type = memory
flume.channels.out-{lane}.capacity = {EVENTS}
flume.channels.out-{lane}.transactionCapacity = {BATCH}
flume.sinks.out-{lane}.type = avro
flume.sinks.out-{lane}.hostname = 127.0.0.1
flume.sinks.out-{lane}.port = {to}
flume.sinks.out-{lane}.compression-type = {lane}
flume.sinks.out-{lane}.batch-size = {BATCH}
flume.sinks.out-{lane}.channel = out-{lane}
flume.sources.in-{lane}.type = avro
flume.sources.in-{lane}.bind = 127.0.0.1
flume.sources.in-{lane}.port = {from}
flume.sources.in-{lane}.compression-type = {lane}
flume.sources.in-{lane}.channels = back-{lane}
flume.channels.back-{lane}.type = file
flume.channels.back-{lane}.checkpointDir = {dir}/checkpoint-{lane}
flume.channels.back-{lane}.dataDirs = {dir}/data-{lane}
flume.channels.back-{lane}.transactionCapacity = {BATCH}
flume.sinks.files-{lane}.type = file_roll
flume.sinks.files-{lane}.sink.directory = {dir}/back-{lane}
flume.sinks.files-{lane}.sink.rollInterval = 0
flume.sinks.files-{lane}.sink.serializer = HEADER_AND_TEXT
flume.sinks.files-{lane}.sink.batchSize = {BATCH}
flume.sinks.files-{lane}.channel = back-{lane}
",
            to = to[at].port(),
            from = listen[at].port(),
        );
    }
    text
}

/// Sends the lines of a file with Flume's `avro-client`.
fn avro_client(dir: &Path, to: SocketAddr, lines: &str) {
    let file = dir.join("lines");
    fs::write(&file, lines).expect("the test's own folder");
    let mut client = java(dir);
    client.args(["org.apache.flume.client.avro.AvroCLIClient", "-H", "127.0.0.1", "-p"]);
    client.arg(to.port().to_string()).arg("-F").arg(&file);
    let output = client.output().expect("java runs");
    assert!(output.status.success(), "{output:?}");
}

#[test]
#[ignore = "needs the programs, Java and Maven: tests/run"]
fn every_event_arrives_by_avro_both_ways_although_flume_is_killed() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let dir = dir.path();
    let (here, there) = (LANES.map(|_| http::free_address()), LANES.map(|_| http::free_address()));
    for lane in LANES {
        fs::create_dir(dir.join(format!("back-{lane}"))).expect("the test's own folder");
    }
    let properties = flumes(dir, here, there);
    let flume = Flume::start("flume", &properties, dir);
    let mut agent = Agent::configured("aqueduct-edge", dir, "ours", &ours(dir, here, there));
    agent.start();

    for lane in LANES {
        wait::until("events back at Flume", LIMIT, || {
            (whole_lines(&dir.join(format!("back-{lane}"))).len() >= BATCH).then_some(())
        });
    }
    flume.kill();
    let sent: Vec<String> = (0..50).map(|n| format!("line {n} caf\u{e9} \u{1f600}")).collect();
    avro_client(dir, here[0], &(sent.join("\n") + "\n"));
    let flume = Flume::start("flume", &properties, dir);

    for (at, lane) in LANES.iter().enumerate() {
        let mut expected: BTreeSet<String> =
            (0..EVENTS).map(|n| format!("{{site=Z\u{fc}rich}} {n}")).collect();
        if at == 0 {
            expected.extend(sent.iter().map(|line| format!("{{}} {line}")));
        }
        for place in ["kept", "back"] {
            let files = dir.join(format!("{place}-{lane}"));
            wait::until(&format!("every event in {}", files.display()), LIMIT, || {
                (whole_lines(&files).len() >= expected.len()).then_some(())
            });
            let found = whole_lines(&files);
            let missing: Vec<_> = expected.difference(&found).take(3).collect();
            let other: Vec<_> = found.difference(&expected).take(3).collect();
            assert!(found == expected, "{place} {lane}: missing {missing:?}, not sent {other:?}");
        }
    }
    agent.stop(Duration::from_secs(25));
    drop(flume);
}
