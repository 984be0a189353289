//! Goal: a collector that takes smaller batches than the edge makes gets smaller ones, and what was
//! cut before that was known arrives when the limit is raised: every line once, no dead letter.
//!
//! Method: both agents in processes of their own. The edge starts alone, so that whole batches of
//! the default size are in its channel before any collector has named a limit.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]
#![allow(clippy::disallowed_methods, reason = "a system test looks at the machine as it is")]

#[allow(dead_code, reason = "a part of it is used here")]
mod common;

use std::fs::{File, read_to_string};
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Agent, aqueduct, command, edge, free_port, stored, text, write};

/// Lines of the file that is there before any limit is known: 20 MB.
const EARLY: usize = 200_000;
/// Lines of the file that comes later.
const LATE: usize = 20_000;

fn lines(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{name} {n:0>93}")).collect()
}

/// Waits until something is so, or says what the edge has logged.
fn until(log: &Path, so: impl Fn() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < Duration::from_secs(120), "{}", read_to_string(log).unwrap());
        sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_collector_with_a_smaller_limit_gets_smaller_batches_and_the_rest_when_it_is_raised() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (early, late) = (lines("early", EARLY), lines("late", LATE));
    write(&dir.path().join("early.log"), &(early.join("\n") + "\n"));
    let address = format!("127.0.0.1:{}", free_port());
    let settings = edge(&at("edge"), &at("*.log")).replace("ADDRESS", &address);
    write(&dir.path().join("edge.toml"), &settings);
    let log = dir.path().join("log");
    let child = command(&["edge", "--config", &at("edge.toml")])
        .stderr(Stdio::from(File::create(&log).unwrap()))
        .spawn();
    let edge = Agent { child: child.unwrap() };
    // All of it is in the channel, cut at 1 MiB.
    let segments = dir.path().join("edge/channels/main/log");
    let held = || {
        let files = std::fs::read_dir(&segments).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|it| it.len()).sum::<u64>()
    };
    until(&log, || held() >= early.iter().map(|line| line.len() as u64 + 1).sum());

    let collector = Agent::collector_at(dir.path(), &address, "64KiB");
    until(&log, || read_to_string(&log).unwrap().contains("it is held back"));
    write(&dir.path().join("late.log"), &(late.join("\n") + "\n"));
    until(&log, || {
        stored(dir.path()).iter().filter(|line| line.starts_with("late")).count() == LATE
    });
    let said = read_to_string(&log).unwrap();
    assert!(said.contains("message_max") && said.contains(&address), "{said}");
    assert!(stored(dir.path()).len() < EARLY, "batches of the default size are held back");
    collector.stop();

    let collector = Agent::collector_at(dir.path(), &address, "16MiB");
    until(&log, || stored(dir.path()).len() >= EARLY + LATE);
    let mut expected = [early, late].concat();
    expected.sort();
    assert!(stored(dir.path()) == expected, "every line once");
    edge.stop();
    collector.stop();
    let letters = text(&aqueduct(&["dlq", "list", &at("edge")]));
    assert!(letters.contains("no dead letters"), "{letters}");
    assert!(stored(dir.path()) == expected, "every line once");
}
