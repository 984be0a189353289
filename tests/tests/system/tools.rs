//! Goal: an operator sees the events that pass through a running agent, and finds a line anywhere;
//! the flow is not affected, whatever the reader does.
//!
//! Method: an edge that tails logs, and a collector with a `file://` store, as child processes.
//! `aqueduct tap` reads the channel with a condition, is suspended for a while (SIGSTOP), and
//! survives the kill of a collector; `aqueduct trace` looks for lines by a byte of their file
//! before they are read, while they are in a channel, and after they are stored. Stored and written
//! lines are compared.
//!
//! Lane: core
//! Weight: 1
//! Limit: 10m
//! Paths: @core crates/aqueduct

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use aqueduct_tests::agent::{Agent, program};
use aqueduct_tests::process::Process;
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::site::Site;
use aqueduct_tests::wait;
use rustix::process::Signal;
use serde_json::Value;

const STOP: Duration = Duration::from_secs(25);

const LIMIT: Duration = Duration::from_secs(60);

/// Characters that a terminal would interpret.
const HOSTILE: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}gpj.exe";

fn append(log: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).open(log).expect("the test's own file");
    file.write_all(text.as_bytes()).expect("the test's own file");
}

fn tap(agent: &Agent, more: &[&str]) -> Command {
    let mut command = program("aqueduct");
    command.args(["tap", &agent.admin().to_string()]).args(more);
    command
}

/// Same as a separate process.
fn tapping(agent: &Agent, more: &[&str], log: &Path) -> Process {
    Process::start("aqueduct tap", tap(agent, more), log)
}

fn shown(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn passing_events_are_shown_and_the_flow_never_waits_for_viewers() {
    let site = Site::new();
    let (mut collector, mut edge) = (site.collector(), site.edge());
    collector.start();
    edge.start();

    // With a condition, as many events as requested.
    let log = site.path().join("tap.out");
    let sevens = ["--channel", "main", "--where", "{ matches = \"7$\" }", "--rate", "400"];
    let mut some = tapping(&edge, &[&sevens[..], &["--count", "20", "--json"]].concat(), &log);
    // A reader that never reads: it is suspended, and its connection fills up.
    let still =
        tapping(&edge, &["--channel", "main", "--rate", "400"], &site.path().join("still.out"));
    std::thread::sleep(Duration::from_secs(1));
    still.signal(Signal::STOP);
    for part in 0..20 {
        site.log(&format!("flow-{part}"), 2_000);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(some.wait(LIMIT).success(), "{}", some.output());
    let seen = some.output();
    let events: Vec<Value> = seen
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect();
    assert_eq!(events.len(), 20, "{seen}");
    for event in &events {
        let text = event["text"].as_str().expect("text");
        assert!(text.starts_with("flow-") && text.ends_with('7'), "{event}");
    }
    site.wait_until_stored(40_000);
    still.signal(Signal::CONT);
    still.kill();

    // The terminal receives no control characters.
    let mut command = tap(&edge, &["--channel", "main", "--count", "2"]);
    let hostile = std::thread::spawn(move || command.output().expect("the program starts"));
    std::thread::sleep(Duration::from_secs(1));
    let lines = format!("{HOSTILE}\nan \u{202e}gpj.exe\n");
    fs::write(site.logs().join("hostile.log"), lines).expect("a log");
    let output = hostile.join().expect("no panic");
    let text = shown(&output);
    // Bodies with control characters are shown as bytes.
    assert!(output.status.success() && text.contains(" | 0x1b5d303b"), "{output:?}");
    assert!(text.contains(" | an \\u{202e}gpj.exe"), "{output:?}");
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    assert!(!text.contains('\u{202e}'), "{text:?}");

    // It continues after the kill of a neighbour, and exits with its agent.
    let mut last = tapping(&edge, &["--channel", "main"], &site.path().join("last.out"));
    std::thread::sleep(Duration::from_secs(1));
    collector.kill();
    site.log("late", 100);
    wait::until("an event", LIMIT, || last.output().contains("late line").then_some(()));
    collector.start();
    edge.kill();
    assert_eq!(last.wait(LIMIT).code(), Some(2), "{}", last.output());
    edge.start();
    site.wait_until_stored(40_101);

    // An unknown channel is reported.
    let output = tap(&edge, &["--channel", "mian"]).output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("`main`"), "{said}");

    edge.stop(STOP);
    collector.stop(STOP);
    let found = compare(&site.logged(), &site.stored());
    assert!(found.is_none(), "{found}");
    site.prove();
}

/// Returns the output of `aqueduct trace` with these arguments.
fn traced(site: &Site, more: &[&str]) -> (Option<i32>, Value) {
    let store = format!("file://{}", site.path().join("store/%Y-%m-%d").display());
    let mut command = program("aqueduct");
    command.args(["trace", "--json", "--store", &store]).args(more);
    for agent in ["edge", "collector"] {
        command.arg("--data-dir").arg(site.path().join(agent));
    }
    let output = command.output().expect("the program starts");
    let found = serde_json::from_slice(&output.stdout);
    (output.status.code(), found.unwrap_or_else(|_| panic!("{output:?}")))
}

/// Returns its output for this byte of a log.
fn trace(site: &Site, log: &Path, offset: usize) -> (Option<i32>, Value) {
    let (log, offset) = (log.display().to_string(), offset.to_string());
    traced(site, &["--file", &log, "--offset", &offset])
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn a_line_is_found_by_a_byte_of_it_wherever_it_is() {
    let site = Site::new();
    let (mut collector, mut edge) = (site.collector(), site.edge());
    let log = site.logs().join("app.log");
    collector.start();
    edge.start();
    site.log("app", 3_000);
    site.wait_until_stored(3_000);
    let text = fs::read_to_string(&log).expect("the test's own file");
    // Stored: the file and the line number are right.
    for number in [0, 1_234, 2_999] {
        let line = format!("app line {number}");
        let at = text.find(&format!("{line}\n")).expect("a line of the log");
        let (code, found) = trace(&site, &log, at + 3);
        assert_eq!(code, Some(0), "{found}");
        assert_eq!(found["line"]["from"], at as u64, "{found}");
        let files = found["files"].as_array().expect("a list");
        assert_eq!(files.len(), 1, "{found}");
        let stored = fs::read_to_string(files[0]["path"].as_str().expect("a path"));
        let nth = files[0]["lines"][0].as_u64().expect("a number") as usize;
        assert_eq!(stored.expect("a file").lines().nth(nth - 1), Some(&*line), "{found}");
    }

    // Held by the edge: the collector is killed, and the edge, too.
    collector.kill();
    let more: String = (0..500).map(|number| format!("held line {number}\n")).collect();
    append(&log, &more);
    let at = text.len() + more.find("held line 77\n").expect("a line of the log");
    let held = |found: &Value| {
        let held = found["held"].as_array().expect("a list").clone();
        held.into_iter().find(|it| it["waits_for"].as_array().is_some_and(|it| !it.is_empty()))
    };
    let batch = wait::until("the edge to hold the line", LIMIT, || {
        let (_, found) = trace(&site, &log, at);
        held(&found).map(|held| held["batch"].as_str().expect("a name").to_owned())
    });
    edge.kill();
    let (code, found) = trace(&site, &log, at);
    assert_eq!(code, Some(0), "{found}");
    assert!(found["files"].as_array().is_some_and(Vec::is_empty), "{found}");
    let held = held(&found).unwrap_or_else(|| panic!("{found}"));
    assert!(held["channel"].as_str().is_some_and(|it| it.ends_with("edge/channels/main")));

    // Written while nothing runs: not read, whatever its name.
    let unread = text.len() + more.len();
    append(&log, "unread\n");
    let renamed = site.logs().join("renamed.log");
    fs::rename(&log, &renamed).expect("the test's own file");
    let (code, found) = trace(&site, &renamed, unread);
    assert_eq!((code, &found["reads"][0]["is_read"]), (Some(0), &Value::Bool(false)), "{found}");

    // Finally the held batch is in a file.
    collector.start();
    edge.start();
    site.wait_until_stored(3_501);
    let (code, found) = traced(&site, &["--batch", &batch]);
    assert_eq!(
        (code, &found["commits"][0]["is_committed"]),
        (Some(0), &Value::Bool(true)),
        "{found}"
    );
    let (_, found) = trace(&site, &renamed, at);
    assert_eq!(found["files"].as_array().map(Vec::len), Some(1), "{found}");
    edge.stop(STOP);
    collector.stop(STOP);
    let found = compare(&site.logged(), &site.stored());
    assert!(found.is_none(), "{found}");
    site.prove();
}
