//! The smallest site: a folder of logs, an edge that tails it, a collector with a `file://` store.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::agent::{Agent, CollectorConfig, program};
use crate::http;
use crate::reconcile;
use crate::wait;

/// One temporary folder for all of it; nothing runs until its agents are started.
#[derive(Debug)]
pub struct Site {
    dir: TempDir,
    listen: SocketAddr,
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Site {
    /// With an empty folder of logs.
    ///
    /// # Panics
    ///
    /// When there is no room for a temporary folder.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(dir.path().join("logs")).expect("the test's own folder");
        Self { dir, listen: http::free_address() }
    }

    /// The folder of everything.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The folder that the edge tails, with all below it: each file that ends with `.log`.
    pub fn logs(&self) -> PathBuf {
        self.path().join("logs")
    }

    /// Where the collector listens.
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    fn edge_arguments(&self) -> [String; 6] {
        let path = |name: &str| self.path().join(name).display().to_string();
        let (tail, data) = (path("logs/**/*.log"), path("edge"));
        let to = self.listen.to_string();
        ["--tail".into(), tail, "--to".into(), to, "--data-dir".into(), data]
    }

    /// The edge, with no more than the flags of the common case.
    pub fn edge(&self) -> Agent {
        let arguments = self.edge_arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Agent::new("aqueduct-edge", &arguments, &self.path().join("edge.out"))
    }

    /// The command of that edge, for a test that wants its output.
    pub fn edge_command(&self) -> Command {
        let mut command = program("aqueduct-edge");
        command.args(self.edge_arguments());
        command
    }

    /// What that edge prints with `--print-config`.
    ///
    /// # Panics
    ///
    /// When it prints none.
    pub fn printed_config(&self) -> String {
        let output = self.edge_command().arg("--print-config").output();
        let output = output.expect("the program starts");
        assert!(output.status.success(), "--print-config: {output:?}");
        String::from_utf8(output.stdout).expect("a configuration is UTF-8")
    }

    /// The collector, on loopback.
    pub fn collector(&self) -> Agent {
        self.collector_on("127.0.0.1")
    }

    /// The collector, listening on an address of `host`.
    pub fn collector_on(&self, host: &str) -> Agent {
        let store = format!("file://{}", self.path().join("store/%Y-%m-%d").display());
        let listen = format!("{host}:{}", self.listen.port());
        CollectorConfig::new(&listen, &store, &self.path().join("collector")).agent(self.path())
    }

    /// Has `aqueduct verify` prove that all is stored once that the edge, stopped now, accepted.
    ///
    /// # Panics
    ///
    /// When it does not prove it.
    pub fn prove(&self) {
        let store = format!("file://{}", self.path().join("store/%Y-%m-%d").display());
        reconcile::prove(&store, None, &[self.path().join("edge/channels/main")]);
    }

    /// Writes `lines` numbered lines to a log of that name.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn log(&self, name: &str, lines: usize) {
        let text: String = (0..lines).map(|number| format!("{name} line {number}\n")).collect();
        fs::write(self.logs().join(format!("{name}.log")), text).expect("a log is written");
    }

    /// All bytes of all logs.
    pub fn logged(&self) -> Vec<u8> {
        read_below(&self.logs())
    }

    /// Waits until readers of the store see that many lines.
    ///
    /// # Panics
    ///
    /// When they do not within a minute.
    pub fn wait_until_stored(&self, lines: usize) {
        wait::until(&format!("{lines} lines in the store"), Duration::from_secs(60), || {
            let stored = self.stored();
            (stored.iter().filter(|&&byte| byte == b'\n').count() >= lines).then_some(())
        });
    }

    /// All bytes that readers of the store see: of the files in its folders of days.
    pub fn stored(&self) -> Vec<u8> {
        let Ok(entries) = fs::read_dir(self.path().join("store")) else { return Vec::new() };
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let days = paths.filter(|path| !path.ends_with("_aqueduct"));
        days.flat_map(|day| read_below(&day)).collect()
    }
}

/// All bytes of all files below `folder`.
///
/// # Panics
///
/// When one of them cannot be read.
pub fn read_below(folder: &Path) -> Vec<u8> {
    let entries = fs::read_dir(folder).expect("a folder that exists");
    let mut bytes = Vec::new();
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            bytes.extend(read_below(&path));
        } else {
            bytes.extend(fs::read(&path).expect("a file can be read"));
        }
    }
    bytes
}
