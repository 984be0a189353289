//! Goal: the edge built for other machines keeps the same guarantees as the one built for this
//! machine, a second build gives the same bytes, and the program stays small.
//!
//! Method: `deploy/edge/build` builds it in its Debian root. The edge for 64-bit ARM runs in the
//! emulator of that root, is killed (-9) while it tails a log, and a collector of this machine
//! stores its lines. The same commit is cloned into another folder and built with an empty target
//! folder. This takes half an hour, so only long tests do it.
//!
//! Lane: long
//! Root: yes
//! Weight: 1
//! Limit: 90m
//! Paths: crates/edge deploy/edge

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aqueduct_tests::flume::cache;
use aqueduct_tests::is_long;
use aqueduct_tests::process::Process;
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::site::Site;

/// Kills of the edge, each during this many new lines.
const KILLS: usize = 5;
const LINES: usize = 4_000;

/// Maximum size of the program for x86-64: it must not link large dependencies (docs/adr/0111).
const BYTES_MAX: u64 = 15 * 1024 * 1024;

const LIMIT: Duration = Duration::from_secs(60);

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs `deploy/edge/build` of this checkout in `dir`. Returns the program and its description.
fn build(
    checkout: &Path,
    architecture: &str,
    dir: &Path,
    target: Option<&Path>,
) -> (PathBuf, String) {
    let mut command = Command::new(checkout.join("deploy/edge/build"));
    command.arg(architecture).arg(dir).envs(target.map(|target| ("EDGE_TARGET_DIR", target)));
    let output = command.output().expect("the script is there");
    assert!(output.status.success(), "{output:?}");
    let program = dir.join(format!("aqueduct-edge-{architecture}"));
    let bytes = fs::metadata(&program).expect("the script made it").len();
    println!("{}: {bytes} bytes of at most {BYTES_MAX}", program.display());
    let bound = architecture == "x86_64";
    assert!(
        !bound || bytes <= BYTES_MAX,
        "{} has {bytes} bytes, over {BYTES_MAX}",
        program.display()
    );
    let said = fs::read_to_string(program.with_added_extension("buildinfo"));
    (program, said.expect("it says what it is built of"))
}

/// Returns the emulator in the root of the builds.
fn emulator() -> PathBuf {
    cache().join("debian-forky-edge/usr/bin/qemu-aarch64")
}

#[test]
#[ignore = "needs root, and half an hour: tests/run --long"]
fn an_edge_for_arm_that_is_killed_at_any_time_has_each_line_stored_once() {
    if !is_long() {
        return;
    }
    let site = Site::new();
    let (program, said) = build(&repository(), "aarch64", site.path(), None);
    println!("{said}");
    let mut collector = site.collector();
    collector.start();
    let log = OpenOptions::new().create(true).append(true).open(site.logs().join("app.log"));
    let mut log = log.expect("the test's own folder");
    let start = || {
        let mut command = Command::new(emulator());
        command.arg(&program).args(site.edge_command().get_args());
        Process::start("the edge for ARM", command, &site.path().join("edge.out"))
    };
    let mut edge = start();
    for kill in 0..KILLS {
        let lines = kill * LINES..(kill + 1) * LINES;
        let text: String = lines.map(|number| format!("line {number}\n")).collect();
        log.write_all(text.as_bytes()).expect("the test's own folder");
        // Some of these lines are in flight.
        site.wait_until_stored(kill * LINES + 1);
        edge.kill();
        edge = start();
    }
    site.wait_until_stored(KILLS * LINES);
    edge.stop(LIMIT);
    collector.stop(LIMIT);
    let found = compare(&site.logged(), &site.stored());
    println!("{found}");
    assert!(found.is_none(), "{found}");
    site.prove();
}

#[test]
#[ignore = "needs root, and half an hour: tests/run --long"]
fn the_same_commit_is_the_same_bytes_wherever_it_is_built() {
    if !is_long() {
        return;
    }
    let scratch = tempfile::tempdir().expect("a folder");
    let clone = scratch.path().join("elsewhere");
    let cloned = Command::new("git")
        .args(["clone", "--quiet"])
        .args([&repository(), &clone])
        .status()
        .expect("git is installed");
    assert!(cloned.success());
    for architecture in ["x86_64", "aarch64"] {
        let (one, two) = (scratch.path().join("one"), scratch.path().join("two"));
        let (_, of_one) = build(&repository(), architecture, &one, None);
        let target = scratch.path().join("target");
        let (_, of_two) = build(&clone, architecture, &two, Some(&target));
        assert_eq!(of_one, of_two);
        println!("{of_one}");
    }
}
