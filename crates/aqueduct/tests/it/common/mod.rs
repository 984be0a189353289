//! Agents in child processes, and the lines in their store.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::loopback::free_address;

const PATIENCE: Duration = Duration::from_secs(60);

/// The configuration of an edge; [`Agent::edge`] inserts the collector's address.
pub(crate) fn edge(data: &str, files: &str) -> String {
    format!(
        "[agent]\ndata_dir = \"{data}\"\ngrace = \"1s\"\n\
         [sources.tail]\ntype = \"tail_dir\"\npaths = [\"{files}\"]\nchannels = [\"main\"]\n\
         [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
         [sinks.collector-1]\ntype = \"grpc\"\naddress = \"ADDRESS\"\nchannel = \"main\"\n"
    )
}

/// The configuration of an agent `one` that stores files below `dir`, with additional settings of
/// its source and its channel.
pub(crate) fn storing(dir: &Path, admin: &str, source: &str, channel: &str) -> String {
    let at = dir.display();
    format!(
        "[agent]\nname = \"one\"\ndata_dir = \"{at}/data\"\nadmin = \"{admin}\"\n\
         grace = \"1s\"\n\
         [sources.in]\nchannels = [\"main\"]\n{source}\n\
         [channels.main]\n{channel}\n\
         [sinks.store]\ntype = \"hdfs\"\nurl = \"file://{at}/store\"\nchannel = \"main\"\n\
         roll = {{ age_max = \"200ms\" }}\n"
    )
}

/// An agent in a child process.
pub(crate) struct Agent {
    pub(crate) child: Child,
}

impl Agent {
    /// Starts a collector that accepts batches up to a size. Returns its address, too.
    pub(crate) fn collector(dir: &Path, message_max: &str) -> (Self, String) {
        let address = free_address().to_string();
        (Self::collector_at(dir, &address, message_max), address)
    }

    /// Same, at a known address.
    pub(crate) fn collector_at(dir: &Path, address: &str, message_max: &str) -> Self {
        let dir_name = dir.display();
        let text = format!(
            "[agent]\ndata_dir = \"{dir_name}/collector\"\ngrace = \"5s\"\n\
             [sources.edges]\ntype = \"grpc\"\nlisten = \"{address}\"\nchannels = [\"main\"]\n\
             message_max = \"{message_max}\"\n\
             [channels.main]\ntype = \"durable\"\ncapacity = \"64MiB\"\n\
             [sinks.store]\ntype = \"hdfs\"\nurl = \"file://{dir_name}/store\"\nchannel = \
             \"main\"\n\
             [sinks.store.roll]\nage_max = \"200ms\"\n"
        );
        Self::configured(dir, "collector", &text)
    }

    /// Starts a collector with this configuration, which is written to `NAME.toml`.
    pub(crate) fn configured(dir: &Path, name: &str, text: &str) -> Self {
        let file = dir.join(format!("{name}.toml"));
        write(&file, text);
        Self::start(&["collector", "--config", &file.display().to_string()])
    }

    /// Starts an edge that sends to this collector.
    pub(crate) fn edge(dir: &Path, collector: &str) -> Self {
        let text = String::from_utf8_lossy(&read(&dir.join("edge.toml"))).into_owned();
        let file = dir.join("edge-now.toml");
        write(&file, &text.replace("ADDRESS", collector));
        Self::start(&["edge", "--config", &file.display().to_string()])
    }

    /// Starts the program with these arguments and discards its standard error.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = command(arguments);
        Self { child: command.stderr(Stdio::null()).spawn().expect("the program starts") }
    }

    /// Waits until a condition is true.
    #[expect(clippy::disallowed_methods, reason = "it waits for another process")]
    pub(crate) fn until(&self, mut so: impl FnMut() -> bool) {
        let began = Instant::now();
        while !so() {
            assert!(began.elapsed() < PATIENCE, "it takes too long");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn stop(mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process has a number"), Signal::TERM).expect("it runs");
        assert!(self.child.wait().expect("it is a child").success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // The process has already exited, unless the test failed.
        let _ = self.child.kill();
    }
}

/// Returns every line of the visible files, sorted.
pub(crate) fn stored(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join("store")).into_iter().flatten();
    let files = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file());
    let mut lines = Vec::new();
    for path in files {
        lines.extend(String::from_utf8_lossy(&read(&path)).lines().map(str::to_owned));
    }
    lines.sort();
    lines
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aqueduct"));
    command.args(arguments).stdin(Stdio::null()).env_remove("RUST_LOG");
    command
}

pub(crate) fn aqueduct(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program starts")
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[expect(clippy::disallowed_methods, reason = "a test prepares files as a user would")]
pub(crate) fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a temporary file is written");
}

/// Returns the file, or nothing if it does not exist yet.
#[expect(clippy::disallowed_methods, reason = "a test looks at files as a user would")]
pub(crate) fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_default()
}
