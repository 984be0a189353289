//! `aqueduct demo`: the main job on this machine, with a collector killed on the way, and the proof
//! that every line arrived once.
//!
//! ```text
//!   files, or a log that the demo writes ─► edge ─┬► collector-1 ─┬► a folder, as the store
//!                                                 └► collector-2 ─┘
//! ```
//!
//! The three agents are real processes of this program's own executable. Half-way the collector
//! that works is killed (-9); the other one takes over, and the killed one is started again. At the
//! end the lines in the store are counted against the lines in the files.
//!
//! `aqueduct demo db` plays [`db`]: a table that goes into files and comes back. [`iot`] is
//! `aqueduct demo iot`: devices whose readings go through a broker of MQTT.

mod agents;
#[cfg(feature = "sql")]
mod db;
mod input;
#[cfg(feature = "mqtt")]
mod iot;
mod metrics;
mod progress;
mod reconcile;
mod report;
mod scene;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use agent::cli::{self, EXIT_RUNTIME};
use clap::{Args, Subcommand};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

#[cfg(feature = "sql")]
pub(crate) use progress::{grouped, megabytes};
use scene::Scene;

const EXAMPLES: &str = "\
Examples:
  aqueduct demo                          a log that the demo writes, from a seed
  aqueduct demo /var/log/nginx/*.log     your own files, which are only read
  aqueduct demo db                       a table into files and back, both commands killed half-way
  aqueduct demo iot                      1,000 devices of MQTT, the collector killed half-way

It ends with exit code 0 only if no line or row is missing and none is repeated.";

/// Show the main job on this machine: an edge, two collectors, one of them killed half-way.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct DemoArgs {
    #[command(subcommand)]
    other: Option<Other>,

    /// Files to tail instead of a log that the demo writes
    #[arg(value_name = "FILES")]
    files: Vec<PathBuf>,

    /// Seed of the log that the demo writes [default: a new one, which is printed]
    #[arg(long, conflicts_with = "files")]
    seed: Option<u64>,

    /// Keep the agents' own data too, not only what they stored and logged
    #[arg(long)]
    keep: bool,
}

/// What is shown in place of the main job.
#[derive(Debug, Subcommand)]
enum Other {
    /// A table into files and back into another table, with a kill -9 of each command
    #[cfg(feature = "sql")]
    Db(db::DbArgs),
    /// 1,000 devices publish by MQTT, and a collector stores it, with a kill -9 half-way
    #[cfg(feature = "mqtt")]
    Iot(iot::IotArgs),
}

/// Why a demo did not come to its end.
#[derive(Debug, Error)]
enum DemoError {
    #[error("{path}")]
    File { path: PathBuf, source: io::Error },
    #[error("cannot make a temporary folder")]
    Folder(#[source] io::Error),
    #[error("{0}: the demo tails files that are there and hold lines")]
    NoLines(String),
    #[error("cannot find a free port")]
    Port(#[source] io::Error),
    #[error("cannot start {name}")]
    Start { name: &'static str, source: io::Error },
    #[error("{name} ended by itself; its last lines are:\n{log}")]
    Ended { name: &'static str, log: String },
    #[error("{what} took longer than {seconds} s")]
    TooLong { what: &'static str, seconds: u64 },
    #[error("the configuration of the demo itself is wrong:\n{0}")]
    Config(#[from] config::ConfigErrors),
    #[error("the database of the demo itself")]
    #[cfg(feature = "sql")]
    Database(#[from] rusqlite::Error),
    #[error("--broker: {0}")]
    #[cfg(feature = "mqtt")]
    Broker(String),
    #[error(
        "mosquitto is not installed: install it (Debian and Ubuntu: `apt-get install mosquitto`), \
         or name a broker that runs by `--broker URL`"
    )]
    #[cfg(feature = "mqtt")]
    NoBroker,
    #[error("the broker has not granted the collector its topics; its last lines are:\n{log}")]
    #[cfg(feature = "mqtt")]
    NotSubscribed { log: String },
    #[error("{device} does not get a connection")]
    #[cfg(feature = "mqtt")]
    Device { device: String, source: components_mqtt::device::DeviceError },
    #[error(
        "{wanted} open files are needed and {allowed} allowed: raise the limit by `ulimit -n`, or \
         take fewer `--devices`"
    )]
    #[cfg(feature = "mqtt")]
    OpenFiles { wanted: u64, allowed: u64 },
    #[error("the store cannot be read")]
    #[cfg(feature = "mqtt")]
    Store(#[source] crate::verify::VerifyError),
    #[error("stopped by a signal")]
    Interrupted,
}

/// Runs the demo and prints what it found.
pub(crate) fn run(args: &DemoArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            cli::say(&format!("cannot start: {error}"));
            return ExitCode::from(EXIT_RUNTIME);
        }
    };
    match runtime.block_on(play(args)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_RUNTIME),
        Err(error) => {
            cli::say(&format!("demo: {}", agent::chain(&error)));
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

/// Whether every line arrived once. The agents end with the scene, also when a signal cuts it off.
async fn play(args: &DemoArgs) -> Result<bool, DemoError> {
    let listen = |kind| signal(kind).map_err(|_| DemoError::Interrupted);
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    tokio::select! {
        biased;
        _ = interrupt.recv() => Err(DemoError::Interrupted),
        _ = terminate.recv() => Err(DemoError::Interrupted),
        result = scene(args) => result,
    }
}

async fn scene(args: &DemoArgs) -> Result<bool, DemoError> {
    let (result, kept) = match &args.other {
        #[cfg(feature = "sql")]
        Some(Other::Db(args)) => {
            let mut scene = db::Scene::set(args)?;
            let result = scene.play().await;
            let kept = result.is_err().then(|| scene.keep().to_owned());
            (result, kept)
        }
        #[cfg(feature = "mqtt")]
        Some(Other::Iot(args)) => {
            let mut scene = iot::Scene::set(args)?;
            let result = scene.play().await;
            let kept = result.is_err().then(|| scene.keep().to_owned());
            (result, kept)
        }
        _ => {
            let mut scene = Scene::set(args)?;
            let result = scene.play().await;
            let kept = result.is_err().then(|| scene.keep().to_owned());
            (result, kept)
        }
    };
    if let Some(folder) = kept {
        cli::say(&format!("demo: all files are kept in {}", folder.display()));
    }
    result
}
