//! Goal: each event is one document of a search engine, while agent and engine are killed; only
//! events that the engine rejects become dead letters.
//!
//! Method: a real OpenSearch node (`search/Server.java`), whose documents are read back. It accepts
//! requests of up to 256 KiB, so that larger ones are split.
//!
//! ```text
//!   sequence ─► durable ─► elasticsearch sink ─► POST /_bulk ─► index `lines-shop`
//! ```
//!
//! Lane: connector
//! Needs: curl javac mvn
//! Weight: 0
//! Limit: 10m
//! Paths: crates/components-search deploy/opensearch

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use aqueduct_tests::agent::Agent;
use aqueduct_tests::flume::java_with;
use aqueduct_tests::http::{free_address, get};
use aqueduct_tests::letters::letters;
use aqueduct_tests::process::{Process, tail};
use aqueduct_tests::{seed, wait};
use rand::prelude::*;
use rustix::process::Signal;
use serde_json::Value;

mod cuts;

/// The jars to download.
const POM: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/opensearch/pom.xml"));

/// Timeout of a step.
const LIMIT: Duration = Duration::from_secs(60);
/// Reasons of dead letters: the first event of a batch determines the reason.
const REASONS: [&str; 3] = ["refused", "too_large", "unwritable_event"];

/// A running or killed node with its documents on disk. Killed on drop.
struct Engine {
    address: SocketAddr,
    dir: PathBuf,
    process: Option<Process>,
}

impl Engine {
    /// Starts a node.
    fn start(dir: &Path) -> Self {
        let dir = dir.join("opensearch");
        fs::create_dir_all(&dir).expect("the test's own folder");
        let mut engine = Self { address: free_address(), dir, process: None };
        engine.revive();
        engine
    }

    /// Restarts it after [`Engine::kill`], with the same files at the same address.
    fn revive(&mut self) {
        let source = self.dir.join("Server.java");
        fs::write(&source, include_str!("search/Server.java")).expect("the test's own folder");
        let mut java = java_with("opensearch-2.19.6", POM, &self.dir);
        java.arg(source).arg(self.dir.join("home")).arg(self.address.port().to_string());
        let mut process = Process::start("opensearch", java, &self.dir.join("out"));
        wait::until("the engine to answer", LIMIT, || {
            assert!(process.is_alive(), "OpenSearch ended:\n{}", tail(&process.output()));
            get(self.address, "/").filter(|(status, _)| *status == 200)
        });
        self.process = Some(process);
    }

    /// Kills it with -9.
    fn kill(&mut self) {
        self.process.take().expect("a running engine").kill();
    }

    /// Suspends or resumes it.
    fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("a running engine").signal(signal);
    }

    /// Sends a request with a body.
    fn put(&self, path: &str, body: &str) {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--request", "PUT", "--data", body]);
        curl.args(["--header", "Content-Type: application/json"]);
        let output = curl.arg(format!("http://{}{path}", self.address)).output();
        let output = output.expect("curl runs");
        assert!(output.status.success(), "{path}: {output:?}");
    }

    /// Returns the current documents of an index, at most 10,000.
    fn documents(&self, index: &str) -> Vec<Value> {
        let _ = get(self.address, &format!("/{index}/_refresh"));
        let Some((200, text)) = get(self.address, &format!("/{index}/_search?size=10000")) else {
            return Vec::new();
        };
        let answer: Value = serde_json::from_str(&text).expect("an answer is JSON");
        answer["hits"]["hits"].as_array().expect("a list").clone()
    }
}

/// Returns an agent whose sink writes there.
fn agent(dir: &Path, engine: &Engine, source: &str, settings: &str) -> Agent {
    let text = format!(
        "[agent]\ndata_dir = \"{at}/data\"\n\
         [sources.in]\nchannels = [\"main\"]\n{source}\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.out]\ntype = \"elasticsearch\"\nchannel = \"main\"\n\
         urls = [\"http://{}\"]\n{settings}\n",
        engine.address,
        at = dir.display(),
    );
    Agent::configured("aqueduct-collector", dir, "agent", &text)
}

#[test]
#[ignore = "needs the programs, Java, Maven and curl: tests/run"]
fn each_event_is_one_document_through_kills_of_agent_and_engine() {
    const EVENTS: usize = 9_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, mut rng, began) = (folder.path(), seed::rng("search"), Instant::now());
    let mut engine = Engine::start(dir);
    let source = format!(
        "type = \"sequence\"\ncount = {EVENTS}\nrate = 1500\nbatch_events = 20\n\
         interceptors = [{{ type = \"static\", headers = {{ app = \"Shop\" }} }}]"
    );
    let mut agent = agent(dir, &engine, &source, "index = \"lines-%{app}\"\n");
    agent.start();
    for round in 0..6 {
        thread::sleep(Duration::from_millis(rng.random_range(100..700)));
        if round % 2 == 1 {
            agent.kill();
            engine.kill();
            agent.start();
            thread::sleep(Duration::from_millis(rng.random_range(0..300)));
            engine.revive();
        } else {
            // Requests sent meanwhile are executed, but the agent that sent them never receives the
            // responses.
            engine.signal(Signal::STOP);
            thread::sleep(Duration::from_millis(200));
            agent.kill();
            engine.signal(Signal::CONT);
            agent.start();
        }
    }
    let index = "lines-shop";
    wait::until("all events in the index", LIMIT, || {
        thread::sleep(Duration::from_millis(300));
        (engine.documents(index).len() >= EVENTS).then_some(())
    });
    // Documents written again would appear now.
    thread::sleep(Duration::from_secs(1));
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for document in engine.documents(index) {
        let source = &document["_source"];
        assert_eq!(source["headers"]["app"], "Shop", "{document}");
        let message = source["message"].as_str().expect("a line").to_owned();
        *found.entry(message).or_default() += 1;
    }
    let repeated = found.values().filter(|times| **times > 1).count();
    eprintln!(
        "{EVENTS} events, {} documents, {repeated} repeated; 6 kills of the agent, 3 of the \
         engine; {:?}",
        found.len(),
        began.elapsed()
    );
    assert_eq!((found.len(), repeated), (EVENTS, 0));
    agent.stop(LIMIT);
}

#[test]
#[ignore = "needs the programs, Java, Maven and curl: tests/run"]
fn refused_events_become_letters_and_a_closed_index_holds_the_flow() {
    const GOOD: usize = 1_500;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path();
    let engine = Engine::start(dir);
    engine.put("/orders", r#"{"mappings":{"properties":{"n":{"type":"integer"}}}}"#);
    engine.put("/orders/_settings", r#"{"index.blocks.read_only_allow_delete":true}"#);
    let mut lines = String::new();
    for n in 0..GOOD {
        // Several requests, because of the engine's limit.
        writeln!(lines, "{{\"n\":{n},\"text\":\"{}\"}}", "x".repeat(500)).expect("text");
        match n {
            700 => lines.push_str("{\"n\":\"none\"}\n"),
            800 => writeln!(lines, "{{\"text\":\"{}\"}}", "y".repeat(300 << 10)).expect("text"),
            900 => lines.push_str("no JSON\n"),
            _ => {}
        }
    }
    fs::create_dir_all(dir.join("in")).expect("the test's own folder");
    fs::write(dir.join("in/orders.log"), lines).expect("the test's own folder");
    let source = format!(
        "type = \"tail_dir\"\npaths = [\"{}/in/*.log\"]\nfile_header = false",
        dir.display()
    );
    let settings = "index = \"orders\"\nbody = \"json\"";
    let mut agent = agent(dir, &engine, &source, settings);
    agent.start();
    agent.until_logged("cluster_block_exception", LIMIT);
    assert_eq!(engine.documents("orders").len(), 0);
    engine.put("/orders/_settings", r#"{"index.blocks.read_only_allow_delete":false}"#);
    wait::until("all but three in the index", LIMIT, || {
        thread::sleep(Duration::from_millis(300));
        (engine.documents("orders").len() >= GOOD).then_some(())
    });
    agent.stop(LIMIT);
    let mut numbers: Vec<u64> = engine
        .documents("orders")
        .iter()
        .map(|it| it["_source"]["n"].as_u64().expect("a number"))
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..GOOD as u64).collect::<Vec<_>>());
    let letters = letters(&dir.join("data"), &REASONS);
    let mut starts: Vec<&str> = letters.iter().map(|body| &body[..7]).collect();
    starts.sort_unstable();
    assert_eq!(starts, ["no JSON", "{\"n\":\"n", "{\"text\""]);
}
