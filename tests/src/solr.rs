//! A real node of Solr with one core, `lines`, from its published jars.
//!
//! The class path is that of `deploy/solr/pom.xml`. It is fetched by Maven once, into the user's
//! cache.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::flume::java_with;
use crate::http::{free_address, get};
use crate::process::{Process, tail};
use crate::wait;

/// What is fetched.
const POM: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/solr/pom.xml"));
/// How long a step may take.
const LIMIT: Duration = Duration::from_secs(60);
/// The state of an update log that takes updates and has no old ones to write.
const ACTIVE: u64 = 3;

/// A node with its core on disk, running or killed. Dropping it kills it.
#[derive(Debug)]
pub struct Solr {
    address: SocketAddr,
    dir: PathBuf,
    process: Option<Process>,
}

impl Solr {
    /// One that runs, without a core. All of its files are in `dir`.
    ///
    /// # Panics
    ///
    /// When its jars cannot be fetched, or it does not answer in time.
    pub fn start(dir: &Path) -> Self {
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

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts it again after [`Solr::kill`], with the same files at the same address.
    ///
    /// # Panics
    ///
    /// When it ends by itself or does not answer in time.
    pub fn revive(&mut self) {
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
    ///
    /// # Panics
    ///
    /// When it does not run, or is not ready for that in time.
    pub fn kill(&mut self) {
        wait::until("Solr to have read its update log", LIMIT, || {
            let path = "/solr/admin/metrics?group=core&prefix=TLOG.state";
            let (_, text) = get(self.address, path).filter(|(status, _)| *status == 200)?;
            let answer: Value = serde_json::from_str(&text).expect("an answer is JSON");
            (answer["metrics"]["solr.core.lines"]["TLOG.state"] == ACTIVE).then_some(())
        });
        self.process.take().expect("a running Solr").kill();
    }

    /// Stops it for a while, or lets it go on.
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("a running Solr").signal(signal);
    }

    /// Makes the core, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When Solr refuses that, or the core does not answer in time.
    pub fn create(&self) {
        let path = "/solr/admin/cores?action=CREATE&name=lines&instanceDir=lines";
        let answer = get(self.address, path);
        assert!(matches!(answer, Some((200, _))), "{answer:?}");
        wait::until("the core to answer", LIMIT, || {
            get(self.address, "/solr/lines/select?q=*:*").filter(|(status, _)| *status == 200)
        });
    }

    /// The documents, as they are now; none while it does not answer.
    ///
    /// # Panics
    ///
    /// When what it answers are no documents.
    pub fn documents(&self) -> Vec<Value> {
        let _ = get(self.address, "/solr/lines/update?commit=true");
        let Some((200, text)) = get(self.address, "/solr/lines/select?q=*:*&rows=20000") else {
            return Vec::new();
        };
        let answer: Value = serde_json::from_str(&text).expect("an answer is JSON");
        answer["response"]["docs"].as_array().expect("a list").clone()
    }
}
