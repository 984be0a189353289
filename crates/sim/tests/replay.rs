//! The seed determines everything: the same seed gives the same run in any process.
//!
//! Method: runs the program like a user, on few seeds.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::path::Path;
use std::process::{Command, Output};

fn simulate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_aqueduct-sim")).args(arguments).output().unwrap()
}

#[test]
fn the_same_seed_makes_the_same_trace_byte_for_byte() {
    let [first, second] = [(); 2].map(|()| simulate(&["--seed", "1", "--trace"]));
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stdout));
    // The trace includes all log lines of the agents.
    assert!(first.stderr.len() > 100_000, "{} bytes of trace", first.stderr.len());
    assert_eq!(first.stdout, second.stdout);
    assert!(first.stderr == second.stderr, "the traces differ");
    let other = simulate(&["--seed", "2"]);
    assert_ne!(first.stdout, other.stdout);
}

fn campaign(seeds: &str, log: &Path) -> Output {
    simulate(&["--seeds", seeds, "--log", log.to_str().unwrap()])
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test stands outside all simulated worlds")]
fn campaign_resumes_only_with_the_same_program() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    assert!(campaign("0..1", &log).status.success());
    let before = std::fs::read_to_string(&log).unwrap();
    let told = campaign("0..2", &log);
    assert!(told.status.success());
    assert!(String::from_utf8_lossy(&told.stdout).contains("2 seeds, 0 with a violation"));
    let after = std::fs::read_to_string(&log).unwrap();
    assert!(after.starts_with(&before) && after.lines().count() == 3, "{after}");

    std::fs::write(&log, after.replacen("program ", "program 1", 1)).unwrap();
    let told = campaign("0..3", &log);
    assert_eq!(told.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&told.stderr).contains("another program has written it"));
}
