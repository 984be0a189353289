//! Goal: files of running programs change repeatedly, and every line is stored once. A flow that no
//! change affects keeps its connection and hardly waits.
//!
//! Method: an edge and a collector with two flows each, `calm` and `wild`, from log files to a
//! store; lines are written all the time. A seed decides edits of `wild`: settings of its sources,
//! channels and sinks, the address between the two, the included file. In between, files are wrong,
//! or the port of a source is in use. The edge reloads on SIGHUP, the collector on `aqueduct
//! reload`; the response must match each edit.
//!
//! ```text
//!   calm.log ─► tail_dir ─► durable ─► grpc ─────► grpc ─► durable ─► hdfs ─► file://…/calm
//!   wild.log ─► tail_dir ─► durable ─► grpc ──?──► grpc ─► durable ─► hdfs ─► file://…/wild
//! ```
//!
//! Lane: core
//! Weight: 1
//! Limit: 10m
//! Paths: @core

mod edits;

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use aqueduct_tests::agent::{Agent, program, wait_until_delivered};
use aqueduct_tests::reconcile::{compare, prove};
use aqueduct_tests::{http, seed, wait};
use rand::prelude::*;
use rustix::process::Signal;
use serde_json::Value;

use edits::{Edit, Edited, Ending, KINDS, Site};

/// Edits of a file.
const EDITS: usize = 6 * KINDS;

/// Lines per write, and the pause after it: 5,000 per second.
const LINES: usize = 50;
const PAUSE: Duration = Duration::from_millis(10);

/// Pause between two edits, so that lines move during each.
const CALM: Duration = Duration::from_millis(150);

/// Timeout for the response to an edit, and for delivery.
const PATIENCE: Duration = Duration::from_secs(60);

/// Maximum time without stored lines of the unedited flow. Generous, because the machine has other
/// tasks.
const GAP_MAX: Duration = Duration::from_secs(5);

/// Adds numbered lines to a log until it is stopped; returns all of them.
fn writer(path: &Path, name: &'static str, stop: &Arc<AtomicBool>) -> JoinHandle<Vec<u8>> {
    let (path, stop) = (path.to_owned(), stop.clone());
    thread::spawn(move || {
        let mut file = File::create(path).expect("the test's own folder");
        let (mut written, mut number) = (Vec::new(), 0);
        while !stop.load(Ordering::Relaxed) {
            let lines: String =
                (number..number + LINES).map(|line| format!("{name} {line}\n")).collect();
            number += LINES;
            file.write_all(lines.as_bytes()).expect("the test's own folder");
            written.extend_from_slice(lines.as_bytes());
            thread::sleep(PAUSE);
        }
        written
    })
}

fn status(admin: SocketAddr) -> Option<Value> {
    let (_, text) = http::get(admin, "/status")?;
    serde_json::from_str(&text).ok()
}

/// Returns the member of this name.
fn named<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|it| it["name"] == name)
}

/// Returns what readers of a dataset see.
fn files_in(folder: &Path) -> Vec<u8> {
    let entries = fs::read_dir(folder).expect("a dataset");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.is_file()).flat_map(|path| fs::read(path).expect("a file")).collect()
}

/// Measures the longest time in which the collector stored nothing of the unedited flow.
fn longest_gap(admin: SocketAddr, stop: &Arc<AtomicBool>) -> JoinHandle<Duration> {
    let stop = stop.clone();
    thread::spawn(move || {
        let (mut longest, mut since, mut last) = (Duration::ZERO, Instant::now(), 0);
        while !stop.load(Ordering::Relaxed) {
            let stored = status(admin).and_then(|status| {
                named(&status["channels"], "calm")?["stored"]["events_total"].as_u64()
            });
            longest = longest.max(since.elapsed());
            if stored.is_some_and(|stored| stored > last) {
                (last, since) = (stored.unwrap_or(last), Instant::now());
            }
            thread::sleep(Duration::from_millis(10));
        }
        assert!(last > 0, "the flow that is not edited does not move");
        longest
    })
}

/// Makes the edge reload. Returns the result, from its status.
fn reload_edge(edge: &mut Agent) -> Value {
    let asked = Instant::now();
    edge.process().signal(Signal::HUP);
    let admin = edge.admin();
    wait::until("the edge to have read its file", PATIENCE, || {
        let last = status(admin)?["last_reload"].clone();
        let is_new = last["finished_seconds_ago"].as_f64()? < asked.elapsed().as_secs_f64();
        (is_new && last["asked_by"] == "SIGHUP").then_some(last)
    })
}

/// Makes the collector reload. Returns the output of `aqueduct reload`.
fn reload_collector(collector: &Agent, expected: Ending) -> Value {
    let mut command = program("aqueduct");
    let output = command.args(["reload", "--json", &collector.admin().to_string()]).output();
    let output = output.expect("the program starts");
    let is_well = matches!(expected, Ending::Applied | Ending::Unchanged);
    assert_eq!(output.status.code(), Some(if is_well { 0 } else { 1 }), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// Two agents, and the content of their files.
struct Running {
    site: Site,
    edge: Agent,
    collector: Agent,
    edited: Edited,
    endings: Vec<Ending>,
    slowest: f64,
}

impl Running {
    /// Starts both agents and the flows.
    fn start(site: Site) -> Self {
        let edited = Edited {
            address: http::free_address(),
            team: 0,
            capacity: 0,
            age: 0,
            group: 0,
            has_audit: false,
            taken: None,
            wrong: "",
        };
        site.write_edge(&edited);
        site.write_collector(&edited);
        let mut collector = site.agent("aqueduct-collector", "collector");
        let mut edge = site.agent("aqueduct-edge", "edge");
        collector.start();
        edge.start();
        wait::until("the flows to move", PATIENCE, || {
            let status = status(collector.admin())?;
            let moved = |name| named(&status["channels"], name)?["stored"]["events_total"].as_u64();
            (moved("calm")? > 0 && moved("wild")? > 0).then_some(())
        });
        Self { site, edge, collector, edited, endings: Vec::new(), slowest: 0.0 }
    }

    fn make(&mut self, edit: Edit) {
        let mut answers = Vec::new();
        if edit.collector {
            self.site.write_collector(&edit.next);
            answers.push(reload_collector(&self.collector, edit.ending));
        }
        if edit.edge {
            self.site.write_edge(&edit.next);
            answers.push(reload_edge(&mut self.edge));
        }
        for answer in answers {
            edit.check(&answer);
            self.slowest = self.slowest.max(answer["took_seconds"].as_f64().unwrap_or_default());
        }
        self.endings.push(edit.ending);
        if edit.ending == Ending::Applied {
            self.edited = edit.next;
        }
    }

    /// Returns how long the edge has been connected to the collector by the unedited flow.
    fn connected_seconds(&self) -> f64 {
        let status = status(self.collector.admin()).expect("the collector answers");
        let source = named(&status["sources"], "calm").expect("it has this source");
        source["senders"][0]["connected_seconds_ago"].as_f64().expect("the edge is connected")
    }

    /// Restores the files to what is running, waits for delivery, and stops both agents.
    fn end(&mut self) {
        self.site.write_edge(&self.edited);
        self.site.write_collector(&self.edited);
        assert_eq!(reload_edge(&mut self.edge)["result"], "unchanged");
        assert_eq!(reload_collector(&self.collector, Ending::Unchanged)["result"], "unchanged");
        wait_until_delivered(&self.edge, PATIENCE);
        self.edge.stop(Duration::from_secs(25));
        self.collector.stop(Duration::from_secs(25));
    }
}

#[test]
#[ignore = "needs the programs: tests/run"]
fn files_are_edited_under_running_programs_and_each_line_is_stored_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path().to_owned();
    let in_the_way = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = in_the_way.local_addr().expect("it is bound");
    let stop = Arc::new(AtomicBool::new(false));
    let writers =
        ["calm", "wild"].map(|name| writer(&dir.join(format!("{name}.log")), name, &stop));
    let mut running = Running::start(Site { dir: dir.clone(), calm: http::free_address() });
    let gap = longest_gap(running.collector.admin(), &stop);
    let (began, mut rng, mut kinds) = (Instant::now(), seed::rng("reload"), Vec::new());
    for _ in 0..EDITS {
        // Every kind runs, in random order, before one is repeated.
        if kinds.is_empty() {
            kinds.extend(0..KINDS);
            kinds.shuffle(&mut rng);
        }
        let kind = kinds.pop().expect("they were filled up");
        let edit = Edit::of(kind, &running.edited, taken);
        running.make(edit);
        thread::sleep(CALM);
    }
    let took = began.elapsed();
    assert!(running.connected_seconds() > took.as_secs_f64(), "the connection was not kept");
    stop.store(true, Ordering::Relaxed);
    let gap = gap.join().expect("the gaps are measured");
    let counts = [Ending::Applied, Ending::Unchanged, Ending::Refused, Ending::RolledBack]
        .map(|it| (it.name(), running.endings.iter().filter(|ending| **ending == it).count()));
    let slowest = running.slowest;
    println!("{counts:?} in {took:?}, slowest {slowest} s, longest gap of the calm flow {gap:?}");
    assert!(counts.iter().all(|(_, count)| *count > 0), "each ending was met: {counts:?}");
    assert!(gap < GAP_MAX, "the flow that is not edited stood still for {gap:?}");
    running.end();
    for (name, writer) in ["calm", "wild"].into_iter().zip(writers) {
        let written = writer.join().expect("the lines are written");
        let store = dir.join("store").join(name);
        let found = compare(&written, &files_in(&store));
        assert!(found.is_none(), "{name}: {found}");
        println!("{name}: {found}");
        prove(
            &format!("file://{}", store.display()),
            None,
            &[dir.join("edge/channels").join(name)],
        );
    }
}
