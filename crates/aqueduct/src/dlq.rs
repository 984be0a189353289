//! `aqueduct dlq`: operator commands for events that could not be delivered.

mod operations;
mod show;

use std::path::Path;
use std::process::ExitCode;

use agent::actor::Actor;
use agent::dead_letters::operations::Selection;
use clap::{Args, Subcommand, ValueEnum};
use control::audit::{Audit, Line, Outcome};
use pipeline::{Env, Identity};
use program::cli::{self, EXIT_RUNTIME, EXIT_USAGE};

use crate::admin::Access;
use crate::channel::Keys;

const EXAMPLES: &str = "\
Examples:
  aqueduct dlq list /var/lib/aqueduct
  aqueduct dlq show /var/lib/aqueduct --reason too_large --format json
  aqueduct dlq replay 127.0.0.1:9464 --sink store
  aqueduct dlq replay /var/lib/aqueduct --reason epoch_closed --new-identity
  aqueduct dlq drop https://collector-1:9464 --ca ca.pem --token-file /run/secrets/admin --yes

Give the admin address of a running agent, or the data directory. `list` and `show` can read the
data directory at any time. `replay` and `drop` can change it only while the agent is stopped;
otherwise use the admin address. Before `replay`, fix the cause of the refusal, because the same
sink gets the events again. Events that an interceptor rejected were in no channel and cannot be
put back: print them with `show` and send them to a source again. `replay` and `drop` add a line to
the audit log.

Exit codes: 0 done, 1 not readable, or not all of it done, 2 wrong arguments";

const LIST: &str = "\
Examples:
  aqueduct dlq list /var/lib/aqueduct
  aqueduct dlq list /var/lib/aqueduct --sink collector-1 --json
  aqueduct dlq list 127.0.0.1:9464";

const SHOW: &str = "\
Examples:
  aqueduct dlq show /var/lib/aqueduct --reason too_large --limit 1
  aqueduct dlq show /var/lib/aqueduct --format json > letters.json";

const REPLAY: &str = "\
Examples:
  aqueduct dlq replay 127.0.0.1:9464
  aqueduct dlq replay /var/lib/aqueduct --sink store --reason unwritable_event

With a data directory the agent must be stopped; it delivers the events after its next start.";

const DROP: &str = "\
Examples:
  aqueduct dlq drop 127.0.0.1:9464 --reason unwritable_event --yes
  aqueduct dlq drop /var/lib/aqueduct --reason unwritable_event --yes

With a data directory the agent must be stopped. To keep the events, save them first: aqueduct dlq
show";

/// List, show, put back or drop dead letters: events that can never be delivered.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct DlqArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Count the dead letters by reason and place, with the oldest of each
    #[command(after_help = LIST)]
    List {
        #[command(flatten)]
        target: Target,
        /// Print one JSON object on each line
        #[arg(long)]
        json: bool,
    },
    /// Print dead letters with their events, oldest first
    #[command(after_help = SHOW)]
    Show {
        #[command(flatten)]
        target: Target,
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: Format,
        /// Print at most N dead letters
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Put dead letters back into the channel that they came from, for the group that refused them
    #[command(after_help = REPLAY)]
    Replay {
        #[command(flatten)]
        target: Target,
        /// Put letters that were refused as `epoch_closed` back under a new identity, because under
        /// the old one nothing takes them any more. What was delivered under the old one all the
        /// same, by another copy of the data directory, is delivered a second time
        #[arg(long)]
        new_identity: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Drop dead letters: their events are lost
    #[command(after_help = DROP)]
    Drop {
        #[command(flatten)]
        target: Target,
        /// Confirm that their events are deleted
        #[arg(long, required = true)]
        yes: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct Target {
    /// The agent's data directory, or the admin address of a running agent: HOST:PORT, or
    /// https://HOST:PORT
    #[arg(value_name = "TARGET")]
    place: String,
    /// Access to a running agent
    #[command(flatten)]
    access: Access,
    /// Only letters of this reason
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Only letters of this sink
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Only letters from this channel
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// Only letters that an interceptor of this source rejected
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only letters of this batch: ORIGIN/EPOCH/SEQUENCE
    #[arg(long, value_name = "IDENTITY")]
    identity: Option<Identity>,
    #[command(flatten)]
    keys: Keys,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line about the letter, then each body on a line
    #[default]
    Text,
    /// An object with the letter and its events on each line
    Json,
}

/// Location of the dead letters.
enum Place<'a> {
    /// A data directory.
    DataDir(&'a Path),
    /// The admin address of a running agent.
    Address(&'a str),
}

impl Target {
    /// Interprets an existing path, or a text written as a path, as a data directory.
    fn place(&self) -> Place<'_> {
        let path = Path::new(&self.place);
        let is_url = ["http://", "https://"].iter().any(|scheme| self.place.starts_with(scheme));
        let port = self.place.rsplit_once(':').map(|(_, port)| port.parse::<u16>().is_ok());
        let is_address = !self.place.contains('/') && port == Some(true);
        match is_url || is_address && env::real().disk.stat(path).is_err() {
            true => Place::Address(&self.place),
            false => Place::DataDir(path),
        }
    }

    /// Returns the data directory.
    ///
    /// # Errors
    /// The target is the address of a running agent.
    fn data_dir(&self) -> Result<&Path, String> {
        match self.place() {
            Place::DataDir(path) => Ok(path),
            Place::Address(address) => Err(format!(
                "cannot show events by the admin address {address}: run this on the host of the \
                 agent, with its data directory"
            )),
        }
    }

    /// Returns the selected dead letters.
    fn selection(&self) -> Selection {
        let Self { reason, sink, channel, source, identity, .. } = self;
        let [reason, sink, channel, source] = [reason, sink, channel, source].map(Option::clone);
        Selection { reason, sink, channel, source, identity: *identity }
    }

    /// Returns whether the options select only a part of the dead letters.
    fn selects(&self) -> bool {
        self.selection() != Selection::default()
    }
}

/// Runs the subcommand.
pub(crate) fn run(args: &DlqArgs) -> ExitCode {
    let env = env::real();
    let (Action::List { target, .. }
    | Action::Show { target, .. }
    | Action::Replay { target, .. }
    | Action::Drop { target, .. }) = &args.action;
    if let Err(problem) = show::check_reason(target, &env) {
        cli::print_line(&problem);
        return ExitCode::from(EXIT_USAGE);
    }
    let done = match &args.action {
        Action::List { target, json } => show::list(target, *json, &env),
        Action::Show { target, format, limit } => {
            show::show(target, *format, limit.unwrap_or(usize::MAX), &env)
        }
        Action::Replay { target, new_identity, json } => {
            audited("dlq replay", target, &env, || {
                operations::replay(target, *new_identity, &env)
                    .map(|done| operations::show_replayed(&done, *json))
            })
        }
        Action::Drop { target, yes: _, json } => audited("dlq drop", target, &env, || {
            operations::drop_letters(target, &env)
                .map(|done| operations::show_dropped(&done, *json))
        }),
    };
    done.unwrap_or_else(|problem| {
        cli::print_line(&problem);
        ExitCode::from(EXIT_RUNTIME)
    })
}

/// Runs the action and writes it, with the user, to the agent's audit log.
fn audited(
    action: &str,
    target: &Target,
    env: &Env,
    act: impl FnOnce() -> Result<ExitCode, String>,
) -> Result<ExitCode, String> {
    let done = act();
    let (outcome, problem) = match &done {
        Ok(code) if *code == ExitCode::SUCCESS => (Outcome::Done, None),
        Ok(_) => (Outcome::Failed, Some("not all of it".to_owned())),
        Err(problem) => (Outcome::Failed, Some(problem.clone())),
    };
    // A running agent writes its own line. Do not create files outside data directories.
    let Place::DataDir(data_dir) = target.place() else { return done };
    if env.disk.stat(&data_dir.join("format")).is_ok() {
        let by = format!("user {}", rustix::process::getuid().as_raw());
        let part = target.channel.as_ref().map(|name| format!("channels.{name}"));
        let line = Line::new(action, part, Actor::new(&by, None), outcome);
        Audit::new(data_dir, env).write(line.because(problem));
    }
    done
}

/// Returns whether an agent with this data directory ever had a dead letter.
///
/// # Errors
/// The path is not a data directory.
fn has_letters(data_dir: &Path, env: &Env) -> Result<bool, String> {
    let known = |path: &Path| env.disk.stat(path).is_ok();
    if !known(&data_dir.join("format")) {
        return Err(format!(
            "{}: not the data directory of an agent, because it has no file `format`; name the \
             value of `agent.data_dir`",
            data_dir.display()
        ));
    }
    Ok(known(&agent::dead_letters::directory(data_dir)))
}
