//! DataNodes: dead but still assigned, dead in the middle of a block, frozen, slow, full.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use aqueduct_tests::is_long;

use super::site::{Differences, PATIENCE, Site, last};

/// Three replicas, in files of some MiB.
const LARGE: &str = "replication = 3\nroll = { age_max = \"3s\" }";

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn a_dead_datanode_that_is_handed_out_costs_no_roll() {
    // With as many replicas as DataNodes, each block is assigned to the dead one: see the next
    // test.
    if !is_long() {
        return;
    }
    let site = Site::begin("dead", Differences::default());
    site.hdfs.kill("datanode1");
    let stood = site.bears("2 copies on 3 DataNodes, one of them killed", under_fault());
    assert!(stood < PATIENCE, "{stood:?}");
    site.hdfs.revive("datanode1");
    site.recovers("started again");
    site.end();
}

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn a_datanode_that_dies_in_the_middle_of_a_block_loses_none_of_it() {
    let differences = Differences { sink: Some(LARGE), width: 700, ..Differences::default() };
    let site = Site::begin("mid-block", differences);
    // A file is visible, and the next one is started. With as many replicas as DataNodes, each node
    // has a part of every block.
    thread::sleep(Duration::from_millis(1500));
    site.hdfs.kill("datanode2");
    site.bears("3 copies on 3 DataNodes, one killed in a file of 4 MiB", under_fault());
    site.hdfs.revive("datanode2");
    site.end();
}

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn a_fourth_datanode_takes_the_place_of_a_dead_one() {
    if !is_long() {
        return;
    }
    let differences = Differences { sink: Some(LARGE), width: 700, ..Differences::default() };
    let site = Site::begin("three-of-four", differences);
    site.hdfs.revive("datanode4");
    for datanode in ["datanode1", "datanode2", "datanode3", "datanode4"] {
        site.hdfs.kill(datanode);
        site.bears("3 copies on 4 DataNodes, one of them killed", under_fault());
        site.hdfs.revive(datanode);
    }
    site.end();
    super::site::hdfs().kill("datanode4");
}

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn a_datanode_that_hangs_is_left_out() {
    if !is_long() {
        return;
    }
    let site = Site::begin("frozen", Differences::default());
    site.hdfs.freeze("datanode1");
    site.bears("2 copies on 3 DataNodes, one of them frozen", Duration::from_secs(60));
    site.hdfs.thaw("datanode1");
    site.recovers("it goes on");
    site.end();
}

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn a_slow_datanode_slows_down_and_stops_nothing() {
    if !is_long() {
        return;
    }
    let site = Site::begin("slow", Differences::default());
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                site.hdfs.freeze("datanode1");
                thread::sleep(Duration::from_secs(2));
                site.hdfs.thaw("datanode1");
                thread::sleep(Duration::from_millis(200));
            }
        });
        site.bears("a DataNode that runs 0.2 s and stops 2 s", Duration::from_secs(40));
        ends.store(true, Ordering::Relaxed);
    });
    site.recovers("it is fast again");
    site.end();
}

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn datanodes_without_room_are_named_and_waited_out() {
    if !is_long() {
        return;
    }
    let site = Site::begin("full", Differences::default());
    let all = ["datanode1", "datanode2", "datanode3"];
    let restart = |datanode: &str, settings: &[&str]| {
        site.hdfs.kill(datanode);
        site.hdfs.revive_with(datanode, settings);
    };
    let full = ["-Ddfs.datanode.du.reserved=1000000000000000"];
    restart(all[0], &full);
    site.bears("one of three DataNodes has no room", Duration::from_secs(20));
    let from = site.logged();
    all[1..].iter().for_each(|datanode| restart(datanode, &full));
    site.until_said(from, &["WARN", "`hdfs dfsadmin -report`"]);
    site.holds_out(&["could only be written to 0"]);
    last(0, 30);
    all.iter().for_each(|datanode| restart(datanode, &[]));
    site.recovers("all of them have room again");
    site.has_warned_little(from);
    site.end();
}

fn under_fault() -> Duration {
    Duration::from_secs(if is_long() { 30 } else { 5 })
}
