//! Goal: an HDFS outage, at the start or later, costs time and nothing else.
//!
//! Method: a collector starts while the NameNode is down. It must accept the edge's events, report
//! the problem without flooding its log, and deliver automatically as soon as HDFS is up. Then HDFS
//! is stopped and restarted in the middle. Neither agent is touched, and Hadoop's shell finds each
//! line once. `aqueduct check --connect` reports the correct state both times, and leaves nothing
//! in HDFS.
//!
//! Lane: core
//! Needs: java mvn curl flock
//! Weight: 0
//! Limit: 10m
//! Paths: @core deploy/hadoop

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use aqueduct_tests::agent::{Agent, program, two_tiers, wait_until_delivered};
use aqueduct_tests::hdfs::Hdfs;
use aqueduct_tests::reconcile::{compare, prove};
use aqueduct_tests::wait;

const LINES: usize = 10_000;

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn events_wait_in_the_channel_until_hdfs_is_there() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let mut hdfs = Hdfs::configured(&dir.join("hdfs"));
    let (mut collector, mut edge, store) = two_tiers(&hdfs, dir);

    let mut written = Vec::new();
    let mut log = |name: &str| {
        let text: String = (0..LINES).map(|number| format!("{name} {number}\n")).collect();
        written.extend_from_slice(text.as_bytes());
        fs::write(dir.join(format!("{name}.log")), text).expect("a log is written");
    };

    log("down at the start");
    collector.start();
    edge.start();
    wait_until_held(&collector, LINES);
    wait_until_it_says_more(&collector, 0);
    let (code, said) = connect(&hdfs, dir, &store);
    assert!(code == Some(1) && said.contains("\nsink store: FAILED: "), "{said}");
    hdfs.start();
    wait_until_delivered(&edge, Duration::from_secs(90));
    let (code, said) = connect(&hdfs, dir, &store);
    assert!(code == Some(0) && said.contains(": /logs accepts files\n"), "{said}");
    let probes = hdfs.list("/logs/_aqueduct-probe-*");
    assert!(probes.is_empty(), "{probes:?}");

    let said = warnings(&collector);
    hdfs.stop();
    log("down in between");
    wait_until_held(&collector, LINES);
    wait_until_it_says_more(&collector, said);
    // Long enough for many attempts, each of which could log a line.
    thread::sleep(Duration::from_secs(5));
    hdfs.start();
    wait_until_delivered(&edge, Duration::from_secs(90));

    let warned = warnings(&collector);
    assert!((2..=10).contains(&warned), "{warned} warnings:\n{}", collector.output());
    edge.stop(Duration::from_secs(25));
    collector.stop(Duration::from_secs(25));
    prove(&store, Some(&hdfs.conf_dir()), &[dir.join("edge/channels/main")]);
    let found = compare(&written, &hdfs.read("/logs/20*/*.log"));
    assert!(found.is_none(), "{found}");
}

/// Returns exit code and output of `aqueduct check --connect` with a sink that stores there.
fn connect(hdfs: &Hdfs, dir: &Path, store: &str) -> (Option<i32>, String) {
    let file = dir.join("tried.toml");
    let shown = dir.display();
    let text = format!(
        "[agent]\ndata_dir = \"{shown}/tried\"\n[sources.in]\ntype = \"grpc\"\n\
         listen = \"127.0.0.1:0\"\nchannels = [\"main\"]\n[channels.main]\ntype = \"memory\"\n\
         [sinks.store]\ntype = \"hdfs\"\nurl = \"{store}\"\nchannel = \"main\"\n"
    );
    fs::write(&file, text).expect("the test's own folder");
    let mut check = program("aqueduct");
    check.args(["check", "--connect"]).arg(&file).env("HADOOP_CONF_DIR", hdfs.conf_dir());
    let output = check.output().expect("the program starts");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn warnings(collector: &Agent) -> usize {
    collector.output().lines().filter(|line| line.contains("WARN")).count()
}

/// The HDFS client handles a short outage; a long one is logged.
fn wait_until_it_says_more(collector: &Agent, said: usize) {
    wait::until("the collector to say that HDFS is away", Duration::from_secs(60), || {
        (warnings(collector) > said).then_some(())
    });
}

fn wait_until_held(collector: &Agent, events: usize) {
    wait::until("the collector to hold what the edge sent", Duration::from_secs(60), || {
        let held = collector.metrics()?.sum("aqueduct_channel_events")?;
        (held >= events as f64).then_some(())
    });
}
