//! The page's receiver, for programs that take events by gRPC: each line is in its table once,
//! although receiver and agent are killed (-9) repeatedly, once between storing and responding, so
//! that lines are certainly resent.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use aqueduct_tests::agent::{Agent, wait_until_delivered};
use aqueduct_tests::docs::Page;
use aqueduct_tests::process::{Process, tail};
use aqueduct_tests::python::environment;
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::{http, seed, wait};
use rand::RngExt;
use rustix::process::Signal;

use super::{PATIENCE, STOP, write};

/// The Python packages of the receiver.
const REQUIREMENTS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/otlp/requirements.txt"));

/// Kills, of the agent and of the receiver in turn, and lines before each.
const KILLS: usize = 6;
const LINES: usize = 2_000;
/// Lines whose response is lost.
const FEW: usize = 100;
/// Maximum pause between two kills, in milliseconds.
const PAUSE_MAX: u64 = 600;

/// Prints the table in a file.
const READ: &str = "import sqlite3, sys
for row in sqlite3.connect(sys.argv[1]).execute('SELECT line FROM lines'):
    print(row[0])";

fn python() -> Command {
    Command::new(environment("otlp", REQUIREMENTS).join("python"))
}

/// Starts the receiver, and waits until it listens.
fn receiver(dir: &Path, listen: SocketAddr) -> Process {
    let mut python = python();
    python.arg("-B").arg(dir.join("receiver.py"));
    let mut process = Process::start("receiver", python, &dir.join("receiver.out"));
    wait::until("the receiver to listen", PATIENCE, || {
        assert!(process.is_alive(), "the receiver ended:\n{}", tail(&process.output()));
        TcpStream::connect(listen).ok()
    });
    process
}

/// Returns the rows of the table.
fn stored(dir: &Path) -> Vec<u8> {
    let mut read = python();
    let output = read.args(["-c", READ]).arg(dir.join("lines.db")).output().expect("python runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    output.stdout
}

/// Kills the agent after the receiver has stored the lines, but before the agent can receive the
/// response: these lines are resent. Everything before is delivered.
fn an_answer_is_missed(dir: &Path, agent: &mut Agent, taking: &Process) -> Vec<u8> {
    let sent = |agent: &Agent| agent.metrics()?.sum("aqueduct_sink_sent_events_total");
    let before = sent(agent).unwrap_or_default();
    taking.signal(Signal::STOP);
    // Few enough to be in flight without the receiver's help.
    let lines: String = (0..FEW).map(|line| format!("missed {line}\n")).collect();
    fs::write(dir.join("missed.log"), &lines).expect("a log is written");
    wait::until("the lines to be sent", PATIENCE, || {
        (sent(agent)? >= before + FEW as f64).then_some(())
    });
    thread::sleep(Duration::from_millis(300));
    agent.process().signal(Signal::STOP);
    taking.signal(Signal::CONT);
    wait::until("the lines to be stored", PATIENCE, || {
        stored(dir).ends_with(format!("missed {}\n", FEW - 1).as_bytes()).then_some(())
    });
    agent.kill();
    agent.start();
    lines.into_bytes()
}

#[test]
#[ignore = "needs the programs and Python: tests/run"]
fn own_receiver_has_each_line_once_through_kills_of_both_sides() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, mut rng) = (folder.path(), seed::rng("engines"));
    let own = dir.display().to_string();
    let listen = http::free_address();
    let address = listen.to_string();
    let at = ("localhost:4317", &*address);
    let data = format!("{own}/data");
    let page = Page::read("engines.md");
    let agent: &[_] = &[("/var/lib/aqueduct", &*data), ("/var/log/app", &own), at];
    write(dir, "receiver.py", &page.example("By gRPC", "python", &[("/var/lib/lines", &own), at]));
    let text = page.example("By gRPC", "toml", agent);
    let mut agent = Agent::configured("aqueduct-collector", dir, "sender", &text);
    let mut taking = receiver(dir, listen);
    agent.start();
    let mut written = Vec::new();
    for kill in 0..KILLS {
        let lines: String = (0..LINES).map(|line| format!("{kill} {line}\n")).collect();
        fs::write(dir.join(format!("{kill}.log")), &lines).expect("a log is written");
        written.extend(lines.into_bytes());
        thread::sleep(Duration::from_millis(rng.random_range(0..PAUSE_MAX)));
        if kill % 2 == 0 {
            taking.kill();
            taking = receiver(dir, listen);
        } else {
            agent.kill();
            agent.start();
        }
    }
    wait_until_delivered(&agent, PATIENCE);
    written.extend(an_answer_is_missed(dir, &mut agent, &taking));
    wait_until_delivered(&agent, PATIENCE);
    agent.stop(STOP);
    drop(taking);
    let found = compare(&written, &stored(dir));
    assert!(found.is_none(), "{found}");
}
