//! Our own programs, started like users start them.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::equation;
use crate::hdfs::Hdfs;
use crate::http::{self, Metrics};
use crate::process::{Process, tail};
use crate::wait;

/// Returns a command that runs `program`, from the folder in `AQUEDUCT_BIN_DIR`, or from the folder
/// of the running program or test.
///
/// # Panics
///
/// When the program is not in that folder.
pub fn program(program: &str) -> Command {
    let path = programs().join(program);
    assert!(path.is_file(), "{} is missing; start tests with tests/run", path.display());
    Command::new(path)
}

/// Returns the folder of the programs.
fn programs() -> PathBuf {
    if let Some(named) = std::env::var_os("AQUEDUCT_BIN_DIR") {
        return PathBuf::from(named);
    }
    let own = std::env::current_exe().expect("the running program is known");
    let dir = own.parent().expect("a program is in a folder");
    // Cargo puts tests into a subfolder of the programs' folder.
    let of_tests = dir.ends_with("deps");
    dir.parent().filter(|_| of_tests).unwrap_or(dir).to_owned()
}

/// Returns an ODBC connection string for PostgreSQL.
pub fn odbc_of_postgres(address: SocketAddr, database: &str) -> String {
    format!(
        "odbc:Driver=/usr/lib/x86_64-linux-gnu/odbc/psqlodbcw.so;Server={};Port={};\
         Database={database}",
        address.ip(),
        address.port()
    )
}

/// An edge or collector that a test kills and restarts, always with the same arguments.
#[derive(Debug)]
pub struct Agent {
    program: &'static str,
    arguments: Vec<String>,
    conf_dir: Option<PathBuf>,
    environment: Vec<(&'static str, OsString)>,
    log_filter: Option<&'static str>,
    current_dir: Option<PathBuf>,
    admin: SocketAddr,
    log: PathBuf,
    process: Option<Process>,
}

impl Agent {
    /// Creates a stopped agent with output to `log`. Adds `--admin` to the arguments.
    pub fn new(program: &'static str, arguments: &[&str], log: &Path) -> Self {
        let admin = http::free_address();
        let mut arguments: Vec<String> = arguments.iter().map(|&it| it.to_owned()).collect();
        arguments.extend(["--admin".to_owned(), admin.to_string()]);
        let (conf_dir, log_filter, current_dir, log) = (None, None, None, log.to_owned());
        let (environment, process) = (Vec::new(), None);
        Self {
            program,
            arguments,
            conf_dir,
            environment,
            log_filter,
            current_dir,
            admin,
            log,
            process,
        }
    }

    /// Same, with this configuration, which is written to `NAME.toml` in `dir`; the output goes to
    /// `NAME.out` there.
    ///
    /// # Panics
    ///
    /// When the configuration cannot be written.
    pub fn configured(program: &'static str, dir: &Path, name: &str, text: &str) -> Self {
        let file = dir.join(format!("{name}.toml"));
        fs::write(&file, text).unwrap_or_else(|e| panic!("write {}: {e}", file.display()));
        let arguments = ["--config", &file.display().to_string()];
        Self::new(program, &arguments, &dir.join(format!("{name}.out")))
    }

    /// With `HADOOP_CONF_DIR` set.
    pub fn with_conf_dir(mut self, conf_dir: PathBuf) -> Self {
        self.conf_dir = Some(conf_dir);
        self
    }

    /// Sets an environment variable.
    pub fn with_variable(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// With `RUST_LOG` set.
    pub fn with_log_filter(mut self, filter: &'static str) -> Self {
        self.log_filter = Some(filter);
        self
    }

    /// In this folder.
    pub fn with_current_dir(mut self, dir: &Path) -> Self {
        self.current_dir = Some(dir.to_owned());
        self
    }

    /// Starts it and waits until its admin page answers.
    ///
    /// # Panics
    ///
    /// When it is already running, exits by itself, or does not answer within a minute.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.program);
        let mut command = program(self.program);
        command.args(&self.arguments).env_remove("HADOOP_CONF_DIR");
        if let Some(conf_dir) = &self.conf_dir {
            command.env("HADOOP_CONF_DIR", conf_dir);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(dir) = &self.current_dir {
            command.current_dir(dir);
        }
        if let Some(filter) = self.log_filter {
            command.env("RUST_LOG", filter);
        }
        let mut process = Process::start(self.program, command, &self.log);
        wait::until(&format!("{} to answer", self.program), Duration::from_secs(60), || {
            assert!(process.is_alive(), "{} ended:\n{}", self.program, tail(&process.output()));
            http::get(self.admin, "/livez").filter(|(status, _)| *status == 200)
        });
        self.process = Some(process);
    }

    /// Kills it with -9.
    ///
    /// # Panics
    ///
    /// When it is not running.
    pub fn kill(&mut self) {
        self.process.take().expect("a running agent").kill();
    }

    /// Sends SIGTERM, and expects exit code 0 within `limit`.
    ///
    /// # Panics
    ///
    /// When it does not run, takes longer, or ends otherwise, or events are not accounted for.
    pub fn stop(&mut self, limit: Duration) {
        self.account_for_events();
        self.process.take().expect("a running agent").stop(limit);
    }

    /// Checks that each event that came in is delivered, held, among the dead letters or counted as
    /// dropped. `stop` does so too, and the end of each test.
    ///
    /// # Panics
    ///
    /// When nothing moves and events are missing, or are counted twice.
    pub fn account_for_events(&self) {
        equation::check(self.program, self.admin);
    }

    /// The running process.
    ///
    /// # Panics
    ///
    /// When it is not running.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("a running agent")
    }

    /// Returns its current metrics; `None` if it does not answer.
    pub fn metrics(&self) -> Option<Metrics> {
        Metrics::read(self.admin)
    }

    /// Returns the address of its admin page.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Waits until it has logged this text, which follows the logged event.
    ///
    /// # Panics
    /// When it does not log it within `limit`.
    pub fn until_logged(&self, what: &str, limit: Duration) {
        let logged = || self.output().contains(what).then_some(());
        wait::until(&format!("the log line `{what}`"), limit, logged);
    }

    /// Returns its output since the first start.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let runs = self.process.as_mut().is_some_and(Process::is_alive);
        if runs && !std::thread::panicking() {
            self.account_for_events();
        }
    }
}

/// Short rolls: a test must not wait minutes for a file.
pub const ROLL: &str = "roll = { age_max = \"1s\" }";

/// The configuration from the collector's flags, with short rolls.
#[derive(Debug)]
pub struct CollectorConfig {
    listen: String,
    store: String,
    data_dir: PathBuf,
    dedupe: bool,
    sink_settings: String,
}

impl CollectorConfig {
    /// Listens on `listen`, stores at the URL `store` and keeps its channel in `data_dir`.
    pub fn new(listen: &str, store: &str, data_dir: &Path) -> Self {
        let (listen, store) = (listen.to_owned(), store.to_owned());
        Self {
            listen,
            store,
            data_dir: data_dir.to_owned(),
            dedupe: true,
            sink_settings: ROLL.to_owned(),
        }
    }

    /// Dangerous outside of tests: forgets which batches it has seen, so that each resent batch is
    /// stored twice.
    pub fn without_dedupe(self) -> Self {
        Self { dedupe: false, ..self }
    }

    /// Uses these lines in the table of its sink instead of [`ROLL`].
    pub fn with_sink_settings(self, lines: &str) -> Self {
        Self { sink_settings: lines.to_owned(), ..self }
    }

    /// Returns the collector, with configuration and output in `dir`.
    ///
    /// # Panics
    ///
    /// When the program does not print its configuration, or `dir` is not writable.
    pub fn agent(&self, dir: &Path) -> Agent {
        let mut command = program("aqueduct-collector");
        command.args(["--listen", &self.listen, "--store", &self.store]);
        if !self.listen.starts_with("127.") {
            command.arg("--insecure");
        }
        command.arg("--data-dir");
        let output = command.arg(&self.data_dir).arg("--print-config").output();
        let output = output.expect("the program starts");
        assert!(output.status.success(), "--print-config: {output:?}");
        let mut text = String::from_utf8(output.stdout).expect("a configuration is UTF-8");
        text = with_setting(&text, "[sinks.", &self.sink_settings);
        if !self.dedupe {
            text = with_setting(&text, "[channels.", "dedupe = false");
        }
        Agent::configured("aqueduct-collector", dir, "collector", &text)
    }
}

/// Adds `setting` as the first one to the table whose header begins with `header`.
fn with_setting(text: &str, header: &str, setting: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(header));
    let line = line.unwrap_or_else(|| panic!("no table {header} in:\n{text}"));
    text.replacen(line, &format!("{line}\n{setting}"), 1)
}

/// Returns a collector that stores by day below `/logs` of `hdfs`, an edge that sends it `*.log` of
/// `dir`, and the URL of the store. Does not start them.
///
/// # Panics
///
/// When the collector does not print its configuration.
pub fn two_tiers(hdfs: &Hdfs, dir: &Path) -> (Agent, Agent, String) {
    let store = format!("{}/logs/%Y-%m-%d", hdfs.url());
    let (collector, edge) = tiers_to(hdfs, &store, ROLL, dir);
    (collector, edge, store)
}

/// Same, with a store below any directory, and with these lines in the table of its sink.
///
/// # Panics
///
/// When the collector does not print its configuration.
pub fn tiers_to(hdfs: &Hdfs, store: &str, sink_settings: &str, dir: &Path) -> (Agent, Agent) {
    let listen = http::free_address().to_string();
    let collector = CollectorConfig::new(&listen, store, &dir.join("collector"));
    let collector = collector.with_sink_settings(sink_settings).agent(dir);
    let (tail, data) = (dir.join("*.log"), dir.join("edge"));
    let (tail, data) = (tail.display().to_string(), data.display().to_string());
    let arguments = ["--tail", &tail, "--to", &listen, "--data-dir", &data];
    let edge = Agent::new("aqueduct-edge", &arguments, &dir.join("edge.out"));
    (collector.with_conf_dir(hdfs.conf_dir()), edge)
}

/// Waits until `edge` has read all of its files and every line is acknowledged as committed.
///
/// # Panics
///
/// When that takes longer than `limit`.
pub fn wait_until_delivered(edge: &Agent, limit: Duration) {
    let mut in_a_row = 0;
    wait::until("the edge to have delivered everything", limit, || {
        let metrics = edge.metrics()?;
        let unread = metrics.sum("aqueduct_source_lag_bytes")?;
        let idle = unread == 0.0 && metrics.sum("aqueduct_channel_events")? == 0.0;
        // Idle for two seconds: the edge may not have seen the newest file yet, and neither number
        // includes a batch between file and channel.
        in_a_row = if idle { in_a_row + 1 } else { 0 };
        (in_a_row >= 100).then_some(())
    });
}
