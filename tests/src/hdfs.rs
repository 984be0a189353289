//! A real HDFS for tests, read back with Hadoop's own shell.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;

use crate::http;
use crate::kdc::Kdc;

/// A NameNode with its DataNodes, started by `deploy/hadoop/hdfs`.
#[derive(Debug)]
pub struct Hdfs {
    dir: PathBuf,
    url: String,
    /// Number of DataNodes, and replicas of each block; 1 by default.
    nodes: (u32, u32),
    /// The script that stops the daemons when its standard input closes: by `stop`, by a drop, or
    /// at the end of this process, however sudden.
    server: Option<(Child, ChildStdin)>,
}

impl Hdfs {
    /// Returns the shared HDFS, which `tests/run` has started.
    ///
    /// # Panics
    ///
    /// Without `AQUEDUCT_TEST_HDFS` and `HADOOP_CONF_DIR`.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Hdfs> = OnceLock::new();
        SHARED.get_or_init(|| {
            let var = |name| std::env::var(name).unwrap_or_else(|e| panic!("{name}: {e}"));
            let conf = PathBuf::from(var("HADOOP_CONF_DIR"));
            let dir = conf.parent().expect("a folder with `conf` in it").to_owned();
            Self { dir, url: var("AQUEDUCT_TEST_HDFS"), nodes: (1, 1), server: None }
        })
    }

    /// Creates a separate HDFS for a test that stops and starts it: chooses ports, and starts
    /// nothing yet.
    ///
    /// # Panics
    ///
    /// When its folder is not writable.
    pub fn configured(dir: &Path) -> Self {
        Self::configured_with(dir, &[])
    }

    /// Same with options: `--kerberos`, `--ha`, `--httpfs`, `--federation`, `--permissions`,
    /// `--stale`.
    ///
    /// # Panics
    ///
    /// When its folder is not writable.
    pub fn configured_with(dir: &Path, options: &[&str]) -> Self {
        let output = script().arg("configure").arg(dir).args(options).output().expect("bash runs");
        let url = text(&checked(output, "configure HDFS"));
        Self { dir: dir.to_owned(), url: url.trim().to_owned(), nodes: (1, 1), server: None }
    }

    /// Sets the number of DataNodes, and of replicas of each block.
    pub fn with_datanodes(mut self, datanodes: u32, copies: u32) -> Self {
        self.nodes = (datanodes, copies);
        self
    }

    /// Starts or restarts it at the same address with the same files; waits until it is writable.
    ///
    /// # Panics
    ///
    /// When it is already running or does not start.
    pub fn start(&mut self) {
        assert!(self.server.is_none(), "HDFS runs already");
        let mut command = self.command("serve");
        command.arg(self.nodes.0.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("bash runs");
        let stdin = child.stdin.take().expect("standard input is a pipe");
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let mut line = String::new();
        let _length = BufReader::new(stdout).read_line(&mut line).expect("a pipe can be read");
        assert_eq!(line.trim(), self.url, "HDFS did not start; see {}/logs", self.dir.display());
        self.server = Some((child, stdin));
    }

    /// Stops NameNode and DataNodes, and waits for their end.
    ///
    /// # Panics
    ///
    /// When it is not running, or was not started by this process.
    pub fn stop(&mut self) {
        let (mut child, stdin) = self.server.take().expect("an HDFS that was started here");
        drop(stdin);
        let status = child.wait().expect("a child can be waited for");
        assert!(status.success(), "stopping HDFS ended with {status}");
    }

    /// Kills one daemon with -9: `namenode`, `datanode1`, `datanode2`, `router` …
    ///
    /// # Panics
    ///
    /// When it is not running.
    pub fn kill(&self, daemon: &str) {
        let output = self.command("kill").arg(daemon).output().expect("bash runs");
        checked(output, &format!("kill {daemon}"));
    }

    /// Restarts a killed daemon, and waits until HDFS is writable.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn revive(&self, daemon: &str) {
        self.revive_with(daemon, &[]);
    }

    /// Same with settings of a DataNode, as `-Dname=value`; or starts a new DataNode.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn revive_with(&self, daemon: &str, settings: &[&str]) {
        let mut command = self.command("revive");
        command.arg(daemon).args(settings);
        // No pipes: the daemon would inherit them and keep them open.
        let status = command.stdout(Stdio::null()).status().expect("bash runs");
        assert!(status.success(), "revive {daemon}: {status}; see {}/logs", self.dir.display());
    }

    /// Suspends one daemon (SIGSTOP): it accepts connections but never answers.
    ///
    /// # Panics
    ///
    /// When it is not running.
    pub fn freeze(&self, daemon: &str) {
        let output = self.command("freeze").arg(daemon).output().expect("bash runs");
        checked(output, &format!("freeze {daemon}"));
    }

    /// Resumes a suspended daemon.
    ///
    /// # Panics
    ///
    /// When it is not running.
    pub fn thaw(&self, daemon: &str) {
        let output = self.command("thaw").arg(daemon).output().expect("bash runs");
        checked(output, &format!("thaw {daemon}"));
    }

    /// Runs `dfsadmin`, as in `admin(&["-safemode", "enter"])`; returns its output.
    ///
    /// # Panics
    ///
    /// When it fails, with its message.
    pub fn admin(&self, arguments: &[&str]) -> String {
        text(&self.java("org.apache.hadoop.hdfs.tools.DFSAdmin", arguments))
    }

    /// Makes the standby NameNode active, and waits until HDFS is writable.
    ///
    /// # Panics
    ///
    /// When it does not become active.
    pub fn activate(&self, daemon: &str) {
        let output = self.command("activate").arg(daemon).output().expect("bash runs");
        checked(output, &format!("activate {daemon}"));
    }

    /// Returns its KDC, with Kerberos.
    pub fn kdc(&self) -> Kdc {
        Kdc::of(self.dir.join("kdc"))
    }

    /// Runs another Hadoop class, and returns its output.
    ///
    /// # Panics
    ///
    /// When it fails, with its message.
    pub fn java(&self, class: &str, arguments: &[&str]) -> Vec<u8> {
        let mut command = self.command("java");
        let output = command.arg(class).args(arguments).output();
        checked(output.expect("bash runs"), &format!("{class} {arguments:?}"))
    }

    fn command(&self, action: &str) -> Command {
        let mut command = script();
        command.arg(action).arg(&self.dir).env("AQUEDUCT_REPLICATION", self.nodes.1.to_string());
        command
    }

    /// Returns `hdfs://host:port`, without a path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns `host:port` of the NameNode's web server, which serves WebHDFS.
    ///
    /// # Panics
    ///
    /// When its port is not yet chosen.
    pub fn web_address(&self) -> SocketAddr {
        self.address_of("http")
    }

    /// Returns `host:port` of the NameNode.
    ///
    /// # Panics
    ///
    /// When its port is not yet chosen.
    pub fn address(&self) -> SocketAddr {
        self.address_of("rpc")
    }

    /// Returns the address of HttpFS.
    ///
    /// # Panics
    ///
    /// When its port is not yet chosen.
    pub fn httpfs_address(&self) -> SocketAddr {
        self.address_of("httpfs")
    }

    fn address_of(&self, name: &str) -> SocketAddr {
        let ports = std::fs::read_to_string(self.dir.join("ports")).expect("ports were chosen");
        let port = ports.lines().find_map(|line| line.split_once('=').filter(|it| it.0 == name));
        let port = port.and_then(|(_, port)| port.parse().ok()).expect("a port of that name");
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// Returns the folder for `HADOOP_CONF_DIR`.
    pub fn conf_dir(&self) -> PathBuf {
        self.dir.join("conf")
    }

    /// Runs Hadoop's file system shell, as in `fs(&["-ls", "-R", "/"])`, and returns its output.
    ///
    /// # Panics
    ///
    /// When the shell fails, with its message.
    pub fn fs(&self, arguments: &[&str]) -> Vec<u8> {
        checked(self.shell(arguments), &format!("hdfs fs {arguments:?}"))
    }

    /// Same for files that may disappear; `None` if one of them no longer exists.
    ///
    /// # Panics
    ///
    /// When the shell fails for another reason, with its message.
    pub fn shown(&self, arguments: &[&str]) -> Option<Vec<u8>> {
        let output = self.shell(arguments);
        let is_gone = !output.status.success()
            && ["No such file", "FileNotFound", "does not exist"]
                .iter()
                .any(|said| text(&output.stderr).contains(said));
        (!is_gone).then(|| checked(output, &format!("hdfs fs {arguments:?}")))
    }

    fn shell(&self, arguments: &[&str]) -> Output {
        let output = script().arg("fs").arg(&self.dir).args(arguments).output();
        output.expect("bash runs")
    }

    /// Same with a trash: `-rm` moves files to [`Hdfs::trash`].
    ///
    /// # Panics
    ///
    /// When the shell fails, with its message.
    pub fn fs_with_trash(&self, arguments: &[&str]) {
        self.fs(&[&["-Dfs.trash.interval=60"], arguments].concat());
    }

    /// Returns where the shell's trash keeps files removed from `path`.
    ///
    /// # Panics
    ///
    /// When the user of this process has no name.
    pub fn trash(&self, path: &str) -> String {
        let user = std::env::var("HADOOP_USER_NAME").unwrap_or_else(|_| {
            let output = Command::new("id").arg("-un").output().expect("id runs");
            text(&checked(output, "id -un")).trim().to_owned()
        });
        format!("/user/{user}/.Trash/Current{path}")
    }

    /// Lists a directory in one step of the NameNode: names, whether each is a directory, and
    /// sizes. Empty if it does not exist. `None` if the NameNode does not answer.
    ///
    /// # Panics
    ///
    /// When its response is not a listing.
    pub fn names(&self, directory: &str) -> Option<Vec<(String, bool, u64)>> {
        let path = format!("/webhdfs/v1{directory}?op=LISTSTATUS");
        let (status, body) = http::get_from_java(self.web_address(), &path)?;
        if status != 200 {
            return Some(Vec::new());
        }
        let json: serde_json::Value = serde_json::from_str(&body).expect("a listing is JSON");
        let files = json["FileStatuses"]["FileStatus"].as_array().expect("a listing has files");
        let file = |file: &serde_json::Value| {
            let name = file["pathSuffix"].as_str().expect("a file has a name").to_owned();
            (name, file["type"] == "DIRECTORY", file["length"].as_u64().expect("and a length"))
        };
        Some(files.iter().map(file).collect())
    }

    /// Reads a text file from its DataNode without a shell; `None` if it does not exist, or its
    /// servers do not answer.
    pub fn content(&self, path: &str) -> Option<String> {
        let asked = format!("/webhdfs/v1{path}?op=OPEN&noredirect=true");
        let (_, body) = http::get_from_java(self.web_address(), &asked)?;
        let json: serde_json::Value = serde_json::from_str(&body).ok()?;
        let place = json["Location"].as_str()?.strip_prefix("http://")?;
        let (authority, rest) = place.split_once('/')?;
        let port = authority.rsplit_once(':')?.1.parse().ok()?;
        let (status, text) =
            http::get_from_java(SocketAddr::from(([127, 0, 0, 1], port)), &format!("/{rest}"))?;
        (status == 200).then_some(text)
    }

    /// Ends the lease of a file whose writer is gone: this fixes its length, and allows a rename.
    ///
    /// # Panics
    ///
    /// When the lease cannot be ended.
    pub fn recover_lease(&self, path: &str) {
        let arguments = ["recoverLease", "-path", path, "-retries", "10"];
        self.java("org.apache.hadoop.hdfs.tools.DebugAdmin", &arguments);
    }

    /// Returns the content of all files that match `pattern`, an HDFS glob; empty without a match.
    pub fn read(&self, pattern: &str) -> Vec<u8> {
        if self.list(pattern).is_empty() { Vec::new() } else { self.fs(&["-cat", pattern]) }
    }

    /// Returns the paths that match `pattern`, in the shell's order.
    pub fn list(&self, pattern: &str) -> Vec<String> {
        let output = self.shell(&["-ls", "-C", pattern]);
        let no_match = text(&output.stderr).contains("No such file or directory");
        if no_match {
            return Vec::new();
        }
        text(&checked(output, "list HDFS")).lines().map(str::to_owned).collect()
    }
}

impl Drop for Hdfs {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.stop();
        }
    }
}

fn script() -> Command {
    let mut command = Command::new("bash");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/hadoop/hdfs"));
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn checked(output: Output, what: &str) -> Vec<u8> {
    let Output { status, stdout, stderr } = output;
    assert!(status.success(), "{what}: {status}\n{}{}", text(&stdout), text(&stderr));
    stdout
}
