//! Real nodes of Solr with one core or collection, `lines`, from its published jars.
//!
//! ```text
//!   Solr        a single node, whose core is on its disk; with or without TLS and logins
//!   Cloud       three nodes and ZooKeeper: two shards of two replicas each
//! ```
//!
//! The class path is that of `deploy/solr/pom.xml`. Maven downloads it once to the user's cache.

mod cloud;
mod node;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::store::counted;
use crate::wait;
pub use cloud::Cloud;
use node::{Node, Secured};

/// Timeout of a step.
const LIMIT: Duration = Duration::from_secs(60);
/// The state of an update log that accepts updates and has no old ones to replay.
const ACTIVE: u64 = 3;
/// Solr's record of [`PASSWORD`]: its salted hash, and the salt.
const HASH: &str = "IV0EHq1OnNrj6gvRCwvFwTrZ1+z1oBbnQdiVC3otuq0= \
                    Ndd7LKvVBAaZIF0QAVi1ekCfAJXr1GGfLtRUXhgrF8c=";

/// The password of all users of [`Solr::start_secured`].
pub const PASSWORD: &str = "SolrRocks";
/// A user of [`Solr::start_secured`] that may only write.
pub const WRITER: &str = "writer";
/// A user of [`Solr::start_secured`] that may only read.
pub const READER: &str = "reader";

/// A running or killed node with its core on disk. Killed on drop.
#[derive(Debug)]
pub struct Solr(Node);

impl Solr {
    /// Starts a node without a core. All of its files are in `dir`.
    ///
    /// # Panics
    ///
    /// When its jars cannot be downloaded, or it does not answer in time.
    pub fn start(dir: &Path) -> Self {
        Self::of(dir, None)
    }

    /// Same with TLS only, with the certificate that
    /// [`certificates::make`](crate::certificates::make) created in `certificates`, and with the
    /// users [`WRITER`] and [`READER`] only.
    ///
    /// # Panics
    ///
    /// Same as [`Solr::start`], or when openssl fails.
    pub fn start_secured(dir: &Path, certificates: &Path) -> Self {
        let keys = certificates.join("server.p12");
        let mut openssl = Command::new("openssl");
        openssl.args(["pkcs12", "-export", "-in", "server.pem", "-inkey", "server.key"]);
        openssl.args(["-passout", "pass:secret", "-out"]).arg(&keys);
        let made = openssl.current_dir(certificates).output().expect("openssl runs");
        assert!(made.status.success(), "{made:?}");
        fs::create_dir_all(dir.join("solr/home")).expect("the test's own folder");
        let security = dir.join("solr/home/security.json");
        fs::write(security, security_json().to_string()).expect("the test's own folder");
        let (ca, login) = (certificates.join("ca.pem"), format!("admin:{PASSWORD}"));
        Self::of(dir, Some(Secured { ca, keys, password: "secret", login }))
    }

    fn of(dir: &Path, secured: Option<Secured>) -> Self {
        let dir = dir.join("solr");
        write_conf(&dir.join("home/lines/conf"));
        let mut solr = Self(Node::new(dir, "<solr/>", Vec::new(), secured));
        solr.revive();
        solr
    }

    /// Returns its address.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Restarts it after [`Solr::kill`], with the same files at the same address.
    ///
    /// # Panics
    ///
    /// When it exits or does not answer in time.
    pub fn revive(&mut self) {
        self.0.start();
        self.0.until_it_answers();
    }

    /// Kills it with -9 when it has replayed its update logs: it reads only the last two, so that a
    /// kill during the replay would lose documents.
    ///
    /// # Panics
    ///
    /// When it is not running, or is not ready in time.
    pub fn kill(&mut self) {
        wait::until("Solr to have read its update log", LIMIT, || {
            let answer = self.0.get("/solr/admin/metrics?group=core&prefix=TLOG.state")?;
            (answer["metrics"]["solr.core.lines"]["TLOG.state"] == ACTIVE).then_some(())
        });
        self.0.kill();
    }

    /// Suspends or resumes it.
    ///
    /// # Panics
    ///
    /// When it is not running.
    pub fn signal(&self, signal: Signal) {
        self.0.signal(signal);
    }

    /// Creates the core, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When Solr rejects it, or the core does not answer in time.
    pub fn create(&self) {
        let path = "/solr/admin/cores?action=CREATE&name=lines&instanceDir=lines";
        assert!(self.0.get(path).is_some(), "the core is not made");
        wait::until("the core to answer", LIMIT, || self.0.get("/solr/lines/select?q=*:*"));
    }

    /// Returns how often each text is the field `line_s` of a document.
    ///
    /// # Panics
    ///
    /// When a document lacks it.
    pub fn lines(&self) -> BTreeMap<String, usize> {
        let documents = self.documents();
        counted(documents.iter().map(|it| it["line_s"].as_str().expect("a line")))
    }

    /// Returns the current documents; empty if it does not answer.
    pub fn documents(&self) -> Vec<Value> {
        let _ = self.0.get("/solr/lines/update?commit=true");
        documents(self.0.get("/solr/lines/select?q=*:*&rows=1000000"))
    }
}

/// Returns the documents of a response.
fn documents(answer: Option<Value>) -> Vec<Value> {
    let list = |answer: Value| answer["response"]["docs"].as_array().expect("a list").clone();
    answer.map(list).unwrap_or_default()
}

/// Writes the configuration of a core or collection `lines`.
fn write_conf(conf: &Path) {
    fs::create_dir_all(conf).expect("the test's own folder");
    for (file, text) in [
        ("schema.xml", include_str!("solr/schema.xml")),
        ("solrconfig.xml", include_str!("solr/solrconfig.xml")),
    ] {
        fs::write(conf.join(file), text).expect("the test's own folder");
    }
}

/// Three logins with one right each.
fn security_json() -> Value {
    json!({
        "authentication": {
            "class": "solr.BasicAuthPlugin",
            "blockUnknown": true,
            "credentials": { "admin": HASH, WRITER: HASH, READER: HASH },
        },
        "authorization": {
            "class": "solr.RuleBasedAuthorizationPlugin",
            "user-role": { "admin": "admin", WRITER: "writer", READER: "reader" },
            "permissions": [
                { "name": "update", "role": ["writer", "admin"] },
                { "name": "read", "role": ["reader", "admin"] },
                { "name": "all", "role": "admin" },
            ],
        },
    })
}
