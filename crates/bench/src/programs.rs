//! Our own programs, like a user has them: built together with this one and run from files.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::error::{Doing, Error, Result};
use crate::http;
use crate::process::{self, Process};

const START_LIMIT: Duration = Duration::from_secs(30);

/// The two agents.
#[derive(Debug)]
pub(crate) struct Programs {
    /// `aqueduct-edge`.
    pub(crate) edge: PathBuf,
    /// `aqueduct-collector`.
    pub(crate) collector: PathBuf,
}

impl Programs {
    /// Builds both.
    pub(crate) fn prepare() -> Result<Self> {
        let [edge, collector] = built(["aqueduct-edge", "aqueduct-collector"])?;
        Ok(Self { edge, collector })
    }
}

/// Returns our programs with these names, which are those of their packages. Builds them with the
/// profile of this program if Cargo started it, because a stale one would be measured otherwise;
/// without Cargo uses those in its own folder.
pub(crate) fn built<const N: usize>(names: [&str; N]) -> Result<[PathBuf; N]> {
    let own = env::current_exe().doing(|| "find the own executable".to_owned())?;
    let folder = own.parent().unwrap_or(Path::new("."));
    if let Some(cargo) = env::var_os("CARGO") {
        let mut build = Command::new(cargo);
        build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        build.args(["build", "--locked"]);
        build.args(names.iter().flat_map(|name| ["-p", name]));
        if folder.ends_with("release") {
            build.arg("--release");
        }
        process::run("cargo build (our programs)", &mut build)?;
    }
    let paths = names.map(|name| folder.join(name));
    match paths.iter().find(|path| !path.is_file()) {
        None => Ok(paths),
        Some(missing) => Err(Error::Program {
            program: missing.display().to_string(),
            status: "not found".to_owned(),
            output: "without Cargo it must be in the folder of this program".to_owned(),
        }),
    }
}

/// Returns the edge with these flags.
pub(crate) fn edge(
    programs: &Programs,
    watched: &Path,
    to: &str,
    admin_port: u16,
    scratch: &Path,
) -> Command {
    let mut edge = Command::new(&programs.edge);
    edge.args(["--tail", &format!("{}/*.log", watched.display()), "--to", to])
        .args(["--admin", &format!("127.0.0.1:{admin_port}")])
        .arg("--data-dir")
        .arg(scratch.join("edge"));
    edge
}

/// Returns the flags of a collector that writes to `store`, as a configuration.
pub(crate) fn collector_flags(
    programs: &Programs,
    listen: &str,
    admin_port: u16,
    store: &str,
    scratch: &Path,
) -> Result<String> {
    let mut print = Command::new(&programs.collector);
    print
        .args(["--listen", listen, "--admin", &format!("127.0.0.1:{admin_port}")])
        .args(["--store", store])
        .arg("--data-dir")
        .arg(scratch.join("collector"))
        .arg("--print-config");
    process::run("aqueduct-collector --print-config", &mut print)
}

/// A capacity that no benchmark fills.
pub(crate) const LARGE: &str = "64GiB";

/// Adds space for a backlog larger than the default to a configuration.
pub(crate) fn with_room(config: &str) -> Result<String> {
    let small = "capacity = \"8GiB\"";
    if config.contains(small) {
        return Ok(config.replace(small, &format!("capacity = \"{LARGE}\"")));
    }
    let (from, detail) = ("--print-config".to_owned(), format!("no {small} in:\n{config}"));
    Err(Error::Answer { from, detail })
}

/// The idle roll of measured sinks: the clock runs until all is delivered.
pub(crate) const IDLE_ROLL: &str = "200ms";

/// Adds [`IDLE_ROLL`] and `settings`, lines that each begin with LF, as the first settings of the
/// only sink.
pub(crate) fn with_sink_settings(config: &str, settings: &str) -> Result<String> {
    let header = config.lines().find(|line| line.starts_with("[sinks."));
    let header = header.ok_or_else(|| Error::Answer {
        from: "aqueduct-collector --print-config".to_owned(),
        detail: format!("no sink in:\n{config}"),
    })?;
    let roll = format!("{header}\nroll = {{ idle_max = \"{IDLE_ROLL}\" }}{settings}");
    Ok(config.replacen(header, &roll, 1))
}

/// Returns [`edge`] with space for a larger backlog.
pub(crate) fn large_edge(
    programs: &Programs,
    watched: &Path,
    to: &str,
    admin_port: u16,
    scratch: &Path,
) -> Result<Command> {
    let mut print = edge(programs, watched, to, admin_port, scratch);
    let config = process::run("aqueduct-edge --print-config", print.arg("--print-config"))?;
    let path = scratch.join("edge.toml");
    fs::write(&path, with_room(&config)?).at("write", &path)?;
    let mut edge = Command::new(&programs.edge);
    edge.arg("--config").arg(&path);
    Ok(edge)
}

/// Starts one of our programs, with its admin page at `admin_port`, and waits until it is ready.
pub(crate) fn start(
    name: &str,
    command: Command,
    admin_port: u16,
    scratch: &Path,
) -> Result<Process> {
    let mut process = Process::spawn(name, command, scratch)?;
    process.wait_for("to be ready", START_LIMIT, || {
        http::get(admin_port, "/readyz").is_ok_and(|(status, _)| status == 200)
    })?;
    Ok(process)
}
