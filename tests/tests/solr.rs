//! Goal: each event is one document of Solr, while agent and Solr are killed; what Solr refuses
//! goes to the dead letters, and nothing else with it; a collection that is not there holds the
//! flow.
//!
//! Method: a real node of Solr (`solr/Server.java`), whose documents are read back.
//!
//! ```text
//!   tail_dir ─► durable ─► solr sink ─► POST /solr/lines/update ─► core `lines`
//! ```
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a system test looks at the machine as it is, and prints what it measured"
)]

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
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

/// What is fetched.
const POM: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/solr/pom.xml"));
/// How long a step may take.
const LIMIT: Duration = Duration::from_secs(60);
/// The state of an update log that takes updates and has no old ones to write.
const ACTIVE: u64 = 3;
/// Why events are dead letters: the first one of a batch gives the reason.
const REASONS: [&str; 2] = ["refused", "unwritable_event"];

/// A node with its core on disk, running or killed. Dropping it kills it.
struct Solr {
    address: SocketAddr,
    dir: PathBuf,
    process: Option<Process>,
}

impl Solr {
    /// One that runs, without a core.
    fn start(dir: &Path) -> Self {
        let dir = dir.join("solr");
        let conf = dir.join("home/lines/conf");
        fs::create_dir_all(&conf).expect("the test's own folder");
        for (file, text) in [
            (dir.join("Server.java"), include_str!("solr/Server.java")),
            (dir.join("home/solr.xml"), "<solr/>"),
            (conf.join("schema.xml"), include_str!("solr/schema.xml")),
            (conf.join("solrconfig.xml"), include_str!("solr/solrconfig.xml")),
        ] {
            fs::write(file, text).expect("the test's own folder");
        }
        let mut solr = Self { address: free_address(), dir, process: None };
        solr.revive();
        solr
    }

    /// Starts it again after [`Solr::kill`], with the same files at the same address.
    fn revive(&mut self) {
        let mut java = java_with("solr-9.10.1", POM, &self.dir);
        java.arg("-Dorg.apache.logging.log4j.level=WARN"); // what it gives up is said there
        java.arg(self.dir.join("Server.java")).arg(self.dir.join("home"));
        java.arg(self.address.port().to_string());
        let mut process = Process::start("solr", java, &self.dir.join("out"));
        wait::until("Solr to answer", LIMIT, || {
            assert!(process.is_alive(), "Solr ended:\n{}", tail(&process.output()));
            get(self.address, "/solr/admin/info/system").filter(|(status, _)| *status == 200)
        });
        self.process = Some(process);
    }

    /// Kills it with -9, once it has written what it knew from before: it reads its last two update
    /// logs alone, so that a second kill in the meantime loses documents.
    fn kill(&mut self) {
        wait::until("Solr to have read its update log", LIMIT, || {
            let path = "/solr/admin/metrics?group=core&prefix=TLOG.state";
            let (_, text) = get(self.address, path).filter(|(status, _)| *status == 200)?;
            let answer: Value = serde_json::from_str(&text).expect("an answer is JSON");
            (answer["metrics"]["solr.core.lines"]["TLOG.state"] == ACTIVE).then_some(())
        });
        self.process.take().expect("a running Solr").kill();
    }

    /// Stops it for a while, or lets it go on.
    fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("a running Solr").signal(signal);
    }

    /// Makes the core.
    fn create(&self) {
        let path = "/solr/admin/cores?action=CREATE&name=lines&instanceDir=lines";
        let answer = get(self.address, path);
        assert!(matches!(answer, Some((200, _))), "{answer:?}");
    }

    /// The documents, as they are now.
    fn documents(&self) -> Vec<Value> {
        let _ = get(self.address, "/solr/lines/update?commit=true");
        let Some((200, text)) = get(self.address, "/solr/lines/select?q=*:*&rows=20000") else {
            return Vec::new();
        };
        let answer: Value = serde_json::from_str(&text).expect("an answer is JSON");
        answer["response"]["docs"].as_array().expect("a list").clone()
    }
}

#[test]
#[ignore = "needs the optimised programs, Java and Maven: tests/run"]
fn each_event_is_one_document_through_kills_and_what_is_refused_is_a_dead_letter_alone() {
    const GOOD: usize = 6_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dir, mut rng, began) = (folder.path(), seed::rng("solr"), Instant::now());
    let mut solr = Solr::start(dir);
    fs::create_dir_all(dir.join("in")).expect("the test's own folder");
    let text = format!(
        "[agent]\ndata_dir = \"{at}/data\"\n\
         [sources.in]\nchannels = [\"main\"]\ntype = \"tail_dir\"\n\
         paths = [\"{at}/in/*.log\"]\nfile_header = false\nbatch_events = 100\n\
         interceptors = [{{ type = \"static\", headers = {{ app = \"Shop\" }} }}]\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.out]\ntype = \"solr\"\nchannel = \"main\"\nbody = \"json\"\n\
         urls = [\"http://{}/solr\"]\ncollection = \"lines\"\ncommit_within = \"1s\"\n",
        solr.address,
        at = dir.display(),
    );
    let mut agent = Agent::configured("aqueduct-collector", dir, "agent", &text);
    agent.start();
    let mut expected = Vec::new();
    for round in 0..6 {
        let mut lines = String::new();
        for n in (round * GOOD / 6)..((round + 1) * GOOD / 6) {
            writeln!(lines, "{{\"n\":{n}}}").expect("text");
            let bad = match n % 700 {
                100 => format!("{{\"n\":\"none {n}\"}}"),
                300 => format!("{{\"unknown\":{n}}}"),
                301 => format!("{{\"n\":{{\"inc\":{n}}}}}"),
                500 => format!("{{\"_version_\":{n}}}"),
                600 => format!("{{\"n\":[{n},1]}}"),
                _ => continue,
            };
            writeln!(lines, "{bad}").expect("text");
            expected.push(bad);
        }
        fs::write(dir.join(format!("in/{round}.log")), lines).expect("the test's own folder");
        if round == 0 {
            agent.until_logged("has no collection `lines`: create it", LIMIT);
            solr.create();
        }
        thread::sleep(Duration::from_millis(rng.random_range(100..700)));
        if round % 3 == 1 {
            agent.kill();
            solr.kill();
            agent.start();
            solr.revive();
        } else {
            // What is sent meanwhile is carried out, and the agent never hears of it.
            solr.signal(Signal::STOP);
            thread::sleep(Duration::from_millis(200));
            agent.kill();
            solr.signal(Signal::CONT);
            agent.start();
        }
    }
    wait::until("all events in Solr", LIMIT, || {
        thread::sleep(Duration::from_millis(300));
        (solr.documents().len() >= GOOD).then_some(())
    });
    agent.stop(LIMIT);
    let mut numbers = Vec::new();
    for document in solr.documents() {
        assert_eq!(document["header_app_s"], "Shop", "{document}");
        numbers.push(document["n"].as_u64().expect("a number"));
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..GOOD as u64).collect::<Vec<_>>());
    let mut letters = letters(&dir.join("data"), &REASONS);
    // A batch that a kill cut short has its dead letters twice.
    letters.sort_unstable();
    letters.dedup();
    expected.sort_unstable();
    assert_eq!(letters, expected);
    eprintln!("{GOOD} events, {} dead letters, {:?}", letters.len(), began.elapsed());
}
