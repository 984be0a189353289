//! A real agent of Apache Flume 1.11, from its published jars.
//!
//! The class path is that of the benchmarks. Maven downloads it once to the user's cache.

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

/// The file that lists the jars to download.
const POM: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/bench/peers/flume/pom.xml"));

/// Logs to standard error.
const LOG4J: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/bench/peers/flume/log4j2.xml"));

/// Flume's monitoring page: the counters of each component, as `CHANNEL.name`.
pub type Page = BTreeMap<String, BTreeMap<String, String>>;

/// Reads the page at this address; `None` after a timeout.
pub fn page(monitoring: SocketAddr) -> Option<Page> {
    let (status, body) = http::get(monitoring, "/metrics")?;
    // Jetty may send it in chunks, each with its length.
    let whole = match body.starts_with('{') {
        true => body,
        false => body.split("\r\n").skip(1).step_by(2).collect(),
    };
    serde_json::from_str(&whole).ok().filter(|_| status == 200)
}

/// A running agent with Flume's HTTP monitoring. Killed on drop.
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
    /// When the jars cannot be downloaded, or the agent exits or does not answer in time.
    pub fn start(name: &str, properties: &str, dir: &Path) -> Self {
        Self::start_by(java(dir), name, properties, dir)
    }

    /// Same in a virtual machine from [`java_with`] for this folder.
    ///
    /// # Panics
    ///
    /// Same as [`Flume::start`].
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

    /// Returns the address of its monitoring, at `/metrics`.
    pub fn monitoring(&self) -> SocketAddr {
        self.monitoring
    }

    /// Returns a counter of a component, such as `ChannelSize` of `CHANNEL.c`.
    pub fn counter(&self, component: &str, name: &str) -> Option<u64> {
        page(self.monitoring)?.get(component)?.get(name)?.parse().ok()
    }

    /// Kills it with -9.
    ///
    /// # Panics
    ///
    /// When it has already exited.
    pub fn kill(self) {
        self.process.kill();
    }

    /// Stops it with SIGTERM.
    ///
    /// # Panics
    ///
    /// When it has already exited, or takes longer than 30 s.
    pub fn stop(mut self) {
        assert!(self.process.is_alive(), "Flume ended:\n{}", tail(&self.process.output()));
        self.process.signal(Signal::TERM);
        self.process.wait(Duration::from_secs(30));
    }

    /// Returns its output.
    pub fn output(&self) -> String {
        self.process.output()
    }
}

/// Returns a Java command with Flume's class path, and its log configuration in `dir`. These
/// virtual machines are short-lived, so the second compiler is disabled.
pub fn java(dir: &Path) -> Command {
    java_of(jars(), dir)
}

/// Same with the dependencies of `pom` as the class path, downloaded once and cached as `name`.
///
/// # Panics
///
/// When Maven cannot download them.
pub fn java_with(name: &str, pom: &str, dir: &Path) -> Command {
    java_of(&jars_of(name, pom), dir)
}

fn java_of(jars: &Path, dir: &Path) -> Command {
    let mut java = Command::new("java");
    // Flume's sources and sinks use the default encoding of the virtual machine, so set it.
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

/// Returns the complete folder of the jars.
///
/// # Panics
///
/// When Maven cannot download them.
pub fn jars() -> &'static Path {
    static JARS: OnceLock<PathBuf> = OnceLock::new();
    JARS.get_or_init(|| jars_of("flume-1.11.0", POM))
}

/// Builds the bridge for Flume's Java classes into `dir`.
///
/// # Panics
///
/// When `deploy/flume-jvm/build` fails.
pub fn bridge(dir: &Path) -> PathBuf {
    let jar = dir.join("aqueduct-flume.jar");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/flume-jvm/build");
    run(Command::new(script).arg(&jar).arg(jars()));
    jar
}

/// Compiles Java classes against Flume into the folder `classes`, and returns it.
///
/// # Panics
///
/// When a class does not compile.
pub fn compiled(classes: &Path, names: &[&str], sources: &[&str]) -> PathBuf {
    fs::create_dir_all(classes).expect("the test's own folder");
    let mut javac = Command::new("javac");
    javac.arg("-cp").arg(format!("{}/*", jars().display())).args(["-proc:none", "-d"]);
    javac.arg(classes);
    for (name, source) in names.iter().zip(sources) {
        let file = classes.join(format!("{name}.java"));
        fs::write(&file, source).expect("the test's own folder");
        javac.arg(file);
    }
    run(&mut javac);
    classes.to_owned()
}

fn run(command: &mut Command) {
    let done = command.output().expect("the program starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Returns the folder of the dependencies of `pom`, downloaded unless cached as `name`.
///
/// # Panics
///
/// When Maven cannot download them.
pub fn jars_of(name: &str, pom: &str) -> PathBuf {
    downloaded(name, ("pom.xml", pom), &["copy-dependencies", "-DincludeScope=runtime"])
}

/// Returns the folder of an artifact, downloaded unless cached as `name`. Its parents need not be
/// available.
pub(crate) fn artifact(name: &str, coordinates: &str) -> PathBuf {
    downloaded(name, ("artifact", coordinates), &["copy", &format!("-Dartifact={coordinates}")])
}

/// Returns the folder that a goal of the plugin `dependency` of Maven fills, in a project with this
/// file: its name and text, which identify the download.
fn downloaded(name: &str, (file, text): (&str, &str), goal: &[&str]) -> PathBuf {
    let _others_wait = lock(name);
    let ready = cache().join(name);
    if fs::read_to_string(ready.join(file)).is_ok_and(|fetched| fetched == text) {
        return ready.join("lib");
    }
    // Rename the folder when it is complete, so that an interrupted download is never used.
    let unfinished = tempfile::tempdir_in(cache()).expect("the user's cache");
    fs::write(unfinished.path().join(file), text).expect("the user's cache");
    let mut maven = Command::new("mvn");
    maven.current_dir(unfinished.path()).args(["-q", "-B", "-DoutputDirectory=lib"]);
    maven.arg(format!("dependency:{}", goal[0])).args(&goal[1..]);
    let done = maven.output().expect("mvn runs");
    assert!(done.status.success(), "mvn: {}", String::from_utf8_lossy(&done.stdout));
    // A folder for another version of the file.
    let _none = fs::remove_dir_all(&ready);
    fs::rename(unfinished.keep(), &ready).expect("the user's cache");
    ready.join("lib")
}

/// Returns the folder for downloads.
pub fn cache() -> PathBuf {
    let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    named.or_else(home).unwrap_or_else(std::env::temp_dir).join("aqueduct")
}

/// Locks the part `name` of the cache until the file is dropped, because parallel tests and
/// processes may request it, and only one must fill it.
pub fn lock(name: &str) -> File {
    fs::create_dir_all(cache()).expect("the user's cache");
    let file = File::create(cache().join(format!("{name}.lock"))).expect("the user's cache");
    file.lock().expect("the file system of the user's cache has locks");
    file
}
