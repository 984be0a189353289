//! Bucket servers for tests, each in a separate process, installed once from a registry into the
//! user's cache.

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

/// The only bucket of each server.
pub const BUCKET: &str = "logs";

/// Timeout of a response.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running server with an empty bucket. Killed on drop.
pub trait Server: Sized {
    /// Starts it; its output goes to `dir`.
    ///
    /// # Panics
    /// When it cannot be installed, or does not answer in time.
    fn start(dir: &Path) -> Self;

    /// Returns its address.
    fn address(&self) -> SocketAddr;

    /// Returns the `url` of a path in the bucket.
    fn url(path: &str) -> String;

    /// Returns the settings of a sink that uses it.
    fn settings(&self) -> String;

    /// Same as environment variables.
    fn variables(&self) -> Vec<(&'static str, String)>;

    /// Returns the keys of all objects below a prefix.
    ///
    /// # Panics
    /// When it does not answer.
    fn keys(&self, prefix: &str) -> Vec<String>;

    /// Returns the content of a text object.
    ///
    /// # Panics
    /// When it does not exist.
    fn read(&self, key: &str) -> String;
}

/// Waits until a started server has created its bucket with this request.
fn until_made(process: &mut Process, address: SocketAddr, asked: (&str, &str, &str)) {
    let (method, path, body) = asked;
    wait::until("the server of a bucket to answer", Duration::from_secs(60), || {
        assert!(process.is_alive(), "the server ended:\n{}", tail(&process.output()));
        let (status, _) = request(address, method, path, "", body)?;
        matches!(status, 200 | 201).then_some(())
    });
}

/// Returns status and body of a response; uses HTTP/1.0 to avoid chunks.
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

/// Returns the content of an object at a path.
fn content(address: SocketAddr, path: &str, headers: &str) -> String {
    let (status, body) = request(address, "GET", path, headers, "").expect("the server answers");
    assert_eq!(status, 200, "{path}: {body}");
    body
}

/// Returns the texts of all elements of this name.
fn texts(page: &str, element: &str) -> Vec<String> {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let rests = page.split(&open).skip(1);
    rests.map(|rest| rest.split_once(&close).expect("XML that is whole").0.to_owned()).collect()
}
