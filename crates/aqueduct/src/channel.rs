//! `aqueduct channel`: what an operator can ask of a durable channel that no agent uses.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent::cli::{self, EXIT_RUNTIME};
use channel::durable::inspect::{Inspection, Report, Stats, renew, repair};
use channel::durable::{Config, Encryption, IndexKind};
use clap::{Args, Subcommand, ValueEnum};
use components::serializers;
use pipeline::{BuildContext, ChannelError, Env, Serializer, Settings};
use serde::Serialize;

use crate::account;

const EXAMPLES: &str = "\
Examples:
  aqueduct channel stats /var/lib/aqueduct/channels/main
  aqueduct channel check /var/lib/aqueduct/channels/main --json
  aqueduct channel account /var/lib/aqueduct/channels/main > edge-1.json
  aqueduct channel export /var/lib/aqueduct/channels/main > lines.txt
  aqueduct channel stats /var/lib/aqueduct/channels/main --key-file /etc/aqueduct/channel.keys

The agent must not run, or DIR be a copy. Only `repair` and `renew` change anything. Exit codes: 0 done and
sound, 1 not readable or not sound, 2 wrong arguments";

/// Look into a durable channel that no agent uses; check, export or repair it.
#[derive(Debug, Args)]
#[command(about, long_about = None, after_help = EXAMPLES)]
pub(crate) struct ChannelArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say what is in the channel
    Stats(Target),
    /// Read every frame, and report what is damaged or lost
    Check(Target),
    /// Say what it answers for, as `aqueduct verify` reads it: one line of JSON
    Account {
        /// The channel's directory: DATA_DIR/channels/NAME
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        #[command(flatten)]
        keys: Keys,
    },
    /// Write every event that some sink has not delivered to standard output, oldest first
    Export {
        /// The channel's directory: DATA_DIR/channels/NAME
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// How events are written
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        #[command(flatten)]
        keys: Keys,
    },
    /// Mend damaged batches whose lines are still in their files; give the others up, so that
    /// everything else goes on: agents that sent them here send them again
    Repair {
        /// The channel's directory: DATA_DIR/channels/NAME
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        #[command(flatten)]
        keys: Keys,
    },
    /// Give the channel another origin, because its directory is a copy of one that is in use; what
    /// it holds keeps its identities, and arrives once
    Renew {
        /// The channel's directory: DATA_DIR/channels/NAME
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        #[command(flatten)]
        keys: Keys,
    },
}

/// Where the keys are.
#[derive(Debug, Args)]
pub(crate) struct Keys {
    /// The keys of a sealed channel, as `encryption.key_file` of its settings names them
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl Keys {
    /// The setting that they stand for.
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

/// Does what is asked.
pub(crate) fn run(args: &ChannelArgs) -> ExitCode {
    let env = env::real();
    let done = match &args.action {
        Action::Stats(target) => open(target, &env).map(|it| show_stats(&it.stats(), target.json)),
        Action::Check(target) => open(target, &env)
            .and_then(|inspection| inspection.check())
            .map(|report| show_report(&report, target.json)),
        Action::Account { directory, keys } => {
            let account = account::of_directory(directory, keys.encryption().as_ref(), &env);
            account.map(|account| cli::print(&format!("{}\n", account.to_json())))
        }
        Action::Export { directory, format, keys } => {
            let inspection = Inspection::open(&env, directory, keys.encryption().as_ref());
            inspection.and_then(|it| export(&it, *format, &env))
        }
        Action::Repair { directory, keys } => mend(directory, keys, &env),
        Action::Renew { directory, keys } => renew(&env, directory, keys.encryption().as_ref())
            .map(|(old, new)| cli::print(&format!("origin {old} is now {new}\n"))),
    };
    done.unwrap_or_else(|error| {
        cli::say(&agent::chain(&error));
        ExitCode::from(EXIT_RUNTIME)
    })
}

fn open(target: &Target, env: &Env) -> Result<Inspection, ChannelError> {
    Inspection::open(env, &target.directory, target.keys.encryption().as_ref())
}

fn show_stats(stats: &Stats, json: bool) -> ExitCode {
    if json {
        return print_json(stats);
    }
    let mut text = String::new();
    for (name, value) in [
        ("events", stats.events),
        ("batches", stats.batches),
        ("segments", stats.segments),
        ("bytes", stats.bytes),
        ("identities", stats.identities),
        ("positions", stats.positions),
        ("starts", stats.starts),
        ("epoch", stats.epoch),
        ("format", stats.format.into()),
    ] {
        writeln!(text, "{name:<12} {value}").expect("a string takes it");
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
    cli::print(&text)
}

fn show_report(report: &Report, json: bool) -> ExitCode {
    let printed = if json { print_json(report) } else { cli::print(&report_text(report)) };
    if report.is_sound() { printed } else { ExitCode::from(EXIT_RUNTIME) }
}

fn report_text(report: &Report) -> String {
    let mut text = String::new();
    let verdict = if report.is_sound() { "sound" } else { "NOT sound" };
    writeln!(text, "{verdict}: {} frames as they were written", report.sound_frames)
        .expect("a string takes it");
    if report.torn_bytes > 0 {
        writeln!(text, "torn         {} bytes, never acknowledged", report.torn_bytes)
            .expect("a string takes it");
    }
    for (segment, offset) in &report.damaged {
        writeln!(text, "damaged      segment {segment:016x}, byte {offset}")
            .expect("a string takes it");
    }
    for (segment, offset) in &report.done_with {
        writeln!(text, "done with    segment {segment:016x}, byte {offset}")
            .expect("a string takes it");
    }
    for lines in &report.mendable {
        writeln!(text, "mendable     {lines}: still in their file, read again at the next start")
            .expect("a string takes it");
    }
    for lines in &report.given_up {
        writeln!(text, "given up     {lines}: not sent again").expect("a string takes it");
    }
    for (first, end) in &report.lost {
        writeln!(text, "lost         {} batches: tickets {first} to {}", end - first, end - 1)
            .expect("a string takes it");
    }
    text
}

fn export(inspection: &Inspection, format: Format, env: &Env) -> Result<ExitCode, ChannelError> {
    let kind = match format {
        Format::Text => "text",
        Format::Json => "json",
    };
    let serializer = serializer(kind, env);
    let mut out = io::stdout().lock();
    let mut complete = true;
    inspection.export(|ticket, batch| {
        let bytes = match serializer.serialize(&batch) {
            Ok(bytes) => bytes,
            Err(error) => {
                cli::say(&format!("batch {ticket} is left out: {error}"));
                complete = false;
                return true;
            }
        };
        complete &= out.write_all(&bytes).is_ok();
        complete
    })?;
    complete &= out.flush().is_ok();
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(EXIT_RUNTIME) })
}

/// The serializer of this kind.
pub(crate) fn serializer(kind: &str, env: &Env) -> Box<dyn Serializer> {
    let entry = serializers::ALL.iter().find(|entry| entry.kind == kind);
    let entry = entry.expect("both formats are in the catalogue");
    let built = (entry.build)(&Settings::empty(), &context(Path::new(""), env));
    built.expect("a serializer needs no settings")
}

fn mend(directory: &Path, keys: &Keys, env: &Env) -> Result<ExitCode, ChannelError> {
    // Looked at first: a directory that holds no channel must not become one.
    let encryption = keys.encryption();
    let found = Inspection::open(env, directory, encryption.as_ref())?.check()?;
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        cli::say("cannot start a thread");
        return Ok(ExitCode::from(EXIT_RUNTIME));
    };
    // The channel prepares its next segment in the background.
    let _inside = runtime.enter();
    let config = Config { index: IndexKind::None, encryption, ..Config::default() };
    repair(config, &context(directory, env))?;
    Ok(cli::print(&repair_text(&found)))
}

/// What a repair did about what was found before it.
fn repair_text(found: &Report) -> String {
    let mut text = format!(
        "{} damaged places given up, {} torn bytes cut off\n",
        found.damaged.len(),
        found.torn_bytes
    );
    for lines in &found.mendable {
        writeln!(text, "mended       {lines}: read again from their file")
            .expect("a string takes it");
    }
    for lines in &found.given_up {
        writeln!(text, "given up     {lines}: not sent again").expect("a string takes it");
    }
    text
}

/// The channel is named after its directory, as the agent does it.
fn context(directory: &Path, env: &Env) -> BuildContext {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    BuildContext::alone(&name, directory, env.clone())
}

fn print_json(value: &impl Serialize) -> ExitCode {
    let text = serde_json::to_string(value).expect("numbers and names are always JSON");
    cli::print(&format!("{text}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_told_by_its_tickets() {
        let report = Report {
            sound_frames: 7,
            damaged: vec![(2, 4096)],
            done_with: vec![(1, 8192)],
            lost: vec![(5, 6), (9, 12)],
            torn_bytes: 0,
            mendable: vec!["/a.log bytes 0 to 7".to_owned()],
            given_up: vec!["/b.log bytes 7 to 9".to_owned()],
        };
        assert!(
            repair_text(&report).ends_with("given up     /b.log bytes 7 to 9: not sent again\n")
        );
        let expected = "\
NOT sound: 7 frames as they were written
damaged      segment 0000000000000002, byte 4096
done with    segment 0000000000000001, byte 8192
mendable     /a.log bytes 0 to 7: still in their file, read again at the next start
given up     /b.log bytes 7 to 9: not sent again
lost         1 batches: tickets 5 to 5
lost         3 batches: tickets 9 to 11
";
        assert_eq!(report_text(&report), expected);
    }
}
