//! Goal: the programs behave towards their operator as promised: signals, exit codes, messages.
//!
//! Method: the programs as child processes, with a `file://` store; the tests check what an
//! operator can see: exit codes, output, files in the store.
//!
//! Lane: core
//! Weight: 1
//! Limit: 10m
//! Paths: @core crates/aqueduct deploy/examples

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::program;
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::site::Site;
use aqueduct_tests::wait;
use rustix::process::Signal;

const USAGE: i32 = 2;
const CONFIG: i32 = 78;

#[test]
#[ignore = "needs the programs: tests/run"]
fn sigterm_publishes_what_is_staged_and_keeps_the_rest_in_the_channel() {
    let site = Site::new();
    let mut collector = site.collector();
    let mut edge = site.edge();
    site.log("first", 20_000);
    edge.start();
    wait::until("the edge to have read its file", Duration::from_secs(60), || {
        (edge.metrics()?.sum("aqueduct_source_events_total")? >= 20_000.0).then_some(())
    });
    edge.stop(Duration::from_secs(25));

    collector.start();
    edge.start();
    wait::until("the collector to hold events", Duration::from_secs(60), || {
        (collector.metrics()?.sum("aqueduct_source_events_total")? > 0.0).then_some(())
    });
    collector.stop(Duration::from_secs(25));
    site.log("second", 1_000);
    edge.stop(Duration::from_secs(25));

    collector.start();
    edge.start();
    site.wait_until_stored(21_000);
    edge.stop(Duration::from_secs(25));
    collector.stop(Duration::from_secs(25));
    site.prove();
    let found = compare(&site.logged(), &site.stored());
    assert!(found.is_none(), "{found}");
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn a_second_signal_is_immediate() {
    let site = Site::new();
    let mut collector = site.collector();
    let mut edge = site.edge();
    collector.start();
    edge.start();
    site.log("first", 10);
    site.wait_until_stored(10);
    collector.process().signal(Signal::STOP);
    site.log("held", 5_000);
    // The first lines may be unsettled, too, but they are stored: an edge does not wait for those.
    wait::until("the second file to be in flight", Duration::from_secs(60), || {
        (edge.metrics()?.sum("aqueduct_channel_in_flight_events")? >= 5_000.0).then_some(())
    });

    edge.process().signal(Signal::TERM);
    thread::sleep(Duration::from_secs(1));
    assert!(edge.process().is_alive(), "it did not wait for the batch in flight");
    let second = Instant::now();
    edge.process().signal(Signal::TERM);
    edge.process().wait(Duration::from_secs(10));
    assert!(second.elapsed() < Duration::from_secs(10), "{:?}", second.elapsed());
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn data_directory_has_one_owner_and_the_other_gets_its_process_id() {
    let site = Site::new();
    let mut edge = site.edge();
    edge.start();
    let owner = edge.process().pid().to_string();

    let output = site.edge_command().output().expect("the program starts");
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&owner), "process {owner} is not named:\n{text}");
    assert!(edge.process().is_alive(), "the owner must not mind");
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn an_owner_killed_outright_leaves_the_data_directory_free() {
    let site = Site::new();
    let mut edge = site.edge();
    edge.start();
    edge.kill();
    edge.start();
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn wrong_usage_ends_with_2_and_starts_nothing() {
    let site = Site::new();
    for arguments in [&["--no-such-flag"][..], &["--tail"], &[]] {
        for name in ["aqueduct-edge", "aqueduct-collector"] {
            let output = program(name).args(arguments).current_dir(site.path()).output();
            let output = output.expect("the program starts");
            let text = printed(&output);
            assert_eq!(output.status.code(), Some(USAGE), "{name} {arguments:?}:\n{text}");
        }
    }
    let left = fs::read_dir(site.path()).expect("the test's own folder").count();
    assert_eq!(left, 1, "only the folder of the logs was there before");
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn an_unknown_key_ends_with_78_and_names_file_line_and_the_closest_key() {
    let site = Site::new();
    let good = site.printed_config();
    let (line, key) = good
        .lines()
        .zip(1..)
        .find_map(|(text, line)| Some((line, text.split_once(" = ")?.0)))
        .expect("a printed configuration sets something");
    let misspelt = format!("{key}z");
    let bad = good.replacen(&format!("{key} = "), &format!("{misspelt} = "), 1);
    let file = site.path().join("bad.toml");
    fs::write(&file, bad).expect("the test's own folder");

    let output = program("aqueduct-edge").arg("--config").arg(&file).output();
    let output = output.expect("the program starts");
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(CONFIG), "{text}");
    let place = format!("bad.toml:{line}");
    for wanted in [&place, &misspelt, &format!("`{key}`")] {
        assert!(text.contains(wanted.as_str()), "{wanted} is not named:\n{text}");
    }
    assert!(!site.path().join("edge").exists(), "a bad configuration starts nothing");
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn a_printed_configuration_means_what_the_flags_meant() {
    let site = Site::new();
    let file = site.path().join("printed.toml");
    fs::write(&file, site.printed_config()).expect("the test's own folder");
    let mut command = program("aqueduct-edge");
    let again = command.arg("--config").arg(&file).arg("--print-config").output();
    let again = again.expect("the program starts");
    assert!(again.status.success(), "{}", printed(&again));
    assert_eq!(String::from_utf8_lossy(&again.stdout), site.printed_config());
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn a_listener_for_everybody_is_warned_of() {
    let site = Site::new();
    let mut collector = site.collector_on("0.0.0.0");
    collector.start();
    let output = collector.output();
    let warned = output.lines().any(|line| line.contains("WARN") && line.contains("plain text"));
    assert!(warned, "{output}");
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn the_version_names_the_commit() {
    for name in ["aqueduct", "aqueduct-edge", "aqueduct-collector"] {
        let output = program(name).arg("--version").output().expect("the program starts");
        let text = printed(&output);
        assert!(text.contains(env!("CARGO_PKG_VERSION")), "{text}");
        let is_commit = |word: &str| word.len() >= 7 && word.chars().all(|c| c.is_ascii_hexdigit());
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
        assert!(words.any(is_commit), "no commit in: {text}");
    }
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn the_published_examples_pass_the_check() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples");
    let entries = fs::read_dir(&folder).expect("the folder of the examples");
    // One of the files includes the content of subfolders.
    let examples = entries.map(|entry| entry.expect("an entry").path());
    let examples: Vec<PathBuf> = examples.filter(|path| path.is_file()).collect();
    assert!(examples.len() >= 2, "one for each program: {examples:?}");
    for example in examples {
        let output = program("aqueduct").arg("check").arg(&example).output();
        let output = output.expect("the program starts");
        assert!(output.status.success(), "{}:\n{}", example.display(), printed(&output));
    }
}

fn printed(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}
