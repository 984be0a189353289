//! A server of Google buckets: fake-gcs-server. It supports `ifGenerationMatch` for uploads with
//! the JSON API, under one lock, but ignores it in copies and in the XML API. It does not check
//! tokens, and keeps everything in memory.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use super::{BUCKET, Server, content, request, texts, until_made};
use crate::process::Process;
use crate::{go, http};

/// The module to install.
const MODULE: &str = "github.com/fsouza/fake-gcs-server@v1.56.1";

/// A running server. Killed on drop.
#[derive(Debug)]
pub struct Gcs {
    address: SocketAddr,
    key_file: PathBuf,
    _process: Process,
}

/// Asserts that a program succeeded.
fn done(output: io::Result<std::process::Output>, what: &str) {
    let output = output.unwrap_or_else(|error| panic!("{what}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{what}: {said}");
}

impl Gcs {
    /// Returns its URL, without a bucket.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the file with the key of a service account, created by openssl.
    pub fn key_file(&self) -> &Path {
        &self.key_file
    }
}

impl Server for Gcs {
    fn start(dir: &Path) -> Self {
        let (address, pem) = (http::free_address(), dir.join("account.pem"));
        let mut openssl = Command::new("openssl");
        openssl.args(["genpkey", "-algorithm", "RSA", "-out"]).arg(&pem);
        done(openssl.output(), "openssl genpkey");
        let key = serde_json::json!({
            "type": "service_account",
            "private_key": fs::read_to_string(pem).expect("a key"),
            "private_key_id": "1",
            "client_email": "aqueduct@example.com",
        });
        let key_file = dir.join("account.json");
        fs::write(&key_file, key.to_string()).expect("the test's own folder");
        let mut command = Command::new(go::installed(MODULE));
        command.args(["-backend", "memory", "-scheme", "http", "-log-level", "error"]);
        command.args(["-host", "127.0.0.1", "-public-host", "127.0.0.1"]);
        command.args(["-port", &address.port().to_string()]);
        let mut process = Process::start("fake-gcs-server", command, &dir.join("gcs.out"));
        let made = format!(r#"{{"name":"{BUCKET}"}}"#);
        until_made(&mut process, address, ("POST", "/storage/v1/b", &made));
        Self { address, key_file, _process: process }
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn url(path: &str) -> String {
        format!("gs://{BUCKET}/{path}")
    }

    fn settings(&self) -> String {
        let (endpoint, key) = (self.endpoint(), self.key_file.display());
        format!("gcs = {{ endpoint = \"{endpoint}\", key_file = \"{key}\" }}")
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("STORAGE_EMULATOR_HOST", self.endpoint()),
            ("GOOGLE_APPLICATION_CREDENTIALS", self.key_file.display().to_string()),
        ]
    }

    fn keys(&self, prefix: &str) -> Vec<String> {
        let path = format!("/{BUCKET}?list-type=2&prefix={prefix}");
        let answer = request(self.address, "GET", &path, "", "");
        let (status, page) = answer.expect("the server answers");
        assert_eq!(status, 200, "{page}");
        texts(&page, "Key")
    }

    fn read(&self, key: &str) -> String {
        content(self.address, &format!("/{BUCKET}/{key}"), "")
    }
}
