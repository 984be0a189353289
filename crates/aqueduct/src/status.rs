//! `aqueduct status`: shows the state of a running agent, from its admin address.

pub(crate) mod text;

use std::process::ExitCode;

use agent::status::Snapshot;
use clap::Args;
use program::cli::{self, EXIT_RUNTIME};

use crate::admin::{Access, Admin};
use crate::runtime;

/// Exit code: the agent is unreachable.
pub(crate) const EXIT_UNREACHABLE: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  aqueduct status 127.0.0.1:9464
  aqueduct status collector-1:9464 --json
  aqueduct status https://collector-1:9464 --ca ca.pem --token-file /run/secrets/admin

The address is `agent.admin` of the agent. Rates are averages of the last ten seconds.

Exit codes: 0 ready, 1 not ready, 2 the agent does not answer, or wrong arguments";

/// Show the state of a running agent: sources, channels, sinks, and where its events are.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct StatusArgs {
    /// The admin address of the agent: HOST:PORT, or https://HOST:PORT
    pub(crate) address: String,
    /// Access to the address
    #[command(flatten)]
    pub(crate) access: Access,
    /// Print the JSON document that the agent serves at /status
    #[arg(long)]
    pub(crate) json: bool,
}

/// Queries the agent and prints the response.
pub(crate) fn run(args: &StatusArgs) -> ExitCode {
    let (answer, snapshot) = match ask(args) {
        Ok(answered) => answered,
        Err(problem) => {
            cli::print_line(&problem);
            return ExitCode::from(EXIT_UNREACHABLE);
        }
    };
    let printed = cli::print(&if args.json { answer } else { text::format(&snapshot) });
    if snapshot.ready { printed } else { ExitCode::from(EXIT_RUNTIME) }
}

fn ask(args: &StatusArgs) -> Result<(String, Snapshot), String> {
    let env = env::real();
    let admin = Admin::new(&env, &args.address, &args.access)?;
    let answer = runtime::block_on(admin.get("/status"));
    let answer = answer.map_err(|error| admin.unanswered(&error))?;
    let snapshot = admin.snapshot(&answer)?;
    Ok((answer, snapshot))
}
