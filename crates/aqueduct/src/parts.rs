//! `aqueduct stop`, `start` and `drain`: control parts of a running agent.
//!
//! ```text
//!   stop, start ─► POST ─► PartsStatus ─► what was stopped or started
//!   drain ───────► POST ─► PartsStatus ─► /status, twice a second ─► drained, or not in time
//! ```

mod drain;

use std::process::ExitCode;

use agent::status::{PartsStatus, ReloadResult};
use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use program::cli::{self, EXIT_RUNTIME};

use crate::admin::{Access, Admin};
use crate::runtime;
use crate::status::EXIT_UNREACHABLE;
pub(crate) use drain::{DrainArgs, run as drain};

const STOP: &str = "\
Examples:
  aqueduct stop 127.0.0.1:9464 --source web
  aqueduct stop 127.0.0.1:9464 --group store --json
  aqueduct stop https://collector-1:9464 --ca ca.pem --token-file /run/secrets/admin --group store

The part stays stopped, also over reloads and restarts, until `aqueduct start`. The channel of a
stopped group keeps its events and fills up. Status, page and metrics show stopped parts.

Exit codes: 0 stopped, 1 refused or not done, 2 the agent does not answer, or wrong arguments";

const START: &str = "\
Examples:
  aqueduct start 127.0.0.1:9464 --source web
  aqueduct start 127.0.0.1:9464 --all
  aqueduct start https://collector-1:9464 --ca ca.pem --token-file /run/secrets/admin --group store

A part that cannot start, for example because its port is in use, stays stopped.

Exit codes: 0 it runs, 1 refused or not done, 2 the agent does not answer, or wrong arguments";

/// Stop a source or a group of a running agent, until it is started again
#[derive(Debug, Args)]
#[command(long_about = None, after_help = STOP)]
pub(crate) struct StopArgs {
    /// The admin address of the agent: HOST:PORT, or https://HOST:PORT
    address: String,
    /// Access to the address
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    part: StoppedPart,
    /// Print the response of the agent as JSON
    #[arg(long)]
    json: bool,
}

/// Start a source or a group that was stopped
#[derive(Debug, Args)]
#[command(long_about = None, after_help = START)]
pub(crate) struct StartArgs {
    /// The admin address of the agent: HOST:PORT, or https://HOST:PORT
    address: String,
    /// Access to the address
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    part: StartedPart,
    /// Print the response of the agent as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct StoppedPart {
    /// The source to stop: it accepts no events
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// The group of sinks to stop: it delivers nothing. A sink outside a group forms a group of its
    /// name
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct StartedPart {
    /// This source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// This group of sinks
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// All parts that are stopped
    #[arg(long)]
    all: bool,
}

/// Encodes a name for a query.
fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

/// Builds the query that names a part.
fn query(source: Option<&String>, group: Option<&String>) -> String {
    let named = [("source", source), ("group", group)];
    let named = named.into_iter().filter_map(|(role, name)| Some((role, name?)));
    named.map(|(role, name)| format!("?{role}={}", encoded(name))).collect()
}

/// Stops a part.
pub(crate) fn stop(args: &StopArgs) -> ExitCode {
    let query = query(args.part.source.as_ref(), args.part.group.as_ref());
    change("stop", &query, (&args.address, &args.access), args.json)
}

/// Starts a part.
pub(crate) fn start(args: &StartArgs) -> ExitCode {
    let query = match args.part.all {
        true => "?all".to_owned(),
        false => query(args.part.source.as_ref(), args.part.group.as_ref()),
    };
    change("start", &query, (&args.address, &args.access), args.json)
}

fn change(action: &str, query: &str, (address, access): (&str, &Access), json: bool) -> ExitCode {
    let asked = || {
        let admin = Admin::new(&env::real(), address, access)?;
        runtime::block_on(admin.changed::<PartsStatus>(action, query))
    };
    match asked() {
        Ok((answer, status)) => {
            let printed = cli::print(&if json { answer } else { status.to_string() });
            if is_done(&status) { printed } else { ExitCode::from(EXIT_RUNTIME) }
        }
        Err(problem) => {
            cli::print_line(&problem);
            ExitCode::from(EXIT_UNREACHABLE)
        }
    }
}

/// Returns whether the part has the requested state.
fn is_done(status: &PartsStatus) -> bool {
    matches!(status.result, ReloadResult::Applied | ReloadResult::Unchanged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_part_of_the_query_but_its_value() {
        assert_eq!(query(Some(&"a b&all".to_owned()), None), "?source=a%20b%26all");
        assert_eq!(query(None, Some(&"store".to_owned())), "?group=store");
    }
}
