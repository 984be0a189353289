//! Goal: the programs behave towards their operator as promised: signals, exit codes, messages.
//!
//! Method: the optimised programs as child processes, with a `file://` store; what is asserted is
//! what an operator can see: exit codes, output, files in the store.
#![allow(
    clippy::disallowed_methods,
    reason = "a system test looks at the machine as it is: its clock, its disk"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, CollectorConfig, program, wait_until_delivered};
use aqueduct_tests::http;
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::wait;
use rustix::process::Signal;
use tempfile::TempDir;

const USAGE: i32 = 2;
const CONFIG: i32 = 78;

#[test]
#[ignore = "needs the optimised programs: tests/run"]
fn sigterm_publishes_what_is_staged_and_keeps_the_rest_in_the_channel() {
    let scene = Scene::new();
    let mut collector = scene.collector();
    let mut edge = scene.edge();
    scene.log("first", 20_000);
    edge.start();
    wait::until("the edge to have read its file", Duration::from_secs(20), || {
        (edge.metrics()?.sum("aqueduct_source_events_total")? >= 20_000.0).then_some(())
    });
    edge.stop(Duration::from_secs(25));

    collector.start();
    edge.start();
    wait::until("the collector to hold events", Duration::from_secs(20), || {
        (collector.metrics()?.sum("aqueduct_source_events_total")? > 0.0).then_some(())
    });
    collector.stop(Duration::from_secs(25));
    scene.log("second", 1_000);
    edge.stop(Duration::from_secs(25));

    collector.start();
    edge.start();
    wait_until_delivered(&edge, Duration::from_secs(60));
    edge.stop(Duration::from_secs(25));
    collector.stop(Duration::from_secs(25));
    scene.assert_each_line_is_stored_once();
}

#[test]
#[ignore = "needs the optimised programs: tests/run"]
fn a_second_signal_is_immediate() {
    let scene = Scene::new();
    let mut collector = scene.collector();
    let mut edge = scene.edge();
    collector.start();
    edge.start();
    collector.process().signal(Signal::STOP);
    scene.log("held", 5_000);
    wait::until("a batch to be in flight", Duration::from_secs(20), || {
        (edge.metrics()?.sum("aqueduct_channel_unsettled_events")? > 0.0).then_some(())
    });

    edge.process().signal(Signal::TERM);
    thread::sleep(Duration::from_secs(1));
    assert!(edge.process().is_alive(), "it did not wait for the batch in flight");
    let second = Instant::now();
    edge.process().signal(Signal::TERM);
    edge.process().wait(Duration::from_secs(2));
    assert!(second.elapsed() < Duration::from_secs(2), "{:?}", second.elapsed());
}

#[test]
#[ignore = "needs the optimised programs: tests/run"]
fn a_data_directory_has_one_owner_and_the_other_is_told_its_process_number() {
    let scene = Scene::new();
    let mut edge = scene.edge();
    edge.start();
    let owner = edge.process().pid().to_string();

    let output = scene.edge_command().output().expect("the program starts");
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&owner), "process {owner} is not named:\n{text}");
    assert!(edge.process().is_alive(), "the owner must not mind");
}

#[test]
#[ignore = "needs the optimised programs: tests/run"]
fn an_owner_killed_outright_leaves_the_data_directory_free() {
    let scene = Scene::new();
    let mut edge = scene.edge();
    edge.start();
    edge.kill();
    edge.start();
}

#[test]
#[ignore = "needs the optimised programs: tests/run"]
fn wrong_usage_ends_with_2_and_starts_nothing() {
    let scene = Scene::new();
    for arguments in [&["--no-such-flag"][..], &["--tail"], &[]] {
        for name in ["aqueduct-edge", "aqueduct-collector"] {
            let output = program(name).args(arguments).current_dir(scene.path()).output();
            let output = output.expect("the program starts");
            let text = printed(&output);
            assert_eq!(output.status.code(), Some(USAGE), "{name} {arguments:?}:\n{text}");
        }
    }
    let left = fs::read_dir(scene.path()).expect("the test's own folder").count();
    assert_eq!(left, 1, "only the folder of the logs was there before");
}

#[test]
#[ignore = "needs the optimised programs: tests/run"]
fn an_unknown_key_ends_with_78_and_names_file_line_and_the_closest_key() {
    let scene = Scene::new();
    let good = scene.printed_config();
    let (line, key) = good
        .lines()
        .zip(1..)
        .find_map(|(text, line)| Some((line, text.split_once(" = ")?.0)))
        .expect("a printed configuration sets something");
    let misspelt = format!("{key}z");
    let bad = good.replacen(&format!("{key} = "), &format!("{misspelt} = "), 1);
    let file = scene.path().join("bad.toml");
    fs::write(&file, bad).expect("the test's own folder");

    let output = program("aqueduct-edge").arg("--config").arg(&file).output();
    let output = output.expect("the program starts");
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(CONFIG), "{text}");
    let place = format!("bad.toml:{line}");
    for wanted in [&place, &misspelt, &format!("`{key}`")] {
        assert!(text.contains(wanted.as_str()), "{wanted} is not named:\n{text}");
    }
    assert!(!scene.path().join("edge").exists(), "a bad configuration starts nothing");
}

#[test]
#[ignore = "needs the optimised programs: tests/run"]
fn a_printed_configuration_means_what_the_flags_meant() {
    let scene = Scene::new();
    let file = scene.path().join("printed.toml");
    fs::write(&file, scene.printed_config()).expect("the test's own folder");
    let mut command = program("aqueduct-edge");
    let again = command.arg("--config").arg(&file).arg("--print-config").output();
    let again = again.expect("the program starts");
    assert!(again.status.success(), "{}", printed(&again));
    assert_eq!(String::from_utf8_lossy(&again.stdout), scene.printed_config());
}

#[test]
#[ignore = "needs the optimised programs: tests/run"]
fn a_listener_for_everybody_is_warned_of() {
    let scene = Scene::new();
    let mut collector = scene.collector_on("0.0.0.0");
    collector.start();
    let output = collector.output();
    let warned = output.lines().any(|line| line.contains("WARN") && line.contains("plain text"));
    assert!(warned, "{output}");
}

#[test]
#[ignore = "needs the optimised programs: tests/run"]
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
#[ignore = "needs the optimised programs: tests/run"]
fn the_published_examples_pass_the_check() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples");
    let entries = fs::read_dir(&folder).expect("the folder of the examples");
    let examples: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
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

/// A folder with logs, an edge that tails them, a collector with a `file://` store.
struct Scene {
    dir: TempDir,
    listen: std::net::SocketAddr,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(dir.path().join("logs")).expect("the test's own folder");
        Self { dir, listen: http::free_address() }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn edge_arguments(&self) -> [String; 6] {
        let path = |name: &str| self.path().join(name).display().to_string();
        let to = self.listen.to_string();
        ["--tail".into(), path("logs/*.log"), "--to".into(), to, "--data-dir".into(), path("edge")]
    }

    fn edge(&self) -> Agent {
        let arguments = self.edge_arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Agent::new("aqueduct-edge", &arguments, &self.path().join("edge.out"))
    }

    fn edge_command(&self) -> std::process::Command {
        let mut command = program("aqueduct-edge");
        command.args(self.edge_arguments());
        command
    }

    fn printed_config(&self) -> String {
        let output = self.edge_command().arg("--print-config").output();
        let output = output.expect("the program starts");
        assert!(output.status.success(), "{}", printed(&output));
        String::from_utf8(output.stdout).expect("a configuration is UTF-8")
    }

    fn collector(&self) -> Agent {
        self.collector_on("127.0.0.1")
    }

    fn collector_on(&self, host: &str) -> Agent {
        let store = format!("file://{}", self.path().join("store/%Y-%m-%d").display());
        let listen = format!("{host}:{}", self.listen.port());
        CollectorConfig::new(&listen, &store, &self.path().join("collector")).agent(self.path())
    }

    /// Appends `lines` numbered lines to a log of its own name.
    fn log(&self, name: &str, lines: usize) {
        let text: String = (0..lines).map(|number| format!("{name} line {number}\n")).collect();
        fs::write(self.path().join(format!("logs/{name}.log")), text).expect("a log is written");
    }

    fn assert_each_line_is_stored_once(&self) {
        let written = read_all(&self.path().join("logs"), false);
        let stored = read_all(&self.path().join("store"), true);
        let found = compare(&written, &stored);
        assert!(found.is_none(), "{found}");
    }
}

/// All files of a folder; with `deep`, of the day folders in it and not of the ledger's.
fn read_all(folder: &Path, deep: bool) -> Vec<u8> {
    let entries = fs::read_dir(folder).expect("a folder that exists");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut bytes = Vec::new();
    for path in paths.filter(|path| !path.ends_with("_aqueduct")) {
        if path.is_file() {
            bytes.extend(fs::read(&path).expect("a file can be read"));
        } else if deep {
            bytes.extend(read_all(&path, false));
        }
    }
    bytes
}
