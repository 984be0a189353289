//! The REST catalog of Iceberg's own tests, from its published jars, with SQLite; a proxy that
//! loses its answers; and Iceberg's `HadoopCatalog`, which needs no server.
//!
//! Maven downloads the jars once to the user's cache.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::flume::jars_of;
use crate::http;
use crate::process::{Process, tail};
use crate::python::environment;
use crate::wait;

/// The jars to download.
const POM: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/iceberg/pom.xml"));
/// A program with Iceberg's `HadoopCatalog`.
const TABLES: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/iceberg/Tables.java"));
/// Python packages of PyIceberg.
const REQUIREMENTS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/iceberg/requirements.txt"));

const LIMIT: Duration = Duration::from_secs(60);

/// A running or killed catalog. Killed on drop.
#[derive(Debug)]
pub struct Catalog {
    address: SocketAddr,
    dir: PathBuf,
    process: Option<Process>,
}

impl Catalog {
    /// Starts a catalog with all of its files in `dir`, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When the jars cannot be downloaded, or it does not answer in time.
    #[must_use]
    pub fn start(dir: &Path) -> Self {
        let dir = dir.join("catalog");
        fs::create_dir(&dir).expect("the test's own folder");
        let mut catalog = Self { address: http::free_address(), dir, process: None };
        catalog.revive();
        catalog
    }

    /// Restarts it after [`Catalog::kill`], with the same files at the same address.
    ///
    /// # Panics
    ///
    /// When it is running, or does not answer in time.
    pub fn revive(&mut self) {
        assert!(self.process.is_none(), "the catalog runs already");
        let jars = jars();
        let mut java = Command::new("java");
        java.current_dir(&self.dir).args(["-Xmx384m", "-XX:TieredStopAtLevel=1", "-cp"]);
        java.arg(format!("{}/*", jars.display()));
        java.arg("org.apache.iceberg.rest.RESTCatalogServer");
        java.env("CATALOG_WAREHOUSE", format!("file://{}/warehouse", self.dir.display()));
        java.env("CATALOG_URI", format!("jdbc:sqlite:{}/tables.db", self.dir.display()));
        java.env("CATALOG_REST_PORT", self.address.port().to_string());
        let mut process = Process::start("catalog", java, &self.dir.join("out"));
        wait::until("the catalog to answer", LIMIT, || {
            assert!(process.is_alive(), "the catalog ended:\n{}", tail(&process.output()));
            http::get(self.address, "/v1/config").filter(|(code, _)| *code == 200)
        });
        self.process = Some(process);
    }

    /// Kills it with -9.
    ///
    /// # Panics
    ///
    /// When it is not running.
    pub fn kill(&mut self) {
        self.process.take().expect("a running catalog").kill();
    }

    /// Returns its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Returns the folder of the jars.
fn jars() -> PathBuf {
    jars_of("iceberg-catalog-1.11.0", POM)
}

/// Runs `deploy/iceberg/Tables.java`, which uses Iceberg's `HadoopCatalog`. Returns its output.
///
/// # Panics
///
/// When it fails.
#[must_use]
pub fn hadoop_catalog(dir: &Path, arguments: &[&str]) -> String {
    let source = dir.join("Tables.java");
    fs::write(&source, TABLES).expect("the test's own folder");
    let mut java = Command::new("java");
    java.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", &format!("{}/*", jars().display())]);
    let output = java.arg(source).args(arguments).output().expect("Java runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Returns Python with PyIceberg.
///
/// # Panics
///
/// When it cannot be installed.
#[must_use]
pub fn python() -> Command {
    Command::new(environment("pyiceberg-0.12.0", REQUIREMENTS).join("python"))
}

/// A proxy in front of a catalog that loses the answers to some commits.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    lost: Arc<AtomicUsize>,
}

impl Proxy {
    /// Starts a proxy. It loses the answer to each commit whose number is divisible by `each`.
    ///
    /// # Panics
    ///
    /// When it cannot listen.
    #[must_use]
    pub fn start(to: SocketAddr, each: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let (lost, commits) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counted = lost.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (lost, commits) = (counted.clone(), commits.clone());
                // An error ends the connection, as a failing proxy does.
                thread::spawn(move || drop(relay(client, to, each, &commits, &lost)));
            }
        });
        Self { address, lost }
    }

    /// Returns its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of lost answers.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Relays one request and its answer, unless it is to be lost.
fn relay(
    mut client: TcpStream,
    to: SocketAddr,
    each: usize,
    commits: &AtomicUsize,
    lost: &AtomicUsize,
) -> std::io::Result<()> {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|it| it.trim().parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    client.read_exact(&mut body)?;
    let is_commit = head.starts_with("post") && head.contains("/tables/");
    request.truncate(request.len() - 2);
    request.extend_from_slice(b"Connection: close\r\n\r\n");
    request.extend_from_slice(&body);
    let mut server = TcpStream::connect(to)?;
    server.write_all(&request)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    if is_commit && (commits.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(each) {
        lost.fetch_add(1, Ordering::Relaxed);
        return Ok(());
    }
    client.write_all(&answer)
}
