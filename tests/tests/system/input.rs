//! Goal: no input, however odd, stops an edge, grows its memory, or costs another file a line.
//!
//! Method: files with bytes that are hard to parse, next to plain ones; folders are created late,
//! and things that only look like logs match the glob. The store must contain the bytes as written,
//! the edge must count the anomalies, and its peak memory is read from the kernel.
//!
//! Lane: core
//! Weight: 1
//! Limit: 10m
//! Paths: @core

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use aqueduct_tests::agent::Agent;
use aqueduct_tests::process::peak_kib;
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::site::Site;

#[test]
#[ignore = "needs the programs: tests/run"]
fn odd_bytes_are_stored_as_they_were_written() {
    let site = Site::new();
    let (mut edge, mut collector) = start(&site);
    let odd: [&[u8]; 6] =
        [b"\n", b"\r\n", b"\0\n", b"\xff\xfe\xc0\n", b" \t \n", b"plain\x1b[31m\n"];
    fs::write(site.logs().join("odd.log"), odd.concat().repeat(1_000)).expect("a log is written");
    site.log("plain", 1_000);
    site.wait_until_stored(7_000);
    finish(&mut edge, &mut collector);
    site.prove();
    let found = compare(&site.logged(), &site.stored());
    assert!(found.is_none(), "{found}");
    assert_eq!(found.stored, 7_000, "{found}");
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn late_folders_and_special_files_lose_no_line() {
    let site = Site::new();
    let (mut edge, mut collector) = start(&site);
    site.log("first", 1_000);
    let late = site.logs().join("late/er");
    fs::create_dir_all(&late).expect("the test's own folder");
    fs::create_dir(site.logs().join("folder.log")).expect("the test's own folder");
    fs::write(late.join("deep.log"), "deep one\ndeep two\n").expect("a log is written");
    symlink(site.path().join("nowhere"), late.join("dangling.log")).expect("a link is made");
    site.wait_until_stored(1_002);
    site.log("last", 1_000);
    site.wait_until_stored(2_002);
    finish(&mut edge, &mut collector);
    fs::remove_file(late.join("dangling.log")).expect("the link is there");
    site.prove();
    let found = compare(&site.logged(), &site.stored());
    assert!(found.is_none(), "{found}");
    assert_eq!(found.stored, 2_002, "{found}");
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn an_endless_line_is_cut_and_counted_and_memory_stays_small() {
    const LONG_BYTES: usize = 100_000_000;
    const PEAK_MAX_KIB: u64 = 128 * 1024;
    let site = Site::new();
    let (mut edge, mut collector) = start(&site);
    let mut bytes = b"before\n".to_vec();
    bytes.resize(bytes.len() + LONG_BYTES, b'x');
    bytes.extend(*b"\nafter\n");
    fs::write(site.logs().join("long.log"), bytes).expect("a log is written");
    site.wait_until_stored(3);

    let peak = peak_kib(edge.process().pid()).expect("a running process");
    assert!(peak < PEAK_MAX_KIB, "the edge needed {peak} KiB");
    let odd = edge.metrics().and_then(|it| it.sum("aqueduct_source_anomalies_total"));
    assert_eq!(odd, Some(1.0), "the cut line is counted");
    finish(&mut edge, &mut collector);

    let stored = site.stored();
    let lines: Vec<&[u8]> = stored.split(|&byte| byte == b'\n').collect();
    let long = lines.iter().filter(|line| line.starts_with(b"xxxx")).count();
    assert_eq!(long, 1, "the long line is one line, not several");
    assert!(stored.len() < LONG_BYTES / 2, "{} bytes stored: it was not cut", stored.len());
    for plain in [b"before".as_slice(), b"after"] {
        assert_eq!(lines.iter().filter(|line| **line == plain).count(), 1);
    }
}

fn start(site: &Site) -> (Agent, Agent) {
    let (mut edge, mut collector) = (site.edge(), site.collector());
    collector.start();
    edge.start();
    (edge, collector)
}

fn finish(edge: &mut Agent, collector: &mut Agent) {
    edge.stop(Duration::from_secs(25));
    collector.stop(Duration::from_secs(25));
    for agent in [edge, collector] {
        assert!(!agent.output().contains("panicked"), "{}", agent.output());
    }
}
