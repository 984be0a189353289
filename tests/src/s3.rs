//! A server of S3 for tests: moto, in a process of its own, installed from PyPI once, into the
//! user's cache. It keeps what a commit rests on: of many puts of one name with `If-None-Match: *`
//! one is done, and so of the ends of uploads. (S3Mock 5.2.0 does several of them, and is of no use
//! here.) It does not look at signatures, and holds all in memory.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::http;
use crate::process::{Process, tail};
use crate::python::environment;
use crate::wait;

/// What is installed.
const REQUIREMENTS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/s3/requirements.txt"));

/// The one bucket that it has.
pub const BUCKET: &str = "logs";

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct S3 {
    address: SocketAddr,
    _process: Process,
}

impl S3 {
    /// Starts it with an empty bucket; its output goes to `dir`.
    ///
    /// # Panics
    ///
    /// When it cannot be installed, or does not answer in time.
    pub fn start(dir: &Path) -> Self {
        let address = http::free_address();
        let mut command = Command::new(environment("moto", REQUIREMENTS).join("moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]);
        let mut process = Process::start("moto", command, &dir.join("moto.out"));
        wait::until("the server of S3 to answer", Duration::from_secs(60), || {
            assert!(process.is_alive(), "moto ended:\n{}", tail(&process.output()));
            has_made_bucket(address).then_some(())
        });
        Self { address, _process: process }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, without a bucket.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The keys of all objects below a prefix.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let (mut keys, mut from) = (Vec::new(), String::new());
        loop {
            let path = format!("/{BUCKET}?list-type=2&prefix={prefix}{from}");
            let (status, page) = http::get(self.address, &path).expect("the server answers");
            assert_eq!(status, 200, "{page}");
            keys.extend(
                page.split("<Key>")
                    .skip(1)
                    .map(|rest| rest.split_once("</Key>").expect("XML that is whole").0.to_owned()),
            );
            if !page.contains("<IsTruncated>true") {
                return keys;
            }
            from = format!("&start-after={}", keys.last().expect("a page that has a next one"));
        }
    }

    /// The content of an object that is text.
    ///
    /// # Panics
    ///
    /// When it is not there.
    pub fn read(&self, key: &str) -> String {
        // A request without a signature may not read; what the signature
        // says is not looked at.
        let signature = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, \
                         SignedHeaders=host, Signature=0";
        let signed = [("Authorization", signature)];
        let path = format!("/{BUCKET}/{key}");
        let (head, body) = http::ask(self.address, &path, &signed).expect("the server answers");
        assert_eq!(head.split(' ').nth(1), Some("200"), "{key}: {body}");
        body
    }
}

/// Whether the bucket could be made.
fn has_made_bucket(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let request = format!(
        "PUT /{BUCKET} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    );
    let mut answer = String::new();
    let asked =
        stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
    asked.is_ok() && answer.split(' ').nth(1) == Some("200")
}
