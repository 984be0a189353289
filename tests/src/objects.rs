//! Servers of buckets for tests, each in a process of its own, installed from a registry once, into
//! the user's cache.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

pub use azurite::Azurite;
pub use gcs::Gcs;
pub use s3::S3;

use crate::process::{Process, tail};
use crate::wait;

mod azurite;
mod gcs;
mod s3;

/// The one bucket that each has.
pub const BUCKET: &str = "logs";

/// Longest time of an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running server with an empty bucket. Dropping it kills it.
pub trait Server: Sized {
    /// Starts it; its output goes to `dir`.
    ///
    /// # Panics
    /// When it cannot be installed, or does not answer in time.
    fn start(dir: &Path) -> Self;

    /// Where it listens.
    fn address(&self) -> SocketAddr;

    /// The store of a path in the bucket, as `url` has it.
    fn url(path: &str) -> String;

    /// Settings of a sink that is to reach it.
    fn settings(&self) -> String;

    /// The same as variables of the environment.
    fn variables(&self) -> Vec<(&'static str, String)>;

    /// The keys of all objects below a prefix.
    ///
    /// # Panics
    /// When it does not answer.
    fn keys(&self, prefix: &str) -> Vec<String>;

    /// The content of an object that is text.
    ///
    /// # Panics
    /// When it is not there.
    fn read(&self, key: &str) -> String;
}

/// Waits until a server that was started has made its bucket by this request.
fn until_made(process: &mut Process, address: SocketAddr, asked: (&str, &str, &str)) {
    let (method, path, body) = asked;
    wait::until("the server of a bucket to answer", Duration::from_secs(60), || {
        assert!(process.is_alive(), "the server ended:\n{}", tail(&process.output()));
        let (status, _) = request(address, method, path, "", body)?;
        matches!(status, 200 | 201).then_some(())
    });
}

/// Status and body of an answer; of HTTP/1.0, where it has no chunks.
fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let length = format!("Content-Length: {}\r\n", body.len());
    let head = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\n{length}{headers}\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// The content of an object at a path.
fn content(address: SocketAddr, path: &str, headers: &str) -> String {
    let (status, body) = request(address, "GET", path, headers, "").expect("the server answers");
    assert_eq!(status, 200, "{path}: {body}");
    body
}

/// The texts of all elements of this name.
fn texts(page: &str, element: &str) -> Vec<String> {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let rests = page.split(&open).skip(1);
    rests.map(|rest| rest.split_once(&close).expect("XML that is whole").0.to_owned()).collect()
}
