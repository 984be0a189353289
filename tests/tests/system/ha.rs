//! Goal: a NameNode failover costs seconds and no line.
//!
//! Method: two NameNodes, three JournalNodes and a collector that only knows the name service.
//! Under load the active NameNode is killed (-9), the standby becomes active, and the killed one
//! returns as the standby; twice, so that each of them is killed once, or with `AQUEDUCT_LONG` once
//! a minute, ten times. Hadoop's shell finds each line once, and `aqueduct verify` proves the same.
//! The test prints the time from the kill to the first new visible file.
//!
//! Lane: core
//! Needs: java mvn curl flock
//! Weight: 0
//! Limit: 10m
//! Paths: @core deploy/hadoop

use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, two_tiers, wait_until_delivered};
use aqueduct_tests::hdfs::Hdfs;
use aqueduct_tests::load::Load;
use aqueduct_tests::reconcile::{compare, prove};
use aqueduct_tests::{is_long, wait};

const STOP: Duration = Duration::from_secs(25);
/// Time between many kills.
const BETWEEN: Duration = Duration::from_secs(60);

/// Returns the number of visible files.
fn files(collector: &Agent) -> Option<f64> {
    collector.metrics()?.sum("aqueduct_sink_visible_files_total")
}

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn a_failover_of_the_namenode_loses_and_repeats_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let mut hdfs = Hdfs::configured_with(&dir.join("hdfs"), &["--ha"]);
    assert_eq!(hdfs.url(), "hdfs://cluster");
    hdfs.start();
    let (mut collector, mut edge, store) = two_tiers(&hdfs, dir);
    collector.start();
    edge.start();

    let load = Load::begin(dir, 0);
    wait::until("the first files", Duration::from_secs(60), || {
        files(&collector).filter(|files| *files >= 2.0)
    });
    let is_long = is_long();
    let both = [("namenode", "namenode2"), ("namenode2", "namenode")].into_iter();
    for (active, standby) in both.cycle().take(if is_long { 10 } else { 2 }) {
        hdfs.kill(active);
        let (killed, seen) = (Instant::now(), files(&collector).expect("metrics"));
        hdfs.activate(standby);
        let activated = killed.elapsed();
        wait::until("a file behind the failover", Duration::from_secs(60), || {
            files(&collector).filter(|files| *files > seen)
        });
        let (visible, activated) = (killed.elapsed().as_secs_f64(), activated.as_secs_f64());
        eprintln!(
            "{active} killed: {standby} active after {activated:.1} s, \
             a file visible after {visible:.1} s"
        );
        hdfs.revive(active);
        if is_long {
            thread::sleep(BETWEEN.saturating_sub(killed.elapsed()));
        }
    }
    let written = load.end();
    wait_until_delivered(&edge, Duration::from_secs(60));
    edge.stop(STOP);
    collector.stop(STOP);
    prove(&store, Some(&hdfs.conf_dir()), &[dir.join("edge/channels/main")]);
    let found = compare(&written, &hdfs.read("/logs/20*/*.log"));
    assert!(found.is_none(), "{found}");
    eprintln!("{found}");
}
