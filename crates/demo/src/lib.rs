//! The demo: the main job of Aqueduct on this machine, with a collector killed half-way, and the
//! proof that every line arrived once.
//!
//! ```text
//!   files, or a log that the demo writes ─► edge ─┬► collector-1 ─┬► a folder, as the store
//!                                                 └► collector-2 ─┘
//! ```
//!
//! The three agents are real processes: the running program executes itself with the subcommands
//! `edge` and `collector`. Half-way the demo kills the busy collector (`kill -9`) and restarts it
//! later; the other collector takes over. At the end the demo compares the lines in the store with
//! the lines in the files.

mod agents;
mod cast;
mod input;
mod intro;
mod layout;
mod metrics;
mod progress;
mod reconcile;
mod report;
mod scene;
mod signals;
mod store;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use program::cli::{self, EXIT_RUNTIME};
use thiserror::Error;

pub use agents::{Agent, Folder, open_log};
pub use input::{read_end, write};
pub use layout::Layout;
pub use progress::{Progress, grouped, megabytes};
pub use signals::Signals;

use layout::TextFiles;
use scene::Scene;

/// Arguments of the demo.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Files to send instead of a log that the demo writes; the demo only reads them
    #[arg(value_name = "FILES")]
    files: Vec<PathBuf>,

    /// Seed of the log that the demo writes [default: a random one, which the demo prints]
    #[arg(long, conflicts_with = "files")]
    seed: Option<u64>,

    /// Keep the agents running at the end, with their live pages, until Ctrl-C
    #[arg(long)]
    stay: bool,

    /// Keep the data directories of the agents and the written log, too
    #[arg(long)]
    keep: bool,
}

/// The reason why a demo stopped early.
#[derive(Debug, Error)]
pub enum DemoError {
    /// A file or directory cannot be used.
    #[error("cannot read or write {path}")]
    File {
        /// Its path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The folder of the demo cannot be created.
    #[error("cannot create a temporary folder; set TMPDIR to a writable directory")]
    Folder(#[source] io::Error),
    /// The files contain no lines.
    #[error("{0}; name regular files that contain at least one complete line")]
    NoLines(String),
    /// No port of loopback is free.
    #[error("cannot find a free port on 127.0.0.1")]
    Port(#[source] io::Error),
    /// A process cannot be started.
    #[error("cannot start the process `{name}` of the demo")]
    Start {
        /// Name of the process.
        name: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// A process exited too early.
    #[error("{name} exited unexpectedly; the end of its log:\n{log}")]
    Ended {
        /// Name of the process.
        name: &'static str,
        /// The last lines of its log.
        log: String,
    },
    /// A step exceeded its time limit.
    #[error("{what} took longer than {seconds} s")]
    TooLong {
        /// The step.
        what: &'static str,
        /// The limit.
        seconds: u64,
    },
    /// An agent does not answer.
    #[error("{name} does not answer HTTP requests")]
    Page {
        /// Name of the agent.
        name: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The stored lines cannot be read.
    #[error("cannot read the lines that the collectors stored; run the demo again")]
    Unreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A configuration that the demo generated is invalid.
    #[error("the demo generated an invalid configuration; report this as a bug:\n{0}")]
    Config(#[from] config::ConfigErrors),
    /// Signals cannot be caught.
    #[error("cannot register signal handlers, so the program exits; check `ulimit -n`")]
    Signals(#[source] io::Error),
    /// A signal stopped the demo.
    #[error("stopped by a signal; all processes are stopped and the temporary folder is removed")]
    Interrupted,
}

/// Runs the demo and prints its report. The exit code is 0 only if every line arrived once.
pub fn run(args: &DemoArgs) -> ExitCode {
    run_with(args, Box::new(TextFiles))
}

/// Runs the demo with another store, as [`run`].
pub fn run_with(args: &DemoArgs, layout: Box<dyn Layout>) -> ExitCode {
    play(async |signals| {
        let mut scene = Scene::new(args, layout)?;
        let result = signals.or(scene.play()).await;
        let result = match result {
            Ok(is_right) if args.stay => {
                scene.announce_stay();
                signals.next().await;
                scene.finish().await.map(|()| is_right)
            }
            Ok(is_right) => scene.finish().await.map(|()| is_right),
            Err(DemoError::Interrupted) => return Err(DemoError::Interrupted),
            Err(error) => Err(error),
        };
        if result.is_err() {
            say_kept(scene.keep());
        }
        result
    })
}

/// Runs `work` on this thread, and turns its result into an exit code: 0 only for `true`.
pub fn play<E: std::error::Error + From<DemoError>>(
    work: impl AsyncFnOnce(&mut Signals) -> Result<bool, E>,
) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            cli::print_line(&format!("cannot start the demo: {error}"));
            return ExitCode::from(EXIT_RUNTIME);
        }
    };
    let result = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        work(&mut signals).await
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_RUNTIME),
        Err(error) => {
            cli::print_line(&format!("demo: {}", agent::chain(&error)));
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

/// Reports the folder that a failed demo leaves behind.
pub fn say_kept(folder: &Path) {
    let folder = folder.display();
    cli::print_line(&format!("demo: kept all files in {folder}; remove them with: rm -r {folder}"));
}
