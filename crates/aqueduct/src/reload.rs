//! `aqueduct reload`: makes a running agent read its configuration again.

use std::process::ExitCode;

use agent::status::{ReloadResult, ReloadStatus};
use clap::Args;
use program::cli::{self, EXIT_RUNTIME};

use crate::admin::{Access, Admin};
use crate::runtime;

/// Exit code: the agent is unreachable.
const EXIT_UNREACHABLE: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  aqueduct reload 127.0.0.1:9464
  aqueduct reload 127.0.0.1:9464 --json
  aqueduct reload https://collector-1:9464 --ca ca.pem --token-file /run/secrets/admin

The address is `agent.admin` of the agent; an address that is not on loopback requires a token. The
agent rereads its configuration files and restarts only the parts that have changed.
docs/reload.md lists the settings that need a restart.

Exit codes: 0 the file runs, 1 refused or rolled back, 2 the agent does not answer, or wrong
arguments";

/// Reload the configuration of a running agent, and print the result for each part.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct ReloadArgs {
    /// The admin address of the agent: HOST:PORT, or https://HOST:PORT
    address: String,
    /// Access to the address
    #[command(flatten)]
    access: Access,
    /// Print the response of the agent as JSON
    #[arg(long)]
    json: bool,
}

/// Queries the agent and prints the response.
pub(crate) fn run(args: &ReloadArgs) -> ExitCode {
    match ask(args) {
        Ok((answer, status)) => {
            let printed = cli::print(&if args.json { answer } else { status.to_string() });
            match status.result {
                ReloadResult::Applied | ReloadResult::Unchanged => printed,
                _ => ExitCode::from(EXIT_RUNTIME),
            }
        }
        Err(problem) => {
            cli::print_line(&problem);
            ExitCode::from(EXIT_UNREACHABLE)
        }
    }
}

fn ask(args: &ReloadArgs) -> Result<(String, ReloadStatus), String> {
    let env = env::real();
    let admin = Admin::new(&env, &args.address, &args.access)?;
    runtime::block_on(admin.changed("reload", ""))
}
