//! Real nodes of Solr with one core or collection, `lines`, from its published jars.
//!
//! ```text
//!   Solr        a node by itself, whose core is on its disk; with TLS and logins, or without
//!   Cloud       three nodes and ZooKeeper: two shards of two replicas each
//! ```
//!
//! The class path is that of `deploy/solr/pom.xml`. It is fetched by Maven once, into the user's
//! cache.

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

use crate::chain::counted;
use crate::wait;
pub use cloud::Cloud;
use node::{Node, Secured};

/// How long a step may take.
const LIMIT: Duration = Duration::from_secs(60);
/// The state of an update log that takes updates and has no old ones to write.
const ACTIVE: u64 = 3;
/// What Solr keeps of [`PASSWORD`]: its salted hash, and the salt.
const HASH: &str = "IV0EHq1OnNrj6gvRCwvFwTrZ1+z1oBbnQdiVC3otuq0= \
                    Ndd7LKvVBAaZIF0QAVi1ekCfAJXr1GGfLtRUXhgrF8c=";

/// The password of all users of [`Solr::start_secured`].
pub const PASSWORD: &str = "SolrRocks";
/// A user of [`Solr::start_secured`] that may write, and nothing else.
pub const WRITER: &str = "writer";
/// A user of [`Solr::start_secured`] that may read, and nothing else.
pub const READER: &str = "reader";

/// A node with its core on disk, running or killed. Dropping it kills it.
#[derive(Debug)]
pub struct Solr(Node);

impl Solr {
    /// One that runs, without a core. All of its files are in `dir`.
    ///
    /// # Panics
    ///
    /// When its jars cannot be fetched, or it does not answer in time.
    pub fn start(dir: &Path) -> Self {
        Self::of(dir, None)
    }

    /// The same, which speaks TLS alone, with the certificate that
    /// [`certificates::make`](crate::certificates::make) made in `certificates`, and takes requests
    /// of [`WRITER`] and [`READER`] alone.
    ///
    /// # Panics
    ///
    /// As [`Solr::start`], or when openssl fails.
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

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Starts it again after [`Solr::kill`], with the same files at the same address.
    ///
    /// # Panics
    ///
    /// When it ends by itself or does not answer in time.
    pub fn revive(&mut self) {
        self.0.start();
        self.0.until_it_answers();
    }

    /// Kills it with -9, once it has written what it knew from before: it reads its last two update
    /// logs alone, so that a second kill in the meantime loses documents.
    ///
    /// # Panics
    ///
    /// When it does not run, or is not ready for that in time.
    pub fn kill(&mut self) {
        wait::until("Solr to have read its update log", LIMIT, || {
            let answer = self.0.get("/solr/admin/metrics?group=core&prefix=TLOG.state")?;
            (answer["metrics"]["solr.core.lines"]["TLOG.state"] == ACTIVE).then_some(())
        });
        self.0.kill();
    }

    /// Stops it for a while, or lets it go on.
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub fn signal(&self, signal: Signal) {
        self.0.signal(signal);
    }

    /// Makes the core, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When Solr refuses that, or the core does not answer in time.
    pub fn create(&self) {
        let path = "/solr/admin/cores?action=CREATE&name=lines&instanceDir=lines";
        assert!(self.0.get(path).is_some(), "the core is not made");
        wait::until("the core to answer", LIMIT, || self.0.get("/solr/lines/select?q=*:*"));
    }

    /// How often each text is the field `line_s` of a document now.
    ///
    /// # Panics
    ///
    /// When a document lacks it.
    pub fn lines(&self) -> BTreeMap<String, usize> {
        let documents = self.documents();
        counted(documents.iter().map(|it| it["line_s"].as_str().expect("a line")))
    }

    /// The documents, as they are now; none while it does not answer.
    pub fn documents(&self) -> Vec<Value> {
        let _ = self.0.get("/solr/lines/update?commit=true");
        documents(self.0.get("/solr/lines/select?q=*:*&rows=1000000"))
    }
}

/// The documents of an answer.
fn documents(answer: Option<Value>) -> Vec<Value> {
    let list = |answer: Value| answer["response"]["docs"].as_array().expect("a list").clone();
    answer.map(list).unwrap_or_default()
}

/// What makes a core or collection `lines`.
fn write_conf(conf: &Path) {
    fs::create_dir_all(conf).expect("the test's own folder");
    for (file, text) in [
        ("schema.xml", include_str!("solr/schema.xml")),
        ("solrconfig.xml", include_str!("solr/solrconfig.xml")),
    ] {
        fs::write(conf.join(file), text).expect("the test's own folder");
    }
}

/// Three logins, each with one right.
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
