//! `aqueduct fleet pin` and `unpin`: agents that keep a revision.

use std::process::ExitCode;

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Problem, Target, act};

const PIN: &str = "\
Examples:
  aqueduct fleet pin --agent edge-7
  aqueduct fleet pin --label site=west --revision 12
  aqueduct fleet pin fleet:9470 --label role=collector

Roll-outs leave pinned agents out of their waves. Without --revision, the agents keep the revision
that they have. Agents that get the label later get the revision of the pin.

Exit codes: 0 done, 1 refused, 2 the server does not answer, or wrong arguments";

const UNPIN: &str = "\
Examples:
  aqueduct fleet unpin --agent edge-7
  aqueduct fleet unpin --label site=west

The agents keep their revision until the next roll-out, which includes them in its waves.

Exit codes: 0 done, 1 refused, 2 the server does not answer, or wrong arguments";

/// The agents to pin or unpin.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Agents {
    /// An agent, by its name or uid
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// All agents with this label
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    label: Option<String>,
}

/// Pin agents to an accepted revision
#[derive(Debug, Args)]
#[command(long_about = None, after_help = PIN)]
pub(super) struct PinArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    agents: Agents,
    /// The revision, which a roll-out has accepted; default: the one that the agents have
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    revision: Option<u64>,
}

/// Include pinned agents in roll-outs again
#[derive(Debug, Args)]
#[command(long_about = None, after_help = UNPIN)]
pub(super) struct UnpinArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    agents: Agents,
}

fn label(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((name, _)) if !name.is_empty() => Ok(text.to_owned()),
        _ => Err("write NAME=VALUE, for example site=west".to_owned()),
    }
}

impl Agents {
    fn query(&self) -> String {
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        match (&self.agent, &self.label) {
            (Some(agent), _) => format!("?agent={}", encoded(agent)),
            (None, label) => format!("?label={}", encoded(label.as_deref().unwrap_or_default())),
        }
    }
}

/// Pins agents.
pub(super) fn pin(args: &PinArgs) -> Result<ExitCode, Problem> {
    let revision = args.revision.map(|it| format!("&revision={it}")).unwrap_or_default();
    act(&args.target, "pin", &(args.agents.query() + &revision))
}

/// Unpins agents.
pub(super) fn unpin(args: &UnpinArgs) -> Result<ExitCode, Problem> {
    act(&args.target, "unpin", &args.agents.query())
}
