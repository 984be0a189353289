//! The schema registry Apicurio, by its API of Confluent, with its schemas in memory.
//!
//! One Java process; Maven downloads its archive once to the user's cache.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::flume::{artifact, lock};
use crate::http;
use crate::process::{Process, tail};
use crate::wait;

/// The archive to download.
const ARCHIVE: &str = "io.apicurio:apicurio-registry-app:3.0.9:tar.gz:all";
const NAME: &str = "apicurio-registry-3.0.9";
const LIMIT: Duration = Duration::from_secs(180);

/// A running or killed registry. Killed on drop.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    dir: PathBuf,
    process: Option<Process>,
}

impl Registry {
    /// Starts it in a folder of `dir`.
    ///
    /// # Panics
    ///
    /// When it cannot be downloaded, or does not answer in time.
    #[must_use]
    pub fn start(dir: &Path) -> Self {
        let dir = dir.join("registry");
        fs::create_dir(&dir).expect("the test's own folder");
        let mut registry = Self { address: http::free_address(), dir, process: None };
        registry.revive();
        registry
    }

    /// Restarts it after [`Registry::kill`] at the same address, without schemas.
    ///
    /// # Panics
    ///
    /// When it is running, or does not answer in time.
    pub fn revive(&mut self) {
        assert!(self.process.is_none(), "the registry runs already");
        let mut java = Command::new("java");
        java.current_dir(unpacked()).args(["-Xmx384m", "-XX:TieredStopAtLevel=1"]);
        java.arg(format!("-Dquarkus.http.port={}", self.address.port()));
        java.args(["-Dquarkus.http.host=127.0.0.1", "-jar"]);
        java.arg("apicurio-registry-app-3.0.9-runner.jar");
        let mut process = Process::start("registry", java, &self.dir.join("out"));
        wait::until("the registry to answer", LIMIT, || {
            assert!(process.is_alive(), "the registry ended:\n{}", tail(&process.output()));
            let subjects = http::get(self.address, "/apis/ccompat/v7/subjects");
            subjects.filter(|(code, _)| *code == 200)
        });
        self.process = Some(process);
    }

    /// Kills it with -9.
    ///
    /// # Panics
    ///
    /// When it is not running.
    pub fn kill(&mut self) {
        self.process.take().expect("a running registry").kill();
    }

    /// Returns the URL of its API.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/apis/ccompat/v7", self.address)
    }

    /// Registers a schema for an encoded subject, and returns the answer.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    pub fn register(&self, subject: &str, schema: &serde_json::Value) -> String {
        let body = schema.to_string();
        let request = format!(
            "POST /apis/ccompat/v7/subjects/{subject}/versions HTTP/1.1\r\nHost: registry\r\n\
             Content-Type: application/vnd.schemaregistry.v1+json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).expect("the registry runs");
        stream.write_all(request.as_bytes()).expect("the registry reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the registry answers");
        answer
    }
}

/// Returns the unpacked archive.
fn unpacked() -> PathBuf {
    let jars = artifact(NAME, ARCHIVE);
    let _others_wait = lock(NAME);
    let (place, complete) = (jars.join("unpacked"), jars.join("complete"));
    if !complete.exists() {
        // An incomplete one.
        let _none = fs::remove_dir_all(&place);
        fs::create_dir(&place).expect("the user's cache");
        let mut tar = Command::new("tar");
        tar.arg("xzf").arg(jars.join("apicurio-registry-app-3.0.9-all.tar.gz")).arg("-C");
        let done = tar.arg(&place).status().expect("tar runs");
        assert!(done.success(), "the archive is complete");
        fs::write(complete, "").expect("the user's cache");
    }
    place
}
