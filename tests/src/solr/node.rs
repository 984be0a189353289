//! A Solr process: start, kill, suspend and query it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use super::LIMIT;
use crate::flume::java_with;
use crate::http;
use crate::process::{Process, tail};
use crate::wait;

/// The jars to download.
const POM: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/solr/pom.xml"));

/// Returns a Java command with Solr's class path, which logs dropped updates.
pub(super) fn java(dir: &Path) -> Command {
    let mut java = java_with("solr-9.10.1", POM, dir);
    java.arg("-Dorg.apache.logging.log4j.level=WARN");
    java
}

/// Setup of a node with TLS and logins only, and the client settings.
#[derive(Debug)]
pub(super) struct Secured {
    /// The authority of its certificate.
    pub(super) ca: PathBuf,
    /// Its key and certificate, as PKCS 12.
    pub(super) keys: PathBuf,
    /// The password of that file.
    pub(super) password: &'static str,
    /// User and password of a login with all rights.
    pub(super) login: String,
}

/// A process with its files. Killed on drop.
#[derive(Debug)]
pub(super) struct Node {
    address: SocketAddr,
    dir: PathBuf,
    options: Vec<String>,
    secured: Option<Secured>,
    process: Option<Process>,
}

impl Node {
    /// Creates a stopped node. Its cores are in `home` of this folder, which also contains its
    /// configuration `solr_xml`; the options are for the virtual machine.
    pub(super) fn new(
        dir: PathBuf,
        solr_xml: &str,
        options: Vec<String>,
        secured: Option<Secured>,
    ) -> Self {
        fs::create_dir_all(dir.join("home")).expect("the test's own folder");
        for (file, text) in
            [("Server.java", include_str!("Server.java")), ("home/solr.xml", solr_xml)]
        {
            fs::write(dir.join(file), text).expect("the test's own folder");
        }
        Self { address: http::free_address(), dir, options, secured, process: None }
    }

    /// Returns its address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts it, with the same files and at the same address each time.
    pub(super) fn start(&mut self) {
        let mut java = java(&self.dir);
        java.args(&self.options);
        java.arg(self.dir.join("Server.java")).arg(self.dir.join("home"));
        java.arg(self.address.port().to_string());
        if let Some(secured) = &self.secured {
            java.arg(&secured.keys).arg(secured.password);
        }
        self.process = Some(Process::start("solr", java, &self.dir.join("out")));
    }

    /// Waits until it answers.
    pub(super) fn until_it_answers(&mut self) {
        wait::until("Solr to answer", LIMIT, || {
            let process = self.process.as_mut().expect("a running Solr");
            assert!(process.is_alive(), "Solr ended:\n{}", tail(&process.output()));
            self.get("/solr/admin/info/system")
        });
    }

    /// Kills it with -9.
    pub(super) fn kill(&mut self) {
        self.process.take().expect("a running Solr").kill();
    }

    /// Suspends or resumes it.
    pub(super) fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("a running Solr").signal(signal);
    }

    /// Returns its response, if successful.
    pub(super) fn get(&self, path: &str) -> Option<Value> {
        let (status, text) = match &self.secured {
            None => http::get_from_java(self.address, path)?,
            Some(secured) => self.get_by_curl(path, secured)?,
        };
        (status == 200).then(|| serde_json::from_str(&text).expect("an answer is JSON"))
    }

    fn get_by_curl(&self, path: &str, secured: &Secured) -> Option<(u16, String)> {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "10", "--write-out", "\n%{http_code}", "--user"]);
        curl.arg(&secured.login).arg("--cacert").arg(&secured.ca);
        let url = format!("https://{}{path}", self.address);
        let output = curl.arg(url).output().expect("curl runs");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let (body, status) = text.rsplit_once('\n')?;
        Some((status.parse().expect("a status"), body.to_owned()))
    }
}
