//! Writers killed with open files: these are closed and deleted.

use std::collections::BTreeSet;
use std::fs;
use std::time::Instant;

use aqueduct_tests::is_long;

use super::site::{Differences, Site};

/// Another collector deletes files older than this.
const SWEPT: &str = "replication = 2\nroll = { age_max = \"1s\" }\nsweep_after = \"5s\"";

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn open_files_of_a_dead_writer_are_removed_when_it_restarts() {
    let mut site = Site::begin("lease", Differences::default());
    for _ in 0..if is_long() { 5 } else { 1 } {
        let left = killed(&mut site);
        let began = Instant::now();
        site.collector.start();
        site.recovers_since("killed with open files, started again", began);
        assert_eq!(still_there(&site, &left), BTreeSet::new());
    }
    site.end();
}

#[test]
#[ignore = "needs the programs and HDFS: tests/run"]
fn open_files_of_a_lost_collector_are_removed_by_another_one() {
    if !is_long() {
        return;
    }
    let differences = Differences { sink: Some(SWEPT), ..Differences::default() };
    let mut site = Site::begin("lost", differences);
    let left = killed(&mut site);
    fs::remove_dir_all(site.data()).expect("the collector is dead");
    let began = Instant::now();
    site.collector.start();
    site.recovers_since("lost with open files, another one started", began);
    while !still_there(&site, &left).is_empty() {
        assert!(began.elapsed() < super::site::PATIENCE, "{left:?} stay");
    }
    let took = began.elapsed().as_secs_f64();
    site.figure(format!("what it left is gone after {took:.0} s, `sweep_after` being 5 s"));
    site.end();
}

/// Kills the collector while it has open files. Returns these files.
fn killed(site: &mut Site) -> BTreeSet<String> {
    // It has an open file for most of each second.
    loop {
        site.collector.kill();
        let left = open_files(site);
        if !left.is_empty() {
            return left;
        }
        site.collector.start();
        site.recovers_since("killed between two files", Instant::now());
    }
}

/// Returns the files below the site's directory that the NameNode considers open.
fn open_files(site: &Site) -> BTreeSet<String> {
    let directory = site.directory();
    let listed = site.hdfs.admin(&["-listOpenFiles", "-path", &directory]);
    let path = |line: &str| line.split_whitespace().last().map(str::to_owned);
    listed.lines().filter_map(path).filter(|path| path.starts_with(&directory)).collect()
}

/// Returns those of these files that are still open or still exist.
fn still_there(site: &Site, left: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = open_files(site);
    found.extend(site.hdfs.list(&format!("{}/_aqueduct/*/stage/*/*/*", site.directory())));
    found.intersection(left).cloned().collect()
}
