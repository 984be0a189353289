//! Goal: the first command that a newcomer runs works, and ends.
//!
//! Method: `aqueduct demo` as a child process, with a log that it writes itself and with our own
//! file of lines that are hard to parse. The test checks its exit code, its duration and its own
//! reconciliation, and for our file the store, too.
//!
//! Lane: core
//! Weight: 1
//! Limit: 10m
//! Paths: @core crates/aqueduct crates/demo

use std::fs;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::program;
use aqueduct_tests::process::Process;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs the programs: tests/run"]
fn the_demo_reconciles_to_nothing_missing_and_nothing_repeated() {
    let output = demo(&[]);
    assert!(count(&output, "read") > 0, "{output}");
    assert_eq!(count(&output, "read"), count(&output, "stored"), "{output}");
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn demo_accepts_files_of_the_user() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("own.log");
    let mut bytes = Vec::new();
    for number in 0..5_000_u32 {
        bytes.extend(format!("line {number}\n").bytes());
        bytes.extend(*b"\n\xff\xfe not UTF-8\r\n\0\n");
    }
    fs::write(&file, bytes).expect("the test's own folder");
    let output = demo(&[&file.display().to_string()]);
    assert_eq!(count(&output, "read"), 20_000, "{output}");
    assert_eq!(count(&output, "stored"), 20_000, "{output}");
}

/// Runs the demo, which must succeed, and returns its output.
fn demo(files: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = program("aqueduct");
    command.arg("demo").args(files).current_dir(folder.path());
    let started = Instant::now();
    let mut process = Process::start("demo", command, &folder.path().join("demo.out"));
    let status = process.wait(2 * LIMIT);
    let output = process.output();
    assert!(status.success(), "the demo ended with {status}:\n{output}");
    assert!(started.elapsed() < LIMIT, "{:?}:\n{output}", started.elapsed());
    assert_eq!((count(&output, "missing"), count(&output, "repeated")), (0, 0), "{output}");
    output
}

/// Returns the number next to `name` in the reconciliation.
fn count(output: &str, name: &str) -> u64 {
    let row = output.lines().rev().find(|line| line.starts_with(&format!("{name}  ")));
    let row = row.unwrap_or_else(|| panic!("no row {name} in:\n{output}"));
    let digits: String = row.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|e| panic!("{e} in {row:?}"))
}
