//! `aqueduct channel`: operator commands for a durable channel that no agent uses.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use agent::account;
use channel::durable::inspect::{Inspection, Report, Stats, renew, repair};
use channel::durable::{Config, Encryption, IndexKind};
use clap::{Args, Subcommand, ValueEnum};
use pipeline::env::{resolved, unix_millis};
use pipeline::{BuildContext, ChannelError, Choice, Encoder, Env};
use program::cli::{self, EXIT_RUNTIME};
use serde::Serialize;
use serde_json::json;

use crate::runtime;

mod import_flume;
mod positions;
mod rotate_key;

const EXAMPLES: &str = "\
Examples:
  aqueduct channel stats /var/lib/aqueduct/channels/main
  aqueduct channel check /var/lib/aqueduct/channels/main --json
  aqueduct channel account /var/lib/aqueduct/channels/main > edge-1.json
  aqueduct channel export /var/lib/aqueduct/channels/main > lines.txt
  aqueduct channel stats /var/lib/aqueduct/channels/main --key-file /etc/aqueduct/channel.keys
  aqueduct channel rotate-key /etc/aqueduct/channel.keys

You can use `stats` and `rotate-key` while the agent is running. For all others, stop the agent or
use a copy of DIR. Only `repair`, `renew`, `rotate-key` and `import-flume` change anything.

Exit codes: 0 done and sound, 1 not readable or not sound, 2 wrong arguments";

const STATS: &str = "\
Examples:
  aqueduct channel stats /var/lib/aqueduct/channels/main
  aqueduct channel stats /var/lib/aqueduct/channels/main --json | jq .events

The agent may be running. `used_bytes` counts against `capacity` and is what /metrics shows;
`bytes` is the size of the files on disk.";

const CHECK: &str = "\
Examples:
  aqueduct channel check /var/lib/aqueduct/channels/main
  aqueduct channel check /var/lib/aqueduct/channels/main --json";

const ACCOUNT: &str = "\
Examples:
  aqueduct channel account /var/lib/aqueduct/channels/main > edge-1.json";

const EXPORT: &str = "\
Examples:
  aqueduct channel export /var/lib/aqueduct/channels/main > lines.txt
  aqueduct channel export /var/lib/aqueduct/channels/main --format json | jq .headers";

const REPAIR: &str = "\
Examples:
  aqueduct channel check /var/lib/aqueduct/channels/main    # shows what will be given up
  aqueduct channel repair /var/lib/aqueduct/channels/main
  aqueduct channel repair /var/lib/aqueduct/channels/main --json | jq -r '.given_up[]'";

const RENEW: &str = "\
Examples:
  aqueduct channel renew /var/lib/aqueduct/channels/main
  aqueduct channel renew /var/lib/aqueduct/channels/main --name web-1";

/// Inspect a durable channel; check, export or repair one that no agent uses.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct ChannelArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the contents of the channel; its agent may be running
    #[command(after_help = STATS)]
    Stats(Target),
    /// Read every frame, and report damage and losses
    #[command(after_help = CHECK)]
    Check(Target),
    /// Print the account of the channel for `aqueduct verify`: one line of JSON
    #[command(after_help = ACCOUNT)]
    Account {
        /// The channel's directory: DATA_DIR/channels/NAME
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        #[command(flatten)]
        keys: Keys,
    },
    /// Write all undelivered events to standard output, oldest first
    #[command(after_help = EXPORT)]
    Export {
        /// The channel's directory: DATA_DIR/channels/NAME
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Format of the events
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        #[command(flatten)]
        keys: Keys,
    },
    /// Show how far `tail_dir` sources have read their files, or print a position file for Flume
    #[command(after_help = positions::EXAMPLES)]
    Positions(positions::PositionsArgs),
    /// Repair damaged batches whose lines are still in their files, and give up the others, so that
    /// the channel works again; agents that sent them resend them
    #[command(after_help = REPAIR)]
    Repair(Target),
    /// Give the channel a new origin: for a copy of a directory that is in use, or to bind it to a
    /// certificate; its events keep their identities and arrive once
    #[command(after_help = RENEW)]
    Renew {
        #[command(flatten)]
        target: Target,
        /// Name in the certificate that the agent presents to the next agent
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Add a new key to a key file; with --finish remove the keys that no channel needs any more
    #[command(after_help = rotate_key::EXAMPLES)]
    RotateKey(rotate_key::RotateKeyArgs),
    /// Import the events that a stopped Flume agent left in a file channel
    #[command(after_help = import_flume::EXAMPLES)]
    ImportFlume(import_flume::ImportArgs),
}

/// Where the keys are.
#[derive(Debug, Args)]
pub(crate) struct Keys {
    /// Key file of an encrypted channel: `encryption.key_file` of its settings
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl Keys {
    /// Returns the setting `encryption` for these arguments.
    pub(crate) fn encryption(&self) -> Option<Encryption> {
        let key_file = Some(self.key_file.clone()?);
        Some(Encryption { key_file, ..Encryption::default() })
    }
}

#[derive(Debug, Args)]
struct Target {
    /// The channel's directory: DATA_DIR/channels/NAME
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    keys: Keys,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    /// The body and a line end
    #[default]
    Text,
    /// An object with headers and body on each line
    Json,
}

/// Runs the subcommand.
pub(crate) fn run(args: &ChannelArgs) -> ExitCode {
    let env = env::real();
    let done = match &args.action {
        Action::Stats(target) => stats(target, &env),
        Action::Check(target) => open(target, &env)
            .and_then(|inspection| inspection.check())
            .map(|report| show_report(&report, target.json)),
        Action::Account { directory, keys } => {
            let accounts = account::from_directory(directory, keys.encryption().as_ref(), &env);
            accounts.map(|accounts| {
                let lines = accounts.iter().map(|account| account.to_json() + "\n");
                cli::print(&lines.collect::<String>())
            })
        }
        Action::Export { directory, format, keys } => {
            let inspection = Inspection::open(&env, directory, keys.encryption().as_ref());
            inspection.and_then(|it| export(&it, *format, &env))
        }
        Action::Positions(args) => positions::run(args, &env),
        Action::Repair(target) => repair_channel(target, &env),
        Action::Renew { target, name } => {
            let keys = target.keys.encryption();
            let renewed = renew(&env, &target.directory, keys.as_ref(), name.as_deref());
            renewed.map(|(old, new)| match target.json {
                true => print_json(&json!({ "old": old.to_string(), "new": new.to_string() })),
                false => cli::print(&format!("origin {old} is now {new}\n")),
            })
        }
        Action::RotateKey(args) => return rotate_key::run(args, &env),
        Action::ImportFlume(args) => return import_flume::run(args, &env),
    };
    done.unwrap_or_else(|error| {
        cli::print_line(&agent::chain(&error));
        ExitCode::from(EXIT_RUNTIME)
    })
}

fn open(target: &Target, env: &Env) -> Result<Inspection, ChannelError> {
    Inspection::open(env, &target.directory, target.keys.encryption().as_ref())
}

fn stats(target: &Target, env: &Env) -> Result<ExitCode, ChannelError> {
    let Target { directory, json, keys } = target;
    let stats = Inspection::inspect(env, directory, keys.encryption().as_ref())?.stats();
    let free = env.disk.space(directory).ok().map(|space| space.available);
    if *json {
        let mut all = serde_json::to_value(&stats).expect("numbers and names are always JSON");
        all["disk_free_bytes"] = free.into();
        return Ok(print_json(&all));
    }
    Ok(cli::print(&stats_text(&stats, free, unix_millis(env.clock.now()))))
}

fn stats_text(stats: &Stats, disk_free: Option<u64>, now_ms: u64) -> String {
    let mut text = String::new();
    for (name, value) in [
        ("events", stats.events),
        ("batches", stats.batches),
        ("segments", stats.segments),
        ("used_bytes", stats.used_bytes),
        ("bytes", stats.bytes),
        ("identities", stats.identities),
        ("positions", stats.positions),
        ("starts", stats.starts),
        ("epoch", stats.epoch),
        ("format", stats.format.into()),
    ] {
        writeln!(text, "{name:<12} {value}").expect("a string takes it");
    }
    if let Some(free) = disk_free {
        writeln!(text, "{:<12} {free} bytes", "disk free").expect("a string takes it");
    }
    if let Some(at) = stats.oldest_at_ms {
        let since = Duration::from_millis(at);
        let age = Duration::from_secs(now_ms.saturating_sub(at) / 1_000);
        let stored = humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since);
        let age = humantime::format_duration(age);
        writeln!(text, "{:<12} {age} old, stored at {stored}", "oldest")
            .expect("a string takes it");
    }
    writeln!(text, "{:<12} {}", "origin", stats.origin).expect("a string takes it");
    if !stats.encryption_keys.is_empty() {
        let keys: Vec<String> = stats.encryption_keys.iter().map(u32::to_string).collect();
        writeln!(text, "{:<12} {}", "keys", keys.join(", ")).expect("a string takes it");
    }
    for (consumer, batches) in &stats.consumers {
        writeln!(text, "{:<12} {consumer}: {batches} batches to deliver", "consumer")
            .expect("a string takes it");
    }
    text
}

fn show_report(report: &Report, json: bool) -> ExitCode {
    let printed = if json { print_json(report) } else { cli::print(&report_text(report)) };
    if report.is_sound() { printed } else { ExitCode::from(EXIT_RUNTIME) }
}

fn report_text(report: &Report) -> String {
    let mut text = String::new();
    let verdict = if report.is_sound() { "sound" } else { "NOT sound" };
    writeln!(text, "{verdict}: {} intact frames", report.sound_frames).expect("a string takes it");
    if report.torn_bytes > 0 {
        writeln!(text, "incomplete   {} bytes at the end, never acknowledged", report.torn_bytes)
            .expect("a string takes it");
    }
    for (segment, offset) in &report.damaged {
        writeln!(text, "damaged      segment {segment:016x}, byte {offset}")
            .expect("a string takes it");
    }
    for (segment, offset) in &report.done_with {
        writeln!(
            text,
            "no loss      segment {segment:016x}, byte {offset}: damaged, but already delivered"
        )
        .expect("a string takes it");
    }
    for lines in &report.mendable {
        writeln!(text, "repairable   {lines}: still in their file, reread at the next start")
            .expect("a string takes it");
    }
    for lines in &report.given_up {
        writeln!(text, "given up     {lines}: lost, not resent").expect("a string takes it");
    }
    for (first, end) in &report.lost {
        writeln!(text, "lost         {} batches, numbered {first} to {}", end - first, end - 1)
            .expect("a string takes it");
    }
    text
}

fn export(inspection: &Inspection, format: Format, env: &Env) -> Result<ExitCode, ChannelError> {
    let kind = match format {
        Format::Text => "text",
        Format::Json => "json",
    };
    let encoder = encoder(kind, env);
    let mut out = io::stdout().lock();
    let mut complete = true;
    inspection.export(|_ticket, batch| {
        complete &= out.write_all(&encoder.begin().encode(&batch)).is_ok();
        complete
    })?;
    complete &= out.flush().is_ok();
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(EXIT_RUNTIME) })
}

/// Builds an encoder of this kind, which writes lines.
pub(crate) fn encoder(kind: &str, env: &Env) -> Box<dyn Encoder> {
    let built = Choice::from_kind(kind).build("format", &context(Path::new(""), env));
    built.expect("both formats are in the catalogue and need no settings")
}

fn repair_channel(target: &Target, env: &Env) -> Result<ExitCode, ChannelError> {
    let Target { directory, json, keys } = target;
    // Check first: do not turn the directory into a channel.
    let encryption = keys.encryption();
    let found = Inspection::open(env, directory, encryption.as_ref())?.check()?;
    let runtime = match runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            cli::print_line(&error.to_string());
            return Ok(ExitCode::from(EXIT_RUNTIME));
        }
    };
    // The channel prepares its next segment in a background task.
    let _inside = runtime.enter();
    let config = Config { index: IndexKind::None, encryption, ..Config::default() };
    repair(config, &context(directory, env))?;
    Ok(if *json { print_json(&found) } else { cli::print(&repair_text(&found)) })
}

/// Describes what a repair did about the damage in `found`.
fn repair_text(found: &Report) -> String {
    let mut text = format!(
        "{} damaged places given up, {} incomplete bytes removed\n",
        found.damaged.len(),
        found.torn_bytes
    );
    for lines in &found.mendable {
        writeln!(text, "repaired     {lines}: reread from their file").expect("a string takes it");
    }
    for lines in &found.given_up {
        writeln!(text, "given up     {lines}: lost, not resent").expect("a string takes it");
    }
    text
}

/// Names the channel after its directory, as the agent does.
fn context(directory: &Path, env: &Env) -> BuildContext {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    components::alone(&name, &resolved(&*env.disk, directory), env.clone())
}

/// Prints one JSON object.
pub(crate) fn print_json(value: &impl Serialize) -> ExitCode {
    let text = serde_json::to_string(value).expect("numbers and names are always JSON");
    cli::print(&format!("{text}\n"))
}

#[cfg(test)]
mod tests;
