//! `aqueduct fleet`: the fleet server, and requests to it.
//!
//! ```text
//!   serve ─────► fleet::serve: agents by OpAMP, operators by HTTP
//!   agents, status ────────────► GET /fleet ─► table or JSON
//!   roll-out, pause, … ────────► POST ───────► the state of the roll-out
//! ```

mod pin;
mod serve;

use std::process::ExitCode;

use ::fleet::{AgentView, FleetView, Level, Phase, Policy};
use clap::{Args, Subcommand};
use hyper::StatusCode;
use program::cli::{self, EXIT_RUNTIME};
use tokio::time::{Duration, sleep};

use crate::admin::{Access, Admin};
use crate::status::EXIT_UNREACHABLE;
use pin::{PinArgs, UnpinArgs};
use serve::ServeArgs;

/// The address of the server on the same host.
const ADDRESS: &str = "127.0.0.1:9470";

/// Pause between two looks at a roll-out.
const POLL: Duration = Duration::from_secs(1);

/// Characters of a hash that are shown.
const HASH_SHOWN: usize = 12;

const EXAMPLES: &str = "\
Examples:
  aqueduct fleet serve /srv/fleet
  aqueduct fleet agents
  aqueduct fleet roll-out --wait

docs/fleet.md explains the directory of the server and a ten-minute start.";

const AGENTS: &str = "\
Examples:
  aqueduct fleet agents
  aqueduct fleet agents https://fleet:9470 --ca ca.pem --token-file /run/secrets/fleet --json

Exit codes: 0 printed, 2 the server does not answer, or wrong arguments";

const STATUS: &str = "\
Examples:
  aqueduct fleet status
  aqueduct fleet status 127.0.0.1:9470 --json

Exit codes: 0 printed, 2 the server does not answer, or wrong arguments";

const ROLL_OUT: &str = "\
Examples:
  aqueduct fleet roll-out
  aqueduct fleet roll-out --wait --soak 300
  aqueduct fleet roll-out 127.0.0.1:9470 --losses 10 --json

The server copies assign.toml and fragments/ to a new revision and offers it in waves: one agent of
each distinct configuration, then 5 %, 50 % and all agents. After each wave it waits for the soak
time. An agent that gets worse takes all agents back to the accepted revision. A changed filter
that drops more events on purpose needs --losses.

Exit codes: 0 started (with --wait: completed), 1 refused (with --wait: also rolled back), 2 the
server does not answer, or wrong arguments";

const PAUSE: &str = "\
Examples:
  aqueduct fleet pause 127.0.0.1:9470

Agents of open waves keep the new configuration and are still observed: a failure rolls back.

Exit codes: 0 done, 1 refused, 2 the server does not answer, or wrong arguments";

const RESUME: &str = "\
Examples:
  aqueduct fleet resume 127.0.0.1:9470

Exit codes: 0 done, 1 refused, 2 the server does not answer, or wrong arguments";

const ABORT: &str = "\
Examples:
  aqueduct fleet abort 127.0.0.1:9470

All agents that have the new configuration get the accepted revision back.

Exit codes: 0 done, 1 refused, 2 the server does not answer, or wrong arguments";

/// See all agents of a site, and roll out configurations in gated waves
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct FleetArgs {
    #[command(subcommand)]
    command: FleetCommand,
}

#[derive(Debug, Subcommand)]
enum FleetCommand {
    Serve(ServeArgs),
    Agents(AgentsArgs),
    Status(StatusArgs),
    RollOut(RollOutArgs),
    Pause(PauseArgs),
    Resume(ResumeArgs),
    Abort(AbortArgs),
    Pin(PinArgs),
    Unpin(UnpinArgs),
}

/// The server.
#[derive(Debug, Args)]
struct Target {
    /// The fleet server: HOST:PORT, or https://HOST:PORT
    #[arg(default_value = ADDRESS)]
    address: String,
    /// Access to the address: the token of --admin-token-file of the server
    #[command(flatten)]
    access: Access,
    /// Print the response of the server as JSON
    #[arg(long)]
    json: bool,
}

/// List the agents
#[derive(Debug, Args)]
#[command(long_about = None, after_help = AGENTS)]
struct AgentsArgs {
    #[command(flatten)]
    target: Target,
}

/// Print the state of the last roll-out
#[derive(Debug, Args)]
#[command(long_about = None, after_help = STATUS)]
struct StatusArgs {
    #[command(flatten)]
    target: Target,
}

/// Roll out assign.toml and fragments/ of the server's directory
#[derive(Debug, Args)]
#[command(long_about = None, after_help = ROLL_OUT)]
struct RollOutArgs {
    #[command(flatten)]
    target: Target,
    /// How long each agent must stay as good as before, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = Policy::default().soak_ms / 1_000)]
    soak: u64,
    /// Time limit for an agent to apply the configuration, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = Policy::default().apply_ms / 1_000)]
    apply: u64,
    /// Allowed growth of dropped events and dead letters, in percent of the accepted events
    #[arg(long, value_name = "PERCENT", default_value_t = 100.0 * Policy::default().losses_max)]
    losses: f64,
    /// Wait for the end of the roll-out
    #[arg(long)]
    wait: bool,
}

/// Open no further wave
#[derive(Debug, Args)]
#[command(long_about = None, after_help = PAUSE)]
struct PauseArgs {
    #[command(flatten)]
    target: Target,
}

/// Continue a paused roll-out
#[derive(Debug, Args)]
#[command(long_about = None, after_help = RESUME)]
struct ResumeArgs {
    #[command(flatten)]
    target: Target,
}

/// Roll back the running roll-out
#[derive(Debug, Args)]
#[command(long_about = None, after_help = ABORT)]
struct AbortArgs {
    #[command(flatten)]
    target: Target,
}

/// Why a command fails.
enum Problem {
    /// The server does not answer.
    Unreachable(String),
    /// It refuses.
    Refused(String),
}

/// Runs a command.
pub(crate) fn run(args: &FleetArgs) -> ExitCode {
    let ran = match &args.command {
        FleetCommand::Serve(args) => return serve::run(args),
        FleetCommand::Agents(AgentsArgs { target }) => show(target, "/fleet", agents),
        FleetCommand::Status(StatusArgs { target }) => show(target, "/roll-out", rollout),
        FleetCommand::RollOut(args) => roll_out(args),
        FleetCommand::Pause(PauseArgs { target }) => act(target, "pause", ""),
        FleetCommand::Resume(ResumeArgs { target }) => act(target, "resume", ""),
        FleetCommand::Abort(AbortArgs { target }) => act(target, "abort", ""),
        FleetCommand::Pin(args) => pin::pin(args),
        FleetCommand::Unpin(args) => pin::unpin(args),
    };
    match ran {
        Ok(code) => code,
        Err(Problem::Unreachable(problem)) => {
            cli::print_line(&problem);
            ExitCode::from(EXIT_UNREACHABLE)
        }
        Err(Problem::Refused(problem)) => {
            cli::print_line(&problem);
            ExitCode::from(EXIT_RUNTIME)
        }
    }
}

/// Runs requests to the server.
fn asked<T>(
    target: &Target,
    ask: impl AsyncFnOnce(Admin) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let env = env::real();
    let admin = Admin::new(&env, &target.address, &target.access);
    let admin = admin.map_err(Problem::Unreachable)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Problem::Unreachable(error.to_string()))?;
    runtime.block_on(ask(admin))
}

fn unreachable(admin: &Admin, problem: &dyn std::fmt::Display) -> Problem {
    Problem::Unreachable(format!(
        "cannot query the fleet server at {}: {problem}; check that it is running, and the address",
        admin.address()
    ))
}

async fn fleet(admin: &Admin, path: &str) -> Result<(String, FleetView), Problem> {
    let text = admin.get(path).await.map_err(|error| unreachable(admin, &error))?;
    let view = serde_json::from_str(&text).map_err(|error| unreachable(admin, &error))?;
    Ok((text, view))
}

async fn change(admin: &Admin, action: &str, query: &str) -> Result<(String, FleetView), Problem> {
    let changed = admin.change(action, query).await;
    let (status, text) = changed.map_err(|error| unreachable(admin, &error))?;
    if status != StatusCode::OK {
        return Err(Problem::Refused(format!("{action} refused: {}", text.trim_end())));
    }
    let view = serde_json::from_str(&text).map_err(|error| unreachable(admin, &error))?;
    Ok((text, view))
}

fn show(target: &Target, path: &str, text: fn(&FleetView) -> String) -> Result<ExitCode, Problem> {
    let (json, view) = asked(target, async |admin| fleet(&admin, path).await)?;
    Ok(cli::print(&if target.json { json } else { text(&view) }))
}

fn act(target: &Target, action: &str, query: &str) -> Result<ExitCode, Problem> {
    let (json, view) = asked(target, async |admin| change(&admin, action, query).await)?;
    Ok(cli::print(&if target.json { json } else { rollout(&view) }))
}

fn roll_out(args: &RollOutArgs) -> Result<ExitCode, Problem> {
    let query = format!("?soak={}&apply={}&losses={}", args.soak, args.apply, args.losses);
    if !args.wait {
        return act(&args.target, "roll-out", &query);
    }
    let (json, view) = asked(&args.target, async |admin| {
        let mut seen = change(&admin, "roll-out", &query).await?;
        let mut shown = String::new();
        while seen.1.rollout.as_ref().is_some_and(is_active) {
            let text = rollout(&seen.1);
            if text != shown && !args.target.json {
                cli::print_line(text.trim_end());
                shown = text;
            }
            sleep(POLL).await;
            seen = fleet(&admin, "/roll-out").await?;
        }
        Ok(seen)
    })?;
    let is_completed = view.rollout.as_ref().is_some_and(|it| it.phase == Phase::Completed);
    let printed = cli::print(&if args.target.json { json } else { rollout(&view) });
    Ok(if is_completed { printed } else { ExitCode::from(EXIT_RUNTIME) })
}

fn is_active(rollout: &::fleet::RolloutView) -> bool {
    matches!(rollout.phase, Phase::Running | Phase::Paused | Phase::RollingBack)
}

fn rollout(view: &FleetView) -> String {
    let accepted = format!("accepted revision: {}\n", view.accepted_revision);
    let mut text = match &view.rollout {
        None => format!("{accepted}no roll-out yet\n"),
        Some(rollout) => format!("{accepted}{rollout}\n"),
    };
    for pin in &view.pins {
        text += &format!("pinned: {pin}\n");
    }
    if let Some(problem) = &view.git_problem {
        text += &format!("{problem}\n");
    }
    text
}

/// A table of the agents.
fn agents(view: &FleetView) -> String {
    let header = ["agent", "version", "labels", "verdict", "backlog", "seen", "in force", "wanted"];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(view.agents.iter().map(row));
    let widths: [usize; 8] = std::array::from_fn(|at| {
        rows.iter().map(|row| row[at].chars().count()).max().unwrap_or_default()
    });
    let line = |row: &[String; 8]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn row(agent: &AgentView) -> [String; 8] {
    let labels: Vec<String> =
        agent.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let hash = |hash: Option<&String>| {
        hash.map_or("-".to_owned(), |it| it.chars().take(HASH_SHOWN).collect())
    };
    let verdict = match (agent.silent, agent.level) {
        (true, _) => "silent",
        (false, Level::Good | Level::Note) => "good",
        (false, Level::Warn) => "warning",
        (false, Level::Bad) => "bad",
    };
    let wanted = match (agent.managed, &agent.failure) {
        (false, _) => "read-only".to_owned(),
        (true, Some(failure)) => {
            format!("{} refused: {}", hash(Some(&failure.hash)), failure.error)
        }
        (true, None) => match agent.pinned_revision {
            Some(number) => format!("{} pinned: {number}", hash(agent.wanted.as_ref())),
            None => hash(agent.wanted.as_ref()),
        },
    };
    [
        agent.name.clone(),
        agent.version.clone(),
        labels.join(","),
        verdict.to_owned(),
        agent.backlog_events.to_string(),
        format!("{:.0}s", agent.last_seen_seconds_ago),
        hash(agent.in_force.as_ref()),
        wanted,
    ]
}
