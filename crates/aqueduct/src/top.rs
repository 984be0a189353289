//! `aqueduct top`: shows the state of a running agent, second by second.
//!
//! ```text
//!   /status/events ─► follow ─► View ─► the terminal     what is wrong, the flow, tables
//!                        └────► --json: a line for each snapshot
//! ```

mod parts;
#[cfg(test)]
pub(crate) mod sample;
mod screen;
mod view;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use program::cli;

use crate::admin::{Access, Admin};
use crate::status::{self, EXIT_UNREACHABLE, StatusArgs};

const EXAMPLES: &str = "\
Examples:
  aqueduct top 127.0.0.1:9464
  aqueduct top https://collector-1:9464 --ca ca.pem --token-file /run/secrets/admin
  aqueduct top collector-1:9464 --once
  aqueduct top collector-1:9464 --json | jq .verdict.text

The address is `agent.admin` of the agent. Rates are averages of the last ten seconds.
Keys: tab and arrows show the parts, p pauses, q quits.
Without a terminal it prints one page, as with --once.

Exit codes: 0 ended by q, or ready with --once; 1 not ready; 2 the agent does not answer";

/// Watch a running agent: what is wrong, the flow, channels and sinks, once a second.
#[derive(Debug, Args)]
#[command(long_about = None, after_help = EXAMPLES)]
pub(crate) struct TopArgs {
    /// The admin address of the agent: HOST:PORT, or https://HOST:PORT
    address: String,
    /// Access to the address
    #[command(flatten)]
    access: Access,
    /// Print one page, as `aqueduct status` does, and exit
    #[arg(long, conflicts_with = "json")]
    once: bool,
    /// Print each snapshot as a line of JSON, until the agent or the reader stops
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &TopArgs) -> ExitCode {
    let has_terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    if args.once || !(has_terminal || args.json) {
        let (address, access) = (args.address.clone(), args.access.clone());
        return status::run(&StatusArgs { address, access, json: false });
    }
    let env = env::real();
    let watched = Admin::new(&env, &args.address, &args.access).and_then(|admin| {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| admin.unanswered(&error))?;
        match args.json {
            true => runtime.block_on(lines(&admin)),
            false => screen::run(&runtime, admin),
        }
    });
    match watched {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            cli::print_line(&problem);
            ExitCode::from(EXIT_UNREACHABLE)
        }
    }
}

/// Prints a line for each snapshot until the reader closes the pipe.
async fn lines(admin: &Admin) -> Result<(), String> {
    let mut follow = admin.follow().await.map_err(|error| admin.unanswered(&error))?;
    loop {
        let snapshot = follow.next().await.map_err(|error| admin.unanswered(&error))?;
        let mut output = io::stdout().lock();
        let printed = output.write_all(format!("{snapshot}\n").as_bytes());
        if printed.and_then(|()| output.flush()).is_err() {
            return Ok(());
        }
    }
}
