//! A real agent of Apache Flume 1.11, from its published jars.
//!
//! The class path is the one of the benchmarks. It is fetched by Maven once, into the user's cache.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;

use crate::http;
use crate::process::{Process, tail};
use crate::wait;

/// The jars of this file are fetched.
const POM: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/bench/peers/flume/pom.xml"));

/// Its log goes to standard error.
const LOG4J: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/bench/peers/flume/log4j2.xml"));

/// What Flume's monitoring shows: the counters of each component, as `CHANNEL.name`.
pub type Page = BTreeMap<String, BTreeMap<String, String>>;

/// The page at this address; `None` without an answer in time.
pub fn page(monitoring: SocketAddr) -> Option<Page> {
    let (status, body) = http::get(monitoring, "/metrics")?;
    // Jetty may send it in chunks, each with its length.
    let whole = match body.starts_with('{') {
        true => body,
        false => body.split("\r\n").skip(1).step_by(2).collect(),
    };
    serde_json::from_str(&whole).ok().filter(|_| status == 200)
}

/// A running agent, with Flume's HTTP monitoring. Dropping it kills it.
#[derive(Debug)]
pub struct Flume {
    process: Process,
    monitoring: SocketAddr,
}

impl Flume {
    /// Starts the agent `name` of this configuration and waits until its monitoring answers. All of
    /// its files are in `dir`.
    ///
    /// # Panics
    ///
    /// When the jars cannot be fetched, or the agent ends by itself or does not answer in time.
    pub fn start(name: &str, properties: &str, dir: &Path) -> Self {
        Self::start_by(java(dir), name, properties, dir)
    }

    /// The same in a virtual machine that [`java_with`] has made for this folder.
    ///
    /// # Panics
    ///
    /// As [`Flume::start`].
    pub fn start_by(mut java: Command, name: &str, properties: &str, dir: &Path) -> Self {
        let monitoring = http::free_address();
        let file = dir.join(format!("{name}.properties"));
        fs::write(&file, properties).expect("the test's own folder");
        fs::write(dir.join("log4j2.xml"), LOG4J).expect("the test's own folder");
        java.arg("-Dflume.monitoring.type=http");
        java.arg(format!("-Dflume.monitoring.port={}", monitoring.port()));
        java.args(["org.apache.flume.node.Application", "--no-reload-conf", "-n", name, "-f"]);
        java.arg(file);
        let process = Process::start("flume", java, &dir.join(format!("{name}.out")));
        let mut flume = Self { process, monitoring };
        wait::until("Flume to answer", Duration::from_secs(120), || {
            let Self { process, monitoring } = &mut flume;
            assert!(process.is_alive(), "Flume ended:\n{}", tail(&process.output()));
            http::get(*monitoring, "/metrics")
        });
        flume
    }

    /// Where its monitoring is: `/metrics` there.
    pub fn monitoring(&self) -> SocketAddr {
        self.monitoring
    }

    /// A counter of a component, such as `ChannelSize` of `CHANNEL.c`.
    pub fn counter(&self, component: &str, name: &str) -> Option<u64> {
        page(self.monitoring)?.get(component)?.get(name)?.parse().ok()
    }

    /// Kills it with -9.
    ///
    /// # Panics
    ///
    /// When it had ended by itself.
    pub fn kill(self) {
        self.process.kill();
    }

    /// Stops it in an orderly way (SIGTERM).
    ///
    /// # Panics
    ///
    /// When it has ended by itself, or takes longer than 30 s.
    pub fn stop(mut self) {
        assert!(self.process.is_alive(), "Flume ended:\n{}", tail(&self.process.output()));
        self.process.signal(Signal::TERM);
        self.process.wait(Duration::from_secs(30));
    }

    /// All that it has printed.
    pub fn output(&self) -> String {
        self.process.output()
    }
}

/// A virtual machine with Flume's class path, its log configuration in `dir`. Most of what these
/// live for is to be compiled; the second compiler is not worth its time.
pub fn java(dir: &Path) -> Command {
    java_of(jars(), dir)
}

/// The same with a class path of its own: the dependencies of `pom`, fetched once and kept as
/// `name`.
///
/// # Panics
///
/// When Maven cannot fetch them.
pub fn java_with(name: &str, pom: &str, dir: &Path) -> Command {
    java_of(&jars_of(name, pom), dir)
}

fn java_of(jars: &Path, dir: &Path) -> Command {
    let mut java = Command::new("java");
    // Flume's sources and sinks write text in the encoding of the host, whatever this one has.
    java.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8"])
        .args(
            ["java.lang", "java.nio", "sun.nio.ch"]
                .map(|package| format!("--add-opens=java.base/{package}=ALL-UNNAMED")),
        )
        .arg(format!("-Dlog4j2.configurationFile={}/log4j2.xml", dir.display()))
        .arg("-cp")
        .arg(format!("{}/*", jars.display()));
    java
}

/// The folder with the jars, complete.
///
/// # Panics
///
/// When Maven cannot fetch them.
pub fn jars() -> &'static Path {
    static JARS: OnceLock<PathBuf> = OnceLock::new();
    JARS.get_or_init(|| jars_of("flume-1.11.0", POM))
}

/// The folder with the dependencies of `pom`, fetched unless it is in the cache as `name`.
pub(crate) fn jars_of(name: &str, pom: &str) -> PathBuf {
    let _others_wait = lock(name);
    let ready = cache().join(name);
    if fs::read_to_string(ready.join("pom.xml")).is_ok_and(|fetched| fetched == pom) {
        return ready.join("lib");
    }
    // It takes its name when it is complete: a fetch that was cut short is never mistaken.
    let unfinished = tempfile::tempdir_in(cache()).expect("the user's cache");
    let file = unfinished.path().join("pom.xml");
    fs::write(&file, pom).expect("the user's cache");
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "-f"]).arg(&file).args([
        "dependency:copy-dependencies",
        "-DoutputDirectory=lib",
        "-DincludeScope=runtime",
    ]);
    let done = maven.output().expect("mvn runs");
    assert!(done.status.success(), "mvn: {}", String::from_utf8_lossy(&done.stdout));
    // One of another version of the file.
    let _none = fs::remove_dir_all(&ready);
    fs::rename(unfinished.keep(), &ready).expect("the user's cache");
    ready.join("lib")
}

/// Where what is fetched stays.
pub fn cache() -> PathBuf {
    let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    named.or_else(home).unwrap_or_else(std::env::temp_dir).join("aqueduct")
}

/// Locks the part `name` of the cache until the file is dropped: tests of this process and of
/// others ask for it at the same time, and one of them fills it.
pub fn lock(name: &str) -> File {
    fs::create_dir_all(cache()).expect("the user's cache");
    let file = File::create(cache().join(format!("{name}.lock"))).expect("the user's cache");
    file.lock().expect("the file system of the user's cache has locks");
    file
}
