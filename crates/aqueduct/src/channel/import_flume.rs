//! `aqueduct channel import-flume`: copies the events that a stopped Flume agent left in a file
//! channel into a durable channel, each exactly once.
//!
//! ```text
//!   Flume's logs ──► waiting events ──► batches, each with the offset up to which each log is done
//!                          ▲                                      │ one write
//!                          └────── offsets of earlier runs ◄──────┴──► durable channel
//! ```
//!
//! Events of a log arrive in offset order, and each write stores the events with their offsets.
//! After a kill, the next run therefore continues directly after the last stored event. The key of
//! an offset is the first record of the log, so that the import recognizes a moved copy of the
//! directory.

mod batches;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use agent::DataDir;
use bytes::Bytes;
use channel::durable::{Config, IndexKind};
use clap::Args;
use flume_channel::{FlumeChannel, Places, ReadError};
use pipeline::units::ByteSize;
use pipeline::{Batch, Channel, ChannelError, Component, Env};
use program::cli::{self, EXIT_RUNTIME};
use thiserror::Error;
use tokio::time::{Instant, timeout};

use self::batches::{Batches, SOURCE};
use self::report::Report;
use super::{Keys, context};
use crate::runtime::{self, NoThreads};

pub(super) const EXAMPLES: &str = "\
Examples:
  aqueduct channel import-flume ~/.flume/file-channel --into /var/lib/aqueduct --dry-run
  aqueduct channel import-flume ~/.flume/file-channel --into /var/lib/aqueduct
  aqueduct channel import-flume --checkpoint /a/checkpoint --data /b/data --data /c/data \\
      --into /var/lib/aqueduct --channel main

First stop the Flume agent and the agent of DATA_DIR. The command imports each event once that Flume
has committed but not delivered. After an interruption, or if the channel was full, run it again to
resume. It does not change Flume's files. Do not start the Flume agent on them again: it would
deliver the same events.

Name every directory of the channel's `dataDirs`, and its `checkpointDir`. Without the checkpoint
all logs are read; events whose delivery is recorded in a log that Flume has deleted are repeated.

Exit codes: 0 done, 1 not done, or something was damaged, 2 wrong arguments";

/// How long a put waits for space.
const SPACE_TIMEOUT: Duration = Duration::from_secs(2);
/// Interval between progress lines.
const PROGRESS: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The directory of Flume's file channel, with `checkpoint` and `data` in it
    #[arg(value_name = "DIR", required_unless_present = "data")]
    directory: Option<PathBuf>,
    /// The agent's data directory; created if it does not exist
    #[arg(long, value_name = "DATA_DIR")]
    into: PathBuf,
    /// Name of the durable channel in the agent's configuration
    #[arg(long, value_name = "NAME", default_value = "main")]
    channel: String,
    /// One of Flume's `dataDirs`; may be given several times [default: DIR/data]
    #[arg(long, value_name = "DIR")]
    data: Vec<PathBuf>,
    /// Flume's `checkpointDir` [default: DIR/checkpoint]
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
    /// Flume's `backupCheckpointDir`, with or without `compressBackupCheckpoint`
    #[arg(long, value_name = "DIR")]
    backup_checkpoint: Option<PathBuf>,
    /// Read all logs, not the checkpoint
    #[arg(long, conflicts_with_all = ["checkpoint", "backup_checkpoint"])]
    no_checkpoint: bool,
    /// `capacity` of the durable channel in the agent's configuration
    #[arg(long, value_name = "SIZE", default_value = "8GiB", value_parser = size)]
    capacity: ByteSize,
    /// Only print what would be imported
    #[arg(long)]
    dry_run: bool,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    keys: Keys,
}

fn size(text: &str) -> Result<ByteSize, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

/// Why an import stopped. The next run skips the events that are already stored.
#[derive(Debug, Error)]
enum ImportError {
    #[error("cannot read the Flume channel; fix the cause and run this command again to resume")]
    Flume(#[from] ReadError),
    #[error("cannot read the Flume channel; fix the cause and run this command again to resume")]
    Read(#[from] std::io::Error),
    #[error(transparent)]
    Agent(#[from] agent::AgentError),
    #[error(
        "cannot store the events in the durable channel; fix the cause and run this command again \
         to resume"
    )]
    Channel(#[from] ChannelError),
    #[error("an option of the durable channel is invalid; correct it")]
    Settings(#[from] pipeline::BuildError),
    #[error("cannot find {0}; name the directories of the Flume channel as they are on this host")]
    NoDirectory(String),
    #[error(
        "the channel is full: {imported} events are imported, {left} are left; start the agent, \
         let it deliver, stop it, and run this command again to resume"
    )]
    Full { imported: u64, left: u64 },
    #[error(transparent)]
    Runtime(#[from] NoThreads),
}

/// Imports the events and prints the report.
pub(super) fn run(args: &ImportArgs, env: &Env) -> ExitCode {
    match runtime::block_on(import(args, env)) {
        Ok(report) => {
            let printed = if args.json {
                super::print_json(&report)
            } else {
                cli::print(&report.text(&args.channel, args.dry_run))
            };
            if report.is_sound() { printed } else { ExitCode::from(EXIT_RUNTIME) }
        }
        Err(error) => {
            cli::print_line(&agent::chain(&error));
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

/// Finds the directories of the Flume channel. Directories named by options must exist.
fn places(args: &ImportArgs, env: &Env) -> Result<Places, ImportError> {
    let is_there = |path: &PathBuf| env.disk.stat(path).is_ok();
    let named = args.data.iter().chain(&args.checkpoint).chain(&args.backup_checkpoint);
    if let Some(missing) = named.chain(&args.directory).find(|path| !is_there(path)) {
        return Err(ImportError::NoDirectory(missing.display().to_string()));
    }
    let inside = |name: &str| args.directory.as_ref().map(|directory| directory.join(name));
    let checkpoint = args.checkpoint.clone().or_else(|| inside("checkpoint").filter(is_there));
    let mut data = args.data.clone();
    if data.is_empty() {
        // A directory without `data` is a log directory itself.
        data.extend(inside("data").filter(is_there).or_else(|| args.directory.clone()));
    }
    let checkpoint = checkpoint.filter(|_| !args.no_checkpoint);
    Ok(Places { checkpoint, backup: args.backup_checkpoint.clone(), data })
}

async fn import(args: &ImportArgs, env: &Env) -> Result<Report, ImportError> {
    let (mut flume, found) = FlumeChannel::open(env, &places(args, env)?)?;
    let mut report = Report::new(found, flume.waiting());
    if args.dry_run {
        return Ok(report);
    }
    let _owned = DataDir::lock(&args.into, env).await?;
    let directory = args.into.join("channels").join(&args.channel);
    let encryption = args.keys.encryption();
    let capacity = args.capacity;
    let config = Config { capacity, index: IndexKind::None, encryption, ..Config::default() };
    let channel = config.build(&context(&directory, env))?;
    channel.open().await?;
    let done = store(&mut flume, &*channel, &mut report).await;
    // Close first: this makes the stored events durable even after an error.
    let closed = channel.close().await;
    done?;
    closed?;
    Ok(report)
}

/// Puts the waiting events that no earlier run has put.
async fn store(
    flume: &mut FlumeChannel,
    channel: &dyn Channel,
    report: &mut Report,
) -> Result<(), ImportError> {
    let keys = batches::keys(flume)?;
    let done: Vec<(Bytes, Bytes)> = channel.positions(SOURCE);
    for (id, key) in &keys {
        let value = done.iter().find(|(known, _)| known == key).map(|(_, value)| value);
        let offset = value.and_then(|value| value[..].try_into().ok()).map(u64::from_be_bytes);
        report.imported_before += flume.leave_out(*id, offset.unwrap_or(0)) as u64;
    }
    let mut batches = Batches::new(flume, keys);
    let mut shown = Instant::now();
    while let Some(batch) = batches.next(report)? {
        let events = batch.len() as u64;
        let left = flume.waiting() as u64 - report.imported;
        put(channel, batch).await?.ok_or(ImportError::Full { imported: report.imported, left })?;
        report.imported += events;
        if shown.elapsed() >= PROGRESS {
            shown = Instant::now();
            cli::print_line(&format!("{} of {} events imported", report.imported, flume.waiting()));
        }
    }
    Ok(())
}

/// Stores a batch. Returns `None` if the channel has no space for it.
async fn put(channel: &dyn Channel, batch: Batch) -> Result<Option<()>, ChannelError> {
    let Ok(put) = timeout(SPACE_TIMEOUT, channel.begin_put(batch.size())).await else {
        return Ok(None);
    };
    let mut put = put?;
    put.put(batch);
    put.commit().await.map(Some)
}

#[cfg(test)]
mod tests;
