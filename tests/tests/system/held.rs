//! Goal: parts of running agents are stopped, started and drained at random while lines are written
//! and agents are killed; each line is stored once, nothing starts by itself, and each call is
//! logged.
//!
//! Method: an edge tails logs, and a collector has a `file://` store. Lines are written all the
//! time. As the seed decides, a source or a group of either is stopped with `aqueduct stop`, one of
//! the agents is killed with `kill -9` and restarted, the configuration is reloaded, and the
//! stopped part must still be stopped. Then it is started. Finally both agents drain, the collector
//! with `--exit`, and stored and written lines are compared.
//!
//! Lane: core
//! Weight: 1
//! Limit: 10m
//! Paths: @core

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, program};
use aqueduct_tests::reconcile::compare;
use aqueduct_tests::site::Site;
use aqueduct_tests::{http, seed, wait};
use rand::prelude::*;
use serde_json::Value;

/// Rounds of stop, kill, reload and start.
const ROUNDS: usize = 12;

/// Lines per write, and the pause after it.
const LINES: usize = 40;
const PAUSE: Duration = Duration::from_millis(10);

/// Pause between two steps, so that lines move during each.
const CALM: Duration = Duration::from_millis(250);

const LIMIT: Duration = Duration::from_secs(60);

/// Adds numbered lines to a log until it is stopped.
fn writer(path: &Path, stop: &Arc<AtomicBool>) -> JoinHandle<usize> {
    let (path, stop) = (path.to_owned(), stop.clone());
    thread::spawn(move || {
        let mut file = File::create(path).expect("the test's own folder");
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            let lines: String =
                (number..number + LINES).map(|line| format!("line {line}\n")).collect();
            file.write_all(lines.as_bytes()).expect("the test's own folder");
            number += LINES;
            thread::sleep(PAUSE);
        }
        number
    })
}

fn aqueduct(action: &str, agent: &Agent, more: &[&str]) -> Output {
    let mut command = program("aqueduct");
    command.args([action, &agent.admin().to_string()]).args(more);
    command.output().expect("the program starts")
}

/// Runs the command, which must succeed, and returns its JSON output.
fn done(action: &str, agent: &Agent, more: &[&str]) -> Value {
    let output = aqueduct(action, agent, &[more, &["--json"]].concat());
    assert!(output.status.success(), "{action} {more:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn status(agent: &Agent) -> Value {
    wait::until("a status", LIMIT, || {
        serde_json::from_str(&http::get(agent.admin(), "/status")?.1).ok()
    })
}

/// Returns the state of the only source or group, and the number of events that passed it.
fn state(agent: &Agent, role: &str) -> (String, u64) {
    let status = status(agent);
    let (part, passed) = match role {
        "source" => (&status["sources"][0], "accepted"),
        _ => (&status["groups"][0], "delivered"),
    };
    let state = part["state"]["name"].as_str().expect("a state").to_owned();
    (state, part[passed]["events_total"].as_u64().expect("a number"))
}

fn name(agent: &Agent, role: &str) -> String {
    let all = format!("{role}s");
    status(agent)[all][0]["name"].as_str().expect("a name").to_owned()
}

/// Asserts that a stopped part stays stopped after the agent's restart.
fn assert_held(agent: &Agent, role: &str, what: &str) {
    let (shown, before) = state(agent, role);
    assert_eq!(shown, "held", "{what}");
    thread::sleep(CALM);
    assert_eq!(state(agent, role), ("held".to_owned(), before), "{what}: it moves");
}

/// When the edge has read everything, drains it, and then the collector, which exits.
fn drain(edge: &Agent, collector: &mut Agent) {
    wait::until("the edge to have read its log", LIMIT, || {
        (edge.metrics()?.sum("aqueduct_source_lag_bytes")? == 0.0).then_some(())
    });
    let drained = aqueduct("drain", edge, &["--timeout", "60s"]);
    assert!(drained.status.success(), "{drained:?}");
    assert_eq!(status(edge)["channels"][0]["depth_events"], 0);
    let drained = aqueduct("drain", collector, &["--timeout", "60s", "--exit", "--json"]);
    assert!(drained.status.success(), "{drained:?}");
    let last = String::from_utf8_lossy(&drained.stdout).lines().last().map(str::to_owned);
    assert!(last.is_some_and(|it| it.contains("\"drained\"")), "{drained:?}");
    assert!(collector.process().wait(LIMIT).success(), "{}", collector.output());
    collector.stop(LIMIT);
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn stops_and_starts_through_kills_store_each_line_once() {
    let site = Site::new();
    let (mut collector, mut edge) = (site.collector(), site.edge());
    collector.start();
    edge.start();
    let stop = Arc::new(AtomicBool::new(false));
    let writing = writer(&site.logs().join("app.log"), &stop);
    site.wait_until_stored(1);
    let began = Instant::now();
    let mut rng = seed::rng("held");
    let mut kinds = Vec::new();
    let mut kills = 0;
    for round in 0..ROUNDS {
        // Every kind runs, in random order, before one is repeated.
        if kinds.is_empty() {
            kinds = [(0, "source"), (0, "group"), (1, "source"), (1, "group")].to_vec();
            kinds.shuffle(&mut rng);
        }
        let (at, role) = kinds.pop().expect("they were filled up");
        let agents = [&mut edge, &mut collector];
        let (agent, option) = (&*agents[at], format!("--{role}"));
        let part = name(agent, role);
        let answer = done("stop", agent, &[&option, &part]);
        assert_eq!(answer["changed"][0], format!("{role}s.{part}"), "{answer}");
        assert_held(agent, role, "stopped");
        for _ in 0..rng.random_range(1..4) {
            match rng.random_range(0..3) {
                0 => {
                    let output = aqueduct("reload", agents[at], &[]);
                    // The edge has only flags.
                    assert_eq!(output.status.success(), at == 1, "{output:?}");
                }
                _ => {
                    let victim = rng.random_range(0..2);
                    agents[victim].kill();
                    agents[victim].start();
                    kills += 1;
                }
            }
        }
        assert_held(agents[at], role, &format!("round {round}"));
        let answer = done("start", agents[at], &[&option, &part]);
        assert_eq!(answer["held"], Value::Array(Vec::new()), "{answer}");
        thread::sleep(CALM);
    }
    stop.store(true, Ordering::Relaxed);
    let lines = writing.join().expect("the lines are written");
    println!("{ROUNDS} rounds with {kills} kills in {:?}, {lines} lines", began.elapsed());
    assert!(kills > 0, "agents died");

    drain(&edge, &mut collector);
    let found = compare(&site.logged(), &site.stored());
    println!("{found}");
    assert!(found.is_none(), "{found}");

    // A drained edge stays closed after a kill; a drained collector that exited starts normally.
    edge.kill();
    edge.start();
    collector.start();
    assert_held(&edge, "source", "drained");
    wait::until("the collector to be ready", LIMIT, || {
        (status(&collector)["ready"] == true).then_some(())
    });
    done("start", &edge, &["--all"]);
    site.log("late", 500);
    site.wait_until_stored(lines + 500);
    edge.stop(LIMIT);
    collector.stop(LIMIT);
    let found = compare(&site.logged(), &site.stored());
    assert!(found.is_none(), "{found}");
    site.prove();
    assert_audited(&site);
}

/// Asserts that each call has a line in the audit log, over all kills.
fn assert_audited(site: &Site) {
    let text = fs::read_to_string(site.path().join("edge/audit.log")).expect("the audit log");
    let text = text
        + fs::read_to_string(site.path().join("collector/audit.log")).expect("it too").as_str();
    for (action, times) in [("stop", ROUNDS), ("start", ROUNDS + 1)] {
        let lines = text.lines().filter(|line| {
            let line: Value = serde_json::from_str(line).expect("a line of JSON");
            line["action"] == action && line["outcome"] == "done" && line["by"] == "loopback"
        });
        assert_eq!(lines.count(), times, "{action}:\n{text}");
    }
}
