//! The smallest site: a folder of logs, an edge that tails it, and a collector with a `file://`
//! store or a store in HDFS.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::agent::{Agent, CollectorConfig, ROLL, program};
use crate::hdfs::Hdfs;
use crate::http;
use crate::reconcile;
use crate::store::visible;
use crate::wait;

/// One temporary folder for everything; the agents are started separately.
#[derive(Debug)]
pub struct Site {
    dir: TempDir,
    listen: SocketAddr,
    /// The HDFS of the store, and the directory there; `None` for a store on the disk.
    hdfs: Option<(&'static Hdfs, String)>,
    /// Escapes in the path of each file, below the store's directory.
    escapes: &'static str,
    sink_settings: String,
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Site {
    /// Creates a site with an empty folder of logs.
    ///
    /// # Panics
    ///
    /// When the temporary folder cannot be created.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(dir.path().join("logs")).expect("the test's own folder");
        let (listen, sink_settings) = (http::free_address(), ROLL.to_owned());
        Self { dir, listen, hdfs: None, escapes: "%Y-%m-%d", sink_settings }
    }

    /// Same with its store below the directory `root` of an HDFS.
    ///
    /// # Panics
    ///
    /// When the temporary folder cannot be created.
    pub fn in_hdfs(hdfs: &'static Hdfs, root: &str) -> Self {
        Self { hdfs: Some((hdfs, root.to_owned())), ..Self::new() }
    }

    /// Adds these lines to the table of the sink, and stores files below these escapes.
    #[must_use]
    pub fn with_sink_settings(self, lines: &str, escapes: &'static str) -> Self {
        Self { sink_settings: lines.to_owned(), escapes, ..self }
    }

    /// Moves the store to another directory of its HDFS, from the next [`Site::collector`] on.
    pub fn stores_in(&mut self, root: &str) {
        if let Some((_, own)) = &mut self.hdfs {
            root.clone_into(own);
        }
    }

    /// Returns the `url` of its sink.
    pub fn store(&self) -> String {
        let escapes = self.escapes;
        match &self.hdfs {
            Some((hdfs, root)) => format!("{}{root}/{escapes}", hdfs.url()),
            None => format!("file://{}/{escapes}", self.path().join("store").display()),
        }
    }

    /// Returns the configuration folder of its HDFS.
    pub fn conf_dir(&self) -> Option<PathBuf> {
        self.hdfs.as_ref().map(|(hdfs, _)| hdfs.conf_dir())
    }

    /// Returns the folder of everything.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the folder that the edge tails, recursively: each file that ends with `.log`.
    pub fn logs(&self) -> PathBuf {
        self.path().join("logs")
    }

    /// Returns the address of its collector.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    fn edge_arguments(&self) -> [String; 6] {
        let path = |name: &str| self.path().join(name).display().to_string();
        let (tail, data) = (path("logs/**/*.log"), path("edge"));
        let to = self.listen.to_string();
        ["--tail".into(), tail, "--to".into(), to, "--data-dir".into(), data]
    }

    /// Returns the edge, with the flags of the common case only.
    pub fn edge(&self) -> Agent {
        let arguments = self.edge_arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Agent::new("aqueduct-edge", &arguments, &self.path().join("edge.out"))
    }

    /// Returns the command of that edge, for a test that needs its output.
    pub fn edge_command(&self) -> Command {
        let mut command = program("aqueduct-edge");
        command.args(self.edge_arguments());
        command
    }

    /// Returns the configuration that the edge prints with `--print-config`.
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

    /// Returns the collector, on loopback.
    pub fn collector(&self) -> Agent {
        self.collector_on("127.0.0.1")
    }

    /// Returns the collector, listening on an address of `host`.
    pub fn collector_on(&self, host: &str) -> Agent {
        let listen = format!("{host}:{}", self.listen.port());
        let config = CollectorConfig::new(&listen, &self.store(), &self.path().join("collector"));
        let agent = config.with_sink_settings(&self.sink_settings).agent(self.path());
        match self.conf_dir() {
            Some(conf_dir) => agent.with_conf_dir(conf_dir),
            None => agent,
        }
    }

    /// Makes `aqueduct verify` prove that everything that the stopped edge has accepted is stored
    /// once.
    ///
    /// # Panics
    ///
    /// When it does not prove it.
    pub fn prove(&self) {
        let channels = [self.path().join("edge/channels/main")];
        reconcile::prove(&self.store(), self.conf_dir().as_deref(), &channels);
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

    /// Returns the content of all logs.
    pub fn logged(&self) -> Vec<u8> {
        read_below(&self.logs())
    }

    /// Waits until readers of the store see that many lines.
    ///
    /// # Panics
    ///
    /// After a minute.
    pub fn wait_until_stored(&self, lines: usize) {
        wait::until(&format!("{lines} lines in the store"), Duration::from_secs(60), || {
            let stored = self.stored();
            (stored.iter().filter(|&&byte| byte == b'\n').count() >= lines).then_some(())
        });
    }

    /// Returns the bytes that readers of the store see: of the files in its daily folders.
    ///
    /// # Panics
    ///
    /// When a listed file cannot be read.
    pub fn stored(&self) -> Vec<u8> {
        if let Some((hdfs, root)) = &self.hdfs {
            return stored_in(hdfs, root);
        }
        visible(&self.path().join("store"))
    }
}

/// Returns the bytes of the visible files below `root`.
///
/// # Panics
///
/// When a listed file cannot be read.
pub fn stored_in(hdfs: &Hdfs, root: &str) -> Vec<u8> {
    let names = |path: &str| hdfs.names(path).expect("the NameNode answers");
    let days = names(root).into_iter().filter(|(name, ..)| !name.starts_with(['_', '.']));
    let days = days.map(|(day, ..)| format!("{root}/{day}"));
    let files = days.flat_map(|day| {
        let files = names(&day).into_iter();
        files.map(move |(name, ..)| format!("{day}/{name}"))
    });
    let read = |path: String| hdfs.content(&path).unwrap_or_else(|| panic!("{path} is read"));
    files.flat_map(|path| read(path).into_bytes()).collect()
}

/// Returns the bytes of all files below `folder`.
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
